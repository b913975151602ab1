//! A gateway with an entry for each store, and places in it where a test is alone.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

pub use crate::stores::Behind;
use crate::stores::{Server, is_hidden, walk};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::plain_proxy::Proxy;
use crate::support::process::LIMIT;
use crate::support::s3::{self, S3Store};
use crate::support::setup::{Setup, User};
use crate::support::sftp::{Refusal, Sftp};
use crate::support::{azure, gcs, sshd};

/// One entry of the home: `/s3` shows the folder `home` of a store.
struct Entry {
    name: &'static str,
    behind: Behind,
}

/// A gateway under construction.
pub struct Builder {
    pub setup: Setup,
    entries: Vec<Entry>,
    user: User,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { setup: Setup::new(), entries: Vec::new(), user: User::new("alice") }
    }

    /// An entry for each kind of store. One more is `.server("/name", new_store())` here and `server!` in `stores.rs`.
    pub fn every_store(self) -> Builder {
        self.local().memory().s3().server("/azure", azure::new_store()).server("/gcs", gcs::new_store()).upstream()
    }

    pub fn local(self) -> Builder {
        self.local_with(json!({}))
    }

    pub fn local_with(self, options: Value) -> Builder {
        let root = self.setup.subfolder("store-local");
        let store = json!({ "url": format!("file://{}", root.display()), "options": options });
        self.entry("/local", Behind::Folder(root), store)
    }

    pub fn memory(self) -> Builder {
        self.entry("/memory", Behind::Memory, json!({ "url": "memory:///", "options": { "size": "16GiB" } }))
    }

    pub fn s3(self) -> Builder {
        self.server("/s3", s3::new_store())
    }

    /// An entry on an SFTP server.
    pub fn upstream(self) -> Builder {
        let (sshd, root) = (sshd::shared(), self.setup.subfolder("store-upstream"));
        let options: BTreeMap<&str, String> = sshd.options().into_iter().collect();
        let store = json!({ "url": sshd.url(&root), "options": options });
        self.entry("/upstream", Behind::Upstream(root), store)
    }

    /// An entry on a server.
    pub fn server(self, name: &'static str, server: impl Server + 'static) -> Builder {
        let store = json!({ "url": server.url(), "options": server.options() });
        self.entry(name, Behind::Server(Box::new(server)), store)
    }

    /// An entry on S3 through a proxy, with further options.
    pub fn s3_through(self, proxy: &Proxy, further: &[(&str, &str)]) -> Builder {
        let server = s3::new_store();
        let mut options = server.options();
        options["aws_endpoint"] = proxy.endpoint().into();
        for (option, value) in further {
            options[*option] = (*value).into();
        }
        let store = json!({ "url": server.url(), "options": options });
        self.entry("/s3", Behind::Server(Box::new(server)), store)
    }

    fn entry(mut self, name: &'static str, behind: Behind, store: Value) -> Builder {
        let store_name = &name[1..];
        self.setup.store(store_name, store);
        self.user = self.user.home(name, &format!("{store_name}:/home"));
        // Another entry on the same store, and one at which nothing is.
        self.user = self.user.home(&format!("/deep/er{name}"), &format!("{store_name}:/other"));
        self.entries.push(Entry { name, behind });
        self
    }

    pub fn change(mut self, change: impl FnOnce(&mut Setup)) -> Builder {
        change(&mut self.setup);
        self
    }

    /// A further entry for each store so far. `further` is given the entry's name without its slash.
    pub fn for_each_store(mut self, further: impl Fn(User, &str) -> User) -> Builder {
        for entry in &self.entries {
            self.user = further(self.user, &entry.name[1..]);
        }
        self
    }

    pub fn user(mut self, change: impl FnOnce(User) -> User) -> Builder {
        self.user = change(self.user);
        self
    }

    #[track_caller]
    pub fn start(self) -> Bench {
        self.start_with(Setup::start)
    }

    /// As [`Builder::start`], with a program before the gateway's own command.
    #[track_caller]
    pub fn start_under(self, program: &[&str]) -> Bench {
        self.start_with(|setup| Gateway::start_under(program, setup))
    }

    #[track_caller]
    fn start_with(mut self, start: impl FnOnce(&Setup) -> Gateway) -> Bench {
        let key = self.setup.key("alice");
        self.setup.user(self.user.key(&key));
        let gateway = start(&self.setup);
        Bench { gateway, key, entries: self.entries, setup: self.setup }
    }
}

