//! What is still refused, and what has to stay behind it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::carrier::Refusal;
use super::super::undelivered::Heading;
use super::*;

/// Refuses one delivery.
struct Place {
    refuses: &'static str,
    arrived: Mutex<Vec<String>>,
}

#[async_trait]
impl Carrier for Place {
    fn name(&self) -> String {
        "the place".into()
    }

    async fn deliver(&self, batch: &Bytes) -> Result<(), Refusal> {
        let text = String::from_utf8(batch.to_vec()).unwrap();
        if text == self.refuses {
            return Err(Refusal { why: "400".into(), after: None, is_of_this_one: true });
        }
        self.arrived.lock().unwrap().push(text);
        Ok(())
    }
}

/// The rename of a folder, and what comes of its files under the new name, stay behind what is refused of a file in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_does_not_overtake_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut undelivered = Undelivered::of(folder.path(), 1 << 20);
    for (line, paths) in [
        ("file", &["/lake/in/a"][..]),
        ("other", &["/lake/b"]),
        ("folder", &["/lake/in", "/lake/out"]),
        ("moved", &["/lake/out/a"]),
    ] {
        let paths = paths.iter().map(|&path| path.into()).collect();
        let heading = Heading { why: String::new(), since: String::new(), paths };
        undelivered.lock().unwrap().put(&heading, line.as_bytes()).unwrap();
    }
    let place = Place { refuses: "file", arrived: Mutex::default() };
    let done = redeliver(folder.path(), 1 << 20, &place).await.unwrap();
    assert_eq!((done.arrived, done.left, done.refusal.as_deref()), (1, 3, Some("400")));
    assert_eq!(*place.arrived.lock().unwrap(), ["other"]);
    let place = Place { refuses: "nothing", ..place };
    let done = redeliver(folder.path(), 1 << 20, &place).await.unwrap();
    assert_eq!((done.arrived, done.left), (3, 0));
    assert_eq!(*place.arrived.lock().unwrap(), ["other", "file", "folder", "moved"]);
}

/// A collector that needs a while for each.
struct Slow;

#[async_trait]
impl Carrier for Slow {
    fn name(&self) -> String {
        "the slow place".into()
    }

    async fn deliver(&self, _: &Bytes) -> Result<(), Refusal> {
        tokio::time::sleep(4 * PAUSE).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_commands_deliver_each_once_and_both_say_that_nothing_is_left() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut undelivered = Undelivered::of(folder.path(), 1 << 20);
    for line in ["one", "two", "three", "four"] {
        let heading = Heading { why: String::new(), since: String::new(), paths: vec![line.into()] };
        undelivered.lock().unwrap().put(&heading, line.as_bytes()).unwrap();
    }
    let command = || {
        let folder = Arc::clone(&folder);
        tokio::spawn(async move { redeliver(folder.path(), 1 << 20, &Slow).await.unwrap() })
    };
    let (one, other) = (command(), command());
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!(one.arrived + other.arrived, 4);
    assert_eq!((one.left, other.left), (0, 0), "{one:?} {other:?}");
}
