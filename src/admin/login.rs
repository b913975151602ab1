//! How a person logs in to the page: with a token or a link, answered by a cookie that no script can read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::header::{COOKIE, HOST, HeaderName, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, bearer};
use super::logins::{Entered, Grant, LINK_FOR};
use super::oidc;
use super::problem::{Given, Problem};
use super::settings::{DoorSettings, Role, TokenHash, Trust};
use super::state::State;
use crate::secret::Secret;

/// Our cookies. The port follows the name, for browsers share cookies among all ports of a host.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cookie {
    /// Who has logged in.
    Login,
    /// Who has begun to log in with the identity provider.
    Attempt,
}

impl Cookie {
    fn name(self, port: u16) -> String {
        match self {
            Cookie::Login => format!("lockgate-{port}"),
            Cookie::Attempt => format!("lockgate-login-{port}"),
        }
    }
}

/// Before the name where the page comes over TLS: browsers keep others from setting such a cookie.
const HOST_PREFIX: &str = "__Host-";

/// Under which names cookies are set and found, decided once by how the page is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieNames {
    /// The page comes over TLS, the gateway's or that of what stands before it: only the name that browsers protect. Any host of the same
    /// site could set one of the plain name, and so log somebody in as somebody else.
    Prefixed,
    /// The page comes in clear from this machine, where browsers accept no prefix.
    Plain,
}

impl CookieNames {
    /// Of the door with these settings.
    pub(super) fn of(settings: &DoorSettings) -> CookieNames {
        match settings.tls.is_some() || settings.behind_proxy {
            true => CookieNames::Prefixed,
            false => CookieNames::Plain,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            CookieNames::Prefixed => HOST_PREFIX,
            CookieNames::Plain => "",
        }
    }
}

/// One of the two
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// A token of `admin.tokens`, or one of the identity provider's
    token: Option<String>,
    /// The code of a link that `lockgate admin link` or `lockgate demo` made; it can be used once
    code: Option<String>,
}

/// Who is logged in
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// The name in the events
    name: String,
    /// `viewer`, `auditor` or `operator`
    role: &'static str,
    /// Until when, whatever links are made meanwhile; absent for callers who bring their token or use the socket
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

/// Logs a browser in: the answer sets a cookie
#[utoipa::path(post, path = "/login", tag = "page", security(()), request_body = Credentials, responses(
    (status = 200, description = "Logged in", body = Me),
    (status = 400, description = "Neither a token nor a code, or both", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The token is not known, or the link was used or is too old", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn login(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Given(credentials): Given<Credentials>,
) -> Result<Response, Problem> {
    let refused = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
    let grant = match (credentials.token, credentials.code) {
        (Some(token), None) => of_token(&state, token.trim()).await?.grant(),
        (None, Some(code)) => {
            let grant = state.logins.redeem(&code).and_then(|grant| grant.now(&state.trust(), Utc::now()));
            grant.ok_or_else(|| {
                refused("this link was used already or is too old; `lockgate admin link` makes another one")
            })?
        }
        _ => return Err(Problem::wrong("write either a token or a code")),
    };
    enter(&state, &headers, grant)
}

/// Logs a browser in: the answer sets a cookie.
///
/// # Errors
/// 401 when what the login rests on is over already, 503 when the system gives no randomness.
pub(super) fn enter(state: &State, headers: &HeaderMap, grant: Grant) -> Result<Response, Problem> {
    let Entered { secret, grant, lasts } = state.logins.begin(grant).map_err(Problem::unavailable)?;
    if lasts.is_zero() {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "the time of this token is over"));
    }
    let cookie = set_cookie(state.cookies, headers, Cookie::Login, Some((&secret, lasts)));
    let cookie = cookie.ok_or_else(|| Problem::wrong("the header `Host` is odd"))?;
    let me = Me { name: grant.name.to_string(), role: grant.role.as_str(), until: grant.until.map(shown) };
    let mut response = Json(me).into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    // For the event.
    response.extensions_mut().insert(Caller::of_grant(grant));
    Ok(response)
}

