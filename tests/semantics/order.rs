//! The order of writes, and changes of files that exist.

use std::fs;

use crate::bench::{Behind, Builder, assert_refused, assert_same, shared};
use crate::support::data::{KIB, MIB, noise};
use crate::support::plain_proxy::Proxy;
use crate::support::process::{LIMIT, until};
use crate::support::s3;
use crate::support::sftp::{APPEND, Attributes, CREATE, READING_AND_WRITING, Sftp, TRUNCATE, UNSUPPORTED, WRITING};

/// No staged files.
const NONE: [u64; 0] = [];

/// Writes `data` in pieces in the order that `order` makes of their numbers, and reads it back.
#[track_caller]
fn check_order(session: &mut Sftp, path: &str, data: &[u8], piece: usize, order: impl Fn(&mut Vec<usize>)) {
    let pieces: Vec<&[u8]> = data.chunks(piece).collect();
    let mut numbers: Vec<usize> = (0..pieces.len()).collect();
    order(&mut numbers);
    let handle = session.create(path);
    for number in numbers {
        session.write(&handle, (number * piece) as u64, pieces[number]).unwrap();
    }
    session.close(&handle).unwrap();
    assert_same(&session.get(path), data);
}

/// An order that looks like none: 29 has no divisor in common with the numbers of pieces used here.
fn shuffle(numbers: &mut Vec<usize>) {
    let count = numbers.len();
    assert!(!count.is_multiple_of(29), "{count}");
    *numbers = (0..count).map(|i| (i * 29 + 7) % count).collect();
}

#[test]
fn writes_may_come_in_any_order() {
    shared().on_every_store(|place, session| {
        for (size, piece) in [(1_000, 7), (300 * KIB, 10_000), (7 * MIB + 1, 200_000)] {
            let data = noise(size, size);
            let path = place.path(&format!("file-{size}"));
            check_order(session, &path, &data, piece, shuffle);
            check_order(session, &path, &data, piece, |numbers| numbers.reverse());
            check_order(session, &path, &data, piece, |numbers| numbers.chunks_mut(3).for_each(<[usize]>::reverse));
        }
    });
}

#[test]
fn up_to_4_mib_are_put_in_order_in_memory() {
    let bench = Builder::new().memory().s3().start();
    bench.on_object_stores(|place, session| {
        let data = noise(4 * MIB, 1);
        let handle = session.create(&place.path("file"));
        for start in [3, 1, 2] {
            let start = start * MIB as usize;
            session.write(&handle, start as u64, &data[start..start + MIB as usize]).unwrap();
        }
        assert_eq!(bench.staged_files(), NONE);
        session.write(&handle, 0, &data[..MIB as usize]).unwrap();
        assert_eq!(bench.staged_files(), NONE);
        session.close(&handle).unwrap();
        assert_same(&session.get(&place.path("file")), &data);
    });
}

#[test]
fn beyond_that_the_file_is_staged_on_disk() {
    let bench = Builder::new().memory().s3().start();
    bench.on_object_stores(|place, session| {
        let data = noise(4 * MIB + 1, 1);
        let handle = session.create(&place.path("file"));
        session.write(&handle, 4 * MIB, &data[4 * MIB as usize..]).unwrap();
        assert_eq!(bench.staged_files().len(), 1);
        session.write(&handle, 0, &data[..4 * MIB as usize]).unwrap();
        session.close(&handle).unwrap();
        assert_same(&session.get(&place.path("file")), &data);
        assert_eq!(bench.staged_files(), NONE);
    });
}

#[test]
fn so_is_a_file_that_is_opened_for_reading_and_writing_from_its_first_write_on() {
    let bench = Builder::new().every_store().start();
    bench.on_every_store(|place, session| {
        let handle = session.open(&place.path("file"), READING_AND_WRITING | CREATE).unwrap();
        session.write(&handle, 0, b"in order").unwrap();
        // The local store has a place of its own for unfinished files, and so has a server's folder.
        let on_disk = match place.behind {
            Behind::Folder(_) | Behind::Upstream(_) => place.unfinished("file").unwrap(),
            _ => bench.staged_files().len(),
        };
        assert_eq!(on_disk, 1);
        session.close(&handle).unwrap();
        assert_same(&session.get(&place.path("file")), b"in order");
    });
}

