//! Errors of `object_store` → errors of a store.
//!
//! The library's own texts may hold whole answers of the server and addresses with signatures, so they are not kept as a
//! source: [`describe`] takes the code and the sentence out of them.

use object_store::Error;

use crate::stores::{StoreError, StoreErrorKind};

/// Turns the library's error into a store's, with what was tried and on which key.
pub(in crate::stores) fn at(doing: &'static str, key: impl ToString) -> impl FnOnce(Error) -> StoreError {
    let key = key.to_string();
    move |error| StoreError::new(kind_of(&error), format!("cannot {doing} \"{key}\": {}", describe(&error)))
}

/// The answer to a name that is taken.
pub(in crate::stores) fn exists(key: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::AlreadyExists, format!("\"{key}\" exists already"))
}

/// The answer to a condition that another version, or none, does not meet.
pub(in crate::stores) fn replaced(key: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Changed, format!("\"{key}\" was replaced meanwhile"))
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
        Error::Generic { source, .. } => kind_of_text(&source.to_string()),
        _ => StoreErrorKind::Other,
    }
}

/// The library gives other failures of a request as text alone.
fn kind_of_text(text: &str) -> StoreErrorKind {
    if let Some(kind) = element(text, "Code").and_then(kind_of_code) {
        return kind;
    }
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["414 URI Too Long"]) {
        StoreErrorKind::InvalidName
    } else if has(&["413 Payload Too Large"]) {
        StoreErrorKind::TooLarge
    } else if has(&["507 Insufficient Storage"]) {
        StoreErrorKind::NoSpace
    } else if has(&[
        "HTTP error",
        "error sending request",
        "retries",
        "429 Too",
        "500 Int",
        "502 Bad",
        "503 Ser",
        "504 Gat",
    ]) {
        StoreErrorKind::Unavailable
    } else {
        StoreErrorKind::Other
    }
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
    let text = match error {
        Error::NotFound { .. } => return "it does not exist".to_owned(),
        Error::AlreadyExists { .. } => return "it exists already".to_owned(),
        Error::Precondition { .. } | Error::NotModified { .. } => return "it was changed meanwhile".to_owned(),
        other => other.to_string(),
    };
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        _ => without_queries(&text),
    }
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
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn reasons_hold_no_signed_address_and_no_answer() {
        let error = generic("Error performing GET https://a.b/c?sig=SECRET in 1ms - HTTP error");
        assert!(!describe(&error).contains("SECRET"), "{}", describe(&error));
        assert_eq!(kind_of(&error), StoreErrorKind::Unavailable);
        let error =
            generic("x: <Error><Code>KeyTooLongError</Code><Message>Too long</Message><Sig>SECRET</Sig></Error>");
        assert_eq!(describe(&error), "Too long (KeyTooLongError)");
        assert_eq!(kind_of(&error), StoreErrorKind::InvalidName);
    }
}
