//! Room for an event, taken before what the event tells of.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::count::count;
use super::encode::encode;
use super::line::Draft;
use super::queue::{Answer, Room};
use super::writer::Writer;
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
        self.put(draft, origin, activity)
    }

    /// As [`Reservation::fill`], of an event that was encoded.
    pub(super) fn put(self, draft: Draft, origin: &Origin, activity: &Activity) -> Recorded {
        count(self.recorder.metrics(), origin, activity);
        let writer = Some(Arc::clone(self.recorder.writer()));
        Recorded { answer: self.room.fill_quietly(draft), writer }
    }
}

/// The answer for an event that is on its way: a future. Whoever waits for it may become the one who writes; so it is to be
/// awaited without delay, or dropped, or [`Recorded::sent`] before something else is awaited.
#[derive(Debug)]
#[must_use = "an answer is for whoever is told of the operation"]
pub struct Recorded {
    answer: oneshot::Receiver<Answer>,
    /// Until somebody has been told to write.
    writer: Option<Arc<Writer>>,
}

impl Recorded {
    /// Leaves the event to another writer, when the caller has something else to wait for first.
    pub fn sent(mut self) -> Recorded {
        if let Some(writer) = self.writer.take() {
            writer.write_elsewhere();
        }
        self
    }
}

impl Future for Recorded {
    type Output = Result<(), Unrecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(writer) = self.writer.take() {
            writer.write_here();
        }
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(answer.unwrap_or_else(|_| Err(Unrecorded("its writer has stopped".into()))))
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.write_elsewhere();
        }
    }
}
