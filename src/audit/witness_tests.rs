//! A witness over a store that refuses, hangs and loses answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::audit::SigningKey;
use crate::audit::chain::{Hash, Position};
use crate::audit::verify::PublicKey;

/// Objects in memory, and what goes wrong with the next writes.
#[derive(Debug, Default)]
struct Moody {
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// One for each write; then all is well.
    troubles: Mutex<Vec<Trouble>>,
    /// What happens to whoever lists.
    listing: Option<Trouble>,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Refuses,
    Hangs,
    /// The object is kept, and the answer lost.
    LosesAnswer,
}

impl Moody {
    fn with(troubles: &[Trouble]) -> Arc<Moody> {
        Arc::new(Moody { troubles: Mutex::new(troubles.iter().rev().copied().collect()), ..Moody::default() })
    }

    fn sequences(&self) -> Vec<u64> {
        let objects = self.objects.lock().unwrap();
        objects.values().map(|line| Seal::read(line).unwrap().at.sequence).collect()
    }
}

#[async_trait]
impl Archive for Moody {
    fn describe(&self) -> String {
        "memory".into()
    }

    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()> {
        let trouble = self.troubles.lock().unwrap().pop();
        match trouble {
            Some(Trouble::Refuses) => return Err(io::Error::other("no")),
            Some(Trouble::Hangs) => std::future::pending().await,
            Some(Trouble::LosesAnswer) | None => {}
        }
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        objects.insert(name.to_owned(), content);
        if trouble.is_some() { Err(io::Error::other("the answer is lost")) } else { Ok(()) }
    }

    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        match self.listing {
            Some(Trouble::Hangs) => std::future::pending().await,
            Some(_) => return Err(io::ErrorKind::PermissionDenied.into()),
            None => {}
        }
        Ok(self.objects.lock().unwrap().iter().map(|(name, line)| (name.clone(), line.len() as u64)).collect())
    }

    async fn get(&self, name: &str, _: u64) -> io::Result<Bytes> {
        self.objects.lock().unwrap().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn checkpoint(sequence: u64, reason: &str) -> Vec<u8> {
    let line = format!(
        "{{\"activity-type\":\"CHECKPOINT\",\"timestamp\":\"2026-07-31T08:15:30.000Z\",\"server\":\"edge-1\",\"chain\":\"c\",\
         \"reason\":\"{reason}\",\"checkpoint-key\":\"{}\",\"sequence\":{sequence},\"previous\":\"{}\"}}",
        PublicKey::from_pem(&SigningKey::of_tests().public()).unwrap().fingerprint(),
        Hash::of_line(&sequence.to_le_bytes()),
    );
    let signature = SigningKey::of_tests().sign(line.as_bytes());
    format!("{},\"signature\":\"{signature}\"}}\n", line.strip_suffix('}').unwrap()).into_bytes()
}

fn witness(archive: &Arc<Moody>, every: Duration) -> Witness {
    let place = ArchivePlace { store: "vault".into(), folder: "w".into(), lock: None };
    let settings = WitnessSettings { place, every, judges_readiness: false };
    Witness::start(&settings, Arc::clone(archive) as Arc<dyn Archive>, None)
}

/// Until a condition holds; a limit for hangs only.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what} does not come about");
}

#[tokio::test]
async fn the_first_and_the_last_checkpoint_are_written_and_of_those_between_the_newest() {
    let archive = Moody::with(&[]);
    let witness = witness(&archive, Duration::from_secs(3600));
    witness.offer(&checkpoint(1, "start"));
    until("the first", || archive.sequences() == [1]).await;
    for sequence in 2..=9 {
        witness.offer(&checkpoint(sequence, "interval"));
    }
    assert!(witness.state().is_behind);
    witness.offer(&checkpoint(10, "shutdown"));
    witness.finish().await;
    assert_eq!(archive.sequences(), [1, 10]);
    let name = archive.objects.lock().unwrap().keys().next().unwrap().clone();
    assert!(name.starts_with("edge-1/c/00000000000000000001-") && name.ends_with(".json"), "{name}");
    let state = witness.state();
    assert_eq!((state.written.unwrap().0, state.failure, state.is_behind), (10, None, false));
}

