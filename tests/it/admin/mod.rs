//! The admin door of a running gateway: its socket, its listener, its commands.

mod answers;
mod bans;
mod bounds;
mod described;
mod doors;
pub mod events;
mod follow;
mod following;
mod health;
mod hostile;
mod login;
mod monitoring;
mod oidc;
mod oidc_tokens;
mod page;
mod refusals;
mod reloads;
mod roles;
mod sessions;
pub mod stream;
mod trail;
mod vast;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::door::{Door, door_with};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::process::{Finished, LIMIT, run, until};
use crate::support::setup::Setup;

/// A gateway with an admin door.
pub struct Administered {
    pub door: Door,
    /// Its socket.
    pub socket: Place,
    /// Its listener.
    pub tcp: Place,
    pub tokens: Tokens,
}

/// A token of each role.
#[derive(Debug, Default)]
pub struct Tokens {
    pub viewer: String,
    pub auditor: String,
    pub operator: String,
}

/// A gateway whose user alice has a local store for her home, and whose admin door is open.
pub fn administered() -> Administered {
    administered_with(|_| ())
}

/// The same after changes to the configuration.
pub fn administered_with(change: impl FnOnce(&mut Setup)) -> Administered {
    let mut tokens = Tokens::default();
    let door = door_with(|setup, alice| {
        let made = ["viewer", "auditor", "operator"].map(|role| token(role, role));
        let entries: Vec<Value> = made.iter().map(|(_, entry)| entry.clone()).collect();
        let [(viewer, _), (auditor, _), (operator, _)] = made;
        tokens = Tokens { viewer, auditor, operator };
        setup.config["admin"] = json!({ "socket": "admin.sock", "listen": ["127.0.0.1:0"], "tokens": entries });
        change(setup);
        alice
    });
    let socket = Place::unix(&door.setup.folder().join("admin.sock"));
    let tcp = Place::Tcp(address_of(&door.gateway, "the admin door listens on "));
    Administered { door, socket, tcp, tokens }
}

/// What the gateway says in its log after these words.
#[track_caller]
pub fn address_of(gateway: &Gateway, words: &str) -> SocketAddr {
    until("address in the log", LIMIT, || {
        let log = gateway.log();
        log.lines().find_map(|line| line.split_once(words)?.1.trim().parse().ok())
    })
}

/// What `lockgate admin token` prints: a token, and its entry.
#[track_caller]
pub fn token(name: &str, role: &str) -> (String, Value) {
    let made = run(lockgate().args(["admin", "token", name, "--role", role])).succeeded();
    let entry = made.stderr.lines().find_map(|line| line.trim().strip_prefix("- ")).expect("an entry").to_owned();
    let hash = entry.split_once("hash: \"").and_then(|(_, rest)| rest.split('"').next()).expect("a hash");
    let token = made.stdout.trim().to_owned();
    assert!(!made.stderr.contains(&token), "the token is shown once");
    (token, json!({ "name": name, "role": role, "hash": hash }))
}

impl Administered {
    /// A command that calls the socket.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Finished {
        let config = self.door.setup.folder().join("config.yaml");
        run(lockgate().args(words).arg("--config").arg(config))
    }

    /// The id of the first session that lives.
    #[track_caller]
    pub fn session_of(&self, user: &str) -> String {
        until("session", LIMIT, || {
            let sessions = self.socket.get("/api/v1/sessions").ok();
            let session = sessions["sessions"].as_array()?.iter().find(|session| session["user"] == user)?;
            Some(session["id"].as_str()?.to_owned())
        })
    }

    /// The record of a call.
    #[track_caller]
    pub fn call_event(&self, fits: impl Fn(&Value) -> bool) -> Value {
        self.door.gateway.events.await_event("ADMIN_CALL", fits)
    }
}
