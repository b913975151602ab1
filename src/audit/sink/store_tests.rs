//! Batches as objects: names, lost answers, outages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;

use super::*;
use crate::audit::sink::Sink;
use crate::audit::sink::settings::{ArchivePlace, BatchSettings, Fsync, SpoolSettings};

/// A folder in memory that can be away.
#[derive(Debug, Default)]
struct Shelf {
    objects: Mutex<Vec<(String, Bytes)>>,
    away: Mutex<bool>,
    /// Objects are kept, and the answer says that they are not.
    answers_get_lost: Mutex<bool>,
}

impl Shelf {
    fn object(&self, name: &str) -> Option<Bytes> {
        self.objects.lock().unwrap().iter().find(|(n, _)| n == name).map(|(_, content)| content.clone())
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    fn lines(&self) -> String {
        let objects = self.objects.lock().unwrap();
        let mut text = String::new();
        for (_, content) in objects.iter() {
            GzDecoder::new(content.as_ref()).read_to_string(&mut text).unwrap();
        }
        text
    }
}

#[async_trait]
impl Archive for Shelf {
    fn describe(&self) -> String {
        "/shelf".into()
    }

    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()> {
        if *self.away.lock().unwrap() {
            return Err(io::Error::other("away"));
        }
        if self.object(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.objects.lock().unwrap().push((name.into(), content));
        match *self.answers_get_lost.lock().unwrap() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }

    async fn list(&self) -> io::Result<Vec<(String, u64)>> {
        unreachable!("a sink lists nothing")
    }

    async fn get(&self, name: &str, most: u64) -> io::Result<Bytes> {
        let object = self.object(name).ok_or(io::ErrorKind::NotFound)?;
        if object.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(object) }
    }
}

fn line(sequence: u64, id: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-07-31T08:15:30.042Z\",\"event-id\":\"{id}\",\"sequence\":{sequence},\"previous\":\"\"}}\n"
    )
}

fn target(folder: &std::path::Path, events: u64) -> StoreTarget {
    StoreTarget {
        place: ArchivePlace { store: "lake".into(), folder: "audit".into(), lock: None },
        spool: SpoolSettings {
            folder: folder.join("spool"),
            limit: 1 << 20,
            fsync: Fsync::default(),
            batch: BatchSettings { events, size: 1 << 20, age: Duration::from_secs(60) },
        },
    }
}

/// Opens the sink, as soon as an earlier one has let go of the spool.
async fn sink(shelf: &Arc<Shelf>, target: &StoreTarget) -> Spooled {
    let archive: Arc<dyn Archive> = Arc::clone(shelf) as _;
    let around = Around { server: "edge-1".into(), archives: [(target.place.clone(), archive)].into(), ledger: None };
    for _ in 0..300 {
        match open(target, &Shape::default(), &around) {
            Err(error) if error.to_string().contains("in use") => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the spool stays in use");
}

fn write_all(sink: &mut Spooled, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = sink.write(bytes).unwrap();
        bytes = &bytes[written..];
    }
}

/// Ends the sink as its thread does.
async fn close(mut sink: Spooled) {
    tokio::task::spawn_blocking(move || sink.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_become_objects_with_their_numbers_in_their_names() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::<Shelf>::default());
    let mut sink = sink(&shelf, &target(folder.path(), 2)).await;
    let lines = [line(1, "a"), line(2, "b"), line(3, "c")].concat();
    write_all(&mut sink, lines.as_bytes());
    close(sink).await;
    let name =
        |first: u64, last: u64| format!("year=2026/month=07/day=31/hour=08/edge-1-{first:020}-{last:020}.ndjson.gz");
    assert_eq!(shelf.names(), [name(1, 2), name(3, 3)]);
    assert_eq!(shelf.lines(), lines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_whose_answer_was_lost_is_not_done_twice() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::<Shelf>::default());
    let mut first = sink(&shelf, &target(folder.path(), 1)).await;
    *shelf.answers_get_lost.lock().unwrap() = true;
    write_all(&mut first, line(1, "a").as_bytes());
    for _ in 0..200 {
        if !shelf.names().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    *shelf.answers_get_lost.lock().unwrap() = false;
    close(first).await;
    assert_eq!(shelf.lines(), line(1, "a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_with_the_same_numbers_does_not_hide_this_one() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::<Shelf>::default());
    for id in ["0a", "0b", "0b"] {
        let mut sink = sink(&shelf, &target(folder.path(), 1)).await;
        write_all(&mut sink, line(1, id).as_bytes());
        close(sink).await;
    }
    assert_eq!(shelf.lines(), line(1, "0a") + &line(1, "0b"));
    assert!(shelf.names()[1].ends_with("-00000000000000000001-0b.ndjson.gz"), "{:?}", shelf.names());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_delays_and_loses_nothing() {
    let (folder, shelf) = (tempfile::tempdir().unwrap(), Arc::<Shelf>::default());
    let target = target(folder.path(), 3);
    *shelf.away.lock().unwrap() = true;
    let lines: String = (1..=10).map(|n| line(n, &format!("e{n}"))).collect();
    let mut during = sink(&shelf, &target).await;
    write_all(&mut during, lines.as_bytes());
    // It ends without a word.
    drop(during);
    *shelf.away.lock().unwrap() = false;
    close(sink(&shelf, &target).await).await;
    assert_eq!(shelf.lines(), lines);
}

#[test]
fn lines_without_numbers_or_times_have_names_too() {
    let name = |batch: &str| Name::of(batch.as_bytes(), "edge-1").plain();
    let unchained = "{\"timestamp\":\"2026-07-31T08:15:30.042Z\",\"event-id\":\"019f-a\"}\n{\"event-id\":\"019f-b\"}\n";
    assert_eq!(name(unchained), "year=2026/month=07/day=31/hour=08/edge-1-019f-a-019f-b.ndjson.gz");
    let odd = name("{\"timestamp\":\"../../..........\",\"event-id\":\"../a\"}\n");
    assert!(odd.starts_with("year=1970/month=01/day=01/hour=00/edge-1-") && !odd.contains(".."), "{odd}");
}
