//! The users, and why one of them cannot log in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Inside;
use super::attempts;
use super::caller::{Caller, Peer};
use super::everyone::{Everyone, Of};
use super::last_logins::{self, LastLogins};
use super::obstacles::{cautions_of, obstacle_of_keys, obstacles_of};
use super::problem::{Asked, Problem};
use super::reads::Waiting;
use super::state::State;
use crate::audit::read::Event;
use crate::users::{Attempt, AuthMode, Directory, Revoked, Totp, User};

/// Questions to the sources of users at once, over the socket and over the network, and how many of the latter for one caller: an
/// identity provider answers logins first.
pub(super) const QUESTIONS: usize = 4;
pub(super) const QUESTIONS_OF_CALLER: usize = 2;

/// The most users of one answer, and how many there are if nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// A user, in a list
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserLine {
    name: String,
    /// `configuration`, or a source of `users_from`
    source: String,
    /// Whether the user may log in at all
    enabled: bool,
    /// From when on not any more
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// How many keys
    keys: usize,
    /// Live sessions, at all gateways of a fleet, without those at targets: they have a limit of their own
    sessions: usize,
    /// When the last login that succeeded was, with `last_login=true` and as far as the trail was searched
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login: Option<String>,
}

/// Users by name; those of identity providers are known to these alone, and not in it
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    users: Vec<UserLine>,
    /// How many there are in all pages
    total: usize,
    /// What `after` is for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Why the trail does not say more of last logins, if it does not
    #[serde(skip_serializing_if = "Option::is_none")]
    trail: Option<String>,
}

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many, 100 if left out
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Those that follow this name: the `next` of the page before
    after: Option<String>,
    /// Whether to look for the last login of each, which reads the trail
    last_login: Option<bool>,
}

/// The users of the configuration and of folders of keys
#[utoipa::path(get, path = "/users", tag = "users", params(Which), responses(
    (status = 200, description = "A page of them", body = Users),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Extension(waiting): Extension<Waiting>,
    Asked(which): Asked<Which>,
) -> Result<Json<Users>, Problem> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit must be from 1 to {MOST}")));
    }
    let directory = state.around.inside.borrow().directory.clone();
    let mut all = directory.known();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let total = all.len();
    let rest = all.iter().filter(|user| which.after.as_deref().is_none_or(|after| *user.name > *after));
    let mut page: Vec<_> = rest.take(limit + 1).collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|user| user.name.to_string());
    let mut last = match which.last_login {
        Some(true) => last_logins::of(&state, &waiting, page.iter().map(|user| user.name.to_string()).collect()).await,
        _ => LastLogins::default(),
    };
    let everyone = Everyone::of(&state).await;
    let live = everyone.all();
    let line = |user: &&Arc<User>| UserLine {
        name: user.name.to_string(),
        source: user.source.to_string(),
        enabled: user.enabled,
        expires: user.bounds.expires.map(shown),
        keys: user.keys.len(),
        sessions: own_sessions(&live, &user.name),
        last_login: last.of.get(&*user.name).cloned(),
    };
    let users = page.iter().map(line).collect();
    Ok(Json(Users { users, total, next, trail: last.trail.take() }))
}

/// A user, and all that decides whether he or she can log in
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserShown {
    name: String,
    /// Whether a source has such a user
    found: bool,
    /// What stands in the way of a login, a sentence each; empty when nothing is known to
    obstacles: Vec<String>,
    /// With which keys a login fails although others let in, a sentence each: those that are revoked, or whose time is over
    cautions: Vec<String>,
    /// What is configured; absent when there is no such user
    #[serde(skip_serializing_if = "Option::is_none")]
    configured: Option<Configured>,
    /// Live sessions, at all gateways of a fleet, without those at targets: they have a limit of their own
    sessions: usize,
    /// The last login that succeeded, as far back as the trail was searched
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<AttemptShown>,
    /// Those of the last twenty attempts that failed, newest first
    failures: Vec<AttemptShown>,
    /// Why the trail does not say more, if it does not: it cannot be read, or was searched no further back than this
    #[serde(skip_serializing_if = "Option::is_none")]
    trail: Option<String>,
}

