//! Memory, the staging folder, and the largest file.

use std::fs;

use crate::bench::{Behind, Bench, Builder, assert_refused, assert_same};
use crate::support::data::{MIB, noise};
use crate::support::process::{LIMIT, until};
use crate::support::sftp::{Attributes, FAILURE, Handle, Sftp};

/// The least that the configuration allows; a half of it may wait for clients.
const MEMORY: u64 = 16 * MIB;

/// A file that is no part yet: nothing of it is on its way to the store.
const BELOW_A_PART: u64 = 5 * MIB - 1000;

fn bench(staging: u64) -> Bench {
    let limit = |bytes: u64| format!("{}MiB", bytes / MIB);
    let limits = |setup: &mut crate::support::setup::Setup| {
        setup.limit("transfer_memory", limit(MEMORY));
        setup.limit("staging", limit(staging));
    };
    Builder::new().s3().change(limits).start()
}

/// A line of /proc/PID/status, in bytes.
fn memory(bench: &Bench, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bench.gateway.pid())).expect("the gateway runs");
    let kib = status.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {line} in {status}")) * 1024
}

#[track_caller]
fn begin(session: &mut Sftp, path: &str, seed: u64) -> Handle {
    let handle = session.create(path);
    session.write(&handle, 0, &noise(BELOW_A_PART, seed)).unwrap();
    handle
}

#[test]
fn all_transfers_together_use_at_most_limits_transfer_memory() {
    let bench = bench(1024 * MIB);
    bench.on_every_store(|place, session| {
        // What the program needs anyway, with a transfer in either direction.
        session.put(&place.path("first"), &noise(12 * MIB, 1));
        session.get(&place.path("first"));
        fs::write(format!("/proc/{}/clear_refs", bench.gateway.pid()), "5").unwrap();
        let before = memory(&bench, "VmRSS:");
        let uploads: Vec<Handle> = (0..20).map(|i| begin(session, &place.path(&format!("file-{i}")), i)).collect();
        let grown = memory(&bench, "VmHWM:").saturating_sub(before);
        assert!(grown < MEMORY + 16 * MIB, "{} MiB more for 100 MiB of uploads", grown / MIB);
        for (i, handle) in uploads.iter().enumerate() {
            session.close(handle).unwrap();
            assert_same(&session.get(&place.path(&format!("file-{i}"))), &noise(BELOW_A_PART, i as u64));
        }
        let grown = memory(&bench, "VmHWM:").saturating_sub(before);
        assert!(grown < MEMORY + 16 * MIB, "{} MiB more when 100 MiB of uploads were finished", grown / MIB);
    });
}

#[test]
fn when_it_is_used_up_parts_wait_on_disk_at_most_limits_staging_of_them() {
    let staging = 40 * MIB;
    let bench = bench(staging);
    bench.on_every_store(|place, session| {
        let mut uploads = Vec::new();
        let mut refused = 0;
        for i in 0..12 {
            let handle = session.create(&place.path(&format!("file-{i}")));
            match session.write(&handle, 0, &noise(BELOW_A_PART, i)) {
                Ok(()) => uploads.push((i, handle)),
                Err(_) => refused += 1,
            }
            let staged: u64 = bench.staged_files().iter().sum();
            assert!(staged <= staging, "{} MiB are staged", staged / MIB);
            // One upload fits into the half of the memory that may wait; from the third on all others are on disk.
            if i == 6 {
                assert!(staged >= 3 * BELOW_A_PART, "{} MiB are staged", staged / MIB);
            }
        }
        assert!(refused > 0 && uploads.len() >= 8, "{refused} refused, {} taken", uploads.len());
        let last_batch = uploads.len() - 1;
        for (n, (i, handle)) in uploads.iter().enumerate() {
            match session.close(handle) {
                Ok(()) => assert_same(&session.get(&place.path(&format!("file-{i}"))), &noise(BELOW_A_PART, *i)),
                // The error of what was written last comes with the CLOSE.
                Err(refusal) => {
                    assert!(n == last_batch && refusal.message.contains("no space left"), "{n}: {refusal:?}")
                }
            }
        }
        until("empty staging folder", LIMIT, || bench.staged_files().is_empty().then_some(()));
    });
}

