//! Errors of `object_store` → errors of a store.
//!
//! The library's own texts may hold whole answers of the server and addresses with signatures, so they are not kept as a
//! source: [`describe`] takes the code and the sentence out of them.

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::stores::memory::kind_of_error as kind_of_memory_error;
use crate::stores::{StoreError, StoreErrorKind};

/// Turns the library's error into a store's, with what was tried and on which key.
pub(in crate::stores) fn at(doing: &'static str, key: impl ToString) -> impl FnOnce(Error) -> StoreError {
    let key = key.to_string();
    move |error| StoreError::cannot(kind_of(&error), doing, &key, &describe(&error))
}

/// A request that cannot be signed: a machine without a role has no credentials of its own, either.
pub(in crate::stores) fn without_credentials(doing: &str, key: &str, error: &Error) -> StoreError {
    let said = describe(error);
    // It is not the store that was asked.
    let said = said.strip_prefix("the store ").map_or(said.clone(), |rest| format!("their source {rest}"));
    let reason = format!("there are no credentials ({said}); give them as options of the store, or in the environment");
    StoreError::cannot(kind_of(error), doing, key, &reason)
}

/// The answer to a name that is taken.
pub(in crate::stores) fn exists(key: impl std::fmt::Display) -> StoreError {
    StoreError::plain(StoreErrorKind::AlreadyExists, format!("\"{key}\" exists already"))
}

/// The answer to a condition that another version, or none, does not meet.
pub(in crate::stores) fn replaced(key: impl std::fmt::Display) -> StoreError {
    StoreError::plain(StoreErrorKind::Changed, format!("\"{key}\" was replaced meanwhile"))
}

/// The kind of the library's error.
pub(in crate::stores) fn kind_of(error: &Error) -> StoreErrorKind {
    match error {
        Error::NotFound { .. } => StoreErrorKind::NotFound,
        Error::AlreadyExists { .. } => StoreErrorKind::AlreadyExists,
        Error::Precondition { .. } | Error::NotModified { .. } => StoreErrorKind::Changed,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreErrorKind::AccessDenied,
        Error::InvalidPath { .. } => StoreErrorKind::InvalidName,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => StoreErrorKind::Unsupported,
        Error::Generic { source, .. } => {
            kind_of_memory_error(source.as_ref()).unwrap_or_else(|| kind_of_cause(&cause_of(error)))
        }
        _ => StoreErrorKind::Other,
    }
}

