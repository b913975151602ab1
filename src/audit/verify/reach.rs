//! How far the signatures of a chain reach. Everything before a signature is covered by it; what follows the last one is not, and can have
//! been written by anybody. A gateway that lives signs soon after an event, so only so much can follow.

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};

use super::checkpoint::Checkpoint;
use crate::audit::read::Event;

/// The longest that a configuration lets pass between an event and the next checkpoint: for trails whose checkpoints do not say it.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// How much later than it says a gateway under load may sign.
const LATE: TimeDelta = TimeDelta::seconds(60);

type Time = DateTime<FixedOffset>;

/// The last right signature, and the line after it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    signed: Option<Signed>,
    /// The first line after it; of the chain, when there is none.
    next: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Signed {
    sequence: u64,
    time: String,
    every: TimeDelta,
}

impl Reach {
    /// A chain whose first line is this.
    pub(super) fn of_first(line: &[u8]) -> Reach {
        Reach { signed: None, next: Some(line.to_owned()) }
    }

    /// A line follows.
    pub(super) fn follow(&mut self, line: &[u8]) {
        if self.next.is_none() {
            self.next = Some(line.to_owned());
        }
    }

    /// The last line has a right signature.
    pub(super) fn sign(&mut self, sequence: u64, checkpoint: &Checkpoint) {
        let said = checkpoint.checkpoint_every_ms.and_then(|every| i64::try_from(every).ok());
        let every = said.and_then(TimeDelta::try_milliseconds).map_or(LONGEST, |every| every.min(LONGEST));
        self.signed = Some(Signed { sequence, time: checkpoint.timestamp.clone(), every });
        self.next = None;
    }

    /// The number and the time of the last line with a right signature.
    pub(super) fn signed_to(&self) -> Option<(u64, String)> {
        self.signed.as_ref().map(|signed| (signed.sequence, signed.time.clone()))
    }

    /// When the next signature ought to have come at the latest. `None` when nothing follows the last one, or its time is not known.
    pub(super) fn next_by(&self) -> Option<Time> {
        let first = time_of(self.next.as_deref()?)?;
        let every = self.signed.as_ref().map_or(LONGEST, |signed| signed.every);
        first.checked_add_signed(every)?.checked_add_signed(LATE)
    }

    /// What is wrong when `last`, the last line, is later than that.
    pub(super) fn stops_early(&self, sequence: u64, last: &[u8]) -> Option<String> {
        let (by, ends) = (self.next_by()?, time_of(last)?);
        if ends <= by {
            return None;
        }
        let [by, ends] = [by, ends].map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
        let reach = match self.signed_to() {
            Some((signed, time)) => format!("the signatures reach sequence {signed} ({time})"),
            None => "there is no right signature".to_owned(),
        };
        Some(format!(
            "{reach}; expected is the next one by {by}, and lines go on without one to sequence {sequence} ({ends}): who has no key can \
             have written them"
        ))
    }
}

fn time_of(line: &[u8]) -> Option<Time> {
    DateTime::parse_from_rfc3339(Event::parse(line)?.text("timestamp")).ok()
}
