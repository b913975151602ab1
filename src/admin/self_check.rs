//! The verification of the trail in the background: its verdict in the log, the metrics, the readiness and the trail. A good one is in the
//! trail as well, so that whoever reads the events can miss it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    let mut failures = 0;
    loop {
        let verified = match chain::begin(&state, BY) {
            Ok(Some((_, outcome))) => outcome.await.ok(),
            Ok(None) => None,
            Err(problem) => Some(Verification::failed(BY, problem.sentence())),
        };
        let wait = match verified {
            None => AGAIN_AFTER,
            Some(verified) if verified.failure.is_some() && failures + 1 < TRIES => {
                failures += 1;
                AGAIN_AFTER
            }
            Some(verified) => {
                failures = 0;
                settle(&state, &verified);
                settings.every
            }
        };
        tokio::time::sleep(wait).await;
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
