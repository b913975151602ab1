//! `lockgate totp NAME`: a new secret for one-time codes, for the user's app and for the configuration.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::secret::Secret;
use crate::users::{TotpSecret, totp_uri};

/// The longest name and issuer, in bytes: a longer URI makes a QR code that no terminal shows whole.
const LONGEST: usize = 100;

/// The arguments of `totp`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Arguments {
    /// Login name of the user
    #[arg(value_parser = word)]
    name: String,
    /// Name of the server, as the app shows it
    #[arg(long, value_parser = word, default_value = "Lockgate")]
    issuer: String,
    /// New file for the secret (mode 0600); without it, the secret is part of the line for the configuration
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes a secret and prints it once.
pub(super) fn totp(arguments: &Arguments) -> anyhow::Result<()> {
    let secret = TotpSecret::make().map_err(anyhow::Error::msg)?;
    let uri = totp_uri(&arguments.issuer, &arguments.name, &secret);
    let picture = picture(&uri)?;
    if let Some(path) = &arguments.out {
        keep(&secret, path).with_context(|| format!("{} cannot be created", path.display()))?;
    }
    let line = line(&secret, arguments.out.as_deref())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}\n\n{}\n\nIn the configuration of {}:\n\n    {line}",
        uri.expose(),
        picture.expose(),
        arguments.name
    )
    .context("standard output cannot be written")
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST || text.contains(':') || text.chars().any(char::is_control) {
        return Err(format!("write 1 to {LONGEST} bytes without ':' and control characters"));
    }
    Ok(text.to_owned())
}

/// A QR code for a terminal with a dark background: light is drawn, dark is not. Apps read it the other way round as well.
fn picture(uri: &Secret) -> anyhow::Result<Secret> {
    let code = QrCode::with_error_correction_level(uri.expose(), EcLevel::L).map_err(|error| anyhow!("{error}"))?;
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(Secret::new(drawn))
}

fn keep(secret: &Secret, path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", secret.expose()).as_bytes())?;
    file.sync_all()
}

fn line(secret: &Secret, kept: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = kept else { return Ok(format!("totp: \"{}\"", secret.expose())) };
    // Relative paths of a configuration begin elsewhere.
    let path = std::path::absolute(path)?;
    Ok(format!("totp: {}", serde_json::to_string(&format!("${{file:{}}}", path.display()))?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What an app sees of the picture, whichever way round the terminal's colours are.
    fn seen(picture: &str, dark_background: bool) -> String {
        let rows: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (rows[0].len(), rows.len() * 2);
        let is_drawn = |x: usize, y: usize| match (rows[y / 2][x], y % 2) {
            ('█', _) | ('▀', 0) | ('▄', 1) => true,
            (' ' | '▀' | '▄', _) => false,
            (other, _) => panic!("{other:?}"),
        };
        // Ten dots for each module, as a camera has them.
        let shade = |x: usize, y: usize| if is_drawn(x / 10, y / 10) == dark_background { 255 } else { 0 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * 10, height * 10, shade);
        image.detect_grids()[0].decode().unwrap().1
    }

    #[test]
    fn an_app_reads_the_uri_in_the_picture() {
        for (name, issuer) in [("ann", "Lockgate"), ("a@example.org", "ACME files"), (&*"n".repeat(100), "x")] {
            let uri = totp_uri(issuer, name, &TotpSecret::make().unwrap());
            let picture = picture(&uri).unwrap();
            assert_eq!(seen(picture.expose(), true), uri.expose());
            assert!(picture.expose().lines().all(|line| line.chars().count() <= 80), "{name}: it fits a terminal");
        }
    }

    #[test]
    fn a_file_is_new_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ann \"x\".totp");
        let secret = Secret::new("ABC".into());
        keep(&secret, &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ABC\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(keep(&secret, &path).is_err(), "it is there");
        let line = line(&secret, Some(&path)).unwrap();
        assert!(line.starts_with("totp: \"${file:/") && line.ends_with("ann \\\"x\\\".totp}\""), "{line}");
        assert_eq!(super::line(&secret, None).unwrap(), "totp: \"ABC\"");
    }

    #[test]
    fn names_are_those_that_an_app_can_show() {
        for wrong in ["", "a:b", "a\nb", &*"n".repeat(101)] {
            assert!(word(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(word("ann@example.org").unwrap(), "ann@example.org");
    }
}
