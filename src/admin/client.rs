//! The other side: how the commands of `lockgate` call the API, over the socket or the network.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::secret::Secret;

/// How long a call may take until its answer begins.
const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

/// The largest answer that is taken as a whole, in bytes.
const MOST: usize = 64 << 20;

/// What is escaped in a part of a path. Unescaped line ends and tabs would be left out of a URL (<https://url.spec.whatwg.org>), and so
/// another name would be asked for.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The methods of HTTP, so that the commands need not know whose library they are of.
pub mod method {
    use reqwest::Method;

    /// Shows.
    pub const GET: Method = Method::GET;
    /// Does.
    pub const POST: Method = Method::POST;
    /// Ends.
    pub const DELETE: Method = Method::DELETE;
}

/// Where the admin door is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// A URL, and the token that opens it.
    Url(String, Secret),
}

/// Calls the API.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
    name: String,
}

/// A call that was not answered as asked: a sentence.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct CallError {
    /// The status of HTTP, if there was an answer.
    pub status: Option<u16>,
    what: String,
}

impl CallError {
    fn new(what: impl fmt::Display) -> Self {
        CallError { status: None, what: what.to_string() }
    }
}

impl Client {
    /// A client of this target; nothing is sent yet.
    ///
    /// # Errors
    /// A URL that is none, or that would show the token on the network.
    pub fn new(target: &Target) -> Result<Client, CallError> {
        let builder = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(10));
        let builder = builder.redirect(reqwest::redirect::Policy::none());
        let (builder, base, token, name) = match target {
            Target::Socket(path) => {
                let base = Url::parse("http://localhost/").map_err(CallError::new)?;
                (builder.unix_socket(path.as_path()), base, None, path.display().to_string())
            }
            Target::Url(url, token) => {
                let base = Url::parse(url).map_err(|error| CallError::new(format!("{url}: {error}")))?;
                let is_local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
                if base.scheme() != "https" && !(base.scheme() == "http" && is_local) {
                    let what = "the token would go over the network in clear; write https:// (http:// is for this machine only)";
                    return Err(CallError::new(what));
                }
                (builder, base, Some(token.clone()), url.clone())
            }
        };
        let http = builder.build().map_err(CallError::new)?;
        Ok(Client { http, base, token, name })
    }

    /// A call that is answered by JSON. `path` begins with a slash, `query` are pairs that are escaped here.
    ///
    /// # Errors
    /// No answer, or a refusal with its sentence.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let mut request = self.request(method, path, query)?;
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = self.whole(request).await?;
        serde_json::from_slice(&answer).map_err(|error| CallError::new(format!("the answer is not JSON: {error}")))
    }

    /// The lines of an answer, as they are.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn lines(&self, path: &[&str], query: &[(&str, String)]) -> Result<Vec<String>, CallError> {
        let answer = self.whole(self.request(Method::GET, path, query)?).await?;
        Ok(String::from_utf8_lossy(&answer).lines().map(str::to_owned).collect())
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        let mut response = self.send(request.timeout(ANSWERED_WITHIN)).await?;
        let mut all = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            all.extend_from_slice(&chunk);
            if all.len() > MOST {
                return Err(CallError::new("the answer is too long"));
            }
        }
        Ok(all)
    }

    /// All pages of a list that an answer has under `name`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all(&self, path: &[&str], name: &str, query: &[(&str, String)]) -> Result<Vec<Value>, CallError> {
        self.all_with(path, name, query, "").await.map(|(all, _)| all)
    }

    /// The same, and what the last page that says anything under `note` says there.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn all_with(
        &self,
        path: &[&str],
        name: &str,
        query: &[(&str, String)],
        note: &str,
    ) -> Result<(Vec<Value>, Option<Value>), CallError> {
        let (mut all, mut said) = (Vec::new(), None);
        let mut after: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000".to_owned()));
            query.extend(after.take().map(|after| ("after", after)));
            let page = self.call(Method::GET, path, &query, None).await?;
            all.extend(page[name].as_array().cloned().unwrap_or_default());
            said = page.get(note).cloned().or(said);
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok((all, said)),
            }
        }
    }

    /// A call whose answer is a stream; `last` is the id of the last event that was seen.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        last: Option<&str>,
    ) -> Result<Response, CallError> {
        let mut request = self.request(Method::GET, path, query)?;
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder, CallError> {
        let mut url = self.base.clone();
        let mut place = url.path().trim_end_matches('/').to_owned();
        for part in path {
            place.push('/');
            place.extend(utf8_percent_encode(part, SEGMENT));
        }
        url.set_path(&place);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem = response.bytes().await.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        let what = detail.map_or_else(|| format!("the gateway answers {status}"), str::to_owned);
        Err(CallError { status: Some(status.as_u16()), what })
    }

    fn lost(&self, error: &reqwest::Error) -> CallError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        CallError::new(format!("the gateway does not answer at {}: {cause}", self.name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_as_it_is() {
        let asked = |base: &str, path: &[&str]| {
            let client = Client::new(&Target::Url(base.into(), Secret::new("lgt_a".into()))).unwrap();
            client.request(Method::GET, path, &[]).unwrap().build().unwrap().url().to_string()
        };
        for (name, part) in [
            ("ann", "ann"),
            ("a\nb", "a%0Ab"),
            ("car\tol\r", "car%09ol%0D"),
            ("a/b?c#d%41", "a%2Fb%3Fc%23d%2541"),
            ("CORP\\ann", "CORP%5Cann"),
            ("é", "%C3%A9"),
            (" ", "%20"),
        ] {
            let expected = format!("http://localhost:1/api/v1/users/{part}");
            assert_eq!(asked("http://localhost:1", &["api", "v1", "users", name]), expected);
        }
        assert_eq!(asked("https://edge.example/admin/", &["api", "v1"]), "https://edge.example/admin/api/v1");
    }
}
