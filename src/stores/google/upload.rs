//! Uploads that the store does not publish over an object: resumable uploads of the JSON API, begun with the condition that
//! no object has the name. (Uploads in parts of the XML API take no conditions.)
//!
//! The bytes of such an upload travel in order, so each part waits for the one before it. Whatever the store has not taken of
//! a part when a request fails, it says when asked, and gets again. Nobody sees an upload that is not finished; the store
//! drops it after a week, at once when it is aborted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::client::HttpRequestBody;
use object_store::{Attribute, PutMultipartOptions, PutPayload};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::{GoogleExtras, json, without_body};
use crate::stores::object::{WantedUpload, exists};
use crate::stores::rest::{Answer, Ask, Client, Failure, Headers, Pauses, Signing, TRIES};
use crate::stores::{Key, PartUpload, Provenance, StoreError, StoreErrorKind, StoreResult, Written};

/// Every request but the last carries a multiple of this, in bytes.
const UNIT: u64 = 256 << 10;

/// Asks for 200 with the true status beside it where the protocol says 308, which proxies may take for a redirection.
const NO_308: (&str, &str) = ("x-guploader-no-308", "yes");

/// Begins an upload.
pub(super) async fn begin(extras: &GoogleExtras, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
    let WantedUpload { path, options, key, mtime_kept, provenance, .. } = wanted;
    let (headers, body) = json(&serde_json::json!({ "metadata": metadata(&options) }))?;
    let query = [("uploadType", "resumable"), ("name", path.as_ref()), ("ifGenerationMatch", "0")];
    let ask = Ask { method: "POST", path: extras.upload_path(), query: &query, headers, body };
    let answer = match extras.client.expect("begin the upload of", path.as_ref(), ask).await {
        Err(error) if error.kind == StoreErrorKind::Changed => return Err(exists(&key)),
        other => other?,
    };
    let Some(address) = answer.header("location") else {
        let message = format!("the store gave no address for the upload of \"{key}\"");
        return Err(StoreError::new(StoreErrorKind::Other, message));
    };
    // Whoever has the address may send: requests to it carry no token.
    let client = Client { address: address.to_owned(), signing: Signing::None, ..extras.client.clone() };
    let session = Session { client, key };
    Ok(Box::new(Upload { session, mtime_kept, provenance, taken: 0, rest: Vec::new(), before: None, settled: false }))
}

/// The metadata among the attributes; we give no others.
fn metadata(options: &PutMultipartOptions) -> BTreeMap<&str, &str> {
    let named = options.attributes.iter().filter_map(|(attribute, value)| match attribute {
        Attribute::Metadata(name) => Some((name.as_ref(), value.as_ref())),
        _ => None,
    });
    named.collect()
}

/// An upload in progress.
struct Upload {
    session: Session,
    mtime_kept: bool,
    provenance: Option<Provenance>,
    /// The bytes of all parts so far, without `rest`.
    taken: u64,
    /// The end of the last part, less than [`UNIT`]: it goes with what follows.
    rest: Vec<Bytes>,
    /// Tells that the part before is sent; breaks when it failed.
    before: Option<oneshot::Receiver<()>>,
    settled: bool,
}

#[async_trait]
impl PartUpload for Upload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let mut data = std::mem::take(&mut self.rest);
        data.extend(part);
        let whole = length(&data);
        self.rest = split_off(&mut data, whole - whole % UNIT);
        let offset = self.taken;
        self.taken += length(&data);
        let (done, after) = oneshot::channel();
        let before = self.before.replace(after);
        let session = self.session.clone();
        async move {
            session.wait_for(before).await?;
            if !data.is_empty() {
                session.send(Chunk { offset, data, total: None }).await?;
            }
            // Nobody waits for the last part.
            let _ = done.send(());
            Ok(())
        }
        .boxed()
    }

    /// It replaces nothing at all.
    fn base_on(&mut self, _version: &str) {}

    async fn complete(&mut self) -> StoreResult<Written> {
        if self.settled {
            let message = format!("the upload of \"{}\" is finished already", self.session.key);
            return Err(StoreError::new(StoreErrorKind::Other, message));
        }
        self.session.wait_for(self.before.take()).await?;
        let data = std::mem::take(&mut self.rest);
        let total = self.taken + length(&data);
        let chunk = Chunk { offset: self.taken, data, total: Some(total) };
        let answer = self.session.send(chunk).await?;
        self.settled = true;
        let etag = answer.and_then(|answer| etag(&answer.body));
        // The answer does not say the number that reads are held to.
        Ok(Written { etag, mtime_kept: self.mtime_kept, version: None, provenance: self.provenance.take() })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        if self.settled {
            return Ok(());
        }
        self.session.remove().await?;
        self.settled = true;
        Ok(())
    }
}

