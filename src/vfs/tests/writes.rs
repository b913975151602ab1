//! Uploads: what is sent, when, at what cost, and what happens when it fails.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::stores::{Existing, StoreErrorKind};

use super::super::{PartialUploads, WriteMode};
use super::home::{CHANGE, MIB, NEW, counting, home, home_with, path, pattern};
use super::store::{SMALL_PARTS, TestStore};

const PART: usize = 64 * 1024;

#[tokio::test]
async fn a_small_file_is_one_stat_and_one_put() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        let home = home(&[("/", &store, "me")]);
        for size in [0, 1, 32 * 1024, PART] {
            let data = pattern(size);
            let committed = home.write("/new/f", NEW, &data).await.unwrap();
            assert_eq!(committed.size, size as u64);
            assert!(committed.mtime_kept && committed.etag.is_some());
            assert_eq!(store.get("me/new/f").unwrap(), data);
            // The connection knows what it has just made.
            assert_eq!(store.calls(), if size > 0 { "put=1" } else { "put=1 stat=1" }, "{size}");
        }
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn a_larger_file_goes_in_parts_or_into_a_file() {
    for size in [PART + 1, 3 * PART, 3 * PART + 1, 5 * MIB as usize] {
        let data = pattern(size);
        let store = TestStore::remote("s");
        let home = home(&[("/", &store, "")]);
        home.write("/f", NEW, &data).await.unwrap();
        assert_eq!(store.get("f").unwrap(), data);
        assert_eq!(store.calls(), format!("begin=1 complete=1 part={} stat=1", size.div_ceil(PART)));
        let local = TestStore::local("s");
        let home = super::home::home(&[("/", &local, "")]);
        home.write("/f", NEW, &data).await.unwrap();
        assert_eq!(local.get("f").unwrap(), data);
        assert_eq!((store.open_uploads(), local.open_uploads()), (0, 0));
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn a_local_file_is_written_in_batches() {
    let store = TestStore::local("s");
    let home = home(&[("/", &store, "")]);
    home.write("/f", NEW, &pattern(16 * MIB as usize)).await.unwrap();
    let calls = store.calls();
    let writes: u64 = calls.split("write=").nth(1).unwrap().parse().unwrap();
    assert!(writes <= 18, "{calls}");
}

#[tokio::test]
async fn nothing_is_seen_before_the_commit_and_nothing_stays_of_a_dropped_upload() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("f", "old");
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        for index in 0..100 {
            writer.write_at(index * 10_000, pattern(10_000)).await.unwrap();
        }
        assert_eq!(writer.size(), 1_000_000);
        assert_eq!(store.get("f").unwrap(), "old");
        drop(writer);
        home.transfers.settled().await;
        assert_eq!((store.open_uploads(), store.get("f").unwrap()), (0, "old".into()));
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_off_is_published_only_if_the_operator_chose_that() {
    for (choice, published) in [(PartialUploads::Discard, false), (PartialUploads::Publish, true)] {
        for store in [TestStore::remote("s"), TestStore::local("s")] {
            let home = home_with(&[("/", &store, "")], |settings| settings.partial_uploads = choice);
            let data = pattern(200_000);
            let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
            writer.write_at(0, data.slice(..150_000)).await.unwrap();
            // Beyond a gap, a little and so far that it is staged: it is not what arrived in order.
            for beyond in [300_000, 20 * MIB] {
                writer.write_at(beyond, data.clone()).await.unwrap();
            }
            writer.write_at(150_000, data.slice(150_000..)).await.unwrap();
            let committed = writer.cut_off().await.unwrap();
            assert_eq!(committed.map(|c| c.size), published.then_some(200_000));
            assert_eq!(store.get("f"), published.then_some(data));
            let untouched = home.vfs.open_write(&path("/g"), NEW).await.unwrap();
            assert_eq!(untouched.cut_off().await.unwrap(), None);
            assert_eq!((store.get("g"), store.open_uploads()), (None, 0));
            home.assert_all_given_back().await;
        }
    }
}

#[tokio::test]
async fn open_modes_are_judged_at_the_opening() {
    let store = TestStore::remote("s");
    store.set("d/f", "old");
    let home = home(&[("/", &store, "")]);
    let open = async |name: &str, mode| home.vfs.open_write(&path(name), mode).await.map(drop).map_err(|e| e.kind());
    let refuse = WriteMode { existing: Existing::Refuse, ..NEW };
    assert_eq!(open("/d", NEW).await, Err(StoreErrorKind::IsADirectory));
    assert_eq!(open("/d", CHANGE).await, Err(StoreErrorKind::IsADirectory));
    assert_eq!(open("/d", refuse).await, Err(StoreErrorKind::AlreadyExists));
    assert_eq!(open("/d/f", refuse).await, Err(StoreErrorKind::AlreadyExists));
    assert_eq!(open("/n", WriteMode { must_exist: true, ..NEW }).await, Err(StoreErrorKind::NotFound));
    assert_eq!(open("/n", WriteMode { must_exist: true, ..CHANGE }).await, Err(StoreErrorKind::NotFound));
    assert_eq!(open("/d/f", WriteMode { must_exist: true, ..NEW }).await, Ok(()));
    assert_eq!(open("/n", refuse).await, Ok(()));
    assert_eq!(store.keys(), ["d/f"]);
}

#[tokio::test]
async fn exclusive_never_overwrites_even_when_the_name_is_taken_later() {
    for size in [10, 300_000] {
        for store in [TestStore::remote("s"), TestStore::local("s")] {
            let home = home(&[("/", &store, "")]);
            let mode = WriteMode { existing: Existing::Refuse, ..NEW };
            let mut writer = home.vfs.open_write(&path("/f"), mode).await.unwrap();
            writer.write_at(0, pattern(size)).await.unwrap();
            store.set("f", "other");
            assert_eq!(writer.commit().await.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
            assert_eq!((store.get("f").unwrap(), store.open_uploads()), ("other".into(), 0));
        }
    }
}

#[tokio::test]
async fn append_and_resume_keep_what_is_there_without_staging_it() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        for (old, new) in [(10, 10), (10, 300_000), (300_000, 10), (2_000_000, 2_000_000)] {
            let data = pattern(old + new);
            store.set("f", data.slice(..old));
            let home = home_with(&[("/", &store, "")], |settings| settings.staging = 0);
            let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
            assert_eq!(writer.size(), old as u64);
            let mut at = old;
            while at < data.len() {
                let end = (at + 30_000).min(data.len());
                writer.write_at(at as u64, data.slice(at..end)).await.unwrap();
                at = end;
            }
            assert_eq!(writer.size(), data.len() as u64);
            writer.commit().await.unwrap();
            assert_eq!(store.get("f").unwrap(), data);
            home.assert_all_given_back().await;
        }
    }
}

#[tokio::test]
async fn of_two_that_append_to_an_empty_file_the_second_is_refused() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("f", "");
        let home = home(&[("/", &store, "")]);
        let mut first = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        let mut second = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        first.append(Bytes::from_static(b"first")).await.unwrap();
        second.append(Bytes::from_static(b"other")).await.unwrap();
        first.commit().await.unwrap();
        assert_eq!(second.commit().await.unwrap_err().kind(), StoreErrorKind::Changed);
        assert_eq!(store.get("f").unwrap(), "first");
        store.assert_no_uploads().await;
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn the_store_itself_copies_what_an_append_keeps() {
    let store = TestStore::remote("s");
    let (old, data) = (1_000_000, pattern(1_300_000));
    let home = home(&[("/", &store, "")]);
    for cut in [old, 700_000] {
        store.set("f", data.slice(..old));
        store.calls();
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        if cut < old {
            writer.set_length(cut as u64).await.unwrap();
        }
        writer.write_at(cut as u64, data.slice(cut..)).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(store.get("f").unwrap(), data);
        let calls = store.calls();
        assert!(calls.contains("copy_part=1") && !calls.contains("read="), "{calls}");
        home.assert_all_given_back().await;
    }
    // Another version came in between.
    store.set("f", data.slice(..old));
    let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    store.set("f", "new");
    let written = writer.write_at(old as u64, data.slice(old..)).await;
    assert!(written.is_err() || writer.commit().await.is_err());
    assert_eq!(store.get("f").unwrap(), "new");
    store.assert_no_uploads().await;
}

#[tokio::test]
async fn what_was_there_before_an_append_can_be_changed_and_cut() {
    let (old, new) = (1_000_000, 40_000);
    let data = pattern(old + new);
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        let home = home(&[("/", &store, "")]);
        for (far, at, cut) in [
            (false, Some(0), None),
            (false, Some(500_000), None),
            (true, Some(500_000), None),
            (false, Some(old - 5), None),
            (false, None, Some(1)),
            (true, None, Some(700_000)),
            (false, Some(70_000), Some(900_000)),
            (false, None, Some(old + 10)),
        ] {
            store.set("f", data.slice(..old));
            let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
            let mut expected = data.to_vec();
            writer.write_at(old as u64, data.slice(old..)).await.unwrap();
            if far {
                let end = old + new + (5 << 20);
                writer.write_at(end as u64, Bytes::from_static(b"far")).await.unwrap();
                expected.resize(end, 0);
                expected.extend_from_slice(b"far");
            }
            if let Some(at) = at {
                writer.write_at(at as u64, Bytes::from_static(b"backwards")).await.unwrap();
                expected[at..at + 9].copy_from_slice(b"backwards");
            }
            if let Some(cut) = cut {
                writer.set_length(cut as u64).await.unwrap();
                expected.truncate(cut);
            }
            assert_eq!(writer.size(), expected.len() as u64);
            writer.commit().await.unwrap();
            assert!(store.get("f").unwrap() == expected, "{store:?} {far} {at:?} {cut:?}");
        }
        home.assert_all_given_back().await;
        store.assert_no_uploads().await;
    }
}

