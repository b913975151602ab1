//! What `object_store` cannot do on Google Cloud Storage, by requests of our own to the JSON API: folder markers, listings
//! with the kept modification times, copies of any size, new metadata in place, uploads that never replace.
//!
//! A directory's marker is the zero-byte object `dir/` that the console, gcloud and rclone make. A listing gives the metadata
//! of its objects, so it shows the kept times at no extra request; PATCH changes one value of an object's metadata and leaves
//! its bytes and the rest where they are.

mod copy;
mod listing;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use super::object::{
    Extras, LibraryPublisher, ListRequest, MTIME, MultipartBackend, ObjectCopy, PartedUpload, RawPage, WantedUpload, at,
};
use super::rest::{Ask, Client, Headers};
use super::unfinished::{Begun, BucketJournal};
use super::{Existing, PartUpload, StoreError, StoreErrorKind, StoreResult, Unfinished};

/// What a listing is asked for: no more than is read.
const LISTED: &str = "kind,nextPageToken,prefixes,items(name,size,updated,etag,metadata)";

/// [`Extras`] over the JSON API.
#[derive(Debug)]
pub(super) struct GoogleExtras {
    /// Sends the requests; its address is the service's.
    pub(super) client: Client,
    /// The bucket's name.
    pub(super) bucket: String,
    /// `object_store`'s calls for single parts.
    pub(super) multipart: MultipartBackend,
    /// Where uploads in parts are noted until they are settled.
    pub(super) journal: BucketJournal,
}

#[async_trait]
impl Extras for GoogleExtras {
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        let most = request.most.to_string();
        let mut query = vec![("prefix", request.prefix), ("maxResults", &most), ("fields", LISTED)];
        if request.delimited {
            query.push(("delimiter", "/"));
        }
        if let Some(from) = request.from {
            query.push(("pageToken", from));
        }
        let path = format!("/storage/v1/b/{}/o", self.bucket);
        let ask = Ask { method: "GET", path, query: &query, ..Ask::default() };
        let answer = self.client.expect("list the bucket of", request.prefix, ask).await?;
        listing::read(&answer.body, request.prefix)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        let mut headers = without_body();
        headers.push(("content-type".to_owned(), "application/x-directory".to_owned()));
        let query = [("uploadType", "media"), ("name", prefix), ("ifGenerationMatch", "0"), ("fields", "name")];
        let ask = Ask { method: "POST", path: self.upload_path(), query: &query, headers, ..Ask::default() };
        match self.client.expect("make the directory", prefix, ask).await {
            // It is there already.
            Err(error) if error.kind == StoreErrorKind::Changed => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        let ask = Ask { method: "DELETE", path: self.object_path(key)?, ..Ask::default() };
        match self.client.expect("delete", key, ask).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Option<String>> {
        // The entity tag of this interface is not the one that reads show.
        copy::object(self, copy).await.map(|()| None)
    }

    async fn set_mtime(&self, key: &str, mtime: &str) -> StoreResult<bool> {
        let (headers, body) = json(&serde_json::json!({ "metadata": { MTIME: mtime } }))?;
        let query = [("fields", "name")];
        let ask = Ask { method: "PATCH", path: self.object_path(key)?, query: &query, headers, body };
        self.client.expect("set the time of", key, ask).await.map(|_| true)
    }

    fn reads_by_version(&self) -> bool {
        true
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        if wanted.existing == Existing::Refuse {
            return upload::begin(self, wanted).await;
        }
        let noted = self.journal.begin(wanted.path.as_ref());
        let publisher = Arc::new(LibraryPublisher(self.multipart.clone()));
        PartedUpload::begin(self.multipart.clone(), publisher, noted, wanted).await
    }

    fn note_in(&self, journal: Arc<Unfinished>) {
        self.journal.set(journal);
    }

    async fn remove_unfinished(&self) -> StoreResult<u64> {
        self.journal.remove_left_over(|begun| self.remove(begun)).await
    }
}

impl GoogleExtras {
    /// Removes the parts of an upload whose process is gone. One whose id nobody learned has none.
    async fn remove(&self, begun: Begun) -> StoreResult<u64> {
        let Some(id) = &begun.id else { return Ok(0) };
        let failed = at("remove the parts of", &begun.key);
        let path = match Path::parse(&begun.key) {
            Ok(path) => path,
            Err(error) => return Err(failed(error.into())),
        };
        match self.multipart.0.abort_multipart(&path, id).await {
            Ok(()) => Ok(1),
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(failed(error)),
        }
    }

    /// The path of an object's metadata.
    fn object_path(&self, key: &str) -> StoreResult<String> {
        self.object_name(key).map(|name| format!("/storage/v1{name}"))
    }

    /// The object as paths name it, from the bucket on.
    fn object_name(&self, key: &str) -> StoreResult<String> {
        // Clients of HTTP resolve these, and the service takes no object of such a name.
        if key == "." || key == ".." {
            return Err(StoreError::new(StoreErrorKind::InvalidName, format!("no object can have the name \"{key}\"")));
        }
        Ok(format!("/b/{}/o/{}", self.bucket, utf8_percent_encode(key, NON_ALPHANUMERIC)))
    }

    fn upload_path(&self) -> String {
        format!("/upload/storage/v1/b/{}/o", self.bucket)
    }
}

/// A value as the body of a request, with its headers.
fn json(value: &impl Serialize) -> StoreResult<(Headers, Bytes)> {
    let body = serde_json::to_vec(value).map_err(|error| {
        StoreError::with_source(StoreErrorKind::Other, "the request cannot be written as JSON", error)
    })?;
    Ok((vec![("content-type".to_owned(), "application/json".to_owned())], body.into()))
}

/// The headers of a request that may have a body and has none: Google refuses it without a length (411).
fn without_body() -> Headers {
    vec![("content-length".to_owned(), "0".to_owned())]
}
