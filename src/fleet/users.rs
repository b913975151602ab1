//! Which gateway tells the trail of a change of users, so that one does.
//!
//! Redis has what was told last of each user, under a seal: somebody who only can write there cannot make the gateways leave a change out.
//! The key of the seal is made of the host keys, which are the same for all gateways.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::member::Member;
use crate::session::{Teller, UserState, WhoTells};

/// How many leases changes are held back while the others cannot be asked: long enough for a fail-over of Redis.
const HELD_BACK_LEASES: u32 = 4;

/// Seals what is noted of users.
pub struct UsersSeal(hmac::Key);

impl fmt::Debug for UsersSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsersSeal")
    }
}

impl UsersSeal {
    /// Of what all gateways of the fleet know, and nobody else.
    pub fn of(secret: &[u8]) -> UsersSeal {
        let outer = hmac::Key::new(hmac::HMAC_SHA256, secret);
        UsersSeal(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&outer, b"lockgate fleet users 1").as_ref()))
    }

    /// What is noted after a change was told.
    fn note(&self, fleet: &str, source: &str, told: &UserState) -> String {
        format!("{} {}", told.state, hex(hmac::sign(&self.0, &sealed(fleet, source, told)).as_ref()))
    }

    /// Whether this was noted after the change to this state was told.
    fn is_note_of(&self, note: &[u8], fleet: &str, source: &str, asked: &UserState) -> bool {
        let Some((state, seal)) = std::str::from_utf8(note).ok().and_then(|note| note.split_once(' ')) else {
            return false;
        };
        let Some(seal) = unhex(seal).filter(|_| state == asked.state) else { return false };
        hmac::verify(&self.0, &sealed(fleet, source, asked), &seal).is_ok()
    }
}

fn sealed(fleet: &str, source: &str, told: &UserState) -> Vec<u8> {
    // None of them has a line's end in it.
    [fleet, source, &told.user, &told.state].join("\n").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let is_hex = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    let pairs = digits.chunks(2).filter(|_| is_hex).map(std::str::from_utf8);
    let bytes = pairs.map(|pair| u8::from_str_radix(pair.ok()?, 16).ok()).collect::<Option<Vec<u8>>>();
    bytes.filter(|_| is_hex)
}

/// As [`crate::session::Peers::who_tells`].
pub(super) async fn who_tells(
    member: &Member,
    source: &str,
    every: Duration,
    told: &[UserState],
    asked: &[UserState],
) -> WhoTells {
    let lease = member.settings.lease;
    let unknown = WhoTells::Unknown { hold_back: lease * HELD_BACK_LEASES };
    let Some(calls) = member.calls() else { return unknown };
    let (fleet, seal) = (member.settings.name.as_str(), &member.seal);
    let notes: Vec<(&str, String)> = told.iter().map(|told| (&*told.user, seal.note(fleet, source, told))).collect();
    let users: Vec<&str> = asked.iter().map(|asked| &*asked.user).collect();
    // Whoever does not come back from a round or two does not tell any more.
    let tells = every * 2 + lease;
    match calls.users(source, tells, &notes, &users).await {
        Ok(((teller, found), tampered)) => {
            member.note_tampering(tampered, "the users of a source");
            member.tells_of(source, teller != Teller::Other);
            let found = found.iter().map(Vec::as_slice).chain(std::iter::repeat(&b""[..]));
            let is_told = |(asked, note): (&UserState, &[u8])| seal.is_note_of(note, fleet, source, asked);
            let told = asked.iter().zip(found).map(is_told).collect();
            // The next one begins to tell a round after the one before it is not heard of any more.
            WhoTells::Asked { teller, told, hold_back: tells + every * 2 + lease }
        }
        Err(error) => {
            tracing::debug!(%error, source, "it is not known which gateway records changes of users");
            unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_fleet_source_user_and_state() {
        let seal = UsersSeal::of(b"host keys");
        let state = |user: &str, state: &str| UserState { user: user.into(), state: state.to_owned() };
        let ann = state("ann", "0123");
        let note = seal.note("prod", "keys:lake:/keys", &ann);
        let is_of = |note: &str, fleet: &str, source: &str, asked: &UserState| {
            seal.is_note_of(note.as_bytes(), fleet, source, asked)
        };
        assert!(is_of(&note, "prod", "keys:lake:/keys", &ann));
        assert!(!is_of(&note, "test", "keys:lake:/keys", &ann));
        assert!(!is_of(&note, "prod", "keys:lake:/other", &ann));
        assert!(!is_of(&note, "prod", "keys:lake:/keys", &state("ben", "0123")));
        assert!(!is_of(&note, "prod", "keys:lake:/keys", &state("ann", "-")));
        assert!(!is_of(&note.replace("0123 ", "- "), "prod", "keys:lake:/keys", &state("ann", "-")));
        let other = UsersSeal::of(b"other host keys");
        assert!(!other.is_note_of(note.as_bytes(), "prod", "keys:lake:/keys", &ann));
        for nonsense in ["", "0123", "0123 ", "0123 zz", "0123 \u{e4}", "0123 0"] {
            assert!(!is_of(nonsense, "prod", "keys:lake:/keys", &ann), "{nonsense}");
        }
    }
}
