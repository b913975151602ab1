//! What a witness holds, as it is read before the trail: what it knows then, every required sink had already.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::locks::{self, AT_ONCE, Lock, LockReport};
use crate::audit::{Archive, Kept};

/// Bytes of the largest checkpoint; one with all its endorsements has less than a tenth.
const MAX_OBJECT: u64 = 64 << 10;

/// All checkpoints of a witness.
#[derive(Debug, Clone)]
pub struct Witnessed {
    pub(super) name: String,
    pub(super) objects: Vec<Testimony>,
    pub(super) locks: LockReport,
}

/// One object of a witness.
#[derive(Debug, Clone)]
pub(super) struct Testimony {
    pub(super) name: String,
    /// `None`: it is larger than a checkpoint can be.
    pub(super) content: Option<Bytes>,
    /// It was deleted or replaced, and is there still.
    pub(super) is_hidden: bool,
    /// The lock that is in force.
    pub(super) lock: Option<Lock>,
}

impl Witnessed {
    /// Reads a folder: all versions, where the store keeps them, because whoever may delete can hide a version from plain reads.
    ///
    /// # Errors
    /// What the store says.
    pub async fn read(archive: &Arc<dyn Archive>) -> io::Result<Witnessed> {
        let versions = archive.versions().await?;
        let looked = locks::look(archive, &versions).await;
        let reading = versions.iter().zip(looked.locks).map(|(kept, lock)| read(archive, kept, lock));
        let objects: Vec<Option<Testimony>> = stream::iter(reading).buffered(AT_ONCE).try_collect().await?;
        Ok(Witnessed {
            name: archive.describe(),
            objects: objects.into_iter().flatten().collect(),
            locks: looked.report,
        })
    }
}

/// One object; `None` when it went meanwhile, as its retention may be over.
async fn read(archive: &Arc<dyn Archive>, kept: &Kept, lock: Option<Lock>) -> io::Result<Option<Testimony>> {
    let content = match archive.get_version(kept, MAX_OBJECT).await {
        Ok(content) => Some(content),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (name, is_hidden) = (kept.name.clone(), kept.is_hidden);
    Ok(Some(Testimony { name, content, is_hidden, lock }))
}
