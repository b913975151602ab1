//! The recorder: takes events from everyone, writes them in batches, and answers when they are written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::JoinHandle;

use super::checkpoint::Reason;
use super::encode::{Identity, encode};
use super::keeper::{Keeper, Notary};
use super::ledger::{Opening, Promise};
use super::look_back::{self, Before};
use super::own_room::{OwnRoom, Users};
use super::queue::{Answer, MIN_COST, Queue, Room, Share, cost};
use super::recovery::OnDisk;
use super::reservation::Reservation;
use super::sink::{self, Around, Manner, Sink, SinkHandle, SpoolState, batches_in, set_aside};
use super::witness::{Witness, WitnessState};
use super::writer::Writer;
use super::{
    Activity, Archive, ArchivePlace, ChainSettings, Fsync, Note, Origin, Recorded, Settings, SinkSettings, SinkTarget,
    Unrecorded, WitnessSettings,
};
use crate::metrics::Metrics;

/// How long the start waits until its checkpoint is written. A sink that takes longer shows in the log, and in [`Recorder::ready`].
const START_WAIT: Duration = Duration::from_secs(5);

/// How long [`Recorder::close`] waits for a sink that operations do not wait for.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How soon an event about deliveries that are set aside, or about the witness, follows another one.
const BETWEEN_TELLINGS: Duration = Duration::from_secs(10);

/// Takes events. Cheap to clone; shared by the whole process.
///
/// The order of the lines is the order in which events found room in the queue; `timestamp` and `event-id` are taken at that
/// moment, so ids ascend from line to line and a `timestamp` says when the event was queued (a blocked sink delays it).
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

/// How a sink is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkState {
    /// Where it writes.
    pub name: String,
    /// Whether operations wait for it.
    pub is_required: bool,
    /// Why it cannot be written.
    pub failure: Option<String>,
    /// Bytes on their way to it.
    pub backlog: usize,
    /// Bytes that it could not take yet.
    pub owed: usize,
    /// What waits on this machine until it is delivered.
    pub spool: Option<SpoolState>,
}

/// How the chain is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// Its id.
    pub chain: String,
    /// Whether it goes on over restarts.
    pub is_kept: bool,
    /// The fingerprint of the key that signs checkpoints.
    pub key: Option<String>,
    /// The number and the hash of the last line that was taken.
    pub last: u64,
    /// See `last`.
    pub last_hash: String,
    /// The number of the last line of which it is known that every required sink has it.
    pub acknowledged: u64,
    /// The last checkpoint of this process, and when it was made.
    pub checkpoint: Option<(u64, SystemTime)>,
    /// How soon after an event a checkpoint follows.
    pub checkpoint_every: Option<Duration>,
}

