//! One connection from the first byte to DISCONNECTED: its deadlines, its drain, and what is recorded at its end.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use russh::server::{Handle, RunningSession, run_stream};
use russh::{Disconnect, MethodSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{MutexGuard, Notify, OwnedSemaphorePermit, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::auth::{Attempts, Examiner};
use super::channels::ChannelTasks;
use super::defender::Arrival;
use super::exchanges::Computations;
use super::handler::Door;
use super::proof::Accepted;
use super::stream::{Line, WatchedStream};
use super::{Homes, Phase, Shared};
use crate::audit::{
    Activity, AuthFailureReason, Connected, Disconnected, Note, Origin, Recorded, Recorder, Rejected, Reservation,
};
use crate::metrics::Metrics;
use crate::session::{Entered, LiveSession, Login, Protocol};

/// What a client is told that a drain ends.
const SHUTTING_DOWN: &str = "the gateway is shutting down";

/// How long a session that was told to end may take before its socket is cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes that a CONNECTED may have besides what every event has: a long key above all.
const MOST_OF_A_LOGIN: usize = 2048;

/// How long the answer to the last close may take to reach the client before a drain ends the session.
const SETTLE: Duration = Duration::from_millis(250);

/// What belongs to one connection.
pub(super) struct Visit {
    shared: Arc<Shared>,
    homes: Arc<Homes>,
    line: Arc<Line>,
    proxy_header: Option<&'static str>,
    attempts: tokio::sync::Mutex<Attempts>,
    login: OnceLock<Arc<Login>>,
    let_in: watch::Sender<bool>,
    /// The session began and could not be recorded: the client is not let in, and there is no other session.
    unrecorded: Notify,
    channels: ChannelTasks,
    slots: Mutex<Slots>,
}

/// What a connection takes up until it has logged in.
#[derive(Debug)]
pub(super) struct Waiting {
    /// One of all that may wait.
    pub(super) _place: OwnedSemaphorePermit,
    /// One of those of its address.
    pub(super) _arrival: Arrival,
}

/// A connection that may speak.
pub(super) struct Arrived<S> {
    pub(super) socket: S,
    /// What was read from the socket and belongs to SSH.
    pub(super) read: Vec<u8>,
    /// Where it really comes from.
    pub(super) source: SocketAddr,
    /// What became of a balancer's header, for CONNECTED.
    pub(super) proxy_header: Option<&'static str>,
    pub(super) waiting: Waiting,
}

/// Places that a connection takes up.
struct Slots {
    unauthenticated: Option<Waiting>,
    session: Option<(OwnedSemaphorePermit, Entered)>,
    /// The connection has ended: nobody logs in any more.
    is_over: bool,
}

/// How a connection ended; the `reason` and `message` of DISCONNECTED.
#[derive(Debug)]
struct Ending {
    reason: Cow<'static, str>,
    message: Option<String>,
    /// The administrator who ended it.
    by: Option<String>,
}

impl Ending {
    fn new(reason: &'static str) -> Self {
        Ending { reason: reason.into(), message: None, by: None }
    }

    /// What the client is told. It need not know which administrator it was.
    fn sentence(&self) -> String {
        match (&self.message, &self.by) {
            (Some(message), Some(_)) => format!("ended by an administrator: {message}"),
            (Some(message), None) => message.clone(),
            (None, _) => self.reason.clone().into_owned(),
        }
    }

    fn because(reason: &'static str, message: impl Into<String>) -> Self {
        Ending { reason: reason.into(), message: Some(message.into()), by: None }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<S>(arrived: Arrived<S>, shared: Arc<Shared>, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let started = Instant::now();
    let (stream, line) = WatchedStream::new(arrived.socket, &arrived.read);
    let visit = Arc::new(Visit::new(shared, line, arrived.source, arrived.proxy_header, arrived.waiting));
    let ending = visit.run(stream, phase.clone()).await;
    // What ends with the gateway says nothing of the client.
    let counts = *phase.borrow() == Phase::Running;
    visit.finish(ending, started, counts).await;
}

impl Visit {
    fn new(
        shared: Arc<Shared>,
        line: Arc<Line>,
        source: SocketAddr,
        proxy_header: Option<&'static str>,
        waiting: Waiting,
    ) -> Self {
        let homes = shared.homes();
        let origin = super::origin_of(source);
        let examiner = Examiner {
            directory: homes.directory.clone(),
            verifier: shared.verifier.clone(),
            decoy: homes.decoy.clone(),
            recorder: shared.recorder.clone(),
            authorities: homes.authorities.clone(),
        };
        Visit {
            attempts: tokio::sync::Mutex::new(Attempts::new(examiner, origin, line.clone())),
            shared,
            homes,
            line,
            proxy_header,
            login: OnceLock::new(),
            let_in: watch::Sender::new(false),
            unrecorded: Notify::new(),
            channels: ChannelTasks::default(),
            slots: Mutex::new(Slots { unauthenticated: Some(waiting), session: None, is_over: false }),
        }
    }

    pub(super) fn login(&self) -> Option<&Arc<Login>> {
        self.login.get()
    }

    pub(super) fn channels(&self) -> &ChannelTasks {
        &self.channels
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    pub(super) fn banner(&self) -> Option<String> {
        self.shared.settings.banner.clone()
    }

    /// The methods on offer.
    pub(super) fn methods(&self) -> MethodSet {
        super::methods(self.homes.offers_password)
    }

    /// Whether a password is of use to anybody.
    pub(super) fn takes_passwords(&self) -> bool {
        self.homes.offers_password
    }

    fn config(&self) -> Arc<russh::server::Config> {
        match self.homes.offers_password {
            true => self.shared.config_with_passwords.clone(),
            false => self.shared.config.clone(),
        }
    }

    pub(super) async fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().await
    }

    pub(super) async fn origin(&self) -> Origin {
        self.attempts().await.origin()
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    pub(super) fn computations(&self) -> &Computations {
        &self.shared.computations
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Records what happened, without waiting for a sink that stalls: of a user or of a stranger.
    async fn record(&self, activity: Activity) {
        let origin = self.origin().await;
        drop(match self.login() {
            Some(_) => self.recorder().record_late(&origin, &activity),
            None => self.recorder().record_stranger(&origin, &activity),
        });
    }

    /// An attempt succeeded: takes a session's place, builds the home, records CONNECTED. False when one of these fails;
    /// the attempt is then refused.
    pub(super) async fn let_in(&self, accepted: Accepted) -> bool {
        let Ok(place) = self.shared.sessions.clone().try_acquire_owned() else {
            let message = format!("the limit of {} sessions is reached", self.shared.settings.limits.sessions);
            self.record(rejection("too-many-sessions", message)).await;
            return false;
        };
        let origin = self.origin().await;
        let live = LiveSession {
            session_id: origin.session_id.clone(),
            user: accepted.user.name.clone(),
            source_ip: origin.source_ip,
            source_port: origin.source_port,
            client: origin.client.clone(),
            method: accepted.method,
            key: accepted.key.clone(),
            since: SystemTime::now(),
            source: accepted.user.source.clone(),
            credential: accepted.key.as_ref().map(|key| key.credential().to_owned()),
        };
        let Some(entered) = self.shared.registry.enter(live, accepted.user.bounds.sessions) else {
            self.attempts().await.turn_away(accepted, AuthFailureReason::TooManySessions);
            return false;
        };
        let protocols = if accepted.only_sftp { &[Protocol::Sftp][..] } else { &Protocol::ALL };
        let (user, recorder) = (accepted.user.clone(), self.recorder().clone());
        let built = Login::for_protocols(protocols, user, origin, &self.homes.backing, recorder);
        let login = match built {
            Ok(login) => login,
            Err(error) => {
                tracing::error!(%error, "a login is refused");
                self.record(Activity::Error(note(error.to_string()))).await;
                return false;
            }
        };
        let room = match login.reserve(MOST_OF_A_LOGIN).await {
            Ok(room) => room,
            Err(error) => {
                tracing::error!(%error, "a login is refused");
                self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
                return false;
            }
        };
        let connected = Connected {
            role: accepted.user.role.clone(),
            method: accepted.method,
            algorithms: self.line.algorithms(),
            key: accepted.key.clone(),
            proxy_header: self.proxy_header,
        };
        let origin = self.origin().await;
        let connected = (origin, Activity::Connected(Box::new(connected)), room);
        let Some(recorded) = self.begin_session(connected, login, (place, entered)) else { return false };
        if let Err(error) = recorded.await {
            tracing::error!(%error, "a login is refused");
            // CONNECTED may be in one of the sinks, or come later: the refusal follows it, and then the end.
            self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
            self.unrecorded.notify_one();
            return false;
        }
        self.attempts().await.succeeded();
        self.let_in.send_replace(true);
        true
    }

    /// The login and its CONNECTED, in one step: neither is without the other, and none comes when the connection has ended
    /// meanwhile.
    fn begin_session(
        &self,
        (origin, connected, room): (Origin, Activity, Reservation),
        login: Arc<Login>,
        place: (OwnedSemaphorePermit, Entered),
    ) -> Option<Recorded> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.is_over || self.login.set(login).is_err() {
            return None;
        }
        if let Some(login) = self.login() {
            place.1.follow(login);
        }
        slots.session = Some(place);
        slots.unauthenticated = None;
        self.metrics().sessions.add(1);
        Some(room.fill(&origin, &connected))
    }

    /// Runs the SSH session until it ends or has to be ended.
    async fn run<S>(self: &Arc<Self>, stream: WatchedStream<S>, mut phase: watch::Receiver<Phase>) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.shared.settings.limits;
        let deadline = tokio::time::Instant::now() + limits.login_grace;
        let greeting = run_stream(self.config(), stream, Door::new(self.clone()));
        let mut running = tokio::select! {
            begun = greeting => match begun {
                Ok(running) => running,
                Err(error) => return self.ending_of(&error),
            },
            () = sleep_until(deadline) => return Ending::because("login-grace", "nothing came from the client"),
            () = leaves_running(&mut phase) => return Ending::because("server", SHUTTING_DOWN),
        };
        let mut let_in = self.let_in.subscribe();
        let mut idle = IdleWatch::new(limits.idle);
        let why = tokio::select! {
            ended = &mut running => return self.ending_of_session(ended),
            () = grace_is_over(deadline, &mut let_in) => {
                Ending::because("login-grace", format!("no login within {} s", limits.login_grace.as_secs()))
            }
            () = idle.is_over(self) => Ending::because("idle", format!("nothing happened for {} s", limits.idle.as_secs())),
            () = self.channels.stalled(limits.stall) => {
                let seconds = limits.stall.as_secs();
                Ending::because("server", format!("one channel took no data for {seconds} s and held up the others"))
            }
            () = self.channels.abandoned() => Ending::because("server", "the client did not close a channel that had ended"),
            farewell = self.sent_away() => farewell,
            () = self.unrecorded.notified() => Ending::because("server", "the login could not be recorded"),
            () = self.drained(&mut phase) => Ending::because("server", SHUTTING_DOWN),
        };
        let at_once = *phase.borrow() == Phase::Stopped;
        self.end_session(&mut running, &why, at_once).await;
        why
    }

    /// Tells the client why, waits a moment, then cuts the socket.
    async fn end_session(&self, running: &mut RunningSession<Door>, why: &Ending, at_once: bool) {
        let handle: Handle = running.handle();
        let sentence = why.sentence();
        if !at_once {
            let farewell = async {
                let _ = handle.disconnect(Disconnect::ByApplication, sentence, String::new()).await;
                let _ = (&mut *running).await;
            };
            if timeout(FAREWELL, farewell).await.is_ok() {
                return;
            }
        }
        self.line.kill();
        if timeout(FAREWELL, &mut *running).await.is_err() {
            // The session waits for a codec; without the codecs it cannot wait any more.
            self.channels.abort();
        }
    }

    /// Returns when somebody else ends this session (`Registry::end`).
    async fn sent_away(&self) -> Ending {
        // Without an error: the sender is ours.
        let _ = self.let_in.subscribe().wait_for(|let_in| *let_in).await;
        let told = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.session.as_ref().map(|(_, entered)| entered.told())
        };
        let farewell = match told {
            Some(mut told) => told.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()),
            None => None,
        };
        match farewell {
            Some(why) => Ending { reason: why.reason, message: Some(why.message), by: why.by },
            None => std::future::pending().await,
        }
    }

    /// Returns when the gateway drains and this connection has no file open any more, or the time for that is over.
    async fn drained(&self, phase: &mut watch::Receiver<Phase>) {
        leaves_running(phase).await;
        let Some(login) = self.login() else { return };
        login.drain();
        let finished = async {
            loop {
                login.transfers_ended().await;
                tokio::time::sleep(SETTLE).await;
                if login.open_transfers() == 0 && !login.is_busy() {
                    return;
                }
            }
        };
        tokio::select! {
            () = finished => {}
            () = tokio::time::sleep(self.shared.settings.limits.drain) => {}
            () = is_stopped(phase) => {}
        }
    }

    /// Everything after the socket: waits for the transfers' ends, then records what is left to record. `counts`: for the
    /// defender.
    async fn finish(self: Arc<Self>, ending: Ending, started: Instant, counts: bool) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        let limit = self.shared.settings.limits.drain;
        // An administrator who ends a session does not wait for a store that takes its time.
        let patience = if ending.by.is_some() { FAREWELL } else { limit };
        if timeout(patience, self.channels.ended()).await.is_err() {
            self.channels.abort();
        }
        if let Some(login) = self.login()
            && !login.transfers_ended_within(limit).await
        {
            tracing::error!(user = login.user_name(), "transfers of an ended connection are still open");
            // Their ends are recorded before DISCONNECTED, and before the last line of the trail.
            login.cut_ends_short();
            login.transfers_ended_within(FAREWELL).await;
        }
        if self.line.bytes_in() == 0 {
            self.metrics().health_checks.add(1);
            return;
        }
        if self.login().is_some() {
            self.metrics().sessions.sub(1);
        }
        self.record_login_outcome(&ending).await;
        if counts {
            self.tell_defender().await;
        }
        let login = self.login();
        let count = |pick: fn(&crate::session::Totals) -> &std::sync::atomic::AtomicU64| {
            login.map_or(0, |login| pick(login.totals()).load(Ordering::Relaxed))
        };
        let disconnected = Disconnected {
            reason: ending.reason.into_owned(),
            ended_by: ending.by,
            message: ending.message,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in: count(|totals| &totals.bytes_in),
            bytes_out: count(|totals| &totals.bytes_out),
            files_in: count(|totals| &totals.files_in),
            files_out: count(|totals| &totals.files_out),
        };
        self.record(Activity::Disconnected(disconnected)).await;
    }

    /// A connection that ended without a login counts against its address.
    async fn tell_defender(&self) {
        let Some(defender) = self.shared.defender.as_ref().filter(|_| self.login().is_none()) else { return };
        let (failures, address) = {
            let attempts = self.attempts().await;
            (attempts.failures(), attempts.origin().source_ip)
        };
        if let Some(time) = defender.failed(address, failures, Instant::now()) {
            tracing::warn!(%address, seconds = time.as_secs(), "banned: too many connections of it did not log in");
        }
    }

    /// KEX_FAILURE, the attempts that were left open, or EXIT_REASON.
    async fn record_login_outcome(&self, ending: &Ending) {
        if self.login().is_some() {
            if ending.reason == "error" {
                let message = ending.message.clone().unwrap_or_else(|| "the session failed".into());
                self.record(Activity::ExitReason(note(message))).await;
            }
            return;
        }
        if let Some(failure) = self.line.kex_failure() {
            self.record(Activity::KexFailure(failure)).await;
        } else if self.line.client_version().is_some() {
            let why = match &*ending.reason {
                "login-grace" => AuthFailureReason::LoginGraceExceeded,
                _ => AuthFailureReason::NoCredentialsOffered,
            };
            self.attempts().await.ended(why);
        }
    }

    fn ending_of_session(&self, ended: Result<(), russh::Error>) -> Ending {
        match ended {
            Err(error) => self.ending_of(&error),
            // The library ends a session by itself only when the attempts are used up.
            Ok(()) if self.login().is_none() && self.rejections_used_up() => {
                Ending::because("server", "too many authentication attempts")
            }
            Ok(()) => Ending::new("client"),
        }
    }

    fn rejections_used_up(&self) -> bool {
        let attempts = self.attempts.try_lock().map_or(0, |attempts| attempts.failed());
        attempts as usize >= self.shared.settings.limits.auth_attempts
    }

    fn ending_of(&self, error: &russh::Error) -> Ending {
        use std::io::ErrorKind;
        match error {
            russh::Error::IO(io) => match io.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ending::new("client"),
                _ => Ending::because("error", io.to_string()),
            },
            russh::Error::HUP | russh::Error::Disconnect => Ending::new("client"),
            russh::Error::NoCommonAlgo { .. } => Ending::because("server", "no common algorithm"),
            russh::Error::Version => Ending::because("error", "the client does not speak SSH"),
            other => Ending::because("error", other.to_string()),
        }
    }
}

