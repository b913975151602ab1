//! Removing the parts that killed processes left in a bucket.

use chrono::DateTime;

use super::client::BucketClient;
use crate::stores::rest::{Ask, first, key_path, walk};
use crate::stores::unfinished::Begun;
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// How far the store's clock may be from ours, in seconds, when an upload whose id was never learned is looked for.
const CLOCKS_APART: u64 = 300;

/// Removes an upload that was begun and whose process is gone; gives how many there were.
pub(super) async fn remove(client: &BucketClient, begun: Begun) -> StoreResult<u64> {
    let (ids, anybodys) = match &begun.id {
        Some(id) => (vec![id.clone()], false),
        // The process died before it learned the id: uploads of exactly this key that were begun when the journal says.
        None => (ids_begun_then(client, &begun).await?, true),
    };
    let mut removed = 0;
    for id in ids {
        match has_parts(client, &begun, &id).await? {
            // It was finished just before its process died, or is removed already. Some servers say nothing of that to an abort.
            None => continue,
            // One that has a part is somebody else's: the process died before it could send any.
            Some(true) if anybodys => continue,
            Some(_) => {}
        }
        let query = [("uploadId", id.as_str())];
        let ask = Ask { method: "DELETE", path: key_path(&begun.key)?, query: &query, ..Ask::default() };
        match client.expect("remove the parts of", &begun.key, ask).await {
            Ok(_) => removed += 1,
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Whether an upload has parts; `None` when there is no such upload.
async fn has_parts(client: &BucketClient, begun: &Begun, id: &str) -> StoreResult<Option<bool>> {
    let query = [("uploadId", id), ("max-parts", "1")];
    let ask = Ask { method: "GET", path: key_path(&begun.key)?, query: &query, ..Ask::default() };
    match client.expect("list the parts of", &begun.key, ask).await {
        Ok(answer) => Ok(Some(first(&answer.body, "PartNumber").is_some())),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn ids_begun_then(client: &BucketClient, begun: &Begun) -> StoreResult<Vec<String>> {
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