/// What is configured for a user
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Configured {
    /// `configuration`, or a source of `users_from`
    source: String,
    /// `public_key`, `password`, `public_key_or_password`, `public_key_and_password`
    auth: &'static str,
    enabled: bool,
    /// From when on not any more
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// From where; empty: from everywhere
    allow_from: Vec<String>,
    /// Sessions at once
    #[serde(skip_serializing_if = "Option::is_none")]
    most_sessions: Option<usize>,
    /// Whether a password is set
    has_password: bool,
    /// `totp` when a one-time code is needed after them
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor: Option<&'static str>,
    keys: Vec<UserKey>,
    home: Vec<HomeShown>,
    /// Where the user may jump to, and as whom
    targets: Vec<String>,
}

/// A key of a user
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserKey {
    #[serde(rename = "type")]
    kind: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// Whether it is the key of an authority, whose certificates are taken
    authority: bool,
    /// Whether its `expiry-time=` is over
    expired: bool,
    /// Whether it is revoked (`revoked_keys`)
    revoked: bool,
    /// Of an authority: whether single certificates of it are revoked, by their numbers or key ids
    certificates_revoked: bool,
}

/// An entry of a home
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HomeShown {
    entry: String,
    /// The store and the folder in it
    target: String,
    /// As in the configuration: `read_only`, `read_write`, `write_only`, `none`, or the names of those that are granted, joined by commas
    permissions: String,
}

/// An attempt to log in
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptShown {
    time: String,
    address: String,
    method: String,
    /// Why it failed, as in the event
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The key that was offered
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    session: String,
}

/// From where a login would come.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// The address whose login is judged; that of the last attempt if left out
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
}

/// Whom, and from where a login would come.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// The login name
    name: String,
    /// The address whose login is judged; that of the last attempt if left out
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
}

/// The same as `/users/{name}`, for every name: `.` and `..` cannot stand in an address
#[utoipa::path(get, path = "/user", tag = "users", params(Named), responses(
    (status = 200, description = "What is known, also of a user who does not exist", body = UserShown),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_named(
    state: Shared<Arc<State>>,
    waiting: Extension<Waiting>,
    caller: Extension<Caller>,
    peer: Extension<Peer>,
    Asked(Named { name, address }): Asked<Named>,
) -> Result<Json<UserShown>, Problem> {
    if name.is_empty() {
        return Err(Problem::wrong("name: a login name is not empty"));
    }
    show(state, waiting, caller, peer, Path(name), Asked(From { address })).await
}

/// One user: configured how, last logins, and what stands in the way of the next one
#[utoipa::path(get, path = "/users/{name}", tag = "users", params(From, ("name" = String, Path, description = "The login name")), responses(
    (status = 200, description = "What is known, also of a user who does not exist", body = UserShown),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(
    Shared(state): Shared<Arc<State>>,
    Extension(waiting): Extension<Waiting>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    Asked(from): Asked<From>,
) -> Result<Json<UserShown>, Problem> {
    let attempts = attempts::of(&state, &waiting, &name).await.unwrap_or_else(attempts::Attempts::unread);
    let attempts::Attempts { success, failures, trail } = attempts;
    let last_success = success.as_ref().map(AttemptShown::of);
    let failures: Vec<AttemptShown> = failures.iter().map(AttemptShown::of).collect();
    let last = last_of(&failures, last_success.as_ref()).and_then(|attempt| attempt.address.parse().ok());
    let address = from.address.or(last);
    let Inside { directory, authorities, revoked, .. } = state.around.inside.borrow().clone();
    // A provider is asked as for a login from there.
    let asked = Attempt { source_ip: address.unwrap_or(IpAddr::from([127, 0, 0, 1])) };
    let found = match state.questions.take(&peer, &caller) {
        Ok(_place) => directory.find(&name, &asked).await.map_err(|error| error.to_string()),
        Err(_) => known(&*directory, &name),
    };
    let sessions = own_sessions(&Everyone::of(&state).await.all(), &name);
    let (mut obstacles, mut cautions) = (Vec::new(), Vec::new());
    let configured = match found {
        Ok(Some(user)) => {
            obstacles = obstacles_of(&user, address, sessions);
            let of_keys = obstacle_of_keys(&user, &authorities, &revoked);
            if of_keys.is_none() {
                cautions =
                    cautions_of(&user, &revoked, last_success.as_ref().and_then(|last| last.fingerprint.as_deref()));
            }
            obstacles.extend(of_keys);
            Some(Configured::of(&user, &revoked))
        }
        Ok(None) => {
            obstacles.push("no source has a user of this name".to_owned());
            None
        }
        Err(what) => {
            obstacles.push(what);
            None
        }
    };
    if let Some((address, left)) = address.and_then(|ip| Some((ip, state.around.gate.banned_for(ip)?))) {
        let what =
            format!("{address} is banned for {} s more; `lockgate bans lift {address}` ends that", left.as_secs());
        obstacles.push(what);
    }
    let found = configured.is_some();
    Ok(Json(UserShown { name, found, obstacles, cautions, configured, sessions, last_success, failures, trail }))
}

