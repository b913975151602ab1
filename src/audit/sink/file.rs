//! Lines appended to a file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Sink, Target};

/// Who may read a file that the gateway makes: the operator's group reads along, nobody else.
const MODE: u32 = 0o640;

/// Appends to a regular file. A file that ends within a line (the machine went down while it was written) gets a newline
/// first, so that the torn line stays alone. A file that was deleted is made anew.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    file: File,
    /// The file's last line is not whole.
    torn: bool,
}

impl FileSink {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (file, torn) = open(path)?;
        Ok(FileSink { path: path.to_owned(), file, torn })
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn prepare(&mut self, again: bool) -> io::Result<Target> {
        let old = self.file.metadata()?;
        if !again && old.nlink() > 0 {
            return Ok(Target::Same);
        }
        let (file, torn) = open(&self.path)?;
        if is_same(&old, &file.metadata()?) {
            return Ok(Target::Same);
        }
        (self.file, self.torn) = (file, torn);
        Ok(Target::Fresh)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        self.file.write(bytes)
    }

    fn reopens(&self) -> bool {
        true
    }
}

/// Opens for appending and tells whether the last line is torn.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    // Without O_NONBLOCK, a named pipe would hold up the start. It changes nothing for a regular file.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(MODE).custom_flags(flags);
    let file = options.open(path).map_err(named)?;
    let metadata = file.metadata().map_err(named)?;
    if !metadata.is_file() {
        let sentence = format!("{}: events are appended to regular files only", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, sentence));
    }
    let torn = ends_within_a_line(&file, metadata.len()).map_err(named)?;
    Ok((file, torn))
}

fn ends_within_a_line(file: &File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(false) };
    let mut byte = [b'\n'];
    file.read_at(&mut byte, last)?;
    Ok(byte != [b'\n'])
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_is_readable_by_owner_and_group_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        FileSink::open(&path).unwrap().write(b"{}\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o027, 0);
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        fs::write(&path, b"{\"a\":1}\n{\"b\":").unwrap();
        let mut sink = FileSink::open(&path).unwrap();
        sink.write(b"{}\n").unwrap();
        sink.write(b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n{\"b\":\n{}\n{}\n");
        let mut whole = FileSink::open(&path).unwrap();
        whole.write(b"{}\n").unwrap();
        assert!(fs::read(&path).unwrap().ends_with(b"\n{}\n{}\n{}\n"));
    }

    #[test]
    fn moved_and_deleted_files_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("events.ndjson"), folder.path().join("events.1"));
        let mut sink = FileSink::open(&path).unwrap();
        sink.write(b"1\n").unwrap();
        assert_eq!(sink.prepare(true).unwrap(), Target::Same);
        fs::rename(&path, &old).unwrap();
        assert_eq!(sink.prepare(false).unwrap(), Target::Same);
        sink.write(b"2\n").unwrap();
        assert_eq!(sink.prepare(true).unwrap(), Target::Fresh);
        sink.write(b"3\n").unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"1\n2\n");
        assert_eq!(fs::read(&path).unwrap(), b"3\n");
        fs::remove_file(&path).unwrap();
        assert_eq!(sink.prepare(false).unwrap(), Target::Fresh);
        sink.write(b"4\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"4\n");
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path(), &folder.path().join("missing/events")] {
            let error = FileSink::open(path).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