/// Where an upload's requests go.
#[derive(Clone)]
struct Session {
    client: Client,
    key: Key,
}

/// A run of an upload's bytes.
struct Chunk {
    offset: u64,
    data: Vec<Bytes>,
    /// The length of the object, if these are its last bytes.
    total: Option<u64>,
}

/// What the store says to a request of an upload.
enum Said {
    /// The object is published.
    Published(Answer),
    /// It has this many bytes and waits for more.
    Has(u64),
}

impl Session {
    async fn wait_for(&self, part: Option<oneshot::Receiver<()>>) -> StoreResult<()> {
        let Some(part) = part else { return Ok(()) };
        part.await.map_err(|_| {
            let message = format!("not every part of \"{}\" was sent", self.key);
            StoreError::new(StoreErrorKind::Other, message)
        })
    }

    /// Sends a chunk until the store has all of it; the answer is that to the last chunk.
    async fn send(&self, mut chunk: Chunk) -> StoreResult<Option<Answer>> {
        let (mut tried, mut pauses) = (0, Pauses::new());
        let mut in_doubt = false;
        loop {
            let mut wish = None;
            let said = match in_doubt {
                true => self.put(format!("bytes */{}", chunk.total_text()), Vec::new()).await,
                false => self.put(chunk.range(), chunk.data.clone()).await,
            };
            match said {
                Ok(Said::Published(answer)) if chunk.total.is_some() => return Ok(Some(answer)),
                Ok(Said::Published(_)) => return Err(self.failed("it was published too early")),
                Ok(Said::Has(bytes)) if chunk.total.is_none() && bytes == chunk.end() => return Ok(None),
                Ok(Said::Has(bytes)) => {
                    // A store that takes nothing any more must not keep us here.
                    tried = if bytes > chunk.offset { 0 } else { tried + 1 };
                    if tried == 0 {
                        pauses.reset();
                    }
                    chunk.advance_to(bytes).ok_or_else(|| self.failed("the store lost bytes of it"))?;
                    in_doubt = false;
                }
                Err(failure) if failure.kind == StoreErrorKind::Changed => return Err(exists(&self.key)),
                Err(failure) if failure.passing => {
                    tried += 1;
                    in_doubt = true;
                    wish = failure.after;
                    if tried >= TRIES {
                        return Err(self.failed_as(failure.kind, &failure.reason));
                    }
                }
                Err(failure) => return Err(self.failed_as(failure.kind, &failure.reason)),
            }
            if tried >= TRIES {
                return Err(self.failed("the store accepts no more of it"));
            }
            if tried > 0 {
                pauses.pause(wish).await;
            }
        }
    }

    async fn put(&self, range: String, data: Vec<Bytes>) -> Result<Said, Failure> {
        let mut headers = if data.is_empty() { without_body() } else { Headers::new() };
        headers.push(("content-range".to_owned(), range));
        headers.push((NO_308.0.to_owned(), NO_308.1.to_owned()));
        let ask = Ask { method: "PUT", headers, ..Ask::default() };
        let mut request = self.client.request(&ask).map_err(|error| Failure {
            kind: error.kind,
            reason: error.message,
            passing: false,
            after: None,
        })?;
        *request.body_mut() = HttpRequestBody::from(PutPayload::from_iter(data));
        let answer = self.client.execute(request).await?;
        if answer.status == 308 || answer.header("x-http-status-code-override") == Some("308") {
            return Ok(Said::Has(persisted(answer.header("range"))));
        }
        match answer.failure() {
            Some(failure) => Err(failure),
            None => Ok(Said::Published(answer)),
        }
    }

