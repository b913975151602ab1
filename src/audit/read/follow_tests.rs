//! Readers of a trail that is rotated, packed and cleaned up under their hands.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;

fn id(number: usize) -> String {
    format!("019fb73e-20fa-7b3d-8f21-{number:012}")
}

/// A trail in a folder of its own.
struct Trail {
    folder: TempDir,
    written: usize,
}

impl Trail {
    fn new() -> Trail {
        Trail { folder: tempfile::tempdir().unwrap(), written: 0 }
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("e.ndjson")
    }

    fn write(&mut self, count: usize) {
        let mut live = OpenOptions::new().create(true).append(true).open(self.live()).unwrap();
        for number in self.written..self.written + count {
            let filling = "x".repeat(if number % 53 == 0 { 100_000 } else { number % 300 });
            writeln!(live, "{{\"event-id\":\"{}\",\"message\":\"{filling}\",\"n\":{number}}}", id(number)).unwrap();
        }
        self.written += count;
    }

    fn rotate(&self) -> PathBuf {
        let rotated = self.folder.path().join(format!("e.ndjson.20260731T081530Z-{}", self.written));
        fs::rename(self.live(), &rotated).unwrap();
        rotated
    }

    fn pack(&self, path: &Path) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(path).unwrap()).unwrap();
        fs::write(format!("{}.gz", path.display()), encoder.finish().unwrap()).unwrap();
        fs::remove_file(path).unwrap();
    }

    fn follow(&self, after: Option<usize>) -> Follow {
        Follow::start(&self.live(), after.map(id)).unwrap()
    }
}

/// The numbers of all lines that there are now; `None` for a gap.
fn read(follow: &mut Follow) -> Vec<Option<usize>> {
    let mut all = Vec::new();
    loop {
        match follow.advance().unwrap() {
            Next::Line(line) => {
                let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
                all.push(Some(event["n"].as_u64().unwrap() as usize));
            }
            Next::Gap => all.push(None),
            Next::Nothing => return all,
        }
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Option<usize>> {
    range.map(Some).collect()
}

#[test]
fn what_comes_from_now_on_is_read_over_rotation_and_packing() {
    let mut trail = Trail::new();
    trail.write(10);
    let mut follow = trail.follow(None);
    assert_eq!(read(&mut follow), []);
    trail.write(5);
    assert_eq!(read(&mut follow), numbers(10..15));
    // Written, and rotated before it was read; then the live file is missing for a moment.
    trail.write(5);
    let first = trail.rotate();
    assert_eq!(read(&mut follow), numbers(15..20));
    trail.write(100);
    trail.pack(&first);
    let second = trail.rotate();
    trail.write(7);
    trail.pack(&second);
    assert_eq!(read(&mut follow), numbers(20..127));
    assert_eq!(read(&mut follow), []);
    // Half a line is none yet.
    let mut live = OpenOptions::new().append(true).open(trail.live()).unwrap();
    write!(live, "{{\"event-id\":\"{}\",", id(127)).unwrap();
    assert_eq!(read(&mut follow), []);
    writeln!(live, "\"n\":127}}").unwrap();
    assert_eq!(read(&mut follow), numbers(127..128));
}

#[test]
fn a_reader_goes_on_after_any_line() {
    let mut trail = Trail::new();
    trail.write(120);
    let rotated = trail.rotate();
    trail.pack(&rotated);
    trail.write(90);
    trail.rotate();
    trail.write(60);
    for after in [0, 1, 52, 53, 119, 120, 121, 208, 209, 210, 268, 269] {
        assert_eq!(read(&mut trail.follow(Some(after))), numbers(after + 1..270), "after {after}");
    }
}

#[test]
fn a_reader_that_was_overtaken_by_a_clean_up_is_told() {
    let mut trail = Trail::new();
    trail.write(10);
    let mut slow = trail.follow(Some(4));
    assert!(matches!(slow.advance().unwrap(), Next::Line(_)));
    let rotated = trail.rotate();
    trail.write(10);
    let removed = trail.rotate();
    trail.write(10);
    fs::remove_file(rotated).unwrap();
    fs::remove_file(removed).unwrap();
    // What it has open it still reads.
    let mut expected = numbers(6..10);
    expected.push(None);
    expected.extend(numbers(20..30));
    assert_eq!(read(&mut slow), expected);
    assert_eq!(read(&mut trail.follow(Some(3))), [vec![None], numbers(20..30)].concat());
}

#[test]
fn an_empty_trail_is_read_from_its_beginning() {
    let mut trail = Trail::new();
    let mut follow = trail.follow(None);
    assert_eq!(read(&mut follow), []);
    trail.write(3);
    assert_eq!(read(&mut follow), numbers(0..3));
    let broken = trail.rotate();
    trail.write(2);
    let packed = fs::read(&broken).unwrap();
    fs::write(&broken, [packed.as_slice(), &vec![b'y'; 2 << 20], b"\n"].concat()).unwrap();
    assert_eq!(read(&mut trail.follow(Some(1))), numbers(2..5), "a line without an end is passed over");
}

#[test]
fn a_clock_that_was_set_back_hides_nothing_from_a_reader() {
    let mut trail = Trail::new();
    trail.written = 100;
    trail.write(5);
    let mut follow = trail.follow(Some(102));
    trail.written = 10;
    trail.write(5);
    assert_eq!(read(&mut follow), [numbers(103..105), numbers(10..15)].concat());
    trail.rotate();
    trail.written = 0;
    trail.write(5);
    assert_eq!(read(&mut follow), numbers(0..5));
}

#[test]
fn a_file_that_is_there_unpacked_and_packed_is_read_once() {
    let mut trail = Trail::new();
    trail.write(10);
    let mut follow = trail.follow(Some(3));
    assert_eq!(read(&mut follow), numbers(4..10));
    trail.write(5);
    let first = trail.rotate();
    let plain = fs::read(&first).unwrap();
    trail.pack(&first);
    // Packed, and not removed yet.
    fs::write(&first, plain).unwrap();
    trail.write(5);
    assert_eq!(read(&mut follow), numbers(10..20));
    let mut late = trail.follow(Some(3));
    assert_eq!(read(&mut late), numbers(4..20));
    fs::remove_file(&first).unwrap();
    trail.write(5);
    assert_eq!((read(&mut follow), read(&mut late)), (numbers(20..25), numbers(20..25)));
}

/// logrotate's `copytruncate`: the lines that were written between its copy and the truncation are lost, and those not read yet are in a file
/// that is not followed.
#[test]
fn a_live_file_that_is_truncated_is_a_gap_and_read_from_its_beginning() {
    let mut trail = Trail::new();
    trail.write(60);
    let mut follow = trail.follow(Some(49));
    assert_eq!(read(&mut follow), numbers(50..60));
    // Read to its end, truncated, and short.
    File::create(trail.live()).unwrap();
    assert_eq!(read(&mut follow), [None]);
    trail.write(3);
    assert_eq!(read(&mut follow), numbers(60..63));
    // Lines that nobody read are gone with it.
    trail.write(2);
    File::create(trail.live()).unwrap();
    trail.write(1);
    assert_eq!(read(&mut follow), [vec![None], numbers(65..66)].concat());
    // Longer than before when it is looked at.
    File::create(trail.live()).unwrap();
    trail.write(60);
    assert_eq!(read(&mut follow), [vec![None], numbers(66..126)].concat());
    // As ever afterwards.
    trail.write(2);
    trail.rotate();
    trail.write(2);
    assert_eq!(read(&mut follow), numbers(126..130));
}
