//! Several sources of users as one directory, and whether a session that was let in may go on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Attempt, AuthorizedKey, Directory, DirectoryError, Knock, User};
use crate::secret::Secret;

/// Sources in an order: the first that has a user of a name is the one that counts. A source that cannot answer ends the
/// search, for nobody knows whom it would have named.
#[derive(Debug)]
pub struct Sources {
    sources: Vec<Arc<dyn Directory>>,
}

impl Sources {
    /// These sources, in this order.
    pub fn new(sources: Vec<Arc<dyn Directory>>) -> Self {
        Sources { sources }
    }
}

#[async_trait]
impl Directory for Sources {
    async fn find(&self, name: &str, attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        for source in &self.sources {
            if let Some(user) = source.find(name, attempt).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    fn known(&self) -> Vec<Arc<User>> {
        let mut all: BTreeMap<Arc<str>, Arc<User>> = BTreeMap::new();
        for user in self.sources.iter().flat_map(|source| source.known()) {
            all.entry(user.name.clone()).or_insert(user);
        }
        all.into_values().collect()
    }

    fn known_as(&self, name: &str) -> Option<Arc<User>> {
        self.sources.iter().find_map(|source| source.known_as(name))
    }

    fn is_asked_about(&self, source: &str) -> bool {
        self.sources.iter().any(|one| one.is_asked_about(source))
    }

    async fn find_with_password(
        &self,
        name: &str,
        password: &Secret,
        attempt: &Attempt,
    ) -> Result<Knock, DirectoryError> {
        let mut nobody = Knock::Unknown;
        for source in &self.sources {
            match source.find_with_password(name, password, attempt).await? {
                Knock::Unknown => {}
                // The next one may have a user of this name.
                Knock::Refused => nobody = Knock::Refused,
                found => return Ok(found),
            }
        }
        Ok(nobody)
    }
}

/// Why a session may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// There is no such user any more.
    Removed,
    /// `enabled: false`
    Disabled,
    /// The key, or the authority of the certificate, is not the user's any more.
    KeyRemoved,
    /// The key, the certificate or its authority is revoked.
    KeyRevoked,
    /// The user, or the key, may not be used from this address any more.
    AddressNotAllowed,
    /// The target, or its account, is not the user's any more.
    TargetRemoved,
}

impl Lapse {
    /// Whether the session of `user`, who was let in from `address` with `credential` (a fingerprint; `None` after a password alone),
    /// may not go on. `trusted` are the authorities of all users. A time that is over ends no session.
    pub fn of(
        user: Option<&User>,
        credential: Option<&str>,
        address: IpAddr,
        trusted: &[AuthorizedKey],
    ) -> Option<Lapse> {
        let Some(user) = user else { return Some(Lapse::Removed) };
        if !user.enabled {
            return Some(Lapse::Disabled);
        }
        if !user.bounds.allows_from(address) {
            return Some(Lapse::AddressNotAllowed);
        }
        let credential = credential?;
        let mut lapse = Some(Lapse::KeyRemoved);
        for key in user.keys.iter().chain(trusted).filter(|key| key.fingerprint() == credential) {
            if key.allows_from(address) {
                return None;
            }
            lapse = Some(Lapse::AddressNotAllowed);
        }
        lapse
    }

    /// The `reason` of DISCONNECTED.
    pub fn reason(self) -> &'static str {
        match self {
            Lapse::Removed => "user-removed",
            Lapse::Disabled => "user-disabled",
            Lapse::KeyRemoved => "key-removed",
            Lapse::KeyRevoked => "key-revoked",
            Lapse::AddressNotAllowed => "address-not-allowed",
            Lapse::TargetRemoved => "target-removed",
        }
    }

    /// What the client is told.
    pub fn message(self) -> &'static str {
        match self {
            Lapse::Removed => "the user was removed",
            Lapse::Disabled => "the user was disabled",
            Lapse::KeyRemoved => "the key of this session was removed",
            Lapse::KeyRevoked => "the key of this session was revoked",
            Lapse::AddressNotAllowed => "the user may no longer log in from this address",
            Lapse::TargetRemoved => "the user may no longer use this account of the target",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::users::testing::user;
    use crate::users::{FixedDirectory, Network};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";

    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl Directory for Silent {
        async fn find(&self, _: &str, _: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
            Err(DirectoryError::Silent { from: "nobody".into(), what: "silence".into() })
        }
    }

    #[tokio::test]
    async fn the_first_source_that_has_the_user_counts() {
        let of = |role: &str, names: &[&str]| -> Arc<dyn Directory> {
            let made = |name: &&str| User { role: Some(role.into()), ..user(name) };
            Arc::new(FixedDirectory::new(names.iter().map(made).collect()))
        };
        let sources = Sources::new(vec![of("first", &["ann"]), of("second", &["ann", "ben"]), Arc::new(Silent)]);
        let attempt = Attempt { source_ip: [127, 0, 0, 1].into() };
        let role =
            async |name: &str| sources.find(name, &attempt).await.map(|user| user.unwrap().role.clone().unwrap());
        assert_eq!(role("ann").await.unwrap(), "first");
        assert_eq!(role("ben").await.unwrap(), "second");
        assert!(role("carl").await.is_err(), "the last one might have known");
        let known: Vec<_> = sources.known().iter().map(|user| (user.name.to_string(), user.role.clone())).collect();
        assert_eq!(
            known,
            [("ann".to_owned(), Some("first".to_owned())), ("ben".to_owned(), Some("second".to_owned()))]
        );
        for user in sources.known() {
            assert!(sources.known_as(&user.name).is_some_and(|same| Arc::ptr_eq(&same, &user)));
        }
        assert!(sources.known_as("carl").is_none());
    }

    #[test]
    fn a_session_goes_on_while_what_it_hangs_on_is_there() {
        let key = AuthorizedKey::parse(KEY).unwrap();
        let fingerprint = key.fingerprint();
        let here: IpAddr = [192, 0, 2, 9].into();
        let mut ann = user("ann");
        assert_eq!(Lapse::of(None, None, here, &[]), Some(Lapse::Removed));
        assert_eq!(Lapse::of(Some(&ann), None, here, &[]), None, "after a password");
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), Some(Lapse::KeyRemoved));
        let of_all = std::slice::from_ref(&key);
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, of_all), None, "an authority of all");
        ann.keys = vec![key.clone()];
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), None);
        ann.keys = vec![AuthorizedKey::parse(&format!("from=\"192.0.2.8\" {KEY}")).unwrap()];
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), Some(Lapse::AddressNotAllowed));
        ann.keys.push(key);
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), None, "one of two lines lets it in");
        ann.bounds.expires = Some("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), None, "sessions outlive the user's time");
        ann.bounds.allow_from = vec![Network::parse("198.51.100.0/24").unwrap()];
        assert_eq!(Lapse::of(Some(&ann), None, here, &[]), Some(Lapse::AddressNotAllowed));
        ann.enabled = false;
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), here, &[]), Some(Lapse::Disabled));
    }
}
