//! Lines on standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use super::Sink;

/// How long a pipe that its other users made non-blocking is left alone when it is full.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes past the buffer of [`std::io::Stdout`], so that a line that is written has left the process, and one that is not is
/// not half in a buffer. A reader that went away is an error (EPIPE), not the end of the process.
#[derive(Debug)]
pub(in crate::audit) struct StdoutSink {
    out: File,
}

impl StdoutSink {
    /// Takes a descriptor of its own.
    pub(super) fn open() -> io::Result<Self> {
        let out = io::stdout().as_fd().try_clone_to_owned();
        out.map(StdoutSink::over).map_err(|error| io::Error::new(error.kind(), format!("standard output: {error}")))
    }

    /// The same over any descriptor.
    pub(in crate::audit) fn over(out: impl Into<File>) -> Self {
        StdoutSink { out: out.into() }
    }
}

impl Sink for StdoutSink {
    fn name(&self) -> String {
        "standard output".into()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.out.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                result => return result,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::over(OwnedFd::from(writer));
        assert_eq!(sink.write(b"line\n").unwrap(), 5);
        drop(reader);
        assert_eq!(sink.write(b"line\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        let mut sink = StdoutSink::over(OwnedFd::from(writer));
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            while written < 1 << 20 {
                written += sink.write(&[b'x'; 4096]).unwrap();
            }
            written
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), thread.join().unwrap());
    }
}
