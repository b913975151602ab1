//! The suite behind faults that pass: requests are refused, cut, lost and left hanging, and who tries again wins.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, Server};
use crate::ground::{Content, Ground, MIB, NEW, path, pattern, read, write};
use crate::support::process::LIMIT;
use crate::support::proxy::{Fault, Plan, Proxy};

/// Of so many requests one fails.
const EVERY: u64 = 7;

/// How long the client waits for an answer.
const PATIENCE: (&str, &str) = ("read_timeout", "3s");

/// Everything that can happen to a request and be gone at the next try.
pub const FAULTS: [Fault; 9] = [
    Fault::Status(503, "SlowDown"),
    Fault::Status(500, "InternalError"),
    Fault::Status(429, "TooManyRequests"),
    Fault::Status(200, "InternalError"),
    Fault::Close,
    Fault::LoseAnswer,
    Fault::ResetAnswer(100),
    Fault::ResetRequest(100_000),
    Fault::Hang(Duration::from_secs(60)),
];

/// Runs a check on S3 behind faults that pass.
pub async fn s3<F: Future<Output = ()>>(name: &str, check: impl FnOnce(Fixture) -> F) {
    let Some(server) = Server::from_environment() else { return };
    let endpoint = server.endpoint.clone();
    over(&endpoint, name, async |through| Fixture::s3_through(server, &through, &[PATIENCE]).await, check).await;
}

/// Runs a check on any store that is reached over HTTP: `open` gets the endpoint to use instead of the server's, and opens
/// the store with a short time-out of reads.
pub async fn over<F: Future<Output = ()>>(
    endpoint: &str,
    name: &str,
    open: impl AsyncFnOnce(String) -> Fixture,
    check: impl FnOnce(Fixture) -> F,
) {
    let proxy = Proxy::start(endpoint);
    // Each check meets the faults in another order, the same in every run.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    proxy.plan(Plan::transient(hasher.finish(), EVERY, &FAULTS));
    check(open(proxy.endpoint()).await).await;
    let (faults, requests) = (proxy.faults(), proxy.seen().len() as u64);
    assert!(faults > 0 || requests < EVERY, "{requests} requests went through the proxy, and none failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transfers_come_through_when_every_third_request_breaks_in_the_middle() {
    let Some(ground) = Ground::s3().await else { return };
    let data = pattern(1, 40 * MIB + 5);
    let faults = [Fault::ResetRequest(2_000_000), Fault::ResetAnswer(300_000), Fault::LoseAnswer, FAULTS[0]];
    ground.proxy.plan(Plan::transient(1, 3, &faults));
    write(&ground.vfs, "/f", NEW, 0, data.clone()).await.unwrap();
    let sent = ground.proxy.faults();
    assert!(read(&ground.vfs, "/f").await.unwrap() == data, "the bytes differ");
    assert!(sent >= 3 && ground.proxy.faults() >= sent + 3, "{:#?}", ground.proxy.seen());
    assert_eq!(ground.unfinished("f").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answering_is_given_up_in_time() {
    let Some(ground) = Ground::s3().await else { return };
    ground.lay_out(&[("f", Content::Old(1000))]).await;
    ground.proxy.plan(Plan::chosen(|_| true, 2, Fault::Hang(2 * LIMIT)));
    // Both halves of a stat hang at their first try.
    let started = Instant::now();
    assert_eq!(ground.vfs.stat(&path("/f")).await.unwrap().size, 1000);
    assert!(started.elapsed() >= Duration::from_secs(3), "nothing hung");
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
