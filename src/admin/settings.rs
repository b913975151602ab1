//! How the admin door is opened, and for whom.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, rand};
use base16ct::lower::encode_string;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use super::oidc::OidcSettings;
use crate::secret::Secret;

/// What a token begins with, so that scanners for leaked secrets know it.
pub const TOKEN_PREFIX: &str = "lgt_";

/// What the text of a hash begins with.
const HASH_PREFIX: &str = "sha256:";

/// The keys of `admin` that a reload changes: who is let in. The others say where it listens.
pub const RELOADED_KEYS: &[&str] = &["tokens", "oidc"];

/// The admin door.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; holds from the start on.
    pub doors: DoorSettings,
    /// The tokens of callers over the network; a reload changes them.
    pub tokens: Vec<Token>,
    /// The identity provider, if there is one; a reload changes it.
    pub oidc: Option<OidcSettings>,
    /// The whole configuration, as it may be shown.
    pub written: Written,
}

/// Whom the admin door lets in over the network; a reload replaces it.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Those who have a token.
    pub tokens: Arc<[Token]>,
    /// Those whom the provider knows.
    pub oidc: Option<Arc<OidcSettings>>,
}

impl Settings {
    /// Whom these settings let in.
    pub fn trust(&self) -> Trust {
        Trust { tokens: self.tokens.clone().into(), oidc: self.oidc.clone().map(Arc::new) }
    }
}

/// A configuration as it may be shown: as it was written, with secrets masked.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The document.
    pub document: serde_json::Map<String, serde_json::Value>,
    /// The keys whose values hold from the start on.
    pub fixed: &'static [&'static str],
    /// What is masked, or was fetched from elsewhere, by its place: its SHA-256, which tells whether it changed and is shown to nobody.
    pub hidden: BTreeMap<String, [u8; 32]>,
}

/// Not its content: it is the whole of a file.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

/// Where the admin door listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoorSettings {
    /// The Unix socket, for commands on this machine.
    pub socket: Option<PathBuf>,
    /// TCP, for whoever has a token.
    pub listen: Vec<SocketAddr>,
    /// Health and metrics alone, without a token.
    pub health: Option<SocketAddr>,
    /// Whether the metrics there name users.
    pub health_users: bool,
    /// Names by which `listen` is called beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The certificate of `listen`; without one it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether a proxy before it speaks TLS (`plain_http: behind-a-proxy`).
    pub behind_proxy: bool,
}

/// The files of a certificate; they are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What somebody may do at the admin door; each role may what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `viewer`: sessions, health, metrics, stores, users.
    Viewer,
    /// `auditor`: events, recordings, the state of the trail.
    Auditor,
    /// `operator`: ends a session, lifts a ban, reloads, drains.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Auditor, Role::Operator];

    /// As the configuration and the events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
        }
    }
}

/// The tokens, with their roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The caller's name in the events.
    pub name: String,
    /// What the caller may do.
    pub role: Role,
    /// Of the token.
    pub hash: TokenHash,
    /// The first moment at which it is of no use any more.
    pub expires: Option<DateTime<Utc>>,
}

