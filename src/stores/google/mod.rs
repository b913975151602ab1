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
use object_store::UpdateVersion;
use object_store::path::Path;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::object::{
    Copied, Extras, ListRequest, MTIME, MultipartBackend, ObjectCopy, PartedUpload, Publish, RawPage, Replaces,
    SentParts, WantedUpload, at, bare_etag, exists, replaced,
};
use super::rest::{Ask, Client, Headers};
use super::unfinished::{Begun, BucketJournal};
use super::{Change, Deletion, Existing, PartUpload, StoreError, StoreErrorKind, StoreResult, Unfinished};

/// What a listing is asked for: no more than is read.
const LISTED: &str = "kind,nextPageToken,prefixes,items(name,size,updated,etag,generation,metadata)";

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
            // The markers of the directories show beside them, with their times.
            query.push(("includeTrailingDelimiter", "true"));
        }
        if let Some(from) = request.from {
            query.push(("pageToken", from));
        }
        let path = format!("/storage/v1/b/{}/o", self.bucket);
        let ask = Ask { method: "GET", path, query: &query, ..Ask::default() };
        let answer = self.client.expect("list", request.prefix, ask).await?;
        let mut page = listing::read(&answer.body, request.prefix)?;
        if request.delimited {
            // A marker shows beside the prefix that it is; where the end of a page parts the two, the prefix is enough.
            let RawPage { objects, prefixes, .. } = &mut page;
            objects.retain(|object| {
                !object.key.ends_with('/') || object.key == request.prefix || prefixes.contains(&object.key)
            });
        }
        Ok(page)
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

    async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        generation(&self.client, self.object_path(key)?, key).await
    }

    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
        let query = [("ifGenerationMatch", version)];
        let ask = Ask { method: "DELETE", path: self.object_path(key)?, query: &query, ..Ask::default() };
        match self.client.expect_counting("delete", key, ask).await {
            (Err(error), 1) if error.kind == StoreErrorKind::NotFound => Ok(Deletion::WasGone),
            // The answer to an earlier try may be lost.
            (Err(error), _) if error.kind == StoreErrorKind::NotFound => Ok(Deletion::Done),
            (Err(error), _) if error.kind == StoreErrorKind::Changed => Err(replaced(key)),
            (other, _) => other.map(|_| Deletion::Done),
        }
    }

    fn condition(&self, version: &str) -> UpdateVersion {
        UpdateVersion { e_tag: None, version: Some(version.to_owned()) }
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
        copy::object(self, copy).await
    }

    async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>> {
        let (headers, body) = json(&serde_json::json!({ "metadata": { MTIME: mtime } }))?;
        let mut query = vec![("fields", "generation")];
        query.extend(only.map(|only| ("ifGenerationMatch", only)));
        let ask = Ask { method: "PATCH", path: self.object_path(key)?, query: &query, headers, body };
        let answer = self.client.expect("set the time of", key, ask).await?;
        // New metadata makes no new version.
        let version = serde_json::from_slice(&answer.body).ok().map(|found: Generation| found.generation);
        Ok(Some(Change { before: version.clone(), after: version }))
    }

    async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool> {
        let done = match self.set_mtime(prefix, mtime, None).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                self.put_marker(prefix).await?;
                self.set_mtime(prefix, mtime, None).await
            }
            done => done,
        };
        done.map(|kept| kept.is_some())
    }

    fn reads_by_version(&self) -> bool {
        true
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        if wanted.existing == Existing::Refuse {
            return upload::begin(self, wanted).await;
        }
        let noted = self.journal.begin(wanted.path.as_ref()).await;
        let look_up = self.object_path(wanted.path.as_ref())?;
        let publisher = Publisher { multipart: self.multipart.clone(), client: self.client.clone(), look_up };
        let publisher = Arc::new(publisher);
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

/// What an answer that was asked for `generation` alone holds.
#[derive(Deserialize)]
struct Generation {
    generation: String,
}

/// The generation of an object whose metadata has this path; `None` when there is no object.
async fn generation(client: &Client, path: String, key: &str) -> StoreResult<Option<String>> {
    let ask = Ask { method: "GET", path, query: &[("fields", "generation")], ..Ask::default() };
    match client.expect("look up", key, ask).await {
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        answer => match serde_json::from_slice::<Generation>(&answer?.body) {
            Ok(resource) => Ok(Some(resource.generation)),
            Err(error) => Err(unreadable(key, &error.to_string())),
        },
    }
}

fn unreadable(key: &str, why: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("the store's answer about \"{key}\" cannot be read: {why}"))
}

/// Publishes an upload in parts, which takes no conditions here: what it may replace is looked at right before.
struct Publisher {
    multipart: MultipartBackend,
    client: Client,
    /// The path of the object's metadata.
    look_up: String,
}

#[async_trait]
impl Publish for Publisher {
    async fn publish(&self, sent: &SentParts<'_>) -> StoreResult<Option<String>> {
        let found = async || generation(&self.client, self.look_up.clone(), sent.path.as_ref()).await;
        match sent.replaces {
            Replaces::Version(version) if found().await?.as_deref() != Some(version) => return Err(replaced(sent.key)),
            // An upload that was renamed learns this late.
            Replaces::Nothing if found().await?.is_some() => return Err(exists(sent.key)),
            Replaces::Version(_) | Replaces::Nothing | Replaces::Anything => {}
        }
        let done = self.multipart.0.complete_multipart(sent.path, &sent.id.to_owned(), sent.parts.clone()).await;
        Ok(bare_etag(done.map_err(at("finish the upload of", sent.key))?.e_tag))
    }

    fn names_versions_by_tag(&self) -> bool {
        false
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
