//! What an event says of the content of files.

use uuid::Uuid;

use crate::audit::outcome::RenameDone;
use crate::audit::read::Event;
use crate::audit::{NOTHING_WAS_PUBLISHED, WHAT_ARRIVED_WAS_PUBLISHED};

/// A change of what the stores hold, or of what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The gateway that recorded it.
    pub(super) server: String,
    /// The number of its line.
    pub(super) sequence: Option<u64>,
    /// The session that it was done in.
    pub(super) session: String,
    /// Who did it.
    pub(super) user: String,
    /// The name for the client.
    pub(super) name: String,
    /// Where the file is kept.
    pub(super) path: String,
    /// Whether the manifest is to list what came of it.
    pub(super) is_wanted: bool,
    pub(super) kind: Kind,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A gateway began; when. `is_clean`: the process before had ended in order.
    Began {
        at: String,
        is_clean: bool,
    },
    /// An upload began.
    Opened,
    /// An upload ended with new content; SHA-256 in hex digits, if it is on record.
    Written(Option<String>),
    /// An upload ended, and may have left other content.
    PerhapsWritten,
    /// An upload ended, and left what was there.
    LeftAsItWas,
    /// What is there may be other content than before.
    PerhapsChanged,
    /// What is at this path or below it may be other content than before.
    PerhapsReplaced {
        name: String,
        path: String,
    },
    /// A file, or all files of a folder, have another name and path as well, and may have lost the old one.
    Copied {
        name: String,
        path: String,
    },
    /// A file, or all files of a folder, have another name and path.
    Moved {
        name: String,
        path: String,
    },
    Removed,
}

impl Change {
    /// Reads an event; `None` when it changes nothing.
    pub(super) fn read(event: &Event, is_wanted: bool) -> Option<Change> {
        let change = Change {
            server: event.text("server").to_owned(),
            sequence: event.number("sequence"),
            session: event.text("session-id").to_owned(),
            user: event.text("user").to_owned(),
            name: event.text("logical-path").to_owned(),
            path: event.text("path").to_owned(),
            is_wanted,
            kind: kind(event)?,
        };
        let is_whole = !change.path.is_empty() || matches!(change.kind, Kind::Began { .. });
        is_whole.then_some(change)
    }

    /// Whether it is the end of an upload.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.kind, Kind::Written(_) | Kind::PerhapsWritten | Kind::LeftAsItWas)
    }
}

fn kind(event: &Event) -> Option<Kind> {
    let succeeded = event.text("status") == "success";
    match event.activity() {
        "CHECKPOINT" if event.text("reason") == "start" => {
            let at = event.text("timestamp").to_owned();
            Some(Kind::Began { at, is_clean: event.truth("clean") == Some(true) })
        }
        "OPEN" if succeeded && event.text("operation") == "write" => Some(Kind::Opened),
        "CLOSE" if succeeded && event.text("operation") == "write" => Some(match event.truth("unchanged") {
            Some(true) => Kind::LeftAsItWas,
            _ => Kind::Written(digest(event)),
        }),
        "PARTIAL_CLOSE" if event.text("operation") == "write" => Some(failed_upload(event)),
        "ERROR" if event.text("operation") == "CLOSE" && !event.text("status").is_empty() => Some(failed_upload(event)),
        "SETSTAT" if event.text("status") != "denied" => event.number("size").map(|_| Kind::PerhapsChanged),
        "DELETE" if succeeded => Some(Kind::Removed),
        "RENAME" => rename(event),
        _ => None,
    }
}

/// What a rename has done, also one that failed: it may have been a copy whose source could not be removed, or one whose answer was
/// lost.
fn rename(event: &Event) -> Option<Kind> {
    let [name, path] = ["new-logical-path", "new-path"].map(|name| event.text(name).to_owned());
    if path.is_empty() || path == event.text("path") {
        return None;
    }
    match RenameDone::of(event.text("status"), event.text("message")) {
        RenameDone::All => Some(Kind::Moved { name, path }),
        RenameDone::Copied => Some(Kind::Copied { name, path }),
        RenameDone::Perhaps => Some(Kind::PerhapsReplaced { name, path }),
        RenameDone::Nothing => None,
    }
}

/// What an upload that did not succeed has left under its name.
fn failed_upload(event: &Event) -> Kind {
    let message = event.text("message");
    if event.text("status") == "denied" || message.ends_with(NOTHING_WAS_PUBLISHED) {
        return Kind::LeftAsItWas;
    }
    if message.ends_with(WHAT_ARRIVED_WAS_PUBLISHED) { Kind::Written(None) } else { Kind::PerhapsWritten }
}

/// The new place of what was at or below a place that was moved.
pub(super) fn moved(path: &str, from: &str, to: &str) -> Option<String> {
    let below = path.strip_prefix(from)?;
    (below.is_empty() || below.starts_with('/')).then(|| format!("{to}{below}"))
}

/// The digest of an event, if it has one.
pub(super) fn digest(event: &Event) -> Option<String> {
    Some(event.text("sha256")).filter(|digest| !digest.is_empty()).map(str::to_owned)
}

/// Where an event stands among those of all gateways: by its id, which has the time in front and ascends within a process. One without
/// an id stands by its time.
pub(super) fn moment(event: &Event) -> u128 {
    match id(event) {
        Some(id) => id,
        None => {
            let millis = event.time().map_or(0, |time| time.timestamp_millis());
            u128::try_from(millis).unwrap_or_default() << 80
        }
    }
}

/// The id of an event, if it is one of a gateway.
pub(super) fn id(event: &Event) -> Option<u128> {
    let id = Uuid::try_parse(event.text("event-id")).ok()?;
    (id.get_version_num() == 7).then(|| id.as_u128())
}
