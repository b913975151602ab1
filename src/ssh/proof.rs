//! What a client shows to prove who it is, and what becomes of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::audit::{AuthFailureReason, KeyIdentity};
use crate::users::{AuthMode, Certificate, TotpSecret, User};

/// A key as a client offers it.
pub(super) struct OfferedKey {
    /// In SSH wire form.
    pub(super) blob: Vec<u8>,
    /// As events show it.
    pub(super) identity: KeyIdentity,
    /// The certificate that it came in.
    pub(super) certificate: Option<Certificate>,
    /// Whether it would sign with SHA-1.
    pub(super) uses_sha1: bool,
}

/// An attempt that the SSH library refused by itself.
pub(super) struct Refused {
    /// As events name it.
    pub(super) method: &'static str,
    pub(super) reason: AuthFailureReason,
    /// The key that was offered, however little of it can be read.
    pub(super) key: Option<KeyIdentity>,
}

/// What becomes of an attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Let in.
    Accept(Box<Accepted>),
    /// A proof is given; this one is still needed.
    Continue(Factor),
    /// Refused.
    Reject,
}

/// What a user can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    /// A key or a certificate.
    Key,
    /// A password, either way.
    Password,
    /// A one-time code.
    Code,
}

/// What is asked for by keyboard-interactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Password,
    Code,
}

impl Question {
    /// What the client shows, and whether it shows what is typed. A code is of no use when it has been read; and clients that answer the
    /// first question without an echo with a stored password do not mistake this one for it.
    pub(super) fn prompt(self) -> (&'static str, bool) {
        match self {
            Question::Password => ("Password: ", false),
            Question::Code => ("Verification code: ", true),
        }
    }
}

/// The user that is let in, and the proofs.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) user: Arc<User>,
    /// `publickey`, `password`, `publickey,password` and so on: one of [`METHODS`].
    pub(super) method: &'static str,
    /// `totp` when a one-time code was among them: its method is that of a password.
    pub(super) second_factor: Option<&'static str>,
    pub(super) key: Option<KeyIdentity>,
    /// Whether the certificate allows SFTP and nothing else.
    pub(super) only_sftp: bool,
    /// The first moment at which the certificate is not valid any more.
    pub(super) proof_ends: Option<DateTime<Utc>>,
}

/// How a password was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PasswordMethod {
    Plain,
    KeyboardInteractive,
}

impl PasswordMethod {
    pub(super) const fn name(self) -> &'static str {
        match self {
            PasswordMethod::Plain => "password",
            PasswordMethod::KeyboardInteractive => "keyboard-interactive",
        }
    }
}

/// One proof of who a client is.
#[derive(Debug)]
pub(super) enum Proof {
    /// A key or a certificate, whether it allows SFTP and nothing else, and when the certificate ends.
    Key { identity: KeyIdentity, only_sftp: bool, ends: Option<DateTime<Utc>> },
    /// A password.
    Password(PasswordMethod),
    /// A one-time code.
    Code,
}

impl Proof {
    /// SSH's name of the method by which it was given.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Proof::Key { .. } => "publickey",
            Proof::Password(method) => method.name(),
            Proof::Code => PasswordMethod::KeyboardInteractive.name(),
        }
    }

    fn factor(&self) -> Factor {
        match self {
            Proof::Key { .. } => Factor::Key,
            Proof::Password(_) => Factor::Password,
            Proof::Code => Factor::Code,
        }
    }
}

/// The methods of the proofs that let somebody in, in their order. A code comes last.
const METHODS: [&str; 13] = [
    "publickey",
    "password",
    "keyboard-interactive",
    "publickey,password",
    "publickey,keyboard-interactive",
    "password,publickey",
    "password,keyboard-interactive",
    "keyboard-interactive,publickey",
    "keyboard-interactive,keyboard-interactive",
    "publickey,password,keyboard-interactive",
    "publickey,keyboard-interactive,keyboard-interactive",
    "password,publickey,keyboard-interactive",
    "keyboard-interactive,publickey,keyboard-interactive",
];

/// The proofs that were given for one user.
#[derive(Debug)]
pub(super) struct Given {
    user: Arc<User>,
    /// At most one of each kind, in their order.
    proofs: Vec<Proof>,
    /// The secret of the user's codes. A source that named one is held to it, whatever it says with the next proof.
    secret: Option<TotpSecret>,
}

impl Given {
    /// `earlier` with one more. It replaces one of the same kind.
    pub(super) fn with(earlier: Option<Given>, user: Arc<User>, proof: Proof) -> Given {
        let earlier = earlier.filter(|given| given.user.name == user.name);
        let (mut proofs, known) = earlier.map(|given| (given.proofs, given.secret)).unwrap_or_default();
        proofs.retain(|known| known.factor() != proof.factor());
        proofs.push(proof);
        Given { secret: user.totp.secret().cloned().or(known), user, proofs }
    }

    /// What is still needed, if anything.
    pub(super) fn owed(&self) -> Option<Factor> {
        let lacks = |factor| !self.proofs.iter().any(|proof| proof.factor() == factor);
        let both = self.user.auth == AuthMode::PublicKeyAndPassword;
        let needed = [(both, Factor::Key), (both, Factor::Password), (self.secret.is_some(), Factor::Code)];
        needed.into_iter().find(|(is_needed, factor)| *is_needed && lacks(*factor)).map(|(_, factor)| factor)
    }

