//! The routes, and the description that is made of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::state::State;
use super::{
    bans, chain, configuration, connections, control, fleet, guard, health, login, now, page, provider_login,
    recordings, sessions, stream, trail, users,
};

/// The largest body of a call, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Where the API is.
const BASE: &str = "/api/v1";

/// All that the doors serve.
pub(super) fn router(state: &Arc<State>) -> Router {
    let (router, _) = documented(state).split_for_parts();
    let text: Arc<str> = description().into();
    let described = get(move || async move { ([(CONTENT_TYPE, "application/json")], text.to_string()) });
    router
        .route("/openapi.json", described)
        .merge(page::router())
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(state.clone(), guard::check_names))
        .layer(map_response(harden))
        .with_state(state.clone())
}

/// Health and metrics alone, for the listener that asks nobody who they are.
pub(super) fn health_router(state: &Arc<State>) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics_for_all))
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .layer(map_response(harden))
        .layer(map_response(close))
        .with_state(state.clone())
}

/// The description of the API: OpenAPI 3.1, in JSON.
pub fn description() -> String {
    let mut api = routes().into_openapi();
    api.merge(open_routes().into_openapi());
    api.merge(numbers().into_openapi());
    api.merge(logging_in().into_openapi());
    let head: OpenApi = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Lockgate's admin door")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("Live sessions, users, events and bans of a gateway, and what an operator may do about them. docs/OPERATE.md explains it.")),
        )
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build();
    api.info = head.info;
    api.security = head.security;
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    api.components.get_or_insert_default().add_security_scheme("token", scheme);
    let mut described = serde_json::to_value(&api).unwrap_or_default();
    describe_refusals(&mut described);
    describe_parameters(&mut described);
    describe_streams(&mut described);
    format!("{described:#}")
}

/// What every call may be answered with beside what its handler says.
const REFUSALS: &[(&str, &str)] = &[
    ("401", "No valid token"),
    ("403", "The role does not suffice, or a page of another origin called"),
    ("408", "The call took too long"),
    ("413", "The body is too large"),
    ("415", "The body is not JSON"),
    ("421", "The name in `Host` is not one of the gateway's"),
    ("422", "The body is JSON, and not what is needed"),
    ("503", "The call cannot be recorded, or the gateway is ending"),
];

fn describe_refusals(described: &mut Value) {
    let Some(paths) = described["paths"].as_object_mut() else { return };
    for (path, methods) in paths.iter_mut() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            // The names of functions come more than once.
            operation["operationId"] = operation_id(method, path).into();
        }
    }
    for (_, methods) in paths.iter_mut().filter(|(path, _)| path.starts_with(BASE) || *path == "/metrics") {
        for operation in methods.as_object_mut().into_iter().flat_map(|methods| methods.values_mut()) {
            let Some(responses) = operation["responses"].as_object_mut() else { continue };
            for (status, description) in REFUSALS {
                let schema = json!({ "$ref": "#/components/schemas/Problem" });
                let content = json!({ "application/problem+json": { "schema": schema } });
                let refusal = json!({ "description": description, "content": content });
                responses.entry(*status).or_insert(refusal);
            }
        }
    }
}

/// What a message of a stream is: its fields, of which `data` is JSON in a text (as OpenAPI 3.2 describes server-sent events, and tools for
/// 3.1 read them).
fn describe_streams(described: &mut Value) {
    let data =
        |schema: Value| json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema });
    let moment = json!({ "$ref": "#/components/schemas/Moment" });
    let moments = json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": { "event": { "const": "now" }, "data": data(moment) },
    });
    let events = json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "event": { "enum": ["message", "elsewhere", "fleet", "gap", "failed"] },
            "data": data(json!({ "type": "object" })),
        },
    });
    for (path, schema) in [("/status/stream", moments), ("/events/stream", events)] {
        let answer = &mut described["paths"][format!("{BASE}{path}")]["get"]["responses"]["200"];
        answer["content"]["text/event-stream"]["schema"] = schema;
    }
}

