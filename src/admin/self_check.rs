//! The verification of the trail in the background: its verdict in the log, the metrics, the readiness and the trail. A good one is in the
//! trail as well, so that whoever reads the events can miss it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::chain::{self, Verification};
use super::state::State;
use crate::audit::{Activity, Note, Origin, SelfCheck};
use crate::metrics::Text;

/// Who asks for it, as `GET /trail` shows it.
const BY: &str = "self-check";

/// The first one comes so soon after the start.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// How soon it is tried again when another verification is under way, or a rotation removed a file meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How soon it is tried again when a failure to read the trail is a finding, unless the next one is due sooner.
const AFTER_FAILURE: Duration = Duration::from_secs(600);

/// How often in a row it may fail to read the trail before that is a finding.
const TRIES: u32 = 3;

/// What it found last.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// When the trail was last read to its end.
    verified: Option<SystemTime>,
    /// What is wrong; `None`: nothing, as far as is known.
    finding: Option<String>,
}

/// Verifies the trail every so often, until it is dropped.
pub(super) async fn run(state: Arc<State>, settings: SelfCheck) {
    tokio::time::sleep(FIRST_AFTER.min(settings.every)).await;
    let mut failures = Failures::default();
    loop {
        let verified = match chain::begin(&state, BY) {
            Ok(Some((_, outcome))) => outcome.await.ok(),
            Ok(None) => None,
            Err(problem) => Some(Verification::failed(BY, problem.sentence())),
        };
        let wait = match verified {
            None => AGAIN_AFTER,
            Some(verified) => {
                let (is_verdict, wait) = failures.judge(verified.failure.is_some(), settings.every, Instant::now());
                if is_verdict {
                    settle(&state, &verified);
                }
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Failures to read the trail, in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    /// When they last were a finding.
    told: Option<Instant>,
}

impl Failures {
    /// Whether an outcome becomes known, and how soon the next verification is to begin. Failures that go on become known again as
    /// seldom as verdicts do.
    fn judge(&mut self, has_failed: bool, every: Duration, now: Instant) -> (bool, Duration) {
        if !has_failed {
            *self = Failures::default();
            return (true, every);
        }
        self.count = self.count.saturating_add(1);
        if self.count < TRIES {
            return (false, AGAIN_AFTER);
        }
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= every);
        if is_due {
            self.told = Some(now);
        }
        (is_due, AFTER_FAILURE.min(every))
    }
}

/// The verdict becomes known.
fn settle(state: &State, verified: &Verification) {
    let verdict = verified.verdict.clone().unwrap_or_default();
    let finding = match (&verified.failure, verified.whole) {
        (Some(what), _) => Some(format!("the trail cannot be verified: {what}")),
        (None, Some(false)) => Some(format!("the trail is not whole: {verdict}")),
        (None, _) => None,
    };
    let activity = match &finding {
        None => {
            tracing::info!(verdict, "the trail was verified");
            Activity::TrailVerified(note(verified.extent(), None))
        }
        Some(message) => {
            tracing::error!("{message}");
            Activity::Error(note(message.clone(), Some("VERIFY")))
        }
    };
    // It is in the log as well, and nobody could do anything about a sink that fails just now.
    drop(state.around.recorder.record_late(&Origin::of_gateway(None), &activity));
    let mut found = state.self_checked.lock().unwrap_or_else(PoisonError::into_inner);
    if verified.failure.is_none() {
        found.verified = Some(SystemTime::now());
    }
    found.finding = finding;
}

fn note(message: String, operation: Option<&str>) -> Note {
    Note { message, operation: operation.map(str::to_owned), path: None, logical_path: None }
}

/// Why the gateway is not ready, if a finding is to be a reason.
pub(super) fn reason(state: &State) -> Option<String> {
    state.around.self_check.filter(|settings| settings.judges_readiness)?;
    state.self_checked.lock().unwrap_or_else(PoisonError::into_inner).finding.clone()
}

/// The metrics.
pub(super) fn readings(state: &State, text: &mut Text) {
    let (verified, is_whole) = {
        let found = state.self_checked.lock().unwrap_or_else(PoisonError::into_inner);
        (found.verified, found.finding.is_none())
    };
    text.gauge(
        "trail_whole",
        "0 after a self-check that found something wrong with the trail, otherwise 1.",
        u8::from(is_whole),
    );
    if let Some(seconds) = verified.and_then(|time| Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())) {
        text.gauge("trail_verified_timestamp_seconds", "When a self-check last read the trail to its end.", seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_that_could_not_be_read_is_read_again_soon_and_told_seldom() {
        let (hour, start) = (Duration::from_secs(3600), Instant::now());
        let mut failures = Failures::default();
        assert_eq!(failures.judge(true, hour, start), (false, AGAIN_AFTER));
        assert_eq!(failures.judge(true, hour, start), (false, AGAIN_AFTER));
        assert_eq!(failures.judge(true, hour, start), (true, AFTER_FAILURE));
        assert_eq!(failures.judge(true, hour, start + AFTER_FAILURE), (false, AFTER_FAILURE));
        assert_eq!(failures.judge(true, hour, start + hour), (true, AFTER_FAILURE));
        assert_eq!(failures.judge(false, hour, start + hour), (true, hour));
        assert_eq!(failures.judge(true, hour, start + hour), (false, AGAIN_AFTER));
        let minute = Duration::from_secs(60);
        let mut often = Failures { count: TRIES, told: None };
        assert_eq!(often.judge(true, minute, start), (true, minute));
    }
}
