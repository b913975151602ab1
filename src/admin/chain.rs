//! How the trail is: its chain, its sinks and how far each is behind; and whether it is whole, found out in the background.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::Problem;
use super::state::{State, time};
use super::trail;
use crate::audit::verify::{Far, Report, Upkeep, verify_live};
use crate::audit::{SinkState, WitnessState};

/// The trail
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrailShown {
    /// The server's name
    server: String,
    /// The id of the chain
    chain: String,
    /// Whether the chain goes on over restarts
    kept: bool,
    /// The fingerprint of the key that signs checkpoints; absent when nothing is signed
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The number of the newest event
    sequence: u64,
    /// The hash of its line
    hash: String,
    /// The number of the newest event that every required sink has
    acknowledged: u64,
    /// The newest checkpoint of this process
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointShown>,
    /// How soon after an event a checkpoint follows
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_every_seconds: Option<u64>,
    /// The file that holds the whole trail, with those that it was rotated into; absent when no sink is one
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The sinks
    sinks: Vec<TrailSink>,
    /// The witness of its checkpoints; absent when there is none
    #[serde(skip_serializing_if = "Option::is_none")]
    witness: Option<WitnessShown>,
    /// The verification that is under way, or the last one of this process
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
    /// The one before it, for those who asked for that one: another may begin as soon as it has ended
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_verification: Option<Verification>,
}

/// A checkpoint
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointShown {
    /// Its number
    sequence: u64,
    /// When it was made
    time: String,
}

/// The folder of a store that keeps checkpoints
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WitnessShown {
    /// Where it is
    name: String,
    /// The newest checkpoint there that this process wrote
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointShown>,
    /// Whether a newer one waits
    behind: bool,
    /// Why nothing can be written
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Since when nothing can be written
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    /// What it saw before this process began and the trail does not have
    #[serde(skip_serializing_if = "Option::is_none")]
    contradiction: Option<String>,
}

impl WitnessShown {
    fn of(witness: WitnessState) -> WitnessShown {
        WitnessShown {
            name: witness.name,
            checkpoint: witness.written.map(|(sequence, at)| CheckpointShown { sequence, time: time(at) }),
            behind: witness.is_behind,
            failure: witness.failure,
            failing_since: witness.failing_since.map(time),
            contradiction: witness.contradiction,
        }
    }
}

/// A sink, and how far it is behind
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrailSink {
    /// Where it writes
    name: String,
    /// Whether operations wait for it
    required: bool,
    /// Why it cannot be written
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Bytes on their way to it
    backlog_bytes: usize,
    /// Bytes that it could not take yet
    owed_bytes: usize,
    /// What waits on this machine until it is delivered
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<SpoolShown>,
}

/// The spool of a sink
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SpoolShown {
    /// Bytes that wait
    bytes: u64,
    /// The most that may wait
    limit: u64,
    /// Why nothing is delivered
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Deliveries that were refused for good and are set aside
    undelivered: u64,
}

/// A verification of the trail
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Verification {
    /// Who asked for it
    by: String,
    /// When it began
    started: String,
    /// When it ended; absent while it runs
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    /// Bytes of lines that were read
    bytes: u64,
    /// Bytes of files that were read, compressed or not
    bytes_read: u64,
    /// Bytes of files there were at the beginning
    bytes_total: u64,
    /// Files that were begun
    files: usize,
    /// Files there are
    files_total: usize,
    /// Whether nothing is wrong; absent until it is known
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) whole: Option<bool>,
    /// Whether signatures were checked
    signatures: bool,
    /// The verdict in a sentence
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<String>,
    /// Why the trail could not be read
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    /// As `lockgate audit verify --json`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    report: Option<Value>,
}

/// How far a verification of the trail is
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VerificationProgress {
    /// When it began
    started: String,
    /// When it ended; absent while it runs. `GET /trail` has its result
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    /// Bytes of files that were read, compressed or not
    bytes_read: u64,
    /// Bytes of files there were at the beginning
    bytes_total: u64,
    /// Files that were begun
    files: usize,
    /// Files there are
    files_total: usize,
}

