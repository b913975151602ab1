//! Hashes of passwords: argon2id in PHC form, and bcrypt for users who come from elsewhere.

use std::collections::HashMap;
use std::fmt;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

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

/// What a bcrypt hash may cost: below, it is weaker than OWASP's least choice; above, one check lasts more than a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u8> = 10..=14;

/// A bcrypt hash after its version and cost: 22 characters of salt and 31 of output.
const BCRYPT_TAIL: usize = 53;

/// A password's hash: `$argon2id$…`, or `$2a$…`, `$2b$…`, `$2y$…` of bcrypt.
#[derive(Clone)]
pub struct PasswordHash {
    text: Secret,
    cost: Cost,
}

/// What a check costs: hashes of equal cost take the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Cost {
    Bcrypt(u8),
    Argon2id { memory: u32, passes: u32, lanes: u32 },
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

impl PasswordHash {
    /// Reads a hash. Its cost is bounded: for argon2id memory from 7 to 256 MiB, at most 16 passes and 16 lanes, and memory
    /// times passes at most 1 GiB; for bcrypt from 10 to 14.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how to make a right one (`lockgate hash-password`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let cost = judge(text).map_err(|what| format!("{what}; `lockgate hash-password` creates a valid one"))?;
        Ok(PasswordHash { text: Secret::new(text.to_owned()), cost })
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

    /// A hash of no known password that costs as much to check as most of `hashes`; as one of [`PasswordHash::make`] when
    /// there are none.
    pub fn decoy<'a>(hashes: impl IntoIterator<Item = &'a PasswordHash>) -> Self {
        let mut counts: HashMap<Cost, usize> = HashMap::new();
        for hash in hashes {
            *counts.entry(hash.cost).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(cost, count)| (*count, *cost)).map(|(cost, _)| cost);
        let cost = most.unwrap_or(Cost::Argon2id { memory: MEMORY, passes: PASSES, lanes: LANES });
        let text = match cost {
            Cost::Bcrypt(cost) => format!("$2b${cost:02}$LoU3pZ0iGjNEzWWLwg5CAO6Lr2qwVh0gGz0dHNvbmVrbm93c2l0ay"),
            Cost::Argon2id { memory, passes, lanes } => {
                let (salt, output) = ("bG9ja2dhdGUgZGVjb3kgIQ", "3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA");
                format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}")
            }
        };
        PasswordHash { text: Secret::new(text), cost }
    }

    /// Checks a password; takes tens of milliseconds of a processor. Of a bcrypt hash the first 72 bytes of the password count,
    /// as wherever it came from.
    pub(super) fn matches(&self, password: &Secret) -> bool {
        match self.cost {
            Cost::Bcrypt(_) => bcrypt::verify(password.expose(), self.text.expose()).unwrap_or(false),
            Cost::Argon2id { .. } => phc::PasswordHash::new(self.text.expose())
                .is_ok_and(|hash| Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()),
        }
    }
}

/// Says what is wrong with a hash, without a word of it.
fn judge(text: &str) -> Result<Cost, String> {
    if !text.starts_with('$') {
        return Err("this is not a password hash; a plain password does not belong in the configuration".into());
    }
    if let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| text.strip_prefix(version)) {
        return judge_bcrypt(rest);
    }
    if !text.starts_with("$argon2id$") {
        return Err("the hash is neither argon2id nor bcrypt ($2a$, $2b$, $2y$)".into());
    }
    let hash = phc::PasswordHash::new(text).map_err(|_| "the hash is not a complete PHC string ($argon2id$v=19$…)")?;
    if hash.version != Some(19) {
        return Err("the hash is not of version 19 of argon2".into());
    }
    let parameters = Params::try_from(&hash.params).map_err(|_| "the hash's parameters are not those of argon2")?;
    judge_cost(&parameters)?;
    if hash.salt.is_none_or(|salt| salt.len() < MIN_SALT) {
        return Err(format!("the hash's salt is missing or shorter than {MIN_SALT} bytes"));
    }
    if hash.hash.is_none_or(|output| output.len() < MIN_OUTPUT) {
        return Err(format!("the hash itself is missing or shorter than {MIN_OUTPUT} bytes"));
    }
    let (memory, passes, lanes) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    Ok(Cost::Argon2id { memory, passes, lanes })
}

