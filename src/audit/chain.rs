//! The words of the proof: how one line commits to the line before it, and what a checkpoint signs.
//!
//! Every line ends in `"sequence":N,"previous":"HEX"}`. `sequence` counts the events of one chain from 1; `previous` is the
//! SHA-256 of the bytes of the line before, without its newline, as 64 lower-case hex digits ([`Hash::START`], 64 zeros, for the
//! first). So a line that is changed, removed, added or moved no longer fits to the one after it, and any tool that can hash a
//! line can see it. A checkpoint is a line like every other, with one more field at its very end, `"signature"`: Ed25519
//! (RFC 8032) over the bytes that the line would have without that field ([`signed_bytes`]).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};

/// What stands between the bytes that are signed and the signature.
const SIGNATURE: &[u8] = b",\"signature\":\"";

/// The SHA-256 of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first line of a chain has for the line before it.
    pub const START: Hash = Hash([0; 32]);

    /// The hash of a line; its newline, if it is there, does not count.
    pub fn of_line(line: &[u8]) -> Hash {
        let mut hash = Hash::START;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        hash.0.copy_from_slice(digest(&SHA256, line).as_ref());
        hash
    }

    /// Its 64 digits.
    pub(super) fn hex(&self) -> [u8; 64] {
        let mut digits = [b'0'; 64];
        // There is room for exactly this.
        let _ = base16ct::lower::encode(&self.0, &mut digits);
        digits
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Hash, NotAHash> {
        let digits = text.as_bytes();
        let lower = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if digits.len() != 64 || !digits.iter().copied().all(lower) {
            return Err(NotAHash);
        }
        let mut hash = Hash::START;
        for (byte, pair) in hash.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAHash)?;
        }
        Ok(hash)
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hex digits")]
pub struct NotAHash;

/// A place in a chain: the last line that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line's number; 0 before the first.
    pub sequence: u64,
    /// The line's hash.
    pub hash: Hash,
}

impl Default for Position {
    fn default() -> Self {
        Position::START
    }
}

impl Position {
    /// Before the first line.
    pub const START: Position = Position { sequence: 0, hash: Hash::START };
}

/// What a checkpoint's signature covers: the line without its last field. `None` when the line has no signature at its end.
pub fn signed_bytes(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let at = line.windows(SIGNATURE.len()).rposition(|window| window == SIGNATURE)?;
    let encoded = line.get(at + SIGNATURE.len()..)?.strip_suffix(b"\"}")?;
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    if !encoded.iter().all(base64) {
        return None;
    }
    let mut signed = line.get(..at)?.to_vec();
    signed.push(b'}');
    Some(signed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        // printf '{}' | sha256sum
        let known = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(Hash::of_line(b"{}").to_string(), known);
        assert_eq!(Hash::of_line(b"{}\n"), known.parse().unwrap());
        assert_eq!(Hash::START.to_string(), "0".repeat(64));
        for wrong in ["", &known[1..], &known.to_uppercase(), &known.replace('4', "é"), &format!("+{}", &known[1..])] {
            assert_eq!(wrong.parse::<Hash>(), Err(NotAHash), "{wrong}");
        }
    }

    #[test]
    fn a_signature_covers_all_that_stands_before_it() {
        let signed = |line: &str| signed_bytes(line.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(signed("{\"a\":1,\"signature\":\"Ab+/==\"}\n").unwrap(), "{\"a\":1}");
        for without in ["{\"a\":1}", "{\"a\":1,\"signature\":\"Ab\",\"b\":2}", "{\"signature\":\"Ab\"}", ""] {
            assert_eq!(signed(without), None, "{without}");
        }
    }
}
