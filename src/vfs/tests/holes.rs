//! Bytes that nobody wrote, and stores that are full.

use std::sync::Arc;

use bytes::Bytes;

use crate::secret::Secret;
use crate::stores::{self, Key, Store, StoreErrorKind};

use super::super::Mount;
use super::home::{CHANGE, Home, MIB, NEW, home_of, path, pattern};
use super::store::TestStore;

fn open(url: String, options: &[(&str, &str)]) -> Arc<dyn Store> {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect();
    stores::open(&stores::Settings { name: "s".into(), url, options }).unwrap()
}

fn home_on(store: &Arc<dyn Store>, largest_hole: u64) -> Home {
    let mount = Mount { entry: path("/"), store: Arc::clone(store), target: Key::root() };
    home_of(vec![mount], |settings| settings.largest_hole = largest_hole)
}

/// Every kind of store: memory, a folder, and one that takes parts of 64 KiB.
fn every_store() -> (Vec<Arc<dyn Store>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let local = open(format!("file://{}", folder.path().display()), &[("fsync", "false")]);
    (vec![open("memory:///".into(), &[]), local, Arc::new(TestStore::remote("s"))], folder)
}

/// A sentence of docs/SEMANTICS.md.
#[tokio::test]
async fn bytes_that_a_client_skips_are_zeros() {
    let (stores, _folder) = every_store();
    for store in stores {
        let home = home_on(&store, MIB);
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        writer.write_at(0, Bytes::from_static(b"abc")).await.unwrap();
        writer.write_at(1000, Bytes::from_static(b"d")).await.unwrap();
        writer.set_length(300_000).await.unwrap();
        writer.commit().await.unwrap();
        let mut wanted = vec![0; 300_000];
        wanted[..3].copy_from_slice(b"abc");
        wanted[1000] = b'd';
        assert!(home.read("/f", 100_000).await.unwrap() == wanted, "{store:?}");
    }
}

/// A sentence of docs/SEMANTICS.md.
#[tokio::test]
async fn a_client_may_skip_at_most_limits_largest_hole_of_one_file_on_every_store_a_write() {
    let (stores, _folder) = every_store();
    for store in stores {
        let home = home_on(&store, MIB);
        let one = || Bytes::from_static(b"x");
        for far in [MIB + 1, 6 << 30, 1 << 38] {
            let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
            assert_eq!(writer.write_at(far, one()).await.unwrap_err().kind(), kind_at(&*store, far), "{store:?} {far}");
            assert!(writer.commit().await.is_err(), "what was lost is not published");
            assert!(home.vfs.stat(&path("/f")).await.is_err());
        }
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        writer.write_at(0, pattern(10)).await.unwrap();
        let error = writer.set_length(MIB + 11).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Hole);
        assert!(error.to_string().contains("limits.largest_hole"), "{error}");
        assert_eq!(writer.size(), 10, "the file is as it was");
        writer.set_length(MIB + 10).await.unwrap();
        assert_eq!(writer.set_length(MIB + 11).await.unwrap_err().kind(), StoreErrorKind::Hole, "they add up");
        // What is written in the hole is none any more.
        writer.write_at(100, pattern(50)).await.unwrap();
        writer.write_at(MIB + 60, one()).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(home.vfs.stat(&path("/f")).await.unwrap().size, MIB + 61);
        // A file that is there has no hole, whoever made it.
        let too_long = home.vfs.set_length(&path("/f"), 3 * MIB).await.unwrap_err();
        assert_eq!(too_long.kind(), StoreErrorKind::Hole);
        let mut writer = home.vfs.open_write(&path("/f"), CHANGE).await.unwrap();
        writer.write_at(2 * MIB, one()).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(home.vfs.stat(&path("/f")).await.unwrap().size, 2 * MIB + 1);
        home.assert_all_given_back().await;
    }
}

/// A store's largest object is judged first.
fn kind_at(store: &dyn Store, offset: u64) -> StoreErrorKind {
    if offset < store.part_limits().largest_object { StoreErrorKind::Hole } else { StoreErrorKind::TooLarge }
}

/// Random writes in pieces apart from each other are no hole once they are written, however many they are.
#[tokio::test]
async fn what_is_written_apart_counts_as_written() {
    let (stores, _folder) = every_store();
    for store in stores {
        let home = home_on(&store, 2 * MIB);
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        for n in 0..3000_u64 {
            writer.write_at(1000 * n + 500, pattern(500)).await.unwrap();
        }
        for n in 0..3000_u64 {
            writer.write_at(1000 * n, pattern(500)).await.unwrap();
        }
        writer.set_length(5 * MIB - 1000).await.unwrap_err();
        writer.write_at(3_000_000 + 2 * MIB, Bytes::from_static(b"x")).await.unwrap();
        writer.commit().await.unwrap();
    }
}

const FULL: StoreErrorKind = StoreErrorKind::NoSpace;

async fn free(home: &Home) -> u64 {
    home.vfs.capacity(&path("/")).await.unwrap().unwrap().free
}

