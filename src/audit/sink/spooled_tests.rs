//! What the sink says of a place that accepts nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use bytes::Bytes;

use super::super::settings::BatchSettings;
use super::*;

/// Refuses everything for what it is.
struct Picky;

#[async_trait]
impl Carrier for Picky {
    fn name(&self) -> String {
        "the place".into()
    }

    fn gives_up_after(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn deliver(&self, _: &Bytes) -> Result<(), Refusal> {
        Err(Refusal { why: "400".into(), after: None, is_of_this_one: true })
    }
}

/// The pauses go on growing, and the log does not say that the place is well; the spool is stuck no more.
#[tokio::test]
async fn what_is_set_aside_is_no_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let batch = BatchSettings { events: 1, size: 1 << 20, age: Duration::from_secs(1) };
    let settings = SpoolSettings { folder: folder.path().join("spool"), limit: 1 << 20, fsync: Fsync::Never, batch };
    let spool = Spool::open(&settings).unwrap();
    let undelivered = Undelivered::of(&settings.folder, settings.limit).counting(spool.set_aside());
    let (mut courier, mut failures) = (Courier::new(Picky, None, undelivered, spool.told()), Failures::none());
    let units = courier.units(Bytes::from_static(b"a\n")).await.unwrap();
    assert!(bring(&spool, units, &mut courier, &mut failures).await);
    assert_eq!((failures.any, failures.logged, spool.state().trouble), (true, true, None));
    assert_eq!(failures.backoff.wait(), 4 * FIRST_PAUSE, "it failed twice");
    assert_eq!(spool.state().undelivered, 1);
    assert!(spool.told().take("the place").is_some_and(|text| text.contains("400")));
}
