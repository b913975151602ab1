//! The events as they come, for programs and pages that follow them: server-sent events.
//!
//! A follower costs an open file and a block of it, whatever it does: what it does not read now it reads from the disk later, and what
//! was removed from there meanwhile it is told as a gap. It hears at the start and with each sign of life how far it is (an `id` without
//! data), so that a connection that is lost before the first event that fits is gone on with as well, and none of the trail is searched
//! twice.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::caller::{Caller, Peer};
use super::elsewhere::Elsewhere;
use super::login::is_still_in;
use super::places::{Place, Taken};
use super::problem::{Asked, Problem};
use super::state::State;
use super::trail;
use crate::audit::read::ReadError;
use crate::audit::read::follow::{Follow, Next};
use crate::audit::read::newest::id_of;
use crate::audit::search::Judge;

/// How many may follow at once, over the socket and over the network, and how many of the latter for one caller.
pub(super) const FOLLOWERS: usize = 32;
pub(super) const FOLLOWERS_OF_CALLER: usize = 8;

/// How often the trail is looked at for new lines.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// How often a follower hears something when nothing happens.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The most bytes of events in one piece, and the most lines that are judged for it.
const PIECE: usize = 256 * 1024;
const LINES: usize = 10_000;

/// Which events, as `/events`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The user's name; `*` and `?` stand for any characters
    user: Option<String>,
    /// The person behind the user's name; a pattern, as for `user`
    identity: Option<String>,
    /// A path that the client named or where it is kept; `*` stays within a component, `**` does not
    path: Option<String>,
    /// What happened: one or more of the activities, joined by commas
    activity: Option<String>,
    /// The kind of operation: one or more of `upload`, `download`, …, as in `/events`, joined by commas
    operation: Option<String>,
    /// The client's address or network
    address: Option<String>,
    /// The session's id
    session: Option<String>,
    /// The target that was jumped to
    target: Option<String>,
    /// The account at a target
    account: Option<String>,
    /// The fingerprint of a key or an authority, or its first four characters or more behind `SHA256:`
    #[serde(alias = "key")]
    fingerprint: Option<String>,
    /// `success`, `denied` or `failure`
    status: Option<String>,
    /// A text somewhere in the event, in small or capital letters
    text: Option<String>,
    /// `own`, the events of this gateway, or `all`, also those of the other gateways of its fleet; `own` by default
    gateways: Option<String>,
    /// What follows the event of this `event-id`, instead of now; the header `Last-Event-ID` says the same and comes first
    after: Option<String>,
}

