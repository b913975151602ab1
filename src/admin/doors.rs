//! The listeners of the admin door, and connections within bounds: how many, how long for a request, how much.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;

use super::caller::Peer;
use super::crowd::{Crowd, Member, Watched};
use super::login::{CookieNames, link_url};
use super::logins::{Basis, Grant, Logins};
use super::settings::{DoorSettings, Role};
use super::stall::Impatient;
use super::state::State;
use super::tls::Certificate;
use super::{api, passwd, proxy_header};
use crate::inherited::Inherited;
use crate::session::gate::Source;

/// Connections at once through each listener, and of one address through a TCP listener: for a further one another that is idle is
/// closed, or else itself. The socket has its own.
const CONNECTIONS: usize = 256;
const CONNECTIONS_OF_ADDRESS: usize = 64;

/// How long the head of a request may take, the handshake of TLS, and the pause between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes, and the most headers in it.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;

/// How long calls that are under way may take when the gateway ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long to wait after the system could not give a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest path of a Unix socket, in bytes: the system's bound.
pub const MAX_SOCKET_PATH: usize = 107;

/// Bound listeners; nobody is served yet.
#[derive(Debug)]
pub struct Doors {
    socket: Option<Socket>,
    listeners: Vec<TcpListener>,
    health: Option<TcpListener>,
    certificate: Option<Arc<Certificate>>,
    addresses: Vec<SocketAddr>,
    hosts: Vec<String>,
    names_users: bool,
    is_behind_proxy: bool,
    logins: Arc<Logins>,
    cookies: CookieNames,
}

/// A Unix socket. Its file goes with it, unless it was inherited.
#[derive(Debug)]
struct Socket {
    listener: UnixListener,
    file: Option<PathBuf>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Doors {
    /// Takes the socket and the ports. Those that are `inherited` are open already.
    ///
    /// # Errors
    /// A sentence that says which cannot be used, and what to do.
    pub async fn bind(settings: &DoorSettings, inherited: &mut Inherited) -> Result<Doors, String> {
        let certificate = settings.tls.as_ref().map(|files| Certificate::open(files).map(Arc::new)).transpose();
        let certificate = certificate.map_err(|what| format!("the admin door cannot be opened: {what}"))?;
        let socket = match &settings.socket {
            Some(path) => Some(Socket::bind(path, inherited).await?),
            None => None,
        };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &settings.listen {
            let listener = bind_tcp(*address, "admin.listen", inherited).await?;
            addresses.push(listener.local_addr().map_err(|error| error.to_string())?);
            listeners.push(listener);
        }
        let health = match settings.health {
            Some(address) => Some(bind_tcp(address, "admin.health", inherited).await?),
            None => None,
        };
        let (hosts, logins) = (settings.hosts.clone(), Arc::default());
        let (names_users, cookies) = (settings.health_users, CookieNames::of(settings));
        let is_behind_proxy = settings.behind_proxy;
        Ok(Doors {
            socket,
            listeners,
            health,
            certificate,
            addresses,
            hosts,
            names_users,
            is_behind_proxy,
            logins,
            cookies,
        })
    }

    /// Whether anybody could come in.
    pub(super) fn is_any_open(&self) -> bool {
        self.socket.is_some() || !self.listeners.is_empty() || self.health.is_some()
    }

    /// Where it listens over TCP, with the ports that were really taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are shown to everybody.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().and_then(|health| health.local_addr().ok())
    }

    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(super) fn names_users(&self) -> bool {
        self.names_users
    }

    pub(super) fn is_behind_proxy(&self) -> bool {
        self.is_behind_proxy
    }

    pub(super) fn has_tls(&self) -> bool {
        self.certificate.is_some()
    }

    pub(super) fn logins(&self) -> Arc<Logins> {
        self.logins.clone()
    }

    pub(super) fn cookies(&self) -> CookieNames {
        self.cookies
    }

    /// Where a browser finds the page, without a slash at the end; `None` where there is no listener, and behind a proxy whose name
    /// is not configured. A proxy is called by HTTPS at its own port, which is taken for the usual one: the cookies are for TLS only,
    /// so that the listener itself is of no use to a browser.
    pub(super) fn page_url(&self) -> Option<String> {
        let address = self.addresses.first()?;
        if self.is_behind_proxy {
            return self.hosts.first().map(|name| format!("https://{name}"));
        }
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let host = match (self.hosts.first(), address.ip()) {
            (Some(name), _) => name.clone(),
            (None, ip) if ip.is_unspecified() => "localhost".to_owned(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
            (None, IpAddr::V4(ip)) => ip.to_string(),
        };
        Some(format!("{scheme}://{host}:{}", address.port()))
    }

    /// A link that logs one browser in to the page, as an operator of this name, within a quarter of an hour; `None` where there is no
    /// listener.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn link(&self, name: &str) -> Result<Option<String>, String> {
        let Some(page) = self.page_url() else { return Ok(None) };
        let grant = Grant { name: name.into(), role: Role::Operator, basis: Basis::Socket, until: None };
        Ok(Some(link_url(&page, &self.logins.make_link(grant)?)))
    }