#[tokio::test]
async fn a_file_that_is_overwritten_in_place_and_then_backwards_keeps_every_byte() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        for old in [0, 10, 400_000] {
            store.set("f", Bytes::from(vec![b'o'; old]));
            let home = home(&[("/", &store, "")]);
            let mut data = pattern(65_537).to_vec();
            let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
            writer.write_at(0, Bytes::copy_from_slice(&data[..40_000])).await.unwrap();
            writer.write_at(40_000, Bytes::copy_from_slice(&data[40_000..])).await.unwrap();
            writer.write_at(100, Bytes::from_static(b"backwards")).await.unwrap();
            writer.commit().await.unwrap();
            data[100..109].copy_from_slice(b"backwards");
            data.resize(data.len().max(old), b'o');
            assert!(store.get("f").unwrap() == data, "{store:?} {old}");
        }
    }
}

#[tokio::test]
async fn an_existing_file_that_is_not_changed_is_not_sent() {
    let store = TestStore::remote("s");
    store.set("f", "old");
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    writer.set_length(3).await.unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    writer.set_mtime(then);
    let committed = writer.commit().await.unwrap();
    assert_eq!((committed.size, committed.mtime_kept), (3, true));
    assert_eq!(store.calls(), "open=1 set_mtime=1 stat=1");
    assert_eq!(store.mtime("f"), Some(then));
}

