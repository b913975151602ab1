//! OpenSSH user certificates (PROTOCOL.certkeys): whether one lets its bearer in as a user.
//!
//! What is judged here was read, and its signature checked, by the SSH library; that the authority which signed is one that
//! anybody trusts, and everything else, is judged here. What is not known refuses.

use chrono::{DateTime, Utc};

use super::admission::{Circumstances, Refusal};
use super::key::judge_wire;
use super::network::Network;
use super::presence::Presence;
use super::{AuthorizedKey, User};

/// The one `force-command` that can be obeyed: SFTP and nothing else.
const ONLY_SFTP: &str = "internal-sftp";

/// A certificate as a client presents it; the signature of the authority in it is good.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The type of the certified key (`ssh-ed25519`).
    pub key_type: String,
    /// The certified key in SSH wire form.
    pub key: Vec<u8>,
    /// The authority's key in SSH wire form.
    pub authority: Vec<u8>,
    /// Whether the authority signed with SHA-1.
    pub uses_sha1: bool,
    /// Whether it is for a user, not for a host.
    pub for_user: bool,
    /// Whom it names.
    pub principals: Vec<String>,
    /// The first second of its life, in Unix time.
    pub valid_after: u64,
    /// The first second after its life.
    pub valid_before: u64,
    /// Whether it says that a security key need not be touched (the extension `no-touch-required`).
    pub needs_no_touch: bool,
    /// The critical options.
    pub critical_options: Vec<(String, String)>,
}

/// What a certificate lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateGrant {
    /// SFTP and nothing else: `force-command` is `internal-sftp`.
    pub only_sftp: bool,
    /// What a security key has to show.
    pub presence: Presence,
    /// The first moment after its life; `None` for one without an end.
    pub ends: Option<DateTime<Utc>>,
}

impl User {
    /// Whether `certificate` lets its bearer in as this user. Trusted are the user's own authorities (`cert-authority` before
    /// a key) and `trusted`, everybody's.
    ///
    /// # Errors
    /// Why not.
    pub fn authorize_certificate(
        &self,
        certificate: &Certificate,
        trusted: &[AuthorizedKey],
        at: Circumstances,
    ) -> Result<CertificateGrant, Refusal> {
        self.admits(at)?;
        if !self.auth.takes_key() {
            return Err(Refusal::MethodNotAllowed);
        }
        let own = self.keys.iter().filter(|key| key.is_authority());
        let authority = own.chain(trusted).find(|key| key.blob() == certificate.authority);
        let authority = authority.ok_or(Refusal::AuthorityNotTrusted)?;
        authority.usable(at)?;
        if !certificate.for_user {
            return Err(Refusal::NotAUserCertificate);
        }
        if certificate.uses_sha1 || judge_wire(&certificate.key_type, &certificate.key).is_err() {
            return Err(Refusal::AlgorithmNotAllowed);
        }
        let now = u64::try_from(at.now.timestamp()).unwrap_or(0);
        if now < certificate.valid_after || now >= certificate.valid_before {
            return Err(Refusal::OutsideOfValidity);
        }
        if !self.is_named_in(certificate, authority) {
            return Err(Refusal::PrincipalNotAllowed);
        }
        let own = authority.presence();
        // An authority that is one user's must say so as well; everybody's says nothing before its certificates.
        let touch = !certificate.needs_no_touch || (authority.is_authority() && own.touch);
        let presence = Presence { touch, verified: own.verified };
        let ends = i64::try_from(certificate.valid_before).ok().and_then(|end| DateTime::from_timestamp(end, 0));
        let grant = CertificateGrant { only_sftp: false, presence, ends };
        obey(certificate, grant, at)
    }

    /// A certificate that names nobody is nobody's, whatever OpenSSH's older versions made of it.
    fn is_named_in(&self, certificate: &Certificate, authority: &AuthorizedKey) -> bool {
        let listed = authority.principals().or((!self.principals.is_empty()).then_some(&self.principals[..]));
        match listed {
            Some(listed) => certificate.principals.iter().any(|name| listed.contains(name)),
            None => certificate.principals.iter().any(|name| **name == *self.name),
        }
    }
}

