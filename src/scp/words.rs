//! Splits a command line into words as a POSIX shell does (IEEE Std 1003.1, Shell Command Language, section 2.2), and does
//! nothing else that a shell would do: what a shell would interpret is refused.

use std::iter::Peekable;
use std::str::Chars;

/// One character of a word, and whether quoting took its special meaning away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Letter {
    pub character: char,
    pub quoted: bool,
}

/// A word with its quotes removed. Which letters were quoted is kept: a quoted `*` is a name, not a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(pub Vec<Letter>);

impl Word {
    /// The word as the client meant it, quotes removed.
    pub fn text(&self) -> String {
        self.0.iter().map(|letter| letter.character).collect()
    }

    /// The word as a path from the home of `user`: `~` and `~user` at the start are the home itself.
    pub fn resolve_home(&self, user: &str) -> Word {
        let end = self.0.iter().position(|letter| letter.character == '/').unwrap_or(self.0.len());
        match self.0.split_at(end) {
            ([Letter { character: '~', quoted: false }, name @ ..], rest)
                if name.is_empty() || is_unquoted(name, user) =>
            {
                Word(rest.to_vec())
            }
            _ => self.clone(),
        }
    }
}

/// Why a command line cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WordsError {
    #[error("the command holds an unquoted {0:?}, which only a shell could interpret, and there is none; quote it")]
    ForAShell(char),
    #[error("the command holds a quote {0} that is not closed")]
    NotClosed(char),
    #[error("the command ends in a backslash; quote it")]
    EndsInBackslash,
}

/// The words of a command line, one after the other.
pub(super) struct Words<'a> {
    rest: Peekable<Chars<'a>>,
}

impl<'a> Words<'a> {
    pub fn of(command_line: &'a str) -> Self {
        // A shell does not mind a line's end at the end of a command.
        Words { rest: command_line.trim_end_matches('\n').chars().peekable() }
    }

    /// The next word, or `None` after the last.
    pub fn next_word(&mut self) -> Result<Option<Word>, WordsError> {
        while self.rest.next_if(|c| is_blank(*c)).is_some() {}
        if self.rest.peek().is_none() {
            return Ok(None);
        }
        let mut letters = Vec::new();
        while let Some(character) = self.rest.next_if(|c| !is_blank(*c)) {
            match character {
                '\'' => self.single_quoted(&mut letters)?,
                '"' => self.double_quoted(&mut letters)?,
                '\\' => letters.push(self.escaped()?),
                ';' | '|' | '&' | '$' | '`' | '<' | '>' | '(' | ')' | '\n' => {
                    return Err(WordsError::ForAShell(character));
                }
                _ => letters.push(Letter { character, quoted: false }),
            }
        }
        Ok(Some(Word(letters)))
    }

    /// Up to the closing `'`; nothing is special before it.
    fn single_quoted(&mut self, letters: &mut Vec<Letter>) -> Result<(), WordsError> {
        for character in self.rest.by_ref() {
            match character {
                '\'' => return Ok(()),
                _ => letters.push(Letter { character, quoted: true }),
            }
        }
        Err(WordsError::NotClosed('\''))
    }

    /// Up to the closing `"`; a backslash quotes only `$`, a backtick, `"` and itself, and stays before anything else.
    fn double_quoted(&mut self, letters: &mut Vec<Letter>) -> Result<(), WordsError> {
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(()),
                '$' | '`' => return Err(WordsError::ForAShell(character)),
                '\\' => {
                    let character = self.rest.next_if(|c| matches!(c, '$' | '`' | '"' | '\\')).unwrap_or('\\');
                    letters.push(Letter { character, quoted: true });
                }
                _ => letters.push(Letter { character, quoted: true }),
            }
        }
        Err(WordsError::NotClosed('"'))
    }

    /// What follows a backslash outside quotes. A shell joins lines there; no client needs that.
    fn escaped(&mut self) -> Result<Letter, WordsError> {
        match self.rest.next() {
            Some('\n') => Err(WordsError::ForAShell('\n')),
            Some(character) => Ok(Letter { character, quoted: true }),
            None => Err(WordsError::EndsInBackslash),
        }
    }
}

