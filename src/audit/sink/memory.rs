//! Lines kept in memory: for tests.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Sink;

/// Lines that a [`MemorySink`] keeps when nobody takes them.
const MAX_LINES: usize = 1_000_000;

/// Keeps every line, and fails or blocks when it is told to.
///
/// Keep one [`Arc`] and give the other to [`SinkTarget::Memory`](crate::audit::SinkTarget::Memory). When
/// the recorder has reported an event as recorded, it is here.
#[derive(Debug, Default)]
pub struct MemorySink {
    state: Mutex<State>,
    released: Condvar,
    written: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// How many of the lines were held against the schema.
    #[cfg(test)]
    judged: usize,
    failure: Option<String>,
    blocked: bool,
}

/// Each is only itself.
impl PartialEq for MemorySink {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for MemorySink {}

impl MemorySink {
    /// An empty one that works.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The lines so far, without their newlines.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.lock().events()
    }

    /// The events so far, which are then forgotten here.
    pub fn take(&self) -> Vec<serde_json::Value> {
        {
            let mut state = self.lock();
            let events = state.events();
            state.lines.clear();
            #[cfg(test)]
            {
                state.judged = 0;
            }
            events
        }
    }

    /// The events so far whose `activity-type` this is.
    pub fn of(&self, activity: &str) -> Vec<serde_json::Value> {
        self.events().into_iter().filter(|event| event["activity-type"] == activity).collect()
    }

    /// Waits until there are `count` events of an activity, and returns those there are then; after `limit`, those there are.
    pub async fn wait_for(&self, activity: &str, count: usize, limit: Duration) -> Vec<serde_json::Value> {
        let enough = async {
            loop {
                let written = self.written.notified();
                tokio::pin!(written);
                written.as_mut().enable();
                if self.of(activity).len() >= count {
                    return;
                }
                written.await;
            }
        };
        let _ = tokio::time::timeout(limit, enough).await;
        self.of(activity)
    }

    /// From now on, writing fails with this text. The recorder's `ready` follows with the next event.
    pub fn fail(&self, why: &str) {
        self.lock().failure = Some(why.to_owned());
    }

    /// Writing works again. The recorder notices within a second, or with the next event.
    pub fn recover(&self) {
        self.lock().failure = None;
    }

    /// From now on, writing blocks, as a pipe that nobody reads.
    pub fn block(&self) {
        self.lock().blocked = true;
    }

    /// Writing goes on.
    pub fn unblock(&self) {
        self.lock().blocked = false;
        self.released.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Arc<MemorySink> {
    fn name(&self) -> String {
        "memory".into()
    }

    /// There is nothing to open: whoever asks for it learns that what was recorded before has been written.
    fn reopens(&self) -> bool {
        true
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state =
            self.released.wait_while(self.lock(), |state| state.blocked).unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.failure {
            return Err(io::Error::other(why.clone()));
        }
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        if state.lines.len() + text.lines().count() > MAX_LINES {
            return Err(io::Error::other("full"));
        }
        state.lines.extend(text.lines().map(str::to_owned));
        drop(state);
        self.written.notify_waiters();
        Ok(bytes.len())
    }
}

impl State {
    fn events(&mut self) -> Vec<serde_json::Value> {
        #[cfg(test)]
        {
            self.lines.iter().skip(self.judged).for_each(|line| crate::audit::schema::assert_event(line));
            self.judged = self.lines.len();
        }
        // A line that is not JSON must not vanish from a test: it shows as a string.
        self.lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.clone().into())).collect()
    }
}
