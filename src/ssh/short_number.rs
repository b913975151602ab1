//! ECDSA host keys whose private number is short.
//!
//! OpenSSH writes the number without leading zero bytes (`PROTOCOL.key`, RFC 4251 section 5 `mpint`), so one P-256 key in 256 has
//! fewer than 32 bytes. The library wants at least 32. Such a file is written anew, with the zeros.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::Secret;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The fewest bytes of a private number that the library reads.
const FULL: usize = 32;

/// The unencrypted private section is padded to a multiple of this.
const BLOCK: usize = 8;

/// The same key with a number of 32 bytes; `None` when that is not what the file lacks.
pub(super) fn lengthened(file: &Secret) -> Option<Secret> {
    let body: Zeroizing<String> =
        Zeroizing::new(file.expose().split(BEGIN).nth(1)?.split(END).next()?.split_whitespace().collect());
    let bytes = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let before = rest;
    // Cipher, KDF and its options; the number of keys; the public key.
    for _ in 0..3 {
        string(&mut rest)?;
    }
    rest = rest.get(4..)?;
    string(&mut rest)?;
    let head = before.get(..before.len() - rest.len())?;
    let private = lengthened_section(string(&mut rest)?)?;

    let mut whole = Zeroizing::new(Vec::with_capacity(bytes.len() + 64));
    whole.extend_from_slice(MAGIC);
    whole.extend_from_slice(head);
    put_string(&mut whole, &private)?;
    let encoded = Zeroizing::new(STANDARD.encode(&*whole));
    let mut text = format!("{BEGIN}\n");
    for line in encoded.as_bytes().chunks(70) {
        text.push_str(std::str::from_utf8(line).ok()?);
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    Some(Secret::new(text))
}

/// Two check numbers; type, curve, point, number, comment; padding.
fn lengthened_section(section: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = section.get(8..)?;
    if string(&mut rest)? != b"ecdsa-sha2-nistp256" {
        return None;
    }
    string(&mut rest)?;
    string(&mut rest)?;
    let head = section.get(..section.len() - rest.len())?;
    let number = string(&mut rest)?;
    if number.is_empty() || number.len() >= FULL {
        return None;
    }
    let comment = string(&mut rest)?;

    let mut new = Zeroizing::new(Vec::with_capacity(section.len() + FULL + BLOCK));
    new.extend_from_slice(head);
    let mut full = Zeroizing::new([0; FULL]);
    full[FULL - number.len()..].copy_from_slice(number);
    put_string(&mut new, &*full)?;
    put_string(&mut new, comment)?;
    let mut padding = 1;
    while !new.len().is_multiple_of(BLOCK) {
        new.push(padding);
        padding += 1;
    }
    Some(new)
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let head: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(head)).ok()?;
    let taken = rest.get(4..4usize.checked_add(length)?)?;
    *rest = &rest[4 + length..];
    Some(taken)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::keys::{KeyKind, make_key};
    use super::*;

    #[test]
    fn other_files_are_left_alone() {
        assert_eq!(lengthened(&make_key(KeyKind::Ed25519, "x").unwrap().private), None);
        for text in ["", BEGIN, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"] {
            assert_eq!(lengthened(&Secret::new(text.to_owned())), None);
        }
    }
}
