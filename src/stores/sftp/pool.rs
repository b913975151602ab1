//! The connections to one upstream server: few, shared by many requests, and opened again when they end.
//!
//! A request goes over the connection with the fewest that wait; a file is opened on one whose server lets another one be open. Another
//! connection is opened while all are busy or full, up to the bound. When one ends, what it was asked is lost, and nothing else is. A request that only looks is then sent again; what changes something only when it
//! is certain that it was not sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout_at};

use super::connection::{ConnectError, Connection, connect};
use super::exchange::{Failure, attributes};
use super::settings::Upstream;
use super::wire::{Attributes, Named, Request};
use crate::backoff::Backoff;

/// How long nothing is tried after the first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often a request is sent before its failure is told.
const TRIES: usize = 3;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) upstream: Arc<Upstream>,
    state: Mutex<State>,
    /// Held by who connects while there is no connection.
    connecting: tokio::sync::Mutex<()>,
    /// Tells that another connection was opened, or could not be.
    tried: Notify,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Request,
    /// An open file or folder.
    Handle,
}

/// Which connection there is.
enum Choice {
    Found(Arc<Connection>),
    /// As many files are open on each as the server allows; another one is being opened.
    Full(Arc<Connection>),
    None,
}

#[derive(Debug)]
struct State {
    live: Vec<Arc<Connection>>,
    /// Another one is being opened.
    is_opening: bool,
    failed: Option<Failed>,
    backoff: Backoff,
}

/// The last try to connect has failed.
#[derive(Debug, Clone)]
struct Failed {
    error: ConnectError,
    /// When the next one may be made.
    until: Instant,
}