impl Verification {
    /// One that could not begin.
    pub(super) fn failed(by: &str, what: String) -> Verification {
        let now = time(SystemTime::now());
        Verification { finished: Some(now.clone()), failure: Some(what), ..Verification::begun(by, now, false) }
    }

    /// What a verification that found nothing wrong has read.
    pub(super) fn extent(&self) -> String {
        let lines = self.report.as_ref().and_then(|report| report["lines"].as_u64()).unwrap_or_default();
        let signed = if self.signatures { "" } else { "; signatures were not checked" };
        format!("the trail is whole: {lines} lines of {} files, {} bytes{signed}", self.files, self.bytes)
    }

    fn begun(by: &str, started: String, signatures: bool) -> Verification {
        Verification {
            by: by.to_owned(),
            started,
            finished: None,
            bytes: 0,
            bytes_read: 0,
            bytes_total: 0,
            files: 0,
            files_total: 0,
            whole: None,
            signatures,
            verdict: None,
            failure: None,
            report: None,
        }
    }
}

/// Verifications, one at a time.
#[derive(Debug, Default)]
pub(super) struct Verifier(Mutex<Verifications>);

#[derive(Debug, Default)]
struct Verifications {
    /// The one that is under way, or the last one.
    last: Option<Verification>,
    /// The one before it.
    previous: Option<Verification>,
}

impl Verifier {
    fn lock(&self) -> MutexGuard<'_, Verifications> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the one that is under way; how it is now.
    fn change(&self, change: impl FnOnce(&mut Verification)) -> Option<Verification> {
        let mut verifications = self.lock();
        let verification = verifications.last.as_mut()?;
        change(verification);
        Some(verification.clone())
    }

    /// The one that began; `None` when another is under way.
    fn begin(&self, by: &str, signatures: bool) -> Option<Verification> {
        let mut verifications = self.lock();
        if verifications.last.as_ref().is_some_and(|verification| verification.finished.is_none()) {
            return None;
        }
        let verification = Verification::begun(by, time(SystemTime::now()), signatures);
        verifications.previous = verifications.last.replace(verification.clone());
        Some(verification)
    }

    /// The one that ended.
    fn end(&self, outcome: Result<Report, String>) -> Option<Verification> {
        self.change(|verification| {
            verification.finished = Some(time(SystemTime::now()));
            match outcome {
                Ok(report) => {
                    verification.bytes = report.bytes;
                    verification.files = verification.files_total;
                    verification.whole = Some(report.is_whole());
                    verification.verdict = Some(report.verdict());
                    verification.report = Some(report.to_json());
                }
                Err(what) => verification.failure = Some(what),
            }
        })
    }

    /// How far the last one is.
    pub(super) fn progress(&self) -> Option<VerificationProgress> {
        self.lock().last.as_ref().map(|one| VerificationProgress {
            started: one.started.clone(),
            finished: one.finished.clone(),
            bytes_read: one.bytes_read,
            bytes_total: one.bytes_total,
            files: one.files,
            files_total: one.files_total,
        })
    }
}

/// How the trail is
#[utoipa::path(get, path = "/trail", tag = "trail", responses((status = 200, description = "How it is", body = TrailShown)))]
pub(super) async fn show(Shared(state): Shared<Arc<State>>) -> Json<TrailShown> {
    let around = &state.around;
    let chain = around.recorder.chain();
    let (verification, previous_verification) = {
        let verifications = state.verifier.lock();
        (verifications.last.clone(), verifications.previous.clone())
    };
    Json(TrailShown {
        server: around.server.clone(),
        chain: chain.chain,
        kept: chain.is_kept,
        key: chain.key,
        sequence: chain.last,
        hash: chain.last_hash,
        acknowledged: chain.acknowledged,
        checkpoint: chain.checkpoint.map(|(sequence, at)| CheckpointShown { sequence, time: time(at) }),
        checkpoint_every_seconds: chain.checkpoint_every.map(|every| every.as_secs()),
        file: around.trail.as_ref().map(|path| path.display().to_string()),
        sinks: around.recorder.sinks().into_iter().map(TrailSink::of).collect(),
        witness: around.recorder.witness().map(WitnessShown::of),
        verification,
        previous_verification,
    })
}

