//! What a client shows to prove who it is, and what becomes of it.

use std::sync::Arc;

use crate::audit::KeyIdentity;
use crate::users::User;

/// How much longer the request for a certificate is, at the least, than the one for the key in it: two longer names, the
/// fields of the certificate, and the smallest key and signature of an authority, which are Ed25519's.
const CERTIFICATE_MORE: u64 = 18 + 52 + 55 + 87;

/// A key as a client offers it.
pub(super) struct OfferedKey {
    /// In SSH wire form.
    pub(super) blob: Vec<u8>,
    /// As events show it.
    pub(super) identity: KeyIdentity,
    /// The name of the algorithm that it would sign with.
    pub(super) algorithm: String,
    /// Whether it would sign with SHA-1.
    pub(super) uses_sha1: bool,
}

impl OfferedKey {
    /// Whether a request of so many bytes, with what the transport adds, offered the key by itself: it is long enough for the
    /// key and too short for a certificate (RFC 4252 section 7).
    pub(super) fn is_surely_plain(&self, user: &str, bytes: u64) -> bool {
        let texts = [user.len(), "ssh-connection".len(), "publickey".len(), self.algorithm.len(), self.blob.len()];
        let plain = (2 + texts.iter().map(|length| 4 + length).sum::<usize>()) as u64;
        (plain..plain + CERTIFICATE_MORE).contains(&bytes)
    }
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

/// Who is let in, and how.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_plain_when_it_is_too_short_for_a_certificate() {
        let identity = KeyIdentity {
            key_type: "ssh-ed25519".into(),
            fingerprint: String::new(),
            blob: String::new(),
            comment: None,
            certificate: None,
        };
        let key = OfferedKey { blob: vec![0; 51], identity, algorithm: "ssh-ed25519".into(), uses_sha1: false };
        // 1 + 4 + 5 + 4 + 14 + 4 + 9 + 1 + 4 + 11 + 4 + 51
        for (bytes, plain) in [(111, false), (112, true), (112 + 88, true), (323, true), (324, false), (0, false)] {
            assert_eq!(key.is_surely_plain("alice", bytes), plain, "{bytes}");
        }
    }
}
