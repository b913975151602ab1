//! Why attempts to log in fail: one table of the words that the events have for it.

/// Makes the type, its words and the list of all from one table.
macro_rules! reasons {
    ($($(#[$about:meta])* $name:ident = $word:literal,)*) => {
        /// Why an attempt to log in failed; the `reason` field.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuthFailureReason {
            $($(#[$about])* $name,)*
        }

        impl AuthFailureReason {
            const ALL: &[AuthFailureReason] = &[$(AuthFailureReason::$name),*];

            /// The `reason` field.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(AuthFailureReason::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// `unknown-user`
    UnknownUser = "unknown-user",
    /// `account-not-allowed`: the target has no account of that name, or not for this user.
    AccountNotAllowed = "account-not-allowed",
    /// `key-not-authorized`
    KeyNotAuthorized = "key-not-authorized",
    /// `key-expired`: the time of its `expiry-time=` is over.
    KeyExpired = "key-expired",
    /// `key-revoked`: the key, the certificate or its authority is one of `revoked_keys`.
    KeyRevoked = "key-revoked",
    /// `touch-missing`: a security key signed without a touch.
    TouchMissing = "touch-missing",
    /// `verification-missing`: a security key signed without verifying its user.
    VerificationMissing = "verification-missing",
    /// `bad-password`
    BadPassword = "bad-password",
    /// `bad-code`: a one-time code that is not the user's, or not now.
    BadCode = "bad-code",
    /// `code-used`: a one-time code that had been used, or that came after a later one.
    CodeUsed = "code-used",
    /// `too-many-codes`: there were too many wrong codes of the user; this one was not examined.
    TooManyCodes = "too-many-codes",
    /// `bad-signature`
    BadSignature = "bad-signature",
    /// `offered-not-signed`: a key of the user was offered, and no signature came. Told once for each key of a connection.
    OfferedNotSigned = "offered-not-signed",
    /// `method-not-allowed`
    MethodNotAllowed = "method-not-allowed",
    /// `user-disabled`
    UserDisabled = "user-disabled",
    /// `user-expired`: the user's time is over.
    UserExpired = "user-expired",
    /// `source-not-allowed`
    SourceNotAllowed = "source-not-allowed",
    /// `too-many-sessions`: the user has as many sessions as allowed.
    TooManySessions = "too-many-sessions",
    /// `no-credentials-offered`
    NoCredentialsOffered = "no-credentials-offered",
    /// `algorithm-not-allowed`: for instance a SHA-1 signature.
    AlgorithmNotAllowed = "algorithm-not-allowed",
    /// `login-grace-exceeded`: the time to log in was over.
    LoginGraceExceeded = "login-grace-exceeded",
    /// `certificate-not-trusted`: no trusted authority signed it.
    CertificateNotTrusted = "certificate-not-trusted",
    /// `certificate-not-for-users`: a host's certificate.
    CertificateNotForUsers = "certificate-not-for-users",
    /// `certificate-not-valid-now`: its time is over or has not begun.
    CertificateNotValidNow = "certificate-not-valid-now",
    /// `certificate-forged`: the signature of its authority is wrong.
    CertificateForged = "certificate-forged",
    /// `malformed`: a name or a password that is not UTF-8, a key or a certificate that cannot be read.
    Malformed = "malformed",
    /// `principal-not-allowed`: the certificate is of somebody else.
    PrincipalNotAllowed = "principal-not-allowed",
    /// `certificate-option-refused`: a critical option that is not known or cannot be obeyed.
    CertificateOptionRefused = "certificate-option-refused",
    /// `second-factor-missing`: a proof was given, and another one that is needed was not.
    SecondFactorMissing = "second-factor-missing",
    /// `second-factor-not-set`: the user's source demands one-time codes, and the user has no secret.
    SecondFactorNotSet = "second-factor-not-set",
    /// `login-refused`: the program that embeds the gateway did not allow this login.
    LoginRefused = "login-refused",
    /// `too-many-password-checks`: too many others waited for the check of a password.
    TooManyPasswordChecks = "too-many-password-checks",
    /// `not-examined`: what was sent could not be checked.
    NotExamined = "not-examined",
    /// `directory-unavailable`: the users' source does not answer.
    DirectoryUnavailable = "directory-unavailable",
    /// `directory-answer-unusable`: the users' source answers with something that cannot be used.
    DirectoryAnswerUnusable = "directory-answer-unusable",
    /// `banned`: the address was banned while the attempt was under way.
    Banned = "banned",
    /// `trail-unavailable`: a session could not have been recorded.
    TrailUnavailable = "trail-unavailable",
}

impl AuthFailureReason {
    /// Reads a `reason` field; `None` for a word of another version.
    pub fn parse(word: &str) -> Option<AuthFailureReason> {
        AuthFailureReason::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }

    /// Whether an attempt fails for this reason only with the name of a user who exists: it is judged after the user was found. Of
    /// others the name may be anybody's: the SSH library judges some certificates before anybody is looked up, and a source of
    /// users need not tell a wrong password from an unknown name.
    pub fn proves_a_user(self) -> bool {
        match self {
            Self::KeyNotAuthorized
            | Self::KeyExpired
            | Self::KeyRevoked
            | Self::TouchMissing
            | Self::VerificationMissing
            | Self::BadCode
            | Self::CodeUsed
            | Self::TooManyCodes
            | Self::BadSignature
            | Self::OfferedNotSigned
            | Self::UserDisabled
            | Self::UserExpired
            | Self::SourceNotAllowed
            | Self::TooManySessions
            | Self::CertificateNotTrusted
            | Self::CertificateNotForUsers
            | Self::PrincipalNotAllowed
            | Self::CertificateOptionRefused
            | Self::SecondFactorMissing
            | Self::SecondFactorNotSet
            | Self::LoginRefused
            | Self::TrailUnavailable => true,
            Self::UnknownUser
            | Self::AccountNotAllowed
            | Self::BadPassword
            | Self::MethodNotAllowed
            | Self::NoCredentialsOffered
            | Self::AlgorithmNotAllowed
            | Self::LoginGraceExceeded
            | Self::CertificateNotValidNow
            | Self::CertificateForged
            | Self::Malformed
            | Self::TooManyPasswordChecks
            | Self::NotExamined
            | Self::DirectoryUnavailable
            | Self::DirectoryAnswerUnusable
            | Self::Banned => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_one_reason() {
        for reason in AuthFailureReason::ALL {
            assert_eq!(AuthFailureReason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(AuthFailureReason::parse("of-tomorrow"), None);
    }
}
