//! What a client shows to prove who it is, and what becomes of it.

use std::sync::Arc;

use crate::audit::{AuthFailureReason, KeyIdentity};
use crate::users::{Certificate, User};

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
    Accept(Accepted),
    /// One of two proofs is given; this one is still needed.
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
}

/// The user that is let in, and the proof.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) user: Arc<User>,
    /// `publickey`, `password`, `publickey,password` and so on.
    pub(super) method: &'static str,
    pub(super) key: Option<KeyIdentity>,
    /// Whether the certificate allows SFTP and nothing else.
    pub(super) only_sftp: bool,
}

/// How a password was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PasswordMethod {
    Plain,
    KeyboardInteractive,
}

impl PasswordMethod {
    pub(super) fn name(self) -> &'static str {
        match self {
            PasswordMethod::Plain => "password",
            PasswordMethod::KeyboardInteractive => "keyboard-interactive",
        }
    }
}

/// One proof of who a client is.
#[derive(Debug)]
pub(super) enum Proof {
    /// A key or a certificate, and whether it allows SFTP and nothing else.
    Key { identity: KeyIdentity, only_sftp: bool },
    /// A password.
    Password(PasswordMethod),
}

impl Proof {
    /// What else can be asked for.
    pub(super) fn other(&self) -> Factor {
        match self {
            Proof::Key { .. } => Factor::Password,
            Proof::Password(_) => Factor::Key,
        }
    }

    /// Whoever needs this proof alone is let in.
    pub(super) fn alone(self, user: Arc<User>) -> Accepted {
        match self {
            Proof::Key { identity, only_sftp } => {
                Accepted { user, method: "publickey", key: Some(identity), only_sftp }
            }
            Proof::Password(method) => Accepted { user, method: method.name(), key: None, only_sftp: false },
        }
    }

    /// Whoever needs two proofs is let in with this one and a later one of the other kind. `None` when both are of one kind.
    pub(super) fn and(self, later: &Proof, user: &Arc<User>) -> Option<Accepted> {
        use PasswordMethod::{KeyboardInteractive, Plain};
        let (method, identity, only_sftp) = match (&self, later) {
            (Proof::Key { identity, only_sftp }, Proof::Password(Plain)) => {
                ("publickey,password", identity, *only_sftp)
            }
            (Proof::Key { identity, only_sftp }, Proof::Password(KeyboardInteractive)) => {
                ("publickey,keyboard-interactive", identity, *only_sftp)
            }
            (Proof::Password(Plain), Proof::Key { identity, only_sftp }) => {
                ("password,publickey", identity, *only_sftp)
            }
            (Proof::Password(KeyboardInteractive), Proof::Key { identity, only_sftp }) => {
                ("keyboard-interactive,publickey", identity, *only_sftp)
            }
            (Proof::Key { .. }, Proof::Key { .. }) | (Proof::Password(_), Proof::Password(_)) => return None,
        };
        Some(Accepted { user: user.clone(), method, key: Some(identity.clone()), only_sftp })
    }
}