#[tokio::test]
async fn what_waits_at_the_end_is_written_without_a_pause() {
    let archive = Moody::with(&[]);
    let witness = witness(&archive, Duration::from_secs(3600));
    witness.offer(&checkpoint(1, "start"));
    until("the first", || archive.sequences() == [1]).await;
    witness.offer(&checkpoint(5, "interval"));
    witness.finish().await;
    assert_eq!(archive.sequences(), [1, 5]);
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_and_a_lost_answer_is_no_second_object() {
    let archive = Moody::with(&[Trouble::Refuses, Trouble::LosesAnswer]);
    let witness = witness(&archive, Duration::from_secs(1));
    witness.offer(&checkpoint(1, "start"));
    until("a failure", || witness.state().failure.is_some()).await;
    until("the first", || witness.state().written.is_some()).await;
    assert_eq!(archive.sequences(), [1]);
    assert_eq!(witness.state().failure, None);
}

#[tokio::test]
async fn a_store_that_hangs_holds_up_the_end_no_longer_than_who_waits_wants() {
    let archive = Moody::with(&[Trouble::Hangs]);
    let witness = witness(&archive, Duration::from_secs(1));
    witness.offer(&checkpoint(1, "start"));
    until("the write", || archive.troubles.lock().unwrap().is_empty()).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), witness.finish()).await.is_err());
    assert!(archive.sequences().is_empty() && witness.state().is_behind);
}

#[tokio::test]
async fn something_else_under_the_name_is_a_failure_that_is_told() {
    let archive = Moody::with(&[]);
    let line = checkpoint(1, "start");
    archive.objects.lock().unwrap().insert(Seal::read(&line).unwrap().name(), Bytes::from_static(b"{}\n"));
    let witness = witness(&archive, Duration::from_secs(1));
    witness.offer(&line);
    until("the failure", || witness.state().failure.is_some()).await;
    assert!(witness.state().failure.unwrap().contains("somebody else wrote it"));
}

#[tokio::test]
async fn a_first_one_that_cannot_be_written_gives_its_place_to_a_newer_one() {
    let archive = Moody::with(&[]);
    let line = checkpoint(1, "start");
    let name = Seal::read(&line).unwrap().name();
    let foreign = Bytes::from_static(b"{}\n");
    archive.objects.lock().unwrap().insert(name.clone(), foreign.clone());
    let witness = witness(&archive, Duration::from_millis(1));
    witness.offer(&line);
    until("the failure", || witness.state().failure.is_some()).await;
    witness.offer(&checkpoint(2, "interval"));
    until("the newer one", || witness.state().written.is_some_and(|(sequence, _)| sequence == 2)).await;
    let state = witness.state();
    assert_eq!((state.failure, state.is_behind), (None, false));
    assert_eq!(archive.objects.lock().unwrap().get(&name), Some(&foreign));
}

/// Where a chain goes on, in no file.
fn before(chain: &str, last: &[u8]) -> Before {
    let last = Seal::read(last).unwrap().at;
    let keys = vec![SigningKey::of_tests().raw_public()];
    Before { server: "edge-1".into(), chain: chain.into(), last, keys, files: Vec::new() }
}

async fn contradiction(archive: &Arc<Moody>, before: &Before) -> Option<String> {
    before.contradiction(&(Arc::clone(archive) as Arc<dyn Archive>)).await.unwrap()
}

fn keep(archive: &Moody, line: &[u8]) {
    let name = Seal::read(line).unwrap().name();
    archive.objects.lock().unwrap().insert(name, Bytes::copy_from_slice(line));
}

#[tokio::test]
async fn what_was_seen_before_is_beside_where_the_chain_goes_on() {
    let archive = Moody::with(&[]);
    let at = |sequence| checkpoint(sequence, "shutdown");
    assert_eq!(contradiction(&archive, &before("c", &at(5))).await, None, "it is empty");
    keep(&archive, &at(3));
    keep(&archive, &at(5));
    archive.objects.lock().unwrap().insert("edge-1/c/no-number.json".into(), Bytes::new());
    archive.objects.lock().unwrap().insert("edge-10/d/00000000000000000099-0123456789abcdef.json".into(), Bytes::new());
    assert_eq!(contradiction(&archive, &before("c", &at(5))).await, None, "it ends there");
    assert_eq!(contradiction(&archive, &before("c", &at(9))).await, None, "nobody knows what was at 5");
    let why = contradiction(&archive, &before("c", &at(4))).await.unwrap();
    assert!(why.contains("saw sequence 5") && why.contains("1 events at least are missing"), "{why}");
    assert!(why.contains("signed at 2026-07-31T08:15:30Z"), "{why}");
    let other = Before { last: Position { sequence: 5, hash: Hash::of_line(b"other") }, ..before("c", &at(5)) };
    let why = contradiction(&archive, &other).await.unwrap();
    assert!(why.contains("saw another line as sequence 5"), "{why}");
    let why = contradiction(&archive, &before("d", &at(1))).await.unwrap();
    assert!(why.contains("saw the chain c") && why.contains("begun anew"), "{why}");
    let why = contradiction(&archive, &before("b", &at(9))).await.unwrap();
    assert!(why.contains("saw the chain c"), "a later one: {why}");
    // What somebody else put there is told as that.
    let stranger = Before { keys: vec![SigningKey::of_seed(9).raw_public()], ..before("c", &at(4)) };
    let why = contradiction(&archive, &stranger).await.unwrap();
    assert!(why.contains("no key of this trail"), "{why}");
    let name = Seal::read(&at(5)).unwrap().name();
    archive.objects.lock().unwrap().insert(name, Bytes::from_static(b"{}"));
    let why = contradiction(&archive, &before("c", &at(4))).await.unwrap();
    assert!(why.contains("somebody else wrote it"), "{why}");
}

