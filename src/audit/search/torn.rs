//! Lines that break off: a gateway that is killed leaves one, of which nobody was told, and the next line says that it was killed.

use serde::de::IgnoredAny;

use super::Unreadable;
use crate::audit::read::Event;

/// How many lines wait at most for the one that explains them. A kill leaves one for each sink that wrote to the file.
const MOST: usize = 16;

/// Lines that break off, until the next one says whether that is in order.
#[derive(Debug, Default)]
pub(super) struct Torn(Vec<(Unreadable, Vec<u8>)>);

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// No start explains these.
    pub(super) unexplained: Vec<Unreadable>,
    /// These were cut by a kill.
    pub(super) cut: Vec<Unreadable>,
}

impl Torn {
    /// Keeps a line that is no event, if it breaks off; gives those that it leaves unexplained.
    pub(super) fn keep(&mut self, line: &[u8], place: Unreadable) -> Vec<Unreadable> {
        let begins = line.starts_with(b"{\"") || line == b"{";
        let breaks_off = begins && serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof());
        if breaks_off && self.0.len() < MOST {
            self.0.push((place, line.to_owned()));
            return Vec::new();
        }
        let mut unexplained = self.end();
        unexplained.push(place);
        unexplained
    }

    /// The next line is an event. It may be one of those, written again, or the start after the kill.
    pub(super) fn settle(&mut self, line: &[u8]) -> Settled {
        if self.0.is_empty() {
            return Settled::default();
        }
        // A sink that cannot go on in one file writes a line that it has begun there anew in the next.
        self.0.pop_if(|(_, torn)| line.starts_with(torn));
        let places = self.end();
        match is_after_kill(line) {
            true => Settled { cut: places, ..Settled::default() },
            false => Settled { unexplained: places, ..Settled::default() },
        }
    }

    /// Those that nothing follows.
    pub(super) fn end(&mut self) -> Vec<Unreadable> {
        self.0.drain(..).map(|(place, _)| place).collect()
    }
}

/// Whether a line is the first of a process after one that did not end in order.
fn is_after_kill(line: &[u8]) -> bool {
    Event::parse(line).is_some_and(|event| {
        event.activity() == "CHECKPOINT" && event.text("reason") == "start" && event.truth("clean") == Some(false)
    })
}