impl TrailSink {
    fn of(sink: SinkState) -> TrailSink {
        let spool = sink.spool.map(|spool| SpoolShown {
            bytes: spool.held,
            limit: spool.limit,
            trouble: spool.trouble,
            undelivered: spool.undelivered,
        });
        TrailSink {
            name: sink.name,
            required: sink.is_required,
            failure: sink.failure,
            backlog_bytes: sink.backlog,
            owed_bytes: sink.owed,
            spool,
        }
    }
}

/// Begins to verify the trail, in the background: `GET /trail` shows how far it is, and the verdict
#[utoipa::path(post, path = "/trail/verify", tag = "trail", responses(
    (status = 202, description = "It has begun", body = Verification),
    (status = 409, description = "A verification is under way, or no sink keeps the whole trail in a file of this machine", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn verify(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    match begin(&state, &caller.name)? {
        Some((begun, _)) => Ok((StatusCode::ACCEPTED, Json(begun)).into_response()),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "a verification is under way; GET /api/v1/trail shows how far it is",
        )),
    }
}

/// Begins to verify the trail for `by`; the receiver has the outcome when it ends. `None` when a verification is under way.
///
/// # Errors
/// When no file holds the whole trail, or no thread can be started.
pub(super) fn begin(
    state: &Arc<State>,
    by: &str,
) -> Result<Option<(Verification, oneshot::Receiver<Verification>)>, Problem> {
    let path = trail::path(state)?;
    let upkeep = state.around.upkeep.clone();
    let Some(begun) = state.verifier.begin(by, upkeep.is_some()) else { return Ok(None) };
    let theirs = state.clone();
    let (sender, outcome) = oneshot::channel();
    // A thread of its own, which the end of the gateway does not wait for: a long trail takes hours.
    let thread = std::thread::Builder::new().name("trail-verify".into()).spawn(move || {
        let progress = |far: Far| {
            theirs.verifier.change(|verification| {
                (verification.bytes, verification.bytes_read, verification.bytes_total) =
                    (far.lines, far.read, far.total);
                (verification.files, verification.files_total) = (far.files, far.files_total);
            });
        };
        let upkeep: Option<&Upkeep> = upkeep.as_ref();
        let verified = catch_unwind(AssertUnwindSafe(|| verify_live(&path, upkeep, progress)));
        // Whatever happened to it, the next one may begin.
        let ended =
            theirs.verifier.end(verified.unwrap_or_else(|_| Err("the verification failed; the log says where".into())));
        // Nobody may wait for it.
        let _ = ended.map(|ended| sender.send(ended).is_ok());
    });
    if let Err(error) = thread {
        state.verifier.end(Err(error.to_string()));
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no thread can be started: {error}")));
    }
    Ok(Some((begun, outcome)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_verification_runs_at_a_time() {
        let verifier = Verifier::default();
        assert!(verifier.begin("ann", true).is_some());
        assert!(verifier.begin("ben", true).is_none(), "one is under way");
        assert!(verifier.end(Err("the file is gone".into())).is_some());
        let ended = verifier.lock().last.clone().unwrap();
        assert!(ended.finished.is_some() && ended.whole.is_none(), "{ended:?}");
        assert_eq!(ended.failure.as_deref(), Some("the file is gone"));
        assert_eq!(verifier.begin("ben", false).unwrap().by, "ben");
        // Who asked for the first one still finds how it ended.
        let previous = verifier.lock().previous.clone().unwrap();
        assert_eq!((previous.by.as_str(), previous.finished), ("ann", ended.finished));
        assert!(verifier.progress().unwrap().finished.is_none());
    }
}