/// Logs this browser out
#[utoipa::path(post, path = "/logout", tag = "page", responses((status = 204, description = "Logged out")))]
pub(super) async fn logout(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    if let Some(browser) = &caller.browser {
        state.logins.end(browser);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = set_cookie(state.cookies, &headers, Cookie::Login, None) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Who calls
#[utoipa::path(get, path = "/me", tag = "page", responses((status = 200, description = "Who is logged in", body = Me)))]
pub(super) async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    let until = caller.browser.as_ref().and(caller.until).map(shown);
    Json(Me { name: caller.name.to_string(), role: caller.role.as_str(), until })
}

/// For whom a link is
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkFor {
    /// `viewer`, `auditor` or `operator`
    role: String,
}

/// A link that logs one browser in
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LinkMade {
    /// The address; whoever opens it first is logged in
    url: String,
    /// Until when it can be used
    until: String,
}

/// Makes a link that logs one browser in
#[utoipa::path(post, path = "/links", tag = "page", request_body = LinkFor, responses(
    (status = 200, description = "It can be used once, within minutes", body = LinkMade),
    (status = 400, description = "No such role", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The admin door has no listener that a browser could call, or the name of the proxy before it is not known", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn link(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Given(wanted): Given<LinkFor>,
) -> Result<Json<LinkMade>, Problem> {
    let role = Role::ALL.into_iter().find(|role| role.as_str() == wanted.role);
    let role = role.ok_or_else(|| Problem::wrong("role is viewer, auditor or operator"))?;
    let grant = Grant { role: role.min(caller.role), ..caller.grant() };
    let Some(page) = &state.page_url else {
        let what = match state.is_behind_proxy {
            true => "the name of the proxy is not known; write it as the first of admin.hosts",
            false => "the admin door listens nowhere that a browser could call; add admin.listen",
        };
        return Err(Problem::new(StatusCode::CONFLICT, what));
    };
    let code = state.logins.make_link(grant).map_err(Problem::unavailable)?;
    Ok(Json(LinkMade { url: link_url(page, &code), until: shown(Utc::now() + LINK_FOR) }))
}

/// The code is behind `#`: browsers send that part to nobody.
pub(super) fn link_url(page: &str, code: &Secret) -> String {
    format!("{page}/login#code={}", code.expose())
}

/// Who calls with a cookie of ours; `None` without one. A cookie comes along without anybody's doing, so that a call that changes
/// something must say that a page of ours made it.
///
/// # Errors
/// 401 for a cookie that holds no more, 403 for a call that no page of ours made.
pub(super) fn of_cookie(
    state: &State,
    method: &Method,
    headers: &HeaderMap,
    trust: &Trust,
) -> Option<Result<Caller, Problem>> {
    let secret = cookie(state.cookies, headers, Cookie::Login)?;
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_ours = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    // Whether it is that of the host was looked at before.
    let says_origin = method.is_safe() || headers.contains_key(ORIGIN);
    if !is_ours || !says_origin {
        return Some(Err(Problem::new(StatusCode::FORBIDDEN, "with a cookie only the gateway's own page may call")));
    }
    let found = state.logins.of_secret(&secret).and_then(|(hash, grant)| {
        let grant = grant.now(trust, Utc::now())?;
        Some(Caller { browser: Some(hash), ..Caller::of_grant(grant) })
    });
    Some(found.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "log in again: this login is over")))
}

/// Who calls with a token in a header, of ours or of the identity provider.
///
/// # Errors
/// As [`of_token`].
pub(super) async fn of_bearer(state: &State, headers: &HeaderMap) -> Option<Result<Caller, Problem>> {
    Some(of_token(state, bearer(headers)?).await)
}

/// Who has this token, of ours or of the identity provider.
///
/// # Errors
/// 401 with nothing in it that helps to guess; 403 for those who have no role; 503 while the provider's keys cannot be had.
async fn of_token(state: &State, token: &str) -> Result<Caller, Problem> {
    let provider = if oidc::is_jwt(token) { state.provider()? } else { None };
    match provider {
        Some(provider) => Ok(Caller::of_grant(oidc::grant_of_token(&provider, token).await?)),
        None => Caller::of_token(token, &state.trust().tokens, Utc::now()),
    }
}