#[derive(Debug)]
struct Inner {
    notary: Notary,
    /// Whether the chain outlives the process, so that its end is worth a checkpoint.
    is_kept: bool,
    /// The folder of its state and its key, if there is one.
    folder: Option<PathBuf>,
    keeper: Option<JoinHandle<()>>,
    /// The task that tells of deliveries that are set aside and of the witness, where there may be any.
    teller: OnceLock<JoinHandle<()>>,
    sinks: Arc<[SinkHandle]>,
    writer: Arc<Writer>,
    metrics: Arc<Metrics>,
    users: Users,
    witness: Option<Arc<Witness>>,
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
        // First of all: where another process writes the chain, its files are not touched.
        let opening = open_chain(&settings)?;
        let witness = settings.chain.as_ref().and_then(|chain| chain.witness.as_ref());
        let witness =
            witness.map(|witness| start_witness(witness, &archives, before(&settings, &opening))).transpose()?;
        let ledger = Some(Arc::clone(&opening.ledger));
        let around = Around { server: settings.server.clone(), archives, ledger };
        let mut sinks = Vec::with_capacity(settings.sinks.len());
        for sink in &settings.sinks {
            sinks.push((sink::open(sink, &around)?, Manner::from(sink)));
        }
        let identity = Identity { server: settings.server, resource_arn: settings.resource_arn };
        let (recorder, start) = Recorder::begin(identity, sinks, metrics, opening, settings.chain, witness)?;
        if let Some(start) = start {
            let _ = tokio::time::timeout(START_WAIT, start).await;
        }
        Ok(recorder)
    }

    /// Starts writing to sinks that are open, a chain that ends with the process. Needs a runtime.
    #[cfg(test)]
    pub(super) fn over(
        identity: Identity,
        sinks: Vec<(Box<dyn Sink>, impl Into<Manner>)>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Recorder> {
        Recorder::begin(identity, sinks, metrics, Opening::fleeting(), None, None).map(|(recorder, _)| recorder)
    }

    /// The recorder, and the answer for its first checkpoint.
    fn begin(
        identity: Identity,
        sinks: Vec<(Box<dyn Sink>, impl Into<Manner>)>,
        metrics: Arc<Metrics>,
        opening: Opening,
        chain: Option<ChainSettings>,
        witness: Option<Arc<Witness>>,
    ) -> io::Result<(Recorder, Option<oneshot::Receiver<Answer>>)> {
        let sinks: Arc<[SinkHandle]> = sinks
            .into_iter()
            .map(|(sink, manner)| SinkHandle::start(sink, manner.into(), Arc::clone(&metrics)))
            .collect::<io::Result<_>>()?;
        let Opening { ledger, last, signer, start } = opening;
        let notary = Notary::new(identity, Queue::new(last), ledger, signer);
        // Before anything else can be recorded.
        let first = start.and_then(|reason| notary.record_now(reason));
        let wake = Arc::<Notify>::default();
        let (theirs, metered, troubled) = (Arc::clone(&sinks), Arc::clone(&metrics), Arc::clone(&wake));
        let writer = Arc::new(Writer::new(&notary, theirs, metered, troubled, witness.clone()));
        let runtime = Handle::current();
        // A thread of its own, for it writes the state of the chain, and a disk may take its time.
        let theirs = Arc::clone(&writer);
        std::thread::Builder::new().name("audit-chain".into()).spawn(move || runtime.block_on(theirs.run()))?;
        let (every, folder) = chain.map(|chain| (chain.checkpoint_every, chain.folder)).unzip();
        let keeper = Keeper::new(notary.clone(), Arc::clone(&sinks), every, wake);
        let keeper = keeper.is_needed().then(|| tokio::spawn(keeper.run()));
        let (closing, closed) = (AtomicBool::new(false), Mutex::new(false));
        let is_kept = start.is_some();
        let users = Users::default();
        let teller = OnceLock::new();
        let inner =
            Inner { notary, is_kept, folder, keeper, teller, sinks, writer, metrics, users, witness, closing, closed };
        let recorder = Recorder { inner: Arc::new(inner) };
        recorder.begin_to_tell();
        Ok((recorder, first))
    }

    fn begin_to_tell(&self) {
        let spools: Vec<_> = self.inner.sinks.iter().filter_map(SinkHandle::spool_itself).collect();
        if spools.is_empty() && self.inner.witness.is_none() {
            return;
        }
        let wake = Arc::<Notify>::default();
        spools.iter().for_each(|spool| spool.told().tell(Arc::clone(&wake)));
        self.inner.witness.iter().for_each(|witness| witness.tell(Arc::clone(&wake)));
        let _ = self.inner.teller.set(tokio::spawn(tell_news(Arc::downgrade(&self.inner), wake)));
    }

    /// Records what was set aside since the last time, and what of the witness does not fit.
    fn tell_news(&self) {
        for sink in self.inner.sinks.iter() {
            if let Some(message) = sink.spool_itself().and_then(|spool| spool.told().take(sink.name())) {
                self.record_error(set_aside::OPERATION, message);
            }
        }
        if let Some(message) = self.inner.witness.as_ref().and_then(|witness| witness.take_contradiction()) {
            self.record_error(look_back::OPERATION, message);
        }
    }

    /// Records an ERROR of the gateway itself. Without waiting: nobody could do anything about a sink that fails just now.
    pub(super) fn record_error(&self, operation: &str, message: String) {
        let note = Note { message, operation: Some(operation.to_owned()), path: None, logical_path: None };
        drop(self.record_late(&Origin::of_gateway(None), &Activity::Error(note)));
    }

    /// Asks, before an operation, whether its event can be recorded: fails while a required sink is failing.
    ///
    /// # Errors
    /// [`Unrecorded`] with the sink and what is wrong with it. A failing sink is tried again every second and with every
    /// event, so that this succeeds again by itself.
    pub fn ready(&self) -> Result<(), Unrecorded> {
        self.still_open()?;
        self.inner.notary.ledger.ready()?;
        self.inner.sinks.iter().filter(|sink| sink.is_required()).try_for_each(SinkHandle::ready)
    }

    /// The sinks, and how each is.
    pub fn sinks(&self) -> Vec<SinkState> {
        let state = |sink: &SinkHandle| SinkState {
            name: sink.name().to_owned(),
            is_required: sink.is_required(),
            failure: sink.ready().err().map(|Unrecorded(why)| why),
            backlog: sink.backlog(),
            owed: sink.owed(),
            spool: sink.spool(),
        };
        self.inner.sinks.iter().map(state).collect()
    }

    /// The witness, and how it is; `None` where there is none.
    pub fn witness(&self) -> Option<WitnessState> {
        self.inner.witness.as_ref().map(|witness| witness.state())
    }

    /// Counts again what the spools have set aside: other processes change it. It may take as long as the disk does.
    pub fn count_set_aside(&self) {
        self.inner.sinks.iter().filter_map(|sink| sink.spool_itself()).for_each(|spool| spool.count_set_aside());
    }

    /// Looks at the disks of the sinks for which operations wait, files and spools: what keeps each from taking lines, by the sink's name.
    /// Before the next event finds out; it may take as long as the disk does, so it is not for a task of the runtime.
    pub fn look_at_disks(&self) -> Vec<(String, String)> {
        let required = self.inner.sinks.iter().filter(|sink| sink.is_required());
        required.filter_map(|sink| Some((sink.name().to_owned(), sink.fault()?))).collect()
    }

    /// How the chain is.
    pub fn chain(&self) -> ChainState {
        let Notary { queue, ledger, .. } = &self.inner.notary;
        // What is acknowledged first: it is never ahead of the last line.
        let acknowledged = ledger.acknowledged();
        let (last, checkpoint) = queue.last();
        ChainState {
            chain: ledger.chain().to_string(),
            is_kept: self.inner.is_kept,
            key: self.inner.notary.signer().key().map(|key| key.fingerprint().to_owned()),
            last: last.sequence,
            last_hash: last.hash.to_string(),
            acknowledged,
            checkpoint,
            checkpoint_every: ledger.checkpoint_every(),
        }
    }

    pub(super) fn notary(&self) -> &Notary {
        &self.inner.notary
    }

    /// The folder of the chain's state and its key.
    pub(super) fn chain_folder(&self) -> Option<&Path> {
        self.inner.folder.as_deref()
    }

    pub(super) fn writer(&self) -> &Arc<Writer> {
        &self.inner.writer
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.inner.notary.identity
    }

    /// The server's name, as events have it.
    pub fn server(&self) -> &str {
        &self.identity().server
    }

    /// Where events are counted, and what else the gateway counts.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Waits for room for an event of the gateway itself, in which no user takes part. It is not asked whether sinks work: what
    /// they cannot write is kept, within a bound, and written when they recover.
    ///
    /// # Errors
    /// [`Unrecorded`] after [`Recorder::close`].
    pub async fn reserve_for_gateway(&self) -> Result<Reservation, Unrecorded> {
        self.still_open()?;
        let room = self.inner.notary.queue.room_for(Share::Trail, MIN_COST).await.ok_or_else(closed)?;
        Ok(self.reservation(room))
    }

    /// What another connection of this user may have in the queue, for [`Recorder::reserve`].
    pub fn room_of_connection(&self, user: &Arc<str>) -> OwnRoom {
        self.inner.users.connect(user)
    }

    /// Takes room for the event of an operation, before the operation: waits for it, and asks whether events can be recorded at
    /// all. `names` is how many bytes the names in the event have. The room is of the user's part of what all operations share, or else
    /// of what the connection has for itself: a store that does not answer keeps what it took. From then on, no cancellation can lose
    /// the event; when this future is dropped, there is no room and must be no operation.
    ///
    /// # Errors
    /// As [`Recorder::ready`].
    pub async fn reserve(&self, own: &OwnRoom, names: usize) -> Result<Reservation, Unrecorded> {
        self.ready()?;
        // Escaped, a name may be longer; then the line takes more than its room, and the next one waits for it.
        let cost = MIN_COST.saturating_add(u32::try_from(names).unwrap_or(u32::MAX).saturating_mul(2));
        let room = self.inner.notary.queue.room_of(own, cost).await.ok_or_else(closed)?;
        // It may have been a long wait.
        self.ready()?;
        Ok(self.reservation(room))
    }

    /// Room for the event of an operation that happened already or that nothing stops any more, beyond the bound of the queue
    /// if need be: whoever comes later waits until it is paid back. For the ends of what is bounded by itself, open files above
    /// all.
    pub fn reserve_late(&self) -> Reservation {
        self.late(Share::Operations)
    }

    /// Records what happened to a session already and is bounded by itself, without waiting, as with
    /// [`Recorder::reserve_late`].
    pub fn record_late(&self, origin: &Origin, activity: &Activity) -> Recorded {
        self.late(Share::Trail).fill(origin, activity)
    }

    /// Whether there is room for an event of the gateway or of a session: not while a sink stalls.
    pub fn has_room(&self) -> bool {
        self.inner.notary.queue.room_now(Share::Trail, MIN_COST).is_some()
    }

    /// Whether what strangers cause can be recorded without getting too far ahead of the sinks. Asked before a connection
    /// is let in: what it does then is recorded in any case.
    pub fn has_room_for_strangers(&self) -> bool {
        self.inner.notary.queue.room_now(Share::Strangers, MIN_COST).is_some()
    }

    /// As [`Recorder::record_late`], of a connection that has not logged in. It takes nothing of what users need.
    pub fn record_stranger(&self, origin: &Origin, activity: &Activity) -> Recorded {
        self.late(Share::Strangers).fill(origin, activity)
    }

    /// As [`Recorder::record_stranger`], if there is room. False if not: then it is not recorded.
    pub fn record_stranger_now(&self, origin: &Origin, activity: &Activity) -> bool {
        self.record_now(origin, activity, |cost| self.inner.notary.queue.room_now(Share::Strangers, cost))
    }

    /// Records what nobody who was recognised did at the admin door, if there is room. It takes nothing of what others need, those who
    /// come over SSH included. False if there is none: then it is not recorded.
    pub fn record_at_door_now(&self, origin: &Origin, activity: &Activity) -> bool {
        self.record_now(origin, activity, |cost| self.inner.notary.queue.room_now(Share::Door, cost))
    }

    /// Records what happened already, in the room of [`Recorder::reserve`], if there is some without waiting. False if not: then it is
    /// not recorded.
    pub fn record_own_now(&self, own: &OwnRoom, origin: &Origin, activity: &Activity) -> bool {
        self.record_now(origin, activity, |cost| self.inner.notary.queue.room_of_now(own, cost))
    }

    fn record_now(&self, origin: &Origin, activity: &Activity, room: impl FnOnce(u32) -> Option<Room>) -> bool {
        let draft = encode(&self.inner.notary.identity, origin, activity);
        // Nobody waits for the answer.
        room(cost(&draft)).map(|room| drop(self.reservation(room).put(draft, origin, activity))).is_some()
    }

    fn reservation(&self, room: Room) -> Reservation {
        Reservation { recorder: self.clone(), room }
    }

    fn late(&self, share: Share) -> Reservation {
        self.reservation(self.inner.notary.queue.room_beyond(share))
    }

    fn still_open(&self) -> Result<(), Unrecorded> {
        if self.inner.closing.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Opens the files of file sinks anew, after they were moved away (SIGHUP). Returns when later events go to the new
    /// files. A file that cannot be opened is logged, and the old one stays in use.
    pub async fn reopen(&self) {
        for sink in self.inner.sinks.iter() {
            sink.reopen().await;
        }
    }

    /// Writes what is queued and a last checkpoint, flushes and closes the sinks. Events recorded afterwards fail.
    ///
    /// Waits as long as a required sink blocks (nobody reads standard output): put a limit around it.
    pub async fn close(&self) {
        let inner = &*self.inner;
        if !inner.closing.load(Ordering::Acquire) {
            self.tell_news();
        }
        inner.closing.store(true, Ordering::Release);
        let mut closed = inner.closed.lock().await;
        if *closed {
            return;
        }
        inner.end_chain().await;
        tokio::join!(inner.close_sinks(), inner.end_witness());
        *closed = true;
    }
}

impl Inner {
    async fn close_sinks(&self) {
        for sink in self.sinks.iter() {
            if sink.is_required() {
                sink.close().await;
            } else {
                // One that operations do not wait for does not hold up the end for long either.
                let _ = tokio::time::timeout(CLOSE_WAIT, sink.close()).await;
            }
        }
    }

    /// Lets the last checkpoint be witnessed.
    async fn end_witness(&self) {
        let Some(witness) = &self.witness else { return };
        if tokio::time::timeout(CLOSE_WAIT, witness.finish()).await.is_err() {
            witness.give_up();
        }
    }

    /// Lets what waits be written, then the last line of the chain.
    async fn end_chain(&self) {
        let Notary { queue, ledger, .. } = &self.notary;
        let room = queue.drain().await;
        if let (true, Some(room)) = (self.is_kept, room) {
            let complete = matches!(self.notary.fill(room, Reason::Shutdown, None).await, Ok(Ok(())));
            let ledger = Arc::clone(ledger);
            let _ = tokio::task::spawn_blocking(move || ledger.end(complete)).await;
        }
        queue.finish();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.notary.queue.finish();
        for task in self.keeper.iter().chain(self.teller.get()) {
            task.abort();
        }
    }
}

/// Tells of what is set aside, and of what the witness says, when it is so, and sums up what follows soon after.
async fn tell_news(inner: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        let Some(inner) = inner.upgrade() else { return };
        Recorder { inner }.tell_news();
        tokio::time::sleep(BETWEEN_TELLINGS).await;
    }
}

