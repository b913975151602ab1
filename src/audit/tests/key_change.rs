//! A key that changes while the recorder writes: among others' events and checkpoints, given up at any moment, and refused.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::chained::{Place, record};
use crate::audit::read::{Source, Span, Trail};
use crate::audit::verify::{Endorsed, Options, PublicKey, Report, Upkeep, verify, verify_live};
use crate::audit::{Noted, SigningKey, rotate};

fn public(folder: &Path) -> PublicKey {
    PublicKey::from_pem(&SigningKey::read(folder).unwrap().public()).unwrap()
}

/// The trail of a place by the key that somebody trusts.
fn verified(place: &Place, trusted: &PublicKey) -> Report {
    let noted = Some(Noted::read(place.folder.path()).unwrap());
    let options = Options { keys: vec![trusted.clone()], whole: true, noted, ..Options::default() };
    verify(&mut Trail::new(vec![Source::Files(vec![place.events()].into())], Span::default(), None), options, |_| ())
        .unwrap()
}

#[track_caller]
fn assert_follows(place: &Place, trusted: &PublicKey, keys: usize) {
    let report = verified(place, trusted);
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.chains.len(), 1);
    assert_eq!(report.chains[0].signers.len(), keys, "{report}");
}

/// Checkpoints are made all the time, and each is signed by the key that it names and none by one that was followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_change_among_events_and_checkpoints() {
    let mut place = Place::new();
    place.every = Duration::from_millis(1);
    let folder = place.folder.path();
    let first = public(folder);
    let recorder = place.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for number in 0..4 {
        let (recorder, stop) = (recorder.clone(), Arc::clone(&stop));
        workers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                record(&recorder, &format!("w{number}")).await.unwrap();
                tokio::task::yield_now().await;
            }
        }));
    }
    for _ in 0..8 {
        let rotated = rotate(folder).unwrap();
        // Two reloads at once: one of them takes it, the other finds it taken.
        let (one, other) = tokio::join!(recorder.take_key(), recorder.take_key());
        let taken = one.unwrap().or(other.unwrap());
        assert_eq!(taken.as_deref(), Some(rotated.new.as_str()));
        assert_eq!(recorder.chain().key, Some(rotated.new));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    recorder.close().await;
    assert_follows(&place, &first, 9);
    let changes = place.lines().iter().filter(|line| line.contains("\"reason\":\"key-change\"")).count();
    assert_eq!(changes, 8);
}

/// A reload that another one replaces, and a process that is killed, at each step of the change.
#[tokio::test]
async fn a_change_that_is_given_up_at_any_moment_leaves_the_trail_whole() {
    let place = Place::new();
    let folder = place.folder.path();
    let first = public(folder);
    let (mut keys, mut finished) = (1, false);
    for polls in 0..50 {
        let recorder = place.start().await;
        record(&recorder, "before").await.unwrap();
        rotate(folder).unwrap();
        keys += 1;
        finished = give_up_after(recorder.take_key(), polls).await;
        record(&recorder, "after").await.unwrap();
        match polls % 2 {
            0 => recorder.close().await,
            // As one that is killed.
            _ => drop(recorder),
        }
        if finished {
            break;
        }
    }
    assert!(finished, "the change comes to its end");
    // With its start, the next process takes what was left.
    place.start().await.close().await;
    assert_follows(&place, &first, keys);
}

