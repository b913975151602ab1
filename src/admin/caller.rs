//! Who calls: recognised by the token, or on the socket by the user of this machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header};
use chrono::{DateTime, Utc};

use super::logins::{Basis, Grant, Who};
use super::problem::Problem;
use super::settings::{Role, Token, TokenHash};

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// A process of this machine over the Unix socket, by the name of its user.
    Local(Arc<str>),
    /// Over the network.
    Remote(SocketAddr),
}

impl Peer {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Peer::Local(_) => None,
            Peer::Remote(address) => Some(*address),
        }
    }
}

/// Somebody who was recognised.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// What recognised the caller, or what the login of the browser rests on.
    pub(super) basis: Basis,
    /// When that ends at the latest.
    pub(super) until: Option<DateTime<Utc>>,
    /// The browser that is logged in, by its secret.
    pub(super) browser: Option<TokenHash>,
}

impl Caller {
    /// Somebody who was let in for this.
    pub(super) fn of_grant(grant: Grant) -> Caller {
        Caller { name: grant.name, role: grant.role, basis: grant.basis, until: grant.until, browser: None }
    }

    /// What the caller may hand on: to a browser, or to whoever opens a link.
    pub(super) fn grant(&self) -> Grant {
        Grant { name: self.name.clone(), role: self.role, basis: self.basis.clone(), until: self.until }
    }

    /// As whom the caller is counted.
    pub(super) fn who(&self) -> Who {
        Who::of(&self.name, &self.basis)
    }

    /// A user of this machine who may use the socket.
    pub(super) fn local(name: &Arc<str>) -> Caller {
        Caller::of_grant(Grant { name: name.clone(), role: Role::Operator, basis: Basis::Socket, until: None })
    }

    /// 401 for somebody who shows nothing.
    pub(super) fn unknown() -> Problem {
        let what = "a token is needed: `Authorization: Bearer lgt_…`; `lockgate admin token` makes one";
        Problem::new(StatusCode::UNAUTHORIZED, what)
    }

    /// Recognises the caller by a token.
    ///
    /// # Errors
    /// 401, with nothing in it that helps to guess.
    pub(super) fn of_token(given: &str, tokens: &[Token], now: DateTime<Utc>) -> Result<Caller, Problem> {
        let refused = |what: &str| Problem::new(StatusCode::UNAUTHORIZED, what);
        let known = tokens.iter().find(|token| !given.is_empty() && token.hash.is_of(given));
        let known = known.ok_or_else(|| refused("this token is not known"))?;
        if known.expires.is_some_and(|end| now >= end) {
            return Err(refused("the time of this token is over"));
        }
        let (name, basis) = (known.name.as_str().into(), Basis::Token(known.hash.clone()));
        Ok(Caller::of_grant(Grant { name, role: known.role, basis, until: known.expires }))
    }

    /// # Errors
    /// 403, when the role does not suffice.
    pub(super) fn may(&self, needed: Role) -> Result<(), Problem> {
        if self.role >= needed {
            return Ok(());
        }
        let (has, needed) = (self.role.as_str(), needed.as_str());
        Err(Problem::new(StatusCode::FORBIDDEN, format!("the role {needed} is needed; yours is {has}")))
    }
}

/// The token in the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether the call came under a name that is ours. A page of somebody else's can make a browser of this network call an address
/// of its choice under a name of its own (DNS rebinding); an address as a name cannot be that.
///
/// # Errors
/// 421.
pub(super) fn check_host(headers: &HeaderMap, hosts: &[String]) -> Result<(), Problem> {
    let misdirected = |what: String| Problem::new(StatusCode::MISDIRECTED_REQUEST, what);
    let mut all = headers.get_all(header::HOST).iter();
    let host = all.next().and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| misdirected("the header `Host` is missing".into()))?;
    if all.next().is_some() {
        return Err(misdirected("there is more than one header `Host`".into()));
    }
    let name = name_of(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_ours = name.eq_ignore_ascii_case("localhost") || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    if is_address || is_ours {
        return Ok(());
    }
    Err(misdirected("this name is not one of the gateway's; add it to admin.hosts if it is".into()))
}

