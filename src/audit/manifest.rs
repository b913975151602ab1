//! Digests of what was exchanged, as `sha256sum` writes and checks them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::read::Event;

/// Which way files went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Uploads: what users sent.
    Received,
    /// Downloads: what users got.
    Sent,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    user: String,
    /// Its name for the client.
    name: String,
    /// Where it is kept.
    path: String,
    /// SHA-256 in hex digits; `None` when it is not on record.
    digest: Option<String>,
}

/// A manifest that is being collected: the last content of each name. A file that was renamed after its upload has its new name.
#[derive(Debug)]
pub struct Manifest {
    direction: Direction,
    files: Vec<Option<File>>,
    /// By user and name.
    by_name: HashMap<(String, String), usize>,
    /// By where they are kept.
    by_path: BTreeMap<String, usize>,
}

impl Manifest {
    /// Of one direction.
    pub fn new(direction: Direction) -> Manifest {
        Manifest { direction, files: Vec::new(), by_name: HashMap::new(), by_path: BTreeMap::new() }
    }

    /// Takes the next event.
    pub fn note(&mut self, event: &Event) {
        if event.text("status") != "success" {
            return;
        }
        match (event.activity(), event.text("operation"), self.direction) {
            ("CLOSE", "write", Direction::Received) | ("CLOSE", "read", Direction::Sent) => self.add(event),
            ("RENAME", _, Direction::Received) => self.rename(event),
            _ => {}
        }
    }

    fn add(&mut self, event: &Event) {
        let digest = Some(event.text("sha256")).filter(|digest| !digest.is_empty()).map(str::to_owned);
        let [user, name, path] = ["user", "logical-path", "path"].map(|name| event.text(name).to_owned());
        self.place(File { user, name, path, digest });
    }

    /// A file takes the place of those that had its name, or lay where it lies.
    fn place(&mut self, file: File) {
        let place = self.files.len();
        for old in [
            self.by_name.insert((file.user.clone(), file.name.clone()), place),
            self.by_path.insert(file.path.clone(), place),
        ] {
            old.and_then(|old| self.files.get_mut(old)).map(Option::take);
        }
        self.files.push(Some(file));
    }

    /// A file, or all files of a folder, have other names now, whoever renamed them.
    fn rename(&mut self, event: &Event) {
        let [from, to] = ["path", "new-path"].map(|name| event.text(name));
        let [name, new_name] = ["logical-path", "new-logical-path"].map(|name| event.text(name));
        if from.is_empty() || to.is_empty() {
            return;
        }
        // What is below a folder lies between these two: `0` follows `/`.
        let below = self.by_path.range(format!("{from}/")..format!("{from}0")).map(|(_, place)| *place);
        let places: Vec<usize> = self.by_path.get(from).copied().into_iter().chain(below).collect();
        for place in places {
            let Some(file) = self.files.get_mut(place).and_then(Option::take) else { continue };
            let Some(path) = moved(&file.path, from, to) else { continue };
            self.by_path.remove(&file.path);
            // Another user may see the file under another name, and then that is not known to have changed.
            let renamed = if file.user == event.text("user") { moved(&file.name, name, new_name) } else { None };
            let name = renamed.unwrap_or_else(|| file.name.clone());
            self.place(File { path, name, ..file });
        }
    }

    /// How many files it has, and of how many of them no digest is on record.
    pub fn count(&self) -> (usize, usize) {
        let all = || self.files.iter().flatten();
        (all().count(), all().filter(|file| file.digest.is_none()).count())
    }

    /// Writes it for `sha256sum --check` in a folder that holds what the user sees as `/`. A comment names each user, and the files
    /// without a digest.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut files: Vec<&File> = self.files.iter().flatten().collect();
        files.sort_by(|one, other| (&one.user, &one.name).cmp(&(&other.user, &other.name)));
        let mut user = None;
        for file in files {
            if user != Some(&file.user) {
                user = Some(&file.user);
                writeln!(out, "# {}", plain(&file.user).0)?;
            }
            let (name, is_escaped) = plain(file.name.trim_start_matches('/'));
            match &file.digest {
                Some(digest) => writeln!(out, "{}{digest}  {name}", if is_escaped { "\\" } else { "" })?,
                None => writeln!(out, "# no digest is on record: {name}")?,
            }
        }
        Ok(())
    }
}

/// The new place of what was at or below a place that was moved.
fn moved(path: &str, from: &str, to: &str) -> Option<String> {
    let below = path.strip_prefix(from)?;
    (below.is_empty() || below.starts_with('/')).then(|| format!("{to}{below}"))
}

/// A name as GNU sha256sum escapes it: a backslash before the digest says that it did.
fn plain(name: &str) -> (String, bool) {
    let is_escaped = name.contains(['\\', '\n', '\r']);
    (name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"), is_escaped)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn close(user: &str, name: &str, operation: &str, digest: &str) -> serde_json::Value {
        json!({ "activity-type": "CLOSE", "status": "success", "operation": operation, "user": user,
                "logical-path": name, "path": format!("/lake/{user}{name}"), "sha256": digest })
    }

    fn rename(user: &str, from: &str, to: &str) -> serde_json::Value {
        json!({ "activity-type": "RENAME", "status": "success", "user": user, "logical-path": from, "new-logical-path": to,
                "path": format!("/lake/{user}{from}"), "new-path": format!("/lake/{user}{to}") })
    }

    fn written(direction: Direction, events: &[serde_json::Value]) -> String {
        let mut manifest = Manifest::new(direction);
        events.iter().for_each(|event| manifest.note(&Event::parse(event.to_string().as_bytes()).unwrap()));
        let mut out = Vec::new();
        manifest.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_content_of_each_name_is_listed_under_the_name_that_it_has() {
        let events = [
            close("ann", "/in/a.part", "write", "11"),
            rename("ann", "/in/a.part", "/in/a"),
            close("ben", "/in/a", "write", "22"),
            close("ann", "/in/b", "write", "33"),
            close("ann", "/in/b", "write", "44"),
            close("ann", "/out/c", "read", "55"),
            rename("ann", "/in", "/done"),
            close("ann", "/in/a", "write", ""),
        ];
        assert_eq!(
            written(Direction::Received, &events),
            "# ann\n11  done/a\n44  done/b\n# no digest is on record: in/a\n# ben\n22  in/a\n"
        );
        assert_eq!(written(Direction::Sent, &events), "# ann\n55  out/c\n");
    }

    #[test]
    fn a_rename_replaces_and_a_failure_counts_for_nothing() {
        let mut failed = close("ann", "/b", "write", "99");
        failed["status"] = "failure".into();
        let events = [
            close("ann", "/a", "write", "11"),
            close("ann", "/b", "write", "22"),
            failed,
            rename("ann", "/a", "/b"),
            close("ann", "/ab", "write", "33"),
            rename("ann", "/a", "/x"),
        ];
        assert_eq!(written(Direction::Received, &events), "# ann\n33  ab\n11  b\n");
    }

    #[test]
    fn odd_names_are_escaped_as_sha256sum_does() {
        let events = [close("a\nb", "/new\nline", "write", "11"), close("a\nb", "/back\\slash", "write", "22")];
        assert_eq!(written(Direction::Received, &events), "# a\\nb\n\\22  back\\\\slash\n\\11  new\\nline\n");
    }
}
