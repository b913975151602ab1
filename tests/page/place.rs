//! A gateway with the page, and people who use it.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::process::{LIMIT, run, until};
use crate::support::setup::{Setup, User};

/// A gateway whose user alice has a local store for her home, with a trail in a file, signed.
pub struct Place {
    pub setup: Setup,
    pub gateway: Gateway,
    /// Logs in as alice.
    pub alice: Client,
    /// Without a slash at its end.
    pub page: String,
    pub tokens: Vec<String>,
}

/// The roles, in the order of `tokens`.
const ROLES: [&str; 3] = ["viewer", "auditor", "operator"];

impl Place {
    #[track_caller]
    pub fn start() -> Place {
        Place::start_with(|_| ())
    }

    /// The same after changes to the configuration.
    #[track_caller]
    pub fn start_with(change: impl FnOnce(&mut Setup)) -> Place {
        let mut setup = Setup::new();
        setup.local_store("main");
        setup.audit_folder();
        let key = setup.key("alice");
        setup.user(User::new("alice").key(&key).home("/", "main:/alice"));
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
        let made: Vec<_> = ROLES.iter().map(|role| token(role)).collect();
        let entries: Vec<&Value> = made.iter().map(|(_, entry)| entry).collect();
        setup.config["admin"] = json!({ "socket": "admin.sock", "listen": ["127.0.0.1:0"], "tokens": entries });
        change(&mut setup);
        let gateway = setup.start();
        let alice = gateway.client("alice", &key);
        let page = until("address of the page", LIMIT, || {
            let log = gateway.log();
            let address =
                log.lines().find_map(|line| line.split_once("the admin door listens on "))?.1.trim().to_owned();
            let scheme = if setup.config["admin"]["tls"].is_null() { "http" } else { "https" };
            Some(format!("{scheme}://{address}"))
        });
        Place { setup, gateway, alice, page, tokens: made.into_iter().map(|(token, _)| token).collect() }
    }

    /// What `lockgate admin link` prints.
    #[track_caller]
    pub fn link(&self, role: &str) -> String {
        let config = self.setup.folder().join("config.yaml");
        let made = run(lockgate().args(["admin", "link", "--role", role, "--config"]).arg(config)).succeeded();
        made.stdout.trim().to_owned()
    }

    /// A browser that an operator has logged in with a link.
    #[track_caller]
    pub fn browser(&self) -> Browser {
        let browser = Browser::start();
        browser.open(&self.link("operator"));
        browser.await_text("#bar", "Ready");
        browser
    }

    /// Opens a view.
    #[track_caller]
    pub fn open(&self, browser: &Browser, path: &str) {
        browser.open(&format!("{}{path}", self.page));
    }

    /// Where the file sink writes.
    pub fn trail(&self) -> std::path::PathBuf {
        self.setup.folder().join("events/e.ndjson")
    }

    /// Nothing failed in the browser, no script or style was refused, and nothing was asked of anybody else.
    #[track_caller]
    pub fn assert_clean(&self, browser: &Browser) {
        let complaints = browser.complaints();
        // The page asks who is logged in, and for what may not be there.
        let is_answer =
            |line: &&String| line.contains("/me - ") && line.contains("401") || line.contains("404 (Not Found)");
        let odd: Vec<_> = complaints.iter().filter(|line| !is_answer(line)).collect();
        assert!(odd.is_empty(), "{odd:#?}");
        let requests = browser.requests();
        // The browser's own first page is part of the browser.
        let own = ["data:", "blob:", "chrome:", "chrome-untrusted:", "about:"];
        let is_inside = |address: &str| {
            address.starts_with(&format!("{}/", self.page)) || own.iter().any(|scheme| address.starts_with(scheme))
        };
        let outside: Vec<_> = requests.iter().filter(|address| !is_inside(address)).collect();
        assert!(!requests.is_empty() && outside.is_empty(), "{outside:#?}");
    }
}

/// What `lockgate admin token` prints for a role: a token, and its entry.
#[track_caller]
fn token(role: &str) -> (String, Value) {
    let made = run(lockgate().args(["admin", "token", role, "--role", role])).succeeded();
    let hash = made.stderr.split_once("hash: \"").and_then(|(_, rest)| rest.split('"').next()).expect("a hash");
    (made.stdout.trim().to_owned(), json!({ "name": role, "role": role, "hash": hash }))
}

/// Where pictures go: `LOCKGATE_PICTURES`, or a folder under `target/`.
pub fn pictures() -> std::path::PathBuf {
    let usual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/page-pictures");
    let folder = std::env::var_os("LOCKGATE_PICTURES").map_or(usual, Into::into);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
