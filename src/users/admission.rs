//! Whether a user may log in with what is presented: pure judgements, each with its reason.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::{AuthorizedKey, Totp, User};

/// When and from where an attempt is made.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The time.
    pub now: DateTime<Utc>,
    /// The client's address.
    pub source: IpAddr,
}

/// Why a user is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `enabled: false`
    Disabled,
    /// The user's time is over.
    UserExpired,
    /// A one-time code is demanded of the user, who has no secret for it.
    SecondFactorNotSet,
    /// Not from this address: the user's `allow_from`, the key's `from=` or a certificate's `source-address`.
    SourceNotAllowed,
    /// The user's `auth` does not take a key.
    MethodNotAllowed,
    /// The key is not one of the user's.
    KeyNotAuthorized,
    /// The key's `expiry-time=` is over.
    KeyExpired,
    /// The key, or what signed the certificate, is too weak.
    AlgorithmNotAllowed,
    /// No trusted authority signed the certificate.
    AuthorityNotTrusted,
    /// A host's certificate.
    NotAUserCertificate,
    /// The certificate's time is over or has not begun.
    OutsideOfValidity,
    /// The certificate is not of this user.
    PrincipalNotAllowed,
    /// The certificate has a critical option that is not known, or that cannot be obeyed.
    CriticalOption,
}

impl User {
    /// Whether the user may log in at all now, from there.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, at: Circumstances) -> Result<(), Refusal> {
        if !self.enabled {
            Err(Refusal::Disabled)
        } else if self.bounds.expires.is_some_and(|end| at.now >= end) {
            Err(Refusal::UserExpired)
        } else if !self.bounds.allows_from(at.source) {
            Err(Refusal::SourceNotAllowed)
        } else if matches!(self.totp, Totp::NotSet) {
            Err(Refusal::SecondFactorNotSet)
        } else {
            Ok(())
        }
    }

    /// The user's key with this blob, if it may be used.
    ///
    /// # Errors
    /// Why not.
    pub fn authorize_key(&self, blob: &[u8], at: Circumstances) -> Result<&AuthorizedKey, Refusal> {
        self.admits(at)?;
        if !self.auth.takes_key() {
            return Err(Refusal::MethodNotAllowed);
        }
        let matches = |known: &&AuthorizedKey| !known.is_authority() && !blob.is_empty() && known.blob() == blob;
        let key = self.keys.iter().find(matches).ok_or(Refusal::KeyNotAuthorized)?;
        key.usable(at)?;
        Ok(key)
    }
}

impl AuthorizedKey {
    /// Whether the options before the key let it be used.
    pub(super) fn usable(&self, at: Circumstances) -> Result<(), Refusal> {
        if !self.allows_from(at.source) {
            return Err(Refusal::SourceNotAllowed);
        }
        if self.is_expired(at.now) { Err(Refusal::KeyExpired) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::users::testing::user;
    use crate::users::{AuthMode, Bounds, Network};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";

    fn at(time: &str, source: &str) -> Circumstances {
        Circumstances { now: time.parse().unwrap(), source: source.parse().unwrap() }
    }

    #[test]
    fn a_user_is_let_in_within_the_bounds() {
        let network = |text: &str| Network::parse(text).unwrap();
        let mut ann = user("ann");
        ann.bounds = Bounds {
            expires: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            allow_from: vec![network("192.0.2.0/24"), network("2001:db8::/32")],
            sessions: None,
        };
        let (before, after) = ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
        for (time, source, expected) in [
            (before, "192.0.2.9", Ok(())),
            (before, "::ffff:192.0.2.9", Ok(())),
            (before, "2001:db8::9", Ok(())),
            (before, "198.51.100.1", Err(Refusal::SourceNotAllowed)),
            (before, "::1", Err(Refusal::SourceNotAllowed)),
            (after, "192.0.2.9", Err(Refusal::UserExpired)),
        ] {
            assert_eq!(ann.admits(at(time, source)), expected, "{time} {source}");
        }
        assert_eq!(user("ben").admits(at(after, "198.51.100.1")), Ok(()), "without bounds");
        ann.totp = Totp::NotSet;
        assert_eq!(ann.admits(at(before, "192.0.2.9")), Err(Refusal::SecondFactorNotSet));
        ann.enabled = false;
        assert_eq!(ann.admits(at(before, "192.0.2.9")), Err(Refusal::Disabled));
    }

    #[test]
    fn a_key_counts_when_the_user_and_its_line_allow_it() {
        let here = at("2026-01-01T00:00:00Z", "192.0.2.9");
        let mut ann = user("ann");
        ann.keys = vec![AuthorizedKey::parse(&format!("from=\"192.0.2.9\",expiry-time=\"20270101Z\" {KEY}")).unwrap()];
        let blob = ann.keys[0].blob().to_vec();
        assert_eq!(ann.authorize_key(&blob, here).unwrap().comment(), Some("laptop"));
        assert_eq!(ann.authorize_key(&blob[1..], here), Err(Refusal::KeyNotAuthorized));
        assert_eq!(ann.authorize_key(b"", here), Err(Refusal::KeyNotAuthorized));
        let elsewhere = at("2026-01-01T00:00:00Z", "192.0.2.8");
        assert_eq!(ann.authorize_key(&blob, elsewhere), Err(Refusal::SourceNotAllowed));
        let later = at("2027-01-01T00:00:00Z", "192.0.2.9");
        assert_eq!(ann.authorize_key(&blob, later), Err(Refusal::KeyExpired));
        ann.auth = AuthMode::Password;
        assert_eq!(ann.authorize_key(&blob, here), Err(Refusal::MethodNotAllowed));
        ann.enabled = false;
        assert_eq!(ann.authorize_key(&blob, here), Err(Refusal::Disabled));
    }
}
