//! OpenSSH's files of revoked keys (PROTOCOL.krl), as `ssh-keygen -k` makes them. What is not known is refused: a key that somebody
//! revoked must not go on because a reader passed over what says so.

use super::revoked::{CertificateRule, Revoked, Serials};

/// How each begins.
pub(super) const MAGIC: &[u8; 8] = b"SSHKRL\n\0";

/// The version of the format.
const VERSION: u32 = 1;

/// The most serial numbers that one bitmap can name, as in OpenSSH.
const MAX_BITMAP: usize = 0x10_0000;

/// Sections.
const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

/// Parts of a section of certificates.
const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// What is left to read.
struct Input<'a>(&'a [u8]);

type Read<T> = Result<T, String>;

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it breaks off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it breaks off".to_owned())
    }

    fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Read<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| "it breaks off")?)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads a file into `revoked`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn read(bytes: &[u8], revoked: &mut Revoked) -> Read<()> {
    let mut file = Input(bytes.strip_prefix(MAGIC).ok_or("it is not a file of revoked keys")?);
    let version = u32::from_be_bytes(file.array()?);
    if version != VERSION {
        return Err(format!("its format has version {version}; only {VERSION} is supported"));
    }
    // The number of the list, its date and its flags, and what is reserved and said of it.
    for _ in 0..3 {
        file.number()?;
    }
    for _ in 0..2 {
        file.string()?;
    }
    while !file.is_empty() {
        let (kind, mut section) = (file.byte()?, Input(file.string()?));
        match kind {
            CERTIFICATES => certificates(&mut section, revoked)?,
            EXPLICIT_KEY => each(&mut section, |blob| revoked.add_key(blob))?,
            FINGERPRINT_SHA1 => each(&mut section, |hash| revoked.add_sha1(hash))?,
            FINGERPRINT_SHA256 => each(&mut section, |hash| revoked.add_sha256(hash))?,
            EXTENSION => extension(&mut section)?,
            4 => return Err("it is signed, which is not supported".into()),
            other => return Err(format!("it has a section of the unknown kind {other}")),
        }
    }
    Ok(())
}

fn each<'a>(section: &mut Input<'a>, mut take: impl FnMut(&'a [u8]) -> Read<()>) -> Read<()> {
    while !section.is_empty() {
        take(section.string()?)?;
    }
    Ok(())
}

fn certificates(section: &mut Input<'_>, revoked: &mut Revoked) -> Read<()> {
    let authority = section.string()?;
    section.string()?;
    let mut rule = CertificateRule::of_authority((!authority.is_empty()).then_some(authority));
    while !section.is_empty() {
        let (kind, mut part) = (section.byte()?, Input(section.string()?));
        match kind {
            SERIAL_LIST => {
                while !part.is_empty() {
                    rule.serials.push(Serials::one(part.number()?));
                }
            }
            SERIAL_RANGE => {
                let (from, to) = (part.number()?, part.number()?);
                if from > to || !part.is_empty() {
                    return Err("a range of serial numbers runs backwards".into());
                }
                rule.serials.push(Serials { from, to });
            }
            SERIAL_BITMAP => bitmap(&mut part, &mut rule)?,
            KEY_ID => each(&mut part, |id| {
                let id = std::str::from_utf8(id).map_err(|_| "the key id of a certificate is not UTF-8")?;
                rule.key_ids.insert(id.to_owned());
                Ok(())
            })?,
            CERTIFICATE_EXTENSION => extension(&mut part)?,
            other => return Err(format!("it has a rule of the unknown kind {other} for certificates")),
        }
    }
    revoked.add_rule(rule);
    Ok(())
}

/// A number whose bits name serial numbers, the lowest bit the one at `offset`.
fn bitmap(part: &mut Input<'_>, rule: &mut CertificateRule) -> Read<()> {
    let (offset, bits) = (part.number()?, part.string()?);
    if bits.len() > MAX_BITMAP / 8 + 1 || !part.is_empty() {
        return Err("a set of serial numbers is too large".into());
    }
    for (place, byte) in bits.iter().rev().enumerate() {
        for bit in (0..8).filter(|bit| byte & (1 << bit) != 0) {
            let serial = offset.checked_add(place as u64 * 8 + bit).ok_or("a serial number is too large")?;
            match rule.serials.last_mut() {
                Some(last) if last.to.checked_add(1) == Some(serial) => last.to = serial,
                _ => rule.serials.push(Serials::one(serial)),
            }
        }
    }
    Ok(())
}

/// What a newer version adds: of no matter unless it says that it must be understood.
fn extension(part: &mut Input<'_>) -> Read<()> {
    let (name, is_critical) = (part.string()?, part.byte()? != 0);
    part.string()?;
    match is_critical {
        true => Err(format!("it requires {:?}, which is not known", String::from_utf8_lossy(name))),
        false => Ok(()),
    }
}
