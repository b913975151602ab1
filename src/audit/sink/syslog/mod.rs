//! Events as messages of RFC 5424, over TCP, TLS or a socket of the file system.
//!
//! Syslog has no acknowledgements: what the operating system took may never reach a server that dies. So lines are in doubt
//! for a while after they were sent; when the connection breaks in that time, they are sent again over the next one. A line
//! may arrive twice, and its `event-id` tells.

mod connection;
mod message;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::settings::{SyslogAddress, SyslogTarget};
use super::{Around, Sink, Target};
use connection::Connection;
use message::Messages;

/// Bytes of lines that can be in doubt at once; beyond that the oldest count as arrived.
const MAX_DOUBTFUL: usize = 16 << 20;

/// Bytes of lines that are sent at once.
const PIECE: usize = 64 << 10;

/// How long a server that could not be reached is left alone.
const PAUSE: Duration = Duration::from_millis(900);

/// How long the end of the gateway is put off until the server has read what was sent.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(3);

/// Sends to a syslog server.
pub(super) struct SyslogSink {
    target: SyslogTarget,
    messages: Messages,
    connection: Option<Connection>,
    /// The last attempt to connect, if it failed.
    failed: Option<(Instant, io::ErrorKind, String)>,
    doubtful: VecDeque<(Instant, Vec<u8>)>,
    doubtful_bytes: usize,
}

impl SyslogSink {
    /// A sink that connects with its first line. A server that is away does not keep the gateway from starting.
    pub(super) fn new(target: &SyslogTarget, around: &Around) -> Self {
        SyslogSink {
            messages: Messages::new(target, &around.server),
            target: target.clone(),
            connection: None,
            failed: None,
            doubtful: VecDeque::new(),
            doubtful_bytes: 0,
        }
    }

    /// How long lines are in doubt. The connection is given up when the server does not confirm what it received within the
    /// time-out, which is shorter.
    fn doubt(&self) -> Duration {
        self.target.timeout * 2
    }

    fn connect(&mut self) -> io::Result<()> {
        if let Some((at, kind, why)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(io::Error::new(*kind, why.clone()));
        }
        match Connection::open(&self.target) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                self.failed = Some((Instant::now(), error.kind(), error.to_string()));
                return Err(error);
            }
        }
        self.failed = None;
        self.repeat()
    }

    /// Sends again what is in doubt.
    fn repeat(&mut self) -> io::Result<()> {
        for index in 0..self.doubtful.len() {
            let Some((_, lines)) = self.doubtful.get(index) else { break };
            let lines = lines.clone();
            self.send(&lines)?;
            if let Some((at, _)) = self.doubtful.get_mut(index) {
                *at = Instant::now();
            }
        }
        Ok(())
    }

    /// Sends whole lines. After a failure there is no connection.
    fn send(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(connection) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = self.messages.send(lines, self.target.framing, connection);
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    fn keep_in_doubt(&mut self, lines: &[u8]) {
        self.doubtful.push_back((Instant::now(), lines.to_vec()));
        self.doubtful_bytes += lines.len();
        while self.doubtful_bytes > MAX_DOUBTFUL {
            self.settle_oldest();
        }
    }

    fn settle_oldest(&mut self) {
        if let Some((_, lines)) = self.doubtful.pop_front() {
            self.doubtful_bytes -= lines.len();
        }
    }
}

impl Sink for SyslogSink {
    fn name(&self) -> String {
        name(&self.target)
    }

    fn prepare(&mut self, _: bool) -> io::Result<Target> {
        // A connection that broke shows here, before a line is given to it.
        if let Some(connection) = &mut self.connection
            && connection.look().is_err()
        {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connect()?;
        }
        let doubt = self.doubt();
        while self.doubtful.front().is_some_and(|(sent, _)| sent.elapsed() >= doubt) {
            self.settle_oldest();
        }
        // Whole lines only are taken: none is ever half written.
        Ok(Target::Same)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = bytes.iter().take(PIECE).rposition(|byte| *byte == b'\n');
        let end = end.or_else(|| bytes.iter().position(|byte| *byte == b'\n'));
        let piece = end.and_then(|end| bytes.get(..=end)).unwrap_or(bytes);
        self.send(piece)?;
        self.keep_in_doubt(piece);
        Ok(piece.len())
    }

    fn looks_again(&self) -> Option<Duration> {
        (!self.doubtful.is_empty()).then(|| self.target.timeout.max(Duration::from_secs(1)))
    }

    fn close(&mut self) {
        let limit = LAST_LINES_WITHIN.min(self.target.timeout);
        let closed = self.connection.take().is_some_and(|connection| connection.close(limit).is_ok());
        if !closed && !self.doubtful.is_empty() {
            tracing::warn!(sink = %self.name(), "it is not known whether the server has read the last events");
        }
    }
}

/// How messages name a server.
pub(super) fn name(target: &SyslogTarget) -> String {
    match &target.address {
        SyslogAddress::Tcp(to) => format!("syslog tcp://{to}"),
        SyslogAddress::Tls { to, .. } => format!("syslog tls://{to}"),
        SyslogAddress::Unix(path) => format!("syslog {}", path.display()),
    }
}

/// Connects and hangs up.
pub(super) fn reach(target: &SyslogTarget) -> io::Result<()> {
    Connection::open(target)?.look()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
