//! Trails that are rotated, packed, cleaned up and truncated while they are read.
#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::audit::read::{Item, Packer, ReadError, Source, Trail};

/// The lines of some files.
fn lines(parts: Parts) -> Result<Vec<String>, ReadError> {
    let mut trail = Trail::new(vec![Source::Files(parts)], Span::default(), None);
    let mut lines = Vec::new();
    while let Some(item) = trail.advance()? {
        let Item::Line { bytes, .. } = item else { panic!("{item:?}") };
        lines.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    Ok(lines)
}

fn numbers(parts: Parts) -> Vec<u64> {
    lines(parts).unwrap().iter().map(|line| line.parse().unwrap()).collect()
}

/// A trail with one number in each line.
struct Written {
    folder: tempfile::TempDir,
    next: u64,
    rotated: VecDeque<PathBuf>,
}

impl Written {
    fn new() -> Written {
        Written { folder: tempfile::tempdir().unwrap(), next: 0, rotated: VecDeque::new() }
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("e.ndjson")
    }

    fn write(&mut self, count: u64) {
        let mut live = OpenOptions::new().create(true).append(true).open(self.live()).unwrap();
        for number in self.next..self.next + count {
            writeln!(live, "{number}").unwrap();
        }
        self.next += count;
    }

    fn rotate(&mut self) {
        let name = self.folder.path().join(format!("e.ndjson.20260731T081530Z-{}", self.next));
        fs::rename(self.live(), &name).unwrap();
        self.rotated.push_back(name);
    }

    fn pack(&self, path: &Path) {
        let unfinished = format!("{}.gz.tmp", path.display());
        let mut packer = Packer::new(File::create(&unfinished).unwrap());
        packer.write(&fs::read(path).unwrap()).unwrap();
        packer.finish().unwrap();
        fs::rename(unfinished, format!("{}.gz", path.display())).unwrap();
        fs::remove_file(path).unwrap();
    }

    fn find(&self) -> Parts {
        Parts::find(&[self.folder.path().to_owned()]).unwrap()
    }
}

#[test]
fn a_file_that_is_renamed_packed_or_removed_after_the_listing_is_read_all_the_same() {
    let mut written = Written::new();
    for _ in 0..3 {
        written.write(10);
        written.rotate();
    }
    written.write(10);
    let (found, late) = (written.find(), Parts::from(Vec::from(written.rotated.clone())));
    written.rotate();
    written.write(10);
    written.pack(&written.rotated[1]);
    written.pack(&written.rotated[3]);
    fs::remove_file(&written.rotated[0]).unwrap();
    assert_eq!(numbers(found), (0..40).collect::<Vec<_>>(), "as it was");
    assert_eq!(numbers(written.find()), (10..50).collect::<Vec<_>>(), "as it is");
    assert_eq!(numbers(late), (10..30).collect::<Vec<_>>(), "of files that were not held, the oldest is gone");
}

#[test]
fn a_file_that_is_removed_from_the_middle_is_named() {
    let mut written = Written::new();
    for _ in 0..AHEAD + 3 {
        written.write(1);
        written.rotate();
    }
    written.write(1);
    let parts = written.find();
    let removed = &written.rotated[AHEAD + 1];
    fs::remove_file(removed).unwrap();
    let error = lines(parts).unwrap_err().to_string();
    assert!(error.contains(removed.to_str().unwrap()) && error.contains("was removed while"), "{error}");
    // One that was named and is not there never was.
    assert!(Parts::find(std::slice::from_ref(removed)).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_live_file_that_is_truncated_is_no_whole_one() {
    let mut written = Written::new();
    written.write(1000);
    // As logrotate does with `copytruncate`, before a line was read and when some were.
    for (first, after) in [(0, 0), (0, 3), (100_000, 3)] {
        written.write(first);
        let mut trail = Trail::new(vec![Source::Files(written.find())], Span::default(), None);
        if first > 0 {
            assert!(trail.advance().unwrap().is_some());
        }
        fs::copy(written.live(), written.folder.path().join("e.ndjson.1")).unwrap();
        File::create(written.live()).unwrap();
        written.write(after);
        let error = loop {
            match trail.advance() {
                Ok(item) => assert!(item.is_some(), "{first} {after}"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("was truncated while"), "{error}");
        fs::remove_file(written.folder.path().join("e.ndjson.1")).unwrap();
        written.write(100);
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One thread writes, rotates, packs and removes all the time; another one reads the trail again and again.
#[test]
fn a_trail_that_is_rotated_all_the_time_has_no_holes() {
    let mut written = Written::new();
    written.write(1);
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(1));
    let folder = written.folder.path().to_owned();
    let rotations = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rotations = 0;
            while !stop.load(Ordering::Relaxed) {
                written.write(7);
                count.store(written.next, Ordering::Release);
                // Often, and not as often as an idle machine can: nobody reads a file that is renamed all the time.
                thread::sleep(Duration::from_micros(if rotations % 2 == 0 { 500 } else { 100 }));
                written.rotate();
                rotations += 1;
                written.write(1);
                count.store(written.next, Ordering::Release);
                written.pack(&written.rotated[written.rotated.len() - 1]);
                if written.rotated.len() > 6 {
                    let oldest = written.rotated.pop_front().unwrap();
                    fs::remove_file(format!("{}.gz", oldest.display())).unwrap();
                }
            }
            rotations
        });
        // However the reading ends, the writer does, too.
        let stopped = StopOnDrop(&stop);
        for _ in 0..300 {
            let least = count.load(Ordering::Acquire);
            let read = numbers(Parts::find(std::slice::from_ref(&folder)).unwrap());
            let whole: Vec<u64> = (read[0]..read[0] + read.len() as u64).collect();
            assert_eq!(read, whole);
            assert!(whole.len() as u64 + read[0] >= least, "{least} had been written: {read:?}");
        }
        drop(stopped);
        writer.join().unwrap()
    });
    assert!(rotations > 20, "{rotations}");
}
