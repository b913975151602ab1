//! What a provider publishes: where it takes logins, and the keys that it signs with. Fetched when it is needed, kept for a while, and
//! fetched again when a token names a key that is not among them; however often strangers send such tokens, not more often than
//! [`BETWEEN`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::Refusal;
use super::redemptions::Redemptions;
use super::settings::{OidcSettings, is_safe};

/// How long one answer of the provider may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The most keys that are kept.
const MAX_KEYS: usize = 100;

/// How long what was fetched is used without asking again. The first call after that still uses it, while the provider is asked.
const FRESH_FOR: Duration = Duration::from_secs(10 * 60);

/// How long it is used at most; a key that the provider withdraws is accepted no longer than that.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The shortest time between two fetches.
const BETWEEN: Duration = Duration::from_secs(5);

/// What the provider publishes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    /// Whether the gateway names itself to the token endpoint in a header (`client_secret_basic`), or in the body.
    pub(super) takes_basic: bool,
    pub(super) keys: Vec<Jwk>,
    fetched: Instant,
}

/// The last fetch, for whoever would ask next.
#[derive(Debug, Default)]
struct Asked {
    when: Option<Instant>,
    failure: Option<String>,
}

/// A provider that is asked.
#[derive(Debug)]
pub(in crate::admin) struct Provider {
    settings: Arc<OidcSettings>,
    http: Client,
    known: Mutex<Option<Arc<Known>>>,
    /// Held by the one fetch that is under way.
    asked: Arc<AsyncMutex<Asked>>,
    /// What the secrets of logins under way are derived with: known to this process alone, until it ends.
    pub(super) key: hmac::Key,
    /// What logins under way ask of the provider.
    pub(super) redemptions: Redemptions,
}

/// The provider of the configuration that is in force.
#[derive(Debug, Default)]
pub(in crate::admin) struct Current(Mutex<Option<Arc<Provider>>>);

impl Current {
    /// It; what was fetched stays as long as the configuration does not change.
    ///
    /// # Errors
    /// When no client of HTTP can be made.
    pub(in crate::admin) fn of(&self, settings: &Arc<OidcSettings>) -> Result<Arc<Provider>, Refusal> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = current.as_ref().filter(|provider| provider.settings == *settings) {
            return Ok(provider.clone());
        }
        let provider = Arc::new(Provider::new(settings.clone()).map_err(Refusal::Provider)?);
        *current = Some(provider.clone());
        Ok(provider)
    }
}

impl Provider {
    pub(super) fn new(settings: Arc<OidcSettings>) -> Result<Provider, String> {
        let http = Client::builder()
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // Where secrets go is said in the configuration, and not in the environment.
            .no_proxy()
            .referer(false)
            .connect_timeout(ANSWERS_WITHIN)
            .timeout(ANSWERS_WITHIN)
            .build()
            .map_err(|error| error.to_string())?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| "the system gives no randomness".to_owned())?;
        Ok(Provider {
            settings,
            http,
            known: Mutex::default(),
            asked: Arc::default(),
            key,
            redemptions: Redemptions::default(),
        })
    }

    pub(in crate::admin) fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// What the provider publishes. Nobody waits for it while something of use is kept.
    ///
    /// # Errors
    /// [`Refusal::Provider`] when it does not answer, and did not for [`KEPT_FOR`].
    pub(super) async fn known(self: &Arc<Self>) -> Result<Arc<Known>, Refusal> {
        let Some(known) = self.kept() else { return self.fetch_after(None).await.map_err(Refusal::Provider) };
        match known.fetched.elapsed() {
            age if age < FRESH_FOR => Ok(known),
            age if age < KEPT_FOR => {
                self.refresh();
                Ok(known)
            }
            _ => self.fetch_after(Some(known.fetched)).await.map_err(Refusal::Provider),
        }
    }

    /// Fetches in a task, unless that is under way or was tried a moment ago.
    fn refresh(self: &Arc<Self>) {
        let Ok(asked) = self.asked.clone().try_lock_owned() else { return };
        if asked.when.is_none_or(|when| when.elapsed() >= BETWEEN) {
            tokio::spawn(fetch_and_keep(self.clone(), asked));
        }
    }

    /// The same after asking again, for a key that is not among those that are kept.
    ///
    /// # Errors
    /// As [`Provider::known`].
    pub(super) async fn known_anew(self: &Arc<Self>, seen: &Known) -> Result<Arc<Known>, Refusal> {
        self.fetch_after(Some(seen.fetched)).await.map_err(Refusal::Provider)
    }

    fn kept(&self) -> Option<Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was fetched later than `since`: by somebody else meanwhile, or now. Nothing is fetched again within [`BETWEEN`]; then the
    /// outcome of that fetch is the answer.
    async fn fetch_after(self: &Arc<Self>, since: Option<Instant>) -> Result<Arc<Known>, String> {
        let asked = self.asked.clone().lock_owned().await;
        if let Some(known) = self.kept().filter(|known| since.is_none_or(|since| known.fetched > since)) {
            return Ok(known);
        }
        if asked.when.is_some_and(|when| when.elapsed() < BETWEEN) {
            return match (&asked.failure, self.kept()) {
                (None, Some(known)) => Ok(known),
                (failure, _) => Err(failure.clone().unwrap_or_else(|| "the provider does not answer".into())),
            };
        }
        // In a task of its own: a caller who goes away does not make those who wait begin again.
        let fetching = tokio::spawn(fetch_and_keep(self.clone(), asked));
        fetching.await.unwrap_or_else(|_| Err("the provider could not be asked".into()))
    }

    /// Asks for the description and the keys.
    pub(super) async fn fetch(&self) -> Result<Known, String> {
        let issuer = &self.settings.issuer;
        let failed = |what: String| format!("the identity provider {issuer} cannot be used: {what}");
        let description = self.get(&issuer.description()).await.map_err(failed)?;
        let said = description["issuer"].as_str().unwrap_or_default();
        if said != issuer.as_str() {
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(failed(format!("it calls itself {said:?}; write exactly that as the issuer")));
        }
        let endpoint = |name: &str| {
            let url = description[name].as_str().and_then(|text| Url::parse(text).ok());
            url.filter(is_safe).ok_or_else(|| failed(format!("its {name} is not an https URL")))
        };
        let methods = description["token_endpoint_auth_methods_supported"].as_array();
        let keys = self.get(endpoint("jwks_uri")?.as_str()).await.map_err(failed)?;
        let keys = keys["keys"].as_array().ok_or_else(|| failed("its keys are not a JWK set".into()))?;
        let keys: Vec<Jwk> = keys.iter().filter_map(usable).take(MAX_KEYS).collect();
        Ok(Known {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            // The default of the standard.
            takes_basic: methods
                .is_none_or(|all| all.is_empty() || all.iter().any(|method| method == "client_secret_basic")),
            keys,
            fetched: Instant::now(),
        })
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let request = self.http.get(url).header("accept", "application/json");
        match read(request).await? {
            (StatusCode::OK, body) => serde_json::from_slice(&body).map_err(|_| "its answer is not JSON".to_owned()),
            (status, _) => Err(format!("it answers {status}")),
        }
    }

    /// Posts a form.
    pub(super) fn post(&self, url: &Url, form: String) -> RequestBuilder {
        let request = self.http.post(url.clone()).header("accept", "application/json");
        request.header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

async fn fetch_and_keep(provider: Arc<Provider>, mut asked: OwnedMutexGuard<Asked>) -> Result<Arc<Known>, String> {
    let fetched = provider.fetch().await;
    asked.when = Some(Instant::now());
    match fetched {
        Ok(known) => {
            if asked.failure.take().is_some() {
                tracing::info!(issuer = %provider.settings.issuer, "the identity provider of the admin door can be used again");
            }
            let known = Arc::new(known);
            *provider.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
            Ok(known)
        }
        Err(what) => {
            if asked.failure.as_ref() != Some(&what) {
                tracing::warn!(what, "nobody can log in to the admin door with the identity provider");
            }
            asked.failure = Some(what.clone());
            Err(what)
        }
    }
}

/// A key that can check signatures. One that is of no use, or of a kind that is not known, spoils no other.
fn usable(key: &Value) -> Option<Jwk> {
    let key: Jwk = serde_json::from_value(key.clone()).ok()?;
    let is_public = matches!(
        key.algorithm,
        AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
    );
    let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    (is_public && signs).then_some(key)
}

/// The status and the body of an answer, within bounds.
pub(super) async fn read(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
    let mut answer = request.send().await.map_err(|error| describe(&error))?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| describe(&error))? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(format!("its answer is longer than {} KiB", MAX_ANSWER / 1024));
        }
        body.extend_from_slice(&piece);
    }
    Ok((answer.status(), body))
}

