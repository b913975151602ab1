//! One question to a provider: sent, sent again when that may help, and its answer read within bounds.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};

use super::{Flaw, ProviderMethod, ProviderSettings};
use crate::secret::Secret;

/// The largest answer, in bytes: fifty long keys and 2,000 entries of a home.
const MAX_ANSWER: usize = 1 << 20;

/// The wait before a request is sent again; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Where a provider is: an `http` or `https` URL without credentials in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderUrl(Url);

impl fmt::Debug for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl ProviderUrl {
    /// Reads a URL. Without `allow_http`, passwords go over TLS, or to this machine itself.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str, allow_http: bool) -> Result<ProviderUrl, String> {
        let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); write https://HOST/PATH"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials do not belong into the URL; put them into `headers`".into());
        }
        let local = url.host_str().is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        });
        match url.scheme() {
            "https" => Ok(ProviderUrl(url)),
            "http" if allow_http || local => Ok(ProviderUrl(url)),
            "http" => {
                Err("passwords would go over the network in clear; write https:// (or `allow_http: true`)".into())
            }
            other => Err(format!("{other:?} is not served; write https://HOST/PATH")),
        }
    }
}

/// Without a query, which may hold a key.
impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        f.write_str(url.as_str())
    }
}

/// A header of each request; its value does not print.
#[derive(Debug, Clone)]
pub struct Header(HeaderName, HeaderValue);

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// A sentence without the value.
    pub fn parse(name: &str, value: &Secret) -> Result<Header, String> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not a header name".to_owned())?;
        let value = header_value(value).ok_or_else(|| "the value cannot stand in a header".to_owned())?;
        Ok(Header(name, value))
    }
}

/// A value that arrives as it was sent: without control characters, and without spaces at its ends, which are no part of it on
/// the other side.
fn header_value(value: &Secret) -> Option<HeaderValue> {
    let text = value.expose();
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| text.trim() == text)?;
    value.set_sensitive(true);
    Some(value)
}

/// What sends the questions.
#[derive(Debug)]
pub(super) struct Asker {
    client: Client,
    url: ProviderUrl,
    method: ProviderMethod,
    server_id: String,
    retries: u32,
}

/// Why there is no answer that could be read.
#[derive(Debug)]
pub(super) enum Failed {
    Silent(String),
    Unusable(Flaw),
}

impl From<String> for Failed {
    fn from(what: String) -> Failed {
        Failed::Silent(what)
    }
}

/// The same, of one request.
enum Failure {
    /// Asking again may help.
    Passing(String),
    Lasting(Failed),
}

