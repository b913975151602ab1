//! What the trail was told of users that do not stand in the configuration, in a file that outlives the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::regular_file;
use crate::users::Told;

/// The file's name.
const FILE: &str = "lockgate-users-told.json";

/// The largest file that is read, in bytes.
const MOST: u64 = 256 << 20;

/// What the trail was told of each source.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    told: tokio::sync::Mutex<BTreeMap<String, Told>>,
}

impl Memory {
    /// Reads what is remembered in `folder`. Without a file, or with one that cannot be read, nothing was told.
    pub(super) fn read(folder: &Path) -> Memory {
        let path = folder.join(FILE);
        let told = match read_file(&path) {
            Ok(told) => told,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what was told of users is not known; all are told anew");
                BTreeMap::new()
            }
        };
        Memory { path, told: tokio::sync::Mutex::new(told) }
    }

    /// What was told of one source.
    pub(super) async fn told(&self, source: &str) -> Told {
        self.told.lock().await.get(source).cloned().unwrap_or_default()
    }

    /// What was told of every source.
    pub(super) async fn all(&self) -> BTreeMap<String, Told> {
        self.told.lock().await.clone()
    }

    /// Keeps what was told of one source, or forgets it. A file that cannot be written is only logged: what it lacks is told
    /// twice.
    pub(super) async fn keep(&self, source: &str, told: Option<Told>) {
        let mut all = self.told.lock().await;
        match told {
            Some(told) => all.insert(source.to_owned(), told),
            None => all.remove(source),
        };
        let text = serde_json::to_vec(&*all);
        let (path, beside) = (self.path.clone(), self.path.with_extension("new"));
        let written = tokio::task::spawn_blocking(move || {
            std::fs::write(&beside, text.map_err(std::io::Error::other)?)?;
            std::fs::rename(&beside, &path)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(path = %self.path.display(), %error, "what was told of users cannot be kept");
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<BTreeMap<String, Told>> {
    serde_json::from_slice(&regular_file::read(path, MOST)?).map_err(std::io::Error::other)
}