#[tokio::test]
async fn the_own_line_is_found_in_the_files_of_its_chain_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.ndjson");
    let with_id = |sequence: u64, number: u32| {
        let line = String::from_utf8(checkpoint(sequence, "interval")).unwrap();
        line.replace("\"server\"", &format!("\"event-id\":\"019fb73e-a1e2-7b3d-8f21-4a6c0e97{number:04}\",\"server\""))
    };
    // Another chain, then the own one from 3 to 6, then what came since.
    let numbers = [1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7];
    let lines: Vec<String> = (1..).zip(numbers).map(|(number, sequence)| with_id(sequence, number)).collect();
    std::fs::write(&file, lines.concat()).unwrap();
    let place = |line: &String| crate::audit::verify::place_of(line.as_bytes()).unwrap();
    let before = Before { files: vec![file], last: place(&lines[9]), ..before("c", &checkpoint(6, "start")) };
    assert_eq!(before.line_of(6).await, Some(place(&lines[9])));
    assert_eq!(before.line_of(4).await, Some(place(&lines[7])));
    assert_eq!(before.line_of(3).await, Some(place(&lines[6])));
    assert_eq!(before.line_of(2).await, None, "that is of another chain");
    let archive = Moody::with(&[]);
    keep(&archive, &checkpoint(4, "interval"));
    let why = contradiction(&archive, &before).await.unwrap();
    assert!(why.contains("saw another line as sequence 4"), "{why}");
    archive.objects.lock().unwrap().clear();
    keep(&archive, lines[7].as_bytes());
    assert_eq!(contradiction(&archive, &before).await, None);
}

#[tokio::test]
async fn a_witness_that_cannot_be_asked_is_written_to_all_the_same() {
    for trouble in [Trouble::Hangs, Trouble::Refuses] {
        let archive = Arc::new(Moody { listing: Some(trouble), ..Moody::default() });
        let place = ArchivePlace { store: "vault".into(), folder: "w".into(), lock: None };
        let settings = WitnessSettings { place, every: Duration::from_secs(1), judges_readiness: true };
        let before = before("c", &checkpoint(4, "shutdown"));
        let witness = Witness::start(&settings, Arc::clone(&archive) as Arc<dyn Archive>, Some(before));
        witness.offer(&checkpoint(5, "start"));
        until("the first", || archive.sequences() == [5]).await;
        assert_eq!((witness.state().failure, witness.state().contradiction), (None, None));
        assert_eq!(witness.take_contradiction(), None);
        witness.finish().await;
    }
}

#[tokio::test]
async fn what_does_not_fit_is_told_once() {
    let archive = Moody::with(&[]);
    keep(&archive, &checkpoint(9, "shutdown"));
    let place = ArchivePlace { store: "vault".into(), folder: "w".into(), lock: None };
    let settings = WitnessSettings { place, every: Duration::from_secs(1), judges_readiness: true };
    let before = before("c", &checkpoint(4, "shutdown"));
    let witness = Witness::start(&settings, Arc::clone(&archive) as Arc<dyn Archive>, Some(before));
    let told = Arc::<Notify>::default();
    witness.tell(Arc::clone(&told));
    until("what does not fit", || witness.state().contradiction.is_some()).await;
    told.notified().await;
    assert!(witness.take_contradiction().unwrap().starts_with("the witness memory saw sequence 9"));
    assert_eq!(witness.take_contradiction(), None);
    witness.finish().await;
}
