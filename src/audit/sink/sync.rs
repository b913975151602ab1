//! Brings a file to the disk every so often, from a thread of its own: nobody waits for it.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The thread and what it is told. When this is dropped, what was written is brought to the disk once more.
#[derive(Debug)]
pub(in crate::audit) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Written, and not brought to the disk since.
    dirty: Option<Arc<File>>,
    failure: Option<io::Error>,
    ended: bool,
}

impl Syncer {
    /// Starts the thread.
    pub(in crate::audit) fn start(every: Duration) -> io::Result<Syncer> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("audit-sync".into()).spawn(move || theirs.run(every))?;
        Ok(Syncer { shared, thread: Some(thread) })
    }

    /// Something was written to this file.
    pub(in crate::audit) fn written(&self, file: &Arc<File>) {
        let mut state = self.shared.lock();
        if state.dirty.is_none() {
            state.dirty = Some(Arc::clone(file));
            self.shared.changed.notify_one();
        }
    }

    /// From now on another file is written; who ends the old one brings it to the disk.
    pub(super) fn forget(&self) {
        self.shared.lock().dirty = None;
    }

    /// What went wrong since this was last asked.
    pub(in crate::audit) fn outcome(&self) -> io::Result<()> {
        self.shared.lock().failure.take().map_or(Ok(()), Err)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, every: Duration) {
        loop {
            let waiting = self.changed.wait_while(self.lock(), |state| state.dirty.is_none() && !state.ended);
            // The time begins with the first write: what is written meanwhile goes along.
            let state = waiting.unwrap_or_else(PoisonError::into_inner);
            let ended = self.changed.wait_timeout_while(state, every, |state| !state.ended);
            let (mut state, _) = ended.unwrap_or_else(PoisonError::into_inner);
            let (file, ended) = (state.dirty.take(), state.ended);
            drop(state);
            if let Some(Err(error)) = file.map(|file| file.sync_data()) {
                self.lock().failure = Some(error);
            }
            if ended {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_does_not_reach_the_disk_is_told_once() {
        // There is no disk behind a pipe: EINVAL.
        let (_reader, writer) = io::pipe().unwrap();
        let file = Arc::new(File::from(OwnedFd::from(writer)));
        let syncer = Syncer::start(Duration::from_millis(10)).unwrap();
        syncer.outcome().unwrap();
        syncer.written(&file);
        let error = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            syncer.outcome().err()
        });
        assert_eq!(error.unwrap().kind(), io::ErrorKind::InvalidInput);
        syncer.outcome().unwrap();
    }

    #[test]
    fn the_end_does_not_wait_for_the_time() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let (syncer, started) = (Syncer::start(Duration::from_secs(3600)).unwrap(), Instant::now());
        syncer.written(&file);
        drop(syncer);
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!(Arc::strong_count(&file), 1, "the thread has ended");
    }
}