fn is_unquoted(letters: &[Letter], text: &str) -> bool {
    letters.iter().all(|letter| !letter.quoted) && letters.iter().map(|letter| letter.character).eq(text.chars())
}

fn is_blank(character: char) -> bool {
    character == ' ' || character == '\t'
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, WordsError> {
        let mut words = Words::of(line);
        let mut split = Vec::new();
        while let Some(word) = words.next_word()? {
            split.push(word.text());
        }
        Ok(split)
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (line, words) in [
            ("", vec![]),
            (" \t ", vec![]),
            ("scp -t dir", vec!["scp", "-t", "dir"]),
            ("  scp\t-t  dir  ", vec!["scp", "-t", "dir"]),
            ("scp -t dir\n", vec!["scp", "-t", "dir"]),
            ("a 'b c' \"d e\" f\\ g", vec!["a", "b c", "d e", "f g"]),
            ("'a'\"b\"c\\d", vec!["abcd"]),
            ("'' \"\"", vec!["", ""]),
            (r#"'it'"'"'s' 'it'\''s'"#, vec!["it's", "it's"]),
            (r#""a\$b\`c\"d\\e\f\*""#, vec![r#"a$b`c"d\e\f\*"#]),
            (r"'a\b' a\\b", vec![r"a\b", r"a\b"]),
            (r"\;\|\&\$\`\<\>\(\)", vec![";|&$`<>()"]),
            ("';|&$`<>()\n'", vec![";|&$`<>()\n"]),
            ("a#b #c !d {e,f} g=h", vec!["a#b", "#c", "!d", "{e,f}", "g=h"]),
            ("größe 'na me' 🦀", vec!["größe", "na me", "🦀"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line:?}");
        }
    }

    #[test]
    fn what_only_a_shell_could_do_is_refused() {
        for character in [';', '|', '&', '$', '`', '<', '>', '(', ')', '\n'] {
            let line = format!("scp -t a{character}b");
            assert_eq!(split(&line), Err(WordsError::ForAShell(character)), "{line:?}");
        }
        for line in ["scp -t \"$HOME\"", "scp -t \"`id`\"", "scp -t a\\\nb", "scp -t a\n\nid", "$(id)"] {
            assert!(matches!(split(line), Err(WordsError::ForAShell(_))), "{line:?}");
        }
        assert_eq!(split("scp 'a"), Err(WordsError::NotClosed('\'')));
        assert_eq!(split("scp \"a\\\""), Err(WordsError::NotClosed('"')));
        assert_eq!(split("scp a\\"), Err(WordsError::EndsInBackslash));
    }

    #[test]
    fn a_tilde_is_the_home_only_where_a_shell_says_so() {
        for (line, path) in [
            ("~", ""),
            ("~/a", "/a"),
            ("'~'", "~"),
            ("\\~/a", "~/a"),
            ("~other/a", "~other/a"),
            ("a~", "a~"),
            ("~'/a'", "/a"),
            ("~ann", ""),
            ("~ann/a", "/a"),
            ("~ann/~ann", "/~ann"),
            ("~anna/a", "~anna/a"),
            ("~an/a", "~an/a"),
            ("~'ann'/a", "~ann/a"),
            ("~\\ann/a", "~ann/a"),
            ("a/~ann", "a/~ann"),
        ] {
            let word = Words::of(line).next_word().unwrap().unwrap();
            assert_eq!(word.resolve_home("ann").text(), path, "{line:?}");
        }
    }

    #[test]
    fn what_was_quoted_is_remembered() {
        let word = Words::of(r#"*'*'"*"\*"#).next_word().unwrap().unwrap();
        assert_eq!(word.0.iter().map(|l| l.quoted).collect::<Vec<_>>(), [false, true, true, true]);
    }
}