    async fn remove(&self) -> StoreResult<()> {
        let ask = Ask { method: "DELETE", headers: without_body(), ..Ask::default() };
        let (mut tried, mut pauses) = (0, Pauses::new());
        loop {
            tried += 1;
            let failure = match self.client.execute(self.client.request(&ask)?).await {
                // 499 is the success of this request; the others say that the upload is gone.
                Ok(answer) if matches!(answer.status, 200..300 | 404 | 410 | 499) => return Ok(()),
                Ok(answer) => match answer.failure() {
                    Some(failure) => failure,
                    None => return Ok(()),
                },
                Err(failure) => failure,
            };
            if !failure.passing || tried == TRIES {
                let key = self.key.as_str();
                return Err(StoreError::cannot(failure.kind, "remove the parts of", key, &failure.reason));
            }
            pauses.pause(failure.after).await;
        }
    }

    fn failed(&self, why: &str) -> StoreError {
        self.failed_as(StoreErrorKind::Other, why)
    }

    fn failed_as(&self, kind: StoreErrorKind, why: &str) -> StoreError {
        StoreError::cannot(kind, "upload", self.key.as_str(), why)
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + length(&self.data)
    }

    fn total_text(&self) -> String {
        self.total.map_or_else(|| "*".to_owned(), |total| total.to_string())
    }

    /// The header `Content-Range`.
    fn range(&self) -> String {
        match self.end().checked_sub(1).filter(|last| *last >= self.offset) {
            Some(last) => format!("bytes {}-{last}/{}", self.offset, self.total_text()),
            None => format!("bytes */{}", self.total_text()),
        }
    }

    /// Drops what the store has; `None` when it has less than before or more than it was sent.
    fn advance_to(&mut self, bytes: u64) -> Option<()> {
        if bytes > self.end() {
            return None;
        }
        let done = bytes.checked_sub(self.offset)?;
        self.data = split_off(&mut self.data, done);
        self.offset = bytes;
        Some(())
    }
}

/// How many bytes the header `Range` of an answer says are kept: `bytes=0-41` is 42 of them; without one there are none.
fn persisted(range: Option<&str>) -> u64 {
    let last = range.and_then(|text| text.rsplit_once('-')).and_then(|(_, last)| last.parse::<u64>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

fn etag(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Resource {
        etag: String,
    }
    serde_json::from_slice::<Resource>(answer).ok().map(|resource| resource.etag.trim_matches('"').to_owned())
}

fn length(data: &[Bytes]) -> u64 {
    data.iter().map(|piece| piece.len() as u64).sum()
}

/// Leaves the first `keep` bytes in `data` and returns the rest, without copying any.
fn split_off(data: &mut Vec<Bytes>, keep: u64) -> Vec<Bytes> {
    let mut left = keep;
    let mut rest = Vec::new();
    for mut piece in std::mem::take(data) {
        // At most the piece's length, so it fits.
        let here = left.min(piece.len() as u64) as usize;
        left -= here as u64;
        let after = piece.split_off(here);
        if !piece.is_empty() {
            data.push(piece);
        }
        if !after.is_empty() {
            rest.push(after);
        }
    }
    rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_split_without_loss() {
        for keep in 0..=6 {
            let mut data = vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"def")];
            let rest = split_off(&mut data, keep);
            assert_eq!(length(&data), keep);
            assert_eq!([data.concat(), rest.concat()].concat(), b"abcdef");
        }
    }

    #[test]
    fn ranges_are_said_and_read_as_the_protocol_wants() {
        let mut chunk = Chunk { offset: 10, data: vec![Bytes::from_static(b"abcdef")], total: None };
        assert_eq!(chunk.range(), "bytes 10-15/*");
        assert!(chunk.advance_to(9).is_none() && chunk.advance_to(17).is_none());
        chunk.advance_to(13).unwrap();
        chunk.total = Some(16);
        assert_eq!((chunk.range().as_str(), chunk.data.concat().as_slice()), ("bytes 13-15/16", &b"def"[..]));
        chunk.advance_to(16).unwrap();
        assert_eq!(chunk.range(), "bytes */16");
        assert_eq!(Chunk { offset: 0, data: Vec::new(), total: Some(0) }.range(), "bytes */0");
        assert_eq!([persisted(Some("bytes=0-41")), persisted(Some("0-0")), persisted(None)], [42, 1, 0]);
    }
}
