//! The command line of an `exec` request: `scp -t TARGET` or `scp -f SOURCE …`.

use std::borrow::Cow;

use super::glob;
use super::words::{Word, Words};

/// The longest command line, in bytes.
pub const MAX_COMMAND: usize = 64 * 1024;

/// The most words of a command line.
pub const MAX_WORDS: usize = 1024;

/// An `scp` command that a client asked to run, parsed. No part of it comes near a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub(super) direction: Direction,
    pub(super) options: Options,
}

/// Which way the files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Direction {
    /// `-t`: the client sends, to this target.
    Sink(Word),
    /// `-f`: the client receives these sources, which may be patterns.
    Source(Vec<Word>),
}

/// The options that have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    /// `-r`: whole trees.
    pub recursive: bool,
    /// `-p`: keep times and modes.
    pub preserve: bool,
    /// `-d`: the target must be a directory.
    pub directory: bool,
}

/// Why a command is not an `scp` command that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// It is another program: not ours to serve.
    NotScp,
    /// It is `scp` with arguments that make no sense; the sentence is for the client.
    Invalid(String),
}

impl Command {
    /// Parses the command line of an `exec` request (RFC 4254 section 6.5), as a POSIX shell would split it into words, without
    /// anything that a shell would expand but globs in source paths. At most [`MAX_COMMAND`] bytes and [`MAX_WORDS`] words.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn parse(command_line: &[u8]) -> Result<Command, CommandError> {
        let text = String::from_utf8_lossy(command_line);
        let mut words = Words::of(&text);
        match words.next_word() {
            Ok(Some(program)) if is_scp(&program) => {}
            _ => return Err(CommandError::NotScp),
        }
        if command_line.len() > MAX_COMMAND {
            return invalid(format!("the command is longer than {MAX_COMMAND} bytes"));
        }
        if matches!(text, Cow::Owned(_)) {
            return invalid("the command is not valid UTF-8");
        }
        let mut arguments = Vec::new();
        while let Some(word) = words.next_word().map_err(|error| CommandError::Invalid(error.to_string()))? {
            if arguments.len() + 1 >= MAX_WORDS {
                return invalid(format!("the command has more than {MAX_WORDS} words"));
            }
            arguments.push(word);
        }
        Flags::read(&mut arguments)?.with_operands(arguments)
    }
}

/// `scp`, alone or at the end of a path.
fn is_scp(program: &Word) -> bool {
    program.text().rsplit('/').next() == Some("scp")
}

fn invalid<T>(why: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Invalid(why.into()))
}

/// Options as they are read; `-t` and `-f` are not told apart from the rest before all are known.
#[derive(Default)]
struct Flags {
    options: Options,
    sink: bool,
    source: bool,
}

impl Flags {
    /// Takes the options off the front of `arguments`, up to `--` or the first operand (POSIX utility syntax guidelines).
    fn read(arguments: &mut Vec<Word>) -> Result<Flags, CommandError> {
        let mut flags = Flags::default();
        let mut read = 0;
        for argument in arguments.iter() {
            let text = argument.text();
            if text == "--" {
                read += 1;
                break;
            }
            let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
            letters.chars().try_for_each(|letter| flags.set(letter))?;
            read += 1;
        }
        arguments.drain(..read);
        Ok(flags)
    }

    fn set(&mut self, letter: char) -> Result<(), CommandError> {
        match letter {
            't' => self.sink = true,
            'f' => self.source = true,
            'r' => self.options.recursive = true,
            'p' => self.options.preserve = true,
            'd' => self.options.directory = true,
            // `-v` and `-q` are about what a person sees; the others choose how the client connects. Some clients pass them on.
            'v' | 'q' | '1' | '2' | '4' | '6' | 'B' | 'C' | 'O' | 'T' => {}
            _ => return invalid(format!("the option -{} of scp is not supported", letter.escape_default())),
        }
        Ok(())
    }

    fn with_operands(self, mut operands: Vec<Word>) -> Result<Command, CommandError> {
        let direction = match (self.sink, self.source) {
            (true, false) => match (operands.pop(), operands.is_empty()) {
                (Some(target), true) => Direction::Sink(target),
                // The words of OpenSSH, which clients know.
                _ => return invalid("ambiguous target"),
            },
            (false, true) if operands.is_empty() => return invalid("no file is named"),
            (false, true) => {
                operands.iter().try_for_each(glob::check).map_err(CommandError::Invalid)?;
                Direction::Source(operands)
            }
            _ => return invalid("only scp -t (to this server) and scp -f (from this server) are supported"),
        };
        Ok(Command { direction, options: self.options })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    /// The direction with the operands' texts, and the options as letters.
    fn parsed(line: &str) -> (char, Vec<String>, String) {
        let command = Command::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error:?}"));
        let (letter, operands) = match &command.direction {
            Direction::Sink(target) => ('t', vec![target.text()]),
            Direction::Source(sources) => ('f', sources.iter().map(Word::text).collect()),
        };
        let Options { recursive, preserve, directory } = command.options;
        let options = [(recursive, 'r'), (preserve, 'p'), (directory, 'd')];
        (letter, operands, options.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect())
    }