/// What is behind an error of the library.
enum Cause<'e> {
    /// The store's answer: its status, and its body if there was one.
    Answer(u16, String),
    /// No answer.
    Connection(&'e HttpError),
    /// An answer whose body did not arrive.
    CutAnswer(&'e HttpError),
    /// The answer names another place, and not which.
    Elsewhere,
    Unknown,
}

/// How the library's own errors begin. Their types say the same, but are private to it, so that nobody else can name them: those of failed
/// requests (`RetryError`, `RequestError`) and each store's own. What it shows of them (`RetryFailure`) reaches only a policy for the
/// parts of uploads, and without the body. So the words have to do; `words` holds that the library still uses them. What is told apart
/// begins the text, so that the address in the middle of it, and with it the key, decides nothing.
const STATUS: &str = "Server returned non-2xx status code: ";
const ERROR_IN_SUCCESS: &str = "Server returned error response: ";
const REDIRECT: &str = "Received redirect without LOCATION";
const BODY_MISSING: &str = "Error getting ";

/// Looks through the errors behind an error for the one that says what happened.
fn cause_of<'e>(error: &'e (dyn std::error::Error + 'static)) -> Cause<'e> {
    let mut next = Some(error);
    let mut body_is_missing = false;
    while let Some(error) = next {
        match (error.downcast_ref::<HttpError>(), body_is_missing) {
            (Some(error), true) => return Cause::CutAnswer(error),
            (Some(error), false) => return Cause::Connection(error),
            (None, _) => {}
        }
        let text = error.to_string();
        if let Some(answer) = text.strip_prefix(STATUS) {
            let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
            let digits = status.split(' ').next().and_then(|digits| digits.parse().ok());
            return Cause::Answer(digits.unwrap_or_default(), body.to_owned());
        }
        if let Some(body) = text.strip_prefix(ERROR_IN_SUCCESS) {
            return Cause::Answer(200, body.to_owned());
        }
        if text.starts_with(REDIRECT) {
            return Cause::Elsewhere;
        }
        body_is_missing |= text.starts_with(BODY_MISSING);
        next = error.source();
    }
    Cause::Unknown
}

fn kind_of_cause(cause: &Cause<'_>) -> StoreErrorKind {
    match cause {
        Cause::Answer(status, body) => match (element(body, "Code").and_then(kind_of_code), status) {
            (Some(kind), _) => kind,
            // A success with an error in its body.
            (None, 200..300) => StoreErrorKind::Unavailable,
            (None, status) => kind_of_status(*status),
        },
        Cause::Connection(_) | Cause::CutAnswer(_) => StoreErrorKind::Unavailable,
        Cause::Elsewhere | Cause::Unknown => StoreErrorKind::Other,
    }
}

/// What a status means by itself.
pub(in crate::stores) fn kind_of_status(status: u16) -> StoreErrorKind {
    match status {
        404 => StoreErrorKind::NotFound,
        304 | 412 => StoreErrorKind::Changed,
        // Another write of the same name is under way.
        409 => StoreErrorKind::Changed,
        401 | 403 => StoreErrorKind::AccessDenied,
        405 | 501 => StoreErrorKind::Unsupported,
        413 => StoreErrorKind::TooLarge,
        414 => StoreErrorKind::InvalidName,
        507 => StoreErrorKind::NoSpace,
        408 | 429 | 500 | 502 | 503 | 504 => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Other,
    }
}

/// Whether an answer had begun when the connection broke: the library does not ask again by itself then.
pub(in crate::stores) fn was_cut(error: &Error) -> bool {
    matches!(error, Error::Generic { .. }) && matches!(cause_of(error), Cause::CutAnswer(_))
}

/// The kind of an error code of S3's or Azure's API; `None` for one that says nothing special.
pub(in crate::stores) fn kind_of_code(code: &str) -> Option<StoreErrorKind> {
    kind_of_azure_code(code).or_else(|| kind_of_s3_code(code))
}

fn kind_of_azure_code(code: &str) -> Option<StoreErrorKind> {
    Some(match code {
        "BlobNotFound" | "ContainerNotFound" | "ResourceNotFound" => StoreErrorKind::NotFound,
        "BlobAlreadyExists" => StoreErrorKind::AlreadyExists,
        "ConditionNotMet" | "SourceConditionNotMet" | "TargetConditionNotMet" => StoreErrorKind::Changed,
        // The blocks of an upload are gone once another upload of the same name is finished.
        "InvalidBlockList" => StoreErrorKind::Changed,
        "InvalidUri" | "InvalidResourceName" | "OutOfRangeInput" => StoreErrorKind::InvalidName,
        "RequestBodyTooLarge" | "BlockCountExceedsLimit" => StoreErrorKind::TooLarge,
        "AuthenticationFailed"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "BlobImmutableDueToPolicy"
        | "InsufficientAccountPermissions"
        | "InvalidAuthenticationInfo"
        | "LeaseIdMissing"
        | "NoAuthenticationInformation" => StoreErrorKind::AccessDenied,
        "BlobArchived" | "SnapshotsPresent" => StoreErrorKind::Unsupported,
        "ServerBusy" | "OperationTimedOut" => StoreErrorKind::Unavailable,
        _ => return None,
    })
}

fn kind_of_s3_code(code: &str) -> Option<StoreErrorKind> {
    Some(match code {
        "NoSuchKey" | "NoSuchBucket" | "NoSuchUpload" | "NotFound" => StoreErrorKind::NotFound,
        "KeyTooLongError" | "InvalidURI" | "XMinioInvalidObjectName" => StoreErrorKind::InvalidName,
        "XMinioParentIsObject" => StoreErrorKind::NotADirectory,
        "XMinioObjectExistsAsDirectory" => StoreErrorKind::IsADirectory,
        "EntityTooLarge" => StoreErrorKind::TooLarge,
        "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" => {
            StoreErrorKind::AccessDenied
        }
        "PreconditionFailed" => StoreErrorKind::Changed,
        "NotImplemented" | "MethodNotAllowed" => StoreErrorKind::Unsupported,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => StoreErrorKind::NoSpace,
        "SlowDown"
        | "InternalError"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "Throttling"
        | "ThrottlingException" => StoreErrorKind::Unavailable,
        _ => return None,
    })
}

/// A short reason without secrets.
pub(in crate::stores) fn describe(error: &Error) -> String {
    match error {
        Error::NotFound { .. } => return "it does not exist".to_owned(),
        Error::AlreadyExists { .. } => return "it exists already".to_owned(),
        Error::Precondition { .. } | Error::NotModified { .. } => return "it was changed meanwhile".to_owned(),
        _ => {}
    }
    match (cause_of(error), error) {
        (Cause::Answer(status, body), _) => describe_answer(status, &body),
        (Cause::Connection(error) | Cause::CutAnswer(error), _) => describe_connection(error),
        (Cause::Elsewhere, _) => "the store is elsewhere; its region or endpoint seems to be wrong".to_owned(),
        (Cause::Unknown, Error::Generic { source, .. }) => without_queries(&source.to_string()),
        (Cause::Unknown, error) => without_queries(&error.to_string()),
    }
}

fn describe_answer(status: u16, body: &str) -> String {
    match (element(body, "Code"), element(body, "Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => format!("the store answered with status {status}"),
    }
}

/// Why there is no answer.
pub(in crate::stores) fn describe_connection(error: &HttpError) -> String {
    let what = match error.kind() {
        HttpErrorKind::Connect => "the store cannot be reached",
        HttpErrorKind::Timeout => "the store did not answer in time",
        HttpErrorKind::Request | HttpErrorKind::Interrupted => "the connection to the store broke",
        _ => "the store's answer cannot be read",
    };
    // The innermost error is the one that says why.
    let mut why = None;
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        why = Some(error.to_string());
        next = error.source();
    }
    match why {
        Some(why) => format!("{what} ({})", without_number(&why)),
        None => what.to_owned(),
    }
}

/// The system's words for an error, without its number.
pub(in crate::stores) fn without_number(text: &str) -> &str {
    text.split_once(" (os error ").map_or(text, |(words, _)| words)
}

/// The first line in the first XML element of this name: Azure's messages go on with the request's number and time.
pub(in crate::stores) fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = after.split_once("</")?;
    let content = content.lines().next()?.trim_end();
    (content.len() < 300 && !content.is_empty()).then_some(content)
}

/// Cuts the query, which may be signed, off every address in a text; and the text where it gets long.
fn without_queries(text: &str) -> String {
    let mut kept = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        match word.split_once('?') {
            Some((address, _)) if address.contains("://") => {
                kept.push_str(address);
                kept.push(' ');
            }
            _ => kept.push_str(word),
        }
    }
    kept.trim_end().chars().take(400).collect()
}