#[test]
fn when_that_is_full_writers_receive_no_space_left_and_nobody_else_is_affected() {
    let bench = bench(8 * MIB);
    bench.on_every_store(|place, session| {
        let old = noise(12 * MIB, 1);
        session.put(&place.path("old"), &old);
        let mut other = bench.connect();
        let reading = other.open_to_read(&place.path("old"));
        assert_same(&other.read(&reading, 0, 1000).unwrap(), &old[..1000]);

        let first = begin(session, &place.path("first"), 2);
        // A file that needs more than there is. What is refused comes with a later call at the latest.
        let mut greedy = bench.connect();
        let handle = greedy.create(&place.path("greedy"));
        let outcome = greedy.write(&handle, 8 * MIB, b"far ahead").and_then(|()| greedy.close(&handle));
        let refusal = assert_refused(outcome, FAILURE);
        assert!(refusal.message.contains("no space left"), "{refusal:?}");
        let mut refusals = 0;
        let mut uploads = Vec::new();
        for i in 0..5 {
            let path = place.path(&format!("file-{i}"));
            let handle = greedy.create(&path);
            match greedy.write(&handle, 0, &noise(BELOW_A_PART, i)) {
                Ok(()) => uploads.push((path, i, handle)),
                Err(refusal) => {
                    assert!(refusal.message.contains("no space left"), "{refusal:?}");
                    refusals += 1;
                }
            }
        }
        assert!(refusals > 0, "25 MiB were taken into 8 MiB of memory and 8 MiB of disk");

        assert_same(&other.read_from(&reading, 1000).unwrap(), &old[1000..]);
        other.make_directory(&place.path("folder")).unwrap();
        assert!(other.names(&place.path("")).contains(&"old".to_owned()));
        session.close(&first).unwrap();
        assert_same(&session.get(&place.path("first")), &noise(BELOW_A_PART, 2));
        let mut finished = 0;
        for (path, seed, handle) in &uploads {
            if greedy.close(handle).is_ok() {
                assert_same(&other.get(path), &noise(BELOW_A_PART, *seed));
                finished += 1;
            }
        }
        // Of the last one the error of the last batch may come with the CLOSE.
        assert!(finished + 1 >= uploads.len(), "{finished} of {} finished", uploads.len());
        // There is room again.
        greedy.put(&place.path("later"), &noise(BELOW_A_PART, 3));
    });
}

#[test]
fn the_store_determines_the_largest_file() {
    let largest = 5 << 40;
    let change = |setup: &mut crate::support::setup::Setup| setup.limit("largest_hole", "1024TiB");
    let bench = Builder::new().local().s3().upstream().change(change).start();
    bench.on_every_store(|place, session| {
        let path = place.path("file");
        let handle = session.create(&path);
        session.write(&handle, 0, b"begun").unwrap();
        let longer = session.set_open_attributes(&handle, &Attributes::size(largest + 1));
        if place.s3().is_some() {
            let refusal = assert_refused(longer, FAILURE);
            assert!(refusal.message.contains("larger than the store's largest object"), "{refusal:?}");
            session.close(&handle).unwrap();
            assert_same(&session.get(&path), b"begun");
            let other = place.path("other");
            let handle = session.create(&other);
            assert_refused(session.write(&handle, largest - 1, b"xy"), FAILURE);
            drop(session.close(&handle));
            assert!(!session.exists(&other));
        } else if matches!(place.behind, Behind::Folder(_) | Behind::Upstream(_)) {
            longer.unwrap();
            session.close(&handle).unwrap();
            assert_eq!(session.stat(&path).unwrap().size, Some(largest + 1));
        }
    });
}
