//! Requests to a store's own interface: addresses, signatures, tries, answers.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
#[cfg(feature = "s3")]
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
#[cfg(feature = "azure")]
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse};
#[cfg(feature = "gcs")]
use object_store::gcp::GcpCredentialProvider;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::backoff::{Backoff, retry_after};
use crate::stores::object::{describe_connection, without_credentials};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// What S3 leaves unencoded in a query (SigV4: RFC 3986 unreserved).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for a path, whose slashes stay.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// How often a request is sent before its failure counts.
pub(in crate::stores) const TRIES: u32 = 6;

/// How long after its first try a request is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first pause between two tries of a request.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause that the store did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The longest pause that a store can ask for: somebody waits for the answer.
const LONGEST_WISH: Duration = Duration::from_secs(20);

/// The longest answer that is read: a page of 1,000 keys of 1,024 bytes, each byte percent-encoded, and what surrounds them.
const LONGEST_ANSWER: usize = 16 << 20;

/// How requests are signed.
#[derive(Clone)]
pub(in crate::stores) enum Signing {
    /// AWS signature version 4.
    #[cfg(feature = "s3")]
    Aws {
        /// Where the keys come from.
        credentials: AwsCredentialProvider,
        /// The region of the signature.
        region: String,
        /// The requester pays (`aws_request_payer`).
        requester_pays: bool,
    },
    /// A bearer token of Google's.
    #[cfg(feature = "gcs")]
    Google(GcpCredentialProvider),
    /// An account key, a shared access signature or a bearer token of Azure's.
    #[cfg(feature = "azure")]
    Azure {
        /// Where they come from.
        credentials: AzureCredentialProvider,
        /// The storage account.
        account: String,
    },
    /// Not at all: an open bucket.
    None,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "s3")]
            Signing::Aws { .. } => "Aws",
            #[cfg(feature = "gcs")]
            Signing::Google(_) => "Google",
            #[cfg(feature = "azure")]
            Signing::Azure { .. } => "Azure",
            Signing::None => "None",
        })
    }
}

/// Sends requests to one bucket or container.
#[derive(Debug, Clone)]
pub(in crate::stores) struct Client {
    pub(in crate::stores) http: HttpClient,
    /// What every address begins with, without a slash at its end.
    pub(in crate::stores) address: String,
    pub(in crate::stores) signing: Signing,
}

/// Names, in small letters, and values.
pub(in crate::stores) type Headers = Vec<(String, String)>;

/// One request to be made.
#[derive(Debug, Clone, Default)]
pub(in crate::stores) struct Ask<'a> {
    pub(in crate::stores) method: &'static str,
    /// What follows the client's address, percent-encoded; empty for the bucket itself. See [`key_path`].
    pub(in crate::stores) path: String,
    /// Names and values, raw.
    pub(in crate::stores) query: &'a [(&'a str, &'a str)],
    pub(in crate::stores) headers: Headers,
    pub(in crate::stores) body: Bytes,
}

/// An answer with its body read.
pub(in crate::stores) struct Answer {
    pub(in crate::stores) status: u16,
    pub(in crate::stores) head: HttpResponse,
    pub(in crate::stores) body: Bytes,
}

impl Answer {
    /// What is wrong with it; `None` for a success.
    pub(in crate::stores) fn failure(&self) -> Option<Failure> {
        let failure = match super::json::is_object(&self.body) {
            true => super::json::failure(self.status, &self.body),
            false => super::xml::failure(self.status, &self.body),
        };
        let after = self.header("retry-after").and_then(|wish| retry_after(wish, Utc::now()));
        failure.map(|failure| Failure { after, ..failure })
    }

    /// A header, if it is there and is text.
    pub(in crate::stores) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name)?.to_str().ok()
    }
}

impl Client {
    /// Sends a request until it is answered for good; an answer that is not a success is an error. So is one that is a
    /// success with an `Error` in its body, as long copies give.
    pub(in crate::stores) async fn expect(&self, doing: &str, key: &str, ask: Ask<'_>) -> StoreResult<Answer> {
        self.expect_counting(doing, key, ask).await.0
    }

    /// The same, and how often the request was sent: after more than one try, an earlier one may have been done.
    pub(in crate::stores) async fn expect_counting(
        &self,
        doing: &str,
        key: &str,
        ask: Ask<'_>,
    ) -> (StoreResult<Answer>, u32) {
        let started = Instant::now();
        let (mut tried, mut pauses) = (0, Pauses::new());
        loop {
            tried += 1;
            let failure = match self.send(&ask, doing, key).await {
                Ok(Ok(answer)) => match answer.failure() {
                    None => return (Ok(answer), tried),
                    Some(failure) => failure,
                },
                Ok(Err(failure)) => failure,
                Err(error) => return (Err(error), tried),
            };
            if !failure.passing || tried == TRIES || started.elapsed() > PATIENCE {
                return (Err(StoreError::cannot(failure.kind, doing, key, &failure.reason)), tried);
            }
            pauses.pause(failure.after).await;
        }
    }

