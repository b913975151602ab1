//! Notifications: one for each finished file, in the shape that receivers of AWS Transfer Family's events read, or as CloudEvents.
//!
//! The spool holds the lines of the trail. They become notifications when a batch is delivered, so that nothing is held back
//! outside the spool but uploads under temporary names, and those are kept in a file of the spool's folder (`pending`). The
//! file says after which batch it was written: a batch that comes again after a kill gives the same notifications, with the same
//! ids, or none if it was done.

mod cloudevents;
mod eventbridge;
mod fact;
mod join;
mod object;
mod pending;
mod shelf;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::filter::Filter;
use super::shape::{Format, Shape};
use crate::audit::chain::Hash;
use crate::audit::search::PathPattern;
use fact::Fact;
pub(super) use fact::{Notice, is_told};
use join::Joiner;
use pending::File;

/// The names under which known clients upload before they rename: WinSCP, rclone, KDE and browsers, lftp, Spring Integration,
/// FreeFileSync, GNOME, restic, rsync over sshfs aside (its names have no pattern of their own), and the customary words.
pub const TEMPORARY_NAMES: &[&str] = &[
    "*.filepart",
    "*.partial",
    "*.part",
    "*.tmp",
    "*.temp",
    "*.writing",
    "*.uploading",
    "*.inprogress",
    "*.incomplete",
    "*.ffs_tmp",
    ".in.*",
    ".goutputstream-*",
    ".giosave*",
    "*-restic-temp-*",
];

/// How long an upload under a temporary name waits for its final one, unless configured.
pub const TEMPORARY_WITHIN: Duration = Duration::from_secs(600);

/// What is a temporary name, and how long it may be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporaryNames {
    /// Patterns as those of `audit search`.
    pub patterns: Vec<PathPattern>,
    /// After this time an upload is told under the name that it has.
    pub within: Duration,
}

impl Default for TemporaryNames {
    fn default() -> Self {
        let patterns = TEMPORARY_NAMES.iter().filter_map(|name| PathPattern::parse(name).ok()).collect();
        TemporaryNames { patterns, within: TEMPORARY_WITHIN }
    }
}

/// Makes notifications of the lines of one sink.
#[derive(Debug)]
pub(super) struct Notifier {
    joiner: Joiner,
    filter: Filter,
    format: Format,
    file: File,
    /// The last batch that was taken.
    batch: Option<Hash>,
    /// When that was, or when this process began. Monotonic: no clock that is set ends what waits.
    since: Instant,
    /// Whether `pending` is no longer what the file says.
    changed: bool,
}

/// A notification on its way: its line, and the files that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// JSON without a newline.
    pub(super) line: Vec<u8>,
    /// Storage paths: of a rename, both.
    pub(super) paths: Vec<String>,
}

impl Told {
    /// As it is posted.
    pub(super) fn whole_line(&self) -> Vec<u8> {
        [self.line.as_slice(), b"\n"].concat()
    }
}

impl Notifier {
    /// Takes up what an earlier process left. `None` when the format is not one of notifications.
    pub(super) fn open(shape: &Shape, spool: &Path, syncs: bool) -> io::Result<Option<Notifier>> {
        if !shape.format.is_notification() {
            return Ok(None);
        }
        let (file, kept) = File::open(spool, syncs)?;
        let joiner = Joiner::new(shape.temporary.clone(), kept.clock, kept.uploads);
        let (filter, format) = (shape.filter.clone(), shape.format);
        Ok(Some(Notifier { joiner, filter, format, file, batch: kept.batch, since: Instant::now(), changed: false }))
    }

    /// The notifications of a batch. A batch that was done before a kill gives none.
    pub(super) fn take(&mut self, batch: &Bytes) -> Vec<Told> {
        let hash = Hash::of_line(batch);
        if self.batch == Some(hash) {
            return Vec::new();
        }
        let foreign = super::heading::lines(batch).filter(|line| !Fact::is_of_trail(line)).count();
        if foreign > 0 {
            // The sink had another format before: nothing can be told of these.
            tracing::error!(lines = foreign, "the spool holds lines in another format, which are dropped");
        }
        let before = self.joiner.changes();
        let notices = super::heading::lines(batch).filter_map(Fact::read).flat_map(|fact| self.joiner.take(fact));
        let notices: Vec<Notice> = notices.collect();
        (self.batch, self.since) = (Some(hash), Instant::now());
        self.changed |= self.joiner.changes() != before;
        self.shaped(notices)
    }

    /// The notifications of uploads whose final name did not come in time. Right only when no line waits.
    pub(super) fn overdue(&mut self) -> Vec<Told> {
        let notices = self.joiner.overdue(self.idle());
        self.changed |= !notices.is_empty();
        self.shaped(notices)
    }

    /// When [`Notifier::overdue`] has something, if nothing comes before.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let left = self.joiner.due_in(self.idle())?;
        Some(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }

    /// How long no line has come, in milliseconds.
    fn idle(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Keeps what waits, after all notifications that were given have arrived.
    pub(super) fn keep(&mut self) -> io::Result<()> {
        if self.changed {
            self.file.write(self.batch, self.joiner.clock(), self.joiner.uploads())?;
            self.changed = false;
        }
        Ok(())
    }

    fn shaped(&self, notices: Vec<Notice>) -> Vec<Told> {
        let taken = notices.into_iter().filter(|notice| self.filter.takes_notice(notice));
        taken.map(|notice| Told { line: self.line(&notice), paths: notice.paths() }).collect()
    }

    fn line(&self, notice: &Notice) -> Vec<u8> {
        match self.format {
            Format::CloudEvents => cloudevents::line(notice),
            _ => eventbridge::line(notice),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
