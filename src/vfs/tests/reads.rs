//! Downloads: sequences, jumps, memory, latency, failures.

use std::time::Duration;

use crate::stores::StoreErrorKind;

use super::home::{MIB, Random, counting, home, home_with, path, pattern};
use super::store::{SMALL_PARTS, TestStore};

#[tokio::test]
async fn every_offset_and_length_gives_the_right_bytes() {
    let data = pattern(5 * MIB as usize + 13);
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("f", data.clone());
        let home = home(&[("/", &store, "")]);
        let mut random = Random(3);
        for piece in [1000, 32 * 1024, 255 * 1024, 3 << 20] {
            assert_eq!(home.read("/f", piece).await.unwrap(), data);
        }
        let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
        let mut offset = 0;
        for _ in 0..2000 {
            offset = match random.below(8) {
                0 => random.below(6 * MIB),
                1 => offset + random.below(3_000_000),
                2 => offset.saturating_sub(random.below(600_000)),
                _ => offset,
            };
            let length = random.below(600_000);
            let read = reader.read_at(offset, length as usize).await.unwrap();
            let start = (offset as usize).min(data.len());
            let end = ((offset + length) as usize).min(data.len());
            assert_eq!(read, data[start..end], "{offset} {length}");
            offset += read.len() as u64;
        }
        assert_eq!(reader.read_at(u64::MAX, usize::MAX).await.unwrap().len(), 0);
        drop(reader);
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn a_small_file_costs_two_calls() {
    let store = TestStore::remote("s");
    store.set("f", pattern(MIB as usize));
    let home = home(&[("/", &store, "")]);
    home.read("/f", 32 * 1024).await.unwrap();
    assert_eq!(store.calls(), "open=1 read=1");
}

#[tokio::test]
async fn random_reads_fetch_what_is_asked_for() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        store.set("f", pattern(20 * MIB as usize));
        let home = home(&[("/", &store, "")]);
        let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
        for index in (1..100).rev() {
            reader.read_at(index * 200_000, 4096).await.unwrap();
        }
        let fetched: usize = store.reads().iter().map(|(_, length)| length).sum();
        assert!(fetched <= 256 * 1024 + 99 * 4096, "{fetched}");
    }
}

#[tokio::test]
async fn a_resumed_read_starts_at_its_offset() {
    for store in [TestStore::remote("s"), TestStore::local("s")] {
        let data = pattern(20 * MIB as usize);
        store.set("f", data.clone());
        let home = home(&[("/", &store, "")]);
        let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
        let mut at = 15 * MIB;
        while at < 20 * MIB {
            let read = reader.read_at(at, 100_000).await.unwrap();
            assert_eq!(read, data[at as usize..at as usize + read.len()]);
            at += read.len() as u64;
        }
        let reads = store.reads();
        assert!(reads.iter().all(|(offset, _)| *offset >= 15 * MIB), "{reads:?}");
        assert_eq!(reads.iter().map(|(_, length)| *length as u64).sum::<u64>(), 5 * MIB);
    }
}

#[tokio::test]
async fn requests_that_overtake_each_other_a_little_do_not_end_the_sequence() {
    let store = TestStore::remote("s");
    let data = pattern(8 * MIB as usize);
    store.set("f", data.clone());
    let home = home(&[("/", &store, "")]);
    let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
    const PIECE: usize = 128 * 1024;
    for pair in 0..32 {
        for index in [2 * pair + 1, 2 * pair] {
            let read = reader.read_at((index * PIECE) as u64, PIECE).await.unwrap();
            assert_eq!(read, data[index * PIECE..(index + 1) * PIECE]);
        }
    }
    let fetched: usize = store.reads().iter().map(|(_, length)| length).sum();
    assert!(fetched <= data.len() + (1 << 20), "{fetched}");
}

#[tokio::test]
async fn without_memory_reads_still_work() {
    let store = TestStore::remote("s");
    let data = pattern(8 * MIB as usize);
    store.set("f", data.clone());
    let home = home(&[("/", &store, "")]);
    let spent = home.transfers.budget.try_rest(home.transfers.budget.largest_part()).unwrap();
    assert_eq!(home.read("/f", 100_000).await.unwrap(), data);
    assert!(store.reads().iter().all(|(_, length)| *length <= 100_000));
    drop(spent);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn bytes_that_wait_for_a_client_count_as_memory_until_they_are_gone() {
    let store = TestStore::remote("s");
    store.set("f", pattern(8 * MIB as usize));
    let home = home(&[("/", &store, "")]);
    let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
    let slice = reader.read_at(0, 1000).await.unwrap();
    drop(reader);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let budget = &home.transfers.budget;
    assert_eq!(budget.total() - budget.free(), 256 * 1024);
    assert_eq!(home.transfers.memory_in_use(), 256 * 1024);
    drop(slice);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_block_that_failed_is_asked_for_again_and_then_the_error_comes() {
    let store = TestStore::remote("s");
    let data = pattern(2 * MIB as usize);
    store.set("f", data.clone());
    let home = home(&[("/", &store, "")]);
    store.fail("read", 2, 1);
    assert_eq!(home.read("/f", 100_000).await.unwrap(), data);
    store.fail("read", 1, 100);
    let error = home.read("/f", 100_000).await.unwrap_err();
    assert_eq!((error.kind(), error.path), (StoreErrorKind::Unavailable, path("/f")));
    store.fail("read", 0, 0);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn replacement_during_a_download_does_not_mix() {
    let store = TestStore::remote("s");
    let data = pattern(4 * MIB as usize);
    store.set("f", data.clone());
    let home = home(&[("/", &store, "")]);
    let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
    assert_eq!(reader.etag(), Some("v1"));
    reader.read_at(0, 1000).await.unwrap();
    store.set("f", "new");
    assert_eq!(reader.attributes().size, 4 * MIB);
    assert_eq!(reader.read_at(3_000_000, 1000).await.unwrap(), data[3_000_000..3_001_000]);
}

#[tokio::test]
async fn opening_says_what_is_there() {
    let store = TestStore::remote("s");
    store.set("d/f", "1");
    let home = home(&[("/", &store, "")]);
    assert_eq!(home.vfs.open_read(&path("/d")).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    assert_eq!(home.vfs.open_read(&path("/n")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    store.calls();
    home.vfs.open_read(&path("/d/f")).await.unwrap();
    assert_eq!(store.calls(), "open=1");
}

/// A client that needs 4 ms for 4 MiB and never catches up: how often it waits is what a slow store costs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_waits_for_few_of_the_requests_to_a_slow_store() {
    let store = TestStore::slow("s", SMALL_PARTS, Duration::from_millis(50));
    store.set("f", vec![7; 1 << 30]);
    let home = home_with(&[("/", &store, "")], |settings| settings.transfer_memory = 512 * MIB);
    let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
    let mut waits = 0;
    for offset in (0..1024 * MIB).step_by(256 * 1024) {
        let data = counting(&mut waits, reader.read_at(offset, 256 * 1024)).await;
        assert_eq!(data.unwrap().len(), 256 * 1024);
        if offset % (4 * MIB) == 0 {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }
    let requests = store.reads().len();
    println!("1 GiB in sequence: {waits} waits for {requests} requests");
    assert!(waits * 4 <= requests, "{waits} waits for {requests} requests");
    assert!(store.most_running() > 4, "{} requests at once", store.most_running());
}