impl State {
    fn note(&mut self, connected: Result<Connection, ConnectError>) -> Result<Arc<Connection>, ConnectError> {
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.live.push(Arc::clone(&connection));
                self.failed = None;
                self.backoff.reset();
                Ok(connection)
            }
            Err(error) => {
                // Many servers ban a client that fails to log in again and again.
                if error.is_final {
                    self.backoff.exhaust();
                }
                self.failed = Some(Failed { error: error.clone(), until: Instant::now() + self.backoff.wait() });
                Err(error)
            }
        }
    }
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(upstream: Upstream) -> Arc<Self> {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let state = State { live: Vec::new(), is_opening: false, failed: None, backoff };
        let (state, connecting) = (Mutex::new(state), tokio::sync::Mutex::default());
        Arc::new(Pool { upstream: Arc::new(upstream), state, connecting, tried: Notify::new() })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for a request.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<Connection>, Failure> {
        self.get_for(Need::Request).await
    }

    /// A connection to open a file or folder on.
    pub(super) async fn get_to_open(self: &Arc<Self>) -> Result<Arc<Connection>, Failure> {
        self.get_for(Need::Handle).await
    }

    async fn get_for(self: &Arc<Self>, need: Need) -> Result<Arc<Connection>, Failure> {
        let deadline = Instant::now() + self.upstream.connect_timeout;
        loop {
            let tried = self.tried.notified();
            tokio::pin!(tried);
            // From here on it is told of.
            tried.as_mut().enable();
            match self.choose(need) {
                Choice::Found(connection) => return Ok(connection),
                Choice::Full(connection) => match timeout_at(deadline.into(), tried).await {
                    Ok(()) => continue,
                    Err(_) => return Ok(connection),
                },
                Choice::None => {}
            }
            let Ok(_turn) = timeout_at(deadline.into(), self.connecting.lock()).await else {
                return Err(self.unreachable(None));
            };
            if !matches!(self.choose(need), Choice::None) {
                continue;
            }
            if let Some(failed) = self.pause() {
                if failed.error.is_final || failed.until >= deadline {
                    return Err(self.unreachable(Some(failed.error)));
                }
                sleep_until(failed.until.into()).await;
            }
            let connected = self.connect_until(deadline).await;
            let noted = self.locked().note(connected);
            match noted {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_final => return Err(self.unreachable(Some(error))),
                Err(_) => {}
            }
        }
    }

    async fn connect_until(&self, deadline: Instant) -> Result<Connection, ConnectError> {
        let late = || Err(ConnectError::for_now(format!("no answer within {:?}", self.upstream.connect_timeout)));
        timeout_at(deadline.into(), connect(&self.upstream)).await.unwrap_or_else(|_| late())
    }

    /// What keeps us from trying now.
    fn pause(&self) -> Option<Failed> {
        self.locked().failed.clone().filter(|failed| failed.until > Instant::now())
    }

    fn unreachable(&self, error: Option<ConnectError>) -> Failure {
        let error = error.or_else(|| self.locked().failed.as_ref().map(|failed| failed.error.clone()));
        let error = error.unwrap_or_else(|| ConnectError::for_now("all wait for a connection"));
        let message = format!("no connection to {}: {}", self.upstream.address(), error.message);
        Failure::Unreachable { message, denied: error.denied }
    }

    /// The connection with the fewest requests, or, if all are full, with the fewest open files; if that is busy or full and there may be
    /// more, another one is opened meanwhile.
    fn choose(self: &Arc<Self>, need: Need) -> Choice {
        let mut state = self.locked();
        let (live, ended): (Vec<_>, Vec<_>) =
            state.live.drain(..).partition(|connection| connection.exchange.is_alive());
        state.live = live;
        let is_full = |connection: &Connection| need == Need::Handle && !connection.has_room();
        let least = state.live.iter().min_by_key(|connection| match is_full(connection) {
            false => (false, connection.exchange.load()),
            true => (true, connection.exchange.open_handles()),
        });
        let choice = match least.cloned() {
            None => Choice::None,
            Some(least) => {
                let is_full = is_full(&least);
                let may_try = state.failed.as_ref().is_none_or(|failed| failed.until <= Instant::now());
                let may_open = may_try && state.live.len() < self.upstream.connections;
                if may_open && !state.is_opening && (is_full || least.exchange.load() > 0) {
                    state.is_opening = true;
                    tokio::spawn(Arc::clone(self).open_another());
                }
                // While none can be opened, the server may have more room than it says.
                if is_full && may_open { Choice::Full(least) } else { Choice::Found(least) }
            }
        };
        drop(state);
        drop(ended);
        choice
    }

    async fn open_another(self: Arc<Self>) {
        let connected = self.connect_until(Instant::now() + self.upstream.connect_timeout).await;
        {
            let mut state = self.locked();
            state.is_opening = false;
            if let Err(error) = state.note(connected) {
                tracing::debug!(error = error.message, "another connection to {} fails", self.upstream.address());
            }
        }
        self.tried.notify_waiters();
    }

    /// Looks at several things at once.
    pub(super) async fn look_at_all(
        self: &Arc<Self>,
        requests: &[Request],
    ) -> Result<Vec<Result<Attributes, Failure>>, Failure> {
        for tried in 1.. {
            let connection = self.get().await?;
            let found: Vec<_> =
                connection.exchange.in_one_go(requests.to_vec(), 0).await.into_iter().map(attributes).collect();
            match found.iter().find_map(|found| found.as_ref().err().filter(|why| why.is_of_connection())) {
                Some(why) if tried == TRIES => return Err(why.clone()),
                Some(_) => {}
                None => return Ok(found),
            }
        }
        Err(Failure::strange())
    }

    /// Looks at one thing.
    pub(super) async fn look(self: &Arc<Self>, request: Request) -> Result<Attributes, Failure> {
        let mut found = self.look_at_all(std::slice::from_ref(&request)).await?;
        found.pop().unwrap_or_else(|| Err(Failure::strange()))
    }

    /// Asks for names that need no handle.
    pub(super) async fn names(self: &Arc<Self>, request: Request) -> Result<Vec<Named>, Failure> {
        for tried in 1.. {
            match self.get().await?.exchange.names(request.clone()).await {
                Err(why) if why.is_of_connection() && tried < TRIES => {}
                Err(why) => return Err(why),
                Ok(names) => return Ok(names.unwrap_or_default()),
            }
        }
        Err(Failure::strange())
    }

    /// Changes something. [`Failure::Lost`]: nobody knows whether it has happened.
    pub(super) async fn change(self: &Arc<Self>, request: Request) -> Result<(), Failure> {
        for tried in 1.. {
            match self.get().await?.exchange.done(request.clone(), 0).await {
                Err(Failure::NotSent(_)) if tried < TRIES => {}
                done => return done,
            }
        }
        Err(Failure::strange())
    }
}
