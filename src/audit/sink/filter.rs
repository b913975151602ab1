//! Which events a sink takes.

use globset::{Glob, GlobSet};
use serde::Deserialize;

/// Every word that `activity-type` may have.
pub const ACTIVITIES: &[&str] = &[
    "CONNECTED",
    "AUTH_FAILURE",
    "KEX_FAILURE",
    "CONNECTION_REJECTED",
    "DISCONNECTED",
    "OPEN",
    "CLOSE",
    "PARTIAL_CLOSE",
    "DELETE",
    "RENAME",
    "MKDIR",
    "RMDIR",
    "SETSTAT",
    "CREATE_SYMLINK",
    "LIST",
    "REQUEST_DENIED",
    "ERROR",
    "EXIT_REASON",
    "CHECKPOINT",
    "USER_ADDED",
    "USER_CHANGED",
    "USER_REMOVED",
    "ADMIN_CALL",
];

/// Which events a sink takes: those that pass every part that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// These activities only.
    pub activities: Option<Vec<String>>,
    /// None of these activities.
    pub except: Vec<String>,
    /// Of users whose names fit only; events without a user do not pass.
    pub users: Option<UserPatterns>,
    /// With one of these words in `status` only. CONNECTED counts as `success`, AUTH_FAILURE, KEX_FAILURE and
    /// CONNECTION_REJECTED as `failure`, REQUEST_DENIED as `denied`; other events without the field do not pass.
    pub status: Option<Vec<String>>,
}

/// Patterns of which a user's name has to fit one.
#[derive(Debug, Clone)]
pub struct UserPatterns {
    patterns: Vec<Glob>,
    set: GlobSet,
}

impl UserPatterns {
    /// `None` when they are too many or too long together.
    pub fn new(patterns: Vec<Glob>) -> Option<UserPatterns> {
        let mut set = GlobSet::builder();
        for pattern in &patterns {
            set.add(pattern.clone());
        }
        Some(UserPatterns { set: set.build().ok()?, patterns })
    }

    /// Whether a name fits one.
    pub fn is_match(&self, user: &str) -> bool {
        self.set.is_match(user)
    }
}

impl PartialEq for UserPatterns {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for UserPatterns {}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Judged {
    activity_type: String,
    user: Option<String>,
    status: Option<String>,
}

impl Filter {
    /// Whether nothing is left out.
    pub(super) fn takes_all(&self) -> bool {
        self.activities.is_none() && self.except.is_empty() && self.users.is_none() && self.status.is_none()
    }

    /// Whether a line passes.
    pub(super) fn takes(&self, line: &[u8]) -> bool {
        if self.takes_all() {
            return true;
        }
        // A line that cannot be read is not left out: whoever looks for it finds it.
        let Ok(event) = serde_json::from_slice::<Judged>(line) else { return true };
        let named = |list: &[String]| list.contains(&event.activity_type);
        let status = event.status.as_deref().or_else(|| status_of(&event.activity_type));
        self.activities.as_deref().is_none_or(named)
            && !named(&self.except)
            && self.users.as_ref().is_none_or(|users| event.user.is_some_and(|user| users.is_match(&user)))
            && self.status.as_ref().is_none_or(|list| status.is_some_and(|status| list.iter().any(|s| s == status)))
    }
}

/// How an event went that has no `status` because its name says it.
pub(super) fn status_of(activity: &str) -> Option<&'static str> {
    match activity {
        "CONNECTED" => Some("success"),
        "AUTH_FAILURE" | "KEX_FAILURE" | "CONNECTION_REJECTED" | "ERROR" | "EXIT_REASON" => Some("failure"),
        "REQUEST_DENIED" => Some("denied"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Option<UserPatterns> {
        UserPatterns::new(patterns.iter().map(|pattern| Glob::new(pattern).unwrap()).collect())
    }

    fn takes(filter: &Filter, line: &str) -> bool {
        filter.takes(line.as_bytes())
    }

    const OPEN: &str = r#"{"activity-type":"OPEN","user":"partner-7","status":"denied"}"#;
    const LOGIN: &str = r#"{"activity-type":"CONNECTED","user":"anna"}"#;
    const REJECTED: &str = r#"{"activity-type":"CONNECTION_REJECTED"}"#;

    #[test]
    fn an_empty_filter_takes_everything() {
        let all = Filter::default();
        assert!(all.takes_all() && takes(&all, OPEN) && takes(&all, "no JSON"));
    }

    #[test]
    fn every_part_must_agree() {
        let only = Filter { activities: Some(vec!["OPEN".into(), "CLOSE".into()]), ..Filter::default() };
        assert!(takes(&only, OPEN) && !takes(&only, LOGIN));
        let except = Filter { except: vec!["OPEN".into()], ..Filter::default() };
        assert!(!takes(&except, OPEN) && takes(&except, LOGIN));
        let users = Filter { users: globs(&["partner-*", "b?b"]), ..Filter::default() };
        assert!(takes(&users, OPEN) && !takes(&users, LOGIN) && !takes(&users, REJECTED));
        let both = Filter { users: globs(&["partner-*"]), status: Some(vec!["success".into()]), ..Filter::default() };
        assert!(!takes(&both, OPEN));
    }

    #[test]
    fn activities_whose_name_says_how_they_went_have_a_status() {
        let status = |words: &[&str]| Filter {
            status: Some(words.iter().map(|&word| word.into()).collect()),
            ..Filter::default()
        };
        assert!(takes(&status(&["success"]), LOGIN) && !takes(&status(&["failure", "denied"]), LOGIN));
        assert!(takes(&status(&["failure"]), REJECTED));
        assert!(takes(&status(&["denied"]), OPEN));
        assert!(!takes(&status(&["success"]), r#"{"activity-type":"DISCONNECTED"}"#));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_not_left_out() {
        assert!(takes(&Filter { activities: Some(vec![]), ..Filter::default() }, "{torn"));
    }
}
