//! Listening: takes connections within the limits, and lets them end.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{self, rejection};
use super::{Homes, Phase, Settings, Shared, Surroundings, origin_of};

/// How long to wait after the system could not give a socket (no more descriptors, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A client whose host does not answer TCP's own probes for about this long is gone.
const VANISHED_AFTER: Duration = Duration::from_secs(300);

/// The bound listeners and what their connections share.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the host keys and takes the ports.
    ///
    /// # Errors
    /// A sentence that says which key or address cannot be used, and what to do.
    pub async fn bind(settings: Settings, surroundings: Surroundings) -> Result<Server, String> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        let shared = Arc::new(Shared::new(settings, surroundings)?);
        for address in &shared.settings.listen {
            let failed = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("{address} is in use by another program; stop it or change server.listen")
                }
                std::io::ErrorKind::PermissionDenied => {
                    format!("{address} cannot be listened on: permission denied; ports below 1024 need a privilege")
                }
                _ => format!("{address} cannot be listened on: {error}"),
            };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        Ok(Server { listeners, addresses, shared })
    }

    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
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
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, self.shared.clone(), phase.clone()));
        }
        while accepting.join_next().await.is_some() {}
        follower.abort();
    }
}

/// Takes connections from one listener; when it stops, waits for those that it took.
async fn accept(listener: TcpListener, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut connections = JoinSet::new();
    loop {
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
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn take(
    socket: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    phase: &watch::Receiver<Phase>,
    connections: &mut JoinSet<()>,
) {
    shared.metrics.connections.add(1);
    let Ok(slot) = shared.unauthenticated.clone().try_acquire_owned() else {
        let shared = shared.clone();
        drop(socket);
        connections.spawn(async move {
            let limit = shared.settings.limits.unauthenticated;
            let message = format!("the limit of {limit} connections that have not logged in is reached");
            let rejected = rejection("too-many-unauthenticated", message);
            if let Err(error) = shared.recorder.record(&origin_of(peer), rejected).await {
                tracing::error!(%error, "a CONNECTION_REJECTED event was lost");
            }
        });
        return;
    };
    tune(&socket);
    connections.spawn(connection::serve(socket, peer, shared.clone(), slot, phase.clone()));
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
