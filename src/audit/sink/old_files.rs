//! What becomes of a file that has ended: it is brought to the disk, compressed, and removed when there are enough newer ones.
//!
//! A thread of its own does this. What it does can be cut anywhere: the compressed file gets its name when it is whole and on
//! the disk, the plain one goes after that, and a next start does what is left to do.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::read::MultiGzDecoder;

use crate::audit::read::Packer;

/// How the time of a rotation stands in a name.
const TIME: &str = "%Y%m%dT%H%M%SZ";
const GZ: &str = ".gz";
/// What a compressed file ends in until it is whole.
const UNFINISHED: &str = ".gz.tmp";
const BLOCK: usize = 64 * 1024;

/// The name of a file that ended: `PATH.<time>-<number of its last line>`.
pub(super) fn name_of(path: &Path, ended: SystemTime, last: u64) -> PathBuf {
    with_end(path, &format!(".{}-{last}", DateTime::<Utc>::from(ended).format(TIME)))
}

/// What is to be done with files that have ended.
#[derive(Debug, Clone)]
pub(super) struct Care {
    /// The file that is written; the old ones are named after it.
    pub(super) path: PathBuf,
    /// Whether they are compressed.
    pub(super) gzip: bool,
    /// How many are kept; all, if there is no number.
    pub(super) keep: Option<NonZeroUsize>,
    /// Whether they are brought to the disk.
    pub(super) sync: bool,
}

/// The thread that does it. Ends, within a block of compression, when it is dropped.
#[derive(Debug)]
pub(super) struct Caretaker {
    jobs: Option<Sender<Option<Arc<File>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Caretaker {
    /// Starts the thread; it does at once what an earlier process left to do.
    pub(super) fn start(care: Care) -> io::Result<Caretaker> {
        let (jobs, inbox) = channel();
        let stop = Arc::<AtomicBool>::default();
        let theirs = Arc::clone(&stop);
        let work = move || work(&care, &inbox, &theirs);
        let thread = std::thread::Builder::new().name("audit-files".into()).spawn(work)?;
        let caretaker = Caretaker { jobs: Some(jobs), stop, thread: Some(thread) };
        caretaker.look(None);
        Ok(caretaker)
    }

    /// A file has ended; it is given when it may not be on the disk.
    pub(super) fn look(&self, file: Option<Arc<File>>) {
        // When the thread is gone, the next start does the work.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(file));
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(care: &Care, inbox: &Receiver<Option<Arc<File>>>, stop: &AtomicBool) {
    while let Ok(file) = inbox.recv() {
        if let Some(Err(error)) = file.map(|file| file.sync_data()) {
            let path = care.path.display();
            tracing::error!(%error, "an old file of {path} may not have reached the disk");
        }
        if let Err(error) = care.tend(stop)
            && !stop.load(Ordering::Acquire)
        {
            tracing::error!(%error, "old files of {} are not looked after; again at the next rotation", care.path.display());
        }
    }
}

/// One old file; compressed, plain, or both when compression was cut at its very end.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    time: NaiveDateTime,
    last: u64,
    /// The path without `.gz`.
    plain: PathBuf,
}

impl Care {
    /// Does all that is to be done.
    fn tend(&self, stop: &AtomicBool) -> io::Result<()> {
        let folder = folder_of(&self.path);
        let mut old = self.old_files(folder)?;
        if let Some(keep) = self.keep {
            let surplus = old.len().saturating_sub(keep.get());
            for file in old.drain(..surplus) {
                remove_if_there(&file.plain)?;
                remove_if_there(&with_end(&file.plain, GZ))?;
            }
        }
        if self.gzip {
            for file in old.iter().filter(|file| file.plain.exists()) {
                compress(&file.plain, folder, stop)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.plain.display())))?;
            }
        }
        if self.sync { sync_folder(folder) } else { Ok(()) }
    }

    /// The old files, oldest first. What an unfinished compression left is removed on the way.
    fn old_files(&self, folder: &Path) -> io::Result<Vec<Old>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let Some(text) = name.to_str() else { continue };
            if let Some(plain) = text.strip_suffix(UNFINISHED) {
                if old(&self.path, folder, plain).is_some() {
                    remove_if_there(&folder.join(&name))?;
                }
                continue;
            }
            found.extend(old(&self.path, folder, text.strip_suffix(GZ).unwrap_or(text)));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// Whether a name is that of a file that `path` was rotated into.
fn old(path: &Path, folder: &Path, name: &str) -> Option<Old> {
    let (time, last) = name.strip_prefix(path.file_name()?.to_str()?)?.strip_prefix('.')?.split_once('-')?;
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    let last = last.parse().ok().filter(|_| is_number)?;
    Some(Old { time: NaiveDateTime::parse_from_str(time, TIME).ok()?, last, plain: folder.join(name) })
}

/// The newest of the files that `path` was rotated into, compressed or not.
///
/// # Errors
/// When the folder is there and cannot be read.
pub(in crate::audit) fn newest_of(path: &Path) -> io::Result<Option<PathBuf>> {
    let folder = folder_of(path);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut newest = None;
    for entry in entries {
        let name = entry?.file_name();
        let plain = name.to_str().map(|name| name.strip_suffix(GZ).unwrap_or(name));
        let file = plain.and_then(|plain| old(path, folder, plain));
        newest = newest.max(file.map(|file| (file, folder.join(&name))));
    }
    Ok(newest.map(|(_, path)| path))
}

