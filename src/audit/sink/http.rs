//! Batches posted to a collector.

use std::error::Error;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, redirect};

use super::Around;
use super::authorities::client_config;
use super::carrier::{Carrier, Refusal, gzip};
use super::heading::lines;
use super::settings::{Encoding, HttpTarget};
use super::shape::{Format, Shape};
use super::spooled::Spooled;
use super::webhook;
use crate::backoff::retry_after;

/// Opens the sink. Needs a runtime.
pub(super) fn open(target: &HttpTarget, shape: &Shape, around: &Around) -> io::Result<Spooled> {
    Spooled::open(&target.spool, shape, around, Collector::new(target, shape.format)?)
}

/// Asks whether anybody answers, without sending an event. Gives a note where the answer says little.
pub(super) async fn reach(target: &HttpTarget, format: Format) -> Result<Option<String>, String> {
    let collector = Collector::new(target, format).map_err(|error| error.to_string())?;
    let answer = collector.request(Method::OPTIONS).send().await.map_err(what)?;
    judge(answer.status())
}

/// What the answer to a question without events says of those that follow: `Ok` with a note where it says nothing.
fn judge(status: StatusCode) -> Result<Option<String>, String> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(format!("it refuses the request with {status}: check the credentials in `headers`"))
        }
        status if status.is_redirection() => {
            Err(format!("it answers {status}, and redirections are not followed: write the URL that it leads to"))
        }
        // They say that OPTIONS is not known there; events come with POST.
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(None),
        status if status.is_server_error() => Err(format!("it answers {status}")),
        status if status.is_client_error() => Ok(Some(format!(
            "it answers {status} to OPTIONS; whether it accepts events is known only when one is sent"
        ))),
        _ => Ok(None),
    }
}

/// Posts each batch.
pub(super) struct Collector {
    client: Client,
    target: HttpTarget,
    format: Format,
}

impl Collector {
    /// Redirections are not followed: what is in the headers is for this collector.
    pub(super) fn new(target: &HttpTarget, format: Format) -> io::Result<Collector> {
        let tls = client_config(target.ca_file.as_deref()).or_else(|what| match target.url.is_encrypted() {
            true => Err(io::Error::other(format!("{}: {what}", target.url.name))),
            false => client_config_of_nobody(),
        })?;
        let builder = Client::builder().tls_backend_preconfigured(tls.as_ref().clone());
        let builder = builder.redirect(redirect::Policy::none()).timeout(target.timeout);
        let client = builder.build().map_err(|error| io::Error::other(what(error)))?;
        Ok(Collector { client, target: target.clone(), format })
    }

    fn request(&self, method: Method) -> reqwest::RequestBuilder {
        let mut headers = HeaderMap::new();
        let kind = match (self.target.encoding, self.format) {
            (Encoding::Single, Format::CloudEvents) => "application/cloudevents+json",
            (Encoding::Array, Format::CloudEvents) => "application/cloudevents-batch+json",
            (Encoding::Ndjson, _) => "application/x-ndjson",
            (Encoding::Array | Encoding::Single, _) => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let own: Vec<(HeaderName, HeaderValue)> =
            self.target.headers.iter().filter_map(|header| header.pair()).collect();
        headers.extend(own);
        self.client.request(method, self.target.url.expose()).headers(headers)
    }

    async fn post(&self, batch: &[u8]) -> Result<(), Answer> {
        let body = match self.target.encoding {
            Encoding::Ndjson => batch.to_vec(),
            Encoding::Array => array(batch),
            Encoding::Single => batch.strip_suffix(b"\n").unwrap_or(batch).to_vec(),
        };
        let mut request = self.request(Method::POST);
        if !self.target.signing.is_empty() {
            // Each try has the time of its own, or receivers would take it for an old one.
            let id = webhook::id_of(batch);
            for (name, value) in webhook::headers(&self.target.signing, &id, Utc::now().timestamp(), &body) {
                request = request.header(name, value);
            }
        }
        let body = if self.target.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
            gzip(&body).map_err(|error| Answer::Refused(Refusal::of(error.to_string())))?
        } else {
            body
        };
        let answer = request.body(body).send().await.map_err(|error| Answer::Refused(Refusal::of(what(error))))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::PAYLOAD_TOO_LARGE if lines(batch).nth(1).is_some() => Err(Answer::TooLarge),
            status => {
                let wish = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = wish.and_then(|wish| retry_after(wish, Utc::now()));
                let is_of_this_one = is_of_this_one(status);
                let hint = match status {
                    status if status.is_redirection() => "; redirections are not followed: name the place itself",
                    status if is_temporary(status) => "",
                    _ if is_of_this_one => ": it is what was posted that it refuses",
                    _ => ": it will not do better by itself; look at the url, the headers and the collector's own log",
                };
                Err(Answer::Refused(Refusal {
                    why: format!("the collector answers {status}{hint}"),
                    after,
                    is_of_this_one,
                }))
            }
        }
    }
}