#[tokio::test]
async fn a_time_is_kept_whenever_it_comes() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    for size in [10, 300_000] {
        for early in [true, false] {
            let store = TestStore::remote("s");
            let home = home(&[("/", &store, "")]);
            let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
            if early {
                writer.set_mtime(then);
            }
            writer.write_at(0, pattern(size)).await.unwrap();
            writer.set_mtime(then);
            assert!(writer.commit().await.unwrap().mtime_kept);
            assert_eq!(store.mtime("f"), Some(then));
            assert_eq!(store.calls().contains("set_mtime"), size > PART && !early);
        }
    }
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    store.fail("set_mtime", 0, 1);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    writer.write_at(0, pattern(300_000)).await.unwrap();
    writer.set_mtime(then);
    assert!(!writer.commit().await.unwrap().mtime_kept);
}

#[tokio::test]
async fn writes_that_overtake_each_other_a_little_stay_in_memory() {
    let store = TestStore::remote("s");
    let home = home_with(&[("/", &store, "")], |settings| settings.staging = 0);
    let data = pattern(8 * MIB as usize);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let pieces: Vec<usize> = (0..data.len()).step_by(32 * 1024).collect();
    for group in pieces.chunks(64) {
        for at in group.iter().rev() {
            writer.write_at(*at as u64, data.slice(*at..*at + 32 * 1024)).await.unwrap();
        }
    }
    assert_eq!(writer.size(), data.len() as u64);
    writer.commit().await.unwrap();
    assert_eq!(store.get("f").unwrap(), data);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_header_that_is_written_at_the_end_is_sent_again() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    let header = Bytes::from_static(b"length 300000");
    for far_ahead in [false, true] {
        let mut data = pattern(300_000).to_vec();
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        writer.write_at(0, Bytes::from(data.clone())).await.unwrap();
        if far_ahead {
            // What follows is staged from here on.
            data.resize(6 * MIB as usize, 0);
            data.extend_from_slice(b"far");
            writer.write_at(6 * MIB, Bytes::from_static(b"far")).await.unwrap();
        }
        for at in [0, 30_000] {
            data[at..at + header.len()].copy_from_slice(&header);
            writer.write_at(at as u64, header.clone()).await.unwrap();
        }
        data.extend_from_slice(b"more");
        writer.write_at(writer.size(), Bytes::from_static(b"more")).await.unwrap();
        writer.commit().await.unwrap();
        assert!(store.get("f").unwrap() == data, "far ahead: {far_ahead}");
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn without_room_on_disk_a_header_cannot_be_changed() {
    let store = TestStore::remote("s");
    let home = home_with(&[("/", &store, "")], |settings| settings.staging = 0);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    writer.write_at(0, pattern(300_000)).await.unwrap();
    assert!(writer.write_at(0, pattern(10)).await.is_err());
    drop(writer);
    store.assert_no_uploads().await;
    assert_eq!(store.get("f"), None);
}

#[tokio::test]
async fn bytes_that_were_sent_cannot_be_changed_and_nothing_wrong_is_published() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    writer.write_at(0, pattern(300_000)).await.unwrap();
    // The first part, of 64 KiB, can be sent again.
    let error = writer.write_at(60_000, pattern(10_000)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    assert!(error.to_string().contains("open the file for reading and writing"), "{error}");
    assert_eq!(writer.commit().await.unwrap_err().kind(), StoreErrorKind::Unsupported);
    assert_eq!(store.get("f"), None);
    store.assert_no_uploads().await;
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_kept() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        let home = home(&[("/", &store, "")]);
        for offset in [u64::MAX - 2, u64::MAX - 3, 41 << 30] {
            let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
            let error = writer.write_at(offset, Bytes::from_static(b"abc")).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::TooLarge);
        }
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        assert_eq!(writer.set_length(u64::MAX).await.unwrap_err().kind(), StoreErrorKind::TooLarge);
    }
    let store = TestStore::remote("s");
    let home = home_with(&[("/", &store, "")], |settings| settings.largest_hole = 1 << 40);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    assert_eq!(writer.set_length(30 << 30).await.unwrap_err().kind(), StoreErrorKind::NoSpace);
    drop(writer);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn every_failure_of_the_store_reaches_the_client_and_leaves_nothing() {
    let data = pattern(2 * MIB as usize);
    for (operation, good) in [("begin", 0), ("part", 0), ("part", 7), ("part", 31), ("complete", 0), ("put", 0)] {
        let store = TestStore::remote("s");
        store.set("f", "old");
        let home = home(&[("/", &store, "")]);
        store.fail(operation, good, 1);
        let data = if operation == "put" { data.slice(..10) } else { data.clone() };
        let error = home.write("/f", NEW, &data).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{operation} {good}");
        assert!(error.to_string().contains(operation), "{error}");
        assert_eq!(store.get("f").unwrap(), "old");
        home.assert_all_given_back().await;
        store.assert_no_uploads().await;
    }
    for (operation, good) in [("begin", 0), ("write", 0), ("write", 1), ("complete", 0)] {
        let store = TestStore::local("s");
        let home = home(&[("/", &store, "")]);
        store.fail(operation, good, 1);
        home.write("/f", NEW, &data).await.unwrap_err();
        assert_eq!(store.get("f"), None, "{operation} {good}");
        store.assert_no_uploads().await;
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn after_a_failed_part_every_call_fails_with_its_error() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    store.fail("part", 0, 1);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    writer.write_at(0, pattern(300_000)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for at in [300_000, 300_010] {
        assert_eq!(writer.write_at(at, pattern(10)).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!(writer.set_length(0).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(writer.size(), 300_000);
    // The client has not closed, and holds nothing all the same.
    home.assert_all_given_back().await;
    assert_eq!(writer.cut_off().await.unwrap(), None);
    store.assert_no_uploads().await;
}

#[tokio::test]
async fn a_source_that_fails_while_it_is_resumed_fails_the_resume_only() {
    let store = TestStore::remote("s");
    let data = pattern(2_000_000);
    store.set("f", data.clone());
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    store.fail("copy_part", 0, 100);
    let written = writer.write_at(2_000_000, pattern(10)).await;
    assert!(written.is_ok() || written.is_err_and(|error| error.kind() == StoreErrorKind::Unavailable));
    assert_eq!(writer.commit().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.get("f").unwrap(), data);
    store.assert_no_uploads().await;
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_write_that_was_interrupted_is_never_published() {
    let store = TestStore::slow("s", SMALL_PARTS, Duration::from_millis(50));
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let write = writer.write_at(0, pattern(300_000));
    assert!(tokio::time::timeout(Duration::from_millis(10), write).await.is_err());
    assert_eq!(writer.write_at(0, pattern(10)).await.unwrap_err().kind(), StoreErrorKind::Other);
    assert_eq!(writer.commit().await.unwrap_err().kind(), StoreErrorKind::Other);
    assert_eq!(store.get("f"), None);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn two_writers_of_one_name_do_not_mix() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    let (one, two) = (pattern(500_000), Bytes::from(vec![1; 400_000]));
    let mut first = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let mut second = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    first.write_at(0, one.clone()).await.unwrap();
    second.write_at(0, two.clone()).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(store.get("f").unwrap(), one);
    second.commit().await.unwrap();
    assert_eq!(store.get("f").unwrap(), two);
}

#[tokio::test]
async fn an_unfinished_file_is_read_with_what_was_changed() {
    let store = TestStore::remote("s");
    store.set("f", "old");
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), WriteMode { read: true, ..CHANGE }).await.unwrap();
    store.fail("read", 0, 1);
    assert_eq!(writer.read_back(1, 10).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(writer.read_back(1, 10).await.unwrap(), "ld");
    writer.write_at(0, Bytes::from_static(b"g")).await.unwrap();
    assert_eq!(writer.read_back(0, 10).await.unwrap(), "gld");
    writer.commit().await.unwrap();
    assert_eq!(store.get("f").unwrap(), "gld");
}

/// A client that needs 4 ms for 4 MiB and never catches up: how often it waits is what a slow store costs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_waits_for_few_of_the_parts_to_a_slow_store() {
    let limits = crate::stores::PartLimits { smallest_part: 5 * MIB, ..SMALL_PARTS };
    let data = pattern(256 * 1024);
    let store = TestStore::forgetful("s", limits, Duration::from_millis(50));
    let home = home_with(&[("/", &store, "")], |settings| settings.transfer_memory = 512 * MIB);
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let mut waits = 0;
    for index in 0..4096_u64 {
        if index % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        let written = counting(&mut waits, writer.write_at(index * data.len() as u64, data.clone())).await;
        written.unwrap();
    }
    writer.commit().await.unwrap();
    assert_eq!(store.size("f"), Some(1 << 30));
    let calls = store.calls();
    println!("1 GiB sent: {waits} waits; {calls}; at most {} at once", store.most_running());
    assert!(waits <= 40, "{waits} waits; {calls}");
    assert!((4..=12).contains(&store.most_running()), "{} at once", store.most_running());
}

#[tokio::test]
async fn a_handle_that_is_only_held_open_opens_nothing_in_the_store() {
    let store = TestStore::remote("s");
    let home = home(&[("/", &store, "")]);
    store.set("f", "old");
    store.calls();
    let idle = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    assert_eq!((store.calls(), idle.size(), idle.has_content()), ("stat=1".to_owned(), 3, false));
    idle.commit().await.unwrap();
    assert_eq!((store.calls(), store.get("f").unwrap()), (String::new(), "old".into()));
    // The one that the client saw is not there any more when it is used.
    let mut idle = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    store.set("f", "newer");
    let error = idle.write_at(3, "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Changed);
    idle.write_at(0, "x".into()).await.unwrap_err();
    idle.commit().await.unwrap_err();
    assert_eq!(store.get("f").unwrap(), "newer");
}
