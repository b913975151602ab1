//! Sinks: where lines end. Each has a thread of its own, so that one that blocks holds up neither the runtime nor the others.

mod address;
mod authorities;
mod carrier;
mod delivery;
mod disk;
mod ecs;
mod file;
mod filter;
mod heading;
mod held_paths;
mod http;
pub(super) mod memory;
mod notify;
mod ocsf;
mod old_files;
mod own;
mod reach;
mod redeliver;
mod rest;
pub(super) mod rotation;
pub(super) mod set_aside;
mod settings;
mod shape;
mod spool;
mod spooled;
pub(super) mod stdout;
mod store;
mod sync;
mod syslog;
mod undelivered;
mod webhook;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::queue::{Answer, MAX_BYTES};
use super::{Archive, Unrecorded};
use crate::metrics::Metrics;
use disk::Appended;
use rotation::Rotation;
use spool::Spool;
use worker::{Command, Desk, Worker};

pub use address::{CollectorHeader, CollectorUrl, FACILITIES};
pub use authorities::read_authorities;
pub use filter::{ACTIVITIES, Filter, UserPatterns};
pub use notify::{TEMPORARY_NAMES, TEMPORARY_WITHIN, TemporaryNames};
pub use ocsf::OcsfVersion;
pub(super) use old_files::newest_of;
pub use own::{LineSink, OwnSink};
pub use redeliver::Redelivered;
pub use settings::{
    ArchivePlace, BatchSettings, DEFAULT_FACILITY, Encoding, FileOptions, Framing, Fsync, HostPort, HttpTarget,
    OnFailure, Rotate, SinkSettings, SinkTarget, SpoolSettings, StoreTarget, SyslogAddress, SyslogTarget, tell_apart,
};
pub use shape::{Format, Shape};
pub use spool::SpoolState;
pub(super) use spool::batches_in;
pub(super) use sync::Syncer;
pub use webhook::WebhookSecret;

/// What a sink does with bytes. Called from one thread, and may block it.
pub(super) trait Sink: Send {
    /// How messages name it.
    fn name(&self) -> String;

    /// Called before lines are written; `again` after a failure or when the operator asks for it: look whether the target is
    /// still the right one.
    fn prepare(&mut self, again: bool) -> io::Result<Target> {
        let _ = again;
        Ok(Target::Same)
    }

    /// Writes some of `bytes`, as [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Called when all lines so far are written, before anybody is told so.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Says when it wants to begin a new file, if it ever does.
    fn rotation(&self) -> Option<Arc<Rotation>> {
        None
    }

    /// Ends the file and begins a new one; `last` is the number of the last line.
    fn rotate(&mut self, last: u64) -> io::Result<()> {
        let _ = last;
        Ok(())
    }

    /// Whether to write to it and to settle is a matter of microseconds as long as its disk is quick.
    fn is_quick(&self) -> bool {
        false
    }

    /// Whether SIGHUP means something to it.
    fn reopens(&self) -> bool {
        false
    }

    /// After how long without a line [`Sink::prepare`] is to be called all the same; `None` when it need not be.
    fn looks_again(&self) -> Option<Duration> {
        None
    }

    /// The spool that it fills, if it fills one.
    fn spool(&self) -> Option<Weak<Spool>> {
        None
    }

    /// The file that it appends to, if it does.
    fn appended(&self) -> Option<Weak<Appended>> {
        None
    }

    /// Called once, after the last write: brings on its way what waits, and does not take long.
    fn close(&mut self) {}
}

/// What [`Sink::prepare`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// What was written before is there: a line that was begun goes on.
    Same,
    /// Another one: a line that was begun is written anew.
    Fresh,
}

/// What sinks are opened with beside their settings.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The server's name.
    pub(super) server: String,
    /// The folders of stores that store sinks name.
    pub(super) archives: BTreeMap<ArchivePlace, Arc<dyn Archive>>,
    /// What is noted of the chain, and has to be on the disk before a batch of its lines leaves the machine.
    pub(super) ledger: Option<Arc<Ledger>>,
}

