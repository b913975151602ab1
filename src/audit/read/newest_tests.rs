//! Pages of trails that were rotated, packed by the gateway or by others, and are longer than one page may read.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::Packer;
use super::*;

fn id(number: usize) -> String {
    format!("019fb73e-20fa-7b3d-8f21-{number:012}")
}

/// Lines of different lengths, some longer than a block.
fn lines(range: std::ops::Range<usize>) -> Vec<u8> {
    let line = |number| {
        let filling = "x".repeat(if number % 97 == 0 { 100_000 } else { number % 300 });
        format!("{{\"event-id\":\"{}\",\"n\":{number},\"message\":\"{filling}\"}}\n", id(number))
    };
    range.map(line).collect::<String>().into_bytes()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// As the gateway packs.
fn in_members(content: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new(Vec::new());
    packer.write(content).unwrap();
    packer.finish().unwrap()
}

fn number(line: &[u8]) -> Option<usize> {
    serde_json::from_slice::<serde_json::Value>(line).unwrap()["n"].as_u64().map(|n| n as usize)
}

/// All pages, one after the other.
fn all(path: &Path, limit: usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = Page { before, ..Page::newest(limit, Duration::from_secs(600)) };
        let newest = newest(path, &page, |line: &[u8]| number(line).filter(|n| fits(*n))).unwrap();
        assert!(newest.found.len() <= limit);
        found.extend(newest.found);
        match newest.next {
            Some(next) => before = Some(next),
            None => return found,
        }
    }
}

#[test]
fn every_line_comes_once_newest_first_over_rotated_and_packed_files() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("e.ndjson");
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    write("e.ndjson.20260731T081530Z-50.gz", &packed(&lines(0..50)));
    write("e.ndjson.20260731T081530Z-100.gz", &in_members(&lines(50..100)));
    write("e.ndjson.20260731T091530Z-250", &lines(100..250));
    write("other.ndjson.20260731T091530Z-250", &lines(900..950));
    write("e.ndjson", &[&lines(250..400)[..], b"{\"event-id\":\"019fb7"].concat());
    let expected: Vec<usize> = (0..400).rev().collect();
    for limit in [1, 7, 100, 1000] {
        assert_eq!(all(&live, limit, |_| true), expected, "{limit}");
    }
    assert_eq!(all(&live, 10, |n| n % 50 == 3), [353, 303, 253, 203, 153, 103, 53, 3]);
    assert_eq!(all(&live, 5, |_| false), Vec::<usize>::new());
    std::fs::remove_file(&live).unwrap();
    assert_eq!(all(&live, 50, |_| true), (0..250).rev().collect::<Vec<_>>(), "the live file is not there yet");
}

#[test]
fn a_page_goes_on_after_a_rotation_and_after_the_file_was_packed() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("e");
    std::fs::write(&live, lines(0..300)).unwrap();
    let page = |before| {
        let page = Page { before, ..Page::newest(100, Duration::from_secs(600)) };
        newest(&live, &page, number).unwrap()
    };
    let first = page(None);
    assert_eq!((first.found[0], first.found[99]), (299, 200));
    let rotated = folder.path().join("e.20260731T081530Z-300");
    std::fs::rename(&live, &rotated).unwrap();
    std::fs::write(&live, lines(300..310)).unwrap();
    let second = page(first.next);
    assert_eq!((second.found[0], second.found[99]), (199, 100));
    std::fs::write(folder.path().join("e.20260731T081530Z-300.gz"), packed(&lines(0..300))).unwrap();
    std::fs::remove_file(&rotated).unwrap();
    let third = page(second.next);
    assert_eq!((third.found[0], third.found[99]), (99, 0));
    assert_eq!(page(third.next).found, Vec::<usize>::new());
}

#[test]
fn what_takes_too_long_is_left_with_a_place_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("e");
    std::fs::write(&live, lines(0..100)).unwrap();
    let page = Page { before: Some(id(50)), ..Page::newest(10, Duration::ZERO) };
    let cut = newest(&live, &page, number).unwrap();
    assert_eq!((cut.found.len(), cut.next), (0, Some(id(50))));
    // Nothing was looked at, and there may be something all the same.
    let begun = newest(&live, &Page::newest(10, Duration::ZERO), number).unwrap();
    assert!(begun.found.is_empty() && begun.next > Some(id(100)), "{begun:?}");
    let page = Page { before: begun.next, ..Page::newest(10, Duration::from_secs(600)) };
    assert_eq!(newest(&live, &page, number).unwrap().found.first(), Some(&99));
}

