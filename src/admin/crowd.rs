//! The connections of one TCP listener, within bounds: so many of one address, so many of all. When there is no place, the connection
//! that has been idle for the longest time makes room; one that is being answered does not.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;

use crate::session::gate::Source;

/// Who is connected.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    most_of_source: usize,
    count: AtomicU64,
    members: Mutex<HashMap<u64, Seat>>,
}

#[derive(Debug)]
struct Seat {
    source: Source,
    /// Since when nothing is being answered; `None` while something is.
    idle_since: Option<Instant>,
    leaves: Arc<Notify>,
}

/// A connection that has a place, until this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    number: u64,
    leaves: Arc<Notify>,
}

/// A request that is being answered, its body included.
#[derive(Debug)]
pub(super) struct Answering(Arc<Member>);

/// The body of an answer, which is being given until this is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) body: Body,
    pub(super) _answering: Option<Answering>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Crowd {
    /// So many connections, and so many of one address.
    pub(super) fn of(most: usize, most_of_source: usize) -> Arc<Crowd> {
        Arc::new(Crowd { most, most_of_source, count: AtomicU64::new(0), members: Mutex::default() })
    }

    /// A place for one more, for which another may have to leave; `None` when all of those who could are being answered.
    pub(super) fn enter(self: &Arc<Self>, source: Source) -> Option<Arc<Member>> {
        let mut members = self.lock();
        let of_source = members.values().filter(|seat| seat.source == source).count();
        if of_source >= self.most_of_source {
            make_room(&mut members, |seat| seat.source == source)?;
        } else if members.len() >= self.most {
            make_room(&mut members, |_| true)?;
        }
        let (number, leaves) = (self.count.fetch_add(1, Ordering::Relaxed), Arc::<Notify>::default());
        members.insert(number, Seat { source, idle_since: Some(Instant::now()), leaves: leaves.clone() });
        Some(Arc::new(Member { crowd: self.clone(), number, leaves }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Seat>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_idle(&self, number: u64, since: Option<Instant>) {
        if let Some(seat) = self.lock().get_mut(&number) {
            seat.idle_since = since;
        }
    }
}

/// Sends away the connection that has been idle for the longest time.
fn make_room(members: &mut HashMap<u64, Seat>, of: impl Fn(&Seat) -> bool) -> Option<()> {
    let idle =
        members.iter().filter(|(_, seat)| of(seat)).filter_map(|(number, seat)| Some((seat.idle_since?, *number)));
    let (_, longest) = idle.min()?;
    members.remove(&longest)?.leaves.notify_one();
    Some(())
}

impl Member {
    /// Ends when it has to leave.
    pub(super) async fn must_leave(&self) {
        self.leaves.notified().await;
    }

    /// It is being answered until what this returns is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.crowd.set_idle(self.number, None);
        Answering(self.clone())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.lock().remove(&self.number);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.crowd.set_idle(self.0.number, Some(Instant::now()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source(n: u8) -> Source {
        Source::of([192, 0, 2, n].into())
    }

    fn must_leave(member: &Member) -> bool {
        member.must_leave().now_or_never().is_some()
    }

    #[test]
    fn an_address_that_has_its_share_takes_from_itself() {
        let crowd = Crowd::of(4, 2);
        let first = crowd.enter(source(1)).unwrap();
        let second = crowd.enter(source(1)).unwrap();
        let other = crowd.enter(source(2)).unwrap();
        let answering = first.answering();
        let third = crowd.enter(source(1)).unwrap();
        assert!(must_leave(&second) && !must_leave(&first) && !must_leave(&other));
        let _answering = third.answering();
        assert!(crowd.enter(source(1)).is_none(), "those of this address are being answered");
        drop(answering);
        assert!(crowd.enter(source(1)).is_some());
        assert!(must_leave(&first));
    }

    #[test]
    fn when_all_places_are_taken_the_longest_idle_one_leaves() {
        let crowd = Crowd::of(3, 3);
        let members: Vec<_> = (0..3).map(|n| crowd.enter(source(n)).unwrap()).collect();
        // What was answered meanwhile has been idle for less long.
        drop(members[0].answering());
        let next = crowd.enter(source(9)).unwrap();
        assert_eq!(members.iter().map(|member| must_leave(member)).collect::<Vec<_>>(), [false, true, false]);
        drop((members, next));
        assert!(crowd.lock().is_empty());
    }
}
