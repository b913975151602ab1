//! How a browser logs in with an identity provider: sent there, and back to the page, which hands over what it was sent back with. So
//! the cookies stay strict, and only the page itself can finish a login.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::header::{HeaderMap, ORIGIN, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::caller::Peer;
use super::login::{self, Cookie, Me};
use super::oidc::{self, ATTEMPT_FOR, Finish, Provider};
use super::problem::{Given, Problem};
use super::state::State;

/// The view that the provider sends the browser back to; with the page's origin before it, it is what is registered there.
pub(super) const CALLBACK: &str = "/login/callback";

/// Where a browser goes to log in
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Begin {
    /// The provider's address, with all that belongs to this login
    url: String,
}

/// Begins a login with the identity provider: the answer sets a cookie that lets this browser finish it
#[utoipa::path(post, path = "/login/oidc", tag = "page", security(()), responses(
    (status = 200, description = "Where the browser goes now", body = Begin),
    (status = 400, description = "Only a page of a browser can begin", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No identity provider is configured", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn begin(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Result<Response, Problem> {
    let provider = provider(&state)?;
    let begun = provider.begin(&redirect_uri(&headers)?).await?;
    let cookie = login::set_cookie(state.cookies, &headers, Cookie::Attempt, Some((&begun.attempt, ATTEMPT_FOR)));
    let cookie = cookie.ok_or_else(|| Problem::wrong("the header `Host` is odd"))?;
    Ok(([(SET_COOKIE, cookie)], Json(Begin { url: begun.url })).into_response())
}

/// What the provider sent the browser back with
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SentBack {
    /// `code` of the address
    code: String,
    /// `state` of the address
    state: String,
    /// `iss` of the address, where the provider sends one
    issuer: Option<String>,
}

/// Finishes a login with the identity provider: the answer sets a cookie
#[utoipa::path(post, path = "/login/oidc/finish", tag = "page", security(()), request_body = SentBack, responses(
    (status = 200, description = "Logged in", body = Me),
    (status = 400, description = "Only a page of a browser can finish", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The login was not begun in this browser, took too long, or the code was used", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The provider knows the person, who has no role here", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No identity provider is configured", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The provider does not answer, or many logins fail at the moment", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn finish(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Given(sent): Given<SentBack>,
) -> Result<Response, Problem> {
    let provider = provider(&state)?;
    let redirect_uri = redirect_uri(&headers)?;
    let attempt = login::cookie(state.cookies, &headers, Cookie::Attempt).unwrap_or_default();
    let finish = Finish {
        attempt: &attempt,
        state: &sent.state,
        code: &sent.code,
        issuer: sent.issuer.as_deref(),
        redirect_uri: &redirect_uri,
        from: client(&peer, &headers, state.is_behind_proxy),
    };
    let grant = oidc::grant_of_login(&provider, finish).await?;
    // What was in force when the provider was asked may not be any more.
    let grant = grant.now(&state.trust(), chrono::Utc::now());
    let grant =
        grant.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "the configuration changed; log in again"))?;
    let mut response = login::enter(&state, &headers, grant)?;
    // The attempt is over.
    let gone = login::set_cookie(state.cookies, &headers, Cookie::Attempt, None);
    response.headers_mut().extend(gone.map(|gone| (SET_COOKIE, gone)));
    Ok(response)
}

fn provider(state: &State) -> Result<Arc<Provider>, Problem> {
    let provider = state.provider()?;
    provider.ok_or_else(|| Problem::not_found("no identity provider is configured (admin.oidc)"))
}

/// The header in which proxies name whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that failed logins are counted for. Behind a proxy all connections are of the proxy: there it is what the proxy has added
/// to the header, at its end; `None` when it adds nothing.
fn client(peer: &Peer, headers: &HeaderMap, is_behind_proxy: bool) -> Option<IpAddr> {
    if !is_behind_proxy {
        return peer.address().map(|address| address.ip());
    }
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    let address = last.parse::<IpAddr>().or_else(|_| last.parse::<SocketAddr>().map(|address| address.ip()));
    address.or_else(|_| last.trim_matches(['[', ']']).parse()).ok()
}

/// Where the provider sends the browser back to: the page that called. Its name was checked to be one of ours, and the provider knows
/// which of them are registered.
fn redirect_uri(headers: &HeaderMap) -> Result<String, Problem> {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.filter(|origin| origin.starts_with("https://") || origin.starts_with("http://"));
    let origin = origin.ok_or_else(|| Problem::wrong("only a page in a browser can log in this way"))?;
    Ok(format!("{origin}{CALLBACK}"))
}

/// What the page may know before anybody has logged in: whether there is a provider, and its host.
pub(super) async fn ways(Shared(state): Shared<Arc<State>>) -> Response {
    let oidc = state.trust().oidc;
    let host: Value = oidc.map_or(Value::Null, |oidc| oidc.issuer.host().into());
    let mut response = Json(json!({ "provider": host })).into_response();
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_comes_back_to_the_page_that_it_left() {
        let of = |origin: &str| {
            let headers = [(ORIGIN, origin.parse().unwrap())].into_iter().collect();
            redirect_uri(&headers).ok()
        };
        assert_eq!(of("https://admin.example.org").as_deref(), Some("https://admin.example.org/login/callback"));
        assert_eq!(of("http://127.0.0.1:8022").as_deref(), Some("http://127.0.0.1:8022/login/callback"));
        assert_eq!((of("null"), of("")), (None, None));
        assert!(redirect_uri(&HeaderMap::new()).is_err());
    }

    #[test]
    fn behind_a_proxy_a_login_counts_for_whom_the_proxy_names() {
        let peer = Peer::Remote("127.0.0.1:9".parse().unwrap());
        let of = |values: &[&str], is_behind_proxy| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| _ = headers.append(FORWARDED_FOR, value.parse().unwrap()));
            client(&peer, &headers, is_behind_proxy).map(|address| address.to_string())
        };
        assert_eq!(of(&["192.0.2.7"], false).as_deref(), Some("127.0.0.1"), "anybody can write it");
        assert_eq!(of(&["192.0.2.7"], true).as_deref(), Some("192.0.2.7"));
        assert_eq!(
            of(&["10.0.0.1, 192.0.2.7:4711"], true).as_deref(),
            Some("192.0.2.7"),
            "what the client wrote comes first"
        );
        assert_eq!(of(&["10.0.0.1", "[2001:db8::1]"], true).as_deref(), Some("2001:db8::1"));
        assert_eq!(of(&["2001:db8::2"], true).as_deref(), Some("2001:db8::2"));
        assert_eq!((of(&[], true), of(&["unknown"], true)), (None, None));
    }
}