/// The innermost reason, without the URL.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".into();
    }
    let what = if error.is_connect() { "there is no connection" } else { "the request failed" };
    let mut innermost = std::error::Error::source(error);
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::admin::oidc::{Issuer, RoleRule};
    use crate::secret::Secret;

    /// A provider that accepts connections and never answers, of which something this old is kept.
    async fn stalled(age: Duration) -> (tokio::net::TcpListener, Arc<Provider>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let url = Url::parse(&issuer).unwrap();
        let settings = OidcSettings {
            issuer: Issuer::parse(&issuer).unwrap(),
            client_id: "gateway".into(),
            client_secret: Secret::new("hunter2".into()),
            scopes: Vec::new(),
            audience: None,
            name: "sub".into(),
            roles: RoleRule { claim: "groups".into(), map: BTreeMap::new() },
        };
        let provider = Arc::new(Provider::new(Arc::new(settings)).unwrap());
        let known = Known {
            authorization_endpoint: url.clone(),
            token_endpoint: url,
            takes_basic: true,
            keys: Vec::new(),
            fetched: Instant::now().checked_sub(age).unwrap(),
        };
        *provider.known.lock().unwrap() = Some(Arc::new(known));
        (listener, provider)
    }

    #[tokio::test]
    async fn nobody_waits_for_the_provider_while_its_keys_can_be_used() {
        let (_listener, provider) = stalled(FRESH_FOR).await;
        for _ in 0..3 {
            assert!(provider.known().await.is_ok());
            assert!(provider.asked.try_lock().is_err(), "one fetch is under way, and goes on");
        }
        let (_listener, provider) = stalled(FRESH_FOR / 2).await;
        assert!(provider.known().await.is_ok());
        assert!(provider.asked.try_lock().is_ok(), "there is no reason to ask");
        let (_listener, provider) = stalled(KEPT_FOR).await;
        assert!(provider.known().await.is_err(), "too old to be used");
    }

    #[test]
    fn only_public_keys_that_sign_are_kept() {
        for (key, is_kept) in [
            (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a", "use": "sig", "alg": "RS256" }), true),
            (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a" }), true),
            (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc" }), false),
            (json!({ "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB" }), true),
            (json!({ "kty": "oct", "k": "AQAB" }), false),
            (json!({ "kty": "AKP", "pub": "AQAB" }), false),
            (json!("nonsense"), false),
        ] {
            assert_eq!(usable(&key).is_some(), is_kept, "{key}");
        }
    }
}
