//! The list of live sessions, and their end by an administrator.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::everyone::{self, Everyone};
use super::guard::GivenReason;
use super::prefix::{self, Meant};
use super::problem::{Asked, Given, Problem};
use super::state::{State, time};
use crate::session::{Distant, Farewell, LiveSession, OpenFile, Progress};

/// The most sessions of one answer, and how many there are if nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// The most open files that are shown of a session: in a list, and of one alone.
const FILES_IN_LIST: usize = 10;
const FILES_OF_ONE: usize = 1000;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// A logged-in connection
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionShown {
    /// 20 hex digits, as in the events
    id: String,
    /// The gateway that has it, in a fleet
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    /// Who
    user: String,
    /// The person behind the login name: a certificate's key id, a key's comment, or what the identity provider says
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// In a session at a target of a jump: the target
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The account there
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The session that was jumped through
    #[serde(skip_serializing_if = "Option::is_none")]
    jump_session: Option<String>,
    /// Where the user comes from: `configuration`, or a source of `users_from`
    source: String,
    /// From where
    address: String,
    /// The client's port
    port: u16,
    /// The client's version line
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// How the user logged in: `publickey`, `password`, …
    method: String,
    /// The key that was proven
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyShown>,
    /// Since when
    since: String,
    /// For how many seconds nothing has been running
    idle_seconds: u64,
    /// `sftp` and `scp`, as far as they were spoken
    protocols: Vec<String>,
    /// Bytes of files received
    bytes_in: u64,
    /// Bytes of files sent
    bytes_out: u64,
    /// Bytes in a second of the open files that are received
    speed_in: u64,
    /// Bytes in a second of the open files that are sent
    speed_out: u64,
    /// Uploads that succeeded
    files_in: u64,
    /// Downloads that ended
    files_out: u64,
    /// How many files are open and operations running
    under_way: usize,
    /// Open files: the first ten in a list, the first thousand of one session
    open_files: Vec<FileShown>,
    /// Why it is about to end
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<EndingShown>,
}

/// A public key
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyShown {
    /// `ssh-ed25519`, …
    #[serde(rename = "type")]
    kind: String,
    /// `SHA256:…`
    fingerprint: String,
    /// What stands beside it in the configuration
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// An open file
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileShown {
    /// What the client named
    path: String,
    /// `write` or `read`
    operation: &'static str,
    /// When it was opened
    since: String,
    /// Bytes so far
    bytes: u64,
    /// Bytes of the whole file, of a download
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Bytes in a second, over the last seconds
    speed: u64,
}

/// Why a session is about to end
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndingShown {
    /// A word for machines: `administrator`, `user-removed`, …
    reason: String,
    /// The administrator
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// More about it
    message: String,
}

impl SessionShown {
    pub(super) fn speed_in(&self) -> u64 {
        self.speed_in
    }

    pub(super) fn speed_out(&self) -> u64 {
        self.speed_out
    }

    /// Names the gateway that has it.
    pub(super) fn at(self, gateway: Option<String>) -> SessionShown {
        SessionShown { gateway, ..self }
    }

    /// Shows no more files than these.
    pub(super) fn keep_files(&mut self, most: usize) {
        self.open_files.truncate(most);
    }

    /// Whether a file is open or an operation runs.
    pub(super) fn is_moving(&self) -> bool {
        self.under_way > 0
    }

    /// A text that sorts by the beginning of the session.
    pub(super) fn began(&self) -> String {
        format!("{} {}", self.since, self.id)
    }

    pub(super) fn of(session: &LiveSession, progress: Progress) -> SessionShown {
        let speed = |upload| progress.files.iter().filter(|file| file.is_upload == upload).map(|file| file.speed).sum();
        SessionShown {
            id: session.session_id.to_string(),
            gateway: None,
            user: session.user.to_string(),
            identity: session.identity.as_deref().map(str::to_owned),
            target: session.jump.as_ref().map(|jump| jump.target().to_string()),
            account: session.jump.as_ref().and_then(|jump| jump.account()).map(ToString::to_string),
            jump_session: session.jump.as_ref().map(|jump| jump.through().to_string()),
            source: session.source.to_string(),
            address: session.source_ip.to_canonical().to_string(),
            port: session.source_port,
            client: session.client.as_deref().map(str::to_owned),
            method: session.method.to_string(),
            key: session.key.as_ref().map(|key| KeyShown {
                kind: key.key_type.clone(),
                fingerprint: key.fingerprint.clone(),
                comment: key.comment.clone(),
            }),
            since: time(session.since),
            idle_seconds: progress.idle.as_secs(),
            protocols: progress.protocols.iter().map(|protocol| protocol.as_str().to_owned()).collect(),
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            speed_in: speed(true),
            speed_out: speed(false),
            files_in: progress.files_in,
            files_out: progress.files_out,
            under_way: progress.under_way,
            open_files: progress.files.iter().map(FileShown::of).collect(),
            ending: progress.ending.map(|why| EndingShown {
                reason: why.reason.into_owned(),
                by: why.by,
                message: why.message,
            }),
        }
    }
}

impl FileShown {
    fn of(file: &OpenFile) -> FileShown {
        FileShown {
            path: file.path.clone(),
            operation: if file.is_upload { "write" } else { "read" },
            since: time(file.since),
            bytes: file.bytes,
            size: file.size,
            speed: file.speed,
        }
    }
}

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this user only
    user: Option<String>,
    /// At most so many, 100 if left out
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Those that follow this id: the `next` of the page before
    after: Option<String>,
}

