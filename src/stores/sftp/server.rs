//! What all calls of one upstream store share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, MutexGuard as Held, RwLock};

use super::exchange::Failure;
use super::folders::SeenFolders;
use super::listing::OpenListings;
use super::object::OpenObjects;
use super::pool::Pool;
use super::settings::Upstream;
use super::spare::Spares;
use super::temporary::Temporary;
use super::versions::Versions;
use crate::stores::unfinished::BucketJournal;
use crate::stores::{AtOnce, Key, StoreError, StoreErrorKind, StoreResult};

/// How the names of unfinished uploads begin. Such names are not listed, and refused by name.
pub(super) const TEMPORARY: &str = ".lockgate-upload-";

/// So many listings stay open between two pages: each is an open file of the server.
const MOST_LISTINGS: usize = 128;

/// So many names may be changed on a condition at once.
const TURNS: usize = 64;

/// An upstream server, as one store knows it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) upstream: Arc<Upstream>,
    pub(super) pool: Arc<Pool>,
    pub(super) versions: Versions,
    pub(super) journal: BucketJournal,
    pub(super) listings: OpenListings,
    pub(super) objects: OpenObjects,
    /// Held alone by who renames a folder, with others by who publishes: an unfinished upload may lie in it.
    pub(super) folders: RwLock<()>,
    pub(super) seen: SeenFolders,
    pub(super) spares: Spares,
    uploads: Mutex<Vec<Weak<Temporary>>>,
    /// One for each name, or several that share it: held from the look at what has the name to what is done then.
    turns: [Turn<()>; TURNS],
}

impl Server {
    /// Does not reach the server.
    pub(super) fn new(mut upstream: Upstream, at_once: AtOnce) -> Arc<Self> {
        upstream.connections = upstream.connections.min(at_once.requests.max(1));
        let journal = BucketJournal::new(format!("sftp://{}", upstream.address()));
        let pool = Pool::new(upstream);
        Arc::new(Server {
            upstream: Arc::clone(&pool.upstream),
            pool,
            versions: Versions::default(),
            journal,
            listings: OpenListings::new(at_once.listings.min(MOST_LISTINGS)),
            objects: OpenObjects::default(),
            folders: RwLock::default(),
            seen: SeenFolders::default(),
            spares: Spares::default(),
            uploads: Mutex::default(),
            turns: std::array::from_fn(|_| Turn::default()),
        })
    }

    /// What there is to tell of the server: the account, its key, what it lacks, and how much is free.
    pub(super) async fn describe(&self) -> Result<String, Failure> {
        let connection = self.pool.get().await?;
        let lacks = connection.abilities.lacks();
        let lacks = if lacks.is_empty() { String::new() } else { format!(", without {}", lacks.join(", ")) };
        let free = self.free(&self.path::<&str>(&[])).await?;
        let free = free.map(|(_, free)| format!(", {} MiB free", free >> 20)).unwrap_or_default();
        Ok(format!("{}, host key {}{lacks}{free}", self.upstream.address(), connection.host_key))
    }

    /// The path of names below the root.
    pub(super) fn path<S: AsRef<str>>(&self, names: &[S]) -> String {
        self.upstream.path(names)
    }

    /// Waits for the turn of a name.
    pub(super) async fn turn(&self, path: &str) -> Held<'_, ()> {
        self.turns[number_of(path)].lock().await
    }

    /// Waits for the turns of two names, in an order that all keep.
    pub(super) async fn both_turns(&self, one: &str, other: &str) -> (Held<'_, ()>, Option<Held<'_, ()>>) {
        let (one, other) = (number_of(one), number_of(other));
        let first = self.turns[one.min(other)].lock().await;
        let second = if one == other { None } else { Some(self.turns[one.max(other)].lock().await) };
        (first, second)
    }

    /// Unfinished uploads of this process.
    pub(super) fn uploads(&self) -> Vec<Arc<Temporary>> {
        self.locked().iter().filter_map(Weak::upgrade).collect()
    }

    /// Remembers an unfinished upload as long as it is one.
    pub(super) fn remember(&self, upload: &Arc<Temporary>) {
        let mut uploads = self.locked();
        uploads.retain(|upload| upload.strong_count() > 0);
        uploads.push(Arc::downgrade(upload));
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Weak<Temporary>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which turn a name has.
fn number_of(path: &str) -> usize {
    path.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % TURNS
}

/// Does something to its end, whether or not who asked for it waits: what was begun on a server cannot be taken back.
pub(super) async fn to_the_end<T: Send + 'static>(
    deed: impl Future<Output = StoreResult<T>> + Send + 'static,
) -> StoreResult<T> {
    match tokio::spawn(deed).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::with_source(StoreErrorKind::Other, "a request was cut off", error)),
    }
}

/// The error of a name that nothing has.
pub(super) fn missing(key: &Key) -> StoreError {
    StoreError::plain(StoreErrorKind::NotFound, format!("\"{key}\" does not exist"))
}

/// The error of a name that another version has by now.
pub(super) fn replaced(key: &Key) -> StoreError {
    StoreError::plain(StoreErrorKind::Changed, format!("\"{key}\" was replaced meanwhile"))
}

/// The error of a name that is taken.
pub(super) fn taken(key: &Key) -> StoreError {
    StoreError::plain(StoreErrorKind::AlreadyExists, format!("\"{key}\" exists already"))
}

/// The error of a directory where a file is needed.
pub(super) fn is_a_directory(key: &Key) -> StoreError {
    StoreError::plain(StoreErrorKind::IsADirectory, format!("\"{key}\" is a directory"))
}