fn closed() -> Unrecorded {
    Unrecorded("it is closed".into())
}

fn start_witness(
    settings: &WitnessSettings,
    archives: &BTreeMap<ArchivePlace, Arc<dyn Archive>>,
    before: Before,
) -> io::Result<Arc<Witness>> {
    let archive = archives.get(&settings.place).cloned().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the store {:?} of the witness is not there", settings.place.store),
        )
    })?;
    Ok(Arc::new(Witness::start(settings, archive, Some(before))))
}

/// The chain of the settings' folder; without one, a chain of this process.
fn open_chain(settings: &Settings) -> io::Result<Opening> {
    let Some(chain) = &settings.chain else { return Ok(Opening::fleeting()) };
    let batches = settings.sinks.iter().filter(|sink| sink.shape.is_plain()).filter_map(SinkSettings::spool);
    let batches = batches.map(|spool| batches_in(&spool.folder)).collect::<io::Result<Vec<_>>>()?.concat();
    let on_disk = OnDisk { files: whole_files(settings), batches };
    Opening::of(chain, &on_disk, promise(&settings.sinks))
}

/// Where the chain goes on, for the witness.
fn before(settings: &Settings, opening: &Opening) -> Before {
    Before {
        server: settings.server.clone(),
        chain: opening.ledger.chain().to_string(),
        last: opening.last,
        keys: opening.signer.keys(),
        files: whole_files(settings),
    }
}

