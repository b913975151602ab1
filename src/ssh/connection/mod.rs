//! One connection from the first byte to DISCONNECTED: its deadlines, its drain, and what is recorded at its end.

mod draining;
mod finish;
mod idle;
mod jumping;
mod letting_in;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use russh::server::{Handle, RunningSession, run_stream};
use russh::{Disconnect, MethodSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{MutexGuard, Notify, OwnedSemaphorePermit, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::auth::{Attempts, Examiner};
use super::banner;
use super::channels::ChannelTasks;
use super::ending::{Cause, Ending};
use super::exchanges::Computations;
use super::handler::Door;
use super::jump::{Jumped, Jumps};
use super::stream::{Line, WatchedStream};
use super::waiting::Waiting;
use super::{Homes, Phase, Shared};
use crate::audit::{Activity, Note, Origin, Recorder, Rejected};
use crate::metrics::Metrics;
use crate::session::gate::{Evicted, Seat, SeatWatch};
use crate::session::{Entered, Login};
use idle::IdleWatch;

pub(super) use draining::{NEWCOMERS, is_stopped, leaves_running};
pub(super) use jumping::{Opening, Refused};

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
    source: SocketAddr,
    proxy_header: Option<&'static str>,
    way: Way,
    phase: watch::Receiver<Phase>,
    waiting: Arc<Waiting>,
    attempts: tokio::sync::Mutex<Attempts>,
    login: OnceLock<Arc<Login>>,
    let_in: watch::Sender<bool>,
    /// When this connection noticed that the gateway drains.
    drain_began: OnceLock<tokio::time::Instant>,
    /// The session began and could not be recorded: the client is not let in, and there is no other session.
    unrecorded: Notify,
    channels: ChannelTasks,
    jumps: Jumps,
    slots: Mutex<Slots>,
}

/// How a client came.
enum Way {
    /// Over a socket, which has a place among those that have not logged in.
    Socket(SeatWatch),
    /// Through another connection, which has logged in.
    Jump(Box<Jumped>),
}

/// A connection that may speak.
pub(super) struct Arrived<S> {
    pub(super) socket: S,
    /// What was read from the socket and belongs to SSH.
    pub(super) read: Vec<u8>,
    /// Who it is.
    pub(super) arrived: Arrival,
}

/// Where a connection comes from.
pub(super) struct Arrival {
    /// Its real address.
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
    let Arrived { socket, read, arrived } = arrived;
    let (stream, line) = WatchedStream::new(socket, &read);
    let visit = Arc::new(Visit::new(shared, line, arrived, phase.clone()));
    let ending = visit.run(stream, phase.clone()).await;
    // Those who jumped through it learn why, if they have not yet.
    visit.jumps.part(ending.below());
    // What ends with the gateway says nothing of the client.
    let counts = *phase.borrow() == Phase::Running;
    visit.finish(ending, started, counts).await;
}

impl Visit {
    fn new(
        shared: Arc<Shared>,
        line: Arc<Line>,
        Arrival { source, proxy_header, seat }: Arrival,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let homes = shared.homes();
        let origin = super::origin_of(source);
        line.take_seat(seat.watch());
        let way = Way::Socket(seat.watch());
        let examiner = Examiner::new(&shared, &homes, homes.directory.clone());
        let attempts = Attempts::new(examiner, origin, line.clone());
        Visit {
            waiting: attempts.waiting(),
            attempts: tokio::sync::Mutex::new(attempts),
            shared,
            homes,
            line,
            source,
            proxy_header,
            way,
            phase,
            login: OnceLock::new(),
            let_in: watch::Sender::new(false),
            drain_began: OnceLock::new(),
            unrecorded: Notify::new(),
            channels: ChannelTasks::default(),
            jumps: Jumps::default(),
            slots: Mutex::new(Slots { unauthenticated: Some(seat), session: None, is_over: false }),
        }
    }

    pub(super) fn login(&self) -> Option<&Arc<Login>> {
        self.login.get()
    }

    /// Whether it is known who the client is: it has logged in, here or on the connection that this one came through.
    pub(super) fn is_known(&self) -> bool {
        self.login().is_some() || matches!(self.way, Way::Jump(_))
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
        super::methods(self.takes_passwords())
    }

    /// Whether a password is of use to anybody.
    pub(super) fn takes_passwords(&self) -> bool {
        self.homes.offers_password && matches!(self.way, Way::Socket(_))
    }

    fn config(&self) -> Arc<russh::server::Config> {
        match &self.way {
            Way::Jump(jumped) => jumped.config.clone(),
            Way::Socket(_) if self.homes.offers_password => self.shared.config_with_passwords.clone(),
            Way::Socket(_) => self.shared.config.clone(),
        }
    }

    pub(super) async fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().await
    }

    pub(super) async fn origin(&self) -> Origin {
        let mut origin = self.attempts().await.origin();
        if let Some(login) = self.login() {
            origin.person = login.person().cloned();
            // Of a connection that speaks both, only its transfers say which.
            if let [protocol] = login.protocols().as_slice() {
                origin.protocol = Some(*protocol);
            }
        }
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
        drop(match self.is_known() {
            true => self.recorder().record_late(&origin, &activity),
            false => self.recorder().record_stranger(&origin, &activity),
        });
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
            why = self.evicted() => return Ending::evicted(why),
            why = self.has_to_part() => return why,
            () = self.is_too_late(&mut phase) => return Ending::of_gateway("server", SHUTTING_DOWN),
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
            why = self.has_to_part() => why,
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
        self.jumps.part(why.below());
        if !at_once {
            // While the connection lasts, those who jumped through it can be told.
            let _ = timeout(FAREWELL, self.jumps.ended()).await;
        }
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

    /// Returns when the place of a connection that has not logged in is lost.
    async fn evicted(&self) -> Evicted {
        match &self.way {
            Way::Socket(seat) => seat.evicted().await,
            Way::Jump(_) => std::future::pending().await,
        }
    }

    /// Returns when this connection has to end with the one that it jumped through. Where the client ended that one, what it sent here
    /// before is read first: that brings this one to its own end.
    async fn has_to_part(&self) -> Ending {
        let why = self.parted().await;
        if why.is_of_client() {
            sleep(FAREWELL).await;
        }
        why
    }

    /// Returns when the connection that this one jumped through ends.
    async fn parted(&self) -> Ending {
        let Way::Jump(jumped) = &self.way else { return std::future::pending().await };
        let mut parting = jumped.parting.clone();
        let why = parting.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(Ending::of_client)
    }

    /// Returns when the connection has to go before it has logged in. From then on it cannot log in any more.
    async fn loses_place(&self) -> Evicted {
        let why = self.evicted().await;
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

/// Returns at the deadline unless the client was let in before.
async fn grace_is_over(deadline: tokio::time::Instant, let_in: &mut watch::Receiver<bool>) {
    let in_time = tokio::time::timeout_at(deadline, let_in.wait_for(|let_in| *let_in)).await.is_ok();
    if in_time {
        std::future::pending().await
    }
}
