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
use super::state::State;
use super::{Wish, Written};

/// How long reading the file may take.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// The configuration
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Configuration {
    /// What is in force, as it was written; secrets are `(masked)`
    #[schema(value_type = Object)]
    configuration: Value,
    /// The parts that the file has otherwise now, and that a reload changes. Masked values are not compared
    waits_for_reload: Vec<String>,
    /// The parts that the file has otherwise now, and that only a restart changes
    waits_for_restart: Vec<String>,
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
    let in_force = in_force(&state.around.written, &state.around.inside.borrow().written);
    let (waits_for_reload, waits_for_restart, problem) = match read {
        Ok(found) => {
            let differing = differing(&in_force, &found.written.document);
            let reload = differing.into_iter().filter(|part| !found.written.fixed.contains(&part.as_str())).collect();
            (reload, found.waits_for_restart, None)
        }
        Err(problem) => (Vec::new(), Vec::new(), Some(problem)),
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
        for key in RELOADED {
            match last.document.get("admin").and_then(|admin| admin.get(*key)) {
                Some(value) => _ = admin.insert((*key).to_owned(), value.clone()),
                None => _ = admin.remove(*key),
            }
        }
    }
    document
}

/// The keys of `admin` that a reload changes.
const RELOADED: &[&str] = &["tokens", "oidc"];

fn differing(now: &Map<String, Value>, then: &Map<String, Value>) -> Vec<String> {
    let mut parts: Vec<String> = now.keys().chain(then.keys()).cloned().collect();
    parts.sort();
    parts.dedup();
    let mut differing: Vec<String> = parts.into_iter().filter(|part| now.get(part) != then.get(part)).collect();
    let of = |document: &Map<String, Value>, key: &str| document.get("admin").and_then(|admin| admin.get(key).cloned());
    let reloaded = RELOADED.iter().filter(|key| of(now, key) != of(then, key));
    differing.extend(reloaded.map(|key| format!("admin.{key}")));
    differing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(document: Value) -> Written {
        let document = document.as_object().cloned().unwrap_or_default();
        Written { document, fixed: &["server", "admin"] }
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