    pub(super) fn user(&self) -> &Arc<User> {
        &self.user
    }

    pub(super) fn secret(&self) -> Option<&TotpSecret> {
        self.secret.as_ref()
    }

    pub(super) fn key(&self) -> Option<&KeyIdentity> {
        self.proofs.iter().find_map(|proof| match proof {
            Proof::Key { identity, .. } => Some(identity),
            _ => None,
        })
    }

    /// The method of the proof that an event names: the key's, which it can show, or else the first.
    pub(super) fn method(&self) -> &'static str {
        let key = self.proofs.iter().find(|proof| proof.factor() == Factor::Key);
        key.or(self.proofs.first()).map_or("none", Proof::method)
    }

    /// Whoever owes nothing is let in.
    pub(super) fn accepted(self) -> Accepted {
        let named = |method: &&&str| method.split(',').eq(self.proofs.iter().map(Proof::method));
        let of_key = |proof: &Proof| matches!(proof, Proof::Key { only_sftp: true, .. });
        let ends = |proof: &Proof| match proof {
            Proof::Key { ends, .. } => *ends,
            _ => None,
        };
        Accepted {
            method: METHODS.iter().find(named).copied().unwrap_or_default(),
            second_factor: self.proofs.iter().any(|proof| matches!(proof, Proof::Code)).then_some("totp"),
            key: self.key().cloned(),
            only_sftp: self.proofs.iter().any(of_key),
            proof_ends: self.proofs.iter().find_map(ends),
            user: self.user,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::PasswordMethod::{KeyboardInteractive, Plain};
    use super::*;
    use crate::users::Totp;
    use crate::users::testing::user;

    fn key(fingerprint: &str) -> Proof {
        let identity = KeyIdentity {
            key_type: "ssh-ed25519".into(),
            fingerprint: fingerprint.into(),
            blob: String::new(),
            comment: None,
            certificate: None,
        };
        Proof::Key { identity, only_sftp: fingerprint == "sftp", ends: None }
    }

    fn made(auth: AuthMode, with_code: bool) -> Arc<User> {
        let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let totp = if with_code { Totp::Needed(secret) } else { Totp::NotNeeded };
        Arc::new(User { auth, totp, ..user("ann") })
    }

    /// What is owed after each of these proofs, and the method at the end.
    fn course(user: &Arc<User>, proofs: impl IntoIterator<Item = Proof>) -> (Vec<Option<Factor>>, &'static str) {
        let (mut given, mut owed) = (None, Vec::new());
        for proof in proofs {
            let next = Given::with(given.take(), user.clone(), proof);
            owed.push(next.owed());
            given = Some(next);
        }
        (owed, given.unwrap().accepted().method)
    }

    #[test]
    fn every_course_has_its_name_and_the_code_comes_last() {
        use Factor::{Code, Key, Password};
        let (any, both) = (AuthMode::PublicKeyOrPassword, AuthMode::PublicKeyAndPassword);
        let first: [fn() -> Proof; 3] =
            [|| key("k"), || Proof::Password(Plain), || Proof::Password(KeyboardInteractive)];
        for make in first {
            let method = make().method();
            assert_eq!(course(&made(any, false), [make()]), (vec![None], method));
            let (owed, all) = course(&made(any, true), [make(), Proof::Code]);
            assert_eq!((owed, all.to_owned()), (vec![Some(Code), None], format!("{method},keyboard-interactive")));
            let (other, owed): (Vec<fn() -> Proof>, _) = match make() {
                Proof::Key { .. } => (vec![first[1], first[2]], Password),
                _ => (vec![first[0]], Key),
            };
            for other in other {
                let method = format!("{method},{}", other().method());
                let (course_owed, all) = course(&made(both, false), [make(), other()]);
                assert_eq!((course_owed, all.to_owned()), (vec![Some(owed), None], method.clone()));
                let (course_owed, all) = course(&made(both, true), [make(), other(), Proof::Code]);
                assert_eq!(course_owed, [Some(owed), Some(Code), None]);
                assert_eq!(all, format!("{method},keyboard-interactive"));
            }
        }
    }

    #[test]
    fn proofs_of_one_kind_are_one_and_those_of_another_user_none() {
        let both = made(AuthMode::PublicKeyAndPassword, true);
        let given = Given::with(None, both.clone(), key("one"));
        let given = Given::with(Some(given), both.clone(), key("other"));
        assert_eq!((given.owed(), given.key().unwrap().fingerprint.as_str()), (Some(Factor::Password), "other"));
        let stranger = Arc::new(User { auth: AuthMode::PublicKeyAndPassword, ..user("ben") });
        let given = Given::with(Some(given), stranger, Proof::Password(Plain));
        assert_eq!((given.owed(), given.key()), (Some(Factor::Key), None));
        assert!(given.secret().is_none(), "nor is a secret anybody else's");
    }

    #[test]
    fn a_source_that_named_a_secret_once_is_held_to_it() {
        let given = Given::with(None, made(AuthMode::PublicKeyAndPassword, true), Proof::Password(Plain));
        let given = Given::with(Some(given), made(AuthMode::PublicKeyAndPassword, false), key("sftp"));
        assert_eq!(given.owed(), Some(Factor::Code));
        let accepted = Given::with(Some(given), made(AuthMode::PublicKeyAndPassword, false), Proof::Code).accepted();
        assert_eq!((accepted.second_factor, accepted.only_sftp), (Some("totp"), true));
    }
}