    #[test]
    fn what_real_clients_send_is_understood() {
        for (line, direction, operands, options) in [
            // OpenSSH 9, `scp -O`: one option a word, `--` only before a leading dash.
            ("scp -t .", 't', vec!["."], ""),
            ("scp -v -r -p -d -t upload", 't', vec!["upload"], "rpd"),
            ("scp -t -- -odd", 't', vec!["-odd"], ""),
            ("scp -f -- -odd", 'f', vec!["-odd"], ""),
            ("scp -p -f 'a b' c\\ d", 'f', vec!["a b", "c d"], "p"),
            ("scp -r -f ~/tree", 'f', vec!["~/tree"], "r"),
            ("scp -f *.txt [ab]?", 'f', vec!["*.txt", "[ab]?"], ""),
            // PuTTY's pscp.
            ("scp -v -r -p -d -t /in", 't', vec!["/in"], "rpd"),
            ("scp -f report.csv", 'f', vec!["report.csv"], ""),
            // WinSCP: double quotes with `\"`, `\$`, a backtick and `\\` escaped.
            (r#"scp -r -p -d -t "/in/my \$dir""#, 't', vec!["/in/my $dir"], "rpd"),
            (r#"scp -r -p -f "/out/a \"b\".txt""#, 'f', vec![r#"/out/a "b".txt"#], "rp"),
            ("scp -1 -r -d -t \"/in\"", 't', vec!["/in"], "rd"),
            // libssh2 (curl): single quotes, options together, `!` escaped outside quotes.
            ("scp -pt '/in/a b'", 't', vec!["/in/a b"], "p"),
            (r"scp -pf 'a'\!'b'", 'f', vec!["a!b"], "p"),
            // JSch, the Python module `scp`, Go libraries.
            ("scp  -p  -t in/x", 't', vec!["in/x"], "p"),
            ("scp -r -v -t b'x'", 't', vec!["bx"], "r"),
            ("/usr/bin/scp -qt \"in/x\"", 't', vec!["in/x"], ""),
            ("scp -qrt in", 't', vec!["in"], "r"),
            ("'scp' -t ''", 't', vec![""], ""),
            ("scp -t -", 't', vec!["-"], ""),
            ("scp -f a -b", 'f', vec!["a", "-b"], ""),
            ("scp -t ~", 't', vec!["~"], ""),
        ] {
            let expected = (direction, operands.into_iter().map(String::from).collect(), options.to_string());
            assert_eq!(parsed(line), expected, "{line:?}");
        }
    }

    #[test]
    fn another_program_is_not_scp() {
        for line in [
            "",
            " ",
            "ls",
            "scp2 -t .",
            "/bin/sh -c scp",
            "xscp -t .",
            "$(scp) -t .",
            "scp; id",
            "sh",
            "X=1 scp -t .",
            "'scp",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(CommandError::NotScp), "{line:?}");
        }
        assert_eq!(Command::parse(b"\xff\xfe"), Err(CommandError::NotScp));
        assert_eq!(Command::parse(&vec![b'x'; MAX_COMMAND + 1]), Err(CommandError::NotScp));
    }

    #[test]
    fn arguments_without_sense_are_refused_with_a_sentence() {
        for (line, part) in [
            ("scp", "only scp -t"),
            ("scp a b", "only scp -t"),
            ("scp -t -f a", "only scp -t"),
            ("scp -t", "ambiguous target"),
            ("scp -t a b", "ambiguous target"),
            ("scp -f", "no file is named"),
            ("scp -f --", "no file is named"),
            ("scp -S /bin/sh -f a", "the option -S"),
            ("scp -o ProxyCommand=id -f a", "the option -o"),
            ("scp --help", "the option --"),
            ("scp -t a; id", "unquoted ';'"),
            ("scp -t a && id", "unquoted '&'"),
            ("scp -t \"$(id)\"", "unquoted '$'"),
            ("scp -f a | id", "unquoted '|'"),
            ("scp -f a > b", "unquoted '>'"),
            ("scp -f a\nid", "unquoted '\\n'"),
            ("scp -f 'a", "not closed"),
        ] {
            match Command::parse(line.as_bytes()) {
                Err(CommandError::Invalid(why)) => assert!(why.contains(part), "{line:?}: {why}"),
                other => panic!("{line:?}: {other:?}"),
            }
        }
        assert!(matches!(Command::parse(b"scp -t a\xff"), Err(CommandError::Invalid(why)) if why.contains("UTF-8")));
    }

    #[test]
    fn commands_are_bounded() {
        let words = |count: usize| format!("scp -f{}", " a".repeat(count - 2));
        assert!(Command::parse(words(MAX_WORDS).as_bytes()).is_ok());
        assert!(matches!(Command::parse(words(MAX_WORDS + 1).as_bytes()), Err(CommandError::Invalid(_))));
        let long = |length: usize| format!("scp -t {}", "a".repeat(length - 7));
        assert!(Command::parse(long(MAX_COMMAND).as_bytes()).is_ok());
        assert!(matches!(Command::parse(long(MAX_COMMAND + 1).as_bytes()), Err(CommandError::Invalid(_))));
    }

    #[test]
    fn no_bytes_make_the_parser_fail_but_by_its_errors() {
        // Every string of three of these bytes, after `scp -f `.
        let bytes = b" '\"\\*?[]!-~/;$\n\xc3\xa9\0.a";
        for a in bytes {
            for b in bytes {
                for c in bytes {
                    let line = [b"scp -f ".as_slice(), &[*a, *b, *c]].concat();
                    assert_ne!(Command::parse(&line), Err(CommandError::NotScp), "{line:?}");
                }
            }
        }
    }
}
