//! The spool: batches, what survives, what is bounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::audit::sink::settings::BatchSettings;

const LATER: Duration = Duration::from_secs(3600);

fn settings(folder: &Path, events: u64, size: u64, limit: u64) -> SpoolSettings {
    SpoolSettings {
        folder: folder.join("spool"),
        limit,
        fsync: Fsync::Batch,
        batch: BatchSettings { events, size, age: LATER },
    }
}

fn line(hour: u32, text: &str) -> String {
    format!("{{\"timestamp\":\"2026-07-31T{hour:02}:00:00.000Z\",\"x\":\"{text}\"}}\n")
}

/// All batches, in order, each removed as delivered ones are.
fn batches(spool: &Spool) -> Vec<String> {
    let mut all = Vec::new();
    while let Next::Deliver(batch, lines) = spool.next().unwrap() {
        all.push(String::from_utf8(lines.to_vec()).unwrap());
        spool.delivered(&batch);
    }
    all
}

fn append_all(spool: &Spool, mut lines: &[u8]) {
    while !lines.is_empty() {
        let taken = spool.append(lines).unwrap();
        assert!(taken > 0);
        lines = &lines[taken..];
    }
}

#[test]
fn batches_end_at_their_number_of_events_their_size_and_the_hour() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path(), 2, 1 << 20, 1 << 20)).unwrap();
    append_all(&spool, [line(8, "a"), line(8, "b"), line(8, "c"), line(9, "d")].concat().as_bytes());
    assert_eq!(batches(&spool), [line(8, "a") + &line(8, "b"), line(8, "c")]);
    spool.hurry().unwrap();
    assert_eq!(batches(&spool), [line(9, "d")]);
    assert_eq!((spool.held(), spool.wait_until_empty(Duration::ZERO)), (0, 0));

    let by_size = SpoolSettings { folder: folder.path().join("other"), ..settings(folder.path(), 100, 100, 1 << 20) };
    let spool = Spool::open(&by_size).unwrap();
    let long = line(8, &"l".repeat(300));
    append_all(&spool, [line(8, "a"), long.clone(), line(8, "b")].concat().as_bytes());
    assert_eq!(batches(&spool), [line(8, "a"), long]);
}

#[test]
fn a_batch_ends_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut young = settings(folder.path(), 100, 1 << 20, 1 << 20);
    young.batch.age = Duration::from_millis(200);
    let spool = Spool::open(&young).unwrap();
    append_all(&spool, line(8, "a").as_bytes());
    let Next::Wait(Some(left)) = spool.next().unwrap() else { panic!("it is not old yet") };
    std::thread::sleep(left);
    assert_eq!(batches(&spool), [line(8, "a")]);
}

#[test]
fn what_is_in_the_folder_survives_the_process_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 1, 1 << 20, 1 << 20);
    let spool = Spool::open(&settings).unwrap();
    append_all(&spool, [line(8, "a"), line(8, "b")].concat().as_bytes());
    drop(spool);
    // The process ended while it wrote.
    let torn = settings.folder.join("00000000000000000002.open");
    fs::write(&torn, line(8, "c") + "{\"timestamp\":\"2026").unwrap();
    fs::write(settings.folder.join("00000000000000000003.again"), "{\"torn").unwrap();
    fs::write(settings.folder.join("notes.txt"), "not ours").unwrap();
    let spool = Spool::open(&settings).unwrap();
    append_all(&spool, line(8, "d").as_bytes());
    assert_eq!(batches(&spool), [line(8, "a"), line(8, "b"), line(8, "c"), line(8, "d")]);
    let mut left: Vec<_> = fs::read_dir(&settings.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["lock", "notes.txt"]);
}

#[test]
fn a_torn_line_longer_than_what_is_read_at_once_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long");
    fs::write(&path, line(8, "a") + &"x".repeat(200_000)).unwrap();
    cut_torn_line(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), line(8, "a"));
}

#[test]
fn a_full_spool_takes_nothing_and_says_why_until_something_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path(), 100, 1 << 20, 120)).unwrap();
    append_all(&spool, line(8, "a").as_bytes());
    append_all(&spool, line(8, "b").as_bytes());
    spool.set_trouble(Some("the store is away".into()));
    let error = spool.append(line(8, "c").as_bytes()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("the store is away"), "{error}");
    // What there is has become a batch, so that room can come.
    assert_eq!(batches(&spool), [line(8, "a") + &line(8, "b")]);
    append_all(&spool, line(8, "c").as_bytes());
}

