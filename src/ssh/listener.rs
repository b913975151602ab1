//! Listening: takes connections within the limits, and lets them end.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::Origin;
use crate::inherited::Inherited;

use super::connection::{self, Arrival, Arrived, rejection};
use super::proxy::{Opening, Unopened};
use super::{Homes, Limits, Phase, Settings, Shared, Surroundings, keys, origin_of};
use crate::session::gate::{Evicted, Fault, Gate, Refused, Seat};

/// Connections that the system keeps until they are taken: of those beyond it, each waits a second or more. Linux allows so many.
const BACKLOG: u32 = 4096;

/// How long to wait after the system could not give a socket (no more descriptors, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is told of refused connections that are not recorded one by one.
const REFUSALS_EVERY: Duration = Duration::from_secs(15);

/// A client whose host does not answer TCP's own probes for about this long is gone.
const VANISHED_AFTER: Duration = Duration::from_secs(300);

/// What the door needs of the system, taken before anything is told to anybody: keys that were read, ports that are its own.
/// Connections wait until there is a [`Server`].
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    keys: Vec<PrivateKey>,
    settings: Settings,
}

/// One address.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Whether it stays open without this process, for the next one.
    is_inherited: bool,
}

impl Listeners {
    /// Reads the host keys and takes the ports. Those that are `inherited` are open already.
    ///
    /// # Errors
    /// A sentence that says which key or address cannot be used, and what to do.
    pub fn bind(settings: Settings, inherited: &mut Inherited) -> Result<Listeners, String> {
        let keys = settings.host_keys.iter().map(|path| keys::read_host_key(path)).collect::<Result<Vec<_>, _>>()?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &settings.listen {
            let failed = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("{address} is in use by another program; stop it or change server.listen")
                }
                std::io::ErrorKind::PermissionDenied => {
                    format!("{address} cannot be listened on: permission denied; ports below 1024 need a privilege")
                }
                _ => format!("{address} cannot be listened on: {error}"),
            };
            let open = inherited.tcp(*address);
            let is_inherited = open.is_some();
            let socket = open.map_or_else(|| listen(*address), TcpListener::from_std).map_err(failed)?;
            addresses.push(socket.local_addr().map_err(failed)?);
            listeners.push(Listener { socket, is_inherited });
        }
        Ok(Listeners { listeners, addresses, keys, settings })
    }

    /// The server, which takes no connection before [`Server::run`].
    pub fn open(self, surroundings: Surroundings) -> Server {
        let Listeners { listeners, addresses, keys, settings } = self;
        Server { listeners, addresses, shared: Arc::new(Shared::new(settings, keys, surroundings)) }
    }
}

/// The bound listeners and what their connections share.
pub struct Server {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Places before a login, and bans.
    pub fn gate(&self) -> Arc<Gate> {
        self.shared.gate.clone()
    }

    /// Replaces users and stores for connections from now on, whenever the receiver brings new ones.
    async fn follow(shared: Arc<Shared>, mut homes: watch::Receiver<Option<Homes>>) {
        while homes.changed().await.is_ok() {
            if let Some(new) = homes.borrow_and_update().clone() {
                *shared.homes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            }
        }
    }

    /// Serves until the phase is no longer [`Phase::Running`], then until the last connection has ended. `homes` brings new
    /// users and stores.
    pub async fn run(self, phase: watch::Receiver<Phase>, homes: watch::Receiver<Option<Homes>>) {
        let follower = tokio::spawn(Self::follow(self.shared.clone(), homes));
        let (stop, stopped) = watch::channel(());
        let telling = tokio::spawn(tell_refusals(self.shared.clone(), stopped));
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.shared.clone(), phase.clone()));
        }
        while accepting.join_next().await.is_some() {}
        follower.abort();
        drop(stop);
        let _ = telling.await;
    }
}

