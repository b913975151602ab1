//! One logged-in connection: what its sessions share, what it moved, and what of it is still running.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::audit::{Origin, OwnRoom, Person, Protocol, Recorder, Reservation, Unrecorded};
use crate::metrics::Timings;
use crate::policy::{Operations, Permission, Rules};
use crate::stores::{Key, Provenance, Root, Store};
use crate::users::User;
use crate::vfs::{Mount, Transfers, Vfs};

use super::Session;
use super::open_files::OpenFiles;
use super::own_files::OwnFiles;
use super::uploads::Uploads;

/// How many files that are cut off the log names.
const MOST_TOLD: usize = 10;

/// What stands behind every home: the stores, what all transfers share, and the operator's choices.
#[derive(Debug, Clone)]
pub struct Backing {
    /// The stores of the configuration.
    pub stores: Vec<Arc<dyn Store>>,
    /// Where they are.
    pub roots: Arc<[Root]>,
    /// What all transfers share.
    pub transfers: Arc<Transfers>,
    /// Whether chmod and chown fail rather than being ignored.
    pub strict_setstat: bool,
}

/// The home of a user cannot be built: a sentence for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the home of {user} cannot be built: {what}")]
pub struct LoginError {
    user: Arc<str>,
    what: String,
}

/// One logged-in connection. Its channels are [`Session`]s.
#[derive(Debug)]
pub struct Login {
    user: Arc<User>,
    roots: Arc<[Root]>,
    origin: Origin,
    rules: Rules,
    vfs: Vfs,
    recorder: Recorder,
    protocols: Vec<Protocol>,
    strict_setstat: bool,
    totals: Totals,
    open_transfers: watch::Sender<usize>,
    work: Arc<Work>,
    open_files: Arc<OpenFiles>,
    /// A bit for each protocol that was spoken.
    spoken: AtomicU8,
    uploads: Arc<Uploads>,
    own_files: OwnFiles,
    draining: AtomicBool,
    ends: Mutex<Ends>,
    own_room: OwnRoom,
}

/// The ends of transfers that nobody waits for.
#[derive(Debug, Default)]
struct Ends {
    running: Vec<AbortHandle>,
    /// Whoever begins now is cut short as well.
    are_cut_short: bool,
}

/// Whether anything is running, and when something last was.
#[derive(Debug)]
struct Work {
    running: AtomicUsize,
    began: Instant,
    /// In milliseconds after `began`.
    last: AtomicU64,
}

