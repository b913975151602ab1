//! How a person logs in with the provider: the browser goes there with a challenge, and comes back with a code that the gateway
//! redeems (authorization code, PKCE with S256).
//!
//! Nothing is kept here meanwhile, so that strangers who begin logins without end take no room from others; how many they finish is
//! counted in `redemptions`. What belongs to a login is
//! derived from the secret of its cookie: `state`, which only this browser can have been sent with; `nonce`, which the ID token has to
//! repeat; and the verifier, without which the code is of no use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::Refusal;
use super::claims::{Claims, Kind, verify};
use super::provider::{Known, Provider, read};
use crate::secret::Secret;

/// How long a person may take at the provider.
pub(in crate::admin) const ATTEMPT_FOR: Duration = Duration::from_secs(10 * 60);

/// The longest code, state and issuer that are looked at, in bytes.
const MAX_WORD: usize = 4096;

/// A login that has begun.
#[derive(Debug)]
pub(in crate::admin) struct Begun {
    /// For the browser's cookie.
    pub(in crate::admin) attempt: Secret,
    /// Where the browser goes.
    pub(in crate::admin) url: String,
}

/// What a browser comes back with.
#[derive(Clone, Copy)]
pub(in crate::admin) struct Finish<'a> {
    /// Its cookie.
    pub(in crate::admin) attempt: &'a str,
    /// Of the address.
    pub(in crate::admin) state: &'a str,
    /// Of the address.
    pub(in crate::admin) code: &'a str,
    /// Of the address (RFC 9207).
    pub(in crate::admin) issuer: Option<&'a str>,
    /// Where it came back to.
    pub(in crate::admin) redirect_uri: &'a str,
    /// Who brings it, over the network.
    pub(in crate::admin) from: Option<IpAddr>,
}

