//! Errors in JSON, as Google's JSON API gives them.

use serde::Deserialize;

use super::client::Failure;
use super::xml::passes;
use crate::stores::StoreErrorKind;
use crate::stores::object::kind_of_status;

/// The longest reason that is passed on, in characters.
const LONGEST_REASON: usize = 300;

#[derive(Deserialize)]
struct Document {
    error: Problem,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
}

/// Whether a body is a JSON object rather than XML.
pub(super) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// What is wrong with an answer; `None` for a success.
pub(super) fn failure(status: u16, body: &[u8]) -> Option<Failure> {
    if (200..300).contains(&status) {
        return None;
    }
    let problem = serde_json::from_slice::<Document>(body).ok().map(|document| document.error);
    let code = problem.as_ref().and_then(|problem| problem.errors.first()).map_or("", |first| first.reason.as_str());
    let kind = kind_of_reason(code).unwrap_or_else(|| kind_of_status(status));
    let message: String = problem.iter().flat_map(|problem| problem.message.chars()).take(LONGEST_REASON).collect();
    let reason = match (message.is_empty(), code.is_empty()) {
        (true, _) => format!("the store answered with status {status}"),
        (false, true) => message,
        (false, false) => format!("{message} ({code})"),
    };
    Some(Failure { kind, reason, passing: passes(status, kind), after: None })
}

/// The kind of a reason that says more than the status does: Google limits rates with 403 as well as with 429.
fn kind_of_reason(reason: &str) -> Option<StoreErrorKind> {
    Some(match reason {
        "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError" => StoreErrorKind::Unavailable,
        "quotaExceeded" => StoreErrorKind::NoSpace,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_json_api_are_read() {
        let body = br#" {"error": {"code": 412, "message": "At least one condition did not hold.",
            "errors": [{"domain": "global", "reason": "conditionNotMet", "message": "x"}]}}"#;
        assert!(is_object(body));
        let found = failure(412, body).unwrap();
        assert_eq!(found.kind, StoreErrorKind::Changed);
        assert_eq!(found.reason, "At least one condition did not hold. (conditionNotMet)");
        assert!(!found.passing);
        let slow = br#"{"error": {"message": "Slow", "errors": [{"reason": "userRateLimitExceeded"}]}}"#;
        let found = failure(403, slow).unwrap();
        assert!(found.passing && found.kind == StoreErrorKind::Unavailable);
        assert_eq!(failure(404, b"{").unwrap().kind, StoreErrorKind::NotFound);
        assert!(failure(200, br#"{"error": {"message": "the name of a file"}}"#).is_none());
    }
}
