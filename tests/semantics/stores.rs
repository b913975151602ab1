//! What is behind an entry, as tests look into it past the gateway.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::s3::S3Store;

/// An object store on a server, as tests look into it past the gateway.
pub trait Server: Send + Sync {
    fn url(&self) -> String;
    fn options(&self) -> Value;
    /// All keys; at most 1,000.
    fn keys(&self) -> Vec<String>;
    fn fetch(&self, key: &str, into: &Path);
    /// The keys that begin with a prefix.
    fn keys_below(&self, prefix: &str) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.starts_with(prefix)).collect()
    }
    /// How many uploads of this key were begun and not finished, where the server tells.
    fn unfinished_uploads_of(&self, _key: &str) -> Option<usize> {
        None
    }
    /// Whether the server has no place for a name that is fine elsewhere.
    fn cannot_hold(&self, _name: &str) -> bool {
        false
    }
    /// Whether an upload in parts is forgotten when another of the same name is finished.
    fn has_one_upload_of_a_name(&self) -> bool {
        false
    }
    /// For what only S3 has.
    fn as_s3(&self) -> Option<&S3Store> {
        None
    }
}

/// Makes a [`Server`] of a store whose own methods have the names of S3's.
macro_rules! server {
    ($store:ty { $($further:tt)* }) => {
        impl Server for $store {
            fn url(&self) -> String {
                <$store>::url(self)
            }

            fn options(&self) -> Value {
                <$store>::options(self)
            }

            fn keys(&self) -> Vec<String> {
                <$store>::keys(self)
            }

            fn fetch(&self, key: &str, into: &Path) {
                <$store>::fetch(self, key, into);
            }

            $($further)*
        }
    };
}

server!(S3Store {
    fn keys_below(&self, prefix: &str) -> Vec<String> {
        S3Store::keys_below(self, prefix)
    }

    fn unfinished_uploads_of(&self, key: &str) -> Option<usize> {
        Some(S3Store::unfinished_uploads_of(self, key))
    }

    fn as_s3(&self) -> Option<&S3Store> {
        Some(self)
    }
});

server!(crate::support::azure::AzureStore {
    fn cannot_hold(&self, name: &str) -> bool {
        name.ends_with('.') || name.contains('\\')
    }

    fn has_one_upload_of_a_name(&self) -> bool {
        true
    }
});

server!(crate::support::gcs::GcsStore {});

/// What is behind an entry.
pub enum Behind {
    Folder(PathBuf),
    /// A folder of this machine behind an SFTP server.
    Upstream(PathBuf),
    Memory,
    Server(Box<dyn Server>),
}

impl Behind {
    /// What unfinished uploads of a key have left; `None` where nobody but the gateway sees.
    pub fn unfinished(&self, key: &str) -> Option<usize> {
        match self {
            Behind::Memory => None,
            Behind::Server(server) => server.unfinished_uploads_of(key),
            // Unfinished files have names of their own here.
            Behind::Folder(root) => {
                let mut keys = Vec::new();
                walk(root, &root.join(".lockgate/uploads"), &mut keys);
                Some(keys.iter().filter(|key| !key.ends_with('/')).count())
            }
            Behind::Upstream(root) => {
                let mut keys = Vec::new();
                walk(root, root, &mut keys);
                Some(keys.iter().filter(|key| is_hidden(key)).count())
            }
        }
    }
}

/// Whether a key is that of an unfinished upload on an upstream server.
pub fn is_hidden(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with(".lockgate-upload-"))
}

/// All keys of a folder in a local store, those of folders with a slash at the end.
pub fn walk(root: &Path, folder: &Path, keys: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let key = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            keys.push(key + "/");
            walk(root, &path, keys);
        } else {
            keys.push(key);
        }
    }
}
