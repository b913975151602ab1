//! What S3's interface knows of one bucket, and the requests that more than one task needs.

use std::ops::Range;

use bytes::Bytes;

use crate::stores::object::{MarkerTime, Replaces, bare_etag, exists, kept_time, replaced};
use crate::stores::rest::{Answer, Ask, Client, Headers, first, key_path};
use crate::stores::{Deletion, StoreError, StoreErrorKind, StoreResult};

/// The start of the names of an object's own metadata.
pub(super) const METADATA: &str = "x-amz-meta-";

/// The header of the kept modification time.
pub(super) const MTIME: &str = "x-amz-meta-mtime";

/// The header that says whether a copy gets new metadata.
pub(super) const METADATA_DIRECTIVE: &str = "x-amz-metadata-directive";

/// Sends requests to one bucket.
#[derive(Debug, Clone)]
pub(in crate::stores) struct BucketClient {
    pub(in crate::stores) client: Client,
    /// The bucket's name.
    pub(in crate::stores) bucket: String,
    /// Headers of every request that makes an object: the wanted encryption.
    pub(in crate::stores) creation_headers: Headers,
    /// Whether the server knows conditions on deletions. Others ignore them without a word.
    pub(in crate::stores) conditional_deletes: bool,
}

impl BucketClient {
    /// As [`Client::expect`].
    pub(super) async fn expect(&self, doing: &str, key: &str, ask: Ask<'_>) -> StoreResult<Answer> {
        self.client.expect(doing, key, ask).await
    }

    /// The body of a GET of the bucket.
    pub(super) async fn get_bucket(&self, query: &[(&str, &str)]) -> StoreResult<Bytes> {
        let ask = Ask { method: "GET", query, ..Ask::default() };
        Ok(self.expect("list", "", ask).await?.body)
    }

    /// Writes the zero-byte object that other tools know as a folder.
    pub(super) async fn put_marker(&self, prefix: &str, mtime: Option<&str>) -> StoreResult<()> {
        let mut headers = self.creation_headers.clone();
        headers.extend(mtime.map(|mtime| (MTIME.to_owned(), mtime.to_owned())));
        headers.push(("content-type".to_owned(), "application/x-directory".to_owned()));
        let ask = Ask { method: "PUT", path: key_path(prefix)?, headers, ..Ask::default() };
        self.expect("make the directory", prefix, ask).await.map(drop)
    }

    /// The times of a folder's marker; `None` when there is none.
    pub(super) async fn marker_time(&self, prefix: &str) -> StoreResult<Option<MarkerTime>> {
        let ask = Ask { method: "HEAD", path: key_path(prefix)?, ..Ask::default() };
        let found = match self.expect("look up", prefix, ask).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let kept = kept_time(|name| found.header(&format!("{METADATA}{name}")));
        let stored = found.header("last-modified").and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok());
        Ok(Some(MarkerTime { kept, stored: stored.map(Into::into) }))
    }

    /// Deletes a raw key; one that is gone is no error.
    pub(super) async fn delete(&self, key: &str) -> StoreResult<()> {
        let ask = Ask { method: "DELETE", path: key_path(key)?, ..Ask::default() };
        match self.expect("delete", key, ask).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Deletes a raw key if it is still the version of this tag (without quotes); one that is gone is no error.
    pub(super) async fn delete_version(&self, key: &str, etag: &str) -> StoreResult<Deletion> {
        if !self.conditional_deletes {
            match self.version(key).await? {
                Some(found) if found == etag => {}
                Some(_) => return Err(replaced(key)),
                None => return Ok(Deletion::WasGone),
            }
        }
        let headers = Replaces::Version(etag).header().into_iter().collect();
        let ask = Ask { method: "DELETE", path: key_path(key)?, headers, ..Ask::default() };
        match self.client.expect_counting("delete", key, ask).await {
            (Err(error), 1) if error.kind == StoreErrorKind::NotFound => Ok(Deletion::WasGone),
            // The answer to an earlier try may be lost.
            (Err(error), _) if error.kind == StoreErrorKind::NotFound => Ok(Deletion::Done),
            (Err(error), _) if error.kind == StoreErrorKind::Changed => Err(replaced(key)),
            (other, _) => other.map(|_| Deletion::Done),
        }
    }

    /// The entity tag of a raw key, without quotes; `None` when there is no object.
    pub(super) async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        let ask = Ask { method: "HEAD", path: key_path(key)?, ..Ask::default() };
        match self.expect("look up", key, ask).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            // An object without a tag is no version that anybody can name.
            found => Ok(Some(bare_etag(found?.header("etag").map(str::to_owned)).unwrap_or_default())),
        }
    }

    /// Looks whether a key may be replaced, and refuses if not.
    pub(super) async fn judge(&self, key: &str, replaces: Replaces<'_>) -> StoreResult<()> {
        match (replaces, self.version(key).await?) {
            (Replaces::Anything, _) | (Replaces::Nothing, None) => Ok(()),
            (Replaces::Nothing, Some(_)) => Err(exists(key)),
            (Replaces::Version(wanted), Some(found)) if found == wanted => Ok(()),
            (Replaces::Version(_), _) => Err(replaced(key)),
        }
    }

    /// The headers that name a version of an object as a copy's source; `etag` has its quotes.
    pub(super) fn copy_source(&self, key: &str, etag: Option<&str>) -> StoreResult<Headers> {
        let source = format!("{}{}", self.bucket, key_path(key)?);
        let mut headers = vec![("x-amz-copy-source".to_owned(), source)];
        headers.extend(etag.map(|etag| ("x-amz-copy-source-if-match".to_owned(), etag.to_owned())));
        Ok(headers)
    }

    /// Copies a range of an object into a part of an upload (UploadPartCopy); the new part's entity tag. `headers` name the
    /// source, `place` counts from 0.
    pub(super) async fn copy_range(
        &self,
        from: &str,
        to: &str,
        mut headers: Headers,
        upload: &str,
        place: usize,
        range: Range<u64>,
    ) -> StoreResult<String> {
        headers.push(("x-amz-copy-source-range".to_owned(), format!("bytes={}-{}", range.start, range.end - 1)));
        let number = (place + 1).to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let ask = Ask { method: "PUT", path: key_path(to)?, query: &query, headers, ..Ask::default() };
        let answer = self.expect("copy a part of", from, ask).await?;
        first(&answer.body, "ETag").ok_or_else(|| {
            StoreError::new(StoreErrorKind::Other, format!("the store gave no tag for a part of \"{to}\""))
        })
    }
}
