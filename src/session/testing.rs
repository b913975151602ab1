//! A home over a memory store whose events can be read: for the tests of this module and of the codecs.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::Value;

use crate::audit::{self, MemorySink, OnFailure, Origin, Protocol, Recorder, SinkSettings, SinkTarget};
use crate::path::LogicalPath;
use crate::policy::Permissions;
use crate::stores::{self, Store};
use crate::users::{HomeEntry, User};
use crate::vfs::{self, PartialUploads, Transfers};

use super::{Backing, Login, Session};

/// A logged-in user `demo` with a home on one memory store named `memory`.
pub(crate) struct Home {
    login: Arc<Login>,
    again: Box<dyn Fn() -> Arc<Login> + Send + Sync>,
    store: Arc<dyn Store>,
    sink: Arc<MemorySink>,
    _staging: tempfile::TempDir,
}

impl Home {
    /// Entries are: where the client sees it, the directory in the store, what is allowed.
    pub(crate) async fn new(entries: &[(&str, &str, Permissions)]) -> Home {
        let settings = stores::Settings { name: "memory".into(), url: "memory:///".into(), options: Vec::new() };
        Home::over(stores::open(&settings).unwrap(), entries).await
    }

    /// The same on another store.
    pub(crate) async fn over(store: Arc<dyn Store>, entries: &[(&str, &str, Permissions)]) -> Home {
        Home::with(store, entries, PartialUploads::Discard).await
    }

    /// The same; what becomes of uploads that are cut off.
    pub(crate) async fn with(
        store: Arc<dyn Store>,
        entries: &[(&str, &str, Permissions)],
        partial_uploads: PartialUploads,
    ) -> Home {
        let entry = |(entry, target, permissions): &(&str, &str, Permissions)| HomeEntry {
            entry: LogicalPath::parse_str(entry).unwrap(),
            store: store.name().into(),
            target: (*target).into(),
            permissions: *permissions,
        };
        let home = entries.iter().map(entry).collect();
        Home::of(vec![store], home, partial_uploads).await
    }

    /// All of one store in `/`, and all of another one in `/other`; everything allowed.
    pub(crate) async fn over_two(first: Arc<dyn Store>, other: Arc<dyn Store>) -> Home {
        let entry = |entry: &str, store: &Arc<dyn Store>| HomeEntry {
            entry: LogicalPath::parse_str(entry).unwrap(),
            store: store.name().into(),
            target: String::new(),
            permissions: Permissions::READ_WRITE,
        };
        let home = vec![entry("/", &first), entry("/other", &other)];
        Home::of(vec![first, other], home, PartialUploads::Discard).await
    }

    async fn of(stores: Vec<Arc<dyn Store>>, home: Vec<HomeEntry>, partial_uploads: PartialUploads) -> Home {
        let sink = Arc::new(MemorySink::default());
        let recorder = Recorder::start(audit::Settings {
            server: "test".into(),
            resource_arn: "lockgate:server/test".into(),
            sinks: vec![SinkSettings::of(SinkTarget::Memory(sink.clone()), OnFailure::Refuse)],
            chain: None,
        })
        .await
        .unwrap();
        let staging = tempfile::tempdir().unwrap();
        let transfers = Transfers::new(vfs::Settings {
            transfer_memory: 64 << 20,
            staging: 1 << 30,
            staging_folder: staging.path().to_owned(),
            largest_hole: 64 << 20,
            partial_uploads,
        })
        .unwrap();
        let store = stores[0].clone();
        let user = User { home, ..crate::users::testing::user("demo") };
        let origin = Origin {
            session_id: "00112233445566778899".into(),
            source_ip: [192, 0, 2, 1].into(),
            source_port: 40000,
            user: Some("demo".into()),
            protocol: None,
            client: None,
            person: None,
            jump: None,
        };
        let backing = Backing { stores, roots: Arc::default(), transfers, strict_setstat: false };
        let user = Arc::new(user);
        let again = move || Login::new(user.clone(), origin.clone(), &backing, recorder.clone()).unwrap();
        Home { login: again(), again: Box::new(again), store, sink, _staging: staging }
    }

    /// A folder as the whole store, everything allowed.
    pub(crate) async fn on_folder(folder: &std::path::Path) -> Home {
        let url = format!("file://{}", folder.display());
        let settings = stores::Settings { name: "folder".into(), url, options: Vec::new() };
        Home::over(stores::open(&settings).unwrap(), &[("/", "", Permissions::READ_WRITE)]).await
    }

    /// The whole store, everything allowed.
    pub(crate) async fn open() -> Home {
        Home::new(&[("/", "", Permissions::READ_WRITE)]).await
    }

    pub(crate) fn session(&self) -> Arc<Session> {
        self.login.session(Protocol::Sftp)
    }

    /// The same user on another connection.
    pub(crate) fn session_of_another_connection(&self) -> Arc<Session> {
        (self.again)().session(Protocol::Sftp)
    }

    pub(crate) fn login(&self) -> &Arc<Login> {
        &self.login
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn sink(&self) -> &MemorySink {
        &self.sink
    }

    /// Takes all room for events that this connection can find, what it has for itself included, until what it gives is dropped.
    pub(crate) async fn fill_queue(&self) -> Vec<audit::Reservation> {
        vec![self.login.reserve(usize::MAX).await.unwrap(), self.login.reserve(usize::MAX).await.unwrap()]
    }

    /// What was recorded so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.sink.events()
    }
}
