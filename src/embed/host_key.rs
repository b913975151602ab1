//! A host key for a program that has none yet.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ssh::{KeyKind, make_key};

/// Makes an Ed25519 host key in OpenSSH's format, readable by its owner only. A file that exists stays as it is: clients know the server by
/// its key. Returns whether a key was made.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let key = folder.path().join("host_key");
/// assert!(lockgate::make_host_key(&key)?);
/// assert!(!lockgate::make_host_key(&key)?, "it stays");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the file cannot be written. What was written of it is removed again.
pub fn make_host_key(file: impl AsRef<Path>) -> io::Result<bool> {
    let file = file.as_ref();
    let key = make_key(KeyKind::Ed25519, "lockgate").map_err(io::Error::other)?;
    let mut opened = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    let written = opened.write_all(key.private.expose().as_bytes()).and_then(|()| opened.sync_all());
    if let Err(error) = written {
        // Half a key would fail every later start.
        let _ = std::fs::remove_file(file);
        return Err(error);
    }
    Ok(true)
}