/// A user of whom it is known without asking anybody. None else is looked for: the identity providers have enough to answer.
fn known(directory: &dyn Directory, name: &str) -> Result<Option<Arc<User>>, String> {
    let user = directory.known().into_iter().find(|user| *user.name == *name);
    let not_asked = || "not asked: too many such questions are under way; try again in a few seconds".to_owned();
    user.map(Some).ok_or_else(not_asked)
}

/// The last attempt, whether it failed or succeeded. Times of the trail have one form, so their texts are in their order.
fn last_of<'a>(failures: &'a [AttemptShown], success: Option<&'a AttemptShown>) -> Option<&'a AttemptShown> {
    success.into_iter().chain(failures.first()).max_by(|one, other| one.time.cmp(&other.time))
}

/// How many live sessions of a user, at all gateways of a fleet, count for the user's limit: those at targets are counted apart, as the
/// registry does.
fn own_sessions(live: &[Of<'_>], name: &str) -> usize {
    live.iter().map(Of::live).filter(|live| *live.user == *name && live.jump.is_none()).count()
}

impl Configured {
    fn of(user: &User, revoked: &Revoked) -> Configured {
        let now = Utc::now();
        let keys = user.keys.iter().map(|key| UserKey {
            kind: key.key_type().to_owned(),
            fingerprint: key.fingerprint(),
            comment: key.comment().map(str::to_owned),
            authority: key.is_authority(),
            expired: key.is_expired(now),
            revoked: revoked.revokes(key.blob(), None),
            certificates_revoked: key.is_authority() && revoked.has_rules_for(key.blob()),
        });
        let home = user.home.iter().map(|entry| HomeShown {
            entry: entry.entry.to_string(),
            target: format!("{}:/{}", entry.store, entry.target),
            permissions: entry.permissions.to_string(),
        });
        Configured {
            source: user.source.to_string(),
            auth: match user.auth {
                AuthMode::PublicKey => "public_key",
                AuthMode::Password => "password",
                AuthMode::PublicKeyOrPassword => "public_key_or_password",
                AuthMode::PublicKeyAndPassword => "public_key_and_password",
            },
            enabled: user.enabled,
            expires: user.bounds.expires.map(shown),
            allow_from: user.bounds.allow_from.iter().map(ToString::to_string).collect(),
            most_sessions: user.bounds.sessions,
            has_password: user.password.is_some(),
            second_factor: (!matches!(user.totp, Totp::NotNeeded)).then_some("totp"),
            keys: keys.collect(),
            home: home.collect(),
            targets: user.targets.iter().map(ToString::to_string).collect(),
        }
    }
}

impl AttemptShown {
    fn of(event: &Event) -> AttemptShown {
        let maybe = |name: &str| Some(event.text(name).to_owned()).filter(|text| !text.is_empty());
        AttemptShown {
            time: event.text("timestamp").to_owned(),
            address: event.text("source-ip").to_owned(),
            method: event.text("method").to_owned(),
            reason: maybe("reason"),
            fingerprint: maybe("ssh-public-key-fingerprint"),
            client: maybe("client"),
            session: event.text("session-id").to_owned(),
        }
    }
}

pub(super) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_is_the_newest_one_whether_it_failed_or_not() {
        let attempt = |second: u8| {
            let line = format!(
                r#"{{"activity-type":"CONNECTED","timestamp":"2026-07-31T08:15:{second:02}.000Z","source-ip":"192.0.2.{second}"}}"#
            );
            AttemptShown::of(&Event::parse(line.as_bytes()).expect("an event"))
        };
        let address = |failures: &[AttemptShown], success: Option<&AttemptShown>| {
            last_of(failures, success).map(|attempt| attempt.address.clone())
        };
        let failures = [attempt(7), attempt(3)];
        for (success, expected) in [(Some(9), "192.0.2.9"), (Some(5), "192.0.2.7"), (None, "192.0.2.7")] {
            assert_eq!(address(&failures, success.map(attempt).as_ref()).as_deref(), Some(expected));
        }
        assert_eq!(address(&[], Some(&attempt(4))).as_deref(), Some("192.0.2.4"));
        assert_eq!(address(&[], None), None);
    }
}