/// Opens a sink. Needs a runtime.
pub(super) fn open(settings: &SinkSettings, around: &Around) -> io::Result<Box<dyn Sink>> {
    Ok(match &settings.target {
        SinkTarget::Stdout => Box::new(stdout::StdoutSink::open(settings.shape.format == Format::TransferFamily)?),
        SinkTarget::File { path, options } => Box::new(file::FileSink::open(path, options)?),
        SinkTarget::Store(target) => Box::new(store::open(target, &settings.shape, around)?),
        SinkTarget::Syslog(target) => Box::new(syslog::SyslogSink::new(target, around)),
        SinkTarget::Http(target) => Box::new(http::open(target, &settings.shape, around)?),
        SinkTarget::Memory(memory) => Box::new(Arc::clone(memory)),
        SinkTarget::Own(own) => Box::new(own.open()),
    })
}

/// How a sink is used, whatever it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    /// What it takes.
    pub(super) shape: Shape,
    /// Whether operations wait for it.
    pub(super) on_failure: OnFailure,
}

impl From<OnFailure> for Manner {
    fn from(on_failure: OnFailure) -> Self {
        Manner { shape: Shape::default(), on_failure }
    }
}

impl From<&SinkSettings> for Manner {
    fn from(settings: &SinkSettings) -> Self {
        Manner { shape: settings.shape.clone(), on_failure: settings.on_failure }
    }
}

/// Whether a sink works, and if not, why.
#[derive(Debug, Default)]
struct Health {
    failing: AtomicBool,
    why: Mutex<String>,
    /// Bytes that could not be written yet.
    owed: AtomicUsize,
}

impl Health {
    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    fn failed(&self, why: &str) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why.to_owned();
        self.failing.store(true, Ordering::Release);
    }

    fn recovered(&self) {
        self.failing.store(false, Ordering::Release);
    }

    fn why(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Lets one message through, then none for a minute.
#[derive(Debug, Default)]
struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    const EVERY: Duration = Duration::from_secs(60);

    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= Self::EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// A sink that runs in its thread.
#[derive(Debug)]
pub(super) struct SinkHandle {
    name: String,
    on_failure: OnFailure,
    reopens: bool,
    rotation: Option<Arc<Rotation>>,
    health: Arc<Health>,
    spool: Option<Weak<Spool>>,
    appended: Option<Weak<Appended>>,
    /// Bytes on the way to the thread.
    backlog: Arc<AtomicUsize>,
    commands: mpsc::Sender<Command>,
    /// Of a sink that is quick: to write to it without its thread.
    desk: Option<Desk>,
    metrics: Arc<Metrics>,
    behind: Throttle,
}

/// A sink that whoever has this writes to, in its thread's stead.
#[derive(Debug)]
pub(super) struct SinkHere<'a> {
    worker: MutexGuard<'a, Option<Worker>>,
    handle: &'a SinkHandle,
}

impl SinkHere<'_> {
    /// As [`SinkHandle::write`], at once.
    pub(super) fn write(&mut self, lines: Bytes, events: usize, rotates: Option<u64>) -> Answer {
        let Some(worker) = &mut *self.worker else {
            return Err(Unrecorded("the sink is closed".into()));
        };
        let length = lines.len();
        self.handle.backlog.fetch_add(length, Ordering::AcqRel);
        let answer = worker.write(lines, events, rotates);
        self.handle.backlog.fetch_sub(length, Ordering::AcqRel);
        if answer.is_err() {
            // The thread tries again from now on.
            let _ = self.handle.commands.send(Command::Look);
        }
        answer
    }
}

