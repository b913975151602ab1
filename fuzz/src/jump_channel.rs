//! A whole gateway, and what a client sends through a jump: bytes that are no SSH, or the bytes of a real client, damaged on the way.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use bytes::Bytes;
use lockgate::internals::gateway::{Control, Gateway};
use lockgate::internals::inherited::Inherited;
use lockgate::internals::ssh::{self, KeyKind};
use lockgate::internals::users::TargetAddress;
use lockgate::internals::{admin, config};
use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::channel::PATIENCE;
use super::cursor::Cursor;

/// A real client speaks, and what it sends is damaged.
const CLIENT: u8 = 1;
/// What comes back is not taken, so the channel's window is used up.
const DEAF: u8 = 2;
/// The client asks for an address of the input's.
const ELSEWHERE: u8 = 4;

/// Where the target is; it has a second address, by name.
const HOST: &str = "10.0.0.1";
const NAME: &str = "web.internal";
const PORT: u32 = 22;

/// So many jumps go over one connection: after more of them, or after many refusals, the gateway takes its time.
const JUMPS: usize = 40;

/// How long a damaged conversation may wait for something that does not come.
const A_WHILE: Duration = Duration::from_millis(150);

/// The most pieces of one input.
const PIECES: usize = 4096;

/// What the process may hold in memory: far more than a jump needs, far less than one without bounds would take.
const MEMORY: usize = 2 << 30;

/// Whatever comes through a jump: it ends when the client closes it, the connection under it goes on, nothing panics, and memory is
/// bounded. Undamaged, the client gets in. Nothing but the target's addresses leads anywhere.
pub fn jump_channel(data: &[u8]) {
    let world = World::of_process();
    let mut cursor = Cursor::new(data);
    world.runtime.block_on(async {
        let flags = cursor.byte();
        let channel = match flags & ELSEWHERE {
            0 => Some(world.jump().await),
            _ => world.jump_elsewhere(&mut cursor).await,
        };
        if let Some(channel) = channel {
            converse(channel, flags, &mut cursor).await;
        }
    });
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a thread of the gateway has panicked");
    let resident = resident();
    assert!(resident < MEMORY, "{resident} bytes of memory");
}

async fn converse(channel: Channel<Msg>, flags: u8, cursor: &mut Cursor<'_>) {
    let (read, write) = channel.split();
    let (taking, takes) = watch::channel(flags & DEAF == 0);
    let (received, answers) = mpsc::unbounded_channel();
    let reading = tokio::spawn(receive(read, takes, received));
    let closes = match flags & CLIENT {
        0 => send_pieces(&write, cursor).await,
        _ => {
            speak(&write, answers, flags, cursor).await;
            false
        }
    };
    if closes {
        // The library does not tell of the answer to a close. A place that does not become free is noticed by the jumps that follow.
        let _ = timeout(PATIENCE, write.close()).await.expect("the connection takes no close");
        return reading.abort();
    }
    let _ = timeout(PATIENCE, write.eof()).await.expect("the connection takes no end");
    taking.send_replace(true);
    timeout(PATIENCE, reading).await.expect("the jump does not end").expect("no panic");
}