fn note(message: String) -> Note {
    Note { message, operation: None, path: None, logical_path: None }
}

/// A CONNECTION_REJECTED event.
pub(super) fn rejection(reason: &str, message: String) -> Activity {
    Activity::ConnectionRejected(Rejected { reason: reason.to_owned(), message, ..Rejected::default() })
}

pub(super) async fn leaves_running(phase: &mut watch::Receiver<Phase>) {
    // An error means that the gateway is gone, which is a shutdown too.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

async fn is_stopped(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
}

/// Returns at the deadline unless the client was let in before.
async fn grace_is_over(deadline: tokio::time::Instant, let_in: &mut watch::Receiver<bool>) {
    let in_time = tokio::time::timeout_at(deadline, let_in.wait_for(|let_in| *let_in)).await.is_ok();
    if in_time {
        std::future::pending().await
    }
}

/// Looks now and then whether anything happens. Bytes from or to the client count, so a client's keepalive does; so does
/// an operation that runs, however long the store takes.
struct IdleWatch {
    limit: Duration,
    seen: (u64, u64),
    since: Instant,
}

impl IdleWatch {
    fn new(limit: Duration) -> Self {
        IdleWatch { limit, seen: (0, 0), since: Instant::now() }
    }

    async fn is_over(&mut self, visit: &Visit) {
        let step = (self.limit / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        let mut ticks = interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = (visit.line.bytes_in(), visit.line.bytes_out());
            if now != self.seen || visit.login().is_some_and(|login| login.is_busy()) {
                self.seen = now;
                self.since = Instant::now();
            } else if self.since.elapsed() >= self.limit {
                return;
            }
        }
    }
}
