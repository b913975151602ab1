//! The suite behind latency: every request to a server, or every call of a store in process, waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::decorated::{Before, Behind};
use crate::fixture::{Fixture, Server};
use crate::support::proxy::Proxy;

/// What each request to a server waits.
const REQUEST: Duration = Duration::from_millis(20);

/// What each call of a store in process waits; some checks make thousands.
const CALL: Duration = Duration::from_millis(2);

/// Runs a check on S3 behind latency.
pub async fn s3<F: Future<Output = ()>>(check: impl FnOnce(Fixture) -> F) {
    let Some(server) = Server::from_environment() else { return };
    let endpoint = server.endpoint.clone();
    over(&endpoint, async |through| Fixture::s3_through(server, &through, &[]).await, check).await;
}

/// Runs a check on any store that is reached over HTTP: `open` gets the endpoint to use instead of the server's.
pub async fn over<F: Future<Output = ()>>(
    endpoint: &str,
    open: impl AsyncFnOnce(String) -> Fixture,
    check: impl FnOnce(Fixture) -> F,
) {
    let proxy = Proxy::start(endpoint);
    proxy.delay(REQUEST);
    check(open(proxy.endpoint()).await).await;
    assert!(!proxy.seen().is_empty(), "no request went through the proxy");
}

/// The same store with slow calls.
pub fn delayed(fixture: Fixture) -> Fixture {
    Fixture { store: Arc::new(Behind::new(fixture.store, Arc::new(Delay))), ..fixture }
}

#[derive(Debug)]
struct Delay;

#[async_trait]
impl Before for Delay {
    async fn call(&self, _call: &str) {
        tokio::time::sleep(CALL).await;
    }
}
