//! One connection to an upstream server: its host key is one of those that the operator names, the account logs in, and the subsystem
//! `sftp` runs on its one channel.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, ChannelOpenHandle, Config};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Preferred, SshId, cipher, compression};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::exchange::{Exchange, Failure};
use super::line::{Incoming, Line, Queued, joined};
use super::login::log_in;
use super::settings::Upstream;
use super::wire;

/// What a read or a write may have at least, in bytes, on every server.
const SMALLEST_PIECE: u64 = 32 << 10;

/// The least that a server's limit may make of that: with less, every read and write would be a flood of requests.
const LEAST_LIMIT: u64 = 4 << 10;

/// What a read or a write has at most, in bytes, whatever the server allows: OpenSSH's allows 255 KiB.
const LARGEST_PIECE: u64 = 255 << 10;

/// How many handles a server has at least.
const FEW_HANDLES: u64 = 64;

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const HOST_KEY_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What a server can do beyond the protocol, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    pub(super) posix_rename: bool,
    pub(super) hard_link: bool,
    pub(super) fsync: bool,
    pub(super) capacity: bool,
    pub(super) copy_data: bool,
    /// It does what it is asked about one file in the order in which it was asked, so that what builds on a write can be sent behind it.
    /// The protocol wants that of every server, and some answer out of order nevertheless; those that bring files to the disk on
    /// request have to keep it.
    pub(super) in_order: bool,
    /// The most bytes of one read.
    pub(super) read: usize,
    /// The most bytes of one write.
    pub(super) write: usize,
    /// How many files may be open.
    pub(super) handles: usize,
}

/// A connection that is ready for requests. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) exchange: Arc<Exchange>,
    pub(super) abilities: Abilities,
    /// The fingerprint of the server's key.
    pub(super) host_key: String,
}

impl Connection {
    /// Whether the server lets another file be open.
    pub(super) fn has_room(&self) -> bool {
        self.exchange.open_handles() < self.abilities.handles
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.exchange.end("it is not needed any more");
    }
}

/// Why a connection cannot be had.
#[derive(Debug, Clone)]
pub(super) struct ConnectError {
    /// A sentence without secrets.
    pub(super) message: String,
    /// Another try would not help, and might get us banned.
    pub(super) is_final: bool,
    /// The account is not let in.
    pub(super) denied: bool,
}

impl ConnectError {
    pub(super) fn for_now(message: impl Into<String>) -> Self {
        ConnectError { message: message.into(), is_final: false, denied: false }
    }
}

impl From<russh::Error> for ConnectError {
    fn from(error: russh::Error) -> Self {
        ConnectError::for_now(error.to_string())
    }
}

impl From<russh::SendError> for ConnectError {
    fn from(_: russh::SendError) -> Self {
        ConnectError::for_now("the connection has ended")
    }
}

impl From<Failure> for ConnectError {
    fn from(failure: Failure) -> Self {
        ConnectError::for_now(match failure {
            Failure::Refused { message, .. } | Failure::Unreachable { message, .. } => message,
            Failure::NotSent(why) | Failure::Lost(why) => why,
        })
    }
}

/// Connects, and returns when requests can be sent.
pub(super) async fn connect(upstream: &Upstream) -> Result<Connection, ConnectError> {
    let socket = TcpStream::connect((upstream.host.as_str(), upstream.port)).await;
    let socket = socket.map_err(|error| ConnectError::for_now(error.to_string()))?;
    let (socket, other) = doubled(socket).map_err(|error| ConnectError::for_now(error.to_string()))?;
    let socket_end = HangUp(Some(other));
    let shown = Arc::new(Mutex::new(Shown::Nothing));
    let incoming = Incoming::new();
    let peer = Peer { pinned: upstream.host_keys.clone(), shown: Arc::clone(&shown), incoming: Arc::clone(&incoming) };
    let connected = client::connect_stream(Arc::new(config(&upstream.host_keys)), socket, peer).await;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (mut session, host_key) = match (connected, shown) {
        (_, Shown::Other(fingerprint)) => return Err(wrong_host_key(upstream, &fingerprint)),
        (Ok(session), Shown::Pinned(fingerprint)) => (session, fingerprint),
        (Ok(_), Shown::Nothing) => return Err(ConnectError::for_now("the server shows no host key")),
        (Err(error), _) => return Err(ConnectError::from(error)),
    };
    log_in(&mut session, upstream).await?;
    let channel = session.channel_open_session().await?;
    let (mut events, outgoing) = channel.split();
    outgoing.request_subsystem(true, "sftp").await?;
    until_accepted(&mut events).await?;
    // What comes from now on, the library gives to `incoming`. Nobody would read it here.
    drop(events);
    let extensions = greet(&incoming, &outgoing).await?;
    let Some(other) = socket_end.kept() else { return Err(ConnectError::for_now("the connection has ended")) };
    let outgoing = Arc::new(outgoing);
    let (exchange, queue) = Exchange::new(other, upstream.timeout, Some(line(&outgoing)));
    tokio::spawn(carry(Arc::clone(&exchange), queue, session, outgoing, upstream.timeout));
    incoming.answer(&exchange);
    let mut connection = Connection { exchange, abilities: abilities(&extensions), host_key };
    if extensions.iter().any(|name| name == wire::LIMITS) {
        let answer = connection.exchange.extended(wire::limits()).await?;
        if let Ok(limits) = wire::read_limits(answer) {
            connection.abilities.heed(limits);
        }
    }
    Ok(connection)
}

