//! What a user may do, and with what a user logs in.

use std::collections::BTreeSet;

use super::super::draft::Rights;

/// Permissions of SFTPGo, and their names here.
const SAME: [(&str, &str); 7] = [
    ("list", "list"),
    ("download", "read"),
    ("upload", "write"),
    ("overwrite", "overwrite"),
    ("delete", "delete"),
    ("rename", "rename"),
    ("create_dirs", "mkdir"),
];

/// Permissions that are two here in one: both, or none.
const HALVES: [(&str, [&str; 2]); 2] =
    [("delete", ["delete_files", "delete_dirs"]), ("rename", ["rename_files", "rename_dirs"])];

/// The permissions of an entry; what has no counterpart is told to `note`.
pub(super) fn rights_of(granted: &[String], mut note: impl FnMut(String)) -> Rights {
    if granted.iter().any(|word| word == "*") {
        return Rights::All;
    }
    let mut rights = BTreeSet::new();
    for word in granted {
        match SAME.iter().find(|(theirs, _)| theirs == word) {
            Some((_, ours)) => {
                rights.insert(*ours);
            }
            None if HALVES.iter().any(|(_, halves)| halves.contains(&word.as_str())) => {}
            None => note(format!("the permission {word}")),
        }
    }
    for (ours, halves) in HALVES {
        let has = |half: &&str| granted.iter().any(|word| word == half);
        match (rights.contains(ours), halves.iter().filter(|half| has(half)).count()) {
            (false, 2) => {
                rights.insert(ours);
            }
            (false, 1) => note(format!("{ours} of files alone or of folders alone: not granted")),
            _ => {}
        }
    }
    Rights::Of(rights)
}

/// What a user can prove.
pub(super) struct Methods {
    pub has_keys: bool,
    pub has_password: bool,
}

impl Methods {
    /// `auth` of the user, after the denied methods; `None` when nobody could log in.
    pub(super) fn auth(&self, denied: &[String]) -> Option<&'static str> {
        let is_denied = |method: &str| denied.iter().any(|denied| denied == method);
        let has_key = self.has_keys && !is_denied("publickey");
        let over_ssh = !is_denied("password-over-SSH") || !is_denied("keyboard-interactive");
        let has_password = self.has_password && !is_denied("password") && over_ssh;
        let both = !is_denied("publickey+password") || !is_denied("publickey+keyboard-interactive");
        match (has_key, has_password) {
            (true, true) => Some("public_key_or_password"),
            (true, false) => Some("public_key"),
            (false, true) => Some("password"),
            (false, false) if self.has_keys && self.has_password && both => Some("public_key_and_password"),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn permissions_are_never_wider_than_they_were() {
        let of = |text: &str| {
            let mut notes = Vec::new();
            let rights = rights_of(&words(text), |what| notes.push(what));
            (rights, notes.len())
        };
        let set = |text: &'static str| Rights::Of(text.split_whitespace().collect());
        assert_eq!(of("*"), (Rights::All, 0));
        assert_eq!(of("list *"), (Rights::All, 0));
        assert_eq!(of("list download"), (set("list read"), 0));
        assert_eq!(of("upload create_dirs"), (set("write mkdir"), 0));
        assert_eq!(of("delete_files"), (set(""), 1));
        assert_eq!(of("delete_files delete_dirs rename_dirs"), (set("delete"), 1));
        assert_eq!(of("delete delete_files"), (set("delete"), 0));
        assert_eq!(of("chmod chtimes list"), (set("list"), 2));
    }

    #[test]
    fn what_is_denied_decides_how_a_user_logs_in() {
        let auth = |has_keys, has_password, denied: &str| Methods { has_keys, has_password }.auth(&words(denied));
        assert_eq!(auth(true, true, ""), Some("public_key_or_password"));
        assert_eq!(auth(true, false, ""), Some("public_key"));
        assert_eq!(auth(false, true, ""), Some("password"));
        assert_eq!(auth(false, false, ""), None);
        assert_eq!(auth(true, true, "password"), Some("public_key"));
        assert_eq!(auth(true, true, "password-over-SSH keyboard-interactive"), Some("public_key"));
        assert_eq!(auth(true, true, "password-over-SSH"), Some("public_key_or_password"));
        assert_eq!(auth(true, true, "publickey"), Some("password"));
        assert_eq!(auth(true, true, "publickey password"), Some("public_key_and_password"));
        assert_eq!(auth(true, true, "publickey password publickey+password publickey+keyboard-interactive"), None);
    }
}
