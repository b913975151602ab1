//! The objects of a store's folder, in the order of their names, several fetched ahead.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::span::Span;
use crate::audit::Archive;

/// How many objects are fetched ahead.
const AHEAD: usize = 8;

/// Bytes of the largest object that is read.
const MAX_OBJECT: u64 = 256 << 20;

/// KiB of the objects that are fetched ahead, together; one alone may be larger.
const MAX_AHEAD: u32 = 64 << 10;

type Fetched = io::Result<Bytes>;

/// One object that is on its way; its room is given back when it is taken.
struct Underway {
    name: String,
    content: JoinHandle<Fetched>,
    room: OwnedSemaphorePermit,
}

/// Fetches objects.
pub(super) struct Objects {
    runtime: Handle,
    underway: mpsc::Receiver<Underway>,
    prefix: String,
    room: Option<OwnedSemaphorePermit>,
}

impl Objects {
    /// Lists the folder and begins to fetch. Blocks the calling thread, which must not be one of `runtime`'s.
    ///
    /// # Errors
    /// The listing's.
    pub(super) fn start(runtime: &Handle, archive: Arc<dyn Archive>, span: Span) -> io::Result<Self> {
        let listed = runtime.block_on(archive.list())?;
        let wanted: Vec<_> = span.wanted(listed, |(name, _)| name.as_str());
        let (sender, underway) = mpsc::channel(AHEAD);
        let prefix = archive.describe();
        runtime.spawn(fetch(wanted, archive, sender));
        Ok(Objects { runtime: runtime.clone(), underway, prefix, room: None })
    }

    /// The next object's name and content; its name and what the store says when it cannot be had.
    pub(super) fn next(&mut self) -> Option<Result<(String, Bytes), (String, io::Error)>> {
        // The object before is done with.
        self.room = None;
        let next = self.underway.blocking_recv()?;
        self.room = Some(next.room);
        let name = format!("{}/{}", self.prefix.trim_end_matches('/'), next.name);
        let content = self.runtime.block_on(next.content).unwrap_or_else(|error| Err(io::Error::other(error)));
        Some(match content {
            Ok(content) => Ok((name, content)),
            Err(error) => Err((name, error)),
        })
    }
}

/// Room is taken in the order of the names, so that no object waits for one behind it.
async fn fetch(wanted: Vec<(String, u64)>, archive: Arc<dyn Archive>, sender: mpsc::Sender<Underway>) {
    let memory = Arc::new(Semaphore::new(MAX_AHEAD as usize));
    for (name, size) in wanted {
        let cost = u32::try_from(size.div_ceil(1024)).unwrap_or(MAX_AHEAD).clamp(1, MAX_AHEAD);
        let Ok(room) = memory.clone().acquire_many_owned(cost).await else { return };
        let (archive, wanted) = (archive.clone(), name.clone());
        let content = tokio::spawn(async move { archive.get(&wanted, MAX_OBJECT).await });
        if sender.send(Underway { name, content, room }).await.is_err() {
            return;
        }
    }
}
