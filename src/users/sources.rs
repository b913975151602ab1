//! Several sources of users as one directory, and whether a session that was let in may go on.

use std::collections::BTreeMap;
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
}

impl Lapse {
    /// Whether the session of `user`, who was let in with `credential` (a fingerprint; `None` after a password alone), may not
    /// go on. `trusted` are the authorities of all users.
    pub fn of(user: Option<&User>, credential: Option<&str>, trusted: &[AuthorizedKey]) -> Option<Lapse> {
        let Some(user) = user else { return Some(Lapse::Removed) };
        if !user.enabled {
            return Some(Lapse::Disabled);
        }
        let credential = credential?;
        let known = user.keys.iter().chain(trusted).any(|key| key.fingerprint() == credential);
        (!known).then_some(Lapse::KeyRemoved)
    }

    /// The `reason` of DISCONNECTED.
    pub fn reason(self) -> &'static str {
        match self {
            Lapse::Removed => "user-removed",
            Lapse::Disabled => "user-disabled",
            Lapse::KeyRemoved => "key-removed",
        }
    }

    /// What the client is told.
    pub fn message(self) -> &'static str {
        match self {
            Lapse::Removed => "the user was removed",
            Lapse::Disabled => "the user was disabled",
            Lapse::KeyRemoved => "the key of this session was removed",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::users::FixedDirectory;
    use crate::users::testing::user;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";

    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl Directory for Silent {
        async fn find(&self, _: &str, _: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
            Err(DirectoryError("silence".into()))
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
    }

    #[test]
    fn a_session_goes_on_while_what_it_hangs_on_is_there() {
        let key = AuthorizedKey::parse(KEY).unwrap();
        let fingerprint = key.fingerprint();
        let mut ann = user("ann");
        assert_eq!(Lapse::of(None, None, &[]), Some(Lapse::Removed));
        assert_eq!(Lapse::of(Some(&ann), None, &[]), None, "after a password");
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), &[]), Some(Lapse::KeyRemoved));
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), std::slice::from_ref(&key)), None, "an authority of all");
        ann.keys = vec![key];
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), &[]), None);
        ann.enabled = false;
        assert_eq!(Lapse::of(Some(&ann), Some(&fingerprint), &[]), Some(Lapse::Disabled));
    }
}
