//! The first digits of a session's id, as tables print them, in place of the whole id.

use axum::http::StatusCode;

use super::problem::Problem;

/// The least digits that name a session: as many as tables print.
const SHORTEST: usize = 8;

/// The digits of a whole id.
const WHOLE: usize = 20;

/// How many sessions are named when one was meant.
pub(super) const NAMED: usize = 5;

/// The whole id of the session that was called by its first digits, when those were given. The event of the call has it in its path, so
/// that the trail says which session it was.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    /// The digits that were given.
    pub(super) given: String,
    /// The id.
    pub(super) id: String,
}

impl Meant {
    /// The path of a call, with the whole id.
    pub(super) fn in_path(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let is_it = |segment: &&str| segment.eq_ignore_ascii_case(&self.given);
        let segments: Vec<&str> =
            path.split('/').map(|segment| if is_it(&segment) { self.id.as_str() } else { segment }).collect();
        let path = segments.join("/");
        query.map_or(path.clone(), |query| format!("{path}?{query}"))
    }
}

/// What of a session's id a caller gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// All of it.
    Whole(String),
    /// Its first digits.
    Beginning(String),
    /// Something else.
    Other,
}

/// Reads what was given, in small letters.
pub(super) fn read(text: &str) -> Given {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        WHOLE if is_hex => Given::Whole(text.to_ascii_lowercase()),
        SHORTEST..WHOLE if is_hex => Given::Beginning(text.to_ascii_lowercase()),
        _ => Given::Other,
    }
}

/// The one session that begins so, if there is one.
///
/// # Errors
/// 409 when there are several.
pub(super) fn only_one(beginning: &str, ids: impl IntoIterator<Item = String>) -> Result<Option<String>, Problem> {
    let mut meant: Vec<String> = ids.into_iter().filter(|id| id.starts_with(beginning)).collect();
    meant.sort();
    meant.dedup();
    if meant.len() > 1 {
        let more = if meant.len() > NAMED { ", …" } else { "" };
        meant.truncate(NAMED);
        let what = format!("{beginning} is ambiguous: {}{more}", meant.join(", "));
        return Err(Problem::new(StatusCode::CONFLICT, what));
    }
    Ok(meant.pop())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_or_more_are_a_beginning() {
        assert_eq!(read("0049CD84"), Given::Beginning("0049cd84".into()));
        assert_eq!(read("0049cd844c7536c06a8"), Given::Beginning("0049cd844c7536c06a8".into()));
        assert_eq!(read("0049cd844c7536c06a89"), Given::Whole("0049cd844c7536c06a89".into()));
        for other in ["", "0049cd8", "0049cd8x", "0049cd844c7536c06a890", "日本語日本"] {
            assert_eq!(read(other), Given::Other, "{other}");
        }
    }

    #[test]
    fn a_beginning_means_one_session_or_is_refused() {
        let ids = || ["aaaaaaaa01", "aaaaaaaa02", "bbbbbbbb01", "bbbbbbbb01"].map(str::to_owned);
        assert_eq!(only_one("bbbbbbbb", ids()).unwrap().as_deref(), Some("bbbbbbbb01"));
        assert_eq!(only_one("cccccccc", ids()).unwrap(), None);
        let several = only_one("aaaaaaaa", ids()).unwrap_err();
        assert_eq!(several.status(), 409);
        let (several, many) = (several.sentence(), only_one("a", (0..9).map(|number| format!("a{number}"))));
        assert!(several.contains("aaaaaaaa01, aaaaaaaa02"), "{several}");
        let many = many.unwrap_err().sentence();
        assert!(many.ends_with("a4, …"), "{many}");
    }

    #[test]
    fn the_record_of_a_call_has_the_whole_id() {
        let meant = Meant { given: "0049CD84".into(), id: "0049cd844c7536c06a89".into() };
        let whole = "/api/v1/recordings/0049cd844c7536c06a89";
        assert_eq!(
            meant.in_path("/api/v1/recordings/0049cd84?format=text&x=0049cd84"),
            format!("{whole}?format=text&x=0049cd84")
        );
        assert_eq!(meant.in_path("/api/v1/recordings/0049CD84"), whole);
    }
}
