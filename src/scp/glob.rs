//! Patterns in source paths: `*`, `?` and `[…]` as a POSIX shell matches file names (IEEE Std 1003.1, section 2.13).

use super::words::{Letter, Word};

/// The longest component of a path that is a pattern, in characters. A name has at most 255 bytes.
const MAX_PATTERN: usize = 1024;

/// A path whose components are names or patterns.
#[derive(Debug, Clone)]
pub(super) struct PathPattern(pub Vec<Component>);

/// One component of a path as it was typed; a name may be empty, `.` or `..`.
#[derive(Debug, Clone)]
pub(super) enum Component {
    Name(String),
    Pattern(Pattern),
}

impl PathPattern {
    /// The word as a pattern; `None` when nothing in it is one.
    pub fn of(word: &Word) -> Option<PathPattern> {
        let components: Vec<Component> = word
            .0
            .split(|letter| letter.character == '/')
            .map(|letters| match Pattern::of(letters) {
                Some(pattern) => Component::Pattern(pattern),
                None => Component::Name(letters.iter().map(|letter| letter.character).collect()),
            })
            .collect();
        let any = components.iter().any(|component| matches!(component, Component::Pattern(_)));
        any.then_some(PathPattern(components))
    }
}

/// Checks that no pattern of `word` is too long to be matched in reasonable time.
pub(super) fn check(word: &Word) -> Result<(), String> {
    let too_long = |letters: &[Letter]| letters.len() > MAX_PATTERN && Pattern::of(letters).is_some();
    match word.0.split(|letter| letter.character == '/').any(too_long) {
        true => Err(format!("a component of a pattern is longer than {MAX_PATTERN} characters")),
        false => Ok(()),
    }
}

/// A pattern for one component.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone)]
enum Token {
    /// This character.
    Literal(char),
    /// `?`: any one character.
    One,
    /// `*`: any number of characters.
    Many,
    /// `[…]`: one character of a set, or with `negated` one that is not in it.
    Set { negated: bool, members: Vec<Member> },
}

#[derive(Debug, Clone)]
enum Member {
    Range(char, char),
    Class(fn(&char) -> bool),
}

impl Pattern {
    fn of(letters: &[Letter]) -> Option<Pattern> {
        let mut tokens = Vec::new();
        let mut rest = letters;
        while let [first, after @ ..] = rest {
            rest = after;
            let token = match first {
                Letter { character: '*', quoted: false } => Token::Many,
                Letter { character: '?', quoted: false } => Token::One,
                Letter { character: '[', quoted: false } => match read_set(after) {
                    Some((set, after_set)) => {
                        rest = after_set;
                        set
                    }
                    None => Token::Literal('['),
                },
                Letter { character, .. } => Token::Literal(*character),
            };
            // Two `*` in a row match what one does.
            if !matches!((&token, tokens.last()), (Token::Many, Some(Token::Many))) {
                tokens.push(token);
            }
        }
        let special = tokens.iter().any(|token| !matches!(token, Token::Literal(_)));
        special.then_some(Pattern(tokens))
    }

