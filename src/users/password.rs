//! Passwords: argon2id hashes in PHC form, and checking them without blocking the async threads.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::secret::Secret;

/// Memory of one hash that is made here, in KiB; with [`PASSES`] and [`LANES`] the first choice of OWASP's Password Storage
/// Cheat Sheet for servers.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a hash of the configuration may ask for. Below, it is weaker than any of OWASP's choices; above, logins could eat
/// the machine.
const MEMORY_BOUNDS: std::ops::RangeInclusive<u32> = 7_168..=262_144;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// The most memory times passes, in KiB: bounds the time of one check to about a second.
const MAX_WORK: u64 = 1024 * 1024;

/// The shortest salt and hash, in bytes (RFC 9106 section 3.1 recommends 16 and 32 for passwords).
const MIN_SALT: usize = 8;
const MIN_OUTPUT: usize = 16;

/// A password's hash in PHC form (`$argon2id$…`).
#[derive(Clone)]
pub struct PasswordHash(Secret);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

impl PasswordHash {
    /// Reads a hash. Its cost is bounded: memory from 7 to 256 MiB, at most 16 passes and 16 lanes, and memory times
    /// passes at most 1 GiB.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to make a right one (`lockgate hash-password`).
    pub fn parse(text: &str) -> Result<Self, String> {
        judge(text).map_err(|what| format!("{what}; `lockgate hash-password` makes a right one"))?;
        Ok(PasswordHash(Secret::new(text.to_owned())))
    }

    /// Hashes a password with argon2id and a fresh salt; the PHC string.
    ///
    /// # Errors
    /// A sentence, for an empty password or when the system gives no randomness or memory.
    pub fn make(password: &Secret) -> Result<String, String> {
        if password.expose().is_empty() {
            return Err("the password is empty".into());
        }
        let parameters = Params::new(MEMORY, PASSES, LANES, None).map_err(|error| error.to_string())?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password(password.expose().as_bytes())
            .map(|hash: phc::PasswordHash| hash.to_string())
            .map_err(|error| format!("the password cannot be hashed: {error}"))
    }

    /// A hash of no known password that costs as much to check as one of [`PasswordHash::make`].
    fn decoy() -> Self {
        let (salt, output) = ("bG9ja2dhdGUgZGVjb3kgIQ", "3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA");
        PasswordHash(Secret::new(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${output}")))
    }

    /// Checks a password; takes tens of milliseconds of a processor.
    fn matches(&self, password: &Secret) -> bool {
        phc::PasswordHash::new(self.0.expose())
            .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
    }
}

/// Says what is wrong with a hash, without a word of it.
fn judge(text: &str) -> Result<(), String> {
    if !text.starts_with('$') {
        return Err("this is not a password hash; a plain password does not belong into the configuration".into());
    }
    if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
        return Err("bcrypt hashes are not served yet".into());
    }
    if !text.starts_with("$argon2id$") {
        return Err("the hash is not an argon2id hash".into());
    }
    let hash = phc::PasswordHash::new(text).map_err(|_| "the hash is not a whole PHC string ($argon2id$v=19$…)")?;
    if hash.version != Some(19) {
        return Err("the hash is not of argon2's version 19".into());
    }
    let parameters = Params::try_from(&hash.params).map_err(|_| "the hash's parameters are not argon2's")?;
    judge_cost(&parameters)?;
    if hash.salt.is_none_or(|salt| salt.len() < MIN_SALT) {
        return Err(format!("the hash's salt is missing or shorter than {MIN_SALT} bytes"));
    }
    if hash.hash.is_none_or(|output| output.len() < MIN_OUTPUT) {
        return Err(format!("the hash itself is missing or shorter than {MIN_OUTPUT} bytes"));
    }
    Ok(())
}

fn judge_cost(parameters: &Params) -> Result<(), String> {
    let (m, t, p) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    if !MEMORY_BOUNDS.contains(&m) {
        let (low, high) = (MEMORY_BOUNDS.start(), MEMORY_BOUNDS.end());
        return Err(format!("the hash takes m={m} KiB of memory; from {low} to {high} are served"));
    }
    if t > MAX_PASSES || p > MAX_LANES {
        return Err(format!(
            "the hash takes t={t} passes in p={p} lanes; at most {MAX_PASSES} and {MAX_LANES} are served"
        ));
    }
    if u64::from(m) * u64::from(t) > MAX_WORK {
        return Err(format!("the hash takes t={t} passes over m={m} KiB; m × t may be at most {MAX_WORK}"));
    }
    Ok(())
}

/// Checks passwords on the blocking pool, at most a few at once.
#[derive(Debug)]
pub struct PasswordVerifier {
    permits: Arc<Semaphore>,
    decoy: PasswordHash,
}

impl PasswordVerifier {
    /// A verifier that runs at most `at_once` checks at a time (at least one); others wait.
    pub fn new(at_once: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        PasswordVerifier { permits: Arc::new(Semaphore::new(at_once)), decoy: PasswordHash::decoy() }
    }