#[test]
fn a_write_only_upload_to_an_object_store_can_change_its_first_part_until_the_end_5() {
    shared().on_object_stores(|place, session| {
        let mut data = noise(16 * MIB, 2);
        let handle = session.create(&place.path("file"));
        session.write(&handle, 0, &data).unwrap();
        let mut offsets = vec![0, 5, 60_000];
        if place.s3().is_some() {
            offsets.push(5 * MIB as usize - 6);
        }
        for offset in offsets {
            data[offset..offset + 6].copy_from_slice(b"header");
            session.write(&handle, offset as u64, b"header").unwrap();
        }
        session.close(&handle).unwrap();
        assert_same(&session.get(&place.path("file")), &data);
    });
}

#[test]
fn it_cannot_change_other_bytes_that_were_already_sent() {
    shared().on_object_stores(|place, session| {
        for offset in [6 * MIB, 8 * MIB] {
            let handle = session.create(&place.path("file"));
            session.write(&handle, 0, &noise(11 * MIB, 2)).unwrap();
            assert_refused(session.write(&handle, offset, b"x"), UNSUPPORTED);
            drop(session.close(&handle));
        }
        // What was not sent yet may be changed.
        let handle = session.create(&place.path("file"));
        let mut data = noise(11 * MIB, 2);
        session.write(&handle, 0, &data).unwrap();
        session.write(&handle, 10 * MIB + 5, b"changed").unwrap();
        session.close(&handle).unwrap();
        data[10 * MIB as usize + 5..][..7].copy_from_slice(b"changed");
        assert_same(&session.get(&place.path("file")), &data);
    });
}

#[test]
fn such_a_write_fails_and_nothing_is_published() {
    shared().on_object_stores(|place, session| {
        session.put(&place.path("old"), b"old");
        for name in ["old", "new"] {
            let handle = session.create(&place.path(name));
            session.write(&handle, 0, &noise(11 * MIB, 3)).unwrap();
            assert_refused(session.write(&handle, 6 * MIB, b"x"), UNSUPPORTED);
            // Nothing that comes later mends it.
            session.write(&handle, 11 * MIB, b"more").expect_err("the upload has failed");
            assert_refused(session.close(&handle), UNSUPPORTED);
            until("removal of the parts", LIMIT, || (place.unfinished(name).unwrap_or(0) == 0).then_some(()));
        }
        assert_eq!(session.names(&place.path("")), ["old"]);
        assert_same(&session.get(&place.path("old")), b"old");
    });
}

#[test]
fn a_file_that_is_opened_for_reading_and_writing_may_be_changed_in_any_order() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let mut data = noise(11 * MIB, 4);
        let handle = session.open(&path, READING_AND_WRITING | CREATE | TRUNCATE).unwrap();
        session.write(&handle, 0, &data).unwrap();
        let mut change = |session: &mut Sftp, offset: usize, text: &[u8]| {
            session.write(&handle, offset as u64, text).unwrap();
            data[offset..offset + text.len()].copy_from_slice(text);
            assert_same(
                &session.read(&handle, offset as u64 - 3, text.len() + 6).unwrap(),
                &data[offset - 3..][..text.len() + 6],
            );
        };
        change(session, 7 << 20, b"late");
        change(session, 3, b"early");
        change(session, (5 << 20) - 2, b"across a part's end");
        session.set_open_attributes(&handle, &Attributes::size(9 * MIB)).unwrap();
        data.truncate(9 << 20);
        session.close(&handle).unwrap();
        assert_same(&session.get(&path), &data);

        // A file that exists.
        let handle = session.open(&path, READING_AND_WRITING).unwrap();
        assert_same(&session.read(&handle, MIB, 1000).unwrap(), &data[1 << 20..][..1000]);
        session.write(&handle, 2 * MIB, b"changed").unwrap();
        session.write(&handle, MIB, b"changed").unwrap();
        session.close(&handle).unwrap();
        data[1 << 20..][..7].copy_from_slice(b"changed");
        data[2 << 20..][..7].copy_from_slice(b"changed");
        assert_same(&session.get(&path), &data);
    });
}

#[test]
fn until_more_than_the_old_bytes_were_sent_to_the_store_they_may_also_be_changed() {
    shared().on_every_store(|place, session| {
        let (old, path) = (6 * MIB, place.path("file"));
        let data = noise(old + 300_000, 8);
        for (changed, cut) in [(Some(100), None), (Some(5 * MIB + 5), None), (None, Some(1)), (Some(0), Some(old - 1))]
        {
            session.put(&path, &data[..old as usize]);
            let handle = session.open(&path, WRITING).unwrap();
            session.write(&handle, old, &data[old as usize..]).unwrap();
            let mut expected = data.clone();
            if let Some(at) = changed {
                session.write(&handle, at, b"changed").unwrap();
                expected[at as usize..at as usize + 7].copy_from_slice(b"changed");
            }
            if let Some(length) = cut {
                session.set_open_attributes(&handle, &Attributes::size(length)).unwrap();
                expected.truncate(length as usize);
            }
            session.close(&handle).unwrap();
            assert_same(&session.get(&path), &expected);
        }
    });
}

