//! Downloads: offsets, read-ahead, and files that are replaced meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bench::{Behind, Bench, Builder, Finish, assert_same, shared};
use crate::support::data::{KIB, MIB, noise};
use crate::support::plain_proxy::{Proxy, Request};
use crate::support::s3;
use crate::support::sftp::{Handle, PIECE, Sftp};

#[test]
fn a_client_may_read_from_any_offset_in_any_order() {
    shared().on_every_store(|place, session| {
        let data = noise(3 * MIB + 17, 1);
        session.put(&place.path("file"), &data);
        let handle = session.open_to_read(&place.path("file"));
        let mut check = |offset: usize, length: usize| {
            let end = data.len().min(offset + length);
            let expected = data.get(offset..end).unwrap_or(&[]);
            assert_same(&session.read(&handle, offset as u64, length).unwrap(), expected);
        };
        // Backwards, here and there, the same again, across the end, beyond it.
        for offset in (0..data.len()).step_by(200_000).rev() {
            check(offset, 200_000);
        }
        for i in 0..60 {
            check(i * 7_654_321 % data.len(), 1 + i * 4_001);
        }
        for offset in [0, 0, data.len() - 1, data.len() - 10, data.len(), data.len() + 1, 1 << 40] {
            check(offset, 100_000);
        }
        session.close(&handle).unwrap();
    });
}

/// First and last byte of what was fetched.
fn fetched(proxy: &Proxy) -> Vec<(u64, u64)> {
    let gets = proxy.requests().into_iter().filter(|r| r.method == "GET" && !r.target.contains("list-type"));
    gets.map(|request| request.range().unwrap_or((0, u64::MAX))).collect()
}

fn behind_proxy(change: impl FnOnce(&mut crate::support::setup::Setup)) -> (Proxy, Bench) {
    let proxy = Proxy::start(s3::new_store().port());
    let bench = Builder::new().s3_through(&proxy, &[]).change(change).start();
    (proxy, bench)
}

#[test]
fn a_resumed_download_fetches_from_its_offset() {
    let data = noise(8 * MIB, 2);
    let from = 5 * MIB + 1;
    let (proxy, bench) = behind_proxy(|_| {});
    bench.on_every_store(|place, session| {
        session.put(&place.path("file"), &data);
        proxy.forget();
        let handle = session.open_to_read(&place.path("file"));
        assert_same(&session.read_from(&handle, from).unwrap(), &data[from as usize..]);
        session.close(&handle).unwrap();
        let ranges = fetched(&proxy);
        let bytes: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
        assert!(ranges.iter().all(|(first, _)| *first >= from), "{ranges:?}");
        assert_eq!(bytes, 8 * MIB - from, "{ranges:?}");
    });
    // OpenSSH's way, from every store.
    shared().on_every_store(|place, session| {
        session.put(&place.path("file"), &data);
        let copy = place.bench.setup.folder().join(format!("reget-{}", &place.store[1..]));
        std::fs::write(&copy, &data[..from as usize]).unwrap();
        place.bench.client().sftp(&format!("reget {} {}\n", place.path("file"), copy.display())).succeeded();
        assert_same(&std::fs::read(&copy).unwrap(), &data);
        let wanted = (8 * MIB - from).to_string();
        place.await_event("CLOSE", "file", |event| event["bytes-out"] == wanted.as_str());
    });
}

/// Reads from the start to the end, one piece after the other; how far ahead the store was asked at most.
#[track_caller]
fn read_in_order(session: &mut Sftp, handle: &Handle, data: &[u8], proxy: &Proxy) -> u64 {
    let mut most = 0;
    let mut position = 0;
    while position < data.len() {
        let piece = session.read(handle, position as u64, PIECE).unwrap();
        assert_same(&piece, &data[position..data.len().min(position + PIECE)]);
        position += piece.len();
        let furthest = fetched(proxy).iter().map(|(_, last)| last + 1).max().unwrap_or(0);
        most = most.max(furthest.saturating_sub(position as u64));
    }
    most
}

#[test]
fn a_client_that_reads_in_order_gets_read_ahead_that_grows_with_the_stores_latency() {
    let (proxy, bench) = behind_proxy(|_| {});
    bench.on_every_store(|place, session| {
        let data = noise(32 * MIB, 3);
        session.put(&place.path("file"), &data);
        let handle = session.open_to_read(&place.path("file"));
        proxy.forget();
        proxy.delay(Duration::from_millis(50));
        let ahead = read_in_order(session, &handle, &data, &proxy);
        let ranges = fetched(&proxy);
        let requests = proxy.requests();
        proxy.delay(Duration::ZERO);
        // It begins with little and goes on with more than one latency's worth.
        assert!(ranges[0].1 - ranges[0].0 < MIB, "{ranges:?}");
        assert!(ahead >= 8 * MIB, "{ahead} bytes ahead at most: {ranges:?}");
        let at_once = |began| {
            let under_way = |other: &&Request| other.began <= began && other.ended.is_none_or(|end| end > began);
            requests.iter().filter(under_way).count()
        };
        assert!(requests.iter().map(|request| at_once(request.began)).max() > Some(1), "one after the other");
        assert!(ranges.len() < data.len().div_ceil(PIECE) / 2, "{} requests", ranges.len());
        // Who reads here and there gets none.
        proxy.forget();
        let handle = session.open_to_read(&place.path("file"));
        for offset in [20 * MIB, 9 * MIB, 17 * MIB, 3 * MIB, 26 * MIB, 6 * MIB] {
            session.read(&handle, offset, 1000).unwrap();
        }
        let bytes: u64 = fetched(&proxy).iter().map(|(first, last)| last - first + 1).sum();
        assert!(bytes < MIB, "{bytes} bytes were fetched for 6,000");
    });
}