/// Makes `PATH.gz` of a file and removes the file. Where `PATH.gz` is there already, it is looked at first.
fn compress(plain: &Path, folder: &Path, stop: &AtomicBool) -> io::Result<()> {
    let (whole, unfinished) = (with_end(plain, GZ), with_end(plain, UNFINISHED));
    if whole.exists() {
        if hash(File::open(plain)?, stop)?.as_ref() != hash(MultiGzDecoder::new(File::open(&whole)?), stop)?.as_ref() {
            return Err(io::Error::other(format!("{} is something else; move it away", whole.display())));
        }
    } else {
        let source = File::open(plain)?;
        let mode = source.metadata()?.permissions().mode() & 0o777;
        let target = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        let mut packer = Packer::new(target);
        let copied = copy(source, stop, |block| packer.write(block));
        let finished = copied.and_then(|sum| packer.finish()?.sync_all().map(|()| sum));
        // The plain file goes for good: what takes its place is read once more before that.
        let right = finished.and_then(|sum| {
            let back = hash(MultiGzDecoder::new(File::open(&unfinished)?), stop)?;
            if sum.as_ref() == back.as_ref() { Ok(()) } else { Err(io::Error::other("was not compressed as it is")) }
        });
        right.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        fs::rename(&unfinished, &whole)?;
        sync_folder(folder)?;
    }
    remove_if_there(plain)
}

fn hash(source: impl Read, stop: &AtomicBool) -> io::Result<Digest> {
    copy(source, stop, |_| Ok(()))
}

/// Hands all blocks on and returns their SHA-256.
fn copy(mut source: impl Read, stop: &AtomicBool, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Digest> {
    let (mut block, mut sum) = (vec![0; BLOCK], Context::new(&SHA256));
    loop {
        if stop.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match source.read(&mut block) {
            Ok(0) => return Ok(sum.finish()),
            Ok(read) => {
                let block = block.get(..read).unwrap_or_default();
                sum.update(block);
                to(block)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Brings the name of a file to the disk.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    sync_folder(folder_of(path))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn care(folder: &Path, gzip: bool, keep: Option<usize>) -> Care {
        Care { path: folder.join("events.ndjson"), gzip, keep: keep.and_then(NonZeroUsize::new), sync: true }
    }

    fn tend(care: &Care) -> io::Result<()> {
        care.tend(&AtomicBool::new(false))
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text_of(gz: &Path) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(File::open(gz).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_name_says_when_the_file_ended_and_with_which_line() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_785_485_730);
        let name = name_of(Path::new("/log/events.ndjson"), at, 4711);
        assert_eq!(name, Path::new("/log/events.ndjson.20260731T081530Z-4711"));
        let folder = Path::new("/log");
        let old = old(&folder.join("events.ndjson"), folder, "events.ndjson.20260731T081530Z-4711").unwrap();
        assert_eq!((old.last, old.plain), (4711, name));
    }

    #[test]
    fn old_files_are_compressed_with_their_mode_and_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("events.ndjson.20260731T081530Z-9");
        let lines = "{\"a\":1}\n".repeat(100_000);
        fs::write(&old, &lines).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
        let others = [
            "events.ndjson",
            "events.ndjson.1",
            "events.ndjson.20260731T081530Z-+9",
            "events.ndjson.x-9",
            "other.20260731T081530Z-9",
        ];
        for other in others {
            fs::write(folder.path().join(other), "x").unwrap();
        }
        tend(&care(folder.path(), true, None)).unwrap();
        let gz = with_end(&old, GZ);
        assert_eq!(text_of(&gz), lines);
        assert_eq!(gz.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(gz.metadata().unwrap().len() < 100_000 && !old.exists());
        assert_eq!(names(folder.path()).len(), others.len() + 1);
    }

    #[test]
    fn what_was_cut_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let care = care(folder.path(), true, None);
        let old = folder.path().join("events.ndjson.20260731T081530Z-9");
        let gz = with_end(&old, GZ);
        // Cut while it was compressed.
        fs::write(&old, "first\n").unwrap();
        fs::write(with_end(&old, UNFINISHED), "half").unwrap();
        tend(&care).unwrap();
        assert_eq!((text_of(&gz).as_str(), names(folder.path()).len()), ("first\n", 1));
        // Cut before the plain file was removed.
        fs::write(&old, "first\n").unwrap();
        tend(&care).unwrap();
        assert_eq!((text_of(&gz).as_str(), names(folder.path()).len()), ("first\n", 1));
        // Cut after the compressed file was removed by nobody of ours: another content is not thrown away.
        fs::write(&old, "second\n").unwrap();
        assert!(tend(&care).unwrap_err().to_string().contains("is something else"));
        assert_eq!(fs::read(&old).unwrap(), b"second\n");
        // Told to stop.
        fs::remove_file(&gz).unwrap();
        care.tend(&AtomicBool::new(true)).unwrap_err();
        assert_eq!(names(folder.path()), ["events.ndjson.20260731T081530Z-9"]);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20260731T081530Z-9", "20260731T081530Z-10.gz", "20270101T000000Z-11", "20250101T000000Z-8.gz"] {
            fs::write(folder.path().join(format!("events.ndjson.{name}")), "x").unwrap();
        }
        tend(&care(folder.path(), false, Some(2))).unwrap();
        assert_eq!(names(folder.path()), ["events.ndjson.20260731T081530Z-10.gz", "events.ndjson.20270101T000000Z-11"]);
        tend(&care(folder.path(), false, None)).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn the_thread_does_what_an_earlier_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("events.ndjson.20260731T081530Z-9");
        fs::write(&old, "first\n").unwrap();
        let caretaker = Caretaker::start(care(folder.path(), true, None)).unwrap();
        for _ in 0..300 {
            if !old.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        drop(caretaker);
        assert_eq!(names(folder.path()), ["events.ndjson.20260731T081530Z-9.gz"]);
    }
}