impl Asker {
    pub(super) fn new(settings: &ProviderSettings) -> Result<Asker, String> {
        let headers: HeaderMap =
            settings.headers.iter().map(|Header(name, value)| (name.clone(), value.clone())).collect();
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // Where passwords go is said in the configuration, and not in the environment.
            .no_proxy()
            .referer(false)
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout)
            .build()
            .map_err(|error| describe(&error))?;
        let ProviderSettings { url, method, server_id, retries, .. } = settings.clone();
        Ok(Asker { client, url, method, server_id, retries })
    }

    /// The body of the answer. A password that no header can carry is answered as a wrong one is.
    pub(super) async fn ask(&self, name: &str, password: Option<&Secret>, source: IpAddr) -> Result<Vec<u8>, Failed> {
        let Some(request) = self.request(name, password, source)? else { return Ok(Vec::new()) };
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.retries).rev() {
            let again = request.try_clone().ok_or_else(|| "the request cannot be sent again".to_owned())?;
            match self.send(again).await {
                Ok(body) => return Ok(body),
                Err(Failure::Passing(what)) if left > 0 => {
                    tracing::debug!(what, "an identity provider is asked again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(Failure::Passing(what)) => return Err(Failed::Silent(what)),
                Err(Failure::Lasting(failed)) => return Err(failed),
            }
        }
        Err(Failed::Silent("it was never asked".into()))
    }

    fn request(
        &self,
        name: &str,
        password: Option<&Secret>,
        source: IpAddr,
    ) -> Result<Option<reqwest::Request>, String> {
        let source = source.to_string();
        let request = match self.method {
            ProviderMethod::Get => {
                let mut url = self.url.0.clone();
                url.path_segments_mut().map_err(|()| "the URL has no path")?.pop_if_empty().extend([
                    "servers",
                    &self.server_id,
                    "users",
                    name,
                    "config",
                ]);
                url.query_pairs_mut().append_pair("sourceIp", &source).append_pair("protocol", "SFTP");
                let request = self.client.get(url);
                match password.map(header_value) {
                    None => request,
                    Some(Some(value)) => request.header("Password", value),
                    Some(None) => return Ok(None),
                }
            }
            ProviderMethod::Post => {
                // An empty password is how a function hears of an attempt with a key.
                let body = serde_json::json!({
                    "username": name,
                    "password": password.map_or("", Secret::expose),
                    "protocol": "SFTP",
                    "serverId": self.server_id,
                    "sourceIp": source,
                });
                self.client.post(self.url.0.clone()).header(CONTENT_TYPE, "application/json").body(body.to_string())
            }
        };
        request.build().map(Some).map_err(|error| describe(&error))
    }

    async fn send(&self, request: reqwest::Request) -> Result<Vec<u8>, Failure> {
        let failed = |error: reqwest::Error| {
            let what = describe(&error);
            if error.is_connect() && !error.is_timeout() {
                Failure::Passing(what)
            } else {
                Failure::Lasting(Failed::Silent(what))
            }
        };
        let mut answer = self.client.execute(request).await.map_err(failed)?;
        let status = answer.status();
        if status.is_server_error() {
            return Err(Failure::Passing(format!("its status is {status}")));
        }
        if status != StatusCode::OK {
            let flaw = Flaw::new("status", format!("is {status}; 200 is an answer, also of a refusal"));
            return Err(Failure::Lasting(Failed::Unusable(flaw)));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER {
                let flaw = Flaw::new("body", format!("is longer than {} KiB", MAX_ANSWER / 1024));
                return Err(Failure::Lasting(Failed::Unusable(flaw)));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// The chain of an error, without the URL, which names the user and may hold a key.
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
    use super::*;

    #[test]
    fn passwords_go_over_tls_or_stay_here() {
        for (text, allow_http, right) in [
            ("https://idp.example.org/", false, true),
            ("https://idp.example.org/stage?key=1", false, true),
            ("http://127.0.0.1:8080/", false, true),
            ("http://[::1]:8080/", false, true),
            ("http://localhost:8080", false, true),
            ("http://idp.example.org/", false, false),
            ("http://127.0.0.1.example.org/", false, false),
            ("http://idp.example.org/", true, true),
            ("https://user:secret@idp.example.org/", true, false),
            ("ftp://idp.example.org/", true, false),
            ("idp.example.org", true, false),
            ("", true, false),
        ] {
            assert_eq!(ProviderUrl::parse(text, allow_http).is_ok(), right, "{text}");
        }
        let shown = ProviderUrl::parse("https://idp.example.org/stage?key=secret#x", false).unwrap();
        assert_eq!(shown.to_string(), "https://idp.example.org/stage");
        assert!(!ProviderUrl::parse("https://u:hunter2@h/", false).unwrap_err().contains("hunter2"));
    }

    #[test]
    fn a_header_does_not_print_and_carries_what_arrives_unchanged() {
        let header = |name: &str, value: &str| Header::parse(name, &Secret::new(value.into()));
        assert!(!format!("{:?}", header("x-api-key", "hunter2").unwrap()).contains("hunter2"));
        for (name, value) in [("x api", "1"), ("", "1"), ("x", "a\nb"), ("x", " a"), ("x", "a\u{0}")] {
            assert!(header(name, value).is_err(), "{name:?} {value:?}");
        }
        assert!(header("x", "pässwörd").is_ok());
    }
}