#[test]
fn read_ahead_stays_within_the_memory_budget() {
    let (proxy, bench) = behind_proxy(|setup| setup.limit("transfer_memory", "16MiB"));
    bench.on_every_store(|place, session| {
        let data = noise(8 * MIB, 4);
        session.put(&place.path("file"), &data);
        proxy.forget();
        proxy.delay(Duration::from_millis(30));
        // One reader may have an eighth.
        let handle = session.open_to_read(&place.path("file"));
        let ahead = read_in_order(session, &handle, &data, &proxy);
        session.close(&handle).unwrap();
        assert!((MIB..=2 * MIB + PIECE as u64).contains(&ahead), "{ahead} bytes ahead");
        // All together may have a half.
        let paths: Vec<String> = (0..12).map(|i| place.path(&format!("file-{i}"))).collect();
        proxy.delay(Duration::ZERO);
        for path in &paths {
            session.put(path, &data);
        }
        proxy.forget();
        proxy.delay(Duration::from_millis(30));
        let handles: Vec<Handle> = paths.iter().map(|path| session.open_to_read(path)).collect();
        for i in 0..8 {
            for handle in &handles {
                let offset = i * PIECE;
                assert_same(&session.read(handle, offset as u64, PIECE).unwrap(), &data[offset..offset + PIECE]);
            }
            let position = ((i + 1) * PIECE) as u64;
            let ahead = |path: &String| {
                let name = path.rsplit('/').next().unwrap();
                let ends = proxy.requests().into_iter().filter(|request| request.target.ends_with(name));
                ends.filter_map(|request| request.range())
                    .map(|(_, last)| (last + 1).saturating_sub(position))
                    .max()
                    .unwrap_or(0)
            };
            let together: u64 = paths.iter().map(ahead).sum();
            assert!(together <= 8 * MIB + 12 * 256 * KIB, "{together} bytes ahead");
        }
        proxy.delay(Duration::ZERO);
    });
}

#[test]
fn if_the_file_is_replaced_meanwhile_the_reader_receives_the_old_bytes_or_an_error() {
    shared().on_every_store(|place, session| {
        let path = place.path("file");
        let size = 6 * MIB;
        let versions: Vec<Vec<u8>> = (0..3).map(|seed| noise(size, 50 + seed)).collect();
        session.put(&path, &versions[0]);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut writer = place.bench.connect();
            let (done, versions, path) = (&done, &versions, &path);
            let replacing = scope.spawn(move || replace_until(done, &mut writer, place.behind, path, versions));
            let finish = Finish(done);
            for round in 0..5 {
                read_one_version(session, path, versions, round % 2 == 0);
            }
            drop(finish);
            let replaced = replacing.join().unwrap();
            assert!(replaced >= 3, "the file was replaced {replaced} times only");
        });
    });
}

/// Replaces a file again and again, by an upload, by a rename, after a removal. How often.
fn replace_until(done: &AtomicBool, writer: &mut Sftp, behind: &Behind, path: &str, versions: &[Vec<u8>]) -> usize {
    let mut count = 0;
    while !done.load(Ordering::Relaxed) || count < 3 {
        let version = &versions[count % versions.len()];
        match count % 3 {
            0 => writer.put(path, version),
            1 => {
                let beside = format!("{path}-beside");
                writer.put(&beside, version);
                writer.posix_rename(&beside, path).unwrap();
            }
            // A removal leaves a moment in which there is none, which the reader minds at OPEN only.
            _ if matches!(behind, Behind::Memory) => writer.put(path, version),
            _ => {
                writer.remove(path).unwrap();
                writer.put(path, version);
            }
        }
        count += 1;
    }
    count
}

/// Reads a file in one go or here and there; all bytes must be of one version, up to an error.
#[track_caller]
fn read_one_version(session: &mut Sftp, path: &str, versions: &[Vec<u8>], in_order: bool) {
    let Ok(handle) = session.open(path, 1) else { return };
    let pieces = versions[0].len().div_ceil(PIECE);
    let mut still: Vec<&Vec<u8>> = versions.iter().collect();
    for i in 0..pieces {
        let piece = if in_order { i } else { i * 7 % pieces };
        let offset = piece * PIECE;
        let end = versions[0].len().min(offset + PIECE);
        let Ok(data) = session.read(&handle, offset as u64, PIECE) else { break };
        still.retain(|version| data == version[offset..end]);
        assert!(!still.is_empty(), "the bytes from {offset} are not of the version that was read before");
    }
    session.close(&handle).unwrap();
}
