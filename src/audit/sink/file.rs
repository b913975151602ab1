//! Lines appended to a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use chrono::DateTime;
use rustix::fs::{FlockOperation, OFlags};

use super::disk::Appended;
use super::old_files::{Care, Caretaker, name_of, sync_name};
use super::rotation::Rotation;
use super::sync::Syncer;
use super::{Sink, Target};
use crate::audit::{FileOptions, Fsync, Rotate};

/// Mode of a file that the gateway makes: the operator's group may read it, nobody else.
const MODE: u32 = 0o640;

/// Bytes of a first line that are looked at for its time.
const FIRST_LINE: usize = 64 * 1024;

/// Appends to a regular file. A file that ends within a line (the machine went down while it was written) gets a newline
/// first, so that the torn line stays alone. A file that was deleted is made anew.
#[derive(Debug)]
pub(super) struct FileSink {
    path: PathBuf,
    open: Open,
    /// The same file, for those who look whether it can be written.
    appended: Arc<Appended>,
    fsync: Fsync,
    /// With [`Fsync::Every`].
    syncer: Option<Syncer>,
    ending: Option<Ending>,
}

/// The file that is written now.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// The file's last line is not whole.
    torn: bool,
    length: u64,
    /// When its first line was written; none while it has no line.
    begun: Option<SystemTime>,
}

/// What it takes to end a file.
#[derive(Debug)]
struct Ending {
    rotate: Rotate,
    rotation: Arc<Rotation>,
    caretaker: Caretaker,
}

impl FileSink {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path, options: &FileOptions) -> io::Result<Self> {
        let open = Open::at(path)?.locked(path)?;
        let syncer = match options.fsync {
            Fsync::Every(every) => Some(Syncer::start(every)?),
            Fsync::Never | Fsync::Batch => None,
        };
        let care = |rotate: &Rotate| Care {
            path: path.to_owned(),
            gzip: rotate.gzip,
            keep: rotate.keep,
            sync: options.fsync != Fsync::Never,
        };
        let ending = match &options.rotate {
            Some(rotate) => Some(Ending {
                rotate: rotate.clone(),
                rotation: Arc::default(),
                caretaker: Caretaker::start(care(rotate))?,
            }),
            None => None,
        };
        let appended = Arc::new(Appended::new(path, Arc::clone(&open.file)));
        let sink = FileSink { path: path.to_owned(), open, appended, fsync: options.fsync, syncer, ending };
        sink.sync_name()?;
        sink.wish();
        Ok(sink)
    }

    /// Says when the file ought to end.
    fn wish(&self) {
        let Some(Ending { rotate, rotation, .. }) = &self.ending else { return };
        let now = Instant::now();
        let is_full = rotate.size.is_some_and(|size| self.open.length >= size);
        let age = rotate.age.zip(self.open.begun);
        let old = age.map(|(age, begun)| now + age.saturating_sub(begun.elapsed().unwrap_or_default()));
        match (is_full, old) {
            (true, _) if rotation.is_wished_by(now) => {}
            (true, _) => rotation.wish(Some(now)),
            // What the two clocks differ by from call to call is no other wish.
            (false, Some(old)) if rotation.is_about(old) => {}
            (false, old) => rotation.wish(old),
        }
    }

    /// Moves the file away, unless somebody did, and opens another one.
    fn replace(&mut self, last: u64) -> io::Result<()> {
        let is_ours = match fs::metadata(&self.path) {
            Ok(there) => is_same(&there, &self.open.file.metadata()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !is_ours {
            self.append_to(Open::at(&self.path)?.locked(&self.path)?);
            return Ok(());
        }
        let old = name_of(&self.path, SystemTime::now(), last);
        if old.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", old.display())));
        }
        fs::rename(&self.path, &old)?;
        // Whoever looks for the file by its name must find what is written.
        let opened = Open::at(&self.path).and_then(|open| open.locked(&self.path));
        self.append_to(opened.inspect_err(|_| drop(fs::rename(&old, &self.path)))?);
        Ok(())
    }

    fn append_to(&mut self, open: Open) {
        self.appended.replace(Arc::clone(&open.file));
        self.open = open;
    }

    /// A line that is on the disk is of no use in a file that has no name there.
    fn sync_name(&self) -> io::Result<()> {
        if self.fsync == Fsync::Batch { sync_name(&self.path) } else { Ok(()) }
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn prepare(&mut self, again: bool) -> io::Result<Target> {
        if let Some(syncer) = &self.syncer {
            syncer.outcome()?;
        }
        let old = self.open.file.metadata()?;
        if !again && old.nlink() > 0 {
            return Ok(Target::Same);
        }
        let open = Open::at(&self.path)?;
        if is_same(&old, &open.file.metadata()?) {
            return Ok(Target::Same);
        }
        let open = open.locked(&self.path)?;
        if self.fsync != Fsync::Never {
            self.open.file.sync_data()?;
        }
        self.sync_name()?;
        self.append_to(open);
        Ok(Target::Fresh)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = &*self.open.file;
        if self.open.torn {
            file.write_all(b"\n")?;
            self.open.torn = false;
            self.open.length += 1;
        }
        let written = file.write(bytes)?;
        self.open.length += written as u64;
        if self.open.begun.is_none() {
            self.open.begun = Some(SystemTime::now());
        }
        if let Some(syncer) = &self.syncer {
            syncer.written(&self.open.file);
        }
        Ok(written)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.wish();
        if self.fsync == Fsync::Batch { self.open.file.sync_data() } else { Ok(()) }
    }

    fn rotation(&self) -> Option<Arc<Rotation>> {
        self.ending.as_ref().map(|ending| Arc::clone(&ending.rotation))
    }

    fn rotate(&mut self, last: u64) -> io::Result<()> {
        if self.fsync == Fsync::Batch {
            self.open.file.sync_data()?;
        }
        let old = Arc::clone(&self.open.file);
        self.replace(last)?;
        if let Some(syncer) = &self.syncer {
            syncer.forget();
        }
        if let Some(ending) = &self.ending {
            ending.rotation.begun();
            ending.caretaker.look(matches!(self.fsync, Fsync::Every(_)).then_some(old));
        }
        self.sync_name()
    }

    fn appended(&self) -> Option<Weak<Appended>> {
        Some(Arc::downgrade(&self.appended))
    }

    fn is_quick(&self) -> bool {
        self.fsync != Fsync::Batch
    }

    fn reopens(&self) -> bool {
        true
    }
}

impl Open {
    /// Opens the file of this name, or makes it.
    fn at(path: &Path) -> io::Result<Open> {
        let (file, torn) = open(path)?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let length = file.metadata().map_err(named)?.len();
        let begun = if length == 0 { None } else { Some(first_time(&file).unwrap_or_else(SystemTime::now)) };
        Ok(Open { file: Arc::new(file), torn, length, begun })
    }

    /// Takes the file for this process, for as long as it is open: the lines of two would be torn apart by each other's rotation.
    fn locked(self, path: &Path) -> io::Result<Open> {
        match rustix::fs::flock(&*self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let sentence = format!("{}: another gateway writes to it; give each a file of its own", path.display());
                Err(io::Error::new(io::ErrorKind::ResourceBusy, sentence))
            }
            // A file system without locks.
            Err(error) => {
                tracing::warn!(%error, "{} cannot be locked", path.display());
                Ok(self)
            }
            Ok(()) => Ok(self),
        }
    }
}