/// What a parameter may be, where its type does not say: the path, the name, the words or the pattern or the format.
const PARAMETERS: &[(&str, &str, Shape)] = &[
    ("/events", "format", Shape::Words(&["json", "ndjson", "csv"])),
    ("/events", "status", Shape::Words(&["success", "denied", "failure"])),
    ("/events", "before", Shape::Pattern("^[0-9A-Fa-f-]{36}$")),
    ("/events", "since", Shape::Format("date-time")),
    ("/events", "until", Shape::Format("date-time")),
    ("/events/stream", "status", Shape::Words(&["success", "denied", "failure"])),
    ("/events/stream", "gateways", Shape::Words(&["own", "all"])),
    ("/events/stream", "after", Shape::Pattern("^[0-9A-Fa-f-]{36}$")),
    ("/connections", "status", Shape::Words(&["open", "closed"])),
    ("/connections", "before", Shape::Pattern("^[0-9A-Fa-f-]{36}$")),
    ("/recordings/{session}", "format", Shape::Words(&["json", "text", "asciicast"])),
    ("/recordings/{session}", "session", Shape::Pattern("^[0-9A-Fa-f]{20}$")),
];

/// See [`PARAMETERS`].
enum Shape {
    Words(&'static [&'static str]),
    Pattern(&'static str),
    Format(&'static str),
}

fn describe_parameters(described: &mut Value) {
    for (path, name, shape) in PARAMETERS {
        let Some(methods) = described["paths"][format!("{BASE}{path}")].as_object_mut() else { continue };
        let parameters = methods.values_mut().filter_map(|operation| operation["parameters"].as_array_mut()).flatten();
        for parameter in parameters.filter(|parameter| parameter["name"] == *name) {
            parameter["schema"] = match shape {
                Shape::Words(words) => json!({ "type": "string", "enum": words }),
                Shape::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
                Shape::Format(format) => json!({ "type": "string", "format": format }),
            };
        }
    }
}

/// `get_sessions_id` for `GET /api/v1/sessions/{id}`
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix(BASE).unwrap_or(path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn documented(state: &Arc<State>) -> OpenApiRouter<Arc<State>> {
    let recorded = routes().layer(from_fn_with_state(state.clone(), guard::admit_and_record));
    let numbers = numbers().layer(from_fn_with_state(state.clone(), guard::admit));
    let logging_in = logging_in().layer(from_fn_with_state(state.clone(), guard::admit_login));
    OpenApiRouter::new().merge(recorded).merge(numbers).merge(logging_in).merge(open_routes())
}

/// What is recorded.
fn routes() -> OpenApiRouter<Arc<State>> {
    let api = OpenApiRouter::new()
        .routes(routes!(control::status))
        .routes(routes!(now::stream))
        .routes(routes!(login::me))
        .routes(routes!(login::logout))
        .routes(routes!(login::link))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::show, sessions::end))
        .routes(routes!(fleet::show))
        .routes(routes!(health::stores))
        .routes(routes!(users::list))
        .routes(routes!(users::show))
        .routes(routes!(users::show_named))
        .routes(routes!(connections::list))
        .routes(routes!(configuration::show))
        .routes(routes!(chain::show))
        .routes(routes!(chain::verify))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(trail::events))
        .routes(routes!(stream::stream))
        .routes(routes!(recordings::show))
        .routes(routes!(control::reload))
        .routes(routes!(control::drain));
    OpenApiRouter::new().nest(BASE, api)
}

/// What everybody may try.
fn logging_in() -> OpenApiRouter<Arc<State>> {
    let api = OpenApiRouter::new()
        .routes(routes!(login::login))
        .routes(routes!(provider_login::begin))
        .routes(routes!(provider_login::finish));
    OpenApiRouter::new().nest(BASE, api)
}

fn numbers() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::new().routes(routes!(health::metrics))
}

/// What needs nobody to be known.
fn open_routes() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready))
}

async fn nothing(Shared(_): Shared<Arc<State>>) -> Problem {
    Problem::not_found("there is nothing here; /openapi.json says what there is")
}

async fn not_so() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here; /openapi.json says which are")
}

/// Whoever asks how the gateway is asks once.
async fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// No answer is guessed at, framed or kept by anybody in between.
async fn harden(response: Response) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers
        .entry("content-security-policy")
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}
