//! What a gateway is started with: stores, users, limits; written as a configuration file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::gateway::{Gateway, lockgate};
use super::keys::Key;
use super::process::{LIMIT, run_with};
use super::s3::{self, S3Store};
use super::server::folder;

/// A configuration under construction, with the folder that it lives in.
#[derive(Debug, Clone)]
pub struct Setup {
    folder: Arc<TempDir>,
    host_keys: Vec<Key>,
    /// The configuration as it will be written (JSON is YAML).
    pub config: Value,
}

/// One user under construction.
#[derive(Debug, Clone)]
pub struct User(Map<String, Value>);

impl User {
    pub fn new(name: &str) -> User {
        let mut fields = Map::new();
        fields.insert("name".into(), name.into());
        fields.insert("home".into(), json!([]));
        User(fields)
    }

    pub fn set(mut self, field: &str, value: impl Into<Value>) -> User {
        self.0.insert(field.into(), value.into());
        self
    }

    pub fn key(mut self, key: &Key) -> User {
        let keys = self.0.entry("public_keys").or_insert_with(|| json!([]));
        keys.as_array_mut().unwrap().push(key.public.clone().into());
        self
    }

    /// Lets a password in; its hash comes from `lockgate hash-password`.
    pub fn password(self, password: &str) -> User {
        let hash = hash_password(password);
        self.set("password_hash", hash).set("auth", "password")
    }

    pub fn home(self, entry: &str, target: &str) -> User {
        self.entry(json!({ "entry": entry, "target": target }))
    }

    pub fn home_with(self, entry: &str, target: &str, permissions: Value) -> User {
        self.entry(json!({ "entry": entry, "target": target, "permissions": permissions }))
    }

    fn entry(mut self, entry: Value) -> User {
        self.0["home"].as_array_mut().unwrap().push(entry);
        self
    }
}

/// What `lockgate hash-password` prints for a password on its input.
pub fn hash_password(password: &str) -> String {
    let input = format!("{password}\n");
    run_with(lockgate().arg("hash-password"), input.as_bytes(), LIMIT).succeeded().stdout.trim().to_string()
}

impl Setup {
    /// Host keys, a free port on loopback, events to standard output; no stores and no users yet.
    pub fn new() -> Setup {
        let folder = Arc::new(folder());
        let host_keys =
            vec![Key::make(folder.path(), "host_ed25519", "ed25519"), Key::make(folder.path(), "host_ecdsa", "ecdsa")];
        let config = json!({
            "server": {
                "name": "edge-1",
                "listen": ["127.0.0.1:0"],
                "host_keys": host_keys.iter().map(|k| k.private.to_str()).collect::<Vec<_>>(),
            },
            "stores": {},
            "users": [],
            "events": [{ "sink": "stdout" }],
            // A folder for each gateway: several run at once in the tests. A client of a busy machine needs its time to log in,
            // and all clients of a test come from one address.
            "limits": {
                "staging_folder": folder.path().join("staging"),
                "login_grace": "10m",
                "unauthenticated_per_address": 100,
                "connections_per_second": 10_000,
            },
        });
        Setup { folder, host_keys, config }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn keep_folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }

    /// A new empty folder beside the configuration.
    pub fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    pub fn key(&self, name: &str) -> Key {
        Key::make(self.folder(), name, "ed25519")
    }

    pub fn host_keys(&self) -> &[Key] {
        &self.host_keys
    }

    /// Adds a local store; its root.
    pub fn local_store(&mut self, name: &str) -> PathBuf {
        let root = self.subfolder(&format!("store-{name}"));
        self.store(name, json!({ "url": format!("file://{}", root.display()) }));
        root
    }

    /// A folder with a signing key, as `lockgate init` makes it, and the section `audit` that names it; where.
    pub fn audit_folder(&mut self) -> PathBuf {
        let made = self.folder.path().join("made");
        run_with(lockgate().arg("init").arg(&made), b"", LIMIT).succeeded();
        self.config["audit"] = json!({ "folder": made.join("audit") });
        made.join("audit")
    }

    pub fn memory_store(&mut self, name: &str) {
        self.store(name, json!({ "url": "memory:///", "options": { "size": "16GiB" } }));
    }

    /// Adds a store in a prefix of its own on the S3 server of this test process.
    pub fn s3_store(&mut self, name: &str) -> S3Store {
        let store = s3::new_store();
        self.store(name, json!({ "url": store.url(), "options": store.options() }));
        store
    }

    pub fn store(&mut self, name: &str, store: Value) {
        self.config["stores"][name] = store;
    }

    pub fn user(&mut self, user: User) {
        self.config["users"].as_array_mut().unwrap().push(Value::Object(user.0));
    }

    pub fn limit(&mut self, name: &str, value: impl Into<Value>) {
        self.config["limits"][name] = value.into();
    }

    /// Writes the configuration; where.
    pub fn write_config(&self) -> PathBuf {
        let path = self.folder.path().join("config.yaml");
        fs::write(&path, serde_json::to_string_pretty(&self.config).unwrap()).expect("room for a file");
        // It holds credentials.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        path
    }

    /// Starts a gateway with this configuration.
    #[track_caller]
    pub fn start(&self) -> Gateway {
        Gateway::start(self)
    }
}
