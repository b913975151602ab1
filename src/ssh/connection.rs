//! One connection from the first byte to DISCONNECTED: its deadlines, its drain, and what is recorded at its end.

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
use super::banner;
use super::channels::ChannelTasks;
use super::ending::{Cause, Ending};
use super::exchanges::Computations;
use super::handler::Door;
use super::listener::Rejection;
use super::proof::Accepted;
use super::stream::{Line, WatchedStream};
use super::waiting::Waiting;
use super::{Homes, Phase, Shared};
use crate::audit::{
    Activity, AuthFailureReason, Connected, Disconnected, Note, Origin, Person, Recorded, Recorder, Rejected,
    Reservation,
};
use crate::metrics::Metrics;
use crate::session::gate::{Evicted, Seat, SeatWatch};
use crate::session::{Entered, LiveSession, Login, Protocol};

/// What a client is told that a drain ends.
const SHUTTING_DOWN: &str = "the gateway is shutting down";

/// How long a session that was told to end may take before its socket is cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes that a CONNECTED may have besides what every event has: a long key above all.
const MOST_OF_A_LOGIN: usize = 2048;

/// Who says nothing for so long holds a place; a health check is gone before.
const HELD: Duration = Duration::from_secs(5);

/// How long the answer to the last close may take to reach the client before a drain ends the session.
const SETTLE: Duration = Duration::from_millis(250);

/// What belongs to one connection.
pub(super) struct Visit {
    shared: Arc<Shared>,
    homes: Arc<Homes>,
    line: Arc<Line>,
    source: SocketAddr,
    proxy_header: Option<&'static str>,
    seat: SeatWatch,
    waiting: Arc<Waiting>,
    attempts: tokio::sync::Mutex<Attempts>,
    login: OnceLock<Arc<Login>>,
    let_in: watch::Sender<bool>,
    /// The session began and could not be recorded: the client is not let in, and there is no other session.
    unrecorded: Notify,
    channels: ChannelTasks,
    slots: Mutex<Slots>,
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
    /// What it takes up until it has logged in.
    pub(super) seat: Seat,
}

/// Places that a connection takes up.
struct Slots {
    unauthenticated: Option<Seat>,
    session: Option<(OwnedSemaphorePermit, Entered)>,
    /// The connection has ended: nobody logs in any more.
    is_over: bool,
}

