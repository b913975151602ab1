//! The file `pending` of a spool: the uploads that wait for their final names, and the batch after which it was written.
//!
//! The first line is `{"batch":HASH,"clock":{…}}`, each further one an upload, the oldest first. A new version replaces the old one whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::Utc;
use serde::{Deserialize, Serialize};

use super::join::{Clock, Upload};
use crate::audit::chain::Hash;
use crate::audit::sink::spool::{FILE_MODE, sync_folder};
use crate::regular_file;

const NAME: &str = "pending";

/// The most that is read: many times what as many uploads as may wait take with the longest paths.
const MAX_BYTES: u64 = 512 << 20;

/// Where it is.
#[derive(Debug)]
pub(super) struct File {
    folder: PathBuf,
    syncs: bool,
}

/// What it holds.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) batch: Option<Hash>,
    pub(super) clock: Clock,
    pub(super) uploads: Vec<Upload>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    batch: Option<String>,
    #[serde(default)]
    clock: Clock,
}

impl File {
    /// Reads the file, if there is one. One that cannot be read is moved aside.
    pub(super) fn open(folder: &Path, syncs: bool) -> io::Result<(File, Kept)> {
        let file = File { folder: folder.to_owned(), syncs };
        let path = folder.join(NAME);
        match Self::read(&path) {
            Ok(kept) => Ok((file, kept)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((file, Kept::default())),
            Err(error) => Self::move_aside(&path, &error).map(|()| (file, Kept::default())),
        }
    }

    fn read(path: &Path) -> io::Result<Kept> {
        let text = regular_file::read_text(path, MAX_BYTES)?;
        Kept::parse(&text).ok_or(io::Error::new(io::ErrorKind::InvalidData, "it is not what this gateway writes there"))
    }

    /// Keeps for the operator what cannot be read. What waited there is not joined with a rename any more; a rename that comes is told.
    fn move_aside(path: &Path, error: &io::Error) -> io::Result<()> {
        let aside = path.with_file_name(format!("{NAME}.unreadable-{}", Utc::now().timestamp_millis()));
        fs::rename(path, &aside)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        tracing::error!(file = %path.display(), moved_to = %aside.display(), %error,
            "the uploads that wait for their final names cannot be read, and are not told; renames of them are told as renames");
        Ok(())
    }

    /// Replaces what it holds.
    pub(super) fn write<'a>(
        &self,
        batch: Option<Hash>,
        clock: Clock,
        uploads: impl Iterator<Item = &'a Upload>,
    ) -> io::Result<()> {
        let (path, next) = (self.folder.join(NAME), self.folder.join("pending.new"));
        let mut text = serde_json::to_vec(&Head { batch: batch.map(|hash| hash.to_string()), clock })?;
        for upload in uploads {
            text.push(b'\n');
            text.extend(serde_json::to_vec(upload)?);
        }
        text.push(b'\n');
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&next)?;
        file.write_all(&text)?;
        // Always: a name that is there after a power cut must not stand for a file whose bytes are not.
        file.sync_data()?;
        fs::rename(&next, path)?;
        if self.syncs { sync_folder(&self.folder) } else { Ok(()) }
    }
}

impl Kept {
    fn parse(text: &str) -> Option<Kept> {
        let mut lines = text.lines();
        let head: Head = serde_json::from_str(lines.next()?).ok()?;
        let batch = match head.batch {
            Some(hash) => Some(hash.parse().ok()?),
            None => None,
        };
        let uploads = lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?;
        Some(Kept { batch, clock: head.clock, uploads })
    }
}
