//! Public keys of users: one line of the `authorized_keys` form, checked down to the structure of the key.

use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, STANDARD_PAD_INDIFFERENT};
use chrono::{DateTime, Utc};

use super::options::{KeyOptions, first_field};
use super::presence::Presence;

/// The longest key in wire form, in bytes: an RSA key of 16,384 bits needs about 2,100.
const MAX_BLOB: usize = 8 * 1024;

/// The longest comment, in bytes; comments are copied into events.
const MAX_COMMENT: usize = 1024;

/// The smallest RSA modulus, in bits (NIST SP 800-131A; OpenSSH's `RequiredRSASize` can be raised to the same).
const MIN_RSA_BITS: usize = 2048;

/// The largest RSA modulus, in bits (OpenSSH's `OPENSSL_RSA_MAX_MODULUS_BITS`).
const MAX_RSA_BITS: usize = 16_384;

/// The key types that may log in, as the messages name them.
const SERVED: &str = "ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, ssh-rsa, \
                      sk-ssh-ed25519@openssh.com and sk-ecdsa-sha2-nistp256@openssh.com";

/// A public key of the configuration: `ssh-ed25519 AAAA… comment`, with options before it or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKey {
    options: KeyOptions,
    key_type: String,
    blob: Vec<u8>,
    comment: Option<String>,
}

impl AuthorizedKey {
    /// Reads one line of the `authorized_keys` form (sshd(8), AUTHORIZED_KEYS FILE FORMAT). Checks that the blob is of the
    /// named type, whole, and for RSA at least 2,048 bits. Options that would change what the key may do are refused.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        refuse_other_files(line)?;
        let (options, line) = split_options(line);
        let (key_type, rest) = split_word(line);
        let kind = Kind::of(key_type).ok_or_else(|| why_not_served(line))?;
        let options = options.map_or(Ok(KeyOptions::default()), KeyOptions::parse)?;
        let (encoded, comment) = split_word(rest);
        if encoded.is_empty() {
            return Err(format!("there is nothing after {key_type}; a key is one line, \"{key_type} AAAA… comment\""));
        }
        let blob = decode(encoded)?;
        judge_blob(kind, key_type, &blob)?;
        if options.presence().verified && !options.is_authority() && !key_type.starts_with("sk-") {
            return Err(format!(
                "`verify-required` is not possible before a {key_type} key: only a security key can verify its user"
            ));
        }
        Ok(AuthorizedKey { options, key_type: key_type.to_owned(), blob, comment: read_comment(comment)? })
    }

    /// The algorithm name of the key.
    pub fn key_type(&self) -> &str {
        &self.key_type
    }

    /// The key in SSH wire form (RFC 4253 section 6.6): what a client offers.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The comment, if there is one.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Whether the key signs the certificates of this user, and logs nobody in by itself (`cert-authority`).
    pub fn is_authority(&self) -> bool {
        self.options.is_authority()
    }

    /// What the key has to show with its signatures, if it is a security key; of an authority, what the keys that it certifies have to.
    pub fn presence(&self) -> Presence {
        self.options.presence()
    }

    /// Whose certificates the authority signs (`principals=`), when that is said.
    pub fn principals(&self) -> Option<&[String]> {
        self.options.principals()
    }

    /// Whether the key's `from=` lets it be used from `source`.
    pub fn allows_from(&self, source: IpAddr) -> bool {
        self.options.allow_from(source)
    }

    /// Whether the key's `expiry-time=` is over.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.options.expired(now)
    }

    /// The fingerprint as `ssh-keygen -lf` prints it: `SHA256:` and base64 without padding.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, &self.blob)))
    }
}

/// What a key type's blob looks like after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// RFC 8709: the 32-byte key. With `security_key`, PROTOCOL.u2f: an application follows.
    Ed25519 { security_key: bool },
    /// RFC 5656 section 3.1: the curve's name and an uncompressed point of this many bytes.
    Ecdsa { curve: &'static str, point: usize, security_key: bool },
    /// RFC 4253 section 6.6: exponent and modulus.
    Rsa,
}

