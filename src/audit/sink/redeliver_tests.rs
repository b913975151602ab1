//! What is still refused, and what has to stay behind it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Mutex;

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