/// The socket, and a second descriptor of it by which it can be shut down.
fn doubled(socket: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    socket.set_nodelay(true)?;
    let socket = socket.into_std()?;
    let other = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, other))
}

/// Shuts the socket down when it is dropped: the library's task would wait for ever for a server that is silent while it greets.
struct HangUp(Option<std::net::TcpStream>);

impl HangUp {
    /// The connection is somebody else's to end.
    fn kept(mut self) -> Option<std::net::TcpStream> {
        self.0.take()
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn config(host_keys: &[PublicKey]) -> Config {
    // The server shows a key of the first of these kinds that it has: one that is pinned, if it can.
    let is_pinned = |algorithm: &Algorithm| {
        let same = |key: &PublicKey| match (algorithm, key.algorithm()) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (wanted, found) => *wanted == found,
        };
        host_keys.iter().any(same)
    };
    let (mut algorithms, others): (Vec<_>, Vec<_>) = HOST_KEY_ALGORITHMS.into_iter().partition(is_pinned);
    algorithms.extend(others);
    let preferred = Preferred {
        key: Cow::Owned(algorithms),
        cipher: Cow::Borrowed(CIPHERS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::default()
    };
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Lockgate_", env!("CARGO_PKG_VERSION")))),
        window_size: 4 << 20,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        preferred,
        ..Config::default()
    }
}

fn wrong_host_key(upstream: &Upstream, shown: &str) -> ConnectError {
    let pinned: Vec<String> =
        upstream.host_keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
    let message = format!(
        "the server shows the host key {shown}, and the option \"host_key\" says {}; nothing was sent to it. Either the server has a new \
         key, or this is not the server",
        pinned.join(" or "),
    );
    tracing::error!(store = upstream.name, upstream = upstream.address(), "{message}");
    ConnectError { message, is_final: true, denied: false }
}

/// The server, as the SSH library reports it: judges its key, and passes on what it sends.
pub(super) struct Peer {
    pinned: Vec<PublicKey>,
    shown: Arc<Mutex<Shown>>,
    incoming: Arc<Incoming>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The library drops it when the connection has ended, however that came.
        self.incoming.ended("the server closed the connection");
    }
}

/// The key that a server has shown: its fingerprint and its kind.
#[derive(Debug, Clone)]
enum Shown {
    Nothing,
    Pinned(String),
    Other(String),
}

impl client::Handler for Peer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let (is_pinned, shown) = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let fingerprint = format!("{} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm());
                match self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data()) {
                    true => (true, Shown::Pinned(fingerprint)),
                    false => (false, Shown::Other(fingerprint)),
                }
            }
            PublicKeyOrCertificate::Certificate(_) => {
                (false, Shown::Other("in a certificate, which was not asked for".to_owned()))
            }
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(is_pinned)
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut client::Session) -> Result<(), Self::Error> {
        self.incoming.arrived(data);
        Ok(())
    }

    async fn extended_data(
        &mut self,
        _: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        tracing::debug!("the upstream says: {}", data.escape_ascii());
        Ok(())
    }

    async fn channel_eof(&mut self, _: ChannelId, _: &mut client::Session) -> Result<(), Self::Error> {
        self.incoming.ended("the server closed the connection");
        Ok(())
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut client::Session) -> Result<(), Self::Error> {
        self.incoming.ended("the server closed the connection");
        Ok(())
    }

    // The server has no channel to open, and the library's own answers accept every one. A `reply` that is dropped refuses.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<client::Msg>,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<client::Msg>,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<client::Msg>,
        _: &str,
        _: u32,
        _reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A session before and after its login.
pub(super) type Session = client::Handle<Peer>;

