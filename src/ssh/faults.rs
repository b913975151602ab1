//! Why attempts to log in fail, and whose fault that is. Nothing else judges what counts against an address before a login.

use std::sync::Arc;

use super::ending::Cause;
use super::waiting::Waiting;
use crate::audit::{AuthFailureReason, CertificateIdentity, KeyIdentity};
use crate::session::gate::{Evicted, Fault, Shown};
use crate::users::{Absent, CertificateFacts, Refusal};

/// What one connection is to blame for that has not logged in: for each attempt that failed, and for the way it ended.
#[derive(Debug)]
pub(super) struct Blame {
    /// It came through another connection, and has shown there who it is; others of its address have nothing to do with it.
    is_jump: bool,
    /// Whether the client waits for the gateway.
    waiting: Arc<Waiting>,
    /// An attempt has failed, and was judged then.
    tried: bool,
    /// A refused key has been counted.
    key_counted: bool,
    /// The gateway could not do its part, or the client had proven who it is: what is left open is not its fault.
    excused: bool,
}

impl Blame {
    pub(super) fn new(is_jump: bool, waiting: Arc<Waiting>) -> Self {
        Blame { is_jump, waiting, tried: false, key_counted: false, excused: false }
    }

    /// From now on what is left open is not the client's fault.
    pub(super) fn excuse(&mut self) {
        self.excused = true;
    }

    /// Whether what the client left open is not its fault.
    pub(super) fn is_excused(&self) -> bool {
        self.excused
    }

    /// What an attempt counts for that has failed now.
    pub(super) fn of_attempt(&mut self, method: &str, reason: AuthFailureReason) -> Option<Fault> {
        self.tried = true;
        self.excused |= is_ours(reason);
        if self.is_jump {
            return None;
        }
        let fault = fault_of(method, reason)?;
        // Clients offer all their keys.
        if fault == Fault::WrongKey && std::mem::replace(&mut self.key_counted, true) {
            return None;
        }
        Some(fault)
    }

    /// What the end of the connection counts for, besides its attempts. `held`: it said nothing, and whether it kept its place for a while so.
    pub(super) fn of_end(&self, cause: Cause, held: Option<bool>) -> Option<Fault> {
        if self.is_jump {
            return None;
        }
        let is_waiting = self.excused || self.waiting.is_late();
        match cause {
            // The client waited for us, or gave us up.
            Cause::Client | Cause::Grace if is_waiting => None,
            Cause::Protocol => Some(Fault::ProtocolError),
            Cause::Grace => Some(Fault::GraceExceeded),
            Cause::Client if self.tried => None,
            Cause::Client => match held {
                None => Some(Fault::NoAttempt),
                Some(true) => Some(Fault::HeldPlace),
                // A health check says nothing and goes.
                Some(false) => None,
            },
            // Who has tried makes room for others without having held a place for nothing.
            Cause::Evicted(Evicted::Crowded(shown)) if shown < Shown::Attempt => Some(Fault::HeldPlace),
            Cause::Evicted(_) | Cause::Gateway => None,
        }
    }
}

/// What a refused attempt counts for. The method alone says, and not the reason, so that no ban tells who exists.
fn fault_of(method: &str, reason: AuthFailureReason) -> Option<Fault> {
    use AuthFailureReason::{Banned, LoginGraceExceeded, LoginRefused, NoCredentialsOffered};
    // The end of a connection counts by itself, and whose proofs were good guesses nothing.
    if is_ours(reason) || matches!(reason, Banned | LoginGraceExceeded | LoginRefused | NoCredentialsOffered) {
        return None;
    }
    match method {
        "password" | "keyboard-interactive" => Some(Fault::WrongPassword),
        _ => Some(Fault::WrongKey),
    }
}

/// Whether the gateway could not do its part.
fn is_ours(reason: AuthFailureReason) -> bool {
    use AuthFailureReason::{
        DirectoryAnswerUnusable, DirectoryUnavailable, TooManyPasswordChecks, TooManySessions, TrailUnavailable,
    };
    let of_directory = matches!(reason, DirectoryUnavailable | DirectoryAnswerUnusable);
    of_directory || matches!(reason, TooManyPasswordChecks | TooManySessions | TrailUnavailable)
}

pub(super) fn reason_of(refusal: Refusal) -> AuthFailureReason {
    match refusal {
        Refusal::Disabled => AuthFailureReason::UserDisabled,
        Refusal::UserExpired => AuthFailureReason::UserExpired,
        Refusal::SecondFactorNotSet => AuthFailureReason::SecondFactorNotSet,
        Refusal::SourceNotAllowed => AuthFailureReason::SourceNotAllowed,
        Refusal::MethodNotAllowed => AuthFailureReason::MethodNotAllowed,
        Refusal::KeyNotAuthorized => AuthFailureReason::KeyNotAuthorized,
        Refusal::KeyExpired => AuthFailureReason::KeyExpired,
        Refusal::AlgorithmNotAllowed => AuthFailureReason::AlgorithmNotAllowed,
        Refusal::AuthorityNotTrusted => AuthFailureReason::CertificateNotTrusted,
        Refusal::NotAUserCertificate => AuthFailureReason::CertificateNotForUsers,
        Refusal::OutsideOfValidity => AuthFailureReason::CertificateNotValidNow,
        Refusal::PrincipalNotAllowed => AuthFailureReason::PrincipalNotAllowed,
        Refusal::CriticalOption => AuthFailureReason::CertificateOptionRefused,
    }
}

