//! Small files that the operator names, read whole. Anything but a file might never end, or never begin: a named pipe waits for its other
//! end, a device has no end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no file; [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_known(path, most).map(|(bytes, _)| bytes)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    read_known_text(path, most).map(|(text, _)| text)
}

/// As [`read_text`], with what is known of the very file that was read.
///
/// # Errors
/// As [`read_text`].
pub fn read_known_text(path: &Path, most: u64) -> io::Result<(String, Metadata)> {
    let (bytes, metadata) = read_known(path, most)?;
    let text = String::from_utf8(bytes);
    text.map(|text| (text, metadata)).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Whether there is a regular file that can be read: for what others read then.
///
/// # Errors
/// As [`read`].
pub fn check(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

fn read_known(path: &Path, most: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, metadata) = open(path)?;
    // Enough for the whole at once: a copy that grows leaves pieces of a key behind.
    let length = metadata.len().min(most).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok((bytes, metadata))
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Without O_NONBLOCK the opening of a named pipe waits for its other end.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, metadata))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        std::fs::write(at("file"), "four").unwrap();
        std::fs::write(at("bytes"), [0xff]).unwrap();
        assert_eq!(read_text(&at("file"), 4).unwrap(), "four");
        assert_eq!(read(&at("bytes"), 4).unwrap(), [0xff]);
        check(&at("file")).unwrap();
        let kind = |path: &Path| read_text(path, 3).unwrap_err().kind();
        assert_eq!(kind(&at("file")), io::ErrorKind::FileTooLarge);
        assert_eq!(kind(&at("bytes")), io::ErrorKind::InvalidData);
        assert_eq!(kind(&at("missing")), io::ErrorKind::NotFound);
        for other in [at("pipe"), folder.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(kind(&other), io::ErrorKind::InvalidInput, "{}", other.display());
            assert_eq!(check(&other).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