    /// Serves until `stopped` is true.
    pub(super) async fn serve(self, state: &Arc<State>, stopped: watch::Receiver<bool>) {
        let (app, health) = (api::router(state), api::health_router(state));
        let mut accepting = JoinSet::new();
        // Kept until the end: its file goes when it is dropped.
        if let Some(socket) = self.socket {
            accepting.spawn(accept_unix(socket, app.clone(), stopped.clone()));
        }
        for listener in self.listeners {
            // Behind a proxy, all come from its address.
            let most_of_address = if self.is_behind_proxy { CONNECTIONS } else { CONNECTIONS_OF_ADDRESS };
            let (app, certificate) = (app.clone(), self.certificate.clone());
            let entrance = Entrance { app, certificate, skips_header: false, most_of_address };
            accepting.spawn(accept_tcp(listener, entrance, stopped.clone()));
        }
        if let Some(listener) = self.health {
            let entrance = Entrance {
                app: health,
                certificate: None,
                skips_header: true,
                most_of_address: CONNECTIONS_OF_ADDRESS,
            };
            accepting.spawn(accept_tcp(listener, entrance, stopped.clone()));
        }
        while accepting.join_next().await.is_some() {}
    }
}

impl Socket {
    /// Takes the socket. One that nobody answers on is left over from a gateway that was killed, and makes room.
    async fn bind(path: &Path, inherited: &mut Inherited) -> Result<Socket, String> {
        let failed = |error: io::Error| {
            format!(
                "the socket {} cannot be made: {error}; change admin.socket or the permissions of its folder",
                path.display()
            )
        };
        if let Some(open) = inherited.unix(path) {
            return Ok(Socket { listener: UnixListener::from_std(open).map_err(failed)?, file: None });
        }
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if UnixStream::connect(path).await.is_ok() {
                return Err(format!(
                    "the socket {} is in use by another program; stop it or change admin.socket",
                    path.display()
                ));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Socket { listener, file: Some(path.to_owned()) };
        // Until then the umask holds; who connects is looked at in any case.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(socket)
    }
}

async fn bind_tcp(address: SocketAddr, key: &str, inherited: &mut Inherited) -> Result<TcpListener, String> {
    let listener = match inherited.tcp(address) {
        Some(open) => TcpListener::from_std(open),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is in use by another program; stop it or change {key}"),
        _ => format!("{address} cannot be listened on: {error}; change {key}"),
    })
}

/// Whether a user of this machine may come in through the socket: the one that the gateway runs as, and root.
fn may_enter(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

async fn accept_unix(socket: Socket, app: Router, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = is_true(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let Some(uid) = stream.peer_cred().ok().map(|peer| peer.uid()).filter(|uid| may_enter(*uid)) else { continue };
        let app = app.clone();
        connections.spawn(async move {
            let _place = place;
            let name = tokio::task::spawn_blocking(move || passwd::name_of(uid)).await;
            let name = name.unwrap_or_else(|_| format!("uid {uid}"));
            serve(stream, Peer::Local(name.into()), app, None).await;
        });
    }
    farewell(connections).await;
}

/// What a TCP listener leads to.
#[derive(Clone)]
struct Entrance {
    app: Router,
    certificate: Option<Arc<Certificate>>,
    /// Whether a PROXY header is passed over.
    skips_header: bool,
    most_of_address: usize,
}

async fn accept_tcp(listener: TcpListener, entrance: Entrance, mut stopped: watch::Receiver<bool>) {
    let crowd = Crowd::of(CONNECTIONS, entrance.most_of_address);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = is_true(&mut stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, address)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(member) = crowd.enter(Source::of(address.ip())) else { continue };
        let entrance = entrance.clone();
        connections.spawn(async move {
            tokio::select! {
                () = enter(stream, address, entrance, &member) => {}
                () = member.must_leave() => {}
            }
        });
    }
    drop(listener);
    farewell(connections).await;
}

async fn enter(stream: TcpStream, address: SocketAddr, entrance: Entrance, member: &Arc<Member>) {
    let _ = stream.set_nodelay(true);
    let peer = Peer::Remote(address);
    if entrance.skips_header {
        if let Ok(Ok(stream)) = timeout(HEAD_WITHIN, proxy_header::skip(stream)).await {
            serve(stream, peer, entrance.app, Some(member.clone())).await;
        }
    } else if let Some(certificate) = &entrance.certificate {
        if let Ok(Ok(stream)) = timeout(HEAD_WITHIN, certificate.acceptor().accept(stream)).await {
            serve(stream, peer, entrance.app, Some(member.clone())).await;
        }
    } else {
        serve(stream, peer, entrance.app, Some(member.clone())).await;
    }
}

/// One request after the other, until the connection ends.
async fn serve<S>(stream: S, peer: Peer, app: Router, member: Option<Arc<Member>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (app, peer) = (app.clone(), peer.clone());
        let answering = member.as_ref().map(Member::answering);
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let Ok(response) = app.oneshot(request).await;
            Ok::<_, Infallible>(response.map(|body| Watched { body, _answering: answering }))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Impatient::new(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the admin door ended");
    }
}

/// Lets what is under way end for a moment.
async fn farewell(mut connections: JoinSet<()>) {
    let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn is_true(stopped: &mut watch::Receiver<bool>) {
    // An error means that the gateway is gone, which is an end too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