#[test]
fn a_spool_is_for_one_sink() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 1, 1, 1);
    let first = Spool::open(&settings).unwrap();
    let error = Spool::open(&settings).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(first);
    Spool::open(&settings).unwrap();
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "whole\n").unwrap();
    // A file that is open for reading only takes no byte, and cannot be cut either.
    let file = File::open(&path).unwrap();
    let mut filling = Filling {
        file,
        number: 0,
        bytes: 6,
        events: 1,
        hour: None,
        since: Instant::now(),
        spoiled: false,
        unsynced: None,
    };
    filling.append(b"more\n", false).unwrap_err();
    assert!(filling.spoiled && filling.bytes == 6);
    fs::write(&path, "whole\ntorn").unwrap();
    assert_eq!(read(&Full { path, bytes: 6 }).unwrap(), "whole\n");
}

#[test]
fn lines_are_on_the_disk_soon_without_anybody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pause = Duration::from_millis(50);
    let settings = SpoolSettings { fsync: Fsync::Every(pause), ..settings(folder.path(), 100, 1 << 20, 1 << 20) };
    let spool = Spool::open(&settings).unwrap();
    assert_eq!(spool.syncs_after(), None);
    append_all(&spool, line(8, "a").as_bytes());
    assert!(spool.syncs_after().is_some_and(|left| left <= pause), "it is due some time");
    std::thread::sleep(pause);
    spool.sync().unwrap();
    assert_eq!(spool.syncs_after(), None);
    let never = SpoolSettings { folder: folder.path().join("never"), fsync: Fsync::Never, ..settings };
    let spool = Spool::open(&never).unwrap();
    append_all(&spool, line(8, "a").as_bytes());
    assert_eq!(spool.syncs_after(), None);
}

/// What was taken counts as written: somebody who tidies the folder loses nothing and stops nothing.
#[test]
fn a_batch_whose_file_is_gone_while_it_is_filled_is_written_again() {
    for is_moved in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 100, 1 << 20, 1 << 20);
        let spool = Spool::open(&settings).unwrap();
        append_all(&spool, line(8, "a").as_bytes());
        let open = settings.folder.join("00000000000000000000.open");
        match is_moved {
            true => fs::rename(open, folder.path().join("elsewhere")).unwrap(),
            false => fs::remove_file(open).unwrap(),
        }
        append_all(&spool, line(8, "b").as_bytes());
        spool.hurry().unwrap();
        append_all(&spool, line(8, "c").as_bytes());
        spool.hurry().unwrap();
        assert_eq!(batches(&spool), [line(8, "a") + &line(8, "b"), line(8, "c")]);
        assert_eq!(spool.held(), 0);
        let left: Vec<_> = fs::read_dir(&settings.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["lock"]);
    }
}

/// Without a folder nothing can be kept: that is said, again and again, until the folder is back. Nothing is lost.
#[test]
fn a_spool_whose_folder_is_away_says_so_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 100, 1 << 20, 1 << 20);
    let spool = Spool::open(&settings).unwrap();
    append_all(&spool, line(8, "a").as_bytes());
    let away = folder.path().join("away");
    fs::rename(&settings.folder, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(spool.hurry().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    fs::create_dir(&settings.folder).unwrap();
    spool.hurry().unwrap();
    assert_eq!((batches(&spool), spool.held()), (vec![line(8, "a")], 0));
}

/// The rename was done, and its answer was an error.
#[test]
fn a_batch_that_has_its_name_already_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 100, 1 << 20, 1 << 20);
    let spool = Spool::open(&settings).unwrap();
    append_all(&spool, line(8, "a").as_bytes());
    let name = |ending: &str| settings.folder.join(format!("{:020}.{ending}", 0));
    fs::rename(name("open"), name("ndjson")).unwrap();
    spool.hurry().unwrap();
    append_all(&spool, line(8, "b").as_bytes());
    spool.hurry().unwrap();
    assert_eq!(batches(&spool), [line(8, "a"), line(8, "b")]);
}