    /// Whether `name` matches. A leading dot is matched only by a dot.
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && !matches!(self.0.first(), Some(Token::Literal('.'))) {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where the last `*` stands, and up to where it has taken the name. Only the last one needs to be tried again.
        let mut last_many: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(token) {
                Some(Token::Many) => {
                    last_many = Some((token, at));
                    token += 1;
                }
                Some(one) if one.matches(name[at]) => {
                    token += 1;
                    at += 1;
                }
                _ => match last_many {
                    Some((many, taken)) => {
                        last_many = Some((many, taken + 1));
                        token = many + 1;
                        at = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.0[token..].iter().all(|left| matches!(left, Token::Many))
    }
}

impl Token {
    fn matches(&self, character: char) -> bool {
        match self {
            Token::Literal(literal) => *literal == character,
            Token::One | Token::Many => true,
            Token::Set { negated, members } => {
                let member = members.iter().any(|member| match member {
                    Member::Range(first, last) => (*first..=*last).contains(&character),
                    Member::Class(class) => class(&character),
                });
                member != *negated
            }
        }
    }
}

/// Reads a set after its `[`: the set and what follows its `]`. `None` when it is not closed; then `[` is a character.
fn read_set(letters: &[Letter]) -> Option<(Token, &[Letter])> {
    let mut rest = letters;
    let mut negated = false;
    if let [Letter { character: '!' | '^', quoted: false }, after @ ..] = rest {
        negated = true;
        rest = after;
    }
    let mut members = Vec::new();
    loop {
        match rest {
            // A `]` that comes first is a member.
            [Letter { character: ']', quoted: false }, after @ ..] if !members.is_empty() => {
                return Some((Token::Set { negated, members }, after));
            }
            [Letter { character: '[', quoted: false }, Letter { character: ':', quoted: false }, after @ ..]
                if read_class(after).is_some() =>
            {
                let (class, after) = read_class(after)?;
                members.push(class);
                rest = after;
            }
            [first, Letter { character: '-', quoted: false }, last, after @ ..]
                if *last != (Letter { character: ']', quoted: false }) =>
            {
                members.push(Member::Range(first.character, last.character));
                rest = after;
            }
            [one, after @ ..] => {
                members.push(Member::Range(one.character, one.character));
                rest = after;
            }
            [] => return None,
        }
    }
}

/// Reads a character class after its `[:`, up to its `:]`.
fn read_class(letters: &[Letter]) -> Option<(Member, &[Letter])> {
    let end = letters.windows(2).position(|pair| pair[0].character == ':' && pair[1].character == ']')?;
    let name: String = letters[..end].iter().map(|letter| letter.character).collect();
    let class: fn(&char) -> bool = match name.as_str() {
        "alpha" => |c| c.is_alphabetic(),
        "digit" => char::is_ascii_digit,
        "alnum" => |c| c.is_alphanumeric(),
        "upper" => |c| c.is_uppercase(),
        "lower" => |c| c.is_lowercase(),
        "space" => |c| c.is_whitespace(),
        "blank" => |c| matches!(c, ' ' | '\t'),
        "punct" => char::is_ascii_punctuation,
        "print" => |c| !c.is_control(),
        "graph" => |c| !c.is_control() && !c.is_whitespace(),
        "cntrl" => |c| c.is_control(),
        "xdigit" => char::is_ascii_hexdigit,
        _ => return None,
    };
    Some((Member::Class(class), &letters[end + 2..]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::words::Words;
    use super::*;

    fn path_pattern(typed: &str) -> Option<PathPattern> {
        PathPattern::of(&Words::of(typed).next_word().unwrap().unwrap())
    }

    fn matches(typed: &str, name: &str) -> bool {
        match path_pattern(typed).unwrap_or_else(|| panic!("{typed:?} is no pattern")).0.as_slice() {
            [Component::Pattern(pattern)] => pattern.matches(name),
            other => panic!("{typed:?}: {other:?}"),
        }
    }

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, yes, no) in [
            ("*", vec!["a", "a.b", "é"], vec![".a", "."]),
            ("*.txt", vec!["a.txt", "a.b.txt"], vec!["a.tx", ".txt", "a.txt2"]),
            (".*", vec![".a", ".a.b"], vec!["a"]),
            ("?", vec!["a", "é", "🦀"], vec!["", "ab", "."]),
            ("a?c", vec!["abc", "a.c"], vec!["ac", "abbc"]),
            ("a*b*c", vec!["abc", "aXbYc", "abbcc", "abcbc"], vec!["ab", "acb", "abcd"]),
            ("**a", vec!["a", "ba"], vec!["ab"]),
            ("[abc]", vec!["a", "c"], vec!["d", "ab", ""]),
            ("[a-c]x", vec!["ax", "bx"], vec!["dx", "-x"]),
            ("[!a-c]", vec!["d", "-"], vec!["a", "b"]),
            ("[^a-c]", vec!["d", "^"], vec!["a"]),
            ("[]a]", vec!["]", "a"], vec!["b"]),
            ("[!]a]", vec!["b"], vec!["]", "a"]),
            ("[a-]", vec!["a", "-"], vec!["b"]),
            ("[-a]", vec!["a", "-"], vec!["b"]),
            ("[[:digit:]x]*", vec!["1a", "x"], vec!["a1"]),
            ("[[:upper:]]", vec!["A", "É"], vec!["a", ":"]),
            ("[[:nope:]]", vec!["n]", ":]"], vec!["a]", "n"]),
            ("[a'-'c]", vec!["a", "-", "c"], vec!["b"]),
            ("['!'a]", vec!["!", "a"], vec!["b"]),
            ("[z-a]*", vec![], vec!["z", "m"]),
            ("[*", vec!["[", "[a"], vec!["a"]),
            ("'*'?", vec!["*a"], vec!["ba", "*"]),
            ("\\[a]*", vec!["[a]", "[a]b"], vec!["a"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} should match {name:?}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} should not match {name:?}");
            }
        }
    }

    #[test]
    fn quoted_patterns_are_names() {
        for typed in ["'*'", "\\?", "\"[a]\"", "a[b", "a]", "plain", "[", "[]", "[!]", "a/'*'/b", "[a/b]"] {
            assert!(path_pattern(typed).is_none(), "{typed:?}");
        }
        let mixed = path_pattern("a/'*'/b*/../c").unwrap().0;
        assert!(matches!(mixed.as_slice(),
            [Component::Name(a), Component::Name(star), Component::Pattern(_), Component::Name(up), Component::Name(c)]
            if a == "a" && star == "*" && up == ".." && c == "c"));
    }

    #[test]
    fn a_pattern_that_backtracks_ends_soon() {
        let pattern = format!("{}b", "a*".repeat(500));
        assert!(!matches(&pattern, &"a".repeat(255)));
        assert!(matches(&pattern[..], &format!("{}b", "a".repeat(500))));
        let word = Words::of(&"*a".repeat(MAX_PATTERN)).next_word().unwrap().unwrap();
        assert!(check(&word).is_err());
        let plain = Words::of(&"a".repeat(MAX_PATTERN * 2)).next_word().unwrap().unwrap();
        assert!(check(&plain).is_ok());
    }
}