/// How soon the state of the chain has to be on the disk for these sinks.
fn promise(sinks: &[SinkSettings]) -> Promise {
    let shows_at_once = |sink: &SinkSettings| {
        sink.shape.is_plain() && matches!(sink.target, SinkTarget::Stdout | SinkTarget::Syslog(_) | SinkTarget::Own(_))
    };
    let is_strict = |sink: &SinkSettings| match &sink.target {
        SinkTarget::File { options, .. } => options.fsync == Fsync::Batch,
        _ => sink.spool().is_some_and(|spool| spool.fsync == Fsync::Batch),
    };
    match (sinks.iter().any(shows_at_once), sinks.iter().any(is_strict)) {
        (false, _) => Promise::BeforeTheyLeave,
        (true, false) => Promise::SoonAfter,
        (true, true) => Promise::Before,
    }
}

/// The files of sinks that hold every line as it is: one with gaps cannot be followed.
fn whole_files(settings: &Settings) -> Vec<PathBuf> {
    settings
        .sinks
        .iter()
        .filter_map(|sink| match &sink.target {
            SinkTarget::File { path, .. } if sink.shape.is_plain() => Some(path.clone()),
            SinkTarget::File { .. }
            | SinkTarget::Stdout
            | SinkTarget::Memory(_)
            | SinkTarget::Own(_)
            | SinkTarget::Store(_)
            | SinkTarget::Syslog(_)
            | SinkTarget::Http(_) => None,
        })
        .collect()
}
