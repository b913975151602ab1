//! The person behind a session's user name: several people may share one account. Written to JSON once for a session, because
//! every event of it carries these fields.

use std::sync::Arc;

use super::event::KeyIdentity;
use super::line::Ready;

/// Who is behind a session, as each of its events says.
#[derive(Debug, Clone)]
pub struct Person {
    identity: Option<Arc<str>>,
    pub(super) identity_field: Option<Ready>,
    pub(super) key_field: Option<Ready>,
}

impl Person {
    /// Who logged in with `key`, whom the source of users calls `named`. A certificate's key id names the person best, for its
    /// authority vouches for it; then the key's comment; then what the source of users says.
    pub fn of(key: Option<&KeyIdentity>, named: Option<&str>) -> Arc<Person> {
        let key_id = key.and_then(|key| key.certificate.as_ref()).map(|certificate| certificate.key_id.as_str());
        let comment = key.and_then(|key| key.comment.as_deref());
        let identity = [key_id, comment, named].into_iter().flatten().find(|name| !name.trim().is_empty());
        Arc::new(Person {
            identity: identity.map(Arc::from),
            identity_field: identity.map(Ready::text),
            key_field: key.map(|key| Ready::text(&key.fingerprint)),
        })
    }

    /// The person's name; `None` when nobody says one.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::CertificateIdentity;

    fn key(comment: Option<&str>, key_id: Option<&str>) -> KeyIdentity {
        let certificate = key_id.map(|key_id| CertificateIdentity {
            serial: 1,
            key_id: key_id.into(),
            authority: "SHA256:authority".into(),
            authority_blob: String::new(),
        });
        KeyIdentity {
            key_type: "ssh-ed25519".into(),
            fingerprint: "SHA256:key".into(),
            blob: String::new(),
            comment: comment.map(str::to_owned),
            certificate,
        }
    }

    #[test]
    fn the_certificate_names_the_person_then_the_comment_then_the_source_of_users() {
        for (key, named, expected) in [
            (Some(key(Some("laptop"), Some("ann@corp"))), Some("ann"), Some("ann@corp")),
            (Some(key(Some("laptop"), Some(""))), Some("ann"), Some("laptop")),
            (Some(key(Some("laptop"), None)), Some("ann"), Some("laptop")),
            (Some(key(Some("  "), None)), Some("ann"), Some("ann")),
            (Some(key(None, None)), None, None),
            (None, Some("ann"), Some("ann")),
            (None, None, None),
        ] {
            let person = Person::of(key.as_ref(), named);
            assert_eq!(person.identity(), expected);
            assert_eq!(person.key_field.is_some(), key.is_some());
        }
    }
}
