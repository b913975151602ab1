//! What clients are shown before they log in, with what is known of their session then.

/// The longest name that is shown, in characters.
const MAX_NAME: usize = 64;

/// The text with the id of the session, the server's name and the user's in their places. Every other `${…}` stays as it is.
pub(super) fn filled(text: &str, session: &str, server: &str, user: &str) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        match name {
            "session_id" => filled.push_str(session),
            "server" => filled.extend(plain(server)),
            "user" => filled.extend(plain(user)),
            other => filled.extend(["${", other, "}"]),
        }
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// A name without what a terminal would obey: the client itself chose the user's.
fn plain(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_their_places_and_nothing_else_changes() {
        for (text, expected) in [
            ("Hello\n", "Hello\n"),
            ("${session_id} ${server} ${user}", "0049 edge-1 ann"),
            ("${user}${user}", "annann"),
            ("$ { ${ ${other} ${user", "$ { ${ ${other} ${user"),
            ("${other} ${user}", "${other} ann"),
            ("${}", "${}"),
        ] {
            assert_eq!(filled(text, "0049", "edge-1", "ann"), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_no_command_of_a_terminal_and_not_looked_at_again() {
        assert_eq!(filled("<${user}>", "s", "s", "a\u{1b}[2J\r\n\u{9b}b"), "<a[2Jb>");
        assert_eq!(filled("<${user}>", "s", "s", "${session_id}"), "<${session_id}>");
        assert_eq!(filled("${user}", "s", "s", &"x".repeat(1000)).len(), MAX_NAME);
    }
}
