//! Requests to one object store at once. Each has a connection, and so a descriptor; further ones wait for their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many as one store needs to be busy. Idle connections are used again, so there are hardly ever more of them.
pub(super) const MOST: usize = 256;

/// Makes clients whose requests share the turns of one store.
#[derive(Debug, Clone)]
pub(in crate::stores) struct Turns {
    connector: Arc<dyn HttpConnector>,
    turns: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new() -> Turns {
        Turns::of(ReqwestConnector::default())
    }

    fn of(connector: impl HttpConnector) -> Turns {
        Turns { connector: Arc::new(connector), turns: Arc::new(Semaphore::new(MOST)) }
    }

    /// From now on at most `most`, if that is less than [`MOST`]. Called once, before there are requests.
    pub(super) fn limit_to(&self, most: usize) {
        self.turns.forget_permits(MOST.saturating_sub(most.max(1)));
    }
}

impl HttpConnector for Turns {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.connector.connect(options)?;
        Ok(HttpClient::new(InTurn { client, turns: Arc::clone(&self.turns) }))
    }
}

#[derive(Debug)]
struct InTurn {
    client: HttpClient,
    turns: Arc<Semaphore>,
}

#[async_trait]
impl HttpService for InTurn {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Nobody closes the semaphore.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let answer = self.client.execute(request).await?;
        Ok(answer.map(|body| HttpResponseBody::new(Held { body, _turn: turn })))
    }
}

/// The connection is in use until the body was read, or is dropped.
#[derive(Debug)]
struct Held {
    body: HttpResponseBody,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Body for Held {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    /// Counts the requests that came, and answers each with three bytes.
    #[derive(Debug, Clone, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl HttpConnector for Counting {
        fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
            Ok(HttpClient::new(self.clone()))
        }
    }

    #[async_trait]
    impl HttpService for Counting {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(HttpResponse::new(Bytes::from_static(b"abc").into()))
        }
    }

    #[tokio::test]
    async fn further_requests_wait_until_a_body_was_read_or_dropped() {
        let counting = Counting::default();
        let turns = Turns::of(counting.clone());
        turns.limit_to(2);
        // The library's requests and our own.
        let clients = [0, 1].map(|_| turns.connect(&ClientOptions::new()).unwrap());
        let ask = async |client: &HttpClient| client.execute(HttpRequest::new(Bytes::new().into())).await.unwrap();
        let first = ask(&clients[0]).await;
        let second = ask(&clients[1]).await;
        assert_eq!(second.body().size_hint().exact(), Some(3));
        let mut waiting = JoinSet::new();
        for client in clients.clone() {
            waiting.spawn(async move { client.execute(HttpRequest::new(Bytes::new().into())).await.unwrap() });
        }
        let settle = async || {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            counting.0.load(Ordering::Relaxed)
        };
        assert_eq!(settle().await, 2);
        assert_eq!(first.into_body().bytes().await.unwrap(), b"abc"[..]);
        assert_eq!(settle().await, 3);
        drop(second);
        assert_eq!(settle().await, 4);
        // One whose caller has gone gives its turn to the next.
        drop(waiting.join_next().await);
        let (mut gone, mut next) = (Box::pin(ask(&clients[0])), Box::pin(ask(&clients[1])));
        drop(waiting);
        assert!(futures_util::poll!(&mut gone).is_ready() || settle().await >= 4);
        drop(gone);
        assert_eq!(next.as_mut().await.into_body().bytes().await.unwrap(), b"abc"[..]);
    }
}