/// The time of a file's first line.
fn first_time(file: &File) -> Option<SystemTime> {
    let mut start = vec![0; FIRST_LINE];
    let read = file.read_at(&mut start, 0).ok()?;
    let line = start.get(..read)?.split(|byte| *byte == b'\n').next()?;
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    Some(DateTime::parse_from_rfc3339(event.get("timestamp")?.as_str()?).ok()?.into())
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_is_readable_by_owner_and_group_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        FileSink::open(&path, &FileOptions::default()).unwrap().write(b"{}\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o027, 0);
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        fs::write(&path, b"{\"a\":1}\n{\"b\":").unwrap();
        let mut sink = FileSink::open(&path, &FileOptions::default()).unwrap();
        sink.write(b"{}\n").unwrap();
        sink.write(b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\":1}\n{\"b\":\n{}\n{}\n");
        drop(sink);
        let mut whole = FileSink::open(&path, &FileOptions::default()).unwrap();
        whole.write(b"{}\n").unwrap();
        assert!(fs::read(&path).unwrap().ends_with(b"\n{}\n{}\n{}\n"));
    }

    #[test]
    fn moved_and_deleted_files_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("events.ndjson"), folder.path().join("events.1"));
        let mut sink = FileSink::open(&path, &FileOptions::default()).unwrap();
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
    fn a_file_is_of_one_gateway_at_a_time_also_after_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        let mut sink = FileSink::open(&path, &FileOptions::default()).unwrap();
        let refused = || FileSink::open(&path, &FileOptions::default()).unwrap_err().to_string();
        assert!(refused().contains("another gateway"), "{}", refused());
        assert_eq!(sink.prepare(true).unwrap(), Target::Same);
        assert!(refused().contains("another gateway"), "a look that changes nothing keeps it");
        fs::rename(&path, folder.path().join("old")).unwrap();
        assert_eq!(sink.prepare(true).unwrap(), Target::Fresh);
        assert!(refused().contains("another gateway"), "the new file as well");
        drop(sink);
        FileSink::open(&path, &FileOptions::default()).unwrap();
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path(), &folder.path().join("missing/events")] {
            let error = FileSink::open(path, &FileOptions::default()).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