/// Serves one connection to its end.
pub(super) async fn serve<S>(arrived: Arrived<S>, shared: Arc<Shared>, phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let started = Instant::now();
    let (stream, line) = WatchedStream::new(arrived.socket, &arrived.read);
    let visit = Arc::new(Visit::new(shared, line, arrived.source, arrived.proxy_header, arrived.seat));
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
        seat: Seat,
    ) -> Self {
        let homes = shared.homes();
        let origin = super::origin_of(source);
        let examiner = Examiner {
            directory: homes.directory.clone(),
            verifier: shared.verifier.clone(),
            decoy: homes.decoy.clone(),
            recorder: shared.recorder.clone(),
            authorities: homes.authorities.clone(),
            revoked: homes.revoked.clone(),
            codes: shared.codes.clone(),
            gate: shared.gate.clone(),
        };
        line.take_seat(seat.watch());
        let attempts = Attempts::new(examiner, origin, line.clone());
        Visit {
            waiting: attempts.waiting(),
            attempts: tokio::sync::Mutex::new(attempts),
            shared,
            homes,
            line,
            source,
            proxy_header,
            seat: seat.watch(),
            login: OnceLock::new(),
            let_in: watch::Sender::new(false),
            unrecorded: Notify::new(),
            channels: ChannelTasks::default(),
            slots: Mutex::new(Slots { unauthenticated: Some(seat), session: None, is_over: false }),
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

    /// The banner for who calls itself `user`.
    pub(super) async fn banner(&self, user: &str) -> Option<String> {
        let text = self.shared.settings.banner.as_ref()?;
        let session = self.attempts().await.origin().session_id;
        Some(banner::filled(text, &session, self.recorder().server(), user))
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
        let mut origin = self.attempts().await.origin();
        origin.person = self.login().and_then(|login| login.person().cloned());
        origin
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
        // What fails from here on is not the client's fault.
        self.attempts().await.excuse();
        if self.shared.gate.banned_for(self.source.ip()).is_some() {
            self.attempts().await.turn_away(accepted, AuthFailureReason::Banned);
            return false;
        }
        let Ok(place) = self.shared.sessions.clone().try_acquire_owned() else {
            let message = format!("the limit of {} sessions is reached", self.shared.settings.limits.sessions);
            self.record(rejection("too-many-sessions", message)).await;
            return false;
        };
        let origin = self.origin().await;
        let person = Person::of(accepted.key.as_ref(), accepted.user.identity.as_deref());
        let live = LiveSession {
            session_id: origin.session_id.clone(),
            user: accepted.user.name.clone(),
            identity: person.identity().map(Arc::from),
            source_ip: origin.source_ip,
            source_port: origin.source_port,
            client: origin.client.clone(),
            method: accepted.method,
            key: accepted.key.clone(),
            since: SystemTime::now(),
            source: accepted.user.source.clone(),
            credential: accepted.key.as_ref().map(|key| key.credential().to_owned()),
        };
        let (session, address) = (live.session_id.clone(), live.source_ip.to_canonical());
        let refused = |error: &dyn std::fmt::Display| {
            let user = &accepted.user.name;
            tracing::error!(%error, %user, %address, %session, "a login is refused");
        };
        let Some(entered) = self.shared.registry.enter(live, accepted.user.bounds.sessions) else {
            self.attempts().await.turn_away(accepted, AuthFailureReason::TooManySessions);
            return false;
        };
        let protocols = if accepted.only_sftp { &[Protocol::Sftp][..] } else { &Protocol::ALL };
        let origin = Origin { person: Some(person), ..origin };
        let (user, recorder) = (accepted.user.clone(), self.recorder().clone());
        let built = Login::for_protocols(protocols, user, origin.clone(), &self.homes.backing, recorder);
        let login = match built {
            Ok(login) => login,
            Err(error) => {
                refused(&error);
                self.record(Activity::Error(note(error.to_string()))).await;
                return false;
            }
        };
        let room = match login.reserve(MOST_OF_A_LOGIN).await {
            Ok(room) => room,
            Err(error) => {
                refused(&error);
                self.attempts().await.turn_away(accepted, AuthFailureReason::TrailUnavailable);
                return false;
            }
        };
        self.shared.tell_hassh(&self.line);
        let connected = Connected {
            role: accepted.user.role.clone(),
            method: accepted.method,
            second_factor: accepted.second_factor,
            algorithms: self.line.algorithms(),
            key: accepted.key.clone(),
            proxy_header: self.proxy_header,
        };
        let connected = (origin, Activity::Connected(Box::new(connected)), room);
        let Some(recorded) = self.begin_session(connected, login, (place, entered)) else { return false };
        if let Err(error) = recorded.await {
            refused(&error);
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
        if slots.is_over || self.seat.is_evicted() || self.login.set(login).is_err() {
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
                Err(error) => return Ending::of_error(&error),
            },
            () = sleep_until(deadline) => return Ending::of_grace("nothing came from the client"),
            why = self.seat.evicted() => return Ending::evicted(why),
            () = leaves_running(&mut phase) => return Ending::of_gateway("server", SHUTTING_DOWN),
        };
        let mut let_in = self.let_in.subscribe();
        let mut idle = IdleWatch::new(limits.idle);
        let why = tokio::select! {
            ended = &mut running => return self.ending_of_session(ended),
            () = grace_is_over(deadline, &mut let_in) => self.ending_of_grace(),
            why = self.loses_place() => Ending::evicted(why),
            () = idle.is_over(self) => Ending::of_gateway("idle", format!("nothing happened for {} s", limits.idle.as_secs())),
            () = self.channels.stalled(limits.stall) => {
                let seconds = limits.stall.as_secs();
                Ending::of_gateway("server", format!("one channel took no data for {seconds} s and held up the others"))
            }
            () = self.channels.abandoned() => Ending::of_gateway("server", "the client did not close a channel that had ended"),
            farewell = self.sent_away() => farewell,
            () = self.unrecorded.notified() => Ending::of_gateway("server", "the login could not be recorded"),
            () = self.drained(&mut phase) => Ending::of_gateway("server", SHUTTING_DOWN),
        };
        // Those who make room do so at once.
        let at_once = *phase.borrow() == Phase::Stopped || matches!(why.cause, Cause::Evicted(_));
        self.end_session(&mut running, &why, at_once).await;
        why
    }

    /// The time to log in is over, by whosever fault.
    fn ending_of_grace(&self) -> Ending {
        let seconds = self.shared.settings.limits.login_grace.as_secs();
        if self.waiting.is_late() {
            return Ending::of_gateway("server", format!("the gateway could not examine the login within {seconds} s"));
        }
        Ending::of_grace(format!("no login within {seconds} s"))
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

    /// Returns when the connection has to go before it has logged in. From then on it cannot log in any more.
    async fn loses_place(&self) -> Evicted {
        let why = self.seat.evicted().await;
        let has_logged_in = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.is_over |= slots.session.is_none();
            slots.session.is_some()
        };
        if has_logged_in { std::future::pending().await } else { why }
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
            Some(why) => Ending { by: why.by, ..Ending::of_gateway(why.reason, why.message) },
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
            () = tokio::time::sleep(self.shared.settings.limits.drain) => login.tell_cut("the time of the drain is over"),
            () = is_stopped(phase) => login.tell_cut("the gateway stops"),
        }
    }

    /// Everything after the socket: waits for the transfers' ends, then records what is left to record. `counts`: whether the client
    /// can be blamed for anything.
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
        if self.login().is_some() {
            self.metrics().sessions.sub(1);
        } else {
            if counts {
                self.blame(&ending, started).await;
            }
            if self.ended_untried(&ending).await {
                return;
            }
        }
        self.record_login_outcome(&ending).await;
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

    /// Counts what a connection that did not log in is to blame for, besides its attempts.
    async fn blame(&self, ending: &Ending, started: Instant) {
        let held = (self.line.bytes_in() == 0).then(|| started.elapsed() >= HELD);
        let (tried, excused) = {
            let attempts = self.attempts().await;
            (attempts.failed() > 0, attempts.is_excused())
        };
        // The client waited for us, or gave us up.
        if (excused || self.waiting.is_late()) && matches!(ending.cause, Cause::Client | Cause::Grace) {
            return;
        }
        if let Some(fault) = ending.fault(tried, held) {
            self.shared.gate.blame(self.source.ip(), fault);
        }
    }

    /// Whether the connection ended before the client named a user, in a way that has no DISCONNECTED: as a health check, or because
    /// it was turned away, which is told together with others.
    async fn ended_untried(&self, ending: &Ending) -> bool {
        let named = self.attempts().await.origin().user.is_some();
        let silent = self.line.bytes_in() == 0;
        match ending.cause {
            Cause::Evicted(why) if !named => Rejection::of_evicted(self.source, why).record(&self.shared),
            Cause::Grace if silent => {
                let message = format!("nothing came within {} s", self.shared.settings.limits.login_grace.as_secs());
                Rejection { source: self.source, reason: "login-grace", message }.record(&self.shared);
            }
            _ if silent => self.metrics().health_checks.add(1),
            _ => return false,
        }
        true
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
        } else if self.line.client_version().is_some() && (ending.is_of_client() || self.waiting.is_late()) {
            let why = match ending.cause {
                Cause::Grace => AuthFailureReason::LoginGraceExceeded,
                _ => AuthFailureReason::NoCredentialsOffered,
            };
            self.attempts().await.ended(why);
        }
    }

    fn ending_of_session(&self, ended: Result<(), russh::Error>) -> Ending {
        match ended {
            Err(error) => Ending::of_error(&error),
            Ok(()) if self.line.was_ended_by_server() => Ending::of_library(self.rejections_used_up()),
            Ok(()) => Ending::of_client(),
        }
    }

    fn rejections_used_up(&self) -> bool {
        let refused = self.attempts.try_lock().map_or(0, |attempts| attempts.refusals());
        self.login().is_none() && refused as usize > self.shared.settings.limits.auth_attempts
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