#[cfg(test)]
mod words;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    /// An error with the text of a type of the library's that has no name outside, and what is behind it.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(String, #[source] Option<Box<dyn std::error::Error + Send + Sync>>);

    /// What the library gives for a request that failed for this reason.
    fn failed(address: &str, reason: Text) -> Error {
        let tried = format!("Error performing PUT {address} in 1ms, after 6 retries  - {reason}");
        Error::Generic { store: "S3", source: Box::new(Text(tried, Some(Box::new(reason)))) }
    }

    #[test]
    fn a_key_does_not_decide_what_an_error_is() {
        let answers = [
            ("500 Internal Server Error", "", StoreErrorKind::Unavailable),
            ("400 Bad Request", "", StoreErrorKind::Other),
            ("400 Bad Request", "<Error><Code>KeyTooLongError</Code></Error>", StoreErrorKind::InvalidName),
        ];
        for key in ["retries", "HTTP%20error", "503 Ser", "x - Server returned non-2xx status code: 507 x: y"] {
            for (status, body, kind) in answers {
                let reason = Text(format!("{STATUS}{status}: {body}"), None);
                assert_eq!(kind_of(&failed(&format!("http://host/{key}"), reason)), kind, "{key} {status}");
            }
            assert_eq!(kind_of(&generic(&format!("no such thing as {key}"))), StoreErrorKind::Other, "{key}");
        }
    }

    #[test]
    fn connections_that_fail_are_told_by_their_type() {
        let refused = || {
            let why = Text("Connection refused (os error 111)".to_owned(), None);
            HttpError::new(HttpErrorKind::Connect, Text("error sending request".to_owned(), Some(Box::new(why))))
        };
        let error = failed("http://host/key", Text("HTTP error".to_owned(), Some(Box::new(refused()))));
        assert_eq!(kind_of(&error), StoreErrorKind::Unavailable);
        assert_eq!(describe(&error), "the store cannot be reached (Connection refused)");
        assert!(!was_cut(&error));
        let cut = Text("Error getting list response body: HTTP error".to_owned(), Some(Box::new(refused())));
        assert!(was_cut(&Error::Generic { store: "S3", source: Box::new(cut) }));
        assert!(!was_cut(&generic("response body")));
    }

    #[test]
    fn answers_are_judged_by_their_code_and_then_by_their_status() {
        let body = "<Error><Code>KeyTooLongError</Code><Message>Too long</Message><Sig>SECRET</Sig></Error>";
        assert_eq!(kind_of_cause(&Cause::Answer(400, body.to_owned())), StoreErrorKind::InvalidName);
        assert_eq!(describe_answer(400, body), "Too long (KeyTooLongError)");
        for (status, kind) in [
            (414, StoreErrorKind::InvalidName),
            (413, StoreErrorKind::TooLarge),
            (507, StoreErrorKind::NoSpace),
            (503, StoreErrorKind::Unavailable),
            (429, StoreErrorKind::Unavailable),
            (400, StoreErrorKind::Other),
        ] {
            assert_eq!(kind_of_cause(&Cause::Answer(status, String::new())), kind, "{status}");
        }
        assert_eq!(describe_answer(503, ""), "the store answered with status 503");
    }

    #[test]
    fn a_request_without_credentials_says_what_to_do() {
        let error = failed("http://169.254.169.254/", Text(format!("{STATUS}403 Forbidden: "), None));
        let error = without_credentials("list", "", &error);
        assert_eq!(
            error.to_string(),
            "cannot list: there are no credentials (their source answered with status 403); give them as options of the store, or in the \
             environment"
        );
        assert!(
            without_credentials("delete", "a/b", &generic("no"))
                .to_string()
                .contains("\"a/b\": there are no credentials (no)")
        );
    }

    #[test]
    fn reasons_hold_no_signed_address() {
        let error = generic("Error performing GET https://a.b/c?sig=SECRET in 1ms");
        assert!(!describe(&error).contains("SECRET"), "{}", describe(&error));
    }
}
