//! One-time codes as the door judges them: each once, and few guesses of each secret, over all connections.
//!
//! Who is asked for a code has given the other proofs, so only the user, or a thief of them, gets here. Guesses are bounded for the
//! secret as well as for the address: a thief may have many addresses. The name is no key: a source that ignores case knows one user
//! by many spellings, and each would have guesses of its own.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::regular_file;
use crate::secret::Secret;
use crate::users::{TotpSecret, step_at};

/// The file that outlives the process.
const FILE: &str = "lockgate-codes-used.json";

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// So many wrong codes of a user are answered one after the other.
const FREE: u32 = 5;

/// Then none is looked at for so long after the last wrong one, and twice as long after each further one (RFC 4226 section 7.3).
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// A user without wrong codes for so long begins anew.
const FORGOTTEN: TimeDelta = TimeDelta::hours(24);

/// The most secrets that are remembered. Only those whose users have just given a code, or lately a wrong one.
const MOST: usize = 100_000;

/// What becomes of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeVerdict {
    /// It is right, and used from now on.
    Right,
    /// It is none that the user's secret gives now.
    Wrong,
    /// It was right, and has been used, or a later one has.
    Used,
    /// It was not looked at: there were too many wrong ones.
    TooMany,
}

/// The codes that were used, and the guesses.
#[derive(Debug)]
pub(super) struct Codes {
    path: PathBuf,
    /// By the digest of the secret; what files of earlier versions tell, by the user's name.
    users: Mutex<HashMap<Arc<str>, Known>>,
    /// One writes at a time, what holds then.
    writing: tokio::sync::Mutex<()>,
}

/// What is known of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Known {
    /// The newest step whose code was used.
    used: Option<u64>,
    /// Wrong codes since the last right one.
    wrong: u32,
    /// When the last of them came.
    last: Option<DateTime<Utc>>,
}

impl Codes {
    /// What is remembered in `folder`. Without a file, or with one that cannot be read, no code was used.
    pub(super) fn read(folder: &Path) -> Codes {
        let path = folder.join(FILE);
        let used = read_file(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "which one-time codes were used is not known");
            }
            BTreeMap::new()
        });
        let known = |step| Known { used: Some(step), ..Known::default() };
        let users = used.into_iter().map(|(name, step)| (Arc::from(name), known(step))).collect();
        Codes { path, users: Mutex::new(users), writing: tokio::sync::Mutex::default() }
    }

    /// Judges a code of `secret`, in one step: of two connections with one code, one is let in. `user`: under which name a file of
    /// an earlier version may tell of it.
    pub(super) fn judge(&self, user: &str, secret: &TotpSecret, code: &Secret, now: DateTime<Utc>) -> CodeVerdict {
        let digest = secret.digest();
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let by_name = users.get(user).and_then(|known| known.used_at(now));
        if users.len() >= MOST && !users.contains_key(&*digest) {
            users.retain(|_, known| known.matters(now));
            if users.len() >= MOST {
                return CodeVerdict::TooMany;
            }
        }
        let known = users.entry(Arc::from(digest)).or_default();
        if by_name.is_some() {
            known.used = known.used_at(now).max(by_name);
        }
        known.judge(secret.step_of(code, now), now)
    }

    /// Writes down which codes were used, so that neither a restart nor a power cut forgets it: this returns when the disk has it. A file
    /// that cannot be written is only logged: the codes of the last minute and a half could then be used again after a restart.
    pub(super) async fn keep(&self, now: DateTime<Utc>) {
        let _turn = self.writing.lock().await;
        let text = serde_json::to_vec(&self.used(now));
        let (path, beside) = (self.path.clone(), self.path.with_extension("new"));
        let written = tokio::task::spawn_blocking(move || replace(&path, &beside, &text.map_err(io::Error::other)?));
        if let Ok(Err(error)) = written.await {
            tracing::error!(path = %self.path.display(), %error, "which one-time codes were used cannot be kept");
        }
    }

    /// The steps whose codes could be right now.
    fn used(&self, now: DateTime<Utc>) -> BTreeMap<String, u64> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let used = users.iter().filter_map(|(name, known)| Some((name.to_string(), known.used_at(now)?)));
        used.collect()
    }
}

