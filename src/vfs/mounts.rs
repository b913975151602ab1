//! The home's entries: which store and key a logical path means, and which names the home itself adds.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::descriptors::Account;
use crate::path::LogicalPath;
use crate::stores::{self, Key, Object, Store, StoreErrorKind, StoreResult};

use super::counted::count;
use super::{Mount, VfsError, VfsResult};

/// The entries of one home.
#[derive(Debug)]
pub(super) struct Mounts {
    /// The longest entry first, so that the first that covers a path is the right one.
    sorted: Vec<Mount>,
    /// On whose account files are open.
    account: Account,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Place {
    /// A directory that exists only because entries lie below it.
    Virtual,
    /// A name in a store.
    Stored(Spot),
}

/// A name in a store.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The name there.
    pub(super) key: Key,
    /// The path is an entry of the home or leads to one: a directory that always exists and cannot be changed.
    pub(super) fixed: bool,
    /// On whose account a file is open.
    pub(super) account: Account,
}

impl Spot {
    /// Opens the present version, for as long as it is needed: it counts in its account.
    pub(super) async fn open(&self) -> StoreResult<Arc<dyn Object>> {
        let object = self.store.open(&self.key).await?;
        Ok(count(object, &self.account))
    }
}

/// Whether the folder of another entry lies within that of this one, by whatever store. A link could lead there, past what the other entry
/// allows, so none is followed then.
fn holds_another(folder: &stores::Place, folders: &[stores::Place]) -> bool {
    folders.iter().any(|other| folder.may_hold(other) && other.way() != folder.way())
}

impl Mounts {
    pub(super) fn new(mut mounts: Vec<Mount>, account: Account) -> Self {
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.entry.components().count()));
        let folders: Vec<stores::Place> =
            mounts.iter().map(|mount| mount.store.place().below(mount.target.as_str())).collect();
        for (mount, folder) in mounts.iter_mut().zip(&folders) {
            mount.target = mount.target.as_folder(!holds_another(folder, &folders));
        }
        Mounts { sorted: mounts, account }
    }

    /// Where `path` leads.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when no entry covers it; [`StoreErrorKind::InvalidName`] when the key would be too long.
    pub(super) fn find(&self, path: &LogicalPath) -> VfsResult<Place> {
        let fixed = self.is_fixed(path);
        let covering = self.sorted.iter().find_map(|m| path.below(&m.entry).map(|rest| (m, rest)));
        match covering {
            Some((mount, rest)) => {
                let key = mount
                    .target
                    .join(rest)
                    .map_err(|error| VfsError::new(path, StoreErrorKind::InvalidName, error.to_string()))?;
                let (store, account) = (Arc::clone(&mount.store), self.account.clone());
                Ok(Place::Stored(Spot { store, key, fixed, account }))
            }
            None if fixed => Ok(Place::Virtual),
            None => Err(VfsError::new(path, StoreErrorKind::NotFound, "no entry of the home covers this path")),
        }
    }

    /// The place of a name that is to be made, changed or removed.
    ///
    /// # Errors
    /// As [`Mounts::find`], and `kind` for a directory of the home itself. Right below a directory that is only virtual:
    /// [`StoreErrorKind::Unsupported`].
    pub(super) fn find_changeable(&self, path: &LogicalPath, kind: StoreErrorKind) -> VfsResult<Spot> {
        match self.find(path) {
            Ok(Place::Stored(spot)) if !spot.fixed => Ok(spot),
            Ok(_) => Err(VfsError::new(path, kind, "it is a directory of the home itself")),
            Err(error)
                if error.kind() == StoreErrorKind::NotFound && path.parent().is_some_and(|p| self.is_fixed(&p)) =>
            {
                let message = "the directory above is of the home itself and takes no names";
                Err(VfsError::new(path, StoreErrorKind::Unsupported, message))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the path is an entry or leads to one. The root always is.
    pub(super) fn is_fixed(&self, path: &LogicalPath) -> bool {
        path.is_root() || self.sorted.iter().any(|m| m.entry.is_at_or_below(path))
    }

    /// The names that entries add to the directory `path`.
    pub(super) fn names_in(&self, path: &LogicalPath) -> BTreeSet<String> {
        let below = self.sorted.iter().filter_map(|m| m.entry.below(path));
        below.filter_map(|rest| rest.split('/').next()).filter(|n| !n.is_empty()).map(str::to_owned).collect()
    }
}
