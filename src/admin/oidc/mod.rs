//! Identity providers at the admin door (OpenID Connect Core and Discovery 1.0): people log in to the page with their provider, programs
//! call with the tokens that it signs.
//!
//! `provider` fetches and keeps what the provider publishes, `claims` judges a token, `flow` logs a browser in, `redemptions` counts
//! what strangers ask for. None of them knows HTTP
//! as the door serves it: `provider_login` does.

mod claims;
mod flow;
mod provider;
mod redemptions;
mod settings;

use std::sync::Arc;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};

use super::logins::{Basis, Grant, Identity};
use super::problem::Problem;
pub(super) use flow::{ATTEMPT_FOR, Finish};
pub(super) use provider::{Current, Provider};
pub use settings::{Issuer, NAME_PREFIX, OidcSettings, RoleRule};

/// Why a token, or a login with the provider, does not let anybody in. No sentence repeats a token, a code or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What the caller brought is wrong.
    Caller(String),
    /// The caller is known, and has no role here.
    NoRole {
        /// The name in the events.
        name: Arc<str>,
        /// Why.
        what: String,
    },
    /// Too much is asked of the provider at the moment.
    Busy(String),
    /// The provider does not answer, or not as the standards say, or refuses the gateway itself.
    Provider(String),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Caller(what) => Problem::new(StatusCode::UNAUTHORIZED, what),
            Refusal::NoRole { name, what } => Problem::new(StatusCode::FORBIDDEN, what).of_caller(name),
            Refusal::Busy(what) | Refusal::Provider(what) => Problem::unavailable(what),
        }
    }
}

/// Whether a bearer token can be a provider's: a JWT in its compact form. The gateway's own tokens have a prefix and no dots.
pub(super) fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3
}

/// What a program is let in for that brings a token of the provider. It ends with the token.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn grant_of_token(provider: &Arc<Provider>, token: &str) -> Result<Grant, Refusal> {
    let settings = provider.settings();
    let audience = settings.audience.as_ref().unwrap_or(&settings.client_id);
    let claims = claims::verify(provider, token, audience, claims::Kind::Bearer).await?;
    let until = Some(claims.until());
    grant(settings, &claims, until)
}

/// What a person is let in for whom the provider sent back.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn grant_of_login(provider: &Arc<Provider>, finish: Finish<'_>) -> Result<Grant, Refusal> {
    let claims = provider.finish(finish).await?;
    // The time of an ID token says how long it may take to arrive, not how long the login holds.
    grant(provider.settings(), &claims, None)
}

fn grant(settings: &OidcSettings, claims: &claims::Claims, until: Option<DateTime<Utc>>) -> Result<Grant, Refusal> {
    let name = settings.name_of(claims.text(&settings.name).unwrap_or(claims.subject()));
    let values = claims.values(&settings.roles.claim);
    let role = settings.roles.role_of(&values).ok_or_else(|| {
        let claim = &settings.roles.claim;
        let what = match values.is_empty() {
            true => format!("{name} has no claim {claim:?} in the provider's token, and so no role here"),
            false => format!("no value of {name}'s claim {claim:?} has a role here (admin.oidc.roles.map)"),
        };
        Refusal::NoRole { name: name.as_str().into(), what }
    })?;
    let identity = Identity { provider: settings.identity(), values };
    Ok(Grant { name: name.into(), role, basis: Basis::Provider(Arc::new(identity)), until })
}

/// Asks the provider for its description and its keys, for `check --online`.
///
/// # Errors
/// A sentence that says what failed.
pub async fn reach(settings: &OidcSettings) -> Result<(), String> {
    let provider = Provider::new(Arc::new(settings.clone()))?;
    provider.fetch().await.map(drop).map_err(|what| format!("admin.oidc: {what}"))
}