/// Whether somebody who was let in would still be: for answers that go on for long.
pub(super) fn is_still_in(state: &State, caller: &Caller) -> bool {
    let is_logged_in = |browser: &TokenHash| state.logins.of(browser).is_some();
    caller.browser.as_ref().is_none_or(is_logged_in)
        && caller.grant().now(&state.trust(), Utc::now()).is_some_and(|grant| grant.role >= caller.role)
}

/// The secret in a cookie.
pub(super) fn cookie(names: CookieNames, headers: &HeaderMap, which: Cookie) -> Option<String> {
    let wanted = format!("{}{}", names.prefix(), which.name(port(headers)?));
    let mut all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
    all.find_map(|pair| {
        pair.trim().split_once('=').filter(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    })
}

/// The header that sets a cookie for a time, or without a secret removes it.
pub(super) fn set_cookie(
    names: CookieNames,
    headers: &HeaderMap,
    which: Cookie,
    secret: Option<(&Secret, Duration)>,
) -> Option<HeaderValue> {
    let (prefix, secure) = (names.prefix(), if names == CookieNames::Prefixed { "; Secure" } else { "" });
    let (value, age) = secret.map_or(("", 0), |(secret, lasts)| (secret.expose(), lasts.as_secs()));
    let name = which.name(port(headers)?);
    let text = format!("{prefix}{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The port of `Host`; `0` for the scheme's own.
fn port(headers: &HeaderMap) -> Option<u16> {
    let host = text(headers, HOST)?;
    match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().ok(),
        _ => Some(0),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admin::logins::LOGGED_IN_FOR;
    use crate::admin::settings::TlsFiles;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_of_one_port_and_safe_where_it_can_be() {
        let secret = Secret::new("lgt_a".into());
        let set = |names, pairs: &[(&'static str, &str)]| {
            set_cookie(names, &headers(pairs), Cookie::Login, Some((&secret, LOGGED_IN_FOR)))
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let plain = set(CookieNames::Plain, &[("host", "127.0.0.1:8022")]).unwrap();
        assert_eq!(plain, "lockgate-8022=lgt_a; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        let safe = set(CookieNames::Prefixed, &[("host", "[::1]")]).unwrap();
        assert_eq!(safe, "__Host-lockgate-0=lgt_a; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(set(CookieNames::Plain, &[]), None);
        let gone = set_cookie(CookieNames::Plain, &headers(&[("host", "a:1")]), Cookie::Login, None).unwrap();
        assert!(gone.to_str().unwrap().starts_with("lockgate-1=; Path=/; Max-Age=0"));
    }

    #[test]
    fn cookies_are_plain_only_where_the_page_is() {
        let plain = DoorSettings::default();
        let tls = TlsFiles { certificate: "a.pem".into(), key: "a.key".into() };
        assert_eq!(CookieNames::of(&plain), CookieNames::Plain);
        assert_eq!(CookieNames::of(&DoorSettings { tls: Some(tls), ..plain.clone() }), CookieNames::Prefixed);
        assert_eq!(CookieNames::of(&DoorSettings { behind_proxy: true, ..plain }), CookieNames::Prefixed);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let find = |names, host: &str, cookies: &str| {
            cookie(names, &headers(&[("host", host), ("cookie", cookies)]), Cookie::Login)
        };
        let read = |host: &str, cookies: &str| find(CookieNames::Plain, host, cookies);
        assert_eq!(read("a:8022", "x=y; lockgate-8022=lgt_a; lockgate-1=lgt_b").as_deref(), Some("lgt_a"));
        let both = "lockgate-1=lgt_b; __Host-lockgate-1=lgt_c";
        assert_eq!(find(CookieNames::Prefixed, "a:1", both).as_deref(), Some("lgt_c"));
        assert_eq!(read("a:1", both).as_deref(), Some("lgt_b"));
        assert_eq!(find(CookieNames::Prefixed, "a:1", "lockgate-1=lgt_b"), None, "any host of the site could set it");
        assert_eq!(read("a:2", "lockgate-1=lgt_b"), None);
        assert_eq!(read("a:1", "lockgate-login-1=lgt_b"), None, "who has begun is not in");
        assert_eq!(cookie(CookieNames::Plain, &headers(&[("host", "a")]), Cookie::Login), None);
    }
}
