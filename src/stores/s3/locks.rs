//! Object Lock of S3, by requests of our own: `object_store` sends no such headers.

use std::time::SystemTime;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use md5::{Digest, Md5};

use super::BucketClient;
use super::xml;
use crate::stores::locks::{Lock, LockMode, LockRule, Locks, StoredVersion};
use crate::stores::object::{IF_NONE_MATCH, exists};
use crate::stores::rest::{Ask, first, key_path};
use crate::stores::{Key, StoreError, StoreErrorKind, StoreResult};

/// How many versions one page of a listing has at most.
const PAGE: &str = "1000";

/// The locks of one bucket.
#[derive(Debug)]
pub(in crate::stores) struct BucketLocks {
    pub(in crate::stores) client: BucketClient,
    /// What stands before every key: empty, or the URL's path with a slash at its end.
    pub(in crate::stores) prefix: String,
}

impl BucketLocks {
    fn full(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl Locks for BucketLocks {
    async fn rule(&self) -> StoreResult<LockRule> {
        let answer = match self.client.get_bucket(&[("object-lock", "")]).await {
            // ObjectLockConfigurationNotFoundError.
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(LockRule::Off),
            answer => answer?,
        };
        if first(&answer, "ObjectLockEnabled").as_deref() != Some("Enabled") {
            return Ok(LockRule::Off);
        }
        let unit = |name: &str, word: &str| first(&answer, name).map(|number| format!("{number} {word}"));
        let length = unit("Days", "days").or_else(|| unit("Years", "years"));
        Ok(LockRule::On(first(&answer, "Mode").zip(length).map(|(mode, length)| format!("{mode}, {length}"))))
    }

    async fn put_locked(&self, key: &Key, data: Bytes, lock: Lock) -> StoreResult<()> {
        let full = self.full(key);
        let until = DateTime::<Utc>::from(lock.until).to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut headers = self.client.creation_headers.clone();
        for (name, value) in [
            (IF_NONE_MATCH, "*".to_owned()),
            ("x-amz-object-lock-mode", lock.mode.as_str().to_owned()),
            ("x-amz-object-lock-retain-until-date", until),
            // Each request with a lock must carry a checksum; this one every server knows.
            ("content-md5", STANDARD.encode(Md5::digest(&data))),
        ] {
            headers.push((name.to_owned(), value));
        }
        let ask = Ask { method: "PUT", path: key_path(&full)?, headers, body: data, ..Ask::default() };
        match self.client.expect("write", &full, ask).await {
            // Another write may be under way, or the object is there.
            Err(error) if error.kind == StoreErrorKind::Changed => match self.client.version(&full).await? {
                Some(_) => Err(exists(key)),
                None => Err(StoreError::new(StoreErrorKind::Unavailable, error.to_string())),
            },
            done => done.map(drop),
        }
    }

    async fn lock_of(&self, key: &Key, version: &str) -> StoreResult<Option<Lock>> {
        let full = self.full(key);
        let query = [("retention", ""), ("versionId", version)];
        let ask = Ask { method: "GET", path: key_path(&full)?, query: &query, ..Ask::default() };
        let answer = match self.client.expect("read the lock of", &full, ask).await {
            // NoSuchObjectLockConfiguration.
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            answer => answer?.body,
        };
        let mode = first(&answer, "Mode").and_then(|mode| LockMode::parse(&mode));
        let until = first(&answer, "RetainUntilDate").and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        Ok(mode.zip(until).map(|(mode, until)| Lock { mode, until: SystemTime::from(until) }))
    }

    async fn versions(&self, folder: &Key) -> StoreResult<Vec<StoredVersion>> {
        let prefix = format!("{}{}", self.prefix, folder.as_prefix());
        let (mut all, mut from) = (Vec::new(), None::<(String, String)>);
        loop {
            let mut query = vec![("versions", ""), ("encoding-type", "url"), ("max-keys", PAGE), ("prefix", &prefix)];
            if let Some((key, version)) = &from {
                query.extend([("key-marker", key.as_str()), ("version-id-marker", version.as_str())]);
            }
            let page = xml::versions(&self.client.get_bucket(&query).await?, &prefix)?;
            all.extend(page.versions);
            match page.next {
                // A server that does not get on would be asked for ever.
                Some(next) if from.as_ref() != Some(&next) => from = Some(next),
                Some(_) => {
                    let what = format!("the listing of the versions of \"{prefix}\" does not get on");
                    return Err(StoreError::new(StoreErrorKind::Other, what));
                }
                None => return Ok(all),
            }
        }
    }

    async fn get_version(&self, key: &Key, version: &str) -> StoreResult<Bytes> {
        let full = self.full(key);
        let query = [("versionId", version)];
        let ask = Ask { method: "GET", path: key_path(&full)?, query: &query, ..Ask::default() };
        // The content is an error's only by its status.
        self.client.client.content_of("read", &full, ask).await
    }
}
