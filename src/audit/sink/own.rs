//! A sink that the embedding program brings along: it takes one line after the other.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Sink;

/// What takes lines.
pub trait LineSink: Send + Sync {
    /// How messages and metrics name it.
    fn name(&self) -> String;

    /// Takes one line of JSON, without its newline. Called from a thread of the sink's own, and may block it. A line that was not taken
    /// is given again.
    ///
    /// # Errors
    /// Why the line was not taken. Until one is, operations that need a record are refused.
    fn take(&self, line: &str) -> io::Result<()>;
}

/// A sink of the embedding program.
#[derive(Clone)]
pub struct OwnSink(Arc<dyn LineSink>);

impl OwnSink {
    /// This one.
    pub fn new(sink: Arc<dyn LineSink>) -> OwnSink {
        OwnSink(sink)
    }

    /// Opened, as the recorder uses it.
    pub(super) fn open(&self) -> impl Sink + use<> {
        Lines { sink: self.0.clone(), begun: Vec::new() }
    }
}

/// Each is only itself.
impl PartialEq for OwnSink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnSink {}

impl fmt::Debug for OwnSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSink({})", self.0.name())
    }
}

/// Cuts what is written into lines.
struct Lines {
    sink: Arc<dyn LineSink>,
    /// A line whose end has not come yet.
    begun: Vec<u8>,
}

impl Sink for Lines {
    fn name(&self) -> String {
        self.sink.name()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.begun.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        let before = self.begun.len();
        self.begun.extend_from_slice(&bytes[..end]);
        let taken = std::str::from_utf8(&self.begun).map_err(io::Error::other).and_then(|line| {
            // A sink that panics has not taken the line; its thread goes on.
            catch_unwind(AssertUnwindSafe(|| self.sink.take(line)))
                .unwrap_or_else(|_| Err(io::Error::other("the sink of the embedding program panicked")))
        });
        match taken {
            Ok(()) => self.begun.clear(),
            Err(error) => {
                self.begun.truncate(before);
                return Err(error);
            }
        }
        Ok(end + 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Refuses some lines at first, one of them by a panic.
    #[derive(Default)]
    struct Reluctant {
        lines: Mutex<Vec<String>>,
        asked: AtomicUsize,
    }

    impl LineSink for Reluctant {
        fn name(&self) -> String {
            "reluctant".into()
        }

        fn take(&self, line: &str) -> io::Result<()> {
            match self.asked.fetch_add(1, Ordering::SeqCst) % 3 {
                0 if line == "three" => panic!("not this one"),
                0 => Err(io::Error::other("not now")),
                _ => {
                    self.lines.lock().unwrap().push(line.to_owned());
                    Ok(())
                }
            }
        }
    }

    #[test]
    fn every_line_is_given_until_it_is_taken_and_once_after_that() {
        let reluctant = Arc::new(Reluctant::default());
        let mut sink = OwnSink::new(reluctant.clone()).open();
        for piece in ["one\ntw", "o\nthree\nfo", "ur", "\n"] {
            let mut rest = piece.as_bytes();
            let mut tries = 0;
            while !rest.is_empty() {
                rest = &rest[sink.write(rest).unwrap_or(0)..];
                tries += 1;
                assert!(tries < 20, "{piece:?}");
            }
        }
        assert_eq!(*reluctant.lines.lock().unwrap(), ["one", "two", "three", "four"]);
    }
}
