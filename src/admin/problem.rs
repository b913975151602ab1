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

use super::settings::without_tokens;

/// The most bytes of what is said of a call that cannot be read: it may quote what the caller wrote.
const MOST_QUOTED: usize = 300;

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
    /// Tokens in `detail` are masked: it goes to the caller, the trail and the log, and may quote what a caller wrote.
    pub(super) fn new(status: StatusCode, detail: impl AsRef<str>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Error");
        let detail = without_tokens(detail.as_ref());
        Problem { kind: "about:blank", title, status: status.as_u16(), detail, caller: None }
    }

    /// For a query or a body that cannot be read, of which the reader said what is wrong.
    fn unread(status: StatusCode, said: &str) -> Problem {
        let mut problem = Problem::new(status, without_values(said));
        if problem.detail.len() > MOST_QUOTED {
            problem.detail.truncate(problem.detail.floor_char_boundary(MOST_QUOTED));
            problem.detail.push('…');
        }
        problem
    }

    /// The same for somebody who was recognised.
    pub(super) fn of_caller(self, name: Arc<str>) -> Problem {
        Problem { caller: Some(name), ..self }
    }

    pub(super) fn not_found(detail: impl AsRef<str>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn wrong(detail: impl AsRef<str>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn unavailable(detail: impl AsRef<str>) -> Problem {
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
            Err(error) => Err(Problem::unread(error.status(), &error.body_text())),
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
            Err(error) => Err(Problem::unread(error.status(), &error.body_text())),
        }
    }
}

/// What a reader says, without the texts that it quotes: a body that is not what was expected may be a secret of any form.
fn without_values(said: &str) -> String {
    let mut safe = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in said.chars() {
        match c {
            '"' if !is_escaped => {
                safe.push_str(if is_quoted { "…\"" } else { "\"" });
                is_quoted = !is_quoted;
            }
            _ if !is_quoted => safe.push(c),
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_wrote_is_not_repeated() {
        for (said, safe) in [
            (
                r#"invalid type: string "a \"b\\", expected struct X at line 1"#,
                r#"invalid type: string "…", expected struct X at line 1"#,
            ),
            ("unknown field `usr`, expected `user`", "unknown field `usr`, expected `user`"),
            (r#"string "cut"#, r#"string ""#),
        ] {
            assert_eq!(without_values(said), safe);
        }
        let token = "lgt_aB-_9";
        let problem = Problem::unread(StatusCode::BAD_REQUEST, &format!("unknown field `{token}`"));
        assert_eq!(problem.detail(), "unknown field `lgt_…`");
        assert_eq!(Problem::wrong(format!("there is no {token:?}")).detail(), "there is no \"lgt_…\"");
        let long = Problem::unread(StatusCode::BAD_REQUEST, &"é".repeat(1000));
        assert_eq!(long.detail().len(), MOST_QUOTED + "…".len());
    }
}
