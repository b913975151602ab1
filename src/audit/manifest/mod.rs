//! Digests of what was exchanged, as `sha256sum` writes and checks them.
//!
//! What a file holds last is judged by the events of all users and gateways, in the order of their ids: a trail is read file by file, and
//! those of two gateways one after the other. A manifest lists what is wanted of the outcome.

mod change;
mod received;
mod sight;
mod under_way;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Write};

use serde_json::json;

use super::read::Event;
use super::report::{csv_writer, harmless};
use change::Change;
use received::Received;
use under_way::UnderWay;

/// The activities that a manifest is made of.
pub const ACTIVITIES: [&str; 8] =
    ["OPEN", "CLOSE", "PARTIAL_CLOSE", "ERROR", "RENAME", "DELETE", "SETSTAT", "CHECKPOINT"];

/// Which way files went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Uploads: what users sent.
    Received,
    /// Downloads: what users got.
    Sent,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    user: String,
    /// The gateway, if the store is its own.
    server: Option<String>,
    /// Its name for the client; of one that another user renamed to where its name is not known, the last one.
    name: String,
    /// Where such a file is: its path in the store.
    is_at: Option<String>,
    /// SHA-256 in hex digits; `None` when it is not on record.
    digest: Option<String>,
    /// Whether it is to be listed.
    is_wanted: bool,
}

/// What a manifest is made of, as it is read.
#[derive(Debug)]
pub struct Collection {
    direction: Direction,
    /// Downloads.
    sent: BTreeSet<File>,
    /// Of uploads, with the moments.
    changes: Vec<(u128, Change)>,
    seen: HashSet<u128>,
    /// By gateway: the number of the event that was read last, and its moment.
    last: HashMap<String, (u64, u128)>,
    /// By gateway and store: whether a file that was published there had an entity tag.
    tags: HashMap<(String, String), bool>,
}

/// Digests of files, in the order in which they are written.
#[derive(Debug)]
pub struct Manifest {
    files: Vec<File>,
    /// By gateway: when it began after it had not ended in order.
    unclean: Vec<(String, String)>,
}

impl Collection {
    /// Of one direction.
    pub fn new(direction: Direction) -> Collection {
        Collection {
            direction,
            sent: BTreeSet::new(),
            changes: Vec::new(),
            seen: HashSet::new(),
            last: HashMap::new(),
            tags: HashMap::new(),
        }
    }

    /// Takes the next event, whosever it is; `is_wanted`: files that it brings are to be listed.
    pub fn note(&mut self, event: &Event, is_wanted: bool) {
        match self.direction {
            Direction::Sent if is_wanted => self.note_download(event),
            Direction::Sent => {}
            Direction::Received => self.note_change(event, is_wanted),
        }
    }

    fn note_download(&mut self, event: &Event) {
        let Some(file) = sent(event) else { return };
        // Who fetches whole what was fetched in part before, has the digest.
        if file.digest.is_some() {
            self.sent.remove(&File { digest: None, ..file.clone() });
        }
        self.sent.insert(file);
    }

    /// The digests of all that was noted.
    pub fn finish(self) -> Manifest {
        let Collection { sent, mut changes, tags, .. } = self;
        // Equal ones stay in the order in which they were read.
        changes.sort_by_key(|(moment, _)| *moment);
        let is_own =
            |server: &str, path: &str| tags.get(&(server.to_owned(), store_of(path).to_owned())) == Some(&false);
        let (mut received, mut under_way) = (Received::default(), UnderWay::default());
        let mut unclean = Vec::new();
        for (_, change) in changes {
            under_way.follow(&change).into_iter().for_each(|lost| received.make(lost, is_own));
            if let change::Kind::Began { at, is_clean: false } = &change.kind {
                unclean.push((change.server.clone(), at.clone()));
            }
            received.make(change, is_own);
        }
        under_way.end().into_iter().for_each(|open| received.make(open, is_own));
        let mut files: Vec<File> = received.files().chain(sent).collect();
        files.sort();
        // A single gateway needs no name.
        let servers: HashSet<Option<String>> = files.iter().map(|file| file.server.clone()).collect();
        if servers.len() == 1 {
            files.iter_mut().for_each(|file| file.server = None);
        }
        Manifest { files, unclean }
    }

    fn note_change(&mut self, event: &Event, is_wanted: bool) {
        // Sources may hold an event twice.
        let is_new = change::id(event).is_none_or(|id| self.seen.insert(id));
        let Some(change) = Change::read(event, is_wanted).filter(|_| is_new) else { return };
        if matches!(change.kind, change::Kind::Written(_)) {
            let store = (change.server.clone(), store_of(&change.path).to_owned());
            *self.tags.entry(store).or_default() |= !event.text("etag").is_empty();
        }
        let moment = self.moment(event);
        self.changes.push((moment, change));
    }

