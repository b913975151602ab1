//! The configuration that is in force, without its secrets, and what waits for a reload or a restart.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::problem::Problem;
use super::settings::RELOADED_KEYS;
use super::state::State;
use super::{Unread, Wish, Written};

/// How long reading the file may take, those before included who read it at the moment.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// The configuration
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Configuration {
    /// What is in force, as it was written; secrets are `(masked)`
    #[schema(value_type = Object)]
    configuration: Value,
    /// The parts that the file has otherwise now, and that a reload changes
    waits_for_reload: Vec<String>,
    /// The parts that the file has otherwise now, and that only a restart changes
    waits_for_restart: Vec<String>,
    /// Where the file, or what it refers to, has another secret now; up to a hundred places
    secrets_changed: Vec<String>,
    /// Whether a reload reads a file; a demo has none
    has_file: bool,
    /// Why the file cannot be used as it is now
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The configuration in force, secrets masked, and what of the file waits for a reload or a restart
#[utoipa::path(get, path = "/config", tag = "state", responses(
    (status = 200, description = "The configuration", body = Configuration),
    (status = 503, description = "The file takes long to read, or the gateway is ending", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show(Shared(state): Shared<Arc<State>>) -> Result<Json<Configuration>, Problem> {
    let (answer, answered) = oneshot::channel();
    let wished = state.around.wishes.send(Wish::Read(answer)).await;
    wished.map_err(|_| Problem::unavailable("the gateway is ending"))?;
    let read = timeout(READ_WITHIN, answered).await;
    let read = read.map_err(|_| Problem::unavailable("the configuration takes long to read"))?;
    let read = read.map_err(|_| Problem::unavailable("the gateway is ending"))?;
    // After the file was read: what a reload has brought meanwhile is in force.
    let last = state.around.inside.borrow().written.clone();
    let in_force = in_force(&state.around.written, &last);
    let mut answer = Configuration {
        configuration: Value::Null,
        waits_for_reload: Vec::new(),
        waits_for_restart: Vec::new(),
        secrets_changed: Vec::new(),
        has_file: !matches!(read, Err(Unread::NoFile)),
        problem: None,
    };
    match read {
        Ok(found) => {
            answer.secrets_changed = changed(&state.around.written, &last, &found.written);
            let mut differing = differing(&in_force, &found.written.document);
            differing.extend(answer.secrets_changed.iter().map(|place| part_of(place).to_owned()));
            differing.retain(|part| !found.written.fixed.contains(&part.as_str()));
            differing.sort();
            differing.dedup();
            answer.waits_for_reload = differing;
            answer.waits_for_restart = found.waits_for_restart;
            answer.secrets_changed.truncate(MOST_SECRETS);
        }
        Err(Unread::NoFile) => {}
        Err(Unread::Wrong(problem)) => answer.problem = Some(problem),
    }
    answer.configuration = Value::Object(in_force);
    Ok(Json(answer))
}

/// The most places of changed secrets that are shown.
const MOST_SECRETS: usize = 100;

/// Where a secret is another one than that in force, or is new or gone. What they are is not said.
fn changed(started: &Written, last: &Written, found: &Written) -> Vec<String> {
    let in_force = |place: &str| match started.fixed.contains(&part_of(place)) {
        true => started.hidden.get(place),
        false => last.hidden.get(place),
    };
    let all = [started, last, found].into_iter().flat_map(|written| written.hidden.keys());
    let mut changed: Vec<String> = all.filter(|place| in_force(place) != found.hidden.get(*place)).cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}

/// The part of the configuration that a reload or a restart changes as a whole.
fn part_of(place: &str) -> &str {
    let key = |text: &str| text.find(['.', '[']).unwrap_or(text.len());
    let end = match place.strip_prefix("admin.") {
        Some(rest) if RELOADED_KEYS.contains(&&rest[..key(rest)]) => "admin.".len() + key(rest),
        _ => key(place),
    };
    &place[..end]
}

/// What was read last, but for the parts that hold from the start on.
fn in_force(started: &Written, last: &Written) -> Map<String, Value> {
    let mut document = last.document.clone();
    for part in started.fixed {
        match started.document.get(*part) {
            Some(value) => _ = document.insert((*part).to_owned(), value.clone()),
            None => _ = document.remove(*part),
        }
    }
    // The one part of which a reload changes something: who is let in.
    if let Some(Value::Object(admin)) = document.get_mut("admin") {
        for key in RELOADED_KEYS {
            match last.document.get("admin").and_then(|admin| admin.get(*key)) {
                Some(value) => _ = admin.insert((*key).to_owned(), value.clone()),
                None => _ = admin.remove(*key),
            }
        }
    }
    document
}

fn differing(now: &Map<String, Value>, then: &Map<String, Value>) -> Vec<String> {
    let mut parts: Vec<String> = now.keys().chain(then.keys()).cloned().collect();
    parts.sort();
    parts.dedup();
    let mut differing: Vec<String> = parts.into_iter().filter(|part| now.get(part) != then.get(part)).collect();
    let of = |document: &Map<String, Value>, key: &str| document.get("admin").and_then(|admin| admin.get(key).cloned());
    let reloaded = RELOADED_KEYS.iter().filter(|key| of(now, key) != of(then, key));
    differing.extend(reloaded.map(|key| format!("admin.{key}")));
    differing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(document: Value) -> Written {
        let document = document.as_object().cloned().unwrap_or_default();
        Written { document, fixed: &["server", "admin"], ..Written::default() }
    }

    #[test]
    fn a_changed_secret_is_told_by_its_place_against_what_is_in_force() {
        let hidden = |pairs: &[(&str, u8)]| Written {
            hidden: pairs.iter().map(|(place, value)| ((*place).to_owned(), [*value; 32])).collect(),
            fixed: &["events", "admin"],
            ..Written::default()
        };
        let (users, sink, oidc) = ("users[0].password_hash", "events[0].headers.x", "admin.oidc.client_secret");
        let started = hidden(&[(users, 1), (sink, 1), (oidc, 1)]);
        let last = hidden(&[(users, 2), (sink, 2), (oidc, 2)]);
        let told = |found: &[(&str, u8)]| changed(&started, &last, &hidden(found));
        assert_eq!(told(&[(users, 2), (sink, 1), (oidc, 2)]), Vec::<String>::new());
        assert_eq!(told(&[(users, 1), (sink, 2), (oidc, 1)]), [oidc, sink, users]);
        assert_eq!(told(&[(users, 2), (sink, 1), (oidc, 2), ("stores.a.url", 1)]), ["stores.a.url"]);
        assert_eq!(told(&[(sink, 1), (oidc, 2)]), [users]);
        for (place, part) in [
            (users, "users"),
            (sink, "events"),
            (oidc, "admin.oidc"),
            ("admin.tokens[0].hash", "admin.tokens"),
            ("admin.x", "admin"),
        ] {
            assert_eq!(part_of(place), part);
        }
    }

    #[test]
    fn what_holds_from_the_start_stays_in_force() {
        let started =
            written(json!({ "server": { "name": "a" }, "users": [1], "admin": { "socket": "s", "tokens": [1] } }));
        let last = written(
            json!({ "server": { "name": "b" }, "users": [2], "limits": {}, "admin": { "socket": "t", "tokens": [2] } }),
        );
        let now = in_force(&started, &last);
        let expected =
            json!({ "server": { "name": "a" }, "users": [2], "limits": {}, "admin": { "socket": "s", "tokens": [2] } });
        assert_eq!(Value::Object(now.clone()), expected);
        assert_eq!(differing(&now, &last.document), ["admin", "server"]);
        assert_eq!(differing(&now, &started.document), ["admin", "limits", "users", "admin.tokens"]);
    }
}
