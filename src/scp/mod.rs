//! The SCP protocol (`scp -t`, `scp -f`): a codec in front of [`Session`].
//!
//! SCP has no RFC; what `scp.c` of OpenSSH 9 does is the reference (`source`, `rsource`, `sink`, `response`). Each side
//! sends a record and waits for the other's answer: a NUL, or `\x01` or `\x02` with a line of text.
//!
//! Three rules keep a connection alive whatever a client does: a task of its own (`input`) reads what arrives, the sink
//! never waits until its answers are sent (`answers`), and whoever sends more than answers while files are sent to it is
//! cut off (`source`).

mod answers;
mod command;
mod entries;
mod glob;
mod input;
mod matches;
mod record;
mod sink;
mod source;
mod wire;
mod words;

use std::sync::Arc;

use crate::session::Session;
use crate::session::channel::{Incoming, Outgoing};
use command::Direction;
use words::Word;

pub use command::{Command, CommandError, MAX_COMMAND, MAX_WORDS};
pub use record::{MAX_NAME, MAX_RECORD, Record, RecordError};

/// The deepest tree that is sent or received, in directories below each other.
pub const MAX_DEPTH: usize = 256;

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was transferred: the exit status is 0.
    Complete,
    /// Not everything was: the exit status is 1.
    Incomplete,
    /// The client sent without taking what was sent to it; it may not take the end either.
    Flooded,
}

/// Serves one SCP channel until it ends.
pub async fn serve(session: Arc<Session>, command: Command, incoming: impl Incoming, outgoing: impl Outgoing) -> Ended {
    let options = command.options;
    match command.direction {
        Direction::Sink(target) => {
            let target = target.resolve_home(session.user()).text();
            sink::serve(&session, options, &target, incoming, outgoing).await
        }
        Direction::Source(sources) => {
            let sources: Vec<Word> = sources.iter().map(|source| source.resolve_home(session.user())).collect();
            source::serve(&session, options, &sources, incoming, outgoing).await
        }
    }
}

/// The conversation cannot go on: the client has gone, or a fatal error was sent or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopped;

#[cfg(test)]
mod tests;
