//! What has to be true of each name, whenever the gateway dies.

use std::collections::BTreeMap;

use crate::support::content::Content;

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    Absent,
    Directory,
    File(Content),
}

/// Names by their logical paths (`/local/w0-f1`).
pub type Facts = BTreeMap<String, Fact>;

/// One operation of a client.
#[derive(Debug, Clone)]
pub enum Operation {
    Upload { path: String, content: Content },
    Remove { path: String },
    Rename { from: String, to: String, replace: bool },
    MakeDirectory { path: String },
    RemoveDirectory { path: String },
}

/// How far an operation came that was not acknowledged.
#[derive(Debug, Clone)]
pub struct Pending {
    pub operation: Operation,
    /// Of an upload: whether CLOSE may have been sent.
    pub closing: bool,
}

impl Operation {
    /// The names that it may change, as they are when it is done.
    pub fn done(&self, before: &Facts) -> Vec<(String, Fact)> {
        match self {
            Operation::Upload { path, content } => vec![(path.clone(), Fact::File(*content))],
            Operation::Remove { path } | Operation::RemoveDirectory { path } => vec![(path.clone(), Fact::Absent)],
            Operation::Rename { from, to, .. } => vec![(from.clone(), Fact::Absent), (to.clone(), before[from])],
            Operation::MakeDirectory { path } => vec![(path.clone(), Fact::Directory)],
        }
    }

    /// The names that it may change.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Operation::Upload { path, .. }
            | Operation::Remove { path }
            | Operation::MakeDirectory { path }
            | Operation::RemoveDirectory { path } => vec![path],
            Operation::Rename { from, to, .. } => vec![from, to],
        }
    }

    /// The type, the path, and the new path or the length, of the event that records it.
    pub fn event(&self) -> (&'static str, &str, String) {
        match self {
            Operation::Upload { path, content } => ("CLOSE", path, content.length.to_string()),
            Operation::Remove { path } => ("DELETE", path, String::new()),
            Operation::Rename { from, to, .. } => ("RENAME", from, to.clone()),
            Operation::MakeDirectory { path } => ("MKDIR", path, String::new()),
            Operation::RemoveDirectory { path } => ("RMDIR", path, String::new()),
        }
    }
}

impl Pending {
    /// Each state of the names concerned in which the gateway may leave it.
    pub fn outcomes(&self, before: &Facts) -> Vec<Vec<(String, Fact)>> {
        let done = self.operation.done(before);
        let undone: Vec<_> = done.iter().map(|(path, _)| (path.clone(), before[path])).collect();
        match &self.operation {
            Operation::Upload { .. } if !self.closing => vec![undone],
            // An object store copies, then deletes.
            Operation::Rename { from, to, .. } if from.starts_with("/s3/") => {
                let both = vec![(from.clone(), before[from]), (to.clone(), before[from])];
                vec![undone, both, done]
            }
            _ => vec![undone, done],
        }
    }
}

#[test]
fn an_upload_that_was_not_closed_leaves_the_old_content_only() {
    let (old, new) = (Content::new(1, 100), Content::new(2, 100));
    let before = Facts::from([("/s3/a".to_string(), Fact::File(old)), ("/s3/b".to_string(), Fact::Absent)]);
    let upload = Operation::Upload { path: "/s3/a".into(), content: new };
    let outcomes = |closing| Pending { operation: upload.clone(), closing }.outcomes(&before);
    assert_eq!(outcomes(false), [[("/s3/a".to_string(), Fact::File(old))]]);
    assert_eq!(outcomes(true).len(), 2);
    let rename = Operation::Rename { from: "/s3/a".into(), to: "/s3/b".into(), replace: false };
    let outcomes = Pending { operation: rename, closing: false }.outcomes(&before);
    let lost = |o: &Vec<(String, Fact)>| o.iter().all(|(_, fact)| *fact == Fact::Absent);
    assert!(outcomes.len() == 3 && !outcomes.iter().any(lost), "{outcomes:?}");
}
