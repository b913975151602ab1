//! Patterns of paths and of users, those of a sink's `filter`, and beginnings of fingerprints.

use globset::{Glob, GlobBuilder, GlobSet};

use crate::audit::read::Event;

/// The fields that hold paths.
const PATHS: [&str; 4] = ["logical-path", "path", "new-logical-path", "new-path"];

/// The longest pattern, in bytes, and the most braces within braces: whoever may ask for events may write one, and it is compiled.
const LONGEST_PATTERN: usize = 1024;
const DEEPEST_PATTERN: usize = 8;

/// A pattern of paths: `*` and `?` stay within a component, `**` does not. Without a slash it is one of names, in whatever folder.
#[derive(Debug, Clone)]
pub struct PathPattern {
    glob: Glob,
    matcher: GlobSet,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.glob == other.glob
    }
}

impl Eq for PathPattern {}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it: longer than 1,024 bytes, more than eight braces within braces, or no pattern at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        judge_size(text)?;
        let name = (!text.contains('/')).then(|| format!("**/{text}"));
        let glob = GlobBuilder::new(name.as_deref().unwrap_or(text)).literal_separator(true).build();
        let glob = glob.map_err(|error| error.kind().to_string())?;
        let matcher = matcher_of(&glob)?;
        Ok(PathPattern { glob, matcher })
    }

    /// Whether it holds for a path of an event, old or new.
    pub fn fits_event(&self, event: &Event) -> bool {
        PATHS.iter().any(|name| self.fits(event.text(name)))
    }

    /// Whether it holds for a path.
    pub fn fits(&self, path: &str) -> bool {
        !path.is_empty() && self.matcher.is_match(path)
    }
}

/// A pattern of users' names, as in `filter: { users: … }`: `*` and `?` stand for any characters. A name as it is fits itself, whatever
/// characters it has.
#[derive(Debug, Clone)]
pub struct UserPattern {
    text: String,
    /// None for a name as it is.
    matcher: Option<GlobSet>,
}