/// Tells of the connections that were refused and not recorded one by one: every [`REFUSALS_EVERY`], if there are any, and at the
/// end. While a sink stalls they go on being counted.
async fn tell_refusals(shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
    loop {
        // It is never sent anything: it ends.
        let is_last = timeout(REFUSALS_EVERY, stopped.changed()).await.is_ok();
        if is_last || shared.recorder.has_room() {
            for refused in shared.refusals.take() {
                drop(shared.recorder.record_late(&Origin::of_gateway(None), &refused));
            }
        }
        if is_last {
            return;
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As after a restart, while connections of before are winding down.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections from one listener; when it stops, waits for those that it took.
async fn accept(
    Listener { socket: listener, is_inherited }: Listener,
    shared: Arc<Shared>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    for count in 1_u64.. {
        // In a flood others get their turn between two connections, not after all that have come.
        if count % TURN == 0 {
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            biased;
            () = connection::leaves_running(&mut phase) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => take(socket, peer, &shared, &phase, &mut connections),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those that wait at an inherited socket are served by the next gateway. At another one, they would be reset.
    if is_inherited || *phase.borrow() == Phase::Stopped {
        drop(listener);
    } else {
        queued(listener).for_each(|(socket, peer)| take(socket, peer, &shared, &phase, &mut connections));
    }
    while connections.join_next().await.is_some() {}
}

/// The connections that the system has accepted and nobody has taken yet. The listener is closed after them.
fn queued(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    let next = move || {
        let (socket, peer) = listener.as_ref()?.accept().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(socket).ok()?, peer))
    };
    std::iter::from_fn(next).take(BACKLOG as usize)
}

fn take(
    socket: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    phase: &watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    shared.metrics.connections.add(1);
    let shared = shared.clone();
    // Whoever is let in has its end recorded in any case; so nobody is while that is ahead of the sinks as far as it may be.
    if !shared.recorder.has_room_for_strangers() {
        return shared.refusals.count_unnamed(peer.ip());
    }
    let through_balancer = shared.settings.proxy_protocol.expects_header(peer.ip());
    let entered = if through_balancer { shared.gate.enter_through(peer.ip()) } else { shared.gate.enter(peer.ip()) };
    // A flood costs one look and no task.
    let seat = match entered {
        Ok(seat) => seat,
        Err(refused) => return Rejection::of(peer, refused, &shared.settings.limits).record(&shared),
    };
    tune(&socket);
    let phase = phase.clone();
    connections.spawn(async move {
        match welcome(socket, peer, (seat, through_balancer), &shared, phase.clone()).await {
            Ok(arrived) => connection::serve(arrived, shared, phase).await,
            Err(Some(rejected)) => rejected.record(&shared),
            Err(None) => shared.metrics.health_checks.add(1),
        }
    });
}

/// So many connections are accepted in one turn.
const TURN: u64 = 4;

/// Of a connection that made room for others.
const CROWDED_OUT: &str = "others needed its place: its address or network holds most, and it has shown least";

/// A connection that is not served.
pub(super) struct Rejection {
    pub(super) source: SocketAddr,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Rejection {
    fn of(source: SocketAddr, refused: Refused, limits: &Limits) -> Rejection {
        let (reason, message) = match refused {
            Refused::Banned(left) => {
                let left = left.as_secs() + 1;
                ("banned", format!("the address failed to log in too often and is banned for {left} s more"))
            }
            Refused::TooOften => {
                let limit = limits.connections_per_second;
                let message = format!("the limit of {limit} new connections a second of one address is exceeded");
                ("too-many-connections-from-address", message)
            }
            Refused::TooManyOfAddress => {
                let limit = limits.unauthenticated_per_address;
                let message =
                    format!("the limit of {limit} connections of one address that have not logged in is reached");
                ("too-many-unauthenticated-from-address", message)
            }
            Refused::Crowded => ("crowded-out", CROWDED_OUT.to_owned()),
            Refused::TooMany => {
                let limit = limits.unauthenticated;
                let message = format!("the limit of {limit} connections that have not logged in is reached");
                ("too-many-unauthenticated", message)
            }
        };
        Rejection { source, reason, message }
    }

    /// A connection that had to end before it tried to log in.
    pub(super) fn of_evicted(source: SocketAddr, why: Evicted) -> Rejection {
        let (reason, message) = match why {
            Evicted::Crowded(_) => ("crowded-out", CROWDED_OUT),
            Evicted::Banned => ("banned", "the address failed to log in too often"),
        };
        Rejection { source, reason, message: message.to_owned() }
    }

    /// By itself when it begins and if there is room, else with the others.
    pub(super) fn record(self, shared: &Shared) {
        let address = self.source.ip();
        if shared.refusals.is_new(address, self.reason, Instant::now()) {
            let rejected = rejection(self.reason, self.message);
            if !shared.recorder.record_stranger_now(&origin_of(self.source), &rejected) {
                shared.refusals.count(address, self.reason);
            }
        }
    }
}

/// Learns where a connection really comes from and whether it may wait for its login; `None` when it ended without a byte, or
/// is ended with the gateway, which waits a moment for it.
async fn welcome(
    mut socket: TcpStream,
    peer: SocketAddr,
    (seat, through_balancer): (Seat, bool),
    shared: &Shared,
    mut phase: watch::Receiver<Phase>,
) -> Result<Arrived<TcpStream>, Option<Rejection>> {
    let limits = &shared.settings.limits;
    let opening = tokio::select! {
        opening = timeout(limits.login_grace, shared.settings.proxy_protocol.open(&mut socket, peer)) => opening,
        why = seat.evicted() => return Err(Some(Rejection::of_evicted(peer, why))),
        () = comes_too_late(&mut phase, limits.drain) => return Err(None),
    };
    let opening = opening.unwrap_or_else(|_| {
        let message = format!("no PROXY header within {} s", limits.login_grace.as_secs());
        Err(Unopened::Refused("proxy-header-missing", message))
    });
    let Opening { source, rest, header } = opening.map_err(|unopened| match unopened {
        Unopened::Silent => None,
        Unopened::Refused(reason, message) => {
            if !through_balancer {
                shared.gate.blame(peer.ip(), Fault::Refused);
            }
            Some(Rejection { source: peer, reason, message })
        }
    })?;
    if through_balancer {
        let settled = shared.gate.settle(&seat, source.ip());
        settled.map_err(|refused| Some(Rejection::of(source, refused, limits)))?;
    }
    Ok(Arrived { socket, read: rest, arrived: Arrival { source, proxy_header: header, seat } })
}

/// Returns when a drain does not wait any more for a connection of which nothing is known yet.
async fn comes_too_late(phase: &mut watch::Receiver<Phase>, drain: Duration) {
    connection::leaves_running(phase).await;
    let _ = timeout(connection::NEWCOMERS.min(drain), connection::is_stopped(phase)).await;
}

/// Small packets go at once, and a client whose host is gone is noticed. Neither is worth refusing a connection for.
fn tune(socket: &TcpStream) {
    let probe = VANISHED_AFTER / 5;
    let tuned = socket.set_nodelay(true).map_err(|error| error.to_string()).and_then(|()| {
        sockopt::set_socket_keepalive(socket, true)
            .and_then(|()| sockopt::set_tcp_keepidle(socket, probe))
            .and_then(|()| sockopt::set_tcp_keepintvl(socket, probe))
            .and_then(|()| sockopt::set_tcp_keepcnt(socket, 4))
            .map_err(|error| error.to_string())
    });
    if let Err(error) = tuned {
        tracing::debug!(error, "a socket could not be tuned");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vanished_host_is_noticed_after_five_minutes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        tune(&socket);
        assert!(socket.nodelay().unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        let probes = sockopt::tcp_keepcnt(&socket).unwrap();
        let silence = sockopt::tcp_keepidle(&socket).unwrap() + probes * sockopt::tcp_keepintvl(&socket).unwrap();
        assert_eq!(silence, Duration::from_secs(5 * 60));
    }
}