fn obey(
    certificate: &Certificate,
    mut grant: CertificateGrant,
    at: Circumstances,
) -> Result<CertificateGrant, Refusal> {
    for (name, value) in &certificate.critical_options {
        match name.as_str() {
            "source-address" => {
                // One that cannot be read makes the whole list say nothing.
                let networks: Result<Vec<Network>, _> = value.split(',').map(Network::parse).collect();
                let networks = networks.map_err(|_| Refusal::CriticalOption)?;
                if !networks.iter().any(|network| network.contains(at.source)) {
                    return Err(Refusal::SourceNotAllowed);
                }
            }
            "force-command" if value == ONLY_SFTP => grant.only_sftp = true,
            // Any other key cannot show that.
            "verify-required" if certificate.key_type.starts_with("sk-") => grant.presence.verified = true,
            _ => return Err(Refusal::CriticalOption),
        }
    }
    Ok(grant)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::users::AuthMode;
    use crate::users::testing::user;

    const AUTHORITY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI authority";

    fn at(text: &str) -> Circumstances {
        let now: DateTime<Utc> = text.parse().unwrap();
        Circumstances { now, source: "192.0.2.7".parse().unwrap() }
    }

    fn noon() -> Circumstances {
        at("2027-01-01T12:00:00Z")
    }

    fn authority(options: &str) -> AuthorizedKey {
        AuthorizedKey::parse(&format!("{options} {AUTHORITY}")).unwrap()
    }

    /// Of alice, signed by the authority, for the first day of 2027.
    fn certificate() -> Certificate {
        let blob = authority("").blob().to_vec();
        Certificate {
            key_type: "ssh-ed25519".into(),
            key: blob.clone(),
            authority: blob,
            uses_sha1: false,
            for_user: true,
            principals: vec!["alice".into(), "staff".into()],
            valid_after: u64::try_from(at("2027-01-01T00:00:00Z").now.timestamp()).unwrap(),
            valid_before: u64::try_from(at("2027-01-02T00:00:00Z").now.timestamp()).unwrap(),
            needs_no_touch: false,
            critical_options: Vec::new(),
        }
    }

    fn granted(only_sftp: bool) -> CertificateGrant {
        let ends = Some("2027-01-02T00:00:00Z".parse().unwrap());
        CertificateGrant { only_sftp, presence: Presence::default(), ends }
    }

    fn judge(user: &User, certificate: &Certificate) -> Result<CertificateGrant, Refusal> {
        user.authorize_certificate(certificate, &[authority("")], noon())
    }

    #[test]
    fn an_authority_is_trusted_by_everybody_or_by_one_user() {
        let mut alice = user("alice");
        assert_eq!(judge(&alice, &certificate()), Ok(granted(false)));
        let without = alice.authorize_certificate(&certificate(), &[], noon());
        assert_eq!(without, Err(Refusal::AuthorityNotTrusted));
        alice.keys = vec![authority("cert-authority")];
        assert!(alice.authorize_certificate(&certificate(), &[], noon()).is_ok());
        // The authority's own key logs nobody in, and a plain key is no authority.
        assert_eq!(alice.authorize_key(&certificate().authority, noon()).err(), Some(Refusal::KeyNotAuthorized));
        alice.keys = vec![authority("")];
        let plain = alice.authorize_certificate(&certificate(), &[], noon());
        assert_eq!(plain, Err(Refusal::AuthorityNotTrusted));
        alice.keys = vec![authority("cert-authority,from=\"10.0.0.0/8\"")];
        let elsewhere = alice.authorize_certificate(&certificate(), &[], noon());
        assert_eq!(elsewhere, Err(Refusal::SourceNotAllowed));
        alice.keys.clear();
        alice.auth = AuthMode::Password;
        assert_eq!(judge(&alice, &certificate()), Err(Refusal::MethodNotAllowed));
        alice.enabled = false;
        assert_eq!(judge(&alice, &certificate()), Err(Refusal::Disabled));
    }

    #[test]
    fn the_time_has_a_first_second_and_none_after_the_last() {
        for (time, valid) in [
            ("2026-12-31T23:59:59Z", false),
            ("2027-01-01T00:00:00Z", true),
            ("2027-01-01T23:59:59Z", true),
            ("2027-01-02T00:00:00Z", false),
            ("1960-01-01T00:00:00Z", false),
        ] {
            let judged = user("alice").authorize_certificate(&certificate(), &[authority("")], at(time));
            assert_eq!(judged.is_ok(), valid, "{time}: {judged:?}");
        }
        let forever = Certificate { valid_after: 0, valid_before: u64::MAX, ..certificate() };
        assert!(judge(&user("alice"), &forever).is_ok());
    }

    #[test]
    fn principals_are_the_name_or_a_list() {
        let mut bob = user("bob");
        assert_eq!(judge(&bob, &certificate()), Err(Refusal::PrincipalNotAllowed));
        bob.principals = vec!["staff".into()];
        assert!(judge(&bob, &certificate()).is_ok());
        bob.keys = vec![authority("cert-authority,principals=\"x,bob\"")];
        assert_eq!(judge(&bob, &certificate()), Err(Refusal::PrincipalNotAllowed), "the authority's own list holds");
        // With a list, the user's own name counts only if it stands there.
        let mut alice = user("alice");
        alice.principals = vec!["nobody".into()];
        assert_eq!(judge(&alice, &certificate()), Err(Refusal::PrincipalNotAllowed));
        let of_everybody = Certificate { principals: Vec::new(), ..certificate() };
        assert_eq!(judge(&user("alice"), &of_everybody), Err(Refusal::PrincipalNotAllowed));
        let similar = Certificate { principals: vec!["Alice".into(), "alice ".into(), "*".into()], ..certificate() };
        assert_eq!(judge(&user("alice"), &similar), Err(Refusal::PrincipalNotAllowed));
    }

    #[test]
    fn critical_options_are_obeyed_or_refuse() {
        for (name, value, expected) in [
            ("source-address", "192.0.2.0/24,2001:db8::/32", Ok(granted(false))),
            ("source-address", "192.0.2.7", Ok(granted(false))),
            ("source-address", "198.51.100.0/24", Err(Refusal::SourceNotAllowed)),
            ("source-address", "192.0.2.0/24,example.org", Err(Refusal::CriticalOption)),
            ("source-address", "", Err(Refusal::CriticalOption)),
            ("force-command", "internal-sftp", Ok(granted(true))),
            ("force-command", "internal-sftp -R", Err(Refusal::CriticalOption)),
            ("force-command", "/bin/true", Err(Refusal::CriticalOption)),
            ("force-command", "", Err(Refusal::CriticalOption)),
            ("verify-required", "", Err(Refusal::CriticalOption)),
            ("Source-Address", "192.0.2.7", Err(Refusal::CriticalOption)),
            ("of-the-future", "", Err(Refusal::CriticalOption)),
        ] {
            let options = vec![(name.to_owned(), value.to_owned())];
            let judged = judge(&user("alice"), &Certificate { critical_options: options, ..certificate() });
            assert_eq!(judged, expected, "{name}={value}");
        }
    }

    #[test]
    fn a_touch_may_be_left_out_where_the_certificate_and_its_authority_say_so() {
        let untouched = Certificate { needs_no_touch: true, ..certificate() };
        let presence = |user: &User, certificate: &Certificate| judge(user, certificate).unwrap().presence;
        let (touch, none) = (Presence::default(), Presence { touch: false, verified: false });
        assert_eq!(presence(&user("alice"), &certificate()), touch);
        assert_eq!(presence(&user("alice"), &untouched), none);
        let mut alice = user("alice");
        alice.keys = vec![authority("cert-authority")];
        assert_eq!(presence(&alice, &untouched), touch);
        alice.keys = vec![authority("cert-authority,no-touch-required,verify-required")];
        assert_eq!(presence(&alice, &untouched), Presence { touch: false, verified: true });
    }

    #[test]
    fn weak_and_foreign_certificates_are_refused() {
        let alice = user("alice");
        let host = Certificate { for_user: false, ..certificate() };
        assert_eq!(judge(&alice, &host), Err(Refusal::NotAUserCertificate));
        let sha1 = Certificate { uses_sha1: true, ..certificate() };
        assert_eq!(judge(&alice, &sha1), Err(Refusal::AlgorithmNotAllowed));
        let cut = Certificate { key: certificate().key[..50].to_vec(), ..certificate() };
        assert_eq!(judge(&alice, &cut), Err(Refusal::AlgorithmNotAllowed));
        let other = Certificate { authority: b"another".to_vec(), ..certificate() };
        assert_eq!(judge(&alice, &other), Err(Refusal::AuthorityNotTrusted));
    }
}