/// Why a batch was not taken.
enum Answer {
    Refused(Refusal),
    /// Smaller ones may be.
    TooLarge,
}

#[async_trait]
impl Carrier for Collector {
    fn name(&self) -> String {
        self.target.url.name.clone()
    }

    fn is_one_by_one(&self) -> bool {
        self.target.encoding == Encoding::Single
    }

    fn gives_up_after(&self) -> Option<Duration> {
        self.target.give_up_after
    }

    /// A batch that is too large for the collector is posted in parts.
    async fn deliver(&self, batch: &Bytes) -> Result<(), Refusal> {
        let mut parts = vec![batch.clone()];
        while let Some(part) = parts.pop() {
            match self.post(&part).await {
                Ok(()) => {}
                Err(Answer::Refused(refusal)) => return Err(refusal),
                Err(Answer::TooLarge) => {
                    let (first, second) = halves(&part);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }
}

/// Answers after which the same request may succeed.
fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Whether the answer is about what was posted. Others of the kind 4xx are about who posts (401, 403, 407), about where (404, 405,
/// 410, 421) or about when (408, 423, 425, 429): then everything else would be refused as well.
fn is_of_this_one(status: StatusCode) -> bool {
    const OF_ALL: [u16; 13] = [401, 402, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429];
    status.is_client_error() && !OF_ALL.contains(&status.as_u16())
}

/// Both of whole lines, the first of at least one.
fn halves(batch: &Bytes) -> (Bytes, Bytes) {
    let middle = batch.len() / 2;
    let before = batch.iter().take(middle).rposition(|byte| *byte == b'\n');
    let end =
        before.or_else(|| batch.iter().position(|byte| *byte == b'\n')).map_or(batch.len(), |newline| newline + 1);
    (batch.slice(..end), batch.slice(end..))
}

/// One array of the lines.
fn array(batch: &[u8]) -> Vec<u8> {
    let mut array = Vec::with_capacity(batch.len() + 2);
    array.push(b'[');
    for (index, line) in lines(batch).enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(line);
    }
    array.push(b']');
    array
}

/// What went wrong, with its causes and without the URL, which may hold a credential.
fn what(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// For a collector without TLS no authority need be known.
fn client_config_of_nobody() -> io::Result<std::sync::Arc<rustls::ClientConfig>> {
    super::authorities::trusting(rustls::RootCertStore::empty()).map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_events_is_judged() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap());
        assert!([200, 204, 405, 501].into_iter().all(|status| judged(status) == Ok(None)));
        assert!([400, 404, 415, 429].into_iter().all(|status| judged(status).is_ok_and(|note| note.is_some())));
        assert!([301, 307, 401, 403, 407, 500, 503].into_iter().all(|status| judged(status).is_err()));
        assert!(judged(401).unwrap_err().contains("credentials"));
    }

    #[test]
    fn a_refusal_of_one_is_told_from_a_refusal_of_all() {
        let of_this_one = |status: u16| is_of_this_one(StatusCode::from_u16(status).unwrap());
        assert!([400, 406, 409, 411, 413, 415, 422, 451].into_iter().all(of_this_one));
        assert!(![200, 301, 401, 403, 404, 405, 407, 408, 410, 421, 429, 500, 503].into_iter().any(of_this_one));
    }

    #[test]
    fn halves_are_whole_lines() {
        for (batch, first) in
            [("a\nb\n", "a\n"), ("a\nbb\nc\n", "a\n"), ("aaaaaaaaa\nb\n", "aaaaaaaaa\n"), ("a\n", "a\n")]
        {
            let (one, two) = halves(&Bytes::from_static(batch.as_bytes()));
            assert_eq!((&one[..], [&one[..], &two[..]].concat().as_slice()), (first.as_bytes(), batch.as_bytes()));
        }
    }

    #[test]
    fn an_array_has_every_line() {
        assert_eq!(array(b"{\"a\":1}\n{\"b\":2}\n"), b"[{\"a\":1},{\"b\":2}]");
    }
}