async fn until_accepted(incoming: &mut ChannelReadHalf) -> Result<(), ConnectError> {
    loop {
        match incoming.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => {
                return Err(ConnectError::for_now("the server has no SFTP (it refuses the subsystem)"));
            }
            Some(ChannelMsg::WindowAdjusted { .. } | ChannelMsg::ExtendedData { .. }) => {}
            _ => return Err(ConnectError::for_now("the server closed the channel")),
        }
    }
}

/// Sends the first packet and reads the names of the extensions.
async fn greet(incoming: &Incoming, outgoing: &ChannelWriteHalf<client::Msg>) -> Result<Vec<String>, ConnectError> {
    outgoing.data_bytes(wire::init()).await?;
    let wrong = |_| ConnectError::for_now("the server does not speak version 3 of SFTP");
    match incoming.first().await.map_err(wrong)? {
        Some(packet) => wire::version(packet).map_err(wrong),
        None => Err(ConnectError::for_now("the server closed the channel")),
    }
}

fn abilities(extensions: &[String]) -> Abilities {
    let has = |wanted: &str| extensions.iter().any(|name| name == wanted);
    let piece = usize::try_from(SMALLEST_PIECE).unwrap_or(usize::MAX);
    Abilities {
        posix_rename: has(wire::POSIX_RENAME),
        hard_link: has(wire::HARD_LINK),
        fsync: has(wire::FSYNC),
        capacity: has(wire::STATVFS),
        copy_data: has(wire::COPY_DATA),
        in_order: has(wire::FSYNC),
        read: piece,
        write: piece,
        handles: usize::try_from(FEW_HANDLES).unwrap_or(usize::MAX),
    }
}

impl Abilities {
    /// The extensions that a store would use and that are missing.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        let all = [
            (self.posix_rename, wire::POSIX_RENAME),
            (self.hard_link, wire::HARD_LINK),
            (self.fsync, wire::FSYNC),
            (self.capacity, wire::STATVFS),
            (self.copy_data, wire::COPY_DATA),
        ];
        all.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
    }

    fn heed(&mut self, [_, read, write, handles]: [u64; 4]) {
        let piece = |told: u64| match told {
            0 => self.read,
            told => usize::try_from(told.clamp(LEAST_LIMIT, LARGEST_PIECE)).unwrap_or(usize::MAX),
        };
        (self.read, self.write) = (piece(read), piece(write));
        if handles > 0 {
            self.handles = usize::try_from(handles).unwrap_or(usize::MAX);
        }
    }
}

/// So many packets that wait are sent together.
const AT_ONCE: usize = 32;

fn line(outgoing: &Arc<ChannelWriteHalf<client::Msg>>) -> Line {
    let outgoing = Arc::clone(outgoing);
    Line::new(move |packet| {
        let outgoing = Arc::clone(&outgoing);
        Box::pin(async move { outgoing.data_bytes(packet).await.is_ok() })
    })
}

/// Sends what had to wait, and watches for silence, until the channel ends; the session lasts as long.
async fn carry(
    exchange: Arc<Exchange>,
    mut queue: mpsc::UnboundedReceiver<Queued>,
    session: Session,
    outgoing: Arc<ChannelWriteHalf<client::Msg>>,
    patience: Duration,
) {
    let send = async {
        let mut waiting = Vec::new();
        loop {
            let packets = queue.recv_many(&mut waiting, AT_ONCE).await;
            if packets == 0 || !send_queued(waiting.drain(..), &outgoing).await {
                return;
            }
            exchange.sent(packets);
        }
    };
    let watch = async {
        let mut times = tokio::time::interval(patience / 4);
        loop {
            times.tick().await;
            exchange.judge_silence();
        }
    };
    tokio::select! {
        () = send => {}
        () = watch => {}
        // The library would wait for room for ever.
        () = exchange.ended() => {}
    }
    exchange.end("the connection has ended");
    drop(session);
}

/// Sends packets in their order; `false` when the connection has ended.
async fn send_queued(queued: impl Iterator<Item = Queued>, outgoing: &ChannelWriteHalf<client::Msg>) -> bool {
    let mut packets = Vec::new();
    for queued in queued {
        match queued {
            Queued::Packet(packet) => packets.push(packet),
            // Only the first can have been begun: whatever came later was queued behind it.
            Queued::Begun(sending) => {
                if !sending.await {
                    return false;
                }
            }
        }
    }
    for packet in joined(packets) {
        if outgoing.data_bytes(packet).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_server_are_heeded_within_reason() {
        let mut abilities = abilities(&[]);
        abilities.heed([0, 0, 0, 0]);
        assert_eq!((abilities.read, abilities.write, abilities.handles), (32 << 10, 32 << 10, 64));
        abilities.heed([1, 1, u64::MAX, 10]);
        assert_eq!((abilities.read, abilities.write, abilities.handles), (4 << 10, 255 << 10, 10));
    }
}
