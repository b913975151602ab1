//! The keys that checkpoints are signed with: those that are given, and those that these lead to. A key that an accepted one endorses is
//! accepted as well, from the checkpoint on that shows the endorsement; the one before it is not accepted any more from there on.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::audit::chain;
use crate::audit::succession::Endorsement;

use super::checkpoint::Checkpoint;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
const ED25519_INFO: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The field before a signature.
const FIELD: usize = ",\"signature\":\"".len();

/// How many endorsements are remembered, so that a forged trail cannot use memory without bound. Further ones are checked each time.
const MOST_REMEMBERED: usize = 1 << 16;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    raw: [u8; 32],
}

impl PublicKey {
    /// Reads a `PUBLIC KEY` in PEM, as in `signing_key.pub` and as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "-----BEGIN PUBLIC KEY-----").skip(1);
        let body: String = lines.by_ref().take_while(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).map_err(|_| "its base64 is damaged".to_owned())?;
        if der.is_empty() {
            return Err("it contains no \"-----BEGIN PUBLIC KEY-----\"".into());
        }
        let raw = der.strip_prefix(&ED25519_INFO).and_then(|raw| raw.try_into().ok());
        raw.map(|raw| PublicKey { raw }).ok_or_else(|| "it is not an Ed25519 key".into())
    }

    /// Its 32 bytes.
    pub(super) fn raw(&self) -> &[u8; 32] {
        &self.raw
    }

    /// Of 32 bytes.
    pub(super) fn of_raw(raw: [u8; 32]) -> Self {
        PublicKey { raw }
    }

    /// `SHA256:` and base64 without padding, as in `checkpoint-key`.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &self.raw)))
    }
}

/// What is known of a checkpoint's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signature {
    /// No key was given, so it was not looked at.
    NotChecked,
    /// It is right.
    Right,
    /// There is none.
    Absent,
    /// Its key is none of those given, and none of these endorses it.
    OtherKey(String),
    /// It is right, but its key was followed by another one before.
    Followed(Follower),
    /// It shows that a key endorses a second key.
    Forked(Fork),
    /// It is of a given key and does not fit the line.
    Wrong,
}

/// The key that followed another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Follower {
    /// Its fingerprint.
    pub(super) key: String,
    /// The first checkpoint that shows the endorsement: its server, and its number in its chain; 0 when the folder of the chain says it.
    pub(super) server: String,
    pub(super) sequence: u64,
}

/// A key that endorses two: its owner changes it once, so somebody else has it, or an older copy of it was put back and changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fork {
    /// The fingerprint of the key that endorses.
    pub(super) old: String,
    /// The key that followed it first.
    pub(super) first: Follower,
    /// The fingerprint of the second one.
    pub(super) second: String,
}

/// The keys that are accepted.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// By their fingerprints.
    accepted: HashMap<String, PublicKey>,
    /// What followed a key, by its fingerprint.
    followed: HashMap<String, Follower>,
    /// What followed a key as the folder of the chain says, both by their fingerprints.
    noted: HashMap<String, String>,
    /// Endorsements with right signatures: each start shows many of them again.
    right: HashSet<Endorsement>,
}

impl Ring {
    pub(super) fn of(given: &[PublicKey]) -> Ring {
        Ring { accepted: by_fingerprint(given.to_vec()), ..Ring::default() }
    }

    /// Accepts the keys that `endorsements`, which stand elsewhere than in the trail, lead to from those that are given. The oldest first.
    pub(super) fn follow(&mut self, endorsements: &[Endorsement]) {
        let right: Vec<Endorsement> = endorsements.iter().filter(|one| one.is_right()).cloned().collect();
        self.accepted.extend(by_fingerprint(self.led_to(&right)));
        self.noted.extend(right.iter().map(ends));
        self.right.extend(right);
    }

    /// Checks the signature of a checkpoint, and accepts the keys that lead to its own.
    pub(super) fn check(&mut self, checkpoint: &Checkpoint, line: &[u8], sequence: u64) -> Signature {
        let endorsements = self.endorsements(checkpoint);
        let (named, led) = match self.judge(checkpoint, &endorsements, line, sequence) {
            Ok(judged) => judged,
            Err(signature) => return signature,
        };
        let server = &checkpoint.server;
        if let Some(follower) = self.followed.get(named).filter(|follower| follower.server == *server) {
            return Signature::Followed(follower.clone());
        }
        self.accept(led, &endorsements, server, sequence);
        Signature::Right
    }

    /// As [`Ring::check`], of a checkpoint that stands outside of the trail, in no order with its lines: an earlier key may have signed it
    /// rightly.
    pub(super) fn check_aside(&mut self, checkpoint: &Checkpoint, line: &[u8], sequence: u64) -> Signature {
        let endorsements = self.endorsements(checkpoint);
        match self.judge(checkpoint, &endorsements, line, sequence) {
            Ok((_, led)) => {
                self.accept(led, &endorsements, &checkpoint.server, sequence);
                Signature::Right
            }
            Err(signature) => signature,
        }
    }

