//! A witness over a store that refuses, hangs and loses answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::audit::SigningKey;
use crate::audit::chain::Hash;
use crate::audit::verify::PublicKey;

/// Objects in memory, and what goes wrong with the next writes.
#[derive(Debug, Default)]
struct Moody {
    objects: Mutex<BTreeMap<String, Bytes>>,
    /// One for each write; then all is well.
    troubles: Mutex<Vec<Trouble>>,
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
    Witness::start(&settings, Arc::clone(archive) as Arc<dyn Archive>)
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
