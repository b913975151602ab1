//! Attempts that come to nothing before there is anything to do: their names cannot be, or the codec itself refuses them. They are on record
//! like any other, or a client could try names without being seen.

use std::convert::Infallible;
use std::fmt;

use crate::audit::{Activity, FileOperation, Outcome, RenameOperation, TransferStart};
use crate::path::{LogicalPath, MAX_PATH, PathError};

use super::{OpenMode, Session, SessionError};

/// A name as a client has sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// One that can be.
    Path(LogicalPath),
    /// One that cannot, as events show it.
    Wrong(String),
}

/// What a client attempted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// To open a file.
    Open(Name, OpenMode),
    /// To list a directory.
    List(Name),
    /// To remove a file.
    Delete(Name),
    /// To make a directory.
    MakeDirectory(Name),
    /// To remove a directory.
    RemoveDirectory(Name),
    /// To set attributes.
    SetAttributes(Name),
    /// To rename the first to the second.
    Rename(Name, Name),
    /// To make a link to the first that has the second name.
    Link(Name, Name),
}

impl Name {
    /// Of a client's bytes. Of a name that cannot be, bytes that are not UTF-8 are shown as `\xff`, and no more than the longest path has.
    pub fn of(raw: &[u8]) -> Name {
        LogicalPath::parse(raw).map_or_else(|_| Name::wrong(raw), Name::Path)
    }

    /// Of bytes that are no path for whoever asks.
    pub fn wrong(raw: &[u8]) -> Name {
        let mut shown = String::new();
        for chunk in raw[..raw.len().min(MAX_PATH)].utf8_chunks() {
            shown.push_str(chunk.valid());
            shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
        if raw.len() > MAX_PATH {
            shown.push('…');
        }
        Name::Wrong(shown)
    }

    /// The storage path, where there is one, and the name.
    fn of_event(&self, session: &Session) -> (Option<String>, String) {
        match self {
            Name::Path(path) => (session.vfs().storage_path(path), path.to_string()),
            Name::Wrong(shown) => (None, shown.clone()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Path(path) => path.fmt(f),
            Name::Wrong(shown) => f.write_str(shown),
        }
    }
}

impl Session {
    /// Records an attempt that fails for its name. The error is for the client.
    pub async fn refuse_name(&self, attempt: Attempt, why: PathError) -> SessionError {
        self.refuse(attempt, SessionError::from(why)).await
    }

    /// Records an attempt that fails with `error`, without doing anything. The error for the client: this one, or that it cannot be recorded.
    pub async fn refuse(&self, attempt: Attempt, error: SessionError) -> SessionError {
        let (first, second) = match &attempt {
            Attempt::Open(name, _)
            | Attempt::List(name)
            | Attempt::Delete(name)
            | Attempt::MakeDirectory(name)
            | Attempt::RemoveDirectory(name)
            | Attempt::SetAttributes(name) => (name.of_event(self), None),
            Attempt::Rename(from, to) => (from.of_event(self), Some(to.of_event(self))),
            Attempt::Link(target, link) => (target.of_event(self), Some(link.of_event(self))),
        };
        let (path, logical_path) = first;
        let (new_path, new_logical_path) = second.unwrap_or_default();
        let names = [path.as_deref(), new_path.as_deref(), Some(&logical_path), Some(&new_logical_path)];
        let names = names.iter().flatten().map(|name| name.len()).sum();
        let outcome = match attempt {
            Attempt::Rename(..) => error.outcome_of_rename(),
            _ => error.outcome(),
        };
        let refusing = self.begin_with(names, move |outcome, duration_ms| {
            let of_two = match attempt {
                Attempt::Rename(..) => Activity::Rename,
                Attempt::Link(..) => Activity::CreateSymlink,
                attempt => return of_one(&attempt, path, logical_path, outcome, duration_ms),
            };
            of_two(RenameOperation { path, new_path, logical_path, new_logical_path, outcome, duration_ms })
        });
        let recorded = match refusing.await {
            Ok(pending) => pending.record_as(outcome, Err::<Infallible, _>(error)).await,
            Err(unrecorded) => Err(unrecorded),
        };
        match recorded {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }
}

/// The event of an attempt with one name.
fn of_one(
    attempt: &Attempt,
    path: Option<String>,
    logical_path: String,
    outcome: Outcome,
    duration_ms: u64,
) -> Activity {
    let activity = match attempt {
        Attempt::Open(_, mode) => {
            let (mode, write) = (mode.name(), mode.write);
            return Activity::Open(TransferStart { path, logical_path, mode, write, outcome, duration_ms });
        }
        Attempt::List(_) => Activity::List,
        Attempt::Delete(_) => Activity::Delete,
        Attempt::MakeDirectory(_) => Activity::Mkdir,
        Attempt::RemoveDirectory(_) => Activity::Rmdir,
        Attempt::SetAttributes(_) | Attempt::Rename(..) | Attempt::Link(..) => Activity::Setstat,
    };
    activity(FileOperation { path, logical_path, size: None, outcome, duration_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_shown_with_all_its_bytes_but_no_more_than_a_path_has() {
        let shown = |raw: &[u8]| Name::of(raw).to_string();
        assert_eq!(shown(b"/a/../b"), "/b");
        assert_eq!(shown(b"/caf\xe9/\xf0\x9f"), "/caf\\xe9/\\xf0\\x9f");
        assert_eq!(shown(b"/a\nb"), "/a\nb", "the event's own encoding escapes it");
        assert_eq!(shown(&[b'x'; 2000]), format!("{}…", "x".repeat(MAX_PATH)));
    }
}
