//! The local store: a folder of this machine. Ours rather than `object_store`'s, so that symbolic links cannot lead out of
//! the root, every name works (`x#1`, `%41`), and a file can be written in any order.
//!
//! - Every path is resolved beneath the open folder of the home's entry; a link that leads out, an absolute link, and a link that
//!   dangles do not exist. A link within is followed when it is read (unless the operator wants none followed);
//!   replacing, renaming or deleting it touches the link itself.
//! - Only files and folders are shown: sockets, pipes and devices are left out.
//! - Unfinished uploads lie in `.lockgate/uploads` under the root. That folder is not listed, its name is refused, and no
//!   link leads there.
//! - File system calls run on tokio's blocking pool, one hop for a whole read or write; the short ones run in place, while the
//!   disk is quick.

mod failure;
mod listing;
mod names;
mod object;
mod root;
mod turn;
mod upload;
mod version;
mod within;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    AtOnce, Capacity, Change, Deletion, Existing, Key, Object, Page, PageToken, PartLimits, Place, PutOptions, Stat,
    Store, StoreError, StoreErrorKind, StoreResult, Upload, Written,
};
use crate::in_place::InPlace;
use root::Root;
use upload::{LocalUpload, Unpublished};

/// A store in a folder of this machine.
#[derive(Debug)]
pub(super) struct LocalStore {
    name: String,
    root: Arc<Root>,
}

impl LocalStore {
    /// Opens the folder, which is made if it is missing, and removes the unfinished uploads of dead processes. `fsync`: an
    /// upload is on the disk before it is published. `follows_links`: symbolic links are followed, within the folder of an entry.
    pub(super) fn open(
        name: &str,
        folder: &Path,
        fsync: bool,
        follows_links: bool,
        at_once: AtOnce,
    ) -> StoreResult<Self> {
        Ok(LocalStore { name: name.to_owned(), root: Arc::new(Root::open(folder, fsync, follows_links, at_once)?) })
    }

    /// Runs file system work on the blocking pool.
    async fn run<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl FnOnce(&Arc<Root>, &Key) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (root, key, turn) = (Arc::clone(&self.root), key.clone(), self.root.turn().await?);
        blocking(move || turn.during(|| work(&root, &key))).await
    }

    /// As [`LocalStore::run`], of few calls that look at something.
    async fn look<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl FnOnce(&Arc<Root>, &Key) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (root, key, turn) = (Arc::clone(&self.root), key.clone(), self.root.turn().await?);
        briefly(&self.root.looks, move || turn.during(|| work(&root, &key))).await
    }

    /// As [`LocalStore::run`], of few calls that change something.
    async fn change<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl FnOnce(&Arc<Root>, &Key) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (root, key, turn) = (Arc::clone(&self.root), key.clone(), self.root.turn().await?);
        briefly(&self.root.changes, move || turn.during(|| work(&root, &key))).await
    }
}

/// The most bytes that are read or written in place: longer ones are better done beside what else the connection does.
const BRIEF: usize = 64 * 1024;

/// Runs `work` on the blocking pool; a panic in it becomes an error.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::with_source(StoreErrorKind::Other, "file system work was cut off", error)),
    }
}

/// Runs `work` here while its kind is quick, as [`blocking`] otherwise.
async fn briefly<T: Send + 'static>(
    place: &Arc<InPlace>,
    work: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    match place.run(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::with_source(StoreErrorKind::Other, "file system work was cut off", error)),
    }
}

