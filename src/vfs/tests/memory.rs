//! The budget and the staging folder under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::stores::{PartLimits, StoreErrorKind};

use super::home::{Home, MIB, NEW, home_with, path, pattern};
use super::store::{SMALL_PARTS, TestStore};

const S3_PARTS: PartLimits = PartLimits { smallest_part: 5 * MIB, ..SMALL_PARTS };

/// Uploads `count` files of `size` bytes at once, each in pieces of 256 KiB; how many bytes were staged at most.
async fn upload_at_once(home: &Home, count: u64, size: u64) -> u64 {
    let data = pattern(256 * 1024);
    let most_staged = AtomicU64::new(0);
    let uploads = (0..count).map(|index| {
        let (data, most_staged) = (data.clone(), &most_staged);
        async move {
            let mut writer = home.vfs.open_write(&path(&format!("/{index}")), NEW).await.unwrap();
            let mut at = 0;
            while at < size {
                let piece = data.slice(..(size - at).min(data.len() as u64) as usize);
                let length = piece.len() as u64;
                writer.write_at(at, piece).await.unwrap();
                at += length;
                most_staged.fetch_max(home.transfers.staging.used(), Ordering::Relaxed);
            }
            assert_eq!(writer.commit().await.unwrap().size, size);
        }
    });
    let all = futures_util::future::join_all(uploads);
    tokio::time::timeout(Duration::from_secs(240), all).await.expect("the uploads stand still");
    most_staged.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_uploads_of_64_mib_finish_with_128_mib_of_memory() {
    let store = TestStore::forgetful("s", S3_PARTS, Duration::from_millis(20));
    let home = home_with(&[("/", &store, "")], |settings| {
        settings.transfer_memory = 128 * MIB;
        settings.staging = 2048 * MIB;
    });
    let staged = upload_at_once(&home, 200, 64 * MIB).await;
    println!("at most {} MiB were staged", staged / MIB);
    for index in 0..200 {
        assert_eq!(store.size(&index.to_string()), Some(64 * MIB));
    }
    store.assert_no_uploads().await;
    home.assert_all_given_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_held_by_stopped_clients_stops_nobody_else() {
    let store = TestStore::forgetful("s", S3_PARTS, Duration::from_millis(1));
    store.set("big", pattern(64));
    let home = home_with(&[("/", &store, "")], |settings| {
        settings.transfer_memory = 32 * MIB;
        settings.staging = 64 * MIB;
    });
    // Clients that began and stopped: together they hold all the memory that may rest.
    let mut stopped = Vec::new();
    for index in 0..8 {
        let mut writer = home.vfs.open_write(&path(&format!("/stopped{index}")), NEW).await.unwrap();
        writer.write_at(0, Bytes::from(vec![0; 4 * MIB as usize])).await.unwrap();
        stopped.push(writer);
    }
    assert!(home.transfers.budget.try_rest(4 * MIB).is_none());
    let staged = upload_at_once(&home, 4, 64 * MIB).await;
    assert!(staged > 0);
    drop(stopped);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn when_memory_and_staging_are_spent_the_writer_is_told_and_nobody_else_is_harmed() {
    let store = TestStore::remote("s");
    let home = home_with(&[("/", &store, "")], |settings| {
        settings.transfer_memory = 16 * MIB;
        settings.staging = 100_000;
    });
    let mut other = home.vfs.open_write(&path("/other"), NEW).await.unwrap();
    other.write_at(0, pattern(60_000)).await.unwrap();
    let spent = home.transfers.budget.try_rest(8 * MIB - 64 * 1024).unwrap();
    let mut first = home.vfs.open_write(&path("/first"), NEW).await.unwrap();
    first.write_at(0, pattern(50_000)).await.unwrap();
    let mut second = home.vfs.open_write(&path("/second"), NEW).await.unwrap();
    let error = second.write_at(0, pattern(60_000)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NoSpace);
    assert!(error.to_string().contains("limits.staging"), "{error}");
    assert_eq!(second.commit().await.unwrap_err().kind(), StoreErrorKind::NoSpace);
    first.commit().await.unwrap();
    other.commit().await.unwrap();
    assert_eq!((store.get("first").unwrap(), store.get("other").unwrap()), (pattern(50_000), pattern(60_000)));
    assert_eq!(store.get("second"), None);
    drop(spent);
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn a_write_waits_while_too_many_parts_are_under_way() {
    let store = TestStore::slow("s", SMALL_PARTS, Duration::from_millis(200));
    let home = home_with(&[("/", &store, "")], |_| {});
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let mut accepted = 0;
    let fill = async {
        loop {
            writer.write_at(accepted, pattern(64 * 1024)).await.unwrap();
            accepted += 64 * 1024;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(350), fill).await.is_err());
    // The first 200 ms begin the upload; then twelve parts are under way, and the next waits.
    assert_eq!(accepted, 12 * 64 * 1024);
    drop(writer);
    home.assert_all_given_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_upload_and_a_long_download_take_flat_memory() {
    let store = TestStore::forgetful("s", S3_PARTS, Duration::from_millis(1));
    let home = Arc::new(home_with(&[("/", &store, "")], |settings| settings.transfer_memory = 128 * MIB));
    let lowest = Arc::new(AtomicU64::new(u64::MAX));
    let watch = {
        let (home, lowest) = (Arc::clone(&home), Arc::clone(&lowest));
        tokio::spawn(async move {
            loop {
                lowest.fetch_min(home.transfers.budget.free(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    upload_at_once(&home, 1, 20 << 30).await;
    let mut reader = home.vfs.open_read(&path("/0")).await.unwrap();
    assert_eq!(reader.attributes().size, 20 << 30);
    let mut at = 0;
    // A part of it shows the same as all of it.
    while at < 2 << 30 {
        at += reader.read_at(at, 256 * 1024).await.unwrap().len() as u64;
    }
    drop(reader);
    watch.abort();
    println!("at least {} of 128 MiB stayed free", lowest.load(Ordering::Relaxed) / MIB);
    home.assert_all_given_back().await;
}
