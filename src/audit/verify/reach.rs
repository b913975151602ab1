//! How far the signatures of a chain reach. Everything before a signature is covered by it; what follows the last one is not, and can have
//! been written by anybody. A gateway that lives signs soon after an event, so only so much can follow.
//!
//! The times of these lines are whatever their writer wants. So the latest of all counts, not that of one line, and times that run
//! backwards are told: no single line hides how long the others go on.

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};

use super::Line;
use super::checkpoint::Checkpoint;
use super::finding::{Finding, Kind};
use crate::audit::read::Place;

/// The longest that a configuration lets pass between an event and the next checkpoint: for trails whose checkpoints do not say it.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// The longest that lines go on in a chain of which no line here has a right signature. Nothing says how often its gateway signs, and nothing
/// says that a gateway wrote them.
const UNSIGNED: TimeDelta = TimeDelta::seconds(60);

/// How much later than it says a gateway under load may sign, and how far its clock may step back meanwhile.
const LATE: TimeDelta = TimeDelta::seconds(60);

/// What stands before the time of a line. A text cannot look like it: its quotation marks are escaped.
const FIELD: &[u8] = b"\"timestamp\":\"";

pub(super) type Time = DateTime<FixedOffset>;

/// The last right signature, and what the lines after it say of their times.
#[derive(Debug, Default)]
pub(super) struct Reach {
    signed: Option<Signed>,
    /// Whether a line follows.
    goes_on: bool,
    /// The time of the first that has one.
    first: Option<Time>,
    /// The latest time of the signature and of all that follow.
    latest: Option<Time>,
    backwards: Option<Backwards>,
}

#[derive(Debug)]
struct Signed {
    sequence: u64,
    time: String,
    every: TimeDelta,
}

/// Lines whose times are long before that of one before them.
#[derive(Debug)]
struct Backwards {
    place: Place,
    sequence: u64,
    time: Time,
    before: Time,
    lines: u64,
}

impl Reach {
    /// A chain whose first line here is this.
    pub(super) fn of_first(line: &Line<'_>) -> Reach {
        let mut reach = Reach::default();
        reach.follow(line);
        reach
    }

    /// A line follows.
    pub(super) fn follow(&mut self, line: &Line<'_>) {
        self.goes_on = true;
        let Some(time) = line.time else { return };
        self.first.get_or_insert(time);
        match self.latest {
            Some(before) if before.signed_duration_since(time) > LATE => {
                let (place, sequence) = (line.place, line.tail.sequence);
                let first = Backwards { place, sequence, time, before, lines: 0 };
                self.backwards.get_or_insert(first).lines += 1;
            }
            latest => self.latest = latest.max(Some(time)),
        }
    }

    /// The last line has a right signature.
    pub(super) fn sign(&mut self, line: &Line<'_>, checkpoint: &Checkpoint) {
        let said = checkpoint.checkpoint_every_ms.and_then(|every| i64::try_from(every).ok());
        let every = said.and_then(TimeDelta::try_milliseconds).map_or(LONGEST, |every| every.min(LONGEST));
        let signed = Signed { sequence: line.tail.sequence, time: checkpoint.timestamp.clone(), every };
        *self = Reach { signed: Some(signed), latest: line.time, ..Reach::default() };
    }

    /// The number and the time of the last line with a right signature.
    pub(super) fn signed_to(&self) -> Option<(u64, String)> {
        self.signed.as_ref().map(|signed| (signed.sequence, signed.time.clone()))
    }

    /// When the next signature ought to have come at the latest. `None` when nothing follows the last one, or no time is known.
    pub(super) fn next_by(&self) -> Option<Time> {
        let first = self.first.or(self.latest).filter(|_| self.goes_on)?;
        let every = self.signed.as_ref().map_or(UNSIGNED, |signed| signed.every);
        first.checked_add_signed(every)?.checked_add_signed(LATE)
    }

    /// What is wrong with the lines after the last signature, of which the last has this number.
    pub(super) fn findings(&self, sequence: u64, place: Place) -> Vec<Finding> {
        let early = self.stops_early(sequence);
        let early =
            early.map(|what| Finding { kind: Kind::Signature, place, sequence: Some(sequence), what, lines: 1 });
        self.runs_backwards().into_iter().chain(early).collect()
    }

    /// A line is later than the next signature ought to have come.
    fn stops_early(&self, sequence: u64) -> Option<String> {
        let (by, latest) = (self.next_by()?, self.latest?);
        if latest <= by {
            return None;
        }
        let [by, latest] = [by, latest].map(shown);
        let reach = match self.signed_to() {
            Some((signed, time)) => format!("the signatures reach sequence {signed} ({time})"),
            None => "there is no right signature".to_owned(),
        };
        Some(format!(
            "{reach}; expected is the next one by {by}, and lines go on without one to sequence {sequence} (until {latest}): who has no \
             key can have written them. If there are later files, give them as well: their first signature covers these lines"
        ))
    }

    fn runs_backwards(&self) -> Option<Finding> {
        let Backwards { place, sequence, time, before, lines } = self.backwards.as_ref()?;
        let what = format!(
            "its time is {}, and that of a line before it {}; no signature covers them. The clock was set back, or somebody else wrote them",
            shown(*time),
            shown(*before)
        );
        Some(Finding { kind: Kind::Time, place: *place, sequence: Some(*sequence), what, lines: *lines })
    }
}

fn shown(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The time of a line.
pub(super) fn time_of(line: &[u8]) -> Option<Time> {
    let at = line.windows(FIELD.len()).position(|window| window == FIELD)?;
    let rest = line.get(at + FIELD.len()..)?;
    let text = rest.get(..rest.iter().position(|byte| *byte == b'"')?)?;
    DateTime::parse_from_rfc3339(std::str::from_utf8(text).ok()?).ok()
}
