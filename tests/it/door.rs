//! A gateway with one user, and connections that several clients share.

use std::path::PathBuf;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, until};
use crate::support::setup::{Setup, User};

/// A gateway whose one user, alice, has the whole of a local store for her home.
pub struct Door {
    pub setup: Setup,
    pub gateway: Gateway,
    /// Logs in as alice.
    pub client: Client,
    /// Hers.
    pub key: Key,
    /// The store's folder.
    pub root: PathBuf,
}

/// The plain one.
pub fn door() -> Door {
    door_with(|_, alice| alice)
}

/// The same after changes to the configuration and to alice.
pub fn door_with(change: impl FnOnce(&mut Setup, User) -> User) -> Door {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let key = setup.key("alice");
    let alice = change(&mut setup, User::new("alice").key(&key).home("/", "main:/"));
    setup.user(alice);
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    Door { setup, gateway, client, key, root }
}

/// A connection that others share; it ends when this is dropped.
pub struct Master {
    _ssh: Running,
    /// A client whose channels lie on it.
    pub client: Client,
}

impl Master {
    #[track_caller]
    pub fn start(client: &Client, socket: PathBuf) -> Master {
        let shared = client.clone().with(&format!("ControlPath={}", socket.display()));
        let mut command = shared.command("ssh");
        let ssh = Running::start(command.args(["-M", "-N"]).arg(client.host()));
        until("shared connection", LIMIT, || socket.exists().then_some(()));
        Master { _ssh: ssh, client: shared }
    }
}