/// Judges what follows the version: `12$`, then salt and output in bcrypt's own base64.
fn judge_bcrypt(rest: &str) -> Result<Cost, String> {
    let whole = rest.split_once('$').filter(|(cost, tail)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
        cost.len() == 2 && tail.len() == BCRYPT_TAIL && tail.bytes().all(plain)
    });
    let not_whole = "the bcrypt hash is not complete ($2b$12$…)";
    let cost = whole.and_then(|(cost, _)| cost.parse::<u8>().ok()).ok_or(not_whole)?;
    if !BCRYPT_COSTS.contains(&cost) {
        let (low, high) = (BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
        return Err(format!("the bcrypt hash has the cost {cost}; it must be from {low} to {high}"));
    }
    // Whatever the library could not read would be refused at once, whoever asks.
    format!("$2b${rest}").parse::<bcrypt::HashParts>().map_err(|_| not_whole)?;
    Ok(Cost::Bcrypt(cost))
}

fn judge_cost(parameters: &Params) -> Result<(), String> {
    let (m, t, p) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    if !MEMORY_BOUNDS.contains(&m) {
        let (low, high) = (MEMORY_BOUNDS.start(), MEMORY_BOUNDS.end());
        return Err(format!("the hash needs m={m} KiB of memory; it must be from {low} to {high}"));
    }
    if t > MAX_PASSES || p > MAX_LANES {
        return Err(format!(
            "the hash needs t={t} passes in p={p} lanes; at most {MAX_PASSES} and {MAX_LANES} are supported"
        ));
    }
    if u64::from(m) * u64::from(t) > MAX_WORK {
        return Err(format!("the hash needs t={t} passes over m={m} KiB; m × t may be at most {MAX_WORK}"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// A hash with these parameters; the salt and the output are of no meaning.
    fn with(parameters: &str) -> String {
        format!("$argon2id$v=19${parameters}$c2FsdHNhbHRzYWx0c2FsdA$3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA")
    }

    /// Of "correct horse", made by Python's bcrypt.
    const BCRYPT: &str = "$2b$10$csNIMW9spwgpJy9ENYJMnePn79v6L4RtVwHomltt1gqrOdzsL.CKO";

    #[test]
    fn a_bcrypt_hash_of_elsewhere_matches_in_each_version() {
        for version in ["$2a$", "$2b$", "$2y$"] {
            let hash = PasswordHash::parse(&BCRYPT.replacen("$2b$", version, 1)).unwrap();
            assert!(hash.matches(&secret("correct horse")), "{version}");
            for wrong in ["correct horse ", "Correct horse", "", "correct"] {
                assert!(!hash.matches(&secret(wrong)), "{version} {wrong:?}");
            }
        }
    }

    #[test]
    fn the_decoy_is_a_right_hash_that_costs_as_much_as_most() {
        let made = PasswordHash::parse(&PasswordHash::make(&secret("x")).unwrap()).unwrap();
        let bcrypt = PasswordHash::parse(BCRYPT).unwrap();
        let other = PasswordHash::parse(&with("m=7168,t=5,p=1")).unwrap();
        for (hashes, like) in [
            (vec![], &made),
            (vec![&made], &made),
            (vec![&made, &bcrypt, &bcrypt], &bcrypt),
            (vec![&other, &made, &other], &other),
        ] {
            let decoy = PasswordHash::decoy(hashes);
            assert_eq!(decoy.cost, like.cost);
            assert_eq!(PasswordHash::parse(decoy.text.expose()).unwrap().cost, like.cost, "it is a right one");
            assert!(!decoy.matches(&secret("x")));
        }
        let lengths = |text: &str| {
            let hash = phc::PasswordHash::new(text).unwrap();
            (hash.salt.unwrap().len(), hash.hash.unwrap().len())
        };
        assert_eq!(lengths(PasswordHash::decoy([]).text.expose()), lengths(made.text.expose()));
    }

    #[test]
    fn wrong_hashes_are_refused_with_the_remedy_and_without_themselves() {
        for (wrong, what) in [
            ("hunter2", "plain password"),
            ("", "not a password hash"),
            (&BCRYPT.replace("$10$", "$09$"), "the cost 9; it must be from 10 to 14"),
            (&BCRYPT.replace("$10$", "$15$"), "the cost 15"),
            (&BCRYPT.replace("$10$", "$1$"), "not complete"),
            (&BCRYPT.replace("$10$", "$10"), "not complete"),
            (&BCRYPT.replace("$2b$", "$2x$"), "neither argon2id nor bcrypt"),
            (&BCRYPT[..59], "not complete"),
            (&format!("{BCRYPT}="), "not complete"),
            (&format!("{}!", &BCRYPT[..59]), "not complete"),
            (&format!("{}/", &BCRYPT[..59]), "not complete"),
            ("$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "neither argon2id"),
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
        assert_eq!(format!("{:?}", PasswordHash::decoy([])), "[hash]");
    }
}
