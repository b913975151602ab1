//! Uploads that are cut off where the operator wants what arrived: published only with a record, and always on record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::cut::{cut_after, in_memory, is_end};
use super::halting::Halting;
use super::{LIMIT, NOTHING, PUT, path};
use crate::policy::Permissions;
use crate::session::testing::Home;
use crate::session::uploads::Scope;
use crate::session::{Session, Transfer};
use crate::stores::{Key, Store};
use crate::vfs::PartialUploads;

struct Place {
    home: Home,
    session: Arc<Session>,
    store: Arc<Halting>,
    inner: Arc<dyn Store>,
}

impl Place {
    async fn new(partial: PartialUploads) -> Place {
        let (inner, _) = in_memory().await;
        let store = Halting::over(inner.clone());
        let home = Home::with(store.clone(), &[("/", "", Permissions::READ_WRITE)], partial).await;
        let session = home.session();
        Place { home, session, store, inner }
    }

    async fn upload(&self) -> Transfer {
        let mut transfer = self.session.open(&path("/f"), PUT, &NOTHING).await.unwrap();
        transfer.write_at(0, Bytes::from_static(b"arrived")).await.unwrap();
        transfer
    }

    async fn is_published(&self) -> bool {
        self.inner.stat(&Key::parse("f").unwrap()).await.is_ok()
    }

    async fn ended(&self) {
        assert!(self.home.login().transfers_ended_within(LIMIT).await, "an end is missing");
    }

    /// The end event; there is exactly one.
    async fn end(&self) -> Value {
        self.ended().await;
        timeout(LIMIT, self.session.recorder().close()).await.unwrap();
        let ends: Vec<Value> = self.home.events().into_iter().filter(is_end).collect();
        assert_eq!(ends.len(), 1, "{ends:#?}");
        assert_eq!(ends[0]["activity-type"], "PARTIAL_CLOSE");
        ends[0].clone()
    }
}

fn says(event: &Value, what: &str) -> bool {
    event["message"].as_str().unwrap().contains(what)
}

#[tokio::test]
async fn what_arrived_is_published_and_on_record() {
    let place = Place::new(PartialUploads::Publish).await;
    drop(place.upload().await);
    let end = place.end().await;
    assert!(says(&end, "what had arrived was published") && place.is_published().await, "{end}");
}

#[tokio::test]
async fn without_a_trail_nothing_that_was_cut_off_is_published() {
    let place = Place::new(PartialUploads::Publish).await;
    let upload = place.upload().await;
    place.home.sink().fail("the disk is full");
    // The first event finds out.
    let _ = place.session.make_directory(&path("/d"), &NOTHING).await;
    drop(upload);
    place.ended().await;
    assert!(!place.is_published().await);
    place.home.sink().recover();
    let end = place.end().await;
    assert!(says(&end, "nothing was published"), "{end}");
}

#[tokio::test]
async fn without_room_for_its_record_nothing_that_was_cut_off_is_published() {
    let place = Place::new(PartialUploads::Publish).await;
    let upload = place.upload().await;
    let full = place.home.fill_queue().await;
    drop(upload);
    for _ in 0..100 {
        yield_now().await;
    }
    assert!(!place.is_published().await);
    // The gateway ends.
    place.home.login().cut_ends_short();
    place.ended().await;
    drop(full);
    place.end().await;
    assert!(!place.is_published().await);
}

/// After each step of the end of a transfer the gateway ends.
#[tokio::test]
async fn an_end_that_is_cut_short_anywhere_is_on_record() {
    for partial in [PartialUploads::Publish, PartialUploads::Discard] {
        for steps in 0..30 {
            let place = Place::new(partial).await;
            drop(place.upload().await);
            for _ in 0..steps {
                yield_now().await;
            }
            place.home.login().cut_ends_short();
            let end = place.end().await;
            let is_published = place.is_published().await;
            assert!(!(is_published && says(&end, "nothing was published")), "after {steps} steps: {end}");
            assert!(is_published || !says(&end, "what had arrived"), "after {steps} steps: {end}");
        }
    }
}

#[tokio::test]
async fn an_end_that_the_store_keeps_waiting_is_on_record_before_the_last_line() {
    let place = Place::new(PartialUploads::Publish).await;
    let upload = place.upload().await;
    place.store.stall(true);
    drop(upload);
    assert!(!place.home.login().transfers_ended_within(Duration::from_millis(50)).await, "the store does not answer");
    place.home.login().cut_ends_short();
    let end = place.end().await;
    assert!(says(&end, "whether the file was published is not known"), "{end}");
}

/// A CLOSE that is dropped while somebody else holds the file has done nothing.
#[tokio::test]
async fn a_close_that_waits_and_is_dropped_is_an_upload_that_is_cut_off() {
    for partial in [PartialUploads::Publish, PartialUploads::Discard] {
        let place = Place::new(partial).await;
        let upload = place.upload().await;
        let name = path("/f");
        let held = place.home.login().uploads().hold(&[(&name, Scope::Name)]).await;
        assert!(cut_after(20, upload.close()).await.is_none());
        drop(held);
        let end = place.end().await;
        let published = partial == PartialUploads::Publish;
        assert_eq!(place.is_published().await, published, "{end}");
        let what = if published { "what had arrived was published" } else { "nothing was published" };
        assert!(says(&end, what), "{end}");
    }
}

/// A store that does not answer keeps the room of the operations that it was asked for.
#[tokio::test]
async fn operations_that_hang_stop_no_other_connection() {
    let place = Place::new(PartialUploads::Discard).await;
    let hung = place.home.fill_queue().await;
    assert!(cut_after(20, place.session.make_directory(&path("/a"), &NOTHING)).await.is_none());
    let other = place.home.session_of_another_connection();
    timeout(LIMIT, other.make_directory(&path("/b"), &NOTHING)).await.expect("others go on").unwrap();
    drop(hung);
}

/// As SCP's sink does when its sender reports an error, and goes away.
#[tokio::test]
async fn a_transfer_that_is_ended_as_incomplete_ends_though_nobody_waits() {
    for polls in 1..20 {
        let place = Place::new(PartialUploads::Publish).await;
        let upload = place.upload().await;
        let _ = cut_after(polls, upload.cut_off("the client says so")).await;
        let end = place.end().await;
        assert!(place.is_published().await && says(&end, "the client says so"), "{end}");
    }
}