impl UserPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`PathPattern::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(UserPattern::exactly(text));
        }
        judge_size(text)?;
        let glob = Glob::new(text).map_err(|error| error.kind().to_string())?;
        Ok(UserPattern { text: text.to_owned(), matcher: Some(matcher_of(&glob)?) })
    }

    /// The name of one user.
    pub fn exactly(name: &str) -> Self {
        UserPattern { text: name.to_owned(), matcher: None }
    }

    /// Whether it holds for a user's name; never for none.
    pub fn fits(&self, user: &str) -> bool {
        !user.is_empty() && (self.text == user || self.matcher.as_ref().is_some_and(|matcher| matcher.is_match(user)))
    }

    /// The one name that it holds for.
    pub fn name(&self) -> Option<&str> {
        self.matcher.is_none().then_some(&*self.text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The name of the only hash of which fingerprints are recorded.
const HASH: &str = "SHA256:";

/// Characters of a whole fingerprint behind the hash's name: 32 bytes in base64 without padding; and the least that name one.
const WHOLE: usize = 43;
const SHORTEST_FINGERPRINT: usize = 4;

/// A fingerprint, `SHA256:` and base64 without padding, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads it with or without `SHA256:` and padding, also as a terminal shows it: its beginning and `…` (or `...`).
    ///
    /// # Errors
    /// A sentence for other texts.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(['=', '…', '.']);
        let digits = digits.strip_prefix(HASH).unwrap_or(digits);
        let is_base64 = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        if !is_base64 || !(SHORTEST_FINGERPRINT..=WHOLE).contains(&digits.len()) {
            return Err(format!(
                "a fingerprint is {HASH} and {WHOLE} characters of base64, and the first {SHORTEST_FINGERPRINT} or more will do"
            ));
        }
        Ok(Fingerprint(format!("{HASH}{digits}")))
    }

    /// The fingerprints in a field that begin so.
    pub(super) fn fitting<'k>(&self, keys: &'k str) -> impl Iterator<Item = &'k str> {
        keys.split(',').filter(|key| key.starts_with(&self.0))
    }
}

impl AsRef<str> for Fingerprint {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn judge_size(text: &str) -> Result<(), String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("it has {} bytes, and at most {LONGEST_PATTERN} are allowed", text.len()));
    }
    if depth_of(text) > DEEPEST_PATTERN {
        return Err(format!("more than {DEEPEST_PATTERN} braces are within one another"));
    }
    Ok(())
}

/// As a set of one: a `Glob` alone panics where the regular expression that it makes is refused.
fn matcher_of(glob: &Glob) -> Result<GlobSet, String> {
    let matcher = GlobSet::builder().add(glob.clone()).build();
    matcher.map_err(|_| "it is too large when compiled".to_owned())
}

/// How many braces are open at once at most, those counted too that stand for themselves.
fn depth_of(pattern: &str) -> usize {
    let deeper = |(now, most): (usize, usize), c| match c {
        '{' => (now + 1, most.max(now + 1)),
        '}' => (now.saturating_sub(1), most),
        _ => (now, most),
    };
    pattern.chars().fold((0, 0), deeper).1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_is_too_much_to_compile_is_refused() {
        let nested = |depth: usize| format!("/{}b{}", "{a,".repeat(depth), "}".repeat(depth));
        assert!(
            PathPattern::parse(&nested(DEEPEST_PATTERN)).is_ok_and(|pattern| pattern.fits("/b") && pattern.fits("/a"))
        );
        for depth in [DEEPEST_PATTERN + 1, 200, 300] {
            assert!(PathPattern::parse(&nested(depth)).is_err(), "{depth}");
        }
        let long = |bytes: usize| PathPattern::parse(&format!("/{}", "?".repeat(bytes - 1)));
        assert!(long(LONGEST_PATTERN).is_ok() && long(LONGEST_PATTERN + 1).is_err());
        // As much as fits: none of these panics.
        for piece in ["**/", "[!a-z]", "{a,b}", "{,*?}", "[\u{e9}-\u{1f600}]", "\\{"] {
            let pattern = piece.repeat(LONGEST_PATTERN / piece.len());
            let _ = PathPattern::parse(&pattern);
        }
    }

    #[test]
    fn a_fingerprint_is_named_as_it_is_printed() {
        let whole = "SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0";
        let fits = |text: &str| Fingerprint::parse(text).unwrap().fitting(&format!("SHA256:x,{whole}")).count();
        let bare = whole.strip_prefix("SHA256:").unwrap();
        for text in [whole, bare, &format!("{whole}="), "SHA256:BY3gNMHw…", "SHA256:BY3gNMHw", "BY3gNMHw...", "BY3g"]
        {
            assert_eq!(fits(text), 1, "{text}");
        }
        assert_eq!((fits("SHA256:BY3gNMHx…"), fits("Y3gNMHw")), (0, 0));
        for wrong in ["", "SHA256:", "SHA256:BY3…", "BY3 gNMHw", "MD5:aa:bb:cc:dd", &format!("{whole}0")] {
            assert!(Fingerprint::parse(wrong).is_err_and(|what| what.contains("43 characters")), "{wrong}");
        }
    }

    #[test]
    fn a_user_fits_by_name_or_by_pattern() {
        for (pattern, user, fits) in [
            ("ann", "ann", true),
            ("ann", "anna", false),
            ("ann*", "anna", true),
            ("partner-?", "partner-7", true),
            ("partner-?", "partner-77", false),
            ("{ann,ben}", "ben", true),
            ("team/*", "team/a/b", true),
            ("CORP\\\\ann", "CORP\\ann", true),
            ("CORP\\ann", "CORP\\ann", true),
            ("*", "", false),
        ] {
            assert_eq!(UserPattern::parse(pattern).unwrap().fits(user), fits, "{pattern} {user}");
        }
        assert!(UserPattern::exactly("a*").fits("a*") && !UserPattern::exactly("a*").fits("ab"));
        assert!(UserPattern::parse("a[").is_err() && UserPattern::parse(&"*".repeat(LONGEST_PATTERN + 1)).is_err());
    }
}
