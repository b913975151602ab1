//! Which events a sink takes.

use globset::{Glob, GlobSet};
use serde::Deserialize;

use super::notify::Notice;
use crate::audit::outcome::{operation_of, status_of};
use crate::audit::search::PathPattern;

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
    "TRAIL_VERIFIED",
    "FLEET_ALONE",
    "FLEET_JOINED",
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
    /// With one of these words in `status` only. CONNECTED, TRAIL_VERIFIED and FLEET_JOINED count as `success`, AUTH_FAILURE,
    /// KEX_FAILURE, CONNECTION_REJECTED and FLEET_ALONE as `failure`, REQUEST_DENIED as `denied`; other events without the field do not pass.
    pub status: Option<Vec<String>>,
    /// About a path that fits one of these only, old or new, as clients or as stores have it; events without a path do not pass.
    pub paths: Option<Vec<PathPattern>>,
    /// With one of these [`OPERATIONS`](crate::audit::OPERATIONS) only; events of none of them do not pass.
    pub operations: Option<Vec<String>>,
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
    operation: Option<String>,
    path: Option<String>,
    logical_path: Option<String>,
    new_path: Option<String>,
    new_logical_path: Option<String>,
}

impl Judged {
    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.logical_path, &self.path, &self.new_logical_path, &self.new_path]
            .into_iter()
            .filter_map(|name| name.as_deref())
    }
}

impl Filter {
    /// Whether nothing is left out.
    pub(super) fn takes_all(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a notification passes. Those have no activities.
    pub(super) fn takes_notice(&self, notice: &Notice) -> bool {
        self.users.as_ref().is_none_or(|users| users.is_match(notice.user()))
            && self.takes_status(Some(notice.status()))
            && notice.operations().any(|operation| self.takes_operation(Some(operation)))
            && self.takes_paths(notice.names())
    }

    fn takes_status(&self, status: Option<&str>) -> bool {
        self.status.as_ref().is_none_or(|list| status.is_some_and(|status| list.iter().any(|s| s == status)))
    }

    fn takes_operation(&self, operation: Option<&str>) -> bool {
        let listed = |list: &Vec<String>| operation.is_some_and(|operation| list.iter().any(|o| o == operation));
        self.operations.as_ref().is_none_or(listed)
    }

    fn takes_paths<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        let fits = |name: &str, patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.fits(name));
        self.paths.as_ref().is_none_or(|patterns| names.any(|name| fits(name, patterns)))
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
            && self.users.as_ref().is_none_or(|users| event.user.as_ref().is_some_and(|user| users.is_match(user)))
            && self.takes_status(status)
            && self.takes_operation(operation_of(&event.activity_type, event.operation.as_deref()))
            && self.takes_paths(event.names())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::OPERATIONS;

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
    fn paths_and_operations() {
        let paths = |patterns: &[&str]| Filter {
            paths: Some(patterns.iter().map(|pattern| PathPattern::parse(pattern).unwrap()).collect()),
            ..Filter::default()
        };
        let close =
            r#"{"activity-type":"CLOSE","operation":"write","logical-path":"/in/a.csv","path":"/lake/x/a.csv"}"#;
        let rename = r#"{"activity-type":"RENAME","logical-path":"/in/a.part","new-logical-path":"/in/a.csv"}"#;
        assert!(takes(&paths(&["*.csv"]), close) && takes(&paths(&["*.csv"]), rename));
        assert!(takes(&paths(&["/x", "/in/*"]), close) && takes(&paths(&["/lake/**"]), close));
        assert!(!takes(&paths(&["/*"]), close) && !takes(&paths(&["**"]), LOGIN));
        let operations = |words: &[&str]| Filter {
            operations: Some(words.iter().map(|&word| word.into()).collect()),
            ..Filter::default()
        };
        assert!(takes(&operations(&["upload"]), close) && !takes(&operations(&["rename", "download"]), close));
        assert!(takes(&operations(&["rename"]), rename) && !takes(&operations(&["upload"]), LOGIN));
        assert!(takes(&operations(&["upload"]), r#"{"activity-type":"ERROR","operation":"CLOSE","status":"failure"}"#));
        assert!(!takes(&operations(OPERATIONS), r#"{"activity-type":"ERROR","operation":"LIST"}"#));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_not_left_out() {
        assert!(takes(&Filter { activities: Some(vec![]), ..Filter::default() }, "{torn"));
    }
}