pub(super) fn absent_of(absent: Absent) -> AuthFailureReason {
    match absent {
        Absent::Touch => AuthFailureReason::TouchMissing,
        Absent::Verification => AuthFailureReason::VerificationMissing,
    }
}

/// What of a certificate may be revoked.
pub(super) fn facts_of(identity: &KeyIdentity) -> Option<CertificateFacts<'_>> {
    let CertificateIdentity { serial, key_id, authority, authority_blob: _ } = identity.certificate.as_ref()?;
    Some(CertificateFacts { authority, serial: *serial, key_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use AuthFailureReason::{BadPassword, Banned, DirectoryUnavailable, KeyNotAuthorized, NoCredentialsOffered};

    fn blame() -> Blame {
        Blame::new(false, Arc::default())
    }

    #[test]
    fn each_wrong_password_counts_and_the_keys_of_a_connection_once() {
        let mut blame = blame();
        assert_eq!(blame.of_attempt("publickey", KeyNotAuthorized), Some(Fault::WrongKey));
        assert_eq!(blame.of_attempt("publickey", KeyNotAuthorized), None);
        for _ in 0..2 {
            assert_eq!(blame.of_attempt("password", BadPassword), Some(Fault::WrongPassword));
        }
        assert_eq!(blame.of_attempt("password", Banned), None);
        assert_eq!(blame.of_attempt("none", NoCredentialsOffered), None, "its end counts");
        assert!(!blame.is_excused());
    }

    #[test]
    fn an_end_counts_unless_the_attempts_did() {
        let mut blame = blame();
        assert_eq!(blame.of_end(Cause::Client, None), Some(Fault::NoAttempt));
        assert_eq!(blame.of_end(Cause::Client, Some(false)), None, "a health check");
        assert_eq!(blame.of_end(Cause::Client, Some(true)), Some(Fault::HeldPlace));
        let crowded = |shown| Cause::Evicted(Evicted::Crowded(shown));
        assert_eq!(blame.of_end(crowded(Shown::Algorithms), None), Some(Fault::HeldPlace));
        assert_eq!(blame.of_end(crowded(Shown::Attempt), None), None);
        for ours in [Cause::Evicted(Evicted::Banned), Cause::Gateway] {
            assert_eq!(blame.of_end(ours, None), None);
        }
        blame.of_attempt("password", BadPassword);
        assert_eq!(blame.of_end(Cause::Client, None), None, "counted already");
        assert_eq!(blame.of_end(Cause::Grace, None), Some(Fault::GraceExceeded));
        assert_eq!(blame.of_end(Cause::Protocol, None), Some(Fault::ProtocolError));
    }

    #[test]
    fn what_the_gateway_does_not_do_is_nobody_elses_fault() {
        let mut failed = blame();
        assert_eq!(failed.of_attempt("password", DirectoryUnavailable), None);
        let mut proven = blame();
        proven.excuse();
        for excused in [failed, proven] {
            assert!(excused.is_excused());
            assert_eq!(excused.of_end(Cause::Client, None), None);
            assert_eq!(excused.of_end(Cause::Grace, None), None);
            assert_eq!(excused.of_end(Cause::Protocol, None), Some(Fault::ProtocolError), "nothing excuses that");
        }
    }

    #[test]
    fn a_client_that_waits_for_too_long_may_give_up() {
        let blame = Blame::new(false, Arc::new(Waiting::late()));
        assert_eq!(blame.of_end(Cause::Client, None), None);
        assert_eq!(blame.of_end(Cause::Grace, None), None);
        assert_eq!(blame.of_end(Cause::Protocol, None), Some(Fault::ProtocolError), "nothing excuses that");
        assert!(!blame.is_excused(), "it may still log in");
    }

    #[test]
    fn who_came_through_another_connection_is_blamed_for_nothing() {
        let mut blame = Blame::new(true, Arc::default());
        assert_eq!(blame.of_attempt("password", BadPassword), None);
        assert_eq!(blame.of_attempt("password", DirectoryUnavailable), None);
        assert!(blame.is_excused());
        for cause in [Cause::Client, Cause::Grace, Cause::Protocol] {
            assert_eq!(Blame::new(true, Arc::default()).of_end(cause, None), None);
        }
    }
}
