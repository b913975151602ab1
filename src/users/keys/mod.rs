//! Users whose keys lie in a folder of a store: one file `NAME.pub` a user, read anew in rounds.
//!
//! What stands in the folder counts, and nothing else: a line that cannot be read, and a file that cannot be used, give no
//! access, whatever stood there before. Only a folder that does not answer leaves everything as it was.

mod file;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;

use super::{Attempt, AuthMode, Bounds, Directory, DirectoryError, HomeEntry, TargetGrant, Totp, TotpSecret, User};
use file::{Content, user_of};

pub use file::is_name_of_file;
pub use told::{Change, ChangeKind, Told};

/// The largest file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The most files in a folder.
const MAX_FILES: usize = 100_000;

/// Files that are fetched at once.
const AT_ONCE: usize = 32;

/// After so many files that could not be fetched, the others are left for the next round.
const MOST_FAILURES: usize = 8;

/// A folder of keys and what its users get.
#[derive(Debug, Clone)]
pub struct KeysSettings {
    /// The folder as the configuration names it: `lake:/public-keys`.
    pub folder: String,
    /// The store's name.
    pub store: String,
    /// The folder in the store (a key, without a slash at either end).
    pub key: String,
    /// From the end of a round to the next one.
    pub every: Duration,
    /// What each user is made from.
    pub template: Template,
}

impl KeysSettings {
    /// The source of these users, as events name it.
    pub fn source(&self) -> Arc<str> {
        format!("keys:{}", self.folder).into()
    }
}

/// What users of one source have in common.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// As [`User::role`].
    pub role: Option<String>,
    /// When, and from where, and how often.
    pub bounds: Bounds,
    /// The home; `${user}` in a target stands for the name.
    pub home: Vec<HomeEntry>,
    /// The secrets of those who give a one-time code as well, by their names.
    pub totp: BTreeMap<String, TotpSecret>,
    /// Whether all have to.
    pub require_totp: bool,
    /// As [`User::targets`].
    pub targets: Vec<TargetGrant>,
}

impl Template {
    fn home_of(&self, user: &str) -> Vec<HomeEntry> {
        let fill = |entry: &HomeEntry| HomeEntry { target: entry.target.replace("${user}", user), ..entry.clone() };
        self.home.iter().map(fill).collect()
    }
}

/// A folder of files; the gateway makes one of a store.
#[async_trait]
pub trait KeyFolder: Send + Sync + fmt::Debug {
    /// Which folder it is, wherever the configuration has it.
    fn describe(&self) -> String;

    /// The files in it, not those in folders of it. An empty folder and one that does not exist are the same.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be listed or has more than `most` files.
    async fn list(&self, most: usize) -> Result<Vec<KeyFile>, String>;

    /// A whole file of at most `most` bytes.
    ///
    /// # Errors
    /// Why not.
    async fn get(&self, name: &str, most: u64) -> Result<Bytes, KeyFileError>;
}

/// One file of a folder.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// Its name.
    pub name: String,
    /// What the listing says of its content.
    pub version: Version,
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Length in bytes.
    pub size: u64,
    /// Last change, where the store knows it.
    pub mtime: Option<SystemTime>,
    /// The entity tag, where the store has one.
    pub etag: Option<String>,
}

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFileError {
    /// It was there when the folder was listed.
    Gone,
    /// It is too large.
    TooLarge,
    /// The store failed.
    Failed(String),
}

/// The users of one folder.
#[derive(Debug)]
pub struct KeysDirectory {
    settings: KeysSettings,
    folder: Arc<dyn KeyFolder>,
    /// `None` until the folder was read once.
    users: RwLock<Option<HashMap<Arc<str>, Arc<User>>>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The files of the last round, by name.
    seen: BTreeMap<String, Seen>,
    told: Told,
}

#[derive(Debug, Clone)]
struct Seen {
    version: Version,
    content: Arc<Content>,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct Round {
    /// Why the folder, or a file of it, could not be read. What was known of it stays.
    pub outage: Option<String>,
    /// What is passed over from now on: a file or a line of it, and why.
    pub passed_over: Vec<String>,
    /// What the trail was not told yet.
    pub changes: Vec<Change>,
}

impl KeysDirectory {
    /// A directory that knows nothing yet; `told` is what was said of its users before, by an earlier process perhaps.
    pub fn new(settings: KeysSettings, folder: Arc<dyn KeyFolder>, told: Told) -> KeysDirectory {
        let state = State { seen: BTreeMap::new(), told };
        KeysDirectory { settings, folder, users: RwLock::new(None), state: Mutex::new(state) }
    }

    /// One that takes the place of `self` with other settings. It knows what `self` knows, if the folder is the same.
    pub async fn replaced(&self, settings: KeysSettings, folder: Arc<dyn KeyFolder>) -> KeysDirectory {
        let state = self.state.lock().await;
        let new = KeysDirectory::new(settings, folder, state.told.clone());
        if self.folder.describe() == new.folder.describe() && self.read_users().is_some() {
            new.publish(&state.seen);
            new.state.lock().await.seen = state.seen.clone();
        }
        new
    }

    /// The settings.
    pub fn settings(&self) -> &KeysSettings {
        &self.settings
    }

    /// The user of that name, if the folder has one; `None` as well before the first round.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.read_users().as_ref().and_then(|users| users.get(name).cloned())
    }

    /// Whether the folder was ever read.
    pub fn is_known(&self) -> bool {
        self.read_users().is_some()
    }