    /// Checks `password` against `hash`; against a decoy when there is none, so that an unknown user and a wrong password
    /// last the same. True only for a real hash that matches.
    ///
    /// The decoy costs what `lockgate hash-password` makes; a hash of other parameters can be told apart by its time.
    pub async fn verify(&self, hash: Option<&PasswordHash>, password: Secret) -> bool {
        let real = hash.is_some();
        let hash = hash.unwrap_or(&self.decoy).clone();
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return false;
        };
        // The permit goes with the work, not with this future: a client that goes away does not end the hashing, and must
        // not make room for more of it.
        let checked = tokio::task::spawn_blocking(move || {
            let matches = hash.matches(&password);
            drop(permit);
            matches
        });
        checked.await.unwrap_or(false) && real
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// A hash with these parameters; the salt and the output are of no meaning.
    fn with(parameters: &str) -> String {
        format!("$argon2id$v=19${parameters}$c2FsdHNhbHRzYWx0c2FsdA$3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA")
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let text = PasswordHash::make(&secret("correct horse")).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = PasswordHash::parse(&text).unwrap();
        let verifier = PasswordVerifier::new(2);
        assert!(verifier.verify(Some(&hash), secret("correct horse")).await);
        for wrong in ["correct horse ", "Correct horse", "", "correct"] {
            assert!(!verifier.verify(Some(&hash), secret(wrong)).await, "{wrong:?}");
        }
        assert!(!verifier.verify(None, secret("correct horse")).await);
        assert_ne!(text, PasswordHash::make(&secret("correct horse")).unwrap(), "the salt is fresh");
    }

    #[test]
    fn the_decoy_is_a_right_hash_of_the_same_cost() {
        let decoy = PasswordHash::decoy();
        PasswordHash::parse(decoy.0.expose()).unwrap();
        let made = PasswordHash::make(&secret("x")).unwrap();
        let cost = |text: &str| phc::PasswordHash::new(text).unwrap().params.to_string();
        assert_eq!(cost(decoy.0.expose()), cost(&made));
        let lengths = |text: &str| {
            let hash = phc::PasswordHash::new(text).unwrap();
            (hash.salt.unwrap().len(), hash.hash.unwrap().len())
        };
        assert_eq!(lengths(decoy.0.expose()), lengths(&made));
    }

    /// The best of several tries, so that other work on the machine does not decide.
    async fn best_time(verifier: &PasswordVerifier, hash: Option<&PasswordHash>) -> Duration {
        let mut best = Duration::MAX;
        for _ in 0..7 {
            let start = Instant::now();
            assert!(!verifier.verify(hash, secret("wrong")).await);
            best = best.min(start.elapsed());
        }
        best
    }

    #[tokio::test]
    async fn an_unknown_user_and_a_wrong_password_last_the_same() {
        let hash = PasswordHash::parse(&PasswordHash::make(&secret("right")).unwrap()).unwrap();
        let verifier = PasswordVerifier::new(1);
        let known = best_time(&verifier, Some(&hash)).await;
        let unknown = best_time(&verifier, None).await;
        let ratio = known.as_secs_f64() / unknown.as_secs_f64();
        assert!((0.5..2.0).contains(&ratio), "known {known:?}, unknown {unknown:?}");
    }

    #[tokio::test]
    async fn abandoned_checks_keep_their_place() {
        let verifier = PasswordVerifier::new(1);
        let abandoned = tokio::time::timeout(Duration::from_millis(1), verifier.verify(None, secret("x"))).await;
        assert!(abandoned.is_err());
        assert_eq!(verifier.permits.available_permits(), 0, "the hashing still runs");
        assert!(!verifier.verify(None, secret("x")).await);
        assert_eq!(verifier.permits.available_permits(), 1);
    }

    #[test]
    fn wrong_hashes_are_refused_with_the_remedy_and_without_themselves() {
        for (wrong, what) in [
            ("hunter2", "plain password"),
            ("", "not a password hash"),
            ("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", "bcrypt"),
            ("$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "not an argon2id"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0", "missing"),
            ("$argon2id$v=19$m=19456,t=2,p=1", "missing"),
            ("$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "version 19"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXM", "shorter than 16"),
            ("$argon2id$rubbish", "PHC"),
            (&with("m=1048576,t=2,p=1"), "m=1048576 KiB"),
            (&with("m=4294967295,t=4294967295,p=1"), "KiB of memory"),
            (&with("m=1024,t=2,p=1"), "m=1024 KiB"),
            (&with("m=19456,t=17,p=1"), "t=17"),
            (&with("m=19456,t=2,p=17"), "p=17"),
            (&with("m=262144,t=5,p=1"), "m × t"),
        ] {
            let problem = PasswordHash::parse(wrong).unwrap_err();
            assert!(problem.contains(what), "{wrong}: {problem}");
            assert!(problem.contains("lockgate hash-password"), "{problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("c2FsdHNhbHQ"), "{problem}");
        }
        for right in ["m=7168,t=5,p=1", "m=65536,t=3,p=4", "m=102400,t=2,p=8", "m=262144,t=4,p=16"] {
            PasswordHash::parse(&with(right)).unwrap();
        }
        assert_eq!(PasswordHash::make(&secret("")).unwrap_err(), "the password is empty");
        assert_eq!(format!("{:?}", PasswordHash::decoy()), "[hash]");
    }
}
