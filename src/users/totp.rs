//! One-time codes (TOTP, RFC 6238): a user's secret, which code it gives when, and what an authenticator app is given.
//!
//! Six digits of HMAC-SHA-1 every thirty seconds: what every app does, whatever else the URI asks for.

use std::fmt;

use aws_lc_rs::{constant_time, hmac, rand};
use base16ct::lower::encode_string;
use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// How long a code is shown, in seconds (RFC 6238 section 5.2 recommends it).
const STEP: i64 = 30;

/// Digits of a code.
const DIGITS: u32 = 6;

/// How many steps a clock may be ahead or behind.
const DRIFT: u64 = 1;

/// Bytes of a secret that is made here: as many as the hash has (RFC 4226, R6).
const MADE: usize = 20;

/// Bytes that a secret may have. The least is RFC 4226's (R6).
const BOUNDS: std::ops::RangeInclusive<usize> = 16..=64;

/// RFC 4648's base32.
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What stands in a URI as it is (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whether a user has to give a code as well.
#[derive(Debug, Clone, Default)]
pub enum Totp {
    /// No.
    #[default]
    NotNeeded,
    /// Yes, of this secret.
    Needed(TotpSecret),
    /// It is demanded of all users of the source, and this one has no secret.
    NotSet,
}

impl Totp {
    /// The secret, if a code is needed.
    pub fn secret(&self) -> Option<&TotpSecret> {
        match self {
            Totp::Needed(secret) => Some(secret),
            Totp::NotNeeded | Totp::NotSet => None,
        }
    }

    /// What is needed of a user with or without a secret, where a source may demand one of all.
    pub(super) fn of(secret: Option<TotpSecret>, required: bool) -> Totp {
        match secret {
            Some(secret) => Totp::Needed(secret),
            None if required => Totp::NotSet,
            None => Totp::NotNeeded,
        }
    }
}

/// A user's secret; it does not print.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl TotpSecret {
    /// Reads a secret in base32, as apps show it: in small letters, in groups and with padding as well.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without a word of the text, and how to make a right one.
    pub fn parse(text: &str) -> Result<TotpSecret, String> {
        let wrong = |what: String| format!("{what}; `lockgate totp` creates a valid one");
        let bytes = decoded(text).ok_or_else(|| wrong("this is not base32 (A to Z and 2 to 7)".into()))?;
        if !BOUNDS.contains(&bytes.len()) {
            let bits = (BOUNDS.start() * 8, BOUNDS.end() * 8);
            return Err(wrong(format!(
                "the secret has {} bits; it must have {} to {}",
                bytes.len() * 8,
                bits.0,
                bits.1
            )));
        }
        Ok(TotpSecret(bytes))
    }

    /// A new secret of 160 bits, in base32.
    ///
    /// # Errors
    /// A sentence, when the system gives no randomness.
    pub fn make() -> Result<Secret, String> {
        let mut bytes = Zeroizing::new([0; MADE]);
        rand::fill(&mut bytes[..]).map_err(|_| "the system gives no randomness".to_owned())?;
        Ok(encoded(&bytes[..]))
    }

    /// The step whose code it is, among those that clocks may be apart; the newest of several. All are compared whatever comes of
    /// it, so that the time tells nothing.
    pub fn step_of(&self, code: &Secret, now: DateTime<Utc>) -> Option<u64> {
        let given = digits_of(code)?;
        let current = step_at(now);
        let steps = current.saturating_sub(DRIFT)..=current.saturating_add(DRIFT);
        let fits =
            |step: u64| constant_time::verify_slices_are_equal(self.code(step, DIGITS).as_bytes(), &given[..]).is_ok();
        steps.fold(None, |found, step| if fits(step) { Some(step) } else { found })
    }

    /// A name of the secret that may stand in files and gives neither it nor its codes away: an HMAC-SHA-256 with it, in hexadecimal.
    pub fn digest(&self) -> String {
        let tag =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), b"lockgate: name of a secret of one-time codes");
        encode_string(tag.as_ref())
    }

    /// The code of a step (RFC 4226 section 5.3).
    fn code(&self, step: u64, digits: u32) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let hash = tag.as_ref();
        let offset = usize::from(hash.last().copied().unwrap_or_default() & 0xf);
        let word = hash.iter().skip(offset).take(4).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let number = (word & 0x7fff_ffff) % 10_u32.pow(digits);
        Zeroizing::new(format!("{number:0width$}", width = digits as usize))
    }
}

/// The number of the step at a time.
pub fn step_at(now: DateTime<Utc>) -> u64 {
    u64::try_from(now.timestamp().div_euclid(STEP)).unwrap_or_default()
}

/// The URI that authenticator apps read, by a QR code most of all (Google Authenticator's key URI format).
pub fn totp_uri(issuer: &str, name: &str, secret: &Secret) -> Secret {
    let (issuer, name) = (utf8_percent_encode(issuer, UNRESERVED), utf8_percent_encode(name, UNRESERVED));
    let secret = secret.expose();
    Secret::new(format!(
        "otpauth://totp/{issuer}:{name}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP}"
    ))
}