/// Hands over what comes back, until the channel is closed.
async fn receive(mut read: ChannelReadHalf, mut takes: watch::Receiver<bool>, received: mpsc::UnboundedSender<Bytes>) {
    let _ = takes.wait_for(|takes| *takes).await;
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => drop(received.send(data)),
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Sends one piece. False when the channel takes no more, or not now.
async fn send(write: &ChannelWriteHalf<Msg>, piece: &[u8], limit: Duration) -> bool {
    matches!(timeout(limit, write.data_bytes(Bytes::copy_from_slice(piece))).await, Ok(Ok(())))
}

/// Bytes of the input, in pieces, with ends wherever it says. True when it says to close the channel.
async fn send_pieces(write: &ChannelWriteHalf<Msg>, cursor: &mut Cursor<'_>) -> bool {
    let size = usize::from(cursor.byte()).max(1) * 4;
    let mut left = PIECES;
    while !cursor.is_empty() {
        let what = cursor.byte();
        let times = match what % 8 {
            0..=3 => 1,
            4 => usize::from(cursor.byte()),
            5 => {
                let _ = timeout(A_WHILE, write.eof()).await;
                continue;
            }
            6 => {
                sleep(Duration::from_millis(1)).await;
                continue;
            }
            _ => return true,
        };
        let bytes = cursor.piece();
        for piece in (0..times).flat_map(|_| bytes.chunks(size)) {
            if left == 0 || !send(write, piece, A_WHILE).await {
                return false;
            }
            left -= 1;
        }
    }
    false
}

/// What is done to the bytes of a client.
struct Damage {
    /// Places, and what is changed in the byte there.
    changes: Vec<(usize, u8)>,
    /// Where the client falls silent.
    cut: Option<usize>,
    /// The longest piece.
    size: usize,
}

impl Damage {
    fn read(cursor: &mut Cursor<'_>) -> Damage {
        let size = usize::from(cursor.byte()).max(1) * 4;
        let place = |cursor: &mut Cursor<'_>| usize::from(cursor.byte()) << 4 | usize::from(cursor.byte());
        let cut = (cursor.byte() & 1 == 1).then(|| place(cursor));
        let mut changes = Vec::new();
        while !cursor.is_empty() && changes.len() < 8 {
            changes.push((place(cursor), cursor.byte()));
        }
        changes.retain(|(_, change)| *change != 0);
        Damage { changes, cut, size }
    }

    fn is_none(&self) -> bool {
        self.changes.is_empty() && self.cut.is_none()
    }
}

/// A client logs in at the target and opens a session of SFTP.
async fn speak(
    write: &ChannelWriteHalf<Msg>,
    answers: mpsc::UnboundedReceiver<Bytes>,
    flags: u8,
    cursor: &mut Cursor<'_>,
) {
    let damage = Damage::read(cursor);
    let must_succeed = damage.is_none() && flags & DEAF == 0;
    let (near, far) = duplex(1 << 16);
    let client = async {
        let mut session = client::connect_stream(Arc::default(), near, Anybody).await.ok()?;
        session.authenticate_none("deploy").await.ok().filter(client::AuthResult::success)?;
        let channel = session.channel_open_session().await.ok()?;
        channel.request_subsystem(true, "sftp").await.ok()?;
        channel.data_bytes(Bytes::from_static(&[0, 0, 0, 5, 1, 0, 0, 0, 3])).await.ok()?;
        let mut channel = channel;
        loop {
            match channel.wait().await? {
                ChannelMsg::Data { data } => return data.starts_with(&[0, 0]).then_some(()),
                ChannelMsg::Close => return None,
                _ => {}
            }
        }
    };
    let limit = if must_succeed { PATIENCE } else { A_WHILE };
    let done = tokio::select! {
        done = timeout(limit, client) => done.ok().flatten(),
        () = carry(far, write, answers, damage, limit) => None,
    };
    assert!(!must_succeed || done.is_some(), "a client does not get in");
}

/// Carries bytes both ways, those of the client with their damage, until either side ends.
async fn carry(
    far: DuplexStream,
    write: &ChannelWriteHalf<Msg>,
    mut answers: mpsc::UnboundedReceiver<Bytes>,
    damage: Damage,
    limit: Duration,
) {
    let (mut from_client, mut to_client) = tokio::io::split(far);
    let there = async {
        let (mut buffer, mut sent) = (vec![0; damage.size], 0);
        loop {
            let Ok(count @ 1..) = from_client.read(&mut buffer).await else { return };
            let count = damage.cut.map_or(count, |cut| count.min(cut.saturating_sub(sent)));
            for (place, change) in &damage.changes {
                if let Some(byte) = place.checked_sub(sent).and_then(|at| buffer[..count].get_mut(at)) {
                    *byte ^= change;
                }
            }
            if count == 0 || !send(write, &buffer[..count], limit).await {
                // Silent from now on, which the client finds out by itself.
                return std::future::pending().await;
            }
            sent += count;
        }
    };
    let back = async {
        while let Some(data) = answers.recv().await {
            if to_client.write_all(&data).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// A client that takes any host key.
struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A gateway with a target, and a connection to it.
struct World {
    runtime: Runtime,
    address: SocketAddr,
    key: String,
    /// The connection, and how many jumps went over it.
    outer: Mutex<Option<(Arc<Handle<Anybody>>, usize)>>,
    _folder: tempfile::TempDir,
    _controls: mpsc::Sender<Control>,
    _wishes: mpsc::Receiver<admin::Wish>,
}

/// Panics in threads of the gateway, which catch them.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// The name of those threads.
const THREADS: &str = "jumps";

impl World {
    fn of_process() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(World::start)
    }

    fn start() -> World {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            if matches!(thread::current().name(), Some(THREADS | "key-exchange")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(what);
        }));
        let folder = tempfile::tempdir().expect("a folder");
        let [host_key, key] = ["host", "alice"].map(|name| ssh::make_key(KeyKind::Ed25519, name).expect("a key"));
        fs::write(folder.path().join("host_key"), host_key.private.expose()).expect("a file");
        let text = format!(
            "server: {{ listen: [\"127.0.0.1:0\"], host_keys: [host_key] }}\n\
             stores: {{ web: {{ url: \"memory:///\" }} }}\n\
             targets:\n  - name: web\n    addresses: [\"{HOST}:{PORT}\", \"{NAME}:{PORT}\"]\n    accounts:\n      \
             - {{ name: deploy, home: [{{ entry: /, target: \"web:/\" }}] }}\n\
             users:\n  - {{ name: alice, public_keys: [\"{}\"], targets: [{{ target: web, accounts: [deploy] }}] }}\n\
             events: [{{ sink: file, path: events.ndjson }}]\n\
             limits: {{ staging_folder: staging, connections_per_second: 10000, unauthenticated_per_address: 100 }}\n",
            key.public.trim()
        );
        let file = folder.path().join("config.yaml");
        fs::write(&file, text).expect("a file");
        #[cfg(unix)]
        private(&[&file, &folder.path().join("host_key")]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .expect("tasks");
        let settings = config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let gateway = runtime.block_on(Gateway::start(settings, Inherited::default(), std::future::pending()));
        let gateway = gateway.expect("a start").expect("nobody stops it");
        let address = gateway.addresses()[0];
        let (controls, received) = mpsc::channel(1);
        let (wishes, wished) = mpsc::channel(1);
        runtime.spawn(gateway.run(received, wishes));
        let key = key.private.expose().to_owned();
        World { runtime, address, key, outer: Mutex::default(), _folder: folder, _controls: controls, _wishes: wished }
    }

    /// A connection for one more jump.
    async fn outer(&self) -> Arc<Handle<Anybody>> {
        let mut place = self.outer.lock().await;
        if let Some((outer, count)) = place.as_mut().filter(|(_, count)| *count < JUMPS) {
            assert!(!outer.is_closed(), "the connection that was jumped through has ended");
            *count += 1;
            return outer.clone();
        }
        let connecting = async {
            let mut outer = client::connect(Arc::default(), self.address, Anybody).await.expect("a connection");
            let key = decode_secret_key(&self.key, None).expect("a key");
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
            let answer = outer.authenticate_publickey("alice", key).await.expect("an answer");
            assert!(answer.success(), "{answer:?}");
            Arc::new(outer)
        };
        let outer = timeout(PATIENCE, connecting).await.expect("the gateway lets nobody in");
        *place = Some((outer.clone(), 1));
        outer
    }

    /// A jump to the target. The places of jumps that have ended are free soon.
    async fn jump(&self) -> Channel<Msg> {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = self.outer().await;
            match timeout(PATIENCE, asked.channel_open_direct_tcpip(HOST, PORT, "127.0.0.1", 1)).await {
                Ok(Ok(channel)) => return channel,
                Ok(Err(russh::Error::ChannelOpenFailure(_))) if Instant::now() < until => {
                    sleep(Duration::from_millis(10)).await;
                }
                other => panic!("no jump any more: {other:?}"),
            }
        }
    }

    /// Asks for what the input says; `None` where that leads nowhere, which it must unless it is an address of the target.
    async fn jump_elsewhere(&self, cursor: &mut Cursor<'_>) -> Option<Channel<Msg>> {
        let (host, port) = (cursor.text(), u32::try_from(cursor.number() >> 32).unwrap_or_default());
        let (originator, from) = (cursor.text(), u32::from(cursor.byte()));
        let asked = self.outer().await;
        let opened = timeout(PATIENCE, asked.channel_open_direct_tcpip(host.clone(), port, originator, from)).await;
        match opened.expect("no answer to a jump") {
            Ok(channel) => {
                assert!(is_of_target(&host) && port == PORT, "{host:?} {port} leads somewhere");
                Some(channel)
            }
            Err(russh::Error::ChannelOpenFailure(_)) => None,
            Err(error) => panic!("{host:?} {port} ends the connection: {error}"),
        }
    }
}

fn is_of_target(host: &str) -> bool {
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical().to_string());
    let name = host.strip_suffix('.').unwrap_or(host);
    address.is_ok_and(|address| address == HOST) || name == HOST || name.eq_ignore_ascii_case(NAME)
}

#[cfg(unix)]
fn private(files: &[&std::path::Path]) {
    use std::os::unix::fs::PermissionsExt;
    for file in files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    }
}

/// Bytes of memory that this process holds; zero where the system does not say.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok()).unwrap_or_default() * 4096
}

/// Addresses of targets: what is taken for one means the same however it is written down again.
pub fn target_addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match TargetAddress::parse(text) {
        Ok(address) => {
            let again = TargetAddress::parse(&address.to_string());
            assert_eq!(again.as_ref(), Ok(&address), "{text:?}");
            assert!(!address.host().is_empty() && address.host().len() <= 253);
        }
        Err(what) => assert!(what.contains("HOST:PORT"), "{what}"),
    }
}