/// Drops it after so many polls; whether it was finished before.
async fn give_up_after<T>(work: impl Future<Output = T>, polls: usize) -> bool {
    let mut work = pin!(work);
    for _ in 0..polls {
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_key_that_nobody_endorses_is_refused_and_told() {
    let place = Place::new();
    let folder = place.folder.path();
    let first = public(folder);
    let recorder = place.start().await;
    assert_eq!(recorder.take_key().await, Ok(None), "it is the same");
    let private = SigningKey::private_in(folder);
    let own = fs::read(&private).unwrap();
    fs::write(&private, SigningKey::make().unwrap().private.as_bytes()).unwrap();
    let why = recorder.take_key().await.unwrap_err();
    assert!(why.contains("does not endorse") && why.contains("rotate-key"), "{why}");
    // Endorsed by the stranger's only.
    rotate(folder).unwrap();
    assert!(recorder.take_key().await.unwrap_err().contains("does not endorse"));
    fs::remove_file(&private).unwrap();
    assert!(recorder.take_key().await.unwrap_err().contains("is missing"));
    assert_eq!(recorder.chain().key, Some(first.fingerprint()));
    fs::write(&private, own).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(SigningKey::public_in(folder)).unwrap();
    recorder.close().await;
    assert_follows(&place, &first, 1);
    let told = |line: &&String| line.contains("\"activity-type\":\"ERROR\"") && line.contains("\"CHANGE_KEY\"");
    assert_eq!(place.lines().iter().filter(told).count(), 3);
    // Afterwards a right change is taken.
    let recorder = place.start().await;
    let rotated = rotate(folder).unwrap();
    assert_eq!(recorder.take_key().await, Ok(Some(rotated.new)));
    recorder.close().await;
    assert_follows(&place, &first, 2);
}

/// More changes than a checkpoint shows: the gateway verifies its own trail, and so does whoever has the first key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_changes_very_often_can_still_be_followed() {
    const CHANGES: usize = 36;
    let place = Place::new();
    let folder = place.folder.path();
    let first = public(folder);
    let recorder = place.start().await;
    for _ in 0..CHANGES {
        rotate(folder).unwrap();
        recorder.take_key().await.unwrap().unwrap();
    }
    record(&recorder, "last").await.unwrap();
    recorder.close().await;
    assert_follows(&place, &first, CHANGES + 1);
    let report = verify_live(&place.events(), Some(&Upkeep { folder: folder.to_owned() }), |_| ()).unwrap();
    assert!(report.is_whole(), "{report}");
    // The earlier files are gone.
    let lines = place.lines();
    let rest = lines[lines.len() - 3..].join("\n") + "\n";
    let late = |endorsed| {
        let source = Source::Stream("late".into(), Box::new(std::io::Cursor::new(rest.clone())));
        let options = Options { keys: vec![first.clone()], endorsed, ..Options::default() };
        verify(&mut Trail::new(vec![source], Span::default(), None), options, |_| ()).unwrap()
    };
    let report = late(Endorsed::default());
    assert!(!report.is_whole() && report.to_string().contains("changed it more than 32 times"), "{report}");
    let report = late(Endorsed::read(folder).unwrap());
    assert!(report.is_whole(), "{report}");
    // Of a thief of the first key, who endorses a key with it, the folder says another one.
    assert!(late_fork(&place, &first, &rest).to_string().contains("in the audit folder"));
}

/// The rest of a trail, by a folder in which the last but one key endorses another key than the trail shows.
fn late_fork(place: &Place, first: &PublicKey, rest: &str) -> Report {
    let folder = place.folder.path();
    let path = folder.join("signing_key.endorsed");
    let all = fs::read_to_string(&path).unwrap();
    let present = fs::read(SigningKey::private_in(folder)).unwrap();
    // The present key, changed twice from the same copy: the second one stands in the folder, the first one is shown.
    rotate(folder).unwrap();
    let shown = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
    fs::write(SigningKey::private_in(folder), present).unwrap();
    fs::remove_file(SigningKey::public_in(folder)).unwrap();
    fs::write(&path, all).unwrap();
    rotate(folder).unwrap();
    let forged = rest.replacen("\"key-endorsements\":\"", &format!("\"key-endorsements\":\"{shown} "), 1);
    assert_ne!(forged, rest);
    let source = Source::Stream("forged".into(), Box::new(std::io::Cursor::new(forged)));
    let endorsed = Endorsed::read(folder).unwrap();
    let options = Options { keys: vec![first.clone()], endorsed, ..Options::default() };
    verify(&mut Trail::new(vec![source], Span::default(), None), options, |_| ()).unwrap()
}
