//! Room for an event, taken before what the event tells of.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::count::count;
use super::encode::encode;
use super::line::Draft;
use super::queue::{Answer, Room};
use super::{Activity, Origin, Recorder, Unrecorded};

/// Room for one event. Dropped, it is given back and nothing is recorded.
#[derive(Debug)]
pub struct Reservation {
    pub(super) recorder: Recorder,
    pub(super) room: Room,
}

impl Reservation {
    /// Records the event, without waiting. What it returns says when every required sink has written it; dropping that does not
    /// lose the event.
    pub fn fill(self, origin: &Origin, activity: &Activity) -> Recorded {
        let draft = encode(self.recorder.identity(), origin, activity);
        self.put(draft, activity)
    }

    /// As [`Reservation::fill`], of an event that was encoded.
    pub(super) fn put(self, draft: Draft, activity: &Activity) -> Recorded {
        count(self.recorder.metrics(), activity);
        Recorded(self.room.fill(draft))
    }
}

/// The answer for an event that is on its way: a future.
#[derive(Debug)]
#[must_use = "an answer is for whoever is told of the operation"]
pub struct Recorded(oneshot::Receiver<Answer>);

impl Future for Recorded {
    type Output = Result<(), Unrecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(Unrecorded("its writer has stopped".into()))))
    }
}