/// The SHA-256 of a token. A token has 256 random bits, so that nothing slower is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        TokenHash(hash)
    }

    /// Reads `sha256:` and 64 hex digits; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HASH_PREFIX).filter(|digits| digits.len() == 64 && digits.is_ascii())?;
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(TokenHash(hash))
    }

    /// Whether it is the hash of `token`.
    pub fn is_of(&self, token: &str) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &TokenHash::of(token).0).is_ok()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        f.write_str(&encode_string(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A new token: 256 random bits.
///
/// # Errors
/// When the system gives no randomness.
pub fn make_token() -> Result<Secret, String> {
    let mut bits = [0; 32];
    rand::fill(&mut bits).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(Secret::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
}

/// What every JWT begins with: an object of JSON in base64.
const JWT_PREFIX: &str = "eyJ";

/// A text without the tokens in it, the provider's too, for answers, events and logs. In an address, each character of a token may be
/// escaped (`%5F`), also twice (`%255F`).
pub(super) fn without_tokens(text: &str) -> String {
    let units = units(text);
    let mut safe = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while let Some(rest) = units.get(at..).filter(|rest| !rest.is_empty()) {
        let before = at.checked_sub(1).and_then(|before| units.get(before));
        let token = token_length(rest).map(|length| (TOKEN_PREFIX, length));
        let jwt = || if is_boundary(before) { jwt_length(rest) } else { None };
        let Some((prefix, length)) = token.or_else(|| jwt().map(|length| (JWT_PREFIX, length))) else {
            at += 1;
            continue;
        };
        let start = before.map_or(0, |before| before.end);
        safe.extend([text.get(copied..start).unwrap_or_default(), prefix, "…"]);
        at += length;
        copied = units.get(at - 1).map_or(text.len(), |last| last.end);
    }
    safe.push_str(text.get(copied..).unwrap_or_default());
    safe
}

/// A byte of a text, or what an escape in it means.
#[derive(Debug, Clone, Copy)]
struct Unit {
    byte: u8,
    is_escape: bool,
    /// Where it ends in the text.
    end: usize,
}

fn units(text: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    let (mut rest, mut end) = (text.as_bytes(), 0);
    while let Some(first) = rest.first() {
        let escape = escape(rest);
        let (byte, length) = escape.unwrap_or((*first, 1));
        end += length;
        units.push(Unit { byte, is_escape: escape.is_some(), end });
        rest = rest.get(length..).unwrap_or_default();
    }
    units
}

/// The byte that an escape at the beginning of a text means, and the escape's length: `%5F` and `%255F` mean `_`.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let mut digits = text.strip_prefix(b"%")?;
    while let Some(inner) = digits.strip_prefix(b"25").filter(|inner| byte_of(inner).is_some()) {
        digits = inner;
    }
    Some((byte_of(digits)?, text.len() - digits.len() + 2))
}

/// The byte that two hex digits mean.
fn byte_of(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// How many such bytes a text begins with.
fn run(units: &[Unit]) -> usize {
    units.iter().take_while(|unit| is_part(unit.byte)).count()
}

/// What is behind a word at the beginning of a text.
fn behind<'u>(units: &'u [Unit], word: &str) -> Option<&'u [Unit]> {
    let (beginning, rest) = units.split_at_checked(word.len())?;
    beginning.iter().map(|unit| unit.byte).eq(word.bytes()).then_some(rest)
}

/// The length of the token of ours that a text begins with.
fn token_length(units: &[Unit]) -> Option<usize> {
    let length = run(behind(units, TOKEN_PREFIX)?);
    (length > 0).then_some(TOKEN_PREFIX.len() + length)
}

/// The length of the JWT that a text begins with: a header and at least two more parts, which may be empty (RFC 7515 and RFC 7516,
/// section 7.1 of each).
fn jwt_length(units: &[Unit]) -> Option<usize> {
    behind(units, JWT_PREFIX)?;
    let mut length = run(units);
    let mut dots = 0;
    while let Some(part) = units.get(length..).and_then(|rest| behind(rest, ".")) {
        length += 1 + run(part);
        dots += 1;
    }
    (dots >= 2).then_some(length)
}

/// Whether a word may begin after this: in an address, also after an escape (`%3D`).
fn is_boundary(before: Option<&Unit>) -> bool {
    before.is_none_or(|before| before.is_escape || !is_part(before.byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let (one, other) = (make_token().unwrap(), make_token().unwrap());
        assert!(one.expose().starts_with(TOKEN_PREFIX) && one.expose().len() == 47 && one.expose() != other.expose());
        let hash = TokenHash::of(one.expose());
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(hash.clone()));
        assert!(hash.is_of(one.expose()) && !hash.is_of(other.expose()) && !hash.is_of(""));
        for wrong in [
            "",
            "sha256:",
            "sha256:00",
            &hash.to_string()[7..],
            &format!("{hash}0"),
            &hash.to_string().replace("sha256", "md5"),
        ] {
            assert_eq!(TokenHash::parse(wrong), None, "{wrong}");
        }
        assert_eq!(TokenHash::parse(&format!("sha256:{}", "é".repeat(32))), None);
    }

    #[test]
    fn no_token_is_told() {
        for (text, safe) in [
            ("/events?user=a", "/events?user=a"),
            ("/x?token=lgt_aB-_9&b=c", "/x?token=lgt_…&b=c"),
            ("lgt_a lgt_b", "lgt_… lgt_…"),
            ("`Authorization: Bearer lgt_…`", "`Authorization: Bearer lgt_…`"),
            ("x=lgt_lgt_a;y", "x=lgt_…;y"),
            ("/x?a=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.s-_&b=c", "/x?a=eyJ…&b=c"),
            ("/x?a%3DeyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.&b=c", "/x?a%3DeyJ…&b=c"),
            ("é eyJhbGciOiJkaXIifQ..iv.text.tag é", "é eyJ… é"),
            ("/sessions?token=lgt%5FaB-_9&b=c", "/sessions?token=lgt_…&b=c"),
            ("/users/%6c%67%74%5f%41%62/x", "/users/lgt_…/x"),
            ("/x?t=lgt_a%42c%2Dd&x=%C3%A9", "/x?t=lgt_…&x=%C3%A9"),
            ("/x?t=%256cgt%25255Fab%20b", "/x?t=lgt_…%20b"),
            ("/x?a=eyJhbGciOiJub25lIn0%2EeyJzdWIiOiJhIn0%2e%73&b=c", "/x?a=eyJ…&b=c"),
        ] {
            assert_eq!(without_tokens(text), safe);
        }
        // What only looks a little like one is evidence.
        for kept in [
            "/KeyJobs.tar.gz",
            "/in/HeyJude.2026.wav",
            "/eyJ",
            "eyJhbGciOiJub25lIn0",
            "/eyJob.csv",
            "reason: eyJ.x",
            "é%",
            "100%25",
            "/a%5Fb%C3%A9",
            "lgt%5F",
        ] {
            assert_eq!(without_tokens(kept), kept);
        }
    }

    #[test]
    fn each_role_may_what_the_one_before_may() {
        assert!(Role::ALL.is_sorted());
        assert_eq!(Role::ALL.map(Role::as_str), ["viewer", "auditor", "operator"]);
    }
}