/// Replaces a file in one step, on the disk as well.
fn replace(path: &Path, beside: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

impl Known {
    fn judge(&mut self, step: Option<u64>, now: DateTime<Utc>) -> CodeVerdict {
        if self.is_over(now) {
            self.wrong = 0;
        }
        if self.must_wait(now) {
            return CodeVerdict::TooMany;
        }
        match (step, self.used_at(now)) {
            (None, _) => {
                self.wrong = self.wrong.saturating_add(1);
                self.last = Some(now);
                CodeVerdict::Wrong
            }
            (Some(step), Some(used)) if step <= used => CodeVerdict::Used,
            (Some(step), _) => {
                *self = Known { used: Some(step), ..Known::default() };
                CodeVerdict::Right
            }
        }
    }

    /// The newest step that was used, if its code could be right now. One of the future is of a clock that has been set back since, and
    /// must not keep the user out until then.
    fn used_at(&self, now: DateTime<Utc>) -> Option<u64> {
        let current = step_at(now);
        self.used.filter(|used| (current.saturating_sub(1)..=current.saturating_add(1)).contains(used))
    }

    fn must_wait(&self, now: DateTime<Utc>) -> bool {
        let Some(beyond) = self.wrong.checked_sub(FREE) else { return false };
        let pause = (FIRST_PAUSE * 2_i32.pow(beyond.min(10))).min(LONGEST_PAUSE);
        // A clock that was set back keeps nobody waiting for longer than that.
        self.last.is_some_and(|last| (TimeDelta::zero()..pause).contains(&(now - last)))
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.last.is_none_or(|last| now - last >= FORGOTTEN)
    }

    fn matters(&self, now: DateTime<Utc>) -> bool {
        self.used_at(now).is_some() || !self.is_over(now)
    }
}

fn read_file(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    serde_json::from_slice(&regular_file::read(path, LARGEST_FILE)?).map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::CodeVerdict::{Right, TooMany, Used, Wrong};
    use super::*;

    /// The codes of the steps 0 to 4 (RFC 4226, appendix D).
    const CODES: [&str; 5] = ["755224", "287082", "359152", "969429", "338314"];

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// Ben's secret, and its code of the step 1.
    const OF_BEN: (&str, &str) = ("BENBENBENBENBENBENBENBENBENBENBE", "427631");

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn judged(codes: &Codes, user: &str, code: &str, seconds: i64) -> CodeVerdict {
        let secret = TotpSecret::parse(if user == "ben" { OF_BEN.0 } else { SECRET }).unwrap();
        codes.judge(user, &secret, &Secret::new(code.into()), at(seconds))
    }

    #[tokio::test]
    async fn a_code_is_accepted_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::read(folder.path());
        assert_eq!(judged(&codes, "ann", CODES[1], 45), Right);
        assert_eq!(judged(&codes, "ann", CODES[1], 46), Used);
        assert_eq!(judged(&codes, "ann", CODES[0], 46), Used, "nor one before it");
        assert_eq!(judged(&codes, "Ann", CODES[1], 46), Used, "nor by another spelling of the name");
        assert_eq!(judged(&codes, "ben", OF_BEN.1, 46), Right, "of another user");
        assert_eq!(judged(&codes, "ann", CODES[2], 46), Right, "the next one");
        codes.keep(at(46)).await;
        let codes = Codes::read(folder.path());
        assert_eq!((judged(&codes, "ann", CODES[2], 61), judged(&codes, "ben", OF_BEN.1, 61)), (Used, Used));
        assert_eq!(judged(&codes, "ann", CODES[3], 61), Right);
        // What no code can be right of any more is not kept.
        codes.keep(at(10_000)).await;
        assert_eq!(read_file(&folder.path().join(FILE)).unwrap(), BTreeMap::new());
        // As versions before wrote it.
        std::fs::write(folder.path().join(FILE), r#"{"ann": 1}"#).unwrap();
        let codes = Codes::read(folder.path());
        assert_eq!((judged(&codes, "ann", CODES[1], 46), judged(&codes, "ann", CODES[2], 46)), (Used, Right));
        std::fs::write(folder.path().join(FILE), "?").unwrap();
        assert_eq!(judged(&Codes::read(folder.path()), "ann", CODES[2], 61), Right, "a file that cannot be read");
    }

    #[test]
    fn of_many_connections_with_one_code_one_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::read(folder.path());
        let right = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| judged(&codes, "ann", CODES[1], 45))).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|verdict| *verdict == Right).count()
        });
        assert_eq!(right, 1);
    }

    #[test]
    fn guesses_of_one_user_become_rare_and_are_bounded_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::read(folder.path());
        for name in ["ann", "Ann", "aNn", "anN", "ANN"] {
            assert_eq!(judged(&codes, name, "000000", 45), Wrong);
        }
        assert_eq!(judged(&codes, "ann", CODES[1], 45), TooMany, "the right one neither");
        assert_eq!(judged(&codes, "ben", OF_BEN.1, 45), Right, "another user");
        assert_eq!(judged(&codes, "ann", "000000", 74), TooMany);
        assert_eq!(judged(&codes, "ann", "000000", 75), Wrong);
        assert_eq!((judged(&codes, "ann", CODES[4], 134), judged(&codes, "ann", CODES[4], 135)), (TooMany, Right));
        // After a right one it begins anew.
        assert_eq!(judged(&codes, "ann", "000000", 136), Wrong);
        assert_eq!(judged(&codes, "ann", CODES[4], 136), Used, "which is no guess");
        // Every second for a month: one an hour, and not more.
        let guesses = (0..30 * 24 * 60).filter(|minute| judged(&codes, "eve", "000000", 1000 + minute * 60) == Wrong);
        assert!((24 * 29..24 * 31).contains(&guesses.count()));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::read(folder.path());
        assert_eq!(judged(&codes, "ann", CODES[4], 135), Right);
        assert_eq!(judged(&codes, "ann", CODES[1], 45), Right, "a minute and a half before");
        for _ in 0..=FREE {
            judged(&codes, "ben", "000000", 100_000);
        }
        assert_eq!(judged(&codes, "ben", OF_BEN.1, 100_001), TooMany);
        assert_eq!(judged(&codes, "ben", OF_BEN.1, 45), Right);
    }

    #[test]
    fn users_beyond_the_bound_wait_until_others_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::read(folder.path());
        let ben = TotpSecret::parse(OF_BEN.0).unwrap().digest();
        for name in (1..MOST).map(|n| n.to_string()).chain([ben]) {
            let known = Known { used: Some(0), ..Known::default() };
            codes.users.lock().unwrap().insert(name.into(), known);
        }
        assert_eq!(judged(&codes, "ann", CODES[1], 45), TooMany);
        assert_eq!(judged(&codes, "ben", OF_BEN.1, 45), Right, "one who is known");
        assert_eq!(judged(&codes, "ann", CODES[4], 120), Right, "when the others' codes are of no use any more");
        assert!(codes.users.lock().unwrap().len() <= 2);
    }
}