/// Without the port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A page of another origin may not change anything, whatever a browser sends along. Where the gateway has a certificate, the same name
/// without one is another origin: anybody on the way may write its pages.
///
/// # Errors
/// 403.
pub(super) fn check_origin(method: &Method, headers: &HeaderMap, has_tls: bool) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    let is_foreign_site = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    let host = text(header::HOST).unwrap_or_default();
    let is_foreign_origin = text(header::ORIGIN).is_some_and(|origin| {
        origin.split_once("://").is_none_or(|(scheme, authority)| {
            !authority.eq_ignore_ascii_case(host) || (has_tls && !scheme.eq_ignore_ascii_case("https"))
        })
    });
    let is_doubtful = headers.get_all(header::ORIGIN).iter().count() > 1;
    if is_foreign_site || is_foreign_origin || is_doubtful {
        return Err(Problem::new(StatusCode::FORBIDDEN, "a page of another origin cannot change anything here"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admin::settings::TokenHash;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_token_is_recognised_until_its_time_is_over() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let tokens = [
            Token { name: "night".into(), role: Role::Auditor, hash: TokenHash::of("lgt_a"), expires: None },
            Token {
                name: "day".into(),
                role: Role::Operator,
                hash: TokenHash::of("lgt_b"),
                expires: Some(at("2027-01-01T00:00:00Z")),
            },
        ];
        let call = |value: &str, now: &str| {
            let headers = headers(&[("authorization", value)]);
            bearer(&headers).map_or_else(|| Err(Caller::unknown()), |given| Caller::of_token(given, &tokens, at(now)))
        };
        let before = "2026-12-31T23:59:59Z";
        let night = call("Bearer lgt_a", before).unwrap();
        assert_eq!((&*night.name, night.role), ("night", Role::Auditor));
        assert!(night.may(Role::Viewer).is_ok() && night.may(Role::Auditor).is_ok());
        assert_eq!(night.may(Role::Operator).unwrap_err().status(), 403);
        assert!(call("bearer lgt_b", before).is_ok());
        for wrong in ["Bearer lgt_c", "Bearer ", "Basic lgt_a", "lgt_a", "Bearer lgt_a x"] {
            let problem = call(wrong, before).unwrap_err();
            assert_eq!(problem.status(), 401, "{wrong}");
            assert!(!problem.detail().contains("lgt_c"), "{problem:?}");
        }
        assert!(call("Bearer lgt_b", "2027-01-01T00:00:00Z").unwrap_err().detail().contains("is over"));
        let local = Caller::local(&"root".into());
        assert_eq!((&*local.name, local.role), ("root", Role::Operator));
    }

    #[test]
    fn names_that_are_not_ours_are_turned_away() {
        let ours = ["admin.example.org".to_owned()];
        for (host, fits) in [
            ("127.0.0.1:8022", true),
            ("127.0.0.1", true),
            ("[::1]:8022", true),
            ("localhost:8022", true),
            ("Admin.Example.org", true),
            ("evil.example.org:8022", false),
            ("127.0.0.1.evil.example.org", false),
            ("localhost.evil.example.org", false),
            ("", false),
        ] {
            assert_eq!(check_host(&headers(&[("host", host)]), &ours).is_ok(), fits, "{host}");
        }
        assert_eq!(check_host(&HeaderMap::new(), &ours).unwrap_err().status(), 421);
    }

    #[test]
    fn pages_of_other_origins_cannot_change_anything() {
        let host = ("host", "127.0.0.1:8022");
        for (more, fits) in [
            (&[][..], true),
            (&[("origin", "http://127.0.0.1:8022")], true),
            (&[("origin", "http://127.0.0.1:8023")], false),
            (&[("origin", "https://evil.example.org")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
        ] {
            let all: Vec<_> = std::iter::once(host).chain(more.iter().copied()).collect();
            assert_eq!(check_origin(&Method::DELETE, &headers(&all), false).is_ok(), fits, "{more:?}");
            assert!(check_origin(&Method::GET, &headers(&all), false).is_ok(), "reading is for the browser to guard");
        }
        for (origin, fits) in [("https://127.0.0.1:8022", true), ("http://127.0.0.1:8022", false)] {
            let all = headers(&[host, ("origin", origin)]);
            assert_eq!(check_origin(&Method::DELETE, &all, true).is_ok(), fits, "{origin}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_believed_neither_time() {
        let mut twice = headers(&[("host", "127.0.0.1"), ("origin", "http://127.0.0.1")]);
        assert!(check_host(&twice, &[]).is_ok() && check_origin(&Method::POST, &twice, false).is_ok());
        twice.append(header::ORIGIN, "http://127.0.0.1".parse().unwrap());
        assert_eq!(check_origin(&Method::POST, &twice, false).unwrap_err().status(), 403);
        twice.append(header::HOST, "127.0.0.1".parse().unwrap());
        assert_eq!(check_host(&twice, &[]).unwrap_err().status(), 421);
    }
}