/// A sentence of docs/SEMANTICS.md.
#[tokio::test]
async fn a_memory_store_holds_at_most_its_size_including_unfinished_uploads() {
    let store = open("memory:///".into(), &[("size", "16MiB")]);
    let home = home_on(&store, MIB);
    let data = pattern(6 * MIB as usize);
    let mut unfinished = home.vfs.open_write(&path("/unfinished"), NEW).await.unwrap();
    unfinished.write_at(0, data.clone()).await.unwrap();
    unfinished.write_at(6 * MIB, data.clone()).await.unwrap();
    // Two parts of 5 MiB are there, and 2 MiB wait here.
    assert!(free(&home).await <= 6 * MIB, "{} are free", free(&home).await);
    assert_eq!(home.write("/other", NEW, &pattern(8 * MIB as usize)).await.unwrap_err().kind(), FULL);
    home.write("/small", NEW, &data.slice(..1 << 20)).await.unwrap();
    unfinished.commit().await.unwrap();
    assert!(home.read("/unfinished", 1 << 20).await.unwrap() == [&data[..], &data[..]].concat());
    assert!(free(&home).await < 4 * MIB);
    // A new time takes no room, nor does a new name.
    let before = free(&home).await;
    home.vfs.set_mtime(&path("/unfinished"), std::time::UNIX_EPOCH, None).await.unwrap();
    home.vfs.rename(&path("/unfinished"), &path("/renamed-it"), stores::Existing::Refuse, None).await.unwrap();
    assert!(free(&home).await > before - 1024, "the bytes are not there twice");
    assert!(home.read("/renamed-it", 1 << 20).await.unwrap() == [&data[..], &data[..]].concat());
    home.vfs.remove_file(&path("/renamed-it")).await.unwrap();
    home.write("/other", NEW, &pattern(8 * MIB as usize)).await.unwrap();
    drop(home.vfs.open_write(&path("/cut"), NEW).await.unwrap());
    home.vfs.remove_file(&path("/other")).await.unwrap();
    home.vfs.remove_file(&path("/small")).await.unwrap();
    home.assert_all_given_back().await;
    assert_eq!(free(&home).await, 16 * MIB);
}

/// A sentence of docs/SEMANTICS.md.
#[tokio::test]
async fn when_it_is_full_writers_receive_no_space_left_and_df_shows_it() {
    let store = open("memory:///".into(), &[("size", "64KiB")]);
    let home = home_on(&store, MIB);
    // Files without a byte and directories take room as well.
    let mut made = 0_u64;
    let full = loop {
        let name = format!("/{made}");
        let outcome = match made % 2 {
            0 => home.vfs.make_directory(&path(&name)).await,
            _ => home.write(&name, NEW, &Bytes::new()).await.map(drop),
        };
        match outcome {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 1000, "nothing is ever full");
    };
    assert_eq!(full.kind(), FULL);
    assert!(full.to_string().contains("\"size\""), "{full}");
    assert!(free(&home).await < 1024);
    for number in 0..made {
        match number % 2 {
            0 => home.vfs.remove_directory(&path(&format!("/{number}"))).await.unwrap(),
            _ => home.vfs.remove_file(&path(&format!("/{number}"))).await.unwrap(),
        }
    }
    assert_eq!(free(&home).await, 64 << 10);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_gives_the_room_of_its_parts_back() {
    let store = open("memory:///".into(), &[("size", "16MiB")]);
    let home = home_on(&store, MIB);
    for _ in 0..4 {
        let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
        writer.write_at(0, pattern(12 * MIB as usize)).await.unwrap();
        writer.discard().await;
        assert_eq!(free(&home).await, 16 * MIB);
    }
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    let error = loop {
        if let Err(error) = writer.write_at(writer.size(), pattern(MIB as usize)).await {
            break error;
        }
    };
    assert_eq!(error.kind(), FULL);
    home.transfers.settled().await;
    assert_eq!(free(&home).await, 16 * MIB);
}

/// A name that is given in a store without a free byte takes the place of another one.
#[tokio::test]
async fn files_and_directories_of_a_full_memory_store_can_be_renamed() {
    let store = open("memory:///".into(), &[("size", "64KiB")]);
    let home = home_on(&store, MIB);
    home.vfs.make_directory(&path("/d")).await.unwrap();
    home.write("/d/f", NEW, &pattern(30_000)).await.unwrap();
    for n in 0.. {
        if home.write(&format!("/{n}"), NEW, &Bytes::new()).await.is_err() {
            break;
        }
    }
    let before = free(&home).await;
    assert!(before < 1024);
    for (from, to) in [("/d/f", "/d/g"), ("/d/g", "/d/f"), ("/d", "/e"), ("/e", "/d")] {
        home.vfs.rename(&path(from), &path(to), stores::Existing::Refuse, None).await.unwrap();
    }
    assert!(home.read("/d/f", 1 << 20).await.unwrap() == pattern(30_000));
    assert_eq!(home.write("/more", NEW, &Bytes::new()).await.unwrap_err().kind(), FULL);
    // A copy shares the bytes and has a name of its own; who is full gets none.
    assert_eq!(free(&home).await / 1024, before / 1024);
    home.vfs.remove_file(&path("/0")).await.unwrap();
    home.vfs.remove_file(&path("/d/f")).await.unwrap();
    home.write("/more", NEW, &pattern(30_000)).await.unwrap();
}

#[tokio::test]
async fn long_names_take_their_room() {
    let store = open("memory:///".into(), &[("size", "256KiB")]);
    let home = home_on(&store, MIB);
    // A name has 255 bytes at most.
    let long = vec!["n".repeat(225); 4].join("/");
    let mut made = 0;
    while home.write(&format!("/{long}{made}"), NEW, &Bytes::new()).await.is_ok() {
        made += 1;
        assert!(made < 150, "{made} names of 900 bytes in 256 KiB, each with as much again for the index");
    }
    assert!(made > 64, "{made}");
}
