//! A gateway without its SSH: homes on memory stores, and the two halves of a channel that the fuzzer speaks over.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use lockgate::internals::audit::{
    self, Activity, MemorySink, Note, OnFailure, Origin, Recorder, SinkSettings, SinkTarget,
};
use lockgate::internals::path::LogicalPath;
use lockgate::internals::policy::Permissions;
use lockgate::internals::session::channel::{Closed, Incoming, Outgoing};
use lockgate::internals::session::{Backing, Login};
use lockgate::internals::stores;
use lockgate::internals::users::{AuthMode, Bounds, CONFIGURATION, HomeEntry, User};
use lockgate::internals::vfs::{self, PartialUploads, Transfers};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// How long anything may take that is not to hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What all inputs share.
pub struct World {
    pub runtime: Runtime,
    pub recorder: Recorder,
    pub sink: Arc<MemorySink>,
    transfers: Arc<Transfers>,
    _staging: tempfile::TempDir,
}

/// The world of this process.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        // One thread for the conversation, and a recorder that waits for no other: a change of threads for each request and
        // each event takes most of the time.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tasks");
        let sink = MemorySink::new();
        let settings = audit::Settings {
            server: "test".into(),
            resource_arn: "lockgate:server/test".into(),
            sinks: vec![SinkSettings::of(SinkTarget::Memory(sink.clone()), OnFailure::Continue)],
            chain: None,
        };
        let recorder = runtime.block_on(Recorder::start(settings)).expect("a recorder");
        let staging = tempfile::tempdir().expect("a folder");
        let transfers = Transfers::new(vfs::Settings {
            transfer_memory: 64 << 20,
            staging: 4 << 20,
            staging_folder: staging.path().to_owned(),
            largest_hole: 64 << 20,
            partial_uploads: PartialUploads::Discard,
        });
        World { runtime, recorder, sink, transfers: transfers.expect("a folder"), _staging: staging }
    })
}

/// Who made the events.
pub fn origin() -> Origin {
    Origin {
        session_id: "00112233445566778899".into(),
        source_ip: [192, 0, 2, 1].into(),
        source_port: 40000,
        user: Some("demo".into()),
        protocol: None,
        client: None,
        person: None,
        jump: None,
    }
}

/// A user who just logged in, whose stores are empty: everything is allowed but in `/ro`.
pub fn login() -> Arc<Login> {
    let world = world();
    let store = |name: &str| {
        stores::open(&stores::Settings { name: name.into(), url: "memory:///".into(), options: Vec::new() })
            .expect("a store")
    };
    let entry = |entry: &str, store: &str, permissions| HomeEntry {
        entry: LogicalPath::parse_str(entry).expect("a path"),
        store: store.into(),
        target: String::new(),
        permissions,
    };
    let user = User {
        name: "demo".into(),
        role: None,
        identity: None,
        keys: Vec::new(),
        principals: Vec::new(),
        password: None,
        auth: AuthMode::PublicKey,
        totp: Default::default(),
        enabled: true,
        bounds: Bounds::default(),
        home: vec![
            entry("/", "one", Permissions::READ_WRITE),
            entry("/two", "two", Permissions::READ_WRITE),
            entry("/ro", "one", Permissions::READ_ONLY),
        ],
        targets: Vec::new(),
        source: CONFIGURATION.into(),
    };
    let stores = vec![store("one"), store("two")];
    let backing =
        Backing { stores, roots: std::sync::Arc::default(), transfers: world.transfers.clone(), strict_setstat: false };
    Login::new(Arc::new(user), origin(), &backing, world.recorder.clone()).expect("a home")
}

