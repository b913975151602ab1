//! Keys and certificates that let nobody in any more, whoever they belong to: from lists of keys and fingerprints, and from OpenSSH's
//! files of revoked keys.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chrono::{DateTime, Utc};

use super::{AuthorizedKey, User, krl};

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 << 20;

/// What is revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    sha256: HashSet<[u8; 32]>,
    sha1: HashSet<[u8; 20]>,
    rules: Vec<CertificateRule>,
}

/// Certificates that are revoked, of one authority or of any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CertificateRule {
    /// The SHA-256 of the authority's key; `None`: any authority.
    authority: Option<[u8; 32]>,
    /// In their order, once the rule is added, and none within another.
    pub(super) serials: Vec<Serials>,
    pub(super) key_ids: HashSet<String>,
}

/// Serial numbers, from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serials {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Serials {
    pub(super) fn one(serial: u64) -> Self {
        Serials { from: serial, to: serial }
    }
}

/// What of a certificate a revocation may name.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFacts<'a> {
    /// The authority's key: `SHA256:` and base64 without padding.
    pub authority: &'a str,
    /// The number that the authority gave it.
    pub serial: u64,
    /// The name that the authority gave it.
    pub key_id: &'a str,
}

impl CertificateRule {
    pub(super) fn of_authority(blob: Option<&[u8]>) -> Self {
        CertificateRule { authority: blob.map(sha256), ..CertificateRule::default() }
    }

    fn names_any(&self) -> bool {
        !self.serials.is_empty() || !self.key_ids.is_empty()
    }

    fn fits(&self, authority: Option<[u8; 32]>, facts: &CertificateFacts<'_>) -> bool {
        if self.authority.is_some() && self.authority != authority {
            return false;
        }
        // Without a number it has 0, which names none, as in OpenSSH.
        let before = self.serials.partition_point(|all| all.from <= facts.serial);
        let last = before.checked_sub(1).and_then(|at| self.serials.get(at));
        let by_serial = facts.serial != 0 && last.is_some_and(|all| all.to >= facts.serial);
        by_serial || self.key_ids.contains(facts.key_id)
    }
}

impl Revoked {
    /// Reads the files, each of either kind.
    ///
    /// # Errors
    /// The number of the file, counted from 0, and a sentence that says what is wrong with it. Nothing of the others counts then.
    pub fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Revoked, (usize, String)> {
        let mut revoked = Revoked::default();
        for (number, (path, bytes)) in files.iter().enumerate() {
            revoked.add(bytes).map_err(|what| (number, format!("{}: {what}", shown(path))))?;
        }
        Ok(revoked)
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        *self == Revoked::default()
    }

    /// Whether a key (in SSH wire form) lets nobody in, by itself or in this certificate.
    pub fn revokes(&self, key: &[u8], certificate: Option<CertificateFacts<'_>>) -> bool {
        if self.is_empty() {
            return false;
        }
        if self.sha256.contains(&sha256(key)) || self.sha1.contains(&sha1(key)) {
            return true;
        }
        let Some(facts) = certificate else { return false };
        let authority = read_fingerprint(facts.authority);
        // An authority that is revoked has signed nothing that counts.
        let by_authority = authority.is_some_and(|authority| self.sha256.contains(&authority));
        by_authority || self.rules.iter().any(|rule| rule.fits(authority, &facts))
    }

    /// Whether the key of an authority, which only whoever has it whole can ask by its SHA-1, is revoked.
    pub fn revokes_authority(&self, key: &[u8]) -> bool {
        self.revokes(key, None)
    }

    /// Whether no key and no authority is left that could let this user in, because of what is revoked: of those whose time is not
    /// over, each is. `authorities`: those of all users.
    pub fn leaves_nothing_of(&self, user: &User, authorities: &[AuthorizedKey], now: DateTime<Utc>) -> bool {
        let mut all = user.keys.iter().chain(authorities).filter(|key| !key.is_expired(now)).peekable();
        all.peek().is_some() && all.all(|key| self.revokes(key.blob(), None))
    }

    /// Whether single certificates of this authority are revoked, by their numbers or key ids.
    pub fn has_rules_for(&self, authority: &[u8]) -> bool {
        let hash = sha256(authority);
        self.rules.iter().any(|rule| rule.names_any() && rule.authority.is_none_or(|of| of == hash))
    }

    /// Reads a file of either kind.
    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.starts_with(krl::MAGIC) {
            return krl::read(bytes, self);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is neither text nor a file of ssh-keygen -k")?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add_line(line).map_err(|what| format!("line {}: {what}", number + 1))?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Result<(), String> {
        let word = line.split_whitespace().next().unwrap_or_default();
        if word.starts_with("SHA256:") {
            let hash = read_fingerprint(word.trim_end_matches('='));
            self.sha256.insert(hash.ok_or("it is not a fingerprint as ssh-keygen -l prints it")?);
            return Ok(());
        }
        let key = AuthorizedKey::parse(line)?;
        self.add_key(key.blob())
    }

    pub(super) fn add_key(&mut self, blob: &[u8]) -> Result<(), String> {
        self.sha256.insert(sha256(blob));
        Ok(())
    }

    pub(super) fn add_sha1(&mut self, hash: &[u8]) -> Result<(), String> {
        self.sha1.insert(hash.try_into().map_err(|_| "a SHA-1 has 20 bytes")?);
        Ok(())
    }

    pub(super) fn add_sha256(&mut self, hash: &[u8]) -> Result<(), String> {
        self.sha256.insert(hash.try_into().map_err(|_| "a SHA-256 has 32 bytes")?);
        Ok(())
    }

    /// Adds a rule whose serial numbers come in any order.
    pub(super) fn add_rule(&mut self, mut rule: CertificateRule) {
        rule.serials.sort_unstable_by_key(|all| all.from);
        rule.serials.dedup_by(|next, all| {
            let is_one = next.from <= all.to.saturating_add(1);
            all.to = if is_one { all.to.max(next.to) } else { all.to };
            is_one
        });
        self.rules.push(rule);
    }
}

fn sha256(key: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key).as_ref());
    hash
}

fn sha1(key: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, key).as_ref());
    hash
}

/// A fingerprint: `SHA256:` and base64 without padding.
fn read_fingerprint(text: &str) -> Option<[u8; 32]> {
    STANDARD_NO_PAD.decode(text.strip_prefix("SHA256:")?).ok()?.try_into().ok()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
#[path = "revoked_tests.rs"]
mod tests;
