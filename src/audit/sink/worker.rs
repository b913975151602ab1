//! The thread of one sink: writes, keeps what could not be written, tries again, and says so in the log now and then.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Health, Shape, Sink, Target, Throttle};
use crate::audit::Unrecorded;
use crate::audit::queue::{Answer, Share};
use crate::metrics::{Metrics, Timer};

/// How often a failing sink is tried when no event comes.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that are kept for a failing sink: twice what the queue can have, so that operations that are under way when it begins to
/// fail lose nothing.
const MAX_OWED: usize = 2 * Share::total() as usize;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Write lines; then, for a number, begin a new file; tell the waiter, if there is one.
    Write { lines: Bytes, events: usize, rotates: Option<u64>, waiter: Option<oneshot::Sender<Answer>> },
    /// Look whether the sink fails: somebody else has written to it.
    Look,
    /// Open the target anew.
    Reopen(oneshot::Sender<()>),
    /// Write what is owed and end.
    Close(oneshot::Sender<()>),
}

/// Lines that are not written yet, each piece from the start of a line.
#[derive(Debug)]
struct Piece {
    lines: Bytes,
    events: usize,
    /// The number of the last line, when a new file begins after it.
    rotates: Option<u64>,
}

/// A worker, and whoever may use it: its thread, and who writes in place. Empty when it has ended.
#[derive(Debug, Clone)]
pub(super) struct Desk(Arc<Mutex<Option<Worker>>>);

impl Desk {
    /// Nobody else uses it yet.
    pub(super) fn new(worker: Worker) -> Desk {
        Desk(Arc::new(Mutex::new(Some(worker))))
    }

