//! Reads of the trail for callers: few at once, in threads that may wait for a disk, and no longer than somebody waits for the answer.
//!
//! The threads are those of the whole process, in which passwords are checked and local stores are used too: callers of the admin door
//! get a few of them, nobody all of these, and the socket has its own. What is read is in memory until the caller has it: all answers
//! together have a bound, and one that its caller does not read is dropped.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::caller::Peer;
use super::logins::Who;
use super::problem::Problem;
use crate::audit::read::newest::GivenUp;

/// Reads at once for callers over the network, and for the machine's own users.
const OF_NETWORK: usize = 4;
const OF_MACHINE: usize = 2;

/// Reads at once for one caller over the network.
const OF_CALLER: usize = 2;

/// Whole sessions among them.
const SESSIONS_OF_NETWORK: usize = 2;
const SESSIONS_OF_MACHINE: usize = 1;

/// How long a call waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// The most of all answers that callers have not received yet, in KiB, for each of the two kinds of callers: two whole sessions and some
/// pages. What an answer may become counts from before it is read.
const UNSENT_KIB: u32 = 192 * 1024;

/// Bytes of an answer that are handed over in one piece.
const PIECE: usize = 64 * 1024;

/// How long a caller may take for the next piece.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

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
    /// Those of callers who read or wait for their turn; `None` where callers have no limit of their own.
    of_callers: Option<Mutex<HashMap<Who, Weak<Semaphore>>>>,
}

/// Whose call it is, and whether somebody still waits for its answer; the guard puts it into the call.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) is_local: bool,
    /// Who calls, once that is known.
    pub(super) caller: Option<Who>,
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
        Waiting { is_local: matches!(peer, Some(Peer::Local(_))), caller: None, given_up: GivenUp::default() }
    }
}

impl Default for Reads {
    fn default() -> Reads {
        Reads {
            of_network: Places { of_callers: Some(Mutex::default()), ..Places::new(OF_NETWORK, SESSIONS_OF_NETWORK) },
            of_machine: Places::new(OF_MACHINE, SESSIONS_OF_MACHINE),
        }
    }
}

impl Places {
    fn new(all: usize, sessions: usize) -> Places {
        let unsent = usize::try_from(UNSENT_KIB).unwrap_or(Semaphore::MAX_PERMITS);
        let [all, sessions, unsent] = [all, sessions, unsent].map(|places| Arc::new(Semaphore::new(places)));
        Places { all, sessions, unsent, of_callers: None }
    }

    /// Those of the caller; nothing is kept of callers who have gone.
    fn of_caller(&self, waiting: &Waiting) -> Option<Arc<Semaphore>> {
        let who = waiting.caller.as_ref()?;
        let mut of_callers = self.of_callers.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        of_callers.retain(|_, places| places.strong_count() > 0);
        if let Some(places) = of_callers.get(who).and_then(Weak::upgrade) {
            return Some(places);
        }
        let places = Arc::new(Semaphore::new(OF_CALLER));
        of_callers.insert(who.clone(), Arc::downgrade(&places));
        Some(places)
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
        // First, so that a caller's own calls wait for each other where they are in nobody's way.
        let own = match places.of_caller(waiting) {
            Some(of_caller) => Some(turn(&of_caller, 1).await?),
            None => None,
        };
        let session = match what {
            What::Session => Some(turn(&places.sessions, 1).await?),
            What::Page => None,
        };
        let place = turn(&places.all, 1).await?;
        let given_up = waiting.given_up.clone();
        let _gives_up = GivesUp(given_up.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let _places = (own, session, place);
            read(given_up)
        });
        let failed = |error: tokio::task::JoinError| {
            Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        };
        reading.await.map_err(failed)?
    }

    /// Room for an answer of at most so many bytes, before it is read.
    ///
    /// # Errors
    /// 503 when there is no room for it soon.
    pub(super) async fn room(&self, waiting: &Waiting, most: usize) -> Result<Room, Problem> {
        let unsent = self.places_of(waiting).unsent.clone();
        let permit = turn(&unsent, kib(most)).await?;
        Ok(Room { unsent, permit })
    }

    fn places_of(&self, waiting: &Waiting) -> &Places {
        if waiting.is_local { &self.of_machine } else { &self.of_network }
    }
}

/// Room for an answer.
#[derive(Debug)]
pub(super) struct Room {
    unsent: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// The body of the answer, which counts until it is sent, the caller has gone, or reads too slowly.
    ///
    /// # Errors
    /// 503 when it became larger than was expected, and there is no room for the rest soon.
    pub(super) async fn answer(self, content: Vec<u8>) -> Result<Body, Problem> {
        self.answer_within(content, PIECE_WITHIN).await
    }

    async fn answer_within(mut self, content: Vec<u8>, within: Duration) -> Result<Body, Problem> {
        let (size, has) = (kib(content.len()) as usize, self.permit.num_permits());
        if size < has {
            drop(self.permit.split(has - size));
        } else if let Ok(more @ 1..) = u32::try_from(size - has) {
            self.permit.merge(turn(&self.unsent, more).await?);
        }
        Ok(Body::new(Unsent::new(content.into(), self.permit, within)))
    }
}

/// How much room so many bytes need; what is larger than all room goes alone.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(UNSENT_KIB)
}

/// An answer on its way. A connection whose caller does not read asks for no piece, and so would keep it for ever: a task drops it then.
#[derive(Debug)]
struct Unsent {
    held: Arc<Mutex<Held>>,
    watch: JoinHandle<()>,
}