impl Kind {
    fn of(key_type: &str) -> Option<Kind> {
        let ecdsa = |curve, point| Some(Kind::Ecdsa { curve, point, security_key: false });
        match key_type {
            "ssh-ed25519" => Some(Kind::Ed25519 { security_key: false }),
            "sk-ssh-ed25519@openssh.com" => Some(Kind::Ed25519 { security_key: true }),
            "ecdsa-sha2-nistp256" => ecdsa("nistp256", 65),
            "ecdsa-sha2-nistp384" => ecdsa("nistp384", 97),
            "ecdsa-sha2-nistp521" => ecdsa("nistp521", 133),
            "sk-ecdsa-sha2-nistp256@openssh.com" => {
                Some(Kind::Ecdsa { curve: "nistp256", point: 65, security_key: true })
            }
            "ssh-rsa" => Some(Kind::Rsa),
            _ => None,
        }
    }
}

/// Refuses what is not one line of the form at all. Repeats nothing of the text: it may be a private key.
fn refuse_other_files(line: &str) -> Result<(), String> {
    if line.is_empty() {
        return Err("the key is empty; write the line of a .pub file, \"ssh-ed25519 AAAA… comment\"".into());
    }
    if line.contains("PRIVATE KEY-----") || line.starts_with("PuTTY-User-Key-File") {
        return Err(
            "this is a private key; write the public key, the line of its .pub file, and keep the private key \
                    away from the server (one that was here should be replaced)"
                .into(),
        );
    }
    if line.starts_with("---- BEGIN SSH2 PUBLIC KEY") || line.starts_with("-----BEGIN") {
        return Err(
            "this is not OpenSSH's one-line format; `ssh-keygen -i -f FILE` (with `-m PKCS8` for a PEM file) prints it"
                .into(),
        );
    }
    if line.contains(['\n', '\r']) {
        return Err("this is more than one line; write each key as a separate element".into());
    }
    if line.starts_with('#') {
        return Err("this is a comment, not a key".into());
    }
    Ok(())
}

/// Why the first word of a line is no key type that is served.
fn why_not_served(line: &str) -> String {
    let (word, _) = split_word(line);
    if word == "ssh-dss" {
        return format!("DSA keys are too weak and not supported; the types are {SERVED}");
    }
    if word.contains("-cert-v01@openssh.com") {
        return "this is a certificate; a client shows its certificate by itself: write the plain public key, or the \
                authority's after cert-authority"
            .into();
    }
    if word.starts_with("AAAA") {
        return "the key type is missing before the key; a line starts with \"ssh-ed25519 AAAA…\"".into();
    }
    if word.bytes().all(|b| b.is_ascii_graphic()) && word.len() <= 64 {
        return format!("\"{word}\" is not a supported key type; the types are {SERVED}");
    }
    format!("this is not a public key; write the line of a .pub file; the types are {SERVED}")
}