impl Work {
    fn begins_or_ends(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// What a connection moved so far.
#[derive(Debug, Default)]
pub struct Totals {
    /// Bytes of files received.
    pub bytes_in: AtomicU64,
    /// Bytes of files sent.
    pub bytes_out: AtomicU64,
    /// Uploads that succeeded.
    pub files_in: AtomicU64,
    /// Downloads that ended.
    pub files_out: AtomicU64,
}

impl Login {
    /// Builds the home of `user`, who came from `origin` and may speak every protocol.
    ///
    /// # Errors
    /// As [`Login::for_protocols`].
    pub fn new(
        user: Arc<User>,
        origin: Origin,
        backing: &Backing,
        recorder: Recorder,
    ) -> Result<Arc<Login>, LoginError> {
        Login::for_protocols(&Protocol::ALL, user, origin, backing, recorder)
    }

    /// Builds the home of `user`, who came from `origin` and may speak `protocols`.
    ///
    /// # Errors
    /// When an entry names a store that does not exist or a target that is not a key.
    pub fn for_protocols(
        protocols: &[Protocol],
        user: Arc<User>,
        origin: Origin,
        backing: &Backing,
        recorder: Recorder,
    ) -> Result<Arc<Login>, LoginError> {
        let failed = |what: String| LoginError { user: user.name.clone(), what };
        let mut mounts = Vec::with_capacity(user.home.len());
        let mut rules = Vec::with_capacity(user.home.len());
        for home in &user.home {
            let store = backing
                .stores
                .iter()
                .find(|store| store.name() == home.store)
                .ok_or_else(|| failed(format!("there is no store named {:?}", home.store)))?;
            let target = Key::parse(&home.target).map_err(|error| failed(format!("{}: {error}", home.target)))?;
            let target = match home.permissions.has(Permission::Mkdir) {
                true => target,
                false => target.without_new_folders(),
            };
            mounts.push(Mount { entry: home.entry.clone(), store: store.clone(), target });
            rules.push((home.entry.clone(), home.permissions));
        }
        let own_room = recorder.room_of_connection(&user.name);
        let provenance = Provenance::new(&user.name, recorder.server(), &origin.session_id);
        Ok(Arc::new(Login {
            vfs: Vfs::on_account(&user.name, mounts, backing.transfers.clone()).with_provenance(provenance),
            rules: Rules::new(rules),
            user,
            roots: backing.roots.clone(),
            origin,
            recorder,
            protocols: protocols.to_vec(),
            strict_setstat: backing.strict_setstat,
            totals: Totals::default(),
            open_transfers: watch::Sender::new(0),
            work: Arc::new(Work { running: AtomicUsize::new(0), began: Instant::now(), last: AtomicU64::new(0) }),
            open_files: Arc::default(),
            spoken: AtomicU8::new(0),
            uploads: Arc::default(),
            own_files: OwnFiles::default(),
            draining: AtomicBool::new(false),
            ends: Mutex::default(),
            own_room,
        }))
    }

    /// Whether the login may be used with `protocol`; asked before [`Login::session`].
    pub fn serves(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }

    /// A session on a channel of this connection.
    pub fn session(self: &Arc<Self>, protocol: Protocol) -> Arc<Session> {
        let mut origin = self.origin.clone();
        origin.protocol = Some(protocol);
        self.spoken.fetch_or(1 << protocol as u8, Ordering::Relaxed);
        Arc::new(Session { login: self.clone(), origin, scope: Operations::ALL })
    }

    /// When the client logged in.
    pub fn began(&self) -> Instant {
        self.work.began
    }

    /// From now on no file is opened; what is open goes on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether no file is opened any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says in the log which files are cut off now, and why, if there are any.
    pub fn tell_cut(&self, why: &str) {
        let transfers = self.open_transfers();
        if transfers == 0 {
            return;
        }
        let files: Vec<String> = self.open_files.list(MOST_TOLD).into_iter().map(|file| file.path).collect();
        let Origin { session_id, source_ip, .. } = &self.origin;
        tracing::warn!(
            user = %self.user.name, address = %source_ip.to_canonical(), session = %session_id, transfers, ?files,
            "cut off: {why}"
        );
    }

    /// The user's login name.
    pub fn user_name(&self) -> &str {
        &self.user.name
    }

    /// Who is behind the user's name.
    pub fn person(&self) -> Option<&Arc<Person>> {
        self.origin.person.as_ref()
    }

    /// The user as of the login.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The roots of the stores that the home was built on.
    pub(super) fn roots(&self) -> &Arc<[Root]> {
        &self.roots
    }

    /// What was moved so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How many files are open.
    pub fn open_transfers(&self) -> usize {
        *self.open_transfers.borrow()
    }

    /// Whether an operation is running now; it counts as activity.
    pub fn is_busy(&self) -> bool {
        self.work.running.load(Ordering::Relaxed) > 0
    }

    /// How long no operation has been running.
    pub fn idle(&self) -> Duration {
        if self.is_busy() {
            return Duration::ZERO;
        }
        self.work.began.elapsed().saturating_sub(Duration::from_millis(self.work.last.load(Ordering::Relaxed)))
    }

    /// The protocols that were spoken so far.
    pub fn protocols(&self) -> Vec<Protocol> {
        let spoken = self.spoken.load(Ordering::Relaxed);
        Protocol::ALL.into_iter().filter(|protocol| spoken & (1 << *protocol as u8) != 0).collect()
    }

    pub(super) fn open_files(&self) -> &Arc<OpenFiles> {
        &self.open_files
    }

    /// Waits until no file is open: every transfer has its end event.
    pub async fn transfers_ended(&self) {
        // The sender lives as long as `self`, so this ends only when the count is zero.
        let _ = self.open_transfers.subscribe().wait_for(|open| *open == 0).await;
    }

    /// As [`Login::transfers_ended`], for at most `limit`; false when files are still open then.
    pub async fn transfers_ended_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.transfers_ended()).await.is_ok()
    }

    /// Takes room for an event of this connection, before what the event tells of; see [`Recorder::reserve`].
    ///
    /// # Errors
    /// When it cannot be recorded: then it must not be done.
    pub async fn reserve(&self, names: usize) -> Result<Reservation, Unrecorded> {
        self.recorder.reserve(&self.own_room, names).await
    }

    /// Runs the end of a transfer in a task of its own. Dropped half-way, it has to be on record.
    pub(super) fn end_aside(&self, end: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if !ends.are_cut_short {
            ends.running.retain(|end| !end.is_finished());
            ends.running.push(runtime.spawn(end).abort_handle());
        }
    }

    /// Records the ends of transfers that their store keeps waiting, as far as they are known; whatever it would do is not waited
    /// for any more. They are on record when [`Login::transfers_ended`] says so.
    pub fn cut_ends_short(&self) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.are_cut_short = true;
        ends.running.drain(..).for_each(|end| end.abort());
    }

    pub(super) fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What is being written.
    pub(super) fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// What was uploaded.
    pub(super) fn own_files(&self) -> &OwnFiles {
        &self.own_files
    }

    pub(super) fn strict_setstat(&self) -> bool {
        self.strict_setstat
    }

    /// Counts an open file until the token is dropped.
    pub(super) fn count_transfer(self: &Arc<Self>) -> OpenTransfer {
        self.open_transfers.send_modify(|open| *open += 1);
        OpenTransfer(self.clone())
    }

    /// Counts a running operation until the token is dropped, and measures it under the name of a request.
    pub(super) fn busy(&self, request: &'static str) -> Busy {
        self.work.running.fetch_add(1, Ordering::Relaxed);
        self.work.begins_or_ends();
        let timings = self.recorder.metrics().timings.clone();
        Busy { work: self.work.clone(), timings, request, began: Instant::now() }
    }
}

/// A file is open.
#[derive(Debug)]
pub(super) struct OpenTransfer(Arc<Login>);

impl Drop for OpenTransfer {
    fn drop(&mut self) {
        self.0.open_transfers.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// An operation is running.
pub(super) struct Busy {
    work: Arc<Work>,
    timings: Arc<Timings>,
    request: &'static str,
    began: Instant,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.timings.request(self.request, self.began.elapsed());
        self.work.begins_or_ends();
        self.work.running.fetch_sub(1, Ordering::Relaxed);
    }
}