#[test]
fn a_client_may_append_to_a_file_and_resume_it_the_gateway_copies_the_old_bytes_and() {
    shared().on_every_store(|place, session| {
        for old in [1_000, 6 * MIB] {
            let name = format!("file-{old}");
            let path = place.path(&name);
            let data = noise(old + 300_000, old);
            let (before, rest) = data.split_at(old as usize);
            // Resumed: the client goes on where the file ends.
            session.put(&path, before);
            let handle = session.open(&path, WRITING).unwrap();
            session.write(&handle, old, &rest[..100_000]).unwrap();
            session.close(&handle).unwrap();
            place.await_event("CLOSE", &name, |event| event["bytes-in"] == "100000");
            assert_same(&session.get(&path), &data[..old as usize + 100_000]);
            // Appended to: the offset does not matter.
            let handle = session.open(&path, WRITING | APPEND).unwrap();
            session.write(&handle, 0, &rest[100_000..200_000]).unwrap();
            session.write(&handle, 0, &rest[200_000..]).unwrap();
            session.close(&handle).unwrap();
            assert_same(&session.get(&path), &data);
        }
        // OpenSSH's own way.
        let file = place.bench.setup.folder().join("resumed");
        let data = noise(400_000, 5);
        fs::write(&file, &data).unwrap();
        session.put(&place.path("reput"), &data[..150_000]);
        place.bench.client().sftp(&format!("reput {} {}\n", file.display(), place.path("reput"))).succeeded();
        assert_same(&session.get(&place.path("reput")), &data);
        place.await_event("CLOSE", "reput", |event| event["bytes-in"] == "250000");
    });
}

#[test]
fn a_file_that_is_overwritten_from_its_start_without_truncation_scp_does_that_keeps() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        for (old, new) in [(100_000, 10), (100_000, 200_000), (12 * MIB, 1_000_000), (12 * MIB, 6 * MIB), (10, 6 * MIB)]
        {
            let (before, after) = (noise(old, 6), noise(new, 7));
            session.put(&path, &before);
            let handle = session.open(&path, WRITING | CREATE).unwrap();
            session.write(&handle, 0, &after).unwrap();
            session.close(&handle).unwrap();
            let kept = before.get(new as usize..).unwrap_or(&[]);
            assert_same(&session.get(&path), &[&after, kept].concat());
        }
        // scp cuts the file to length at the end, so nothing of the old file is left.
        let file = place.bench.setup.folder().join(format!("scp-{}", &place.store[1..]));
        fs::write(&file, b"short").unwrap();
        let client = place.bench.client();
        for flags in [&["-O"][..], &[]] {
            session.put(&path, &noise(100_000, 8));
            let words = flags.iter().map(|flag| (*flag).to_owned());
            client.scp(words.chain([file.display().to_string(), client.remote(&path)])).succeeded();
            assert_same(&session.get(&path), b"short");
        }
    });
}

#[test]
fn its_old_bytes_are_fetched_only_if_they_are_still_needed_at_the_end() {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).start();
    bench.on_every_store(|place, session| {
        let path = place.path("file");
        let fetched = || -> Vec<(u64, u64)> {
            let gets = proxy.requests().into_iter().filter(|r| r.method == "GET" && !r.target.contains("list-type"));
            gets.map(|request| request.range().unwrap_or((0, u64::MAX))).collect()
        };
        // Overwritten as a whole, or cut at what was written, nothing of the old file is needed.
        for cut in [false, true] {
            session.put(&path, &noise(6 * MIB, 9));
            proxy.forget();
            let handle = session.open(&path, WRITING | CREATE).unwrap();
            session.write(&handle, 0, &noise(if cut { MIB } else { 7 * MIB }, 10)).unwrap();
            if cut {
                session.set_open_attributes(&handle, &Attributes::size(MIB)).unwrap();
            }
            session.close(&handle).unwrap();
            assert_eq!(fetched(), []);
        }
        session.put(&path, &noise(6 * MIB, 9));
        proxy.forget();
        let handle = session.open(&path, WRITING | CREATE).unwrap();
        session.write(&handle, 0, &noise(MIB, 10)).unwrap();
        assert_eq!(fetched(), []);
        session.close(&handle).unwrap();
        let ranges = fetched();
        assert!(!ranges.is_empty() && ranges.iter().all(|(first, _)| *first >= MIB), "{ranges:?}");
    });
}
