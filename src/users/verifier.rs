//! Checking passwords: off the async threads, a few at once, with a bounded queue.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::PasswordHash;
use crate::secret::Secret;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The password is the hash's.
    Matches,
    /// It is not, or there is no hash.
    Differs,
    /// It was not checked: too many others wait.
    TooMany,
}

/// Checks passwords on the blocking pool, at most a few at once.
#[derive(Debug)]
pub struct PasswordVerifier {
    running: Arc<Semaphore>,
    places: Semaphore,
}

impl PasswordVerifier {
    /// A verifier that runs at most `at_once` checks at a time (at least one) while at most `waiting` others wait.
    pub fn new(at_once: usize, waiting: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = at_once + waiting.min(Semaphore::MAX_PERMITS / 2);
        PasswordVerifier { running: Arc::new(Semaphore::new(at_once)), places: Semaphore::new(places) }
    }

    /// Checks `password` against `hash`; against `decoy` when there is none, so that an unknown user and a wrong password last
    /// the same. A hash that costs more or less than the decoy can be told apart by its time.
    pub async fn verify(&self, hash: Option<&PasswordHash>, decoy: &PasswordHash, password: Secret) -> Checked {
        let real = hash.is_some();
        let hash = hash.unwrap_or(decoy).clone();
        let Ok(_place) = self.places.try_acquire() else { return Checked::TooMany };
        let Ok(permit) = Arc::clone(&self.running).acquire_owned().await else { return Checked::TooMany };
        // The permit goes with the work, not with this future: a client that goes away does not end the hashing, and must
        // not make room for more of it.
        let checked = tokio::task::spawn_blocking(move || {
            let matches = hash.matches(&password);
            drop(permit);
            matches
        });
        if checked.await.unwrap_or(false) && real { Checked::Matches } else { Checked::Differs }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn decoy() -> PasswordHash {
        PasswordHash::decoy([])
    }

    fn made(password: &str) -> PasswordHash {
        PasswordHash::parse(&PasswordHash::make(&secret(password)).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let hash = made("correct horse");
        let verifier = PasswordVerifier::new(2, 10);
        assert_eq!(verifier.verify(Some(&hash), &decoy(), secret("correct horse")).await, Checked::Matches);
        for wrong in ["correct horse ", "Correct horse", "", "correct"] {
            assert_eq!(verifier.verify(Some(&hash), &decoy(), secret(wrong)).await, Checked::Differs, "{wrong:?}");
        }
        // Whatever a decoy is made of, it lets nobody in.
        assert_eq!(verifier.verify(None, &hash, secret("correct horse")).await, Checked::Differs);
        let text = |password| PasswordHash::make(&secret(password)).unwrap();
        assert!(text("x").starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", text("x"));
        assert_ne!(text("x"), text("x"), "the salt is fresh");
    }

    async fn time(verifier: &PasswordVerifier, hash: Option<&PasswordHash>) -> Duration {
        let start = Instant::now();
        assert_eq!(verifier.verify(hash, &decoy(), secret("wrong")).await, Checked::Differs);
        start.elapsed()
    }

    /// The best of many tries, one of each in turn: other work on the machine makes single ones longer, of either kind.
    #[tokio::test]
    async fn an_unknown_user_and_a_wrong_password_last_the_same() {
        let hash = made("right");
        let verifier = PasswordVerifier::new(1, 10);
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for tries in 1.. {
            known = known.min(time(&verifier, Some(&hash)).await);
            unknown = unknown.min(time(&verifier, None).await);
            let is_alike = (0.5..2.0).contains(&(known.as_secs_f64() / unknown.as_secs_f64()));
            if tries >= 7 && is_alike {
                return;
            }
            assert!(tries < 100, "known {known:?}, unknown {unknown:?}");
        }
    }

    #[tokio::test]
    async fn abandoned_checks_keep_their_place() {
        let verifier = PasswordVerifier::new(1, 10);
        let decoy = decoy();
        let abandoned =
            tokio::time::timeout(Duration::from_millis(1), verifier.verify(None, &decoy, secret("x"))).await;
        assert!(abandoned.is_err());
        assert_eq!(verifier.running.available_permits(), 0, "the hashing still runs");
        assert_eq!(verifier.verify(None, &decoy, secret("x")).await, Checked::Differs);
        assert_eq!(verifier.running.available_permits(), 1);
    }

    #[tokio::test]
    async fn who_would_be_one_too_many_is_told_at_once() {
        let (verifier, decoy) = (PasswordVerifier::new(1, 1), decoy());
        let check = || verifier.verify(None, &decoy, secret("x"));
        let answers = tokio::join!(check(), check(), check(), check());
        use Checked::{Differs, TooMany};
        assert_eq!(answers, (Differs, Differs, TooMany, TooMany));
        assert_eq!(check().await, Differs, "there is room again");
    }
}
