//! One file of keys: `NAME.pub`, lines of the `authorized_keys` form.

use aws_lc_rs::digest;
use base16ct::lower::encode_string;

use super::super::{AuthorizedKey, MAX_KEYS};

/// The end of the names that hold keys.
const SUFFIX: &str = ".pub";

/// The longest user name, in bytes.
const MAX_NAME: usize = 100;

/// How many wrong lines of one file are told one by one.
const TOLD: usize = 3;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    /// The keys that can be used, each once.
    pub(super) keys: Vec<AuthorizedKey>,
    /// Stands for their lines, options and comments included.
    pub(super) digest: String,
    /// What of the file is passed over, and why; without a word of what could be a secret.
    pub(super) problem: Option<String>,
}

impl Content {
    /// A file of which nothing is used.
    pub(super) fn nothing(problem: impl Into<String>) -> Content {
        Content { problem: Some(problem.into()), ..Content::default() }
    }

    /// Reads a file. A line that is no key that is served gives no access; the others hold, as in sshd. A file of too many
    /// keys, or of a private one, gives none at all.
    pub(super) fn read(bytes: &[u8]) -> Content {
        let Ok(text) = std::str::from_utf8(bytes) else { return Content::nothing("it is not text") };
        if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
            return Content::nothing(
                "it contains a private key; replace that key, and keep private keys out of this folder",
            );
        }
        let (mut keys, mut lines, mut wrong) = (Vec::<AuthorizedKey>::new(), Vec::new(), Vec::new());
        let written = text.lines().map(str::trim).enumerate();
        for (number, line) in written.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match AuthorizedKey::parse(line) {
                Ok(key) if keys.iter().any(|known| known.blob() == key.blob()) => {}
                Ok(key) => {
                    keys.push(key);
                    lines.push(line);
                }
                Err(what) => wrong.push(format!("line {}: {what}", number + 1)),
            }
        }
        if keys.len() > MAX_KEYS {
            return Content::nothing(format!("it has {} keys; a user has at most {MAX_KEYS}", keys.len()));
        }
        let problem = match (keys.is_empty(), wrong.is_empty()) {
            (_, false) => Some(summary(&wrong)),
            (true, true) => Some("it contains no key".to_owned()),
            (false, true) => None,
        };
        Content {
            keys,
            digest: encode_string(digest::digest(&digest::SHA256, lines.join("\n").as_bytes()).as_ref()),
            problem,
        }
    }

    /// The fingerprints of the keys.
    pub(super) fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(AuthorizedKey::fingerprint).collect()
    }
}

/// The user of a file; `None` when its name is not a user's: `^[a-z][-_a-z0-9]*$` and `.pub`.
pub(super) fn user_of(file: &str) -> Option<&str> {
    file.strip_suffix(SUFFIX).filter(|name| is_name_of_file(name))
}

/// Whether a file of keys can be this user's.
pub fn is_name_of_file(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let right = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && name.bytes().all(inner);
    right && name.len() <= MAX_NAME
}

fn summary(wrong: &[String]) -> String {
    let told = wrong[..wrong.len().min(TOLD)].join("; ");
    match wrong.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told}; and {more} more lines"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI laptop";

    /// Another key: the same with its last byte changed.
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EJ desk";

    #[test]
    fn names_are_small_letters_digits_dashes_and_underscores() {
        for (file, name) in [
            ("ann.pub", Some("ann")),
            ("a-1.pub", Some("a-1")),
            ("a.pub", Some("a")),
            ("Ann.pub", None),
            ("1ann.pub", None),
            ("-ann.pub", None),
            ("user_01.pub", Some("user_01")),
            ("_ann.pub", None),
            ("an.n.pub", None),
            (".pub", None),
            ("ann", None),
            ("ann.pub.bak", None),
            ("ann.PUB", None),
            ("ånn.pub", None),
        ] {
            assert_eq!(user_of(file), name, "{file}");
        }
        assert!(user_of(&format!("{}.pub", "a".repeat(100))).is_some());
        assert!(user_of(&format!("{}.pub", "a".repeat(101))).is_none());
    }

    #[test]
    fn the_lines_that_are_keys_hold() {
        let text = format!("# ann's\n\n{KEY}\r\nssh-dss AAAA old\nfrom=\"10.0.0.0/8\" {OTHER}\n{KEY} again\n");
        let content = Content::read(text.as_bytes());
        assert_eq!(content.fingerprints().len(), 2);
        assert!(
            content.keys[1].allows_from([10, 0, 0, 1].into()) && !content.keys[1].allows_from([11, 0, 0, 1].into())
        );
        let problem = content.problem.clone().unwrap();
        assert!(problem.starts_with("line 4: ") && problem.contains("DSA"), "{problem}");
        // The options of a key are part of what the digest stands for; comments on lines of their own are not.
        let with = |line: &str| Content::read(format!("{KEY}\n{line}").as_bytes());
        assert_eq!(with("# x").digest, with("").digest);
        assert_ne!(with(OTHER).digest, with(&format!("from=\"10.0.0.0/8\" {OTHER}")).digest);
        assert_eq!(with(OTHER).problem, None);
    }

    #[test]
    fn what_cannot_be_used_gives_no_access_and_says_why() {
        let many: String = (0..51).map(|n| format!("{}\n", KEY.replace("+EI", &format!("{n:02}I")))).collect();
        for (bytes, why) in [
            (&b"\xff\xfe"[..], "not text"),
            (b"", "no key"),
            (b"# nothing\n", "no key"),
            (b"hello\nworld\nhow\nare\nyou\n", "and 2 more lines"),
            (many.as_bytes(), "51 keys; a user has at most 50"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n", "private key"),
        ] {
            let content = Content::read(bytes);
            let problem = content.problem.unwrap();
            assert!(content.keys.is_empty() && problem.contains(why), "{problem}");
            assert!(!problem.contains("c2VjcmV0"));
        }
    }
}