    /// Accepts what a checkpoint with a right signature shows: nobody else could have signed it.
    fn accept(&mut self, led: Vec<PublicKey>, endorsements: &[Endorsement], server: &str, sequence: u64) {
        self.accepted.extend(by_fingerprint(led));
        for endorsement in endorsements {
            let (old, key) = ends(endorsement);
            let follower = || Follower { key, server: server.to_owned(), sequence };
            self.followed.entry(old).or_insert_with(follower);
        }
    }

    /// How many keys are accepted.
    pub(super) fn keys(&self) -> usize {
        self.accepted.len()
    }

    /// The key that a right signature is of, and the keys that lead to it; otherwise what is wrong.
    fn judge<'c>(
        &self,
        checkpoint: &'c Checkpoint,
        endorsements: &[Endorsement],
        line: &[u8],
        sequence: u64,
    ) -> Result<(&'c str, Vec<PublicKey>), Signature> {
        if self.accepted.is_empty() {
            return Err(Signature::NotChecked);
        }
        let signed = chain::signed_bytes(line).ok_or(Signature::Absent)?;
        let named = checkpoint.checkpoint_key.as_deref().unwrap_or_default();
        if let Some(fork) = self.fork(checkpoint, endorsements, sequence) {
            return Err(Signature::Forked(fork));
        }
        let led = self.led_to(endorsements);
        let is_named = |key: &&PublicKey| key.fingerprint() == named;
        let Some(key) = self.accepted.get(named).or_else(|| led.iter().find(is_named)) else {
            return Err(Signature::OtherKey(named.to_owned()));
        };
        // The closing brace stands in `signed` where the field begins in the line.
        let encoded = line.get(signed.len() - 1 + FIELD..).and_then(|rest| rest.strip_suffix(b"\"}"));
        let signature = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_default();
        match UnparsedPublicKey::new(&ED25519, &key.raw).verify(&signed, &signature) {
            Ok(()) => Ok((named, led)),
            Err(_) => Err(Signature::Wrong),
        }
    }

    /// The first key that endorses another one here than before, or two of these.
    fn fork(&self, checkpoint: &Checkpoint, endorsements: &[Endorsement], sequence: u64) -> Option<Fork> {
        let mut here: HashMap<String, Follower> = HashMap::new();
        for endorsement in endorsements {
            let (old, second) = ends(endorsement);
            let known = self.followed.get(&old).or_else(|| here.get(&old));
            if let Some(first) = known.filter(|first| first.key != second).cloned() {
                return Some(Fork { old, first, second });
            }
            if let Some(key) = self.noted.get(&old).filter(|key| **key != second).cloned() {
                return Some(Fork { old, first: Follower { key, server: String::new(), sequence: 0 }, second });
            }
            here.insert(old, Follower { key: second, server: checkpoint.server.clone(), sequence });
        }
        None
    }

    /// The keys to which endorsements with right signatures lead from the accepted ones.
    fn led_to(&self, endorsements: &[Endorsement]) -> Vec<PublicKey> {
        let mut led: HashMap<[u8; 32], PublicKey> = HashMap::new();
        let is_accepted = |key: &PublicKey| self.accepted.contains_key(&key.fingerprint());
        for endorsement in endorsements {
            let [old, new] = [endorsement.old(), endorsement.new_key()].map(|raw| PublicKey::of_raw(*raw));
            if (is_accepted(&old) || led.contains_key(&old.raw)) && !is_accepted(&new) {
                led.insert(new.raw, new);
            }
        }
        led.into_values().collect()
    }

    /// Those that a checkpoint shows, as far as they have right signatures.
    fn endorsements(&mut self, checkpoint: &Checkpoint) -> Vec<Endorsement> {
        let field = checkpoint.key_endorsements.as_deref().unwrap_or_default();
        let mut right: Vec<Endorsement> = field.split(' ').filter_map(Endorsement::read).collect();
        right.retain(|one| self.right.contains(one) || one.is_right());
        if right.iter().any(|one| !self.right.contains(one)) && self.right.len() < MOST_REMEMBERED {
            self.right.extend(right.iter().cloned());
        }
        right
    }
}

fn by_fingerprint(keys: Vec<PublicKey>) -> HashMap<String, PublicKey> {
    keys.into_iter().map(|key| (key.fingerprint(), key)).collect()
}

/// The fingerprints of the key that endorses and of the one that follows it.
fn ends(endorsement: &Endorsement) -> (String, String) {
    let fingerprint = |raw: &[u8; 32]| PublicKey::of_raw(*raw).fingerprint();
    (fingerprint(endorsement.old()), fingerprint(endorsement.new_key()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // openssl genpkey -algorithm ed25519 | openssl pkey -pubout
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_is_read_from_pem() {
        let key = PublicKey::from_pem(PEM).unwrap();
        assert_eq!(key.raw[..4], [0x19, 0xbf, 0x44, 0x09]);
        assert_eq!(PublicKey::from_pem(&format!("a comment\r\n{}", PEM.replace('\n', "\r\n"))).unwrap(), key);
        assert_eq!(key.fingerprint().len(), "SHA256:".len() + 43);
        for wrong in
            ["", "MCow", &PEM.replace("MCow", "MCo"), &PEM.replace("K2Vw", "K2Vx"), &PEM.replace("PUBLIC", "PRIVATE")]
        {
            assert!(PublicKey::from_pem(wrong).is_err(), "{wrong}");
        }
    }
}