#[async_trait]
impl Store for LocalStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn keeps_directories(&self) -> bool {
        true
    }

    fn place(&self) -> Place {
        Place::of_real_path(&self.root.path)
    }

    async fn place_of(&self, key: &Key) -> StoreResult<Place> {
        self.look(key, |root, key| Ok(Place::of_path(&root.path.join(key.as_str())))).await
    }

    fn uploads_are_files(&self) -> bool {
        true
    }

    fn event_path(&self, key: &Key) -> String {
        // Of each operation: `format!` would look for the room it needs in several steps.
        if key.is_root() { ["/", &self.name].concat() } else { ["/", &self.name, "/", key.as_str()].concat() }
    }

    fn part_limits(&self) -> PartLimits {
        // Uploads are files; the only limit is the largest offset.
        PartLimits {
            smallest_part: 1,
            largest_part: i64::MAX as u64,
            most_parts: u64::MAX,
            largest_object: i64::MAX as u64,
            equal_parts: false,
        }
    }

    async fn stat(&self, key: &Key) -> StoreResult<Stat> {
        self.look(key, |root, key| root.stat(key)).await
    }

    async fn list(&self, key: &Key, from: Option<PageToken>) -> StoreResult<Page> {
        self.run(key, move |root, key| listing::page(root, key, from.as_ref())).await
    }

    async fn open(&self, key: &Key) -> StoreResult<Arc<dyn Object>> {
        self.look(key, |root, key| Ok(Arc::new(object::LocalObject::open(root, key)?) as Arc<dyn Object>)).await
    }

    async fn put(&self, key: &Key, data: Vec<Bytes>, options: &PutOptions) -> StoreResult<Written> {
        let PutOptions { existing, mtime, based_on, .. } = options.clone();
        let is_brief = data.iter().map(Bytes::len).sum::<usize>() <= BRIEF;
        let put = move |root: &Arc<Root>, key: &Key| upload::publish_whole(root, key, existing, based_on, &data, mtime);
        if is_brief { self.change(key, put).await } else { self.run(key, put).await }
    }

    async fn begin_upload(&self, key: &Key, options: &PutOptions) -> StoreResult<Upload> {
        let PutOptions { existing, mtime, based_on, .. } = options.clone();
        self.run(key, move |root, key| {
            let mut file = Unpublished::create(root, key, existing)?;
            file.based_on = based_on;
            Ok(Upload::File(Box::new(LocalUpload::new(file, mtime))))
        })
        .await
    }

    async fn delete(&self, key: &Key) -> StoreResult<()> {
        self.run(key, |root, key| root.delete(key)).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> StoreResult<Deletion> {
        let version = version.to_owned();
        self.run(key, move |root, key| root.delete_version(key, &version)).await
    }

    async fn make_directory(&self, key: &Key) -> StoreResult<()> {
        self.change(key, |root, key| root.make_directory(key)).await
    }

    async fn remove_directory(&self, key: &Key) -> StoreResult<()> {
        self.run(key, |root, key| root.remove_directory(key)).await
    }

    async fn rename(&self, from: &Key, to: &Key, existing: Existing, only: Option<&str>) -> StoreResult<Change> {
        let (to, only) = (to.clone(), only.map(str::to_owned));
        self.change(from, move |root, from| root.rename_file(from, &to, existing, only.as_deref())).await
    }

    async fn rename_directory(&self, from: &Key, to: &Key) -> StoreResult<()> {
        let to = to.clone();
        self.run(from, move |root, from| root.rename_directory(from, &to)).await
    }

    async fn set_mtime(&self, key: &Key, mtime: SystemTime, only: Option<&str>) -> StoreResult<Option<Change>> {
        let only = only.map(str::to_owned);
        self.change(key, move |root, key| object::set_mtime(root, key, mtime, only.as_deref()).map(Some)).await
    }

    async fn set_directory_mtime(&self, key: &Key, mtime: SystemTime) -> StoreResult<bool> {
        self.run(key, move |root, key| object::set_folder_mtime(root, key, mtime)).await
    }

    async fn capacity(&self) -> StoreResult<Option<Capacity>> {
        self.run(&Key::root(), |root, _| root.capacity().map(Some)).await
    }

    async fn check(&self) -> StoreResult<()> {
        self.run(&Key::root(), |root, key| root.read_folder(key).map(drop)).await
    }
}