    /// The body of a success, whatever it looks like: of an object, it may look like a failure.
    pub(in crate::stores) async fn content_of(&self, doing: &str, key: &str, ask: Ask<'_>) -> StoreResult<Bytes> {
        let started = Instant::now();
        let (mut tried, mut pauses) = (0, Pauses::new());
        loop {
            tried += 1;
            let failure = match self.send(&ask, doing, key).await? {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) => answer.failure(),
                Err(failure) => Some(failure),
            };
            let passes = failure.as_ref().is_some_and(|failure| failure.passing);
            if !passes || tried == TRIES || started.elapsed() > PATIENCE {
                let (kind, reason) = failure.map_or((StoreErrorKind::Other, String::new()), |f| (f.kind, f.reason));
                return Err(StoreError::cannot(kind, doing, key, &reason));
            }
            pauses.pause(failure.and_then(|failure| failure.after)).await;
        }
    }

    /// Sends a request once. The outer error is for good; the inner one says whether another try may help.
    async fn send(&self, ask: &Ask<'_>, doing: &str, key: &str) -> StoreResult<Result<Answer, Failure>> {
        let mut request = self.request(ask)?;
        self.sign(&mut request).await.map_err(|error| without_credentials(doing, key, &error))?;
        Ok(self.execute(request).await)
    }

    /// Sends a request that is signed, once, and reads the answer, whatever it says.
    pub(in crate::stores) async fn execute(&self, request: HttpRequest) -> Result<Answer, Failure> {
        let answer = self.http.execute(request).await.map_err(|error| Failure::of_connection(&error))?;
        let status = answer.status().as_u16();
        let (head, body) = answer.into_parts();
        let body = read(body).await?;
        Ok(Answer { status, head: HttpResponse::from_parts(head, Bytes::new().into()), body })
    }

    /// The request, without a signature.
    pub(in crate::stores) fn request(&self, ask: &Ask<'_>) -> StoreResult<HttpRequest> {
        let mut address = format!("{}{}", self.address, ask.path);
        for (place, (name, value)) in ask.query.iter().enumerate() {
            address.push(if place == 0 { '?' } else { '&' });
            address.extend(utf8_percent_encode(name, QUERY));
            address.push('=');
            address.extend(utf8_percent_encode(value, QUERY));
        }
        let wrong =
            |what: &str| StoreError::new(StoreErrorKind::InvalidName, format!("the request has a wrong {what}"));
        let mut request = HttpRequest::new(HttpRequestBody::from(ask.body.clone()));
        *request.uri_mut() = address.parse().map_err(|_| wrong("address"))?;
        *request.method_mut() = ask.method.parse().map_err(|_| wrong("method"))?;
        for (name, value) in &ask.headers {
            let value = value.parse().map_err(|_| wrong("header"))?;
            request.headers_mut().try_entry(name.as_str()).map_err(|_| wrong("header"))?.or_insert(value);
        }
        Ok(request)
    }

    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        match &self.signing {
            Signing::None => Ok(()),
            #[cfg(feature = "s3")]
            Signing::Aws { credentials, region, requester_pays } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .with_request_payer(*requester_pays)
                    .try_authorize(request, None)
            }
            #[cfg(feature = "gcs")]
            Signing::Google(credentials) => {
                let token = credentials.get_credential().await?;
                let bearer = format!("Bearer {}", token.bearer).parse().map_err(|_| object_store::Error::Generic {
                    store: "GCS",
                    source: "the access token cannot be sent".into(),
                })?;
                request.headers_mut().insert("authorization", bearer);
                Ok(())
            }
            #[cfg(feature = "azure")]
            Signing::Azure { credentials, account } => {
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)
            }
        }
    }
}

/// The waits between the tries of one request, in which its store has the last word within [`LONGEST_WISH`].
#[derive(Debug)]
pub(in crate::stores) struct Pauses(Backoff);

impl Pauses {
    /// Before the second try.
    pub(in crate::stores) fn new() -> Self {
        Pauses(Backoff::new(FIRST_PAUSE, LONGEST_PAUSE))
    }

    /// As if nothing had failed yet.
    pub(in crate::stores) fn reset(&mut self) {
        self.0.reset();
    }

    /// Waits before another try, after `wish` if the store said so.
    pub(in crate::stores) async fn pause(&mut self, wish: Option<Duration>) {
        let own = self.0.wait_apart();
        tokio::time::sleep(wish.map_or(own, |wish| wish.clamp(own, LONGEST_WISH))).await;
    }
}

/// A raw key as the path of an address: a slash, then the key, whose slashes stay.
pub(in crate::stores) fn key_path(key: &str) -> StoreResult<String> {
    addressable(key)?;
    Ok(format!("/{}", utf8_percent_encode(key, PATH)))
}

/// Refuses keys whose addresses mean another key: clients of HTTP resolve `.` and `..`.
fn addressable(key: &str) -> StoreResult<()> {
    if key.split('/').any(|part| part == "." || part == "..") {
        let message = format!("the key {key:?} holds a part \".\" or \"..\" and cannot be named in a request");
        return Err(StoreError::new(StoreErrorKind::InvalidName, message));
    }
    Ok(())
}

/// Reads a body that may be as long as [`LONGEST_ANSWER`].
async fn read(body: object_store::client::HttpResponseBody) -> Result<Bytes, Failure> {
    use futures_util::StreamExt;
    let mut pieces = body.bytes_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Failure::of_connection(&error))?;
        if whole.len() + piece.len() > LONGEST_ANSWER {
            let reason = "the store's answer is too long".to_owned();
            return Err(Failure { kind: StoreErrorKind::Other, reason, passing: false, after: None });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Why a request failed.
pub(in crate::stores) struct Failure {
    pub(in crate::stores) kind: StoreErrorKind,
    /// A short reason without secrets.
    pub(in crate::stores) reason: String,
    /// Another try may help.
    pub(in crate::stores) passing: bool,
    /// How long the store wants to be left alone (`Retry-After`).
    pub(in crate::stores) after: Option<Duration>,
}

impl Failure {
    fn of_connection(error: &object_store::client::HttpError) -> Self {
        let passing = !matches!(error.kind(), HttpErrorKind::Decode | HttpErrorKind::Unknown);
        Failure { kind: StoreErrorKind::Unavailable, reason: describe_connection(error), passing, after: None }
    }
}