/// The digits of a code as it was typed: apps show it in groups. `None` for what is no code.
fn digits_of(code: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    // Before anything is copied: whoever asks may send 256 KiB.
    if code.expose().len() > 2 * DIGITS as usize + 4 {
        return None;
    }
    let digits = Zeroizing::new(code.expose().bytes().filter(|byte| *byte != b' ').collect::<Vec<u8>>());
    (digits.len() == DIGITS as usize && digits.iter().all(u8::is_ascii_digit)).then_some(digits)
}

fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim().trim_end_matches('=');
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')) {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_uppercase())?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // What is left over are zeros that fill the last letter.
    (bits < 5 && held == 0).then_some(bytes)
}

fn encoded(bytes: &[u8]) -> Secret {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let word = group.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)) << (8 * (5 - group.len()));
        let letters = (group.len() * 8).div_ceil(5);
        for place in 0..letters {
            let value = (word >> (35 - 5 * place)) & 0x1f;
            text.push(char::from(ALPHABET[usize::try_from(value).unwrap_or_default()]));
        }
    }
    Secret::new(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn text(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// The secret of RFC 6238's appendix B, for SHA-1.
    fn secret() -> TotpSecret {
        TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap()
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        for (seconds, expected) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(*secret().code(step_at(at(seconds)), 8), expected);
            let step = u64::try_from(seconds / 30).unwrap();
            assert_eq!(secret().step_of(&text(&expected[2..]), at(seconds)), Some(step), "six digits of it");
        }
    }

    /// RFC 4226, appendix D: the first ten counters.
    #[test]
    fn the_codes_are_those_of_rfc_4226() {
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        let made: Vec<_> = (0..10).map(|step| secret().code(step, 6).to_string()).collect();
        assert_eq!(made, expected);
    }

    #[test]
    fn a_clock_may_be_one_step_apart_and_no_more() {
        // "287082" is shown from second 30 to second 59.
        for (seconds, fits) in [(0, true), (29, true), (30, true), (59, true), (60, true), (89, true), (90, false)] {
            assert_eq!(secret().step_of(&text("287082"), at(seconds)).is_some(), fits, "{seconds}");
        }
        assert_eq!(secret().step_of(&text("338314"), at(89)), None, "two steps ahead");
        assert_eq!(secret().step_of(&text("755224"), at(-1)), Some(0), "a clock before 1970 ends nothing");
    }

    #[test]
    fn a_code_is_six_digits_however_they_are_grouped() {
        for (given, fits) in [
            ("287082", true),
            ("287 082", true),
            (" 287082 ", true),
            ("28708", false),
            ("2870820", false),
            ("287-082", false),
            ("287082\n", false),
            ("", false),
            ("２８７０８２", false),
            ("287083", false),
        ] {
            assert_eq!(secret().step_of(&text(given), at(30)).is_some(), fits, "{given:?}");
        }
        assert_eq!(secret().step_of(&text(&format!("287082{}", " ".repeat(100_000))), at(30)), None);
    }

    #[test]
    fn a_secret_is_base32_of_enough_bits_and_does_not_print() {
        assert!(TotpSecret::parse("gezd gnbv gy3t qojq gezd gnbv gy3t qojq").is_ok());
        assert!(TotpSecret::parse("JBSWY3DPEHPK3PXPJBSWY3DPEE======").is_ok(), "128 bits, with padding");
        for (wrong, why) in [
            ("", "bits"),
            ("JBSWY3DPEHPK3PXP", "80 bits"),
            ("1EZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "base32"),
            ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQA", "base32"),
            ("JBSWY3DPEHPK3PXPJBSWY3DPEF", "base32"),
            (&"A".repeat(1000), "bits"),
        ] {
            let what = TotpSecret::parse(wrong).unwrap_err();
            assert!(what.contains(why) && what.contains("lockgate totp"), "{wrong}: {what}");
            assert!(wrong.is_empty() || !what.contains(wrong), "{what}");
        }
        assert_eq!(format!("{:?}", Totp::Needed(secret())), "Needed([secret])");
    }

    #[test]
    fn a_secret_that_is_made_is_new_and_whole() {
        let (one, other) = (TotpSecret::make().unwrap(), TotpSecret::make().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.expose().len(), TotpSecret::parse(one.expose()).unwrap().0.len()), (32, 20));
    }

    #[test]
    fn the_uri_names_the_server_the_user_and_the_secret() {
        let uri = totp_uri("ACME files", "ann@example.org", &text("ABC"));
        let expected = "otpauth://totp/ACME%20files:ann%40example.org?secret=ABC&issuer=ACME%20files&algorithm=SHA1&digits=6&period=30";
        assert_eq!(uri.expose(), expected);
    }

    proptest! {
        #[test]
        fn what_is_written_in_base32_is_read_again(bytes in prop::collection::vec(any::<u8>(), 16..=64)) {
            prop_assert_eq!(&*TotpSecret::parse(encoded(&bytes).expose()).unwrap().0, &bytes);
        }

        #[test]
        fn whatever_is_given_ends_nothing(given in ".{0,40}", seconds in any::<i32>()) {
            let found = secret().step_of(&text(&given), at(seconds.into()));
            let digits: String = given.chars().filter(|letter| *letter != ' ').collect();
            let right = (0..=2).map(|n| (step_at(at(seconds.into())) + n).saturating_sub(1));
            let fits = right.into_iter().any(|step| *secret().code(step, 6) == digits);
            prop_assert!(fits || found.is_none());
        }
    }
}