    /// Reads what changed since the last round; it holds for logins when this returns. When the future is dropped, nothing
    /// has changed.
    pub async fn round(&self) -> Round {
        // Whoever takes over does not have to wait for a store that does not answer.
        let before = self.state.lock().await.seen.clone();
        let listed = match self.folder.list(MAX_FILES).await {
            Ok(listed) => listed,
            Err(what) => return Round { outage: Some(what), ..Round::default() },
        };
        let (mut seen, mut wanted, mut passed_over) = (BTreeMap::new(), Vec::new(), Vec::new());
        for file in listed {
            match before.get(&file.name) {
                Some(known) if known.version == file.version => {
                    seen.insert(file.name, known.clone());
                }
                _ if user_of(&file.name).is_none() => {
                    let content = Content::nothing("the name is not NAME.pub with a name of a-z, 0-9 and '-'");
                    passed_over.extend(told_problem(&file.name, &content));
                    seen.insert(file.name, Seen { version: file.version, content: Arc::new(content) });
                }
                _ => wanted.push(file),
            }
        }
        let Fetched { read, failed, outage } = self.fetch(wanted).await;
        for (file, content) in read {
            passed_over.extend(told_problem(&file.name, &content));
            seen.insert(file.name, Seen { version: file.version, content: Arc::new(content) });
        }
        for name in &failed {
            if let Some(known) = before.get(name) {
                seen.insert(name.clone(), known.clone());
            }
        }
        let unknown: BTreeSet<&str> = failed.iter().filter_map(|name| user_of(name)).collect();
        let mut state = self.state.lock().await;
        self.publish(&seen);
        let changes = state.told.changes(&contents(&seen), &unknown);
        state.seen = seen;
        if changes.is_empty() && outage.is_none() {
            state.told.mark_complete();
        }
        Round { outage, passed_over, changes }
    }

    /// The trail has this change now: it is not told again.
    pub async fn was_told(&self, change: &Change) {
        self.state.lock().await.told.note(change);
    }

    /// What the trail knows of these users.
    pub async fn told(&self) -> Told {
        self.state.lock().await.told.clone()
    }

    async fn fetch(&self, wanted: Vec<KeyFile>) -> Fetched {
        let failures = AtomicUsize::new(0);
        let mut answers = stream::iter(wanted)
            .map(async |file| {
                if failures.load(Ordering::Relaxed) >= MOST_FAILURES {
                    return (file, None);
                }
                let got = self.folder.get(&file.name, MAX_FILE).await;
                if matches!(got, Err(KeyFileError::Failed(_))) {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
                (file, Some(got))
            })
            .buffer_unordered(AT_ONCE);
        let mut fetched = Fetched::default();
        while let Some((file, got)) = answers.next().await {
            match got {
                Some(Ok(bytes)) => fetched.read.push((file, Content::read(&bytes))),
                Some(Err(KeyFileError::Gone)) => {}
                Some(Err(KeyFileError::TooLarge)) => {
                    let content = Content::nothing(format!("it has more than {} KiB", MAX_FILE / 1024));
                    fetched.read.push((file, content));
                }
                Some(Err(KeyFileError::Failed(what))) => {
                    fetched.outage.get_or_insert_with(|| format!("{}: {what}", file.name));
                    fetched.failed.push(file.name);
                }
                None => fetched.failed.push(file.name),
            }
        }
        fetched
    }

    fn publish(&self, seen: &BTreeMap<String, Seen>) {
        let users = contents(seen).into_iter().filter(|(_, content)| !content.keys.is_empty());
        let users = users.map(|(name, content)| {
            let user = self.make(name, content);
            (user.name.clone(), Arc::new(user))
        });
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = Some(users.collect());
    }

    fn make(&self, name: &str, content: &Content) -> User {
        let template = &self.settings.template;
        User {
            name: name.into(),
            role: template.role.clone(),
            identity: None,
            keys: content.keys.clone(),
            principals: Vec::new(),
            password: None,
            auth: AuthMode::PublicKey,
            totp: Totp::of(template.totp.get(name).cloned(), template.require_totp),
            enabled: true,
            bounds: template.bounds.clone(),
            home: template.home_of(name),
            targets: template.targets.clone(),
            source: self.settings.source(),
        }
    }

    fn read_users(&self) -> std::sync::RwLockReadGuard<'_, Option<HashMap<Arc<str>, Arc<User>>>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the files of one round that were new.
#[derive(Default)]
struct Fetched {
    read: Vec<(KeyFile, Content)>,
    failed: Vec<String>,
    outage: Option<String>,
}

fn told_problem(file: &str, content: &Content) -> Option<String> {
    content.problem.as_ref().map(|problem| format!("{}: {problem}", file.escape_debug()))
}

/// What the files say, by their users.
fn contents(seen: &BTreeMap<String, Seen>) -> BTreeMap<&str, &Content> {
    seen.iter().filter_map(|(file, seen)| Some((user_of(file)?, &*seen.content))).collect()
}

#[async_trait]
impl Directory for KeysDirectory {
    async fn find(&self, name: &str, _attempt: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        match &*self.read_users() {
            Some(users) => Ok(users.get(name).cloned()),
            None => {
                Err(DirectoryError::Silent { from: self.settings.source(), what: "it could not be read yet".into() })
            }
        }
    }

    fn known(&self) -> Vec<Arc<User>> {
        self.read_users().iter().flat_map(HashMap::values).cloned().collect()
    }

    fn known_as(&self, name: &str) -> Option<Arc<User>> {
        self.user(name)
    }
}

#[cfg(test)]
mod tests;
