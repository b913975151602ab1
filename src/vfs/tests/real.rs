//! The same over the stores that are really used: a local folder and the memory store.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::secret::Secret;
use crate::stores::{self, Existing, Key, Kind, StoreErrorKind};

use super::super::{Mount, Vfs, WriteMode};
use super::home::{CHANGE, Home, MIB, NEW, home_of, path, pattern};

/// A home with a local store at `/` and a memory store at `/memory`.
fn real_home() -> (Home, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let local = format!("file://{}", folder.path().display());
    let fsync = vec![("fsync".to_owned(), Secret::new("false".to_owned()))];
    let mounts = [("/", "local", local, fsync), ("/memory", "memory", "memory:///".into(), Vec::new())];
    let mounts = mounts.map(|(entry, name, url, options)| {
        let store = stores::open(&stores::Settings { name: name.into(), url, options }).unwrap();
        Mount { entry: path(entry), store, target: Key::root() }
    });
    (home_of(mounts.to_vec(), |settings| settings.transfer_memory = 256 * MIB), folder)
}

#[tokio::test]
async fn files_of_every_size_come_back_as_they_went() {
    let (home, _folder) = real_home();
    for directory in ["", "/memory"] {
        for size in [0, 1, 32 * 1024 - 1, 32 * 1024 + 1, 64 * 1024 + 1, 5 * 1024 * 1024 + 1, 23_456_789] {
            let name = format!("{directory}/new/f{size}");
            let data = pattern(size);
            assert_eq!(home.write(&name, NEW, &data).await.unwrap().size, size as u64);
            assert_eq!(home.vfs.stat(&path(&name)).await.unwrap().size, size as u64);
            assert!(home.read(&name, 100_000).await.unwrap() == data, "{name}");
        }
    }
    home.assert_all_given_back().await;
}

#[tokio::test]
async fn append_change_exclusive_and_read_write_work() {
    let (home, _folder) = real_home();
    for directory in ["", "/memory"] {
        let name = format!("{directory}/f");
        let data = pattern(6_000_000);
        home.write(&name, NEW, &data.slice(..5_500_000)).await.unwrap();
        let mut writer = home.vfs.open_write(&path(&name), CHANGE).await.unwrap();
        writer.write_at(5_500_000, data.slice(5_500_000..)).await.unwrap();
        writer.commit().await.unwrap();
        assert!(home.read(&name, 100_000).await.unwrap() == data);
        let mut writer = home.vfs.open_write(&path(&name), WriteMode { read: true, ..CHANGE }).await.unwrap();
        writer.write_at(10, Bytes::from_static(b"changed")).await.unwrap();
        assert_eq!(writer.read_back(10, 7).await.unwrap(), "changed");
        assert_eq!(writer.read_back(17, 100).await.unwrap(), data[17..117]);
        writer.set_length(20).await.unwrap();
        writer.commit().await.unwrap();
        let expected = [&data[..10], b"changed", &data[17..20]].concat();
        assert_eq!(home.read(&name, 100).await.unwrap(), expected);
        let mode = WriteMode { existing: Existing::Refuse, ..NEW };
        let error = home.vfs.open_write(&path(&name), mode).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
    }
}

#[tokio::test]
async fn directories_rename_and_times_work_across_the_stores() {
    let (home, folder) = real_home();
    let vfs: &Vfs = &home.vfs;
    vfs.make_directory(&path("/d")).await.unwrap();
    vfs.make_directory(&path("/d/e")).await.unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in ["/d/a", "/d/e/b", "/d/e/x#1", "/d/e/ %2F~*["] {
        home.write(name, NEW, &pattern(100_000)).await.unwrap();
        assert!(vfs.set_mtime(&path(name), then, None).await.unwrap().is_some());
    }
    vfs.rename(&path("/d"), &path("/memory/d"), Existing::Refuse, None).await.unwrap();
    assert_eq!(vfs.stat(&path("/d")).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let mut names = home.names("/memory/d/e").await.unwrap();
    names.sort();
    assert_eq!(names, [" %2F~*[", "b", "x#1"]);
    assert_eq!(vfs.stat(&path("/memory/d/e/b")).await.unwrap().mtime, Some(then));
    vfs.rename(&path("/memory/d"), &path("/back"), Existing::Refuse, None).await.unwrap();
    assert_eq!(home.names("/memory").await.unwrap(), [""; 0]);
    assert_eq!(std::fs::metadata(folder.path().join("back/e/x#1")).unwrap().modified().unwrap(), then);
    assert_eq!(vfs.remove_directory(&path("/back")).await.unwrap_err().kind(), StoreErrorKind::DirectoryNotEmpty);
    assert_eq!(vfs.open_write(&path("/back"), NEW).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    assert_eq!(vfs.open_read(&path("/back")).await.unwrap_err().kind(), StoreErrorKind::IsADirectory);
    let below_a_file = home.write("/back/a/x", NEW, &pattern(10)).await.unwrap_err();
    assert_eq!(below_a_file.kind(), StoreErrorKind::NotADirectory);
    assert_eq!(home.names("/back/a").await.unwrap_err().kind(), StoreErrorKind::NotADirectory);
    assert_eq!(vfs.stat(&path("/memory")).await.unwrap().kind, Kind::Directory);
    home.assert_all_given_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_file_moves_in_pieces_of_32_kib_without_a_hop_a_piece() {
    let (home, _folder) = real_home();
    const SIZE: u64 = 512 * MIB;
    let data = pattern(32 * 1024);
    let started = Instant::now();
    let mut writer = home.vfs.open_write(&path("/f"), NEW).await.unwrap();
    for at in (0..SIZE).step_by(data.len()) {
        writer.write_at(at, data.clone()).await.unwrap();
    }
    writer.commit().await.unwrap();
    let wrote = started.elapsed();
    let started = Instant::now();
    let mut reader = home.vfs.open_read(&path("/f")).await.unwrap();
    for at in (0..SIZE).step_by(data.len()) {
        assert_eq!(reader.read_at(at, data.len()).await.unwrap().len(), data.len());
    }
    let read = started.elapsed();
    let rate = |time: Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    println!("local, pieces of 32 KiB: wrote {:.0} MB/s, read {:.0} MB/s", rate(wrote), rate(read));
}
