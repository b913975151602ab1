//! The recorder: takes events from everyone, writes them in batches, and answers when they are written.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::count::count;
use super::encode::{Identity, encode};
use super::queue::{Answer, Batch, Queue};
use super::sink::{self, Around, Manner, Sink, SinkHandle};
use super::{Activity, Archive, ArchivePlace, Origin, Settings, Unrecorded};
use crate::metrics::Metrics;

/// How long [`Recorder::close`] waits for a sink that operations do not wait for.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Takes events. Cheap to clone; shared by the whole process.
///
/// The order of the lines is the order in which events found room in the queue; `timestamp` and `event-id` are taken at that
/// moment, so ids ascend from line to line and a `timestamp` says when the event was queued (a blocked sink delays it).
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    queue: Arc<Queue>,
    sinks: Arc<[SinkHandle]>,
    metrics: Arc<Metrics>,
    closing: AtomicBool,
    closed: Mutex<bool>,
}

impl Recorder {
    /// Opens the sinks and starts writing, with counters of its own.
    ///
    /// # Errors
    /// When a sink cannot be opened; the message names it.
    pub async fn start(settings: Settings) -> io::Result<Recorder> {
        Recorder::start_with(settings, Arc::default()).await
    }

    /// Opens the sinks and starts writing. What the events tell (logins, failures, operations, bytes, files) and what becomes
    /// of them is counted in `metrics`.
    ///
    /// # Errors
    /// When a sink cannot be opened; the message names it.
    pub async fn start_with(settings: Settings, metrics: Arc<Metrics>) -> io::Result<Recorder> {
        Recorder::start_keeping(settings, BTreeMap::new(), metrics).await
    }

    /// As [`Recorder::start_with`], with the folders of stores that store sinks name.
    ///
    /// # Errors
    /// When a sink cannot be opened; the message names it.
    pub async fn start_keeping(
        settings: Settings,
        archives: BTreeMap<ArchivePlace, Arc<dyn Archive>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Recorder> {
        let around = Around { server: settings.server.clone(), archives };
        let mut sinks = Vec::with_capacity(settings.sinks.len());
        for sink in &settings.sinks {
            sinks.push((sink::open(sink, &around)?, Manner::from(sink)));
        }
        Recorder::over(Identity { server: settings.server, resource_arn: settings.resource_arn }, sinks, metrics)
    }

    /// Starts writing to sinks that are open. Needs a runtime.
    pub(super) fn over(
        identity: Identity,
        sinks: Vec<(Box<dyn Sink>, impl Into<Manner>)>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Recorder> {
        let sinks: Arc<[SinkHandle]> = sinks
            .into_iter()
            .map(|(sink, manner)| SinkHandle::start(sink, manner.into(), Arc::clone(&metrics)))
            .collect::<io::Result<_>>()?;
        let queue = Arc::new(Queue::new());
        tokio::spawn(write_batches(Arc::clone(&queue), Arc::clone(&sinks), Arc::clone(&metrics)));
        let (closing, closed) = (AtomicBool::new(false), Mutex::new(false));
        Ok(Recorder { inner: Arc::new(Inner { identity, queue, sinks, metrics, closing, closed }) })
    }

    /// Asks, before an operation, whether its event can be recorded: fails while a required sink is failing.
    ///
    /// # Errors
    /// [`Unrecorded`] with the sink and what is wrong with it. A failing sink is tried again every second and with every
    /// event, so that this succeeds again by itself.
    pub fn ready(&self) -> Result<(), Unrecorded> {
        if self.inner.closing.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.inner.sinks.iter().filter(|sink| sink.is_required()).try_for_each(SinkHandle::ready)
    }

    /// Records one event: returns when every required sink has written it. Never drops; waits while the queue is full.
    ///
    /// When the future is dropped while it waits for room, the event is not recorded; when it is dropped later, it is. Run it
    /// in a task that nobody cancels.
    ///
    /// # Errors
    /// [`Unrecorded`] when a required sink could not write it, or after [`Recorder::close`]. Lines that a sink could not
    /// write are kept, within a bound, and written when it recovers: an event may appear later than its caller was told.
    pub async fn record(&self, origin: &Origin, activity: Activity) -> Result<(), Unrecorded> {
        let inner = &*self.inner;
        if inner.closing.load(Ordering::Acquire) {
            return Err(closed());
        }
        let draft = encode(&inner.identity, origin, &activity);
        let room = inner.queue.room_for(&draft).await.ok_or_else(closed)?;
        let answer = room.fill(draft);
        count(&inner.metrics, &activity);
        answer.await.unwrap_or_else(|_| Err(Unrecorded("its writer has stopped".into())))
    }

    /// Opens the files of file sinks anew, after they were moved away (SIGHUP). Returns when later events go to the new
    /// files. A file that cannot be opened is logged, and the old one stays in use.
    pub async fn reopen(&self) {
        for sink in self.inner.sinks.iter() {
            sink.reopen().await;
        }
    }

    /// Writes what is queued, flushes and closes the sinks. Events recorded afterwards fail.
    ///
    /// Waits as long as a required sink blocks (nobody reads standard output): put a limit around it.
    pub async fn close(&self) {
        self.inner.closing.store(true, Ordering::Release);
        let mut closed = self.inner.closed.lock().await;
        if *closed {
            return;
        }
        self.inner.queue.drain().await;
        self.inner.queue.finish();
        for sink in self.inner.sinks.iter() {
            if sink.is_required() {
                sink.close().await;
            } else {
                // One that operations do not wait for does not hold up the end for long either.
                let _ = tokio::time::timeout(CLOSE_WAIT, sink.close()).await;
            }
        }
        *closed = true;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.finish();
    }
}

fn closed() -> Unrecorded {
    Unrecorded("it is closed".into())
}

/// The writer: one batch after the other, each to all sinks at once.
async fn write_batches(queue: Arc<Queue>, sinks: Arc<[SinkHandle]>, metrics: Arc<Metrics>) {
    while let Some(mut batch) = queue.next().await {
        let answer = deliver(&sinks, &mut batch).await;
        let events = batch.waiters.len() as u64;
        match answer {
            Ok(()) => metrics.events_recorded.add(events),
            Err(_) => metrics.events_refused.add(events),
        }
        queue.answer(batch, &answer);
    }
}

/// Gives the batch to every sink, then waits for those that are required.
async fn deliver(sinks: &[SinkHandle], batch: &mut Batch) -> Answer {
    let lines = Bytes::from(std::mem::take(&mut batch.lines));
    let answers: Vec<_> = sinks.iter().filter_map(|sink| sink.write(&lines, batch.waiters.len())).collect();
    let mut all = Ok(());
    for answer in answers {
        let one = answer.await.unwrap_or_else(|_| Err(Unrecorded("the thread of a sink has stopped".into())));
        all = all.and(one);
    }
    all
}
