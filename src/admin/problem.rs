//! What is answered when a call is refused or fails: `application/problem+json` (RFC 9457).

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

/// Why a call was not answered as asked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the status says which kind it is
    #[serde(rename = "type")]
    kind: &'static str,
    /// The name of the status
    title: &'static str,
    /// The status of HTTP
    status: u16,
    /// A sentence: what is wrong, and what would be right
    detail: String,
    /// Who was recognised and refused nevertheless.
    #[serde(skip)]
    caller: Option<Arc<str>>,
}

/// The sentence of a problem, for the event of the call.
#[derive(Debug, Clone)]
pub(super) struct Detail(pub(super) String);

/// Who was recognised and refused nevertheless, for the event of the call.
#[derive(Debug, Clone)]
pub(super) struct Recognised(pub(super) Arc<str>);

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Error");
        Problem { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), caller: None }
    }

    /// The same for somebody who was recognised.
    pub(super) fn of_caller(self, name: Arc<str>) -> Problem {
        Problem { caller: Some(name), ..self }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn wrong(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The sentence alone.
    pub(super) fn sentence(self) -> String {
        self.detail
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (detail, caller) = (Detail(self.detail.clone()), self.caller.clone());
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"lockgate\""));
        }
        response.extensions_mut().insert(detail);
        if let Some(name) = caller {
            response.extensions_mut().insert(Recognised(name));
        }
        response
    }
}

/// The query of a call.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(error) => Err(Problem::wrong(error.body_text())),
        }
    }
}

/// The body of a call.
#[derive(Debug)]
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(given)) => Ok(Given(given)),
            Err(error) => Err(Problem::new(error.status(), error.body_text())),
        }
    }
}
