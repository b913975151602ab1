//! `lockgate hash-password`: a password in, its argon2id hash out.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};

use crate::secret::Secret;
use crate::users::PasswordHash;

/// The longest password, in bytes, line end included.
const MAX_PASSWORD: u64 = 4096;

/// Reads a password and prints its hash.
pub(super) fn hash_password() -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() { ask_twice()? } else { read_line(stdin.lock())? };
    let hash = PasswordHash::make(&password).map_err(anyhow::Error::msg)?;
    writeln!(std::io::stdout().lock(), "{hash}").context("standard output cannot be written")
}

fn ask_twice() -> anyhow::Result<Secret> {
    let ask = |prompt| rpassword::prompt_password(prompt).map(Secret::new).context("the password cannot be read");
    let (first, second) = (ask("Password: ")?, ask("The same again: ")?);
    if first != second {
        bail!("the two passwords differ; no hash was created");
    }
    Ok(first)
}

/// The first line of `input`, without its end.
fn read_line(input: impl BufRead) -> anyhow::Result<Secret> {
    let mut line = String::new();
    let length = input.take(MAX_PASSWORD + 1).read_line(&mut line).context("the password cannot be read")?;
    let line = Secret::new(line);
    if length as u64 > MAX_PASSWORD {
        bail!("the password is longer than {MAX_PASSWORD} bytes");
    }
    let text = line.expose();
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_password() {
        for (input, password) in
            [("a b \n", "a b "), ("a\r\n", "a"), ("a", "a"), ("a\nb\n", "a"), ("", ""), ("\n", ""), ("ü\n", "ü")]
        {
            assert_eq!(read_line(input.as_bytes()).unwrap().expose(), password, "{input:?}");
        }
        assert!(read_line(&b"\xff\n"[..]).is_err());
        assert!(read_line("x".repeat(4097).as_bytes()).is_err());
        assert_eq!(read_line("x".repeat(4096).as_bytes()).unwrap().expose().len(), 4096);
    }
}
