//! Before and after each call of the API: is the name ours, who calls, may they, and is it on record.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::caller::{Caller, Peer, check_host, check_origin};
use super::login;
use super::prefix::Meant;
use super::problem::{Detail, Problem, Recognised};
use super::reads::{GivesUp, Waiting};
use super::settings::{Role, without_tokens};
use super::state::State;
use crate::audit::{Activity, AdminCall, MAX_PATH, Origin, Outcome, Reservation};

/// How long a call may take, its body included, until its answer begins.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// How long a call waits for room in the trail, and for its record.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// The reason that a caller gave, for the event: a handler puts it into its answer.
#[derive(Debug, Clone)]
pub(super) struct GivenReason(pub(super) String);

/// The answer of a call of which those who record calls know.
#[derive(Debug, Clone, Copy)]
struct Recorded;

/// Of the path of a call of nobody who was recognised, so many bytes are recorded: no such call needs more.
const MOST_OF_PATH: usize = 256;

/// Who was recognised, told by the task that answers: it may not live to answer.
#[derive(Debug, Clone, Default)]
struct Known(Arc<OnceLock<(Arc<str>, &'static str)>>);

/// As what a caller was recognised whose call failed.
#[derive(Debug, Clone, Copy)]
struct KnownRole(&'static str);

/// Where calls go.
const CALLS: &str = "/api/v1/";

/// Calls that are being answered at once, of the machine's own users and of the network; without their streams.
pub(super) const AT_ONCE: usize = 512;

/// What a call needs. What is not known here is for operators: a path that was forgotten here is closed, not open.
pub(super) fn needed(method: &Method, path: &str) -> Role {
    if path == "/metrics" && method.is_safe() {
        return Role::Viewer;
    }
    let Some(path) = path.strip_prefix(CALLS) else { return Role::Operator };
    let place = path.split('/').next().unwrap_or_default();
    match (method.is_safe(), place) {
        (true, "me" | "status" | "sessions" | "stores" | "bans" | "config" | "connections" | "fleet") => Role::Viewer,
        (true, "users" | "user") => Role::Viewer,
        (true, "events" | "recordings" | "trail") => Role::Auditor,
        (false, "trail") if path == "trail/verify" => Role::Auditor,
        (false, "logout") if path == "logout" => Role::Viewer,
        _ => Role::Operator,
    }
}

/// Whether a call is answered only if it is on record: one that changes something, and one that shows what was recorded. The state of
/// the gateway is shown in any case: why the trail fails must not depend on the trail.
fn needs_record(method: &Method, path: &str) -> bool {
    !method.is_safe()
        || needed(method, path) > Role::Viewer
        || path.starts_with("/api/v1/users/")
        || path == "/api/v1/user"
        || path == "/api/v1/connections"
}

/// Turns away what comes under a name that is not ours, or from a page of somebody else. What is refused before it has reached those who
/// record calls, here or for want of a handler, is recorded here.
pub(super) async fn check_names(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let is_remote = matches!(request.extensions().get::<Peer>(), Some(Peer::Remote(_)));
    let call = request.uri().path().starts_with(CALLS).then(|| Call::of(&request));
    let judged = match is_remote {
        true => {
            let is_ours = check_host(request.headers(), &state.hosts);
            is_ours.and_then(|()| check_origin(request.method(), request.headers(), state.has_tls))
        }
        false => Ok(()),
    };
    let response = match judged {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(call) = call
        && response.extensions().get::<Recorded>().is_none()
    {
        call.record_if_room(&state, &response);
    }
    response
}

/// Lets recognised callers with the role in, without a record: for metrics.
pub(super) async fn admit(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match judge(&state, &parts).await {
        (_, Ok(_)) => next.run(Request::from_parts(parts, body)).await,
        (_, Err(problem)) => problem.into_response(),
    }
}

/// Lets recognised callers with the role in, and records the call.
pub(super) async fn admit_and_record(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let call = Call::of(&request);
    let places = places_of(&state, &request);
    // Its task goes on without the caller, but nothing more is sought then.
    let waiting = Waiting::of(request.extensions().get::<Peer>());
    let _gives_up = GivesUp(waiting.given_up.clone());
    request.extensions_mut().insert(waiting);
    let known = Known::default();
    let told = known.clone();
    in_a_task(places, known, async move { judge_and_run(&state, call, request, next, told).await }).await
}

async fn judge_and_run(state: &State, mut call: Call, request: Request, next: Next, known: Known) -> Response {
    let (parts, body) = request.into_parts();
    let judging = timeout(ANSWERED_WITHIN, judge(state, &parts)).await;
    let (caller, judged) = judging.unwrap_or_else(|_| (None, Err(took_too_long())));
    let mut request = Request::from_parts(parts, body);
    if let Some(caller) = &caller {
        let _ = known.0.set((caller.name.clone(), caller.role.as_str()));
        call.event.caller = Some(caller.name.to_string());
        call.event.role = Some(caller.role.as_str());
    }
    if let Err(problem) = judged {
        let response = problem.into_response();
        call.record_if_room(state, &response);
        return response;
    }
    let room = match needs_record(request.method(), request.uri().path()) {
        true => match call.room(state).await {
            Ok(room) => Some(room),
            Err(problem) => return problem.into_response(),
        },
        false => None,
    };
    if let Some(caller) = caller {
        if let Some(waiting) = request.extensions_mut().get_mut::<Waiting>() {
            waiting.caller = Some(caller.who());
        }
        request.extensions_mut().insert(caller);
    }
    let response = timeout(ANSWERED_WITHIN, next.run(request)).await;
    call.record(state, room, response.unwrap_or_else(|_| took_too_long().into_response())).await
}

/// Lets everybody try to log in. Who does not succeed takes no room of others in the trail. Who does is let in even while the trail
/// fails, as somebody who brings a token is: to see that it fails. What shows or changes more is refused then.
pub(super) async fn admit_login(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let call = Call::of(&request);
    let places = places_of(&state, &request);
    in_a_task(places, Known::default(), async move { log_in(&state, call, request, next).await }).await
}

async fn log_in(state: &State, mut call: Call, request: Request, next: Next) -> Response {
    let response = timeout(ANSWERED_WITHIN, next.run(request)).await;
    let response = response.unwrap_or_else(|_| took_too_long().into_response());
    if let Some(caller) = response.extensions().get::<Caller>() {
        call.event.caller = Some(caller.name.to_string());
        call.event.role = Some(caller.role.as_str());
    }
    // Who only begins has not succeeded yet.
    if !response.status().is_success() || call.event.caller.is_none() {
        call.record_if_room(state, &response);
        return response;
    }
    match call.room(state).await {
        Ok(room) => call.record(state, Some(room), response).await,
        Err(_) => {
            tracing::warn!(caller = call.event.caller, "somebody logged in to the page, and it could not be recorded");
            response
        }
    }
}

fn places_of(state: &State, request: &Request) -> Arc<Semaphore> {
    match request.extensions().get::<Peer>() {
        Some(Peer::Local(_)) => state.calls_of_machine.clone(),
        _ => state.calls_of_network.clone(),
    }
}

/// Answers a call in a task of its own: a caller who goes away half-way neither stops what was begun nor takes its record along. What
/// such callers leave behind is bounded.
async fn in_a_task(
    places: Arc<Semaphore>,
    known: Known,
    answer: impl Future<Output = Response> + Send + 'static,
) -> Response {
    let Ok(place) = places.try_acquire_owned() else {
        return Problem::unavailable("too many calls are under way; try again in a few seconds").into_response();
    };
    let answering = tokio::spawn(async move {
        let _place = place;
        answer.await
    });
    match answering.await {
        Ok(mut response) => {
            response.extensions_mut().insert(Recorded);
            response
        }
        Err(_) => {
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the call failed");
            let Some((name, role)) = known.0.get() else { return problem.into_response() };
            let mut response = problem.of_caller(name.clone()).into_response();
            response.extensions_mut().insert(KnownRole(role));
            response
        }
    }
}

fn took_too_long() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the call took too long")
}

/// Who calls, and whether they may.
async fn judge(state: &State, parts: &Parts) -> (Option<Caller>, Result<(), Problem>) {
    let Some(peer) = parts.extensions.get::<Peer>() else {
        return (None, Err(Problem::new(StatusCode::UNAUTHORIZED, "nobody is known to call")));
    };
    let headers = &parts.headers;
    let recognised = match peer {
        Peer::Local(name) => Some(Ok(Caller::local(name))),
        Peer::Remote(_) if headers.contains_key(AUTHORIZATION) => login::of_bearer(state, headers).await,
        Peer::Remote(_) => login::of_cookie(state, &parts.method, headers, &state.trust()),
    };
    match recognised.unwrap_or_else(|| Err(Caller::unknown())) {
        Ok(caller) => {
            let judged = caller.may(needed(&parts.method, parts.uri.path()));
            (Some(caller), judged)
        }
        Err(problem) => (None, Err(problem)),
    }
}

/// A call on its way to its event.
struct Call {
    event: AdminCall,
    /// Whether the answer is kept back when the call cannot be recorded after all.
    hides: bool,
    started: Instant,
    peer: Option<Peer>,
}

impl Call {
    fn of(request: &Request<Body>) -> Call {
        let uri = request.uri();
        let path = uri.path_and_query().map_or_else(|| uri.path(), |path| path.as_str());
        let peer = request.extensions().get::<Peer>().cloned();
        Call {
            event: AdminCall {
                caller: None,
                role: None,
                method: request.method().as_str().to_owned(),
                path: without_tokens(path),
                http_status: 0,
                reason: None,
                outcome: Outcome::Success,
                source: peer.as_ref().and_then(Peer::address),
                duration_ms: 0,
            },
            hides: needs_record(request.method(), uri.path()) && request.method().is_safe(),
            started: Instant::now(),
            peer,
        }
    }

    /// Room for the record.
    async fn room(&self, state: &State) -> Result<Reservation, Problem> {
        let names = self.event.path.len().min(MAX_PATH);
        let room = state.around.recorder.reserve(state.own_room(self.peer.as_ref()), names);
        let room = timeout(RECORDED_WITHIN, room).await;
        let room = room.map_err(|_| "the audit trail takes no events".to_owned());
        room.and_then(|room| room.map_err(|error| error.to_string()))
            .map_err(|what| Problem::unavailable(format!("the call cannot be recorded: {what}")))
    }

    /// The event, now that the answer is known.
    fn answered(mut self, response: &Response) -> Activity {
        let status = response.status();
        if self.event.caller.is_none() {
            self.event.caller = response.extensions().get::<Recognised>().map(|Recognised(name)| name.to_string());
            self.event.role = response.extensions().get::<KnownRole>().map(|KnownRole(role)| *role);
        }
        if let Some(meant) = response.extensions().get::<Meant>() {
            self.event.path = meant.in_path(&self.event.path);
        }
        let detail = response.extensions().get::<Detail>().map(|Detail(detail)| detail.clone());
        let detail = || detail.unwrap_or_else(|| status.canonical_reason().unwrap_or("failed").to_owned());
        self.event.http_status = status.as_u16();
        self.event.outcome = match status {
            _ if !status.is_client_error() && !status.is_server_error() => Outcome::Success,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied(detail()),
            _ => Outcome::Failure(detail()),
        };
        self.event.reason =
            response.extensions().get::<GivenReason>().map(|GivenReason(reason)| without_tokens(reason));
        self.event.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Activity::AdminCall(Box::new(self.event))
    }

    /// Recognised callers have room of their own. Strangers can call without end: they are summed up, and take nothing of what others
    /// need.
    fn record_if_room(mut self, state: &State, response: &Response) {
        let (recorder, origin) = (&state.around.recorder, Origin::of_gateway(None));
        let is_recognised = self.event.caller.is_some() || response.extensions().get::<Recognised>().is_some();
        let stranger = self.event.source.filter(|_| !is_recognised).map(|source| source.ip());
        let Some(address) = stranger else {
            let peer = self.peer.clone();
            let activity = self.answered(response);
            if !recorder.record_own_now(state.own_room(peer.as_ref()), &origin, &activity) {
                state.refused.count_unrecorded();
            }
            return;
        };
        if !state.refused.is_told_alone(address, Instant::now()) {
            return;
        }
        let path = &mut self.event.path;
        if path.len() > MOST_OF_PATH {
            path.truncate(path.floor_char_boundary(MOST_OF_PATH));
            path.push('…');
        }
        if !recorder.record_at_door_now(&origin, &self.answered(response)) {
            state.refused.count(address);
        }
    }

    /// What cannot be recorded after all is not shown; what was changed is, for it is done.
    async fn record(self, state: &State, room: Option<Reservation>, response: Response) -> Response {
        let hides = self.hides;
        let Some(room) = room else {
            self.record_if_room(state, &response);
            return response;
        };
        let recorded = room.fill(&Origin::of_gateway(None), &self.answered(&response));
        match timeout(RECORDED_WITHIN, recorded).await {
            Ok(Ok(())) => response,
            failed => {
                let what = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => "the audit trail takes no events".to_owned(),
                };
                tracing::error!(error = what, "a call of the admin door could not be recorded at once");
                if hides {
                    Problem::unavailable(format!("the call cannot be recorded: {what}")).into_response()
                } else {
                    response
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_for_operators() {
        for (method, path, role) in [
            (Method::GET, "/api/v1/sessions", Role::Viewer),
            (Method::GET, "/api/v1/sessions/0049", Role::Viewer),
            (Method::HEAD, "/api/v1/users/ann", Role::Viewer),
            (Method::GET, "/metrics", Role::Viewer),
            (Method::GET, "/api/v1/me", Role::Viewer),
            (Method::GET, "/api/v1/status/stream", Role::Viewer),
            (Method::POST, "/api/v1/logout", Role::Viewer),
            (Method::POST, "/api/v1/links", Role::Operator),
            (Method::GET, "/api/v1/events", Role::Auditor),
            (Method::GET, "/api/v1/events/stream", Role::Auditor),
            (Method::GET, "/api/v1/recordings/0049", Role::Auditor),
            (Method::POST, "/api/v1/trail/verify", Role::Auditor),
            (Method::DELETE, "/api/v1/sessions/0049", Role::Operator),
            (Method::POST, "/api/v1/reload", Role::Operator),
            (Method::DELETE, "/api/v1/bans/192.0.2.1", Role::Operator),
            (Method::GET, "/api/v1/something", Role::Operator),
            (Method::GET, "/api/v1//events", Role::Operator),
            (Method::GET, "/api/v2/sessions", Role::Operator),
            (Method::POST, "/api/v1/trail", Role::Operator),
        ] {
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }

    #[test]
    fn what_changes_or_was_recorded_needs_a_record() {
        for (method, path, needs) in [
            (Method::GET, "/api/v1/sessions", false),
            (Method::GET, "/api/v1/users", false),
            (Method::GET, "/api/v1/users/ann", true),
            (Method::GET, "/api/v1/user", true),
            (Method::GET, "/api/v1/events", true),
            (Method::GET, "/api/v1/connections", true),
            (Method::DELETE, "/api/v1/sessions/0049", true),
        ] {
            assert_eq!(needs_record(&method, path), needs, "{method} {path}");
        }
    }
}