impl SinkHandle {
    /// Starts the thread.
    pub(super) fn start(sink: Box<dyn Sink>, manner: Manner, metrics: Arc<Metrics>) -> io::Result<SinkHandle> {
        let (name, reopens, rotation) = (sink.name(), sink.reopens(), sink.rotation());
        let (spool, appended) = (sink.spool(), sink.appended());
        let (health, backlog) = (Arc::<Health>::default(), Arc::<AtomicUsize>::default());
        let (commands, inbox) = mpsc::channel();
        let Manner { shape, on_failure } = manner;
        let is_quick = sink.is_quick();
        let desk = Desk::new(Worker::new(sink, shape, Arc::clone(&health), Arc::clone(&backlog), Arc::clone(&metrics)));
        let theirs = desk.clone();
        std::thread::Builder::new().name("audit-sink".into()).spawn(move || theirs.run(&inbox))?;
        let (behind, desk) = (Throttle::default(), is_quick.then_some(desk));
        Ok(SinkHandle {
            name,
            on_failure,
            reopens,
            rotation,
            health,
            spool,
            appended,
            backlog,
            commands,
            desk,
            metrics,
            behind,
        })
    }

    /// When it wants to begin a new file, if it ever does.
    pub(super) fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_deref()
    }

    /// How messages name it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that were handed over and are not written yet.
    pub(super) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Acquire)
    }

    /// Bytes that it could not take yet.
    pub(super) fn owed(&self) -> usize {
        self.health.owed.load(Ordering::Relaxed)
    }

    /// How its spool is, if it has one and is not closed.
    pub(super) fn spool(&self) -> Option<SpoolState> {
        self.spool.as_ref().and_then(Weak::upgrade).map(|spool| spool.state())
    }

    /// Its spool, to be looked at.
    pub(super) fn spool_itself(&self) -> Option<Arc<Spool>> {
        self.spool.as_ref().and_then(Weak::upgrade)
    }

    /// What keeps it from taking the next line, as far as a look at its disk can tell. It may take as long as the disk does.
    pub(super) fn fault(&self) -> Option<String> {
        let spool = self.spool_itself().and_then(|spool| spool.fault());
        spool.or_else(|| self.appended.as_ref()?.upgrade()?.fault())
    }

    /// Whether operations wait for it.
    pub(super) fn is_required(&self) -> bool {
        self.on_failure == OnFailure::Refuse
    }

    /// Fails while the sink does.
    pub(super) fn ready(&self) -> Answer {
        if self.health.is_failing() { Err(Unrecorded(self.health.why())) } else { Ok(()) }
    }

    /// The sink, to be written by the caller; `None` when that is the thread's: of a sink that is not quick, that fails, or
    /// that the thread is busy with.
    pub(super) fn here(&self) -> Option<SinkHere<'_>> {
        let desk = self.desk.as_ref().filter(|_| !self.health.is_failing())?;
        let worker = desk.try_use().filter(|worker| worker.is_some())?;
        Some(SinkHere { worker, handle: self })
    }

    /// Hands lines over; `rotates` is the number of the last one when a new file begins after it. A required sink answers;
    /// another one takes them if it is not too far behind, and nobody waits.
    pub(super) fn write(
        &self,
        lines: &Bytes,
        events: usize,
        rotates: Option<u64>,
    ) -> Option<oneshot::Receiver<Answer>> {
        if !self.is_required() && self.backlog.load(Ordering::Acquire) + lines.len() > MAX_BYTES as usize {
            self.metrics.events_lost.add(events as u64);
            if self.behind.is_due() {
                let lost = self.metrics.events_lost.get();
                tracing::error!(sink = %self.name, events, lost, "the sink is too far behind: events are lost there");
            }
            return None;
        }
        let (waiter, answer) = oneshot::channel();
        self.backlog.fetch_add(lines.len(), Ordering::AcqRel);
        let waiter = self.is_required().then_some(waiter);
        let wanted = waiter.is_some();
        // When the thread has stopped, the waiter is dropped with the command, and the receiver says so.
        let _ = self.commands.send(Command::Write { lines: lines.clone(), events, rotates, waiter });
        wanted.then_some(answer)
    }

    /// Opens the target anew, if that means something; returns when it is done.
    pub(super) async fn reopen(&self) {
        if self.reopens {
            let (done, wait) = oneshot::channel();
            let _ = self.commands.send(Command::Reopen(done));
            let _ = wait.await;
        }
    }

    /// Tries once more to write what is owed and ends the thread; returns when it is done.
    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        let _ = self.commands.send(Command::Close(done));
        let _ = wait.await;
    }
}
