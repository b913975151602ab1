//! Which objects of a folder are locked (S3 Object Lock), until when, and which are not.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::audit::read::shown;
use crate::audit::{Archive, Kept, LockMode, Locking};

/// How many objects are asked for at once.
pub(super) const AT_ONCE: usize = 32;

/// How many objects without a lock are named.
const NAMED: usize = 20;

/// The lock of one version, and until when it holds.
pub(super) type Lock = (LockMode, SystemTime);

/// What is locked in one folder.
#[derive(Debug, Clone)]
pub struct LockReport {
    /// How messages name the folder.
    pub name: String,
    /// What its store does with locks; `None` when that cannot be read, and why.
    pub locking: Result<Locking, String>,
    /// Versions that were looked at.
    pub versions: u64,
    /// Those of them that are locked now.
    pub locked: u64,
    /// Those of the locked ones that are locked in governance mode: who has a right of its own can still remove them.
    pub governed: u64,
    /// When the first and the last of these locks end.
    pub until: Option<(SystemTime, SystemTime)>,
    /// Those that are not locked, or not any more; the first twenty.
    pub unlocked: Vec<String>,
    /// Those of which the store does not say it; the last reason.
    pub unknown: Option<(u64, String)>,
    /// Versions that were deleted or replaced, and are there still.
    pub hidden: u64,
}

/// What is known of the lock of each version.
pub(super) struct Looked {
    pub(super) locks: Vec<Option<Lock>>,
    pub(super) report: LockReport,
}

/// Asks for the lock of every version in a folder: one request for each.
///
/// # Errors
/// When the folder cannot be listed.
pub async fn look_at_locks(archive: &Arc<dyn Archive>) -> io::Result<LockReport> {
    let versions = archive.versions().await?;
    Ok(look(archive, &versions).await.report)
}

/// The same for versions that were listed already.
pub(super) async fn look(archive: &Arc<dyn Archive>, versions: &[Kept]) -> Looked {
    let locking = archive.locking().await.map_err(|error| error.to_string());
    let hidden = versions.iter().filter(|kept| kept.is_hidden).count() as u64;
    let mut report = LockReport {
        name: archive.describe(),
        locking,
        versions: versions.len() as u64,
        locked: 0,
        governed: 0,
        until: None,
        unlocked: Vec::new(),
        unknown: None,
        hidden,
    };
    if matches!(report.locking, Ok(Locking::Never | Locking::Off)) {
        return Looked { locks: vec![None; versions.len()], report };
    }
    let asked = stream::iter(versions).map(|kept| archive.lock_of(kept)).buffered(AT_ONCE);
    let answers: Vec<_> = asked.collect().await;
    let now = SystemTime::now();
    let mut locks = Vec::with_capacity(answers.len());
    for (kept, answer) in versions.iter().zip(answers) {
        locks.push(report.take(kept, answer, now));
    }
    Looked { locks, report }
}

impl LockReport {
    fn take(&mut self, kept: &Kept, answer: io::Result<Option<Lock>>, now: SystemTime) -> Option<Lock> {
        match answer {
            Ok(Some((mode, until))) if until > now => {
                self.locked += 1;
                self.governed += u64::from(mode == LockMode::Governance);
                let (first, last) = self.until.unwrap_or((until, until));
                self.until = Some((first.min(until), last.max(until)));
                return Some((mode, until));
            }
            Ok(_) if self.unlocked.len() < NAMED => self.unlocked.push(kept.name.clone()),
            Ok(_) => {}
            Err(error) => {
                let before = self.unknown.take().map_or(0, |(count, _)| count);
                self.unknown = Some((before + 1, error.to_string()));
            }
        }
        None
    }

    /// How many are not locked.
    pub fn not_locked(&self) -> u64 {
        self.versions - self.locked - self.unknown.as_ref().map_or(0, |(count, _)| *count)
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "object-lock": match &self.locking {
                Ok(Locking::Never | Locking::Off) => Value::from(false),
                Ok(Locking::On(_)) => Value::from(true),
                Err(_) => Value::Null,
            },
            "default-retention": match &self.locking { Ok(Locking::On(Some(rule))) => Some(rule), _ => None },
            "versions": self.versions,
            "locked": self.locked,
            "locked-in-governance-mode": self.governed,
            "locked-until": self.until.map(|(first, last)| [time(first), time(last)]),
            "not-locked": self.not_locked(),
            "not-locked-names": self.unlocked,
            "not-known": self.unknown.as_ref().map_or(0, |(count, _)| *count),
            "deleted-or-replaced": self.hidden,
        })
    }
}

impl fmt::Display for LockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = shown(&self.name);
        match &self.locking {
            Ok(Locking::Never) => write!(f, "{name}: the store has no Object Lock")?,
            Ok(Locking::Off) => write!(f, "{name}: NOT LOCKED: its bucket was made without Object Lock")?,
            Ok(Locking::On(_)) | Err(_) => self.write_locked(f)?,
        }
        if self.hidden > 0 {
            write!(f, "; {} deleted or replaced, and still there", self.hidden)?;
        }
        if let Err(why) = &self.locking {
            write!(f, "; how its bucket locks is not known: {}", shown(why))?;
        }
        Ok(())
    }
}

impl LockReport {
    fn write_locked(&self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{}: {} of {} objects locked", shown(&self.name), self.locked, self.versions)?;
        if let Some((first, last)) = self.until {
            write!(out, ", until {} at the earliest, {} at the latest", time(first), time(last))?;
        }
        if self.governed > 0 {
            write!(
                out,
                " ({} in governance mode: who has the right s3:BypassGovernanceRetention can remove them)",
                self.governed
            )?;
        } else if self.locked > 0 {
            write!(out, " (in compliance mode)")?;
        }
        if self.not_locked() > 0 {
            let names: Vec<_> = self.unlocked.iter().map(|name| shown(name)).collect();
            let more = self.not_locked() - self.unlocked.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            write!(out, "; NOT LOCKED: {}{more}", names.join(", "))?;
        }
        if let Some((count, why)) = &self.unknown {
            write!(out, "; not known of {count}: {}", shown(why))?;
        }
        Ok(())
    }
}

/// A time as reports have it.
pub(super) fn time(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}
