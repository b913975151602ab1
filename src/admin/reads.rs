//! Reads of the trail for callers: few at once, in threads that may wait for a disk, and no longer than somebody waits for the answer.
//!
//! The threads are those of the whole process, in which passwords are checked and local stores are used too: callers of the admin door
//! get a few of them, and the socket has its own. What is read is in memory until the caller has it: all answers together have a bound.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::caller::Peer;
use super::problem::Problem;
use crate::audit::read::newest::GivenUp;

/// Reads at once for callers over the network, and for the machine's own users.
const OF_NETWORK: usize = 4;
const OF_MACHINE: usize = 2;

/// Whole sessions among them.
const SESSIONS_OF_NETWORK: usize = 2;
const SESSIONS_OF_MACHINE: usize = 1;

/// How long a call waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// The most of all answers that callers have not received yet, in KiB, for each of the two kinds of callers.
const UNSENT_KIB: u32 = 128 * 1024;

/// Bytes of an answer that are handed over in one piece.
const PIECE: usize = 64 * 1024;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A page.
    Page,
    /// A whole session.
    Session,
}

/// Keeps count.
#[derive(Debug)]
pub(super) struct Reads {
    of_network: Places,
    of_machine: Places,
}

#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    /// In KiB.
    unsent: Arc<Semaphore>,
}

/// Whose call it is, and whether somebody still waits for its answer; the guard puts it into the call.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) is_local: bool,
    pub(super) given_up: GivenUp,
}

/// Gives up when it is dropped: whoever waited has gone.
#[derive(Debug)]
pub(super) struct GivesUp(pub(super) GivenUp);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Waiting {
    /// Of somebody at the other end of a connection.
    pub(super) fn of(peer: Option<&Peer>) -> Waiting {
        Waiting { is_local: matches!(peer, Some(Peer::Local(_))), given_up: GivenUp::default() }
    }
}

impl Default for Reads {
    fn default() -> Reads {
        Reads {
            of_network: Places::new(OF_NETWORK, SESSIONS_OF_NETWORK),
            of_machine: Places::new(OF_MACHINE, SESSIONS_OF_MACHINE),
        }
    }
}

impl Places {
    fn new(all: usize, sessions: usize) -> Places {
        let unsent = usize::try_from(UNSENT_KIB).unwrap_or(Semaphore::MAX_PERMITS);
        let [all, sessions, unsent] = [all, sessions, unsent].map(|places| Arc::new(Semaphore::new(places)));
        Places { all, sessions, unsent }
    }
}

impl Reads {
    /// Reads in a thread of its own when it is this call's turn. The thread is told when nobody waits any more, and has its place until
    /// it has stopped.
    ///
    /// # Errors
    /// 503 when the turn does not come soon, and what `read` says.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        waiting: &Waiting,
        what: What,
        read: impl FnOnce(GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let places = self.places_of(waiting);
        let session = match what {
            What::Session => Some(turn(&places.sessions, 1).await?),
            What::Page => None,
        };
        let place = turn(&places.all, 1).await?;
        let given_up = waiting.given_up.clone();
        let _gives_up = GivesUp(given_up.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let _places = (session, place);
            read(given_up)
        });
        let failed = |error: tokio::task::JoinError| {
            Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        };
        reading.await.map_err(failed)?
    }

    /// The body of an answer, which counts until it is sent or the caller has gone.
    ///
    /// # Errors
    /// 503 when there is no room for it soon.
    pub(super) async fn answer(&self, waiting: &Waiting, content: Vec<u8>) -> Result<Body, Problem> {
        let size = u32::try_from(content.len() / 1024 + 1).unwrap_or(u32::MAX).min(UNSENT_KIB);
        let room = turn(&self.places_of(waiting).unsent, size).await?;
        Ok(Body::new(Unsent { rest: content.into(), _room: room }))
    }

    fn places_of(&self, waiting: &Waiting) -> &Places {
        if waiting.is_local { &self.of_machine } else { &self.of_network }
    }
}

/// An answer on its way, and its room until then.
#[derive(Debug)]
struct Unsent {
    rest: Bytes,
    _room: OwnedSemaphorePermit,
}

impl http_body::Body for Unsent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = &mut self.get_mut().rest;
        let piece = rest.split_to(rest.len().min(PIECE));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

