//! Uploads in parts that the store does not publish over an object: `object_store` sends the parts, the request that
//! completes them is ours and carries the condition (S3: `If-None-Match: *` on CompleteMultipartUpload).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::PutPayload;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;

use super::client::BucketClient;
use crate::stores::object::{ExclusiveUpload, at};
use crate::stores::rest::{Ask, first, key_path};
use crate::stores::{Key, PartUpload, StoreError, StoreErrorKind, StoreResult, Written};

/// `object_store`'s calls for single parts.
#[derive(Clone)]
pub(in crate::stores) struct MultipartBackend(pub(in crate::stores) Arc<dyn MultipartStore>);

impl fmt::Debug for MultipartBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MultipartBackend")
    }
}

/// Begins an upload.
pub(super) async fn begin(
    client: BucketClient,
    parts: MultipartBackend,
    wanted: ExclusiveUpload,
) -> StoreResult<Box<dyn PartUpload>> {
    let ExclusiveUpload { path, options, key, mtime_kept } = wanted;
    let begun = parts.0.create_multipart_opts(&path, options).await;
    let id = begun.map_err(at("begin the upload of", &key))?;
    Ok(Box::new(Upload { client, parts, path, key, id, mtime_kept, next: 0, sent: Arc::default(), settled: false }))
}

/// An upload in progress.
struct Upload {
    client: BucketClient,
    parts: MultipartBackend,
    path: Path,
    key: Key,
    id: String,
    mtime_kept: bool,
    /// The place of the next part.
    next: usize,
    /// The parts that the store has, by place.
    sent: Arc<Mutex<Vec<Option<PartId>>>>,
    settled: bool,
}

impl Upload {
    fn finished(&self) -> StoreError {
        StoreError::new(StoreErrorKind::Other, format!("the upload of \"{}\" is finished already", self.key))
    }

    /// All parts in order.
    fn all_parts(&self) -> StoreResult<Vec<PartId>> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<PartId> = sent.iter().flatten().cloned().collect();
        if parts.len() == self.next {
            return Ok(parts);
        }
        Err(StoreError::new(StoreErrorKind::Other, format!("not every part of \"{}\" was sent", self.key)))
    }
}

#[async_trait]
impl PartUpload for Upload {
    fn put_part(&mut self, part: Vec<Bytes>) -> BoxFuture<'static, StoreResult<()>> {
        let place = self.next;
        self.next += 1;
        let (parts, path, id, key) = (self.parts.clone(), self.path.clone(), self.id.clone(), self.key.clone());
        let sent = Arc::clone(&self.sent);
        async move {
            let done = parts.0.put_part(&path, &id, place, PutPayload::from_iter(part)).await;
            let done = done.map_err(at("write a part of", key))?;
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            if sent.len() <= place {
                sent.resize(place + 1, None);
            }
            sent[place] = Some(done);
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> StoreResult<Written> {
        if self.settled {
            return Err(self.finished());
        }
        if self.next == 0 {
            // An upload without parts cannot be completed.
            self.put_part(Vec::new()).await?;
        }
        let parts = self.all_parts()?;
        let (name, value) = self.client.dialect.refuse_existing();
        let ask = Ask {
            method: "POST",
            path: key_path(self.path.as_ref())?,
            query: &[("uploadId", &self.id)],
            headers: vec![(name.to_owned(), value.to_owned())],
            body: completion(parts.iter().map(|part| part.content_id.as_str())),
        };
        let answer = match self.client.expect("finish the upload of", self.path.as_ref(), ask.clone()).await {
            // A server without conditional requests: looking first is the best there is.
            Err(error) if error.kind == StoreErrorKind::Unsupported => {
                self.client.refuse_existing(self.path.as_ref()).await?;
                let ask = Ask { headers: Vec::new(), ..ask };
                self.client.expect("finish the upload of", self.path.as_ref(), ask).await?
            }
            Err(error) if error.kind == StoreErrorKind::Changed => {
                let message = format!("\"{}\" exists already", self.key);
                return Err(StoreError::new(StoreErrorKind::AlreadyExists, message));
            }
            other => other?,
        };
        self.settled = true;
        let etag = first(&answer.body, "ETag").map(|tag| tag.trim_matches('"').to_owned());
        Ok(Written { etag, mtime_kept: self.mtime_kept })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        if self.settled {
            return Ok(());
        }
        match self.parts.0.abort_multipart(&self.path, &self.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                self.settled = true;
                Ok(())
            }
            Err(error) => Err(at("remove the parts of", &self.key)(error)),
        }
    }
}

/// The body that completes an upload of these parts. With checksums, `object_store` keeps a part's tag and sums as elements.
pub(super) fn completion<'p>(parts: impl Iterator<Item = &'p str>) -> Bytes {
    let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (place, part) in parts.enumerate() {
        body.push_str(&format!("<Part><PartNumber>{}</PartNumber>", place + 1));
        let elements = part.strip_prefix("<PartMetadata>").and_then(|rest| rest.strip_suffix("</PartMetadata>"));
        match elements {
            Some(elements) => body.push_str(elements),
            None => body.push_str(&format!("<ETag>{}</ETag>", quick_xml::escape::escape(part))),
        }
        body.push_str("</Part>");
    }
    body.push_str("</CompleteMultipartUpload>");
    body.into()
}