/// The options before a key, when a line has some, and the rest: a first field (quotes may hold spaces) that a key type
/// follows.
fn split_options(line: &str) -> (Option<&str>, &str) {
    let (field, rest) = first_field(line);
    let (next, _) = split_word(rest);
    let a_key_follows = Kind::of(next).is_some() || next == "ssh-dss" || next.contains("-cert-v01@");
    if Kind::of(field).is_none() && a_key_follows { (Some(field), rest) } else { (None, line) }
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

fn decode(encoded: &str) -> Result<Vec<u8>, String> {
    if encoded.len() > MAX_BLOB * 4 / 3 + 4 {
        return Err("the key is longer than any supported key".into());
    }
    STANDARD_PAD_INDIFFERENT
        .decode(encoded)
        .map_err(|_| "the second field is not base64; the key may have been cut off or split over two lines".into())
}

fn read_comment(comment: &str) -> Result<Option<String>, String> {
    if comment.len() > MAX_COMMENT {
        return Err(format!("the comment is longer than {MAX_COMMENT} bytes"));
    }
    if comment.chars().any(char::is_control) {
        return Err("the comment contains a control character".into());
    }
    Ok((!comment.is_empty()).then(|| comment.to_owned()))
}

/// Checks that `blob` is a whole key of a type that is served, and no weak one.
pub(super) fn judge_wire(key_type: &str, blob: &[u8]) -> Result<(), String> {
    let kind = Kind::of(key_type).ok_or_else(|| why_not_served(key_type))?;
    judge_blob(kind, key_type, blob)
}

/// Checks that `blob` is a whole key of `kind`.
fn judge_blob(kind: Kind, key_type: &str, blob: &[u8]) -> Result<(), String> {
    let cut = || format!("the {key_type} key is cut off or damaged; copy the whole line of the .pub file");
    let mut wire = Wire(blob);
    let inner = wire.string().ok_or_else(cut)?;
    if inner != key_type.as_bytes() {
        let inner = String::from_utf8_lossy(inner);
        return Err(match Kind::of(&inner) {
            Some(_) => format!("the line says {key_type}, but the key in it is of type {inner}"),
            None => format!("the line says {key_type}, but the key in it is of another type"),
        });
    }
    let security_key = match kind {
        Kind::Ed25519 { security_key } => {
            let length = wire.string().ok_or_else(cut)?.len();
            if length != 32 {
                return Err(format!("an Ed25519 key has 32 bytes, this one has {length}"));
            }
            security_key
        }
        Kind::Ecdsa { curve, point, security_key } => {
            judge_ecdsa(&mut wire, curve, point).unwrap_or_else(|| Err(cut()))?;
            security_key
        }
        Kind::Rsa => {
            judge_rsa(&mut wire).unwrap_or_else(|| Err(cut()))?;
            false
        }
    };
    if security_key && wire.string().ok_or_else(cut)?.is_empty() {
        return Err("the security key's application is empty".into());
    }
    if wire.0.is_empty() {
        Ok(())
    } else {
        Err(format!("there are {} bytes after the end of the {key_type} key", wire.0.len()))
    }
}

/// `None` when the blob ends too early.
fn judge_ecdsa(wire: &mut Wire<'_>, curve: &str, point: usize) -> Option<Result<(), String>> {
    let (named, q) = (wire.string()?, wire.string()?);
    Some(if named != curve.as_bytes() {
        Err(format!("the key's curve is not {curve}"))
    } else if q.len() != point || q.first() != Some(&4) {
        Err(format!("the key's point is not an uncompressed point of {curve} ({point} bytes)"))
    } else {
        Ok(())
    })
}

/// `None` when the blob ends too early.
fn judge_rsa(wire: &mut Wire<'_>) -> Option<Result<(), String>> {
    let (e, n) = (wire.string()?, wire.string()?);
    let (Some(e), Some(n)) = (positive(e), positive(n)) else {
        return Some(Err("the RSA key's numbers are not positive numbers in their shortest form".into()));
    };
    let bits = n.len() * 8 - n.first().map_or(0, |b| b.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|b| b % 2 == 1);
    Some(if bits < MIN_RSA_BITS {
        Err(format!("the RSA key has {bits} bits, which is too weak; it must have at least {MIN_RSA_BITS}"))
    } else if bits > MAX_RSA_BITS {
        Err(format!("the RSA key has {bits} bits; at most {MAX_RSA_BITS} are supported"))
    } else if !odd(e) || e == [1] || !odd(n) {
        Err("the RSA key's numbers cannot be a key's".into())
    } else {
        Ok(())
    })
}

/// The bytes of a positive mpint (RFC 4251 section 5) without its sign byte; `None` when it is zero, negative or too long.
fn positive(mpint: &[u8]) -> Option<&[u8]> {
    match mpint {
        [0, next, ..] if *next >= 0x80 => Some(&mpint[1..]),
        [first, ..] if (1..0x80).contains(first) => Some(mpint),
        _ => None,
    }
}

/// What is left of an SSH wire form.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// The next `string` (RFC 4251 section 5); `None` when it does not fit.
    fn string(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
