//! Whether a token is the provider's, for us, and of now; and what it says.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Refusal;
use super::provider::{Known, Provider};

/// The signatures that are accepted: those that only the provider can make. Not `none`, and not HMAC, whose key is the client's secret.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: u64 = 30;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 32 * 1024;

/// What kind of token is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the token endpoint answers to the login of a person.
    Id,
    /// What a program brings: an access token, or an ID token.
    Bearer,
}

/// What a token says; its signature, issuer, audience and times are right.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// Judges a token.
///
/// # Errors
/// [`Refusal::Caller`] for a token that is no good, [`Refusal::Provider`] when the keys cannot be had.
pub(super) async fn verify(
    provider: &Arc<Provider>,
    token: &str,
    audience: &str,
    kind: Kind,
) -> Result<Claims, Refusal> {
    let unusable = || Refusal::Caller("this token cannot be used: it is not a signed JWT of a known kind".into());
    if token.len() > MAX_TOKEN {
        return Err(unusable());
    }
    let header = decode_header(token).map_err(|_| unusable())?;
    if !ALGORITHMS.contains(&header.alg) || header.crit.is_some() || !fits(kind, header.typ.as_deref()) {
        return Err(unusable());
    }
    let known = provider.known().await?;
    let key = match find(&known, &header) {
        Some(key) => key,
        // The provider may have a new key.
        None => find(&*provider.known_anew(&known).await?, &header)
            .ok_or_else(|| Refusal::Caller("this token is signed with a key that the provider does not have".into()))?,
    };
    let key = DecodingKey::from_jwk(&key).map_err(|_| unusable())?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_audience(&[audience]);
    validation.set_issuer(&[provider.settings().issuer.as_str()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let decoded = decode::<Map<String, Value>>(token, &key, &validation).map_err(|error| refusal(&error))?;
    let claims = Claims(decoded.claims);
    if claims.0.get("iss").and_then(Value::as_str) != Some(provider.settings().issuer.as_str()) {
        return Err(Refusal::Caller("this token is of another issuer".into()));
    }
    Ok(claims)
}

/// Tokens say what they are for (`typ`): one that tells of a logout opens nothing.
fn fits(kind: Kind, typ: Option<&str>) -> bool {
    let typ = typ.map(|typ| typ.to_ascii_lowercase());
    match typ.as_deref() {
        None | Some("jwt") => true,
        Some("at+jwt" | "application/at+jwt") => kind == Kind::Bearer,
        Some(_) => false,
    }
}

/// The key that the token names; one without a name has to be the only one that fits.
fn find(known: &Known, header: &Header) -> Option<Jwk> {
    let fits = |key: &&Jwk| {
        let algorithm = key.common.key_algorithm.map(|algorithm| Algorithm::try_from(algorithm).ok());
        algorithm.is_none_or(|algorithm| algorithm == Some(header.alg))
            && DecodingKey::from_jwk(key).is_ok_and(|key| key.family().algorithms().contains(&header.alg))
    };
    let mut keys = known.keys.iter().filter(fits);
    match &header.kid {
        Some(kid) => keys.find(|key| key.common.key_id.as_ref() == Some(kid)).cloned(),
        None => keys.next().filter(|_| keys.next().is_none()).cloned(),
    }
}

fn refusal(error: &Error) -> Refusal {
    Refusal::Caller(match error.kind() {
        ErrorKind::ExpiredSignature => "the time of this token is over".into(),
        ErrorKind::ImmatureSignature => "the time of this token has not come".into(),
        ErrorKind::InvalidAudience => "this token is for another audience".into(),
        ErrorKind::InvalidIssuer => "this token is of another issuer".into(),
        ErrorKind::InvalidSignature => "the signature of this token is wrong".into(),
        ErrorKind::MissingRequiredClaim(claim) => format!("the claim {claim:?} is missing in this token"),
        _ => "this token cannot be used: it is not as the standard says".into(),
    })
}

impl Claims {
    #[cfg(test)]
    pub(super) fn new(claims: Value) -> Claims {
        Claims(claims.as_object().cloned().unwrap_or_default())
    }

    /// Whom the token is about.
    pub(super) fn subject(&self) -> &str {
        self.text("sub").unwrap_or_default()
    }

    /// When the token ends.
    pub(super) fn until(&self) -> DateTime<Utc> {
        let seconds = self.0.get("exp").and_then(|exp| exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp as i64)));
        // It was accepted: what no calendar holds is far away.
        seconds.and_then(|exp| DateTime::from_timestamp(exp, 0)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// A claim that is text and not empty.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.find(claim)?.as_str().filter(|text| !text.is_empty())
    }

    /// The values of a claim: a text, or the texts of a list. `scope` is a list in one text (RFC 8693).
    pub(super) fn values(&self, claim: &str) -> Vec<String> {
        match self.find(claim) {
            Some(Value::String(text)) if claim == "scope" => text.split(' ').map(str::to_owned).collect(),
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => list.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect(),
            _ => Vec::new(),
        }
    }

    /// A claim by its name, which may be a URL with dots in it, or by a path into objects.
    fn find(&self, claim: &str) -> Option<&Value> {
        if let Some(found) = self.0.get(claim) {
            return Some(found);
        }
        let (first, rest) = claim.split_once('.')?;
        rest.split('.').try_fold(self.0.get(first)?, |value, name| value.get(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = Claims::new(json!({
            "sub": "ann", "groups": ["a", 1, "b"], "role": "c", "scope": "openid d", "exp": 1_800_000_000,
            "https://example.org/roles": ["e"], "realm_access": { "roles": ["f"] }, "odd": { "a": 1 },
        }));
        for (claim, values) in [
            ("groups", &["a", "b"][..]),
            ("role", &["c"]),
            ("scope", &["openid", "d"]),
            ("https://example.org/roles", &["e"]),
            ("realm_access.roles", &["f"]),
            ("realm_access.none", &[]),
            ("groups.a", &[]),
            ("odd", &[]),
            ("none", &[]),
            ("", &[]),
        ] {
            assert_eq!(claims.values(claim), values, "{claim}");
        }
        assert_eq!((claims.subject(), claims.until().timestamp()), ("ann", 1_800_000_000));
    }

    #[test]
    fn a_token_for_something_else_does_not_fit() {
        for (typ, id, bearer) in [
            (None, true, true),
            (Some("JWT"), true, true),
            (Some("at+jwt"), false, true),
            (Some("application/at+JWT"), false, true),
            (Some("logout+jwt"), false, false),
        ] {
            assert_eq!((fits(Kind::Id, typ), fits(Kind::Bearer, typ)), (id, bearer), "{typ:?}");
        }
    }
}
