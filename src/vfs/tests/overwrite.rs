//! Overwriting in place from the start, as `scp` over SFTP does: it opens without truncating, writes in order, and cuts the
//! file to length at the end.

use bytes::Bytes;

use super::home::{CHANGE, home, path, pattern};
use super::store::TestStore;
use crate::stores::StoreErrorKind;

const PART: usize = 64 * 1024;

fn reversed(length: usize) -> Bytes {
    let mut data = pattern(length).to_vec();
    data.reverse();
    data.into()
}

fn stores() -> [TestStore; 2] {
    [TestStore::remote("s"), TestStore::local("s")]
}

#[tokio::test]
async fn the_old_content_is_not_fetched_when_all_of_it_is_overwritten() {
    for store in stores() {
        for (old, new) in [(PART * 5, PART * 4 + 7), (PART * 5, PART * 5), (100, 50), (PART * 4, 10)] {
            store.set("f", pattern(old));
            let home = home(&[("/", &store, "")]);
            let data = reversed(new);
            let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
            for (index, piece) in data.chunks(10_000).enumerate() {
                writer.write_at(index as u64 * 10_000, Bytes::copy_from_slice(piece)).await.unwrap();
                assert_eq!(writer.size(), old.max(index * 10_000 + piece.len()) as u64);
            }
            writer.set_length(new as u64).await.unwrap();
            assert_eq!(writer.size(), new as u64);
            assert_eq!(writer.commit().await.unwrap().size, new as u64);
            assert_eq!(store.get("f").unwrap(), data);
            assert_eq!(store.reads(), [], "{old} {new}");
            home.assert_all_given_back().await;
        }
    }
}

#[tokio::test]
async fn what_was_not_reached_of_the_old_content_stays() {
    for store in stores() {
        for (old, new) in [(PART * 5, PART * 2 + 7), (100, 50), (PART * 5, 10), (10, PART * 3)] {
            let (before, data) = (pattern(old), reversed(new));
            store.set("f", before.clone());
            let home = home(&[("/", &store, "")]);
            home.write("/f", CHANGE, &data).await.unwrap();
            let mut expected = before.to_vec();
            expected.resize(old.max(new), 0);
            expected[..new].copy_from_slice(&data);
            assert_eq!(store.get("f").unwrap(), expected, "{old} {new}");
            home.assert_all_given_back().await;
        }
    }
}

#[tokio::test]
async fn a_length_between_what_was_written_and_the_old_end_keeps_old_bytes() {
    for store in stores() {
        store.set("f", pattern(PART * 3));
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        writer.write_at(0, reversed(PART)).await.unwrap();
        writer.set_length(PART as u64 * 2).await.unwrap();
        writer.commit().await.unwrap();
        let mut expected = pattern(PART * 3)[..PART * 2].to_vec();
        expected[..PART].copy_from_slice(&reversed(PART));
        assert_eq!(store.get("f").unwrap(), expected);
    }
}

#[tokio::test]
async fn a_jump_after_an_ordered_start_keeps_what_lies_between() {
    for store in stores() {
        let old = pattern(PART * 4);
        store.set("f", old.clone());
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        writer.write_at(0, reversed(1000)).await.unwrap();
        writer.write_at(PART as u64 * 3, reversed(500)).await.unwrap();
        writer.write_at(1000, reversed(24)).await.unwrap();
        writer.commit().await.unwrap();
        let mut expected = old.to_vec();
        expected[..1000].copy_from_slice(&reversed(1000));
        expected[PART * 3..PART * 3 + 500].copy_from_slice(&reversed(500));
        expected[1000..1024].copy_from_slice(&reversed(24));
        assert_eq!(store.get("f").unwrap(), expected);
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn what_was_not_reached_of_the_old_content_is_read_back_with_what_was_written() {
    for store in stores() {
        let old = pattern(PART * 4);
        store.set("f", old.clone());
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        let mut expected = old.to_vec();
        for (written, more) in [(0, 1000), (1000, 500)] {
            let data = reversed(written + more).slice(written..);
            expected[written..written + more].copy_from_slice(&data);
            writer.write_at(written as u64, data).await.unwrap();
            for (from, length) in [(PART * 2, 100), (500, 2000), (0, 10), (PART * 4 - 10, 100), (written + more, 1)] {
                let end = expected.len().min(from + length);
                assert_eq!(
                    writer.read_back(from as u64, length).await.unwrap(),
                    expected[from..end],
                    "{from} {length}"
                );
            }
        }
        writer.commit().await.unwrap();
        assert_eq!(store.get("f").unwrap(), expected);
        home.assert_all_given_back().await;
    }
}

#[tokio::test]
async fn a_reader_who_fails_on_the_old_content_leaves_the_upload_as_it_was() {
    for store in stores() {
        let old = pattern(PART * 4);
        store.set("f", old.clone());
        let home = home(&[("/", &store, "")]);
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        let mut expected = old.to_vec();
        expected[..1000].copy_from_slice(&reversed(1000));
        writer.write_at(0, reversed(1000)).await.unwrap();
        for (from, length) in [(PART * 2, 100), (500, 2000)] {
            store.fail("read", 0, 1);
            let error = writer.read_back(from as u64, length).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{from}");
            assert_eq!(writer.read_back(from as u64, length).await.unwrap(), expected[from..from + length]);
        }
        expected[1000..3000].fill(7);
        writer.write_at(1000, Bytes::from(vec![7; 2000])).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(store.get("f").unwrap(), expected);
        home.assert_all_given_back().await;
    }
}

/// A reader makes the file one that is written in any order, with the length that was asked for before.
#[tokio::test]
async fn a_length_that_cannot_be_set_for_a_reader_is_never_forgotten() {
    let store = TestStore::local("s");
    let home = home(&[("/", &store, "")]);
    let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
    writer.write_at(0, pattern(1000)).await.unwrap();
    writer.set_length(100_000).await.unwrap();
    store.fail_as("set_length", StoreErrorKind::Unsupported, 0, 1);
    assert_eq!(writer.read_back(0, 10).await.unwrap_err().kind(), StoreErrorKind::Unsupported);
    assert!(writer.commit().await.is_err());
    assert_eq!(store.get("f"), None);
    home.assert_all_given_back().await;
}