/// A gateway with its stores.
pub struct Bench {
    pub gateway: Gateway,
    key: Key,
    entries: Vec<Entry>,
    pub setup: Setup,
}

/// The gateway of all tests that need nothing special.
pub fn shared() -> &'static Bench {
    static SHARED: OnceLock<Bench> = OnceLock::new();
    SHARED.get_or_init(|| Builder::new().every_store().start())
}

/// A folder in one entry that one test has for itself.
pub struct Place<'a> {
    pub bench: &'a Bench,
    /// The entry: `/s3`.
    pub store: &'static str,
    folder: String,
    pub behind: &'a Behind,
}

impl Bench {
    pub fn client(&self) -> Client {
        self.gateway.client("alice", &self.key)
    }

    #[track_caller]
    pub fn connect(&self) -> Sftp {
        Sftp::connect(&self.client(), LIMIT)
    }

    /// The entries, one for each store.
    pub fn stores(&self) -> Vec<&'static str> {
        self.entries.iter().map(|entry| entry.name).collect()
    }

    /// Runs a check on every store; the stores on which it fails are named.
    #[track_caller]
    pub fn on_every_store(&self, check: impl Fn(&Place<'_>, &mut Sftp)) {
        self.on(|_| true, check);
    }

    #[track_caller]
    pub fn on_object_stores(&self, check: impl Fn(&Place<'_>, &mut Sftp)) {
        self.on(|behind| !matches!(behind, Behind::Folder(_) | Behind::Upstream(_)), check);
    }

    /// Runs a check on every store into which tests can look past the gateway.
    #[track_caller]
    pub fn on_visible_stores(&self, check: impl Fn(&Place<'_>, &mut Sftp)) {
        self.on(|behind| !matches!(behind, Behind::Memory), check);
    }

    #[track_caller]
    pub fn on(&self, wanted: impl Fn(&Behind) -> bool, check: impl Fn(&Place<'_>, &mut Sftp)) {
        let mut session = None;
        let mut failed = Vec::new();
        let entries: Vec<&Entry> = self.entries.iter().filter(|entry| wanted(&entry.behind)).collect();
        assert!(!entries.is_empty(), "no store to check");
        for entry in entries {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut connected = session.take().unwrap_or_else(|| self.connect());
                let place = self.place(entry, &mut connected);
                check(&place, &mut connected);
                // After a panic nobody knows which answers are still to come, so the session is not used again.
                session = Some(connected);
            }));
            if outcome.is_err() {
                failed.push(entry.name);
            }
        }
        assert!(failed.is_empty(), "failed on {failed:?}, for the reasons above");
    }

    fn place<'a>(&'a self, entry: &'a Entry, session: &mut Sftp) -> Place<'a> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = format!("f{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let place = Place { bench: self, store: entry.name, folder, behind: &entry.behind };
        session.make_directory(&place.path("")).unwrap();
        place
    }

    /// Ends the gateway without a chance to clean up, and starts it again.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.gateway.signal(Signal::KILL);
        self.gateway.ended(LIMIT);
        self.gateway = self.setup.start();
    }

    /// What unfinished uploads of a name right in the entries have left in all stores together.
    pub fn unfinished_everywhere(&self, name: &str) -> usize {
        self.entries.iter().filter_map(|entry| entry.behind.unfinished(&format!("home/{name}"))).sum()
    }

    /// The lengths of the gateway's open files in the staging folder.
    pub fn staged_files(&self) -> Vec<u64> {
        let staging = self.setup.folder().join("staging");
        let files = fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).expect("the gateway runs");
        let staged = |path: &PathBuf| {
            // Journals of uploads lie there as well, under names of their own.
            let target = fs::read_link(path).unwrap_or_default();
            target.starts_with(&staging) && !target.to_string_lossy().contains("lockgate-uploads-")
        };
        let paths = files.filter_map(|entry| Some(entry.ok()?.path())).filter(staged);
        // A folder that is being written to is not a staged file.
        paths.filter_map(|path| fs::metadata(path).ok()).filter(fs::Metadata::is_file).map(|file| file.len()).collect()
    }
}