    /// The worker, if nobody uses it now.
    pub(super) fn try_use(&self) -> Option<MutexGuard<'_, Option<Worker>>> {
        match self.0.try_lock() {
            Ok(worker) => Some(worker),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does until it is told to close, or nobody can tell it anything any more.
    pub(super) fn run(&self, inbox: &Receiver<Command>) {
        while let Some(command) = self.next(inbox) {
            let mut place = self.lock();
            let Some(worker) = &mut *place else { return };
            match command {
                Command::Write { lines, events, rotates, waiter } => worker.answer(lines, events, rotates, waiter),
                Command::Look => {}
                Command::Reopen(done) => {
                    worker.reopen();
                    let _ = done.send(());
                }
                Command::Close(done) => {
                    worker.give_up();
                    // What it does at its end is done, too, when this is answered.
                    drop(place.take());
                    let _ = done.send(());
                    return;
                }
            }
        }
        if let Some(mut worker) = self.lock().take() {
            worker.give_up();
        }
    }

    /// The next command; while the sink fails, or wants to be looked at, settles meanwhile.
    fn next(&self, inbox: &Receiver<Command>) -> Option<Command> {
        while let Some(pause) = self.pause() {
            match inbox.recv_timeout(pause) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        inbox.recv().ok()
    }

    fn pause(&self) -> Option<Duration> {
        self.lock().as_ref().and_then(Worker::pause)
    }

    fn settle(&self) {
        if let Some(worker) = &mut *self.lock() {
            let _ = worker.settle();
        }
    }
}

/// A sink and what it owes.
pub(super) struct Worker {
    sink: Box<dyn Sink>,
    shape: Shape,
    health: Arc<Health>,
    backlog: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    owed: VecDeque<Piece>,
    owed_bytes: usize,
    /// Bytes of the first piece that are written.
    sent: usize,
    lost: u64,
    failures: Throttle,
    timer: Timer,
    /// The log says that it fails.
    logged: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("sink", &self.sink.name()).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        shape: Shape,
        health: Arc<Health>,
        backlog: Arc<AtomicUsize>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (owed, timer) = (VecDeque::new(), metrics.timings.sink(&sink.name()));
        Worker {
            sink,
            shape,
            health,
            backlog,
            metrics,
            owed,
            owed_bytes: 0,
            sent: 0,
            lost: 0,
            failures: Throttle::default(),
            timer,
            logged: false,
        }
    }

    fn answer(&mut self, lines: Bytes, events: usize, rotates: Option<u64>, waiter: Option<oneshot::Sender<Answer>>) {
        let length = lines.len();
        let answer = self.write(lines, events, rotates);
        self.backlog.fetch_sub(length, Ordering::AcqRel);
        if let Some(waiter) = waiter {
            let _ = waiter.send(answer);
        }
    }

    /// How long the thread waits for a command before it settles.
    fn pause(&self) -> Option<Duration> {
        if self.health.is_failing() { Some(RETRY) } else { self.sink.looks_again() }
    }

    /// Writes lines and, for a number, begins a new file after them.
    pub(super) fn write(&mut self, lines: Bytes, events: usize, rotates: Option<u64>) -> Answer {
        let (lines, events) = self.shape.apply(lines, events);
        if lines.is_empty() && rotates.is_none() {
            return Ok(());
        }
        let _running = self.timer.start();
        let piece = Piece { lines, events, rotates };
        let length = piece.lines.len();
        if self.owed_bytes + length > MAX_OWED {
            // Older lines first: the gap stands at the end, and what is written stays in order.
            let _ = self.settle();
        }
        if self.owed_bytes + length > MAX_OWED {
            self.lost += piece.events as u64;
            self.metrics.events_lost.add(piece.events as u64);
            return Err(Unrecorded(self.health.why()));
        }
        self.owed_bytes += length;
        self.owed.push_back(piece);
        self.settle()
    }

    /// Writes all that is owed, or as much as the sink takes.
    fn settle(&mut self) -> Answer {
        let settled = self.try_settle();
        self.health.owed.store(self.owed_bytes, Ordering::Relaxed);
        match settled {
            Ok(()) => {
                if std::mem::take(&mut self.logged) {
                    tracing::warn!(sink = %self.sink.name(), lost = self.lost, "events can be written again");
                }
                self.health.recovered();
                self.lost = 0;
                Ok(())
            }
            Err(error) => {
                let why = format!("{}: {error}", self.sink.name());
                self.health.failed(&why);
                self.log(&error);
                Err(Unrecorded(why))
            }
        }
    }

    fn try_settle(&mut self) -> io::Result<()> {
        if self.sink.prepare(self.health.is_failing())? == Target::Fresh {
            self.rewind();
        }
        while let Some(piece) = self.owed.front() {
            let rest = piece.lines.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.owed_bytes -= piece.lines.len();
                let rotates = piece.rotates;
                self.owed.pop_front();
                self.sent = 0;
                if let Some(last) = rotates {
                    self.rotate(last);
                }
                continue;
            }
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sink.settle()
    }

    /// A file that cannot be ended goes on: lines matter more than its length.
    fn rotate(&mut self, last: u64) {
        if let Err(error) = self.sink.rotate(last) {
            tracing::error!(sink = %self.sink.name(), %error, "no new file can be begun; events go on to the old one");
        }
    }

    /// The target is another one: a line that is half written in the old one is written whole in the new one.
    fn rewind(&mut self) {
        if let Some(written) = self.owed.front().and_then(|piece| piece.lines.get(..self.sent)) {
            self.sent = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        }
    }

    fn reopen(&mut self) {
        match self.sink.prepare(true) {
            Ok(Target::Fresh) => self.rewind(),
            Ok(Target::Same) => {}
            Err(error) => {
                tracing::error!(sink = %self.sink.name(), %error, "cannot be opened anew; events go on to what is open");
            }
        }
    }

    /// The end: one more try, then what is still owed is lost.
    fn give_up(&mut self) {
        let settled = self.owed.is_empty() || self.settle().is_ok();
        self.sink.close();
        if settled {
            return;
        }
        let events: usize = self.owed.iter().map(|piece| piece.events).sum();
        self.metrics.events_lost.add(events as u64);
        tracing::error!(sink = %self.sink.name(), events, "closed with events that could not be written");
    }

    fn log(&mut self, error: &io::Error) {
        if self.failures.is_due() {
            let (sink, owed) = (self.sink.name(), self.owed.iter().map(|piece| piece.events).sum::<usize>());
            tracing::error!(%sink, %error, owed, lost = self.lost, "events cannot be written; trying again each second");
            self.logged = true;
        }
    }
}
