//! Why attempts to log in fail, and whose fault that is.

use crate::audit::{AuthFailureReason, CertificateIdentity, KeyIdentity};
use crate::session::gate::Fault;
use crate::users::{Absent, CertificateFacts, Refusal};

/// What a refused attempt counts for. The method alone says, and not the reason, so that no ban tells who exists.
pub(super) fn fault_of(method: &str, reason: AuthFailureReason) -> Option<Fault> {
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
pub(super) fn is_ours(reason: AuthFailureReason) -> bool {
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
