//! The last column of an event's row. Which file it was comes before all else, and is shortened last.

use std::borrow::Cow;

use super::{columns, cut, cut_front};
use crate::audit::read::{Event, shown};

/// How many characters of a fingerprint a terminal shows, after the name of the hash.
const SHORT_KEY: usize = 8;

/// Columns for less than which nothing is said behind a path.
const LEAST_REST: usize = 4;

/// What stands between an old name and a new one.
const ARROW: &str = " → ";

/// What a person wants to see first of an event, in parts.
#[derive(Debug)]
pub(super) struct Detail {
    /// A path, or an old and a new one.
    names: Vec<String>,
    /// What else is said.
    rest: Vec<String>,
    /// The fingerprint of the key, or of the authority of a certificate.
    key: String,
}

impl Detail {
    pub(super) fn of(event: &Event) -> Detail {
        let text = |names: &[&str]| {
            let found = names.iter().map(|name| event.text(name)).find(|text| !text.is_empty());
            found.map(|text| shown(text).into_owned())
        };
        let message = text(&["message"]).map(|message| format!("({message})"));
        // Another gateway told of it, and it is not in this trail.
        let gateway = text(&["gateway"]).map(|gateway| format!("at {gateway}"));
        let message =
            [gateway, message].into_iter().flatten().reduce(|gateway, message| format!("{gateway} {message}"));
        let key = text(&["ssh-public-key-fingerprint", "ssh-certificate-ca-fingerprint"]).unwrap_or_default();
        if event.activity() == "ADMIN_CALL" {
            let call = ["caller", "method", "path", "reason"].map(|name| text(&[name]));
            return Detail { names: Vec::new(), rest: call.into_iter().chain([message]).flatten().collect(), key };
        }
        let names = [text(&["logical-path", "path"]), text(&["new-logical-path", "new-path"])];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let said = if names.is_empty() {
            let by = text(&["ended-by"]).map(|by| format!(" by {by}")).unwrap_or_default();
            text(&["reason", "request", "method"]).map(|reason| reason + &by)
        } else {
            text(&["operation"]).filter(|word| matches!(word.as_str(), "read" | "write"))
        };
        Detail { names, rest: said.into_iter().chain(message).collect(), key }
    }

    /// In at most so many columns of a terminal; without a limit all of it.
    pub(super) fn within(&self, width: Option<usize>) -> String {
        let Some(width) = width else { return self.joined(&self.key) };
        let joined = self.joined(&short_key(&self.key));
        let names = self.names.join(ARROW);
        if columns(&joined) <= width || columns(&names) + LEAST_REST <= width {
            return cut(&joined, width).into_owned();
        }
        if columns(&names) <= width {
            return names;
        }
        match self.names.as_slice() {
            [old, new] => {
                let room = width.saturating_sub(columns(ARROW));
                let of_old = room.saturating_sub(columns(new)).max(room / 2);
                let old = cut_front(old, of_old);
                let new = cut_front(new, room.saturating_sub(columns(&old)));
                [&*old, &*new].join(ARROW)
            }
            _ => cut_front(&names, width).into_owned(),
        }
    }

    fn joined(&self, key: &str) -> String {
        let names = self.names.join(ARROW);
        let parts = [names.as_str()].into_iter().chain(self.rest.iter().map(String::as_str)).chain([key]);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// A fingerprint as a terminal shows it: the name of the hash, eight characters and `…`. It helps to recognise a key, and proves
/// nothing.
pub fn short_key(key: &str) -> Cow<'_, str> {
    let hash = key.find(':').map_or(0, |colon| colon + 1);
    let end = key.get(hash..).and_then(|digest| digest.char_indices().nth(SHORT_KEY)).map(|(at, _)| hash + at);
    match end.and_then(|end| key.get(..end)) {
        Some(beginning) => Cow::Owned(format!("{beginning}…")),
        None => Cow::Borrowed(key),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn detail(json: &str, width: Option<usize>) -> String {
        Detail::of(&Event::parse(json.as_bytes()).unwrap()).within(width)
    }

    #[test]
    fn the_detail_says_what_matters() {
        for (json, expected) in [
            (r#"{"logical-path":"/a","new-logical-path":"/b","message":"no"}"#, "/a → /b (no)"),
            (r#"{"reason":"unknown-user","method":"none","message":"x"}"#, "unknown-user (x)"),
            (r#"{"reason":"administrator","ended-by":"ann","message":"x"}"#, "administrator by ann (x)"),
            (r#"{"request":"shell"}"#, "shell"),
            (r#"{"method":"publickey"}"#, "publickey"),
            (r#"{"method":"publickey","ssh-public-key-fingerprint":"SHA256:x"}"#, "publickey SHA256:x"),
            (
                r#"{"reason":"key-not-authorized","ssh-public-key-fingerprint":"SHA256:x"}"#,
                "key-not-authorized SHA256:x",
            ),
            (r#"{"path":"/k","operation":"CLOSE"}"#, "/k"),
            (r#"{"path":"/k","operation":"read","ssh-public-key-fingerprint":"SHA256:x"}"#, "/k read SHA256:x"),
            ("{}", ""),
        ] {
            assert_eq!(detail(json, None), expected);
        }
    }

    #[test]
    fn a_call_of_the_admin_door_says_who_called_what() {
        let call = r#"{"activity-type":"ADMIN_CALL","caller":"night-shift","method":"DELETE","path":"/api/v1/sessions/0049","reason":"stolen"}"#;
        assert_eq!(detail(call, None), "night-shift DELETE /api/v1/sessions/0049 stolen");
        assert_eq!(detail(call, Some(24)), "night-shift DELETE /api…");
        let stranger =
            r#"{"activity-type":"ADMIN_CALL","method":"GET","path":"/api/v1/me","message":"no valid token"}"#;
        assert_eq!(detail(stranger, None), "GET /api/v1/me (no valid token)");
    }

    #[test]
    fn a_narrow_terminal_shows_which_file_it_was() {
        let close = |path: &str| {
            format!(
                r#"{{"operation":"write","logical-path":"{path}","ssh-public-key-fingerprint":"SHA256:E6kttdl13b2gNxyz"}}"#
            )
        };
        for (width, expected) in [
            (24, "/in/data.csv write SHA2…"),
            (34, "/in/data.csv write SHA256:E6kttdl…"),
            (35, "/in/data.csv write SHA256:E6kttdl1…"),
            (12, "/in/data.csv"),
            (10, "…/data.csv"),
        ] {
            assert_eq!(detail(&close("/in/data.csv"), Some(width)), expected);
        }
        let rename = r#"{"logical-path":"/incoming/data.part","new-logical-path":"/done/data.csv"}"#;
        assert_eq!(detail(rename, Some(40)), "/incoming/data.part → /done/data.csv");
        assert_eq!(detail(rename, Some(24)), "…data.part → …e/data.csv");
        assert_eq!(detail(rename, Some(30)), "…ng/data.part → /done/data.csv");
    }

    #[test]
    fn a_fingerprint_is_shortened_and_shorter_ones_are_not() {
        for (key, expected) in
            [("SHA256:E6kttdl13b2gN", "SHA256:E6kttdl1…"), ("SHA256:12345678", "SHA256:12345678"), ("", "")]
        {
            assert_eq!(short_key(key), expected);
        }
    }
}