impl Provider {
    /// Begins the login of a browser.
    ///
    /// # Errors
    /// [`Refusal::Provider`] when the provider cannot be asked.
    pub(in crate::admin) async fn begin(self: &Arc<Self>, redirect_uri: &str) -> Result<Begun, Refusal> {
        let known = self.known().await?;
        let mut bits = [0; 32];
        rand::fill(&mut bits).map_err(|_| Refusal::Provider("the system gives no randomness".into()))?;
        let attempt = format!("{}.{}", now(), URL_SAFE_NO_PAD.encode(bits));
        let challenge = digest::digest(&digest::SHA256, self.derived("verifier", &attempt).as_bytes());
        let scope = std::iter::once("openid").chain(self.settings().scopes.iter().map(String::as_str));
        let scope = scope.collect::<Vec<_>>().join(" ");
        let mut url = known.authorization_endpoint.clone();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.settings().client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scope),
            ("state", &self.derived("state", &attempt)),
            ("nonce", &self.derived("nonce", &attempt)),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(challenge)),
            ("code_challenge_method", "S256"),
        ]);
        Ok(Begun { attempt: Secret::new(attempt), url: url.into() })
    }

    /// Redeems what a browser comes back with.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn finish(self: &Arc<Self>, finish: Finish<'_>) -> Result<Claims, Refusal> {
        let again = |what: &str| Refusal::Caller(format!("{what}; log in again"));
        let Finish { attempt, state, code, issuer, redirect_uri, from } = finish;
        let words = [attempt, state, code, issuer.unwrap_or_default()];
        if code.is_empty() || words.iter().any(|word| word.len() > MAX_WORD) {
            return Err(again("the provider sent no code"));
        }
        let is_ours =
            constant_time::verify_slices_are_equal(self.derived("state", attempt).as_bytes(), state.as_bytes());
        if is_ours.is_err() {
            return Err(again("this login was not begun in this browser, or before the gateway's last start"));
        }
        // The time is part of what `state` was derived from.
        let begun = attempt.split('.').next().and_then(|begun| begun.parse::<u64>().ok());
        if begun.is_none_or(|begun| now().saturating_sub(begun) > ATTEMPT_FOR.as_secs()) {
            return Err(again("this login took too long"));
        }
        if issuer.is_some_and(|issuer| issuer != self.settings().issuer.as_str()) {
            return Err(again("another provider sent this code"));
        }
        let known = self.known().await?;
        let turn = self.redemptions.begin(attempt, from, Instant::now())?;
        let redeemed = self.redeem(&known, code, redirect_uri, &self.derived("verifier", attempt)).await;
        turn.ended(&redeemed);
        let token = redeemed?;
        let client = &self.settings().client_id;
        let claims = verify(self, token.expose(), client, Kind::Id).await.map_err(|refusal| match refusal {
            // It came from the provider itself, over a connection of ours.
            Refusal::Caller(what) => Refusal::Provider(format!("the provider's ID token cannot be used: {what}")),
            other => other,
        })?;
        if claims.text("nonce") != Some(&self.derived("nonce", attempt)) {
            return Err(again("the provider's ID token belongs to another login"));
        }
        if claims.text("azp").is_some_and(|party| party != client) {
            return Err(again("the provider's ID token is of another client"));
        }
        Ok(claims)
    }

    /// The ID token that a code is redeemed for.
    async fn redeem(&self, known: &Known, code: &str, redirect_uri: &str, verifier: &str) -> Result<Secret, Refusal> {
        let (id, secret) = (self.settings().client_id.as_str(), self.settings().client_secret.expose());
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        if !known.takes_basic {
            pairs.extend([("client_id", id), ("client_secret", secret)]);
        }
        let mut request = self.post(&known.token_endpoint, form(&pairs));
        if known.takes_basic {
            let credentials = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.header("authorization", format!("Basic {credentials}"));
        }
        let failed =
            |what: String| Refusal::Provider(format!("the identity provider does not redeem the code: {what}"));
        let (status, body) = read(request).await.map_err(failed)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == StatusCode::OK {
            let token = answer["id_token"].as_str().map(|token| Secret::new(token.to_owned()));
            return token.ok_or_else(|| failed("there is no ID token in its answer".into()));
        }
        match answer["error"].as_str().unwrap_or_default() {
            "invalid_grant" => Err(Refusal::Caller("this code was used already, or is too old; log in again".into())),
            "invalid_client" | "unauthorized_client" => {
                tracing::error!("the identity provider does not know the gateway by this client_id and client_secret");
                Err(failed("it does not know the gateway by this client_id and client_secret".into()))
            }
            _ => Err(failed(format!("it answers {status}"))),
        }
    }

    /// A value of a login: nobody without the key can tell one from another.
    fn derived(&self, what: &str, attempt: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{what}\n{attempt}").as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Pairs as a form sends them.
fn form(pairs: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("form:", pairs);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// One text as a form sends it.
fn encoded(text: &str) -> String {
    form(&[("", text)]).trim_start_matches('=').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::oidc::{Issuer, OidcSettings, RoleRule};

    fn provider() -> Arc<Provider> {
        let settings = OidcSettings {
            issuer: Issuer::parse("https://idp.example.org").unwrap(),
            client_id: "gateway".into(),
            client_secret: Secret::new("hunter2".into()),
            scopes: Vec::new(),
            audience: None,
            name: "sub".into(),
            roles: RoleRule { claim: "groups".into(), map: BTreeMap::new() },
        };
        Arc::new(Provider::new(Arc::new(settings)).unwrap())
    }

    #[test]
    fn a_form_arrives_as_it_was_meant() {
        assert_eq!(form(&[("a", "b c"), ("d&", "é=")]), "a=b+c&d%26=%C3%A9%3D");
        assert_eq!((encoded("a:b="), encoded("")), ("a%3Ab%3D".into(), String::new()));
    }

    #[tokio::test]
    async fn only_the_browser_that_began_can_finish_and_in_time() {
        let provider = provider();
        let attempt = |begun: u64| format!("{begun}.secret");
        let (fresh, old) = (attempt(now()), attempt(now() - ATTEMPT_FOR.as_secs() - 2));
        let state = |attempt: &str| provider.derived("state", attempt);
        let later = format!("{}.secret", now() + 5);
        for (attempt, state, code, issuer, what) in [
            (&fresh, state(&attempt(1)), "c", None, "not begun in this browser"),
            (&fresh, String::new(), "c", None, "not begun in this browser"),
            (&fresh, provider.derived("nonce", &fresh), "c", None, "not begun in this browser"),
            // The time cannot be changed.
            (&later, state(&old), "c", None, "not begun in this browser"),
            (&old, state(&old), "c", None, "took too long"),
            (&fresh, state(&fresh), "", None, "no code"),
            (&fresh, state(&fresh), "c", Some("https://evil.example.org"), "another provider"),
        ] {
            let redirect_uri = "http://127.0.0.1/login/callback";
            let finish = Finish { attempt, state: &state, code, issuer, redirect_uri, from: None };
            let refusal = provider.finish(finish).await.map(drop).unwrap_err();
            let Refusal::Caller(said) = &refusal else { panic!("{refusal:?}") };
            assert!(said.contains(what), "{said} instead of {what}");
        }
    }
}