/// Events as they come, as server-sent events: `id` is the `event-id`, `data` the event; an `id` without `data` says up to which event
/// there is nothing more to send. With `gateways=all`, `event: elsewhere` has an event of another gateway as it comes, with the `gateway`
/// before its other fields and without an `id`, and `event: fleet` says which `gateways` tell theirs, and why some may be missing
/// (`incomplete`). `event: gap` says that some may be missing before the next one, because the files that held them were
/// removed, or the id to go on after is above all; `event: failed` that the trail cannot be read
#[utoipa::path(get, path = "/events/stream", tag = "events", params(Which, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")), responses(
    (status = 200, description = "It goes on until either side ends it", content((String = "text/event-stream"))),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "No sink keeps the whole trail in a file of this machine", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn stream(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let header = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
    let after = header.or(which.after.clone()).map(|id| id.to_ascii_lowercase());
    if after.as_deref().is_some_and(|id| !trail::is_id(id)) {
        return Err(Problem::wrong("Last-Event-ID and after are an event-id"));
    }
    let elsewhere = if which.wants_all()? { Elsewhere::of(&state) } else { None };
    let judge = which.judge()?;
    let path = trail::path(&state)?;
    let place = state.followers.take(&peer, &caller).map_err(|taken| match taken {
        Taken::ByAll(most) => Problem::unavailable(format!("{most} follow already; close one of them")),
        Taken::ByCaller(most) => Problem::unavailable(format!("{most} follow already as {}; close one", caller.name)),
    })?;
    let started = tokio::task::spawn_blocking(move || Follow::start(&path, after)).await;
    let failed = |what: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what);
    let follow = started.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    // The first piece may take its time, and the caller wants to know that it is in, and from where on.
    let hello = Bytes::from(format!(": the events follow\n\n{}", at(&follow)));
    let hello = futures_util::stream::once(async { Ok(hello) });
    let stopped = state.stopped.clone();
    let follower = Follower { follow, judge, elsewhere, state, caller, stopped, _place: place };
    let pieces = unfold(Some(follower), |follower| async {
        let (piece, follower) = follower?.piece().await?;
        Some((Ok::<_, Infallible>(piece), follower))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(hello, pieces));
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// Says how far a follower is, without an event.
fn at(follow: &Follow) -> String {
    format!("id: {}\n\n", follow.position())
}

impl Which {
    fn wants_all(&self) -> Result<bool, Problem> {
        match self.gateways.as_deref() {
            None | Some("own") => Ok(false),
            Some("all") => Ok(true),
            Some(_) => Err(Problem::wrong("gateways is own or all")),
        }
    }

    fn judge(self) -> Result<Judge, Problem> {
        let Which {
            user,
            identity,
            path,
            activity,
            operation,
            address,
            session,
            target,
            account,
            fingerprint,
            status,
            text,
            gateways: _,
            after: _,
        } = self;
        let which = trail::Which {
            user,
            identity,
            path,
            activity,
            operation,
            address,
            session,
            target,
            account,
            fingerprint,
            status,
            text,
            ..Default::default()
        };
        Ok(which.query()?.judge())
    }
}

/// One who follows.
struct Follower {
    follow: Follow,
    judge: Judge,
    /// The other gateways, for one who follows all.
    elsewhere: Option<Elsewhere>,
    state: Arc<State>,
    caller: Caller,
    stopped: watch::Receiver<bool>,
    _place: Place,
}

/// What a look at the trail gave.
struct Looked {
    text: String,
    /// Whether there may be more without waiting.
    is_more: bool,
}

impl Follower {
    /// The next piece, and who goes on after it; `None` at the gateway's end, and when the caller would not be let in any more.
    async fn piece(mut self) -> Option<(Bytes, Option<Follower>)> {
        let quiet = Instant::now() + SIGN_OF_LIFE;
        loop {
            if !is_still_in(&self.state, &self.caller) {
                return None;
            }
            let looking = tokio::task::spawn_blocking(move || {
                let looked = self.look();
                (self, looked)
            });
            let (follower, looked) = looking.await.ok()?;
            self = follower;
            let looked = looked.map(|looked| self.with_others(looked));
            match looked {
                Ok(looked) if !looked.text.is_empty() => return Some((looked.text.into(), Some(self))),
                // A long trail in which little fits.
                Ok(looked) if looked.is_more && Instant::now() < quiet => continue,
                Ok(looked) if looked.is_more => return Some((self.sign("it searches"), Some(self))),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "who follows the events cannot read on");
                    let what = serde_json::json!({ "detail": error.to_string() });
                    return Some((format!("event: failed\ndata: {what}\n\n").into(), None));
                }
            }
            if Instant::now() >= quiet {
                return Some((self.sign("nothing happens"), Some(self)));
            }
            let pause = Instant::now() + LOOKED_AT_EVERY;
            if timeout_at(pause, self.stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                return None;
            }
        }
    }

    /// With what the other gateways told.
    fn with_others(&mut self, mut looked: Looked) -> Looked {
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.add(&self.judge, &mut looked.text);
        }
        looked
    }

    /// A sign of life.
    fn sign(&self, words: &str) -> Bytes {
        format!(": {words}\n\n{}", at(&self.follow)).into()
    }

    /// Reads what there is, up to a piece.
    fn look(&mut self) -> Result<Looked, ReadError> {
        let mut text = String::new();
        for _ in 0..LINES {
            match self.follow.advance()? {
                Next::Nothing => return Ok(Looked { text, is_more: false }),
                Next::Gap => text.push_str("event: gap\ndata: {\"detail\":\"events may be missing here: the files that held them were removed or truncated\"}\n\n"),
                Next::Line(line) => {
                    if self.judge.fits(&line).is_some()
                        && let (Some(id), Ok(line)) = (id_of(&line), std::str::from_utf8(&line))
                    {
                        // Writing to a String cannot fail.
                        let _ = write!(text, "id: {id}\ndata: {line}\n\n");
                    }
                }
            }
            if text.len() >= PIECE {
                break;
            }
        }
        Ok(Looked { text, is_more: true })
    }
}