/// The rest of an answer, and its room until then.
#[derive(Debug)]
struct Held {
    rest: Bytes,
    room: Option<OwnedSemaphorePermit>,
    /// Whether it was dropped before it was sent.
    is_lost: bool,
}

impl Unsent {
    fn new(rest: Bytes, room: OwnedSemaphorePermit, within: Duration) -> Unsent {
        let held = Arc::new(Mutex::new(Held { rest, room: Some(room), is_lost: false }));
        Unsent { watch: tokio::spawn(watch(Arc::clone(&held), within)), held }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Drops an answer of which no piece is asked for.
async fn watch(held: Arc<Mutex<Held>>, within: Duration) {
    let mut had = lock(&held).rest.len();
    loop {
        tokio::time::sleep(within).await;
        let mut held = lock(&held);
        if held.rest.is_empty() {
            return;
        }
        if held.rest.len() == had {
            (held.rest, held.room, held.is_lost) = (Bytes::new(), None, true);
            return;
        }
        had = held.rest.len();
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Unsent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut held = lock(&self.held);
        if held.is_lost {
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was read too slowly"))));
        }
        let length = held.rest.len().min(PIECE);
        // A copy: the connection may keep it for long, and would keep all of the answer with it.
        let piece = Bytes::copy_from_slice(&held.rest.split_to(length));
        if held.rest.is_empty() {
            held.room = None;
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let held = lock(&self.held);
        held.rest.is_empty() && !held.is_lost
    }

    fn size_hint(&self) -> SizeHint {
        let held = lock(&self.held);
        if held.is_lost { SizeHint::default() } else { SizeHint::with_exact(held.rest.len() as u64) }
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
    use crate::admin::logins::Basis;

    fn of_network() -> Waiting {
        Waiting { is_local: false, caller: None, given_up: GivenUp::default() }
    }

    fn who(name: &str) -> Who {
        Who::of(&name.into(), &Basis::Socket)
    }

    fn of_caller(name: &str) -> Waiting {
        Waiting { caller: Some(who(name)), ..of_network() }
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
    async fn nobody_has_the_places_of_all() {
        let (reads, running) = (Arc::new(Reads::default()), Arc::<AtomicUsize>::default());
        let calls: Vec<Waiting> = (0..OF_NETWORK).map(|_| of_caller("ann")).collect();
        let read_in_a_task = |waiting: &Waiting| {
            let (reads, waiting, stalls) = (reads.clone(), waiting.clone(), stalls(&running));
            tokio::spawn(async move { reads.read(&waiting, What::Page, stalls).await })
        };
        let mut reading: Vec<_> = calls.iter().map(read_in_a_task).collect();
        while running.load(Ordering::SeqCst) < OF_CALLER {
            tokio::task::yield_now().await;
        }
        assert_eq!(reads.read(&of_caller("bob"), What::Page, |_| Ok(7)).await.unwrap(), 7);
        // Until the others of her calls are refused.
        for call in reading.split_off(OF_CALLER) {
            assert_eq!(call.await.unwrap().unwrap_err().status(), 503);
        }
        assert_eq!(running.load(Ordering::SeqCst), OF_CALLER);
        calls.iter().for_each(|waiting| waiting.given_up.give_up());
        assert_eq!(reads.read(&of_caller("ann"), What::Page, |_| Ok(8)).await.unwrap(), 8);
        for call in reading {
            call.await.unwrap().unwrap();
        }
        drop(reads.of_network.of_caller(&of_caller("bob")));
        let known = reads.of_network.of_callers.as_ref().unwrap().lock().unwrap();
        assert!(!known.contains_key(&who("ann")), "{known:?}");
    }

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn all_answers_together_have_a_bound_from_before_they_are_read() {
        let (reads, waiting) = (Reads::default(), of_network());
        let room = reads.room(&waiting, 128 * MIB).await.unwrap();
        assert_eq!(reads.room(&waiting, 128 * MIB).await.unwrap_err().status(), 503);
        assert!(
            reads.room(&Waiting { is_local: true, ..of_network() }, 128 * MIB).await.is_ok(),
            "the socket has its own"
        );
        // What it did not become is free again.
        let unsent = room.answer(vec![b'x'; MIB]).await.unwrap();
        let second = reads.room(&waiting, 128 * MIB).await.unwrap();
        let larger = reads.room(&waiting, MIB).await.unwrap();
        assert_eq!(larger.answer(vec![0; 128 * MIB]).await.unwrap_err().status(), 503, "it became more than there is");
        drop(second);
        assert_eq!(axum::body::to_bytes(unsent, usize::MAX).await.unwrap().len(), MIB);
        let larger = reads.room(&waiting, MIB).await.unwrap();
        let unread = larger.answer(vec![0; 128 * MIB]).await.unwrap();
        drop(unread);
        assert!(reads.room(&waiting, 1 << 30).await.is_ok(), "one that is too large for the bound goes alone");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_read_loses_its_room() {
        let (reads, waiting) = (Reads::default(), of_network());
        let room = reads.room(&waiting, 128 * MIB).await.unwrap();
        let mut body = room.answer_within(vec![b'x'; 128 * MIB], Duration::from_millis(20)).await.unwrap();
        let next = async |body: &mut Body| {
            std::future::poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await
        };
        let first = next(&mut body).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap().len(), PIECE);
        while reads.of_network.unsent.available_permits() < UNSENT_KIB as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!http_body::Body::is_end_stream(&body));
        assert!(next(&mut body).await.unwrap().is_err(), "a caller does not take it for the whole answer");
    }
}
