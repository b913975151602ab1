//! Removing the parts that killed processes left in a bucket.

use std::sync::Arc;

use chrono::DateTime;

use super::client::BucketClient;
use crate::stores::rest::{Ask, key_path, walk};
use crate::stores::unfinished::Begun;
use crate::stores::{StoreError, StoreErrorKind, StoreResult, Unfinished};

/// How far the store's clock may be from ours, in seconds, when an upload whose id was never learned is looked for.
const CLOCKS_APART: u64 = 300;

/// Removes what the journal has for this bucket. What cannot be removed stays in the journal; the first error is given.
pub(super) async fn remove(client: &BucketClient, journal: &Arc<Unfinished>) -> StoreResult<u64> {
    let mut removed = 0;
    let mut failed = None;
    for (entry, begun) in journal.left_over(&client.client.address) {
        match remove_one(client, &begun).await {
            Ok(uploads) => {
                removed += uploads;
                entry.settled();
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(removed),
    }
}

async fn remove_one(client: &BucketClient, begun: &Begun) -> StoreResult<u64> {
    let ids = match &begun.id {
        Some(id) => vec![id.clone()],
        None => ids_of(client, begun).await?,
    };
    let mut removed = 0;
    for id in ids {
        let query = [("uploadId", id.as_str())];
        let ask = Ask { method: "DELETE", path: key_path(&begun.key)?, query: &query, ..Ask::default() };
        match client.expect("remove the parts of", &begun.key, ask).await {
            Ok(_) => removed += 1,
            // It was finished just before its process died.
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// The uploads of exactly this key that were begun when the journal says: the process died before it learned the id.
async fn ids_of(client: &BucketClient, begun: &Begun) -> StoreResult<Vec<String>> {
    let answer = client.get_bucket(&[("uploads", ""), ("prefix", &begun.key), ("max-uploads", "1000")]).await?;
    let mut uploads = vec![Listed::default()];
    walk(&answer, |path, text| {
        let Some(upload) = uploads.last_mut() else { return };
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [_, "Upload", "Key"] => upload.key = text.to_owned(),
            [_, "Upload", "UploadId"] => upload.id = text.to_owned(),
            [_, "Upload", "Initiated"] => upload.at = DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp()),
            [_, "Upload"] => uploads.push(Listed::default()),
            _ => {}
        }
    })
    .map_err(|reason| {
        let message = format!("the store's list of unfinished uploads of \"{}\" cannot be read: {reason}", begun.key);
        StoreError::new(StoreErrorKind::Other, message)
    })?;
    let at = i64::try_from(begun.at).unwrap_or(i64::MAX);
    let ours = |upload: &Listed| {
        let then = upload.at.is_some_and(|listed| listed.abs_diff(at) <= CLOCKS_APART);
        upload.key == begun.key && then && !upload.id.is_empty()
    };
    Ok(uploads.into_iter().filter(ours).map(|upload| upload.id).collect())
}

#[derive(Default)]
struct Listed {
    key: String,
    id: String,
    /// Seconds since 1970.
    at: Option<i64>,
}