async fn turn(places: &Arc<Semaphore>, many: u32) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = timeout(TURN_WITHIN, places.clone().acquire_many_owned(many)).await;
    let busy = || Problem::unavailable("many calls read the trail; try again in a few seconds");
    turn.map_err(|_| busy())?.map_err(|_| busy())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    fn of_network() -> Waiting {
        Waiting { is_local: false, given_up: GivenUp::default() }
    }

    /// Reads until it is told to stop.
    fn stalls(running: &Arc<AtomicUsize>) -> impl FnOnce(GivenUp) -> Result<(), Problem> + Send + use<> {
        let running = running.clone();
        move |given_up| {
            running.fetch_add(1, Ordering::SeqCst);
            while !given_up.is_given_up() {
                std::thread::sleep(Duration::from_millis(1));
            }
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn callers_of_the_network_take_few_threads_and_leave_the_socket_its_own() {
        let (reads, running) = (Arc::new(Reads::default()), Arc::default());
        let calls: Vec<Waiting> = (0..512).map(|_| of_network()).collect();
        let reading: Vec<_> = calls
            .iter()
            .map(|waiting| {
                let (reads, waiting, stalls) = (reads.clone(), waiting.clone(), stalls(&running));
                tokio::spawn(async move { reads.read(&waiting, What::Page, stalls).await })
            })
            .collect();
        while running.load(Ordering::SeqCst) < OF_NETWORK {
            tokio::task::yield_now().await;
        }
        let socket = Waiting { is_local: true, ..of_network() };
        assert_eq!(reads.read(&socket, What::Page, |_| Ok(7)).await.unwrap(), 7);
        assert_eq!(reads.read(&socket, What::Session, |_| Ok(8)).await.unwrap(), 8);
        let (mut refused, mut read) = (0, 0);
        for (number, reading) in reading.into_iter().enumerate() {
            assert!(running.load(Ordering::SeqCst) <= OF_NETWORK);
            // The first ones have the places; they go on until whoever waits has gone.
            if number < OF_NETWORK {
                continue;
            }
            match reading.await.unwrap() {
                Ok(()) => read += 1,
                Err(problem) => {
                    assert_eq!(problem.status(), 503);
                    refused += 1;
                }
            }
        }
        assert_eq!((refused, read), (512 - OF_NETWORK, 0));
        calls.iter().for_each(|waiting| waiting.given_up.give_up());
        assert_eq!(reads.read(&of_network(), What::Page, |_| Ok(9)).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn a_read_stops_when_its_call_is_dropped_and_has_its_place_until_then() {
        let reads = Arc::new(Reads::default());
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, may_go_on) = channel::<()>();
        let theirs = reads.clone();
        let call = tokio::spawn(async move {
            let read = move |given_up: GivenUp| {
                begun.send(given_up).unwrap();
                may_go_on.recv().unwrap();
                Ok(())
            };
            theirs.read(&of_network(), What::Session, read).await
        });
        let given_up = has_begun.recv().await.unwrap();
        assert!(!given_up.is_given_up());
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert!(given_up.is_given_up());
        assert_eq!(reads.of_network.sessions.available_permits(), SESSIONS_OF_NETWORK - 1);
        go_on.send(()).unwrap();
        while reads.of_network.sessions.available_permits() < SESSIONS_OF_NETWORK {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn all_answers_together_have_a_bound() {
        let (reads, waiting) = (Reads::default(), of_network());
        let large = || vec![b'x'; 96 << 20];
        let unsent = reads.answer(&waiting, large()).await.unwrap();
        assert_eq!(reads.answer(&waiting, large()).await.unwrap_err().status(), 503);
        assert!(
            reads.answer(&Waiting { is_local: true, ..of_network() }, large()).await.is_ok(),
            "the socket has its own"
        );
        let sent = axum::body::to_bytes(unsent, usize::MAX).await.unwrap();
        assert_eq!(sent.len(), 96 << 20);
        let unread = reads.answer(&waiting, large()).await.unwrap();
        drop(unread);
        assert!(
            reads.answer(&waiting, vec![0; 1 << 30]).await.is_ok(),
            "one that is too large for the bound goes alone"
        );
    }
}