    /// Where an event stands. One that follows another of its gateway by number is not before that, whatever the clock said.
    fn moment(&mut self, event: &Event) -> u128 {
        let moment = change::moment(event);
        let Some(sequence) = event.number("sequence") else { return moment };
        let server = event.text("server");
        let last = self.last.get(server).filter(|(last, _)| *last < sequence);
        let moment = last.map_or(moment, |(_, last)| moment.max(*last));
        self.last.insert(server.to_owned(), (sequence, moment));
        moment
    }
}

/// The name of the bucket or store in a storage path.
///
/// A store is a gateway's own when what is published there has no entity tag: folders and SFTP servers have none, and two gateways may
/// well call theirs by one name. Of buckets there is one of a name.
fn store_of(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// A download; `None` when nothing was sent.
fn sent(event: &Event) -> Option<File> {
    let is_download =
        event.activity() == "CLOSE" && event.text("status") == "success" && event.text("operation") == "read";
    let digest = change::digest(event);
    let is_nothing = digest.is_none() && event.number("bytes-out") == Some(0);
    (is_download && !is_nothing).then(|| {
        let [user, name] = ["user", "logical-path"].map(|name| event.text(name).to_owned());
        File { user, server: None, name, is_at: None, digest, is_wanted: true }
    })
}

impl Manifest {
    /// How many files it has, of how many of them no digest is on record, and of how many of the others no name.
    pub fn count(&self) -> (usize, usize, usize) {
        let count = |fits: fn(&&File) -> bool| self.files.iter().filter(fits).count();
        let without_digest = count(|file| file.digest.is_none());
        (self.files.len(), without_digest, count(|file| file.digest.is_some() && file.is_at.is_some()))
    }

    /// Writes it for `sha256sum --check` in a folder that holds what the user sees as `/`. A comment names each user, with the gateway
    /// if the files are in stores of several, the files without a digest, and those that another user renamed so that their names are not
    /// known. Others say which gateway had not ended in order: what it
    /// did in the last moment may have no event.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (server, at) in &self.unclean {
            let (server, at) = (plain(server).0, plain(at).0);
            writeln!(
                out,
                "# {server} did not end in order before its start at {at}: what was under way then may have no event"
            )?;
        }
        let mut whose = None;
        for file in &self.files {
            if whose != Some((&file.user, &file.server)) {
                whose = Some((&file.user, &file.server));
                let server = file.server.as_deref().map(|server| format!(" on {}", plain(server).0));
                writeln!(out, "# {}{}", plain(&file.user).0, server.unwrap_or_default())?;
            }
            let (name, is_escaped) = plain(file.name.trim_start_matches('/'));
            if let Some(path) = &file.is_at {
                let (digest, path) = (file.digest.as_deref().unwrap_or("no digest is on record"), plain(path).0);
                writeln!(out, "# another user renamed it to {path}, and its new name is not known: {digest}  {name}")?;
                continue;
            }
            match &file.digest {
                Some(digest) => writeln!(out, "{}{digest}  {name}", if is_escaped { "\\" } else { "" })?,
                None => writeln!(out, "# no digest is on record: {name}")?,
            }
        }
        Ok(())
    }
}

impl Manifest {
    /// Writes it as one JSON document: `files`, each with `user`, `path` (the name for the client) and `sha256`, which is `null` where no
    /// digest is on record; `server` where the files are in stores of several gateways; and `renamed-to`, a path in the store, where another
    /// user renamed the file and its new name for its user is not known: `path` is the last known one. And `unclean-starts`: `server` and `at` of each start of a
    /// gateway that had not ended in order; what was under way then may have no event.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let files = self.files.iter().map(|file| {
            let mut json = json!({ "user": file.user, "path": file.name, "sha256": file.digest });
            if let Some(server) = &file.server {
                json["server"] = server.as_str().into();
            }
            if let Some(path) = &file.is_at {
                json["renamed-to"] = path.as_str().into();
            }
            json
        });
        let unclean = self.unclean.iter().map(|(server, at)| json!({ "server": server, "at": at }));
        serde_json::to_writer_pretty(
            &mut *out,
            &json!({
                "files": files.collect::<Vec<_>>(),
                "unclean-starts": unclean.collect::<Vec<_>>(),
            }),
        )?;
        writeln!(out)
    }

    /// Writes it as a table for spreadsheets: `user`, `server`, `path`, `sha256`, `renamed-to` as in JSON. A cell that is not known is empty.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        let mut writer = csv_writer(csv::Terminator::Any(b'\n'), out);
        writer.write_record(["user", "server", "path", "sha256", "renamed-to"])?;
        for file in &self.files {
            let cells = [
                file.user.as_str(),
                file.server.as_deref().unwrap_or_default(),
                file.name.as_str(),
                file.digest.as_deref().unwrap_or_default(),
                file.is_at.as_deref().unwrap_or_default(),
            ];
            writer.write_record(cells.map(harmless))?;
        }
        writer.flush()
    }
}

/// A name as GNU sha256sum escapes it: a backslash before the digest says that it did.
fn plain(name: &str) -> (String, bool) {
    let is_escaped = name.contains(['\\', '\n', '\r']);
    (name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"), is_escaped)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
