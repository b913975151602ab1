//! A user with a home in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::faulty::{Faults, Faulty};
use super::pipe::{Client, client};
use crate::audit::{self, MemorySink, OnFailure, Origin, Protocol, Recorder, SinkSettings, SinkTarget};
use crate::path::LogicalPath;
use crate::policy::{Permission, Permissions};
use crate::scp::{Command, Ended, serve};
use crate::session::{AttributeChange, Attributes, Backing, Login, OpenMode, Session};
use crate::stores::Store;
use crate::users::{HomeEntry, User};
use crate::vfs::{self, PartialUploads, Transfers};

/// How long a test waits for a server to end.
const LATE: Duration = Duration::from_secs(20);

/// The user `ann`: `/` may be read and written, `/drop` takes new files only, `/public` may only be read.
pub struct Home {
    pub session: Arc<Session>,
    /// The door to the same files without limits.
    owner: Arc<Session>,
    pub events: Arc<MemorySink>,
    store: Arc<Faulty>,
    _staging: tempfile::TempDir,
}

/// A server that serves one command, as its client sees it.
pub struct Running {
    pub client: Client,
    server: JoinHandle<Ended>,
}

impl Home {
    pub async fn new() -> Home {
        Home::of(&[
            ("/", Permissions::READ_WRITE),
            ("/drop", Permissions::WRITE_ONLY),
            ("/public", Permissions::READ_ONLY),
            ("/hidden", [Permission::Delete].into_iter().collect()),
        ])
        .await
    }

    /// A home whose entry `/in` allows this.
    pub async fn with_permissions(set: Permissions) -> Home {
        Home::of(&[("/in", set)]).await
    }

    async fn of(limited: &[(&str, Permissions)]) -> Home {
        let staging = tempfile::tempdir().unwrap();
        let transfers = Transfers::new(vfs::Settings {
            transfer_memory: 64 * 1024 * 1024,
            staging: 64 * 1024 * 1024,
            staging_folder: staging.path().join("staging"),
            largest_hole: 64 << 20,
            partial_uploads: PartialUploads::Discard,
        })
        .unwrap();
        let events = MemorySink::new();
        let sink = SinkSettings::of(SinkTarget::Memory(events.clone()), OnFailure::Refuse);
        let settings =
            audit::Settings { server: "test".into(), resource_arn: "arn".into(), sinks: vec![sink], chain: None };
        let recorder = Recorder::start(settings).await.unwrap();
        let store = Faulty::new();
        let open: Vec<_> = limited.iter().map(|(entry, _)| (*entry, Permissions::READ_WRITE)).collect();
        let session = log_in(&store, &transfers, &recorder, limited);
        let owner = log_in(&store, &transfers, &recorder, &open);
        Home { session, owner, events, store, _staging: staging }
    }

    /// Starts to serve a command.
    pub fn run(&self, command: &str) -> Running {
        let command = Command::parse(command.as_bytes()).unwrap();
        let (client, incoming, outgoing) = client();
        Running { client, server: tokio::spawn(serve(self.session.clone(), command, incoming, outgoing)) }
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: Faults) {
        self.store.set(faults);
    }

    /// Puts a file there.
    pub async fn put(&self, path: &str, content: impl Into<Bytes>) {
        self.put_with_time(path, content, None).await;
    }

    pub async fn put_with_time(&self, path: &str, content: impl Into<Bytes>, mtime: Option<SystemTime>) {
        let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
        let change = AttributeChange { mtime, ..AttributeChange::default() };
        let mut transfer = self.owner.open(&path_of(path), mode, &change).await.unwrap();
        transfer.write_at(0, content.into()).await.unwrap();
        transfer.close().await.unwrap();
        self.events.take();
    }

    pub async fn make_directory(&self, path: &str) {
        self.owner.make_directory(&path_of(path), &AttributeChange::default()).await.unwrap();
        self.events.take();
    }

    /// A file's content, or `None` when there is no such file.
    pub async fn content(&self, path: &str) -> Option<Vec<u8>> {
        let mode = OpenMode { read: true, ..OpenMode::default() };
        let mut transfer = self.owner.open(&path_of(path), mode, &AttributeChange::default()).await.ok()?;
        let mut content = Vec::new();
        loop {
            let piece = transfer.read_at(content.len() as u64, 1 << 20).await.unwrap();
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(&piece);
        }
        transfer.close().await.unwrap();
        Some(content)
    }

    pub async fn stat(&self, path: &str) -> Option<Attributes> {
        self.owner.stat(&path_of(path)).await.ok()
    }

    /// The events so far as `ACTIVITY /logical/path`.
    pub fn history(&self) -> Vec<String> {
        let text = |event: &serde_json::Value, field: &str| event[field].as_str().unwrap_or("?").to_owned();
        self.events.take().iter().map(|e| format!("{} {}", text(e, "activity-type"), text(e, "logical-path"))).collect()
    }
}

impl Home {
    /// What the first event of that kind says; takes them all.
    pub fn message_of(&self, activity: &str) -> String {
        let events = self.events.take();
        let event = events.iter().find(|event| event["activity-type"] == activity);
        let event = event.unwrap_or_else(|| panic!("no {activity} in {events:?}"));
        event["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Running {
    /// The exit status, and what the server sent that was not read yet.
    pub async fn end(mut self) -> (u32, Vec<u8>) {
        self.client.end();
        let rest = self.client.read_all().await;
        (status(self.server).await, rest)
    }

    /// The client vanishes, with whatever was sent to it unread; the exit status.
    pub async fn abandon(self) -> u32 {
        drop(self.client);
        status(self.server).await
    }

    /// The server ends, for a client that does not take what is sent to it.
    pub async fn flooded(mut self) -> bool {
        self.client.end();
        self.client.read_all().await;
        tokio::time::timeout(LATE, self.server).await.expect("the server ends").unwrap() == Ended::Flooded
    }

    /// Sends bytes and expects exactly this answer.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.client.send(bytes.to_vec()).await;
        self.hear(answer).await;
    }

    /// Expects exactly these bytes.
    pub async fn hear(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let heard = self.client.read(expected.len()).await;
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
    }
}

async fn status(server: JoinHandle<Ended>) -> u32 {
    let ended = tokio::time::timeout(LATE, server).await.expect("the server ends").unwrap();
    u32::from(ended != Ended::Complete)
}

fn log_in(
    store: &Arc<Faulty>,
    transfers: &Arc<Transfers>,
    recorder: &Recorder,
    home: &[(&str, Permissions)],
) -> Arc<Session> {
    let entries = home.iter().map(|(entry, permissions)| HomeEntry {
        entry: path_of(entry),
        store: "memory".into(),
        target: format!("home{entry}").trim_end_matches('/').into(),
        permissions: *permissions,
    });
    let user = User { home: entries.collect(), ..crate::users::testing::user("ann") };
    let origin = Origin {
        session_id: "0123456789abcdef0123".into(),
        source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        source_port: 1,
        user: Some("ann".into()),
        protocol: None,
        client: None,
        person: None,
        jump: None,
    };
    let stores = vec![store.clone() as Arc<dyn Store>];
    let backing = Backing { stores, roots: Arc::default(), transfers: transfers.clone(), strict_setstat: false };
    Login::new(Arc::new(user), origin, &backing, recorder.clone()).unwrap().session(Protocol::Scp)
}

pub fn path_of(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

/// Bytes without a pattern that a wrong offset would hide.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = length as u32 | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(step).collect()
}