/// Files from the oldest to the live one, and a page of the newest lines, with the numbers that were judged.
fn judged(files: &[(&str, Vec<u8>)], page: &Page) -> (Newest<usize>, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let mut judged = Vec::new();
    let reader = |line: &[u8]| {
        judged.extend(number(line));
        number(line)
    };
    (newest(&folder.path().join("e"), page, reader).unwrap(), judged)
}

const PACKED: &str = "e.20260731T081530Z-100.gz";

#[test]
fn of_a_packed_file_the_last_member_is_read_and_no_more() {
    let files = [(PACKED, in_members(&lines(0..20_000)))];
    let (newest, judged) = judged(&files, &Page::newest(100, Duration::from_secs(600)));
    assert_eq!(newest.found, (19_900..20_000).rev().collect::<Vec<_>>());
    assert_eq!((newest.next, judged.len()), (Some(id(19_900)), 100));
    let page = Page { before: Some(id(7_000)), ..Page::newest(3, Duration::from_secs(600)) };
    assert_eq!(self::judged(&files, &page).0.found, [6_999, 6_998, 6_997]);
}

#[test]
fn a_packed_file_is_left_when_the_time_is_over_and_nobody_waits() {
    let files = [(PACKED, in_members(&lines(0..20_000)))];
    let (late, looked_at) = judged(&files, &Page::newest(100_000, Duration::ZERO));
    assert_eq!((late.found.len(), looked_at.len()), (0, 0));
    let of_others = [(PACKED, packed(&lines(0..20_000))), ("e", lines(20_000..20_001))];
    for files in [&files[..], &of_others] {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(folder.path().join(name), content).unwrap());
        let page = Page::newest(100_000, Duration::from_secs(600));
        let (given_up, mut count) = (page.given_up.clone(), 0);
        // The caller goes away while the third line is judged.
        let reader = |line: &[u8]| {
            count += 1;
            if count == 3 {
                given_up.give_up();
            }
            number(line)
        };
        newest(&folder.path().join("e"), &page, reader).unwrap();
        assert!(count < 5_000, "{count} lines were judged for nobody");
    }
}

/// Each page comes further than the one before, though none has time for a whole file.
#[test]
fn a_file_that_others_packed_is_read_to_its_end_by_a_page_that_begins_with_it() {
    let files = [(PACKED, packed(&lines(0..2000))), ("e", lines(2000..2010))];
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, content)| std::fs::write(folder.path().join(name), content).unwrap());
    let live = folder.path().join("e");
    let slow = Duration::from_millis(100);
    let page = Page::newest(100, slow);
    // The live file is read in time, and the packed one is begun too late to be read to its end.
    let reader = |line: &[u8]| {
        std::thread::sleep(slow / 100);
        number(line).filter(|n| n % 100 == 0)
    };
    let first = newest(&live, &page, reader).unwrap();
    assert_eq!(first.found, [2000]);
    assert_eq!(first.next, Some(id(2000)));
    let second = newest(&live, &Page { before: first.next, ..Page::newest(100, slow) }, reader).unwrap();
    assert_eq!(second.found, (0..20).rev().map(|n| n * 100).collect::<Vec<_>>());
    assert_eq!(second.next, None);
}

#[test]
fn a_page_has_no_more_bytes_than_it_may() {
    for content in [lines(0..2000), packed(&lines(0..2000)), in_members(&lines(0..2000))] {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("e");
        std::fs::write(&live, content).unwrap();
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = Page { before, most_bytes: 10_000, ..Page::newest(100_000, Duration::from_secs(600)) };
            let newest = newest(&live, &page, |line: &[u8]| Some(line.to_vec())).unwrap();
            let (bytes, longest) = (newest.found.concat().len(), newest.found.iter().map(Vec::len).max().unwrap_or(0));
            assert!(bytes < 10_000 + longest, "{bytes}");
            all.extend(newest.found.iter().filter_map(|line| number(line)));
            match newest.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        assert!(all == (0..2000).rev().collect::<Vec<_>>(), "each comes once");
    }
}

/// A header may say that its member goes on to the end of the file: other programs read all the same, and so does the page.
#[test]
fn a_wrong_length_of_a_member_hides_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("e.ndjson");
    std::fs::write(&live, lines(4000..4010)).unwrap();
    let mut file = in_members(&lines(0..4000));
    let length = u32::try_from(file.len()).unwrap().to_le_bytes();
    assert_ne!(file[16..20], length, "there are several members");
    file[16..20].copy_from_slice(&length);
    std::fs::write(folder.path().join("e.ndjson.20260731T081530Z-4000.gz"), file).unwrap();
    assert_eq!(all(&live, 900, |_| true), (0..4010).rev().collect::<Vec<_>>());
}