/// Live sessions, in the order of their ids; in a fleet, those of all gateways
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<SessionShown>,
    /// Why sessions of other gateways may be missing
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
    /// How many there are in all pages
    total: usize,
    /// What `after` is for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The live sessions
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(Which), responses(
    (status = 200, description = "A page of them", body = Sessions),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Sessions>, Problem> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit must be from 1 to {MOST}")));
    }
    let everyone = Everyone::of(&state).await;
    let mut live = everyone.all();
    live.retain(|one| which.user.as_deref().is_none_or(|user| *one.live().user == *user));
    let rest = live.iter().filter(|one| which.after.as_deref().is_none_or(|after| *one.live().session_id > *after));
    let mut page: Vec<_> = rest.take(limit + 1).collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|one| one.live().session_id.to_string());
    // One that has ended meanwhile is left out.
    let sessions = page.iter().filter_map(|one| one.shown(&state, FILES_IN_LIST)).collect();
    let unlisted = if which.user.is_none() { everyone.unlisted() } else { 0 };
    let incomplete = everyone.incomplete().map(str::to_owned);
    Ok(Json(Sessions { sessions, incomplete, total: live.len() + unlisted, next }))
}

/// One live session
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "The session's id, or at least its first eight digits if no other live session begins so")), responses(
    (status = 200, description = "It lives", body = SessionShown),
    (status = 404, description = "There is no live session of this id", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Several live sessions begin so; the sentence names them", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(Shared(state): Shared<Arc<State>>, Path(given): Path<String>) -> Result<Response, Problem> {
    let meant = meant(&state, &given).await?;
    let shown = match state.around.registry.look(&meant.id, FILES_OF_ONE) {
        Some((live, progress)) => SessionShown::of(&live, progress).at(everyone::own_name(&state)),
        None => everyone::there(&distant(&state, &meant.id).await.ok_or_else(|| unknown(&given))?),
    };
    Ok((Extension(meant), Json(shown)).into_response())
}

/// The session of another gateway with this id.
async fn distant(state: &State, id: &str) -> Option<Distant> {
    Everyone::of(state).await.there(id).cloned()
}

/// The live session of this id or with these first digits. The id alone decides from then on: another session that begins so and comes
/// later is not meant.
async fn meant(state: &State, given: &str) -> Result<Meant, Problem> {
    let id = match prefix::read(given) {
        prefix::Given::Whole(id) => Some(id),
        prefix::Given::Beginning(beginning) => {
            let everyone = Everyone::of(state).await;
            prefix::only_one(&beginning, everyone.all().iter().map(|one| one.live().session_id.to_string()))?
        }
        prefix::Given::Other => None,
    };
    let id = id.ok_or_else(|| unknown(given))?;
    Ok(Meant { given: given.to_owned(), id })
}

/// Why a session is ended
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// A sentence; the client is told, and DISCONNECTED says it
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Ends a session: the client is told why, open files are cut off on record, and DISCONNECTED says who ended it
#[utoipa::path(delete, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "The session's id, or at least its first eight digits if no other live session begins so")), request_body = Why, responses(
    (status = 200, description = "It has been told to end, and ends within seconds", body = SessionShown),
    (status = 400, description = "No reason that can be used", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no live session of this id", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is about to end already, or several live sessions begin so: the sentence says which", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn end(
    Shared(state): Shared<Arc<State>>,
    Path(given): Path<String>,
    Extension(caller): Extension<Caller>,
    Given(why): Given<Why>,
) -> Result<Response, Problem> {
    let reason = why.reason.trim();
    if reason.is_empty() || reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let what = format!("a reason has 1 to {LONGEST_REASON} bytes and no control characters");
        return Err(Problem::wrong(what));
    }
    let farewell =
        Farewell { reason: "administrator".into(), message: reason.to_owned(), by: Some(caller.name.to_string()) };
    let registry = &state.around.registry;
    let meant = meant(&state, &given).await?;
    let id = &meant.id;
    let shown = match registry.look(id, FILES_OF_ONE) {
        Some((live, progress)) => {
            if registry.end(|live| (*live.session_id == **id).then(|| farewell.clone())) == 0 {
                return Err(ends_already(id));
            }
            tracing::info!(session = id, user = %live.user, by = %caller.name, reason, "an administrator ends a session");
            SessionShown::of(&live, progress).at(everyone::own_name(&state))
        }
        None => end_there(&state, &distant(&state, id).await.ok_or_else(|| unknown(&given))?, &farewell).await?,
    };
    Ok((Extension(GivenReason(reason.to_owned())), Extension(meant), Json(shown)).into_response())
}

/// Asks another gateway to end its session.
async fn end_there(state: &State, distant: &Distant, farewell: &Farewell) -> Result<SessionShown, Problem> {
    let (id, gateway) = (&distant.session.session_id, &distant.server);
    if distant.progress.ending.is_some() {
        return Err(ends_already(id));
    }
    let asked = state.around.peers.end(&distant.gateway, id, farewell).await;
    asked.map_err(|what| Problem::unavailable(format!("the gateway {gateway} cannot be asked: {what}")))?;
    let (by, reason) = (farewell.by.as_deref().unwrap_or_default(), &farewell.message);
    tracing::info!(session = %id, gateway, by, reason, "an administrator ends a session of another gateway");
    Ok(everyone::there(distant))
}

fn ends_already(id: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("the session {id} is about to end already"))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!(
        "there is no live session {id:.64?}; an id has 20 hex digits, of which the first 8 or more will do"
    ))
}