impl Place<'_> {
    /// A name in the folder, as the client writes it. The folder itself for nothing.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.store, self.folder).trim_end_matches('/').to_owned()
    }

    /// A name in the other entry on a store; with the folder's name in it, so that no other test has it.
    pub fn in_other_entry(&self, store: &str, name: &str) -> String {
        format!("/deep/er{store}/{}-{name}", self.folder)
    }

    /// The key of a name in the store.
    pub fn key(&self, name: &str) -> String {
        format!("home/{}/{name}", self.folder)
    }

    /// The folder of a local store.
    #[track_caller]
    pub fn folder(&self) -> PathBuf {
        match self.behind {
            Behind::Folder(root) | Behind::Upstream(root) => root.join("home").join(&self.folder),
            _ => panic!("{} is no local store", self.store),
        }
    }

    /// All keys in the folder past the gateway, markers with a slash at the end; `None` where nobody but the gateway sees.
    pub fn keys(&self) -> Option<Vec<String>> {
        let prefix = self.key("");
        let mut keys = match self.behind {
            Behind::Memory => return None,
            Behind::Server(server) => server.keys_below(&prefix),
            Behind::Folder(root) | Behind::Upstream(root) => {
                let mut keys = Vec::new();
                walk(root, &self.folder(), &mut keys);
                keys.retain(|key| !is_hidden(key));
                keys
            }
        };
        keys.retain(|key| key.starts_with(&prefix) && *key != prefix);
        let mut keys: Vec<String> = keys.iter().map(|key| key[prefix.len()..].to_owned()).collect();
        keys.sort();
        Some(keys)
    }

    /// The content of a name past the gateway; `None` where nobody but the gateway sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        match self.behind {
            Behind::Memory => None,
            Behind::Folder(_) | Behind::Upstream(_) => {
                Some(fs::read(self.folder().join(name)).expect("the file is there"))
            }
            Behind::Server(server) => {
                let copy = self.bench.setup.folder().join(format!("fetched-{}", self.folder));
                server.fetch(&self.key(name), &copy);
                Some(fs::read(copy).expect("a copy"))
            }
        }
    }

    /// Whether the store refuses a name that is fine elsewhere.
    pub fn cannot_hold(&self, name: &str) -> bool {
        match self.behind {
            Behind::Server(server) => server.cannot_hold(name),
            Behind::Upstream(_) => name.contains('\\'),
            _ => false,
        }
    }

    /// Whether the store forgets an upload in parts when another of the same name is finished.
    pub fn has_one_upload_of_a_name(&self) -> bool {
        matches!(self.behind, Behind::Server(server) if server.has_one_upload_of_a_name())
    }

    /// The store, if it is on S3.
    pub fn s3(&self) -> Option<&S3Store> {
        match self.behind {
            Behind::Server(server) => server.as_s3(),
            _ => None,
        }
    }

    /// What an unfinished upload of a name has left in the store; `None` where nobody but the gateway sees.
    pub fn unfinished(&self, name: &str) -> Option<usize> {
        self.behind.unfinished(&self.key(name))
    }

    /// Waits for the end of a transfer that was cut off.
    #[track_caller]
    pub fn await_cut_off(&self, name: &str) -> Value {
        let path = self.path(name);
        self.bench.gateway.events.await_event("PARTIAL_CLOSE", |event| event["logical-path"] == path.as_str())
    }

    /// Waits for an event of one kind about a name.
    #[track_caller]
    pub fn await_event(&self, activity: &str, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let path = self.path(name);
        self.bench.gateway.events.await_event(activity, |event| event["logical-path"] == path.as_str() && fits(event))
    }
}

/// Sets a flag when it is dropped, so that a thread which waits for it ends even if the check has failed.
pub struct Finish<'a>(pub &'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Panics unless a request was refused with this code.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Refusal>, code: u32) -> Refusal {
    let refusal = outcome.expect_err("it ought to be refused");
    assert_eq!(refusal.code, code, "{refusal:?}");
    refusal
}

/// Panics unless two contents are the same; says where they differ rather than printing them.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8]) {
    assert!(got.len() == expected.len(), "{} bytes instead of {}", got.len(), expected.len());
    if got != expected {
        let at = (0..got.len()).find(|at| got[*at] != expected[*at]).expect("a difference");
        panic!("byte {at} of {} differs", got.len());
    }
}