/// Runs a conversation to its end; it must come to one. Then every file that was opened has had its end recorded.
pub fn converse(login: &Arc<Login>, conversation: impl Future<Output = ()> + Send + 'static) {
    // One conversation at a time: the sink is everybody's.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let world = world();
    let events = world.runtime.block_on(async {
        let task = tokio::spawn(conversation);
        tokio::time::timeout(PATIENCE * 2, task).await.expect("the channel does not end").expect("no panic");
        assert!(login.transfers_ended_within(PATIENCE).await, "a file is still open");
        // The sink has what was recorded before when it has this.
        let last = Note { message: THE_END.into(), operation: None, path: None, logical_path: None };
        world.recorder.record_late(&origin(), &Activity::ExitReason(last)).await.expect("the sink works");
        tokio::time::timeout(PATIENCE, all_events(&world.sink)).await.expect("the sink has not written all")
    });
    let is = |event: &serde_json::Value, kind: &str| event["activity-type"] == kind;
    let opened = events.iter().filter(|event| is(event, "OPEN") && event["status"] == "success").count();
    let failed = |event: &serde_json::Value| is(event, "ERROR") && event["operation"] == "CLOSE";
    let is_end = |event: &&serde_json::Value| is(event, "CLOSE") || is(event, "PARTIAL_CLOSE") || failed(event);
    let ended = events.iter().filter(is_end).count();
    assert_eq!(opened, ended, "{events:?}");
}

/// The last event of a conversation.
const THE_END: &str = "the conversation has ended";

/// What the sink writes up to [`THE_END`]. Nobody waits for it otherwise.
async fn all_events(sink: &MemorySink) -> Vec<serde_json::Value> {
    let mut events = Vec::new();
    loop {
        events.extend(sink.take());
        if events.iter().any(|event: &serde_json::Value| event["message"] == THE_END) {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What the client sends: pieces, and whether it waits for the answers to all before it sends the next one.
pub struct Pieces {
    pub pieces: std::vec::IntoIter<Bytes>,
    pub patient: bool,
    pub answers: Arc<Answers>,
}

impl Incoming for Pieces {
    async fn next(&mut self) -> Option<Bytes> {
        if self.patient {
            self.answers.all_answered().await;
        }
        let piece = self.pieces.next();
        if piece.is_some() {
            self.answers.change(|state| state.asked += 1);
        }
        piece
    }

    fn is_cut(&self) -> bool {
        false
    }
}

/// What the client was sent.
#[derive(Default)]
pub struct Answers {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    asked: usize,
    /// SFTP packets without their lengths.
    packets: Vec<Bytes>,
    partial: BytesMut,
}

impl Answers {
    /// All packets so far.
    pub fn packets(&self) -> Vec<Bytes> {
        self.change(|state| state.packets.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        result
    }

    async fn all_answered(&self) {
        let answered = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let is_answered = {
                    let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.packets.len() >= state.asked
                };
                if is_answered {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("a request is not answered");
    }
}

/// What the server sends: SFTP packets into `answers`, and after `limit` bytes the client has gone.
pub struct Kept {
    pub answers: Arc<Answers>,
    pub limit: usize,
}

impl Outgoing for Kept {
    async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
        self.limit = self.limit.checked_sub(data.len()).ok_or(Closed)?;
        self.answers.change(|state| {
            state.partial.extend_from_slice(&data);
            while let Some(head) = state.partial.get(..4) {
                let length = u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
                assert!((5..=256 * 1024).contains(&length), "a packet of {length} bytes");
                if state.partial.len() < 4 + length {
                    break;
                }
                state.partial.advance(4);
                let packet = state.partial.split_to(length).freeze();
                state.packets.push(packet);
            }
        });
        Ok(())
    }

    async fn send_error(&mut self, _: Bytes) -> Result<(), Closed> {
        Ok(())
    }
}

/// Throws away what it is sent, and after `limit` bytes the client has gone.
pub struct Discarded {
    pub limit: usize,
}

impl Outgoing for Discarded {
    async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
        self.limit = self.limit.checked_sub(data.len()).ok_or(Closed)?;
        Ok(())
    }

    async fn send_error(&mut self, _: Bytes) -> Result<(), Closed> {
        Ok(())
    }
}
