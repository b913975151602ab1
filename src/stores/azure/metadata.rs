//! A new modification time on an old blob, by Set Blob Metadata: two requests, no copy.

use super::container::{BlobAsk, Container, Head, METADATA};
use crate::stores::object::{MTIME, bare_etag, judge_only};
use crate::stores::{Change, StoreErrorKind, StoreResult};

/// Replaces the kept modification time, of `only` this version if one is given, and sends the rest of the metadata again, which the
/// request would drop. `None` where it cannot be kept: beside metadata that is not ASCII.
pub(super) async fn set_mtime(
    container: &Container,
    key: &str,
    mtime: &str,
    only: Option<&str>,
) -> StoreResult<Option<Change>> {
    let found = container.head(key).await?;
    if found.is_folder() {
        return Ok(None);
    }
    judge_only(key, only, found.etag())?;
    set(container, key, &found, mtime).await
}

/// The same of a directory: of its marker, whichever of the two forms it has, and a new one where there is none. `false` where a
/// file has the name that a marker needs.
pub(super) async fn set_directory_mtime(container: &Container, prefix: &str, mtime: &str) -> StoreResult<bool> {
    let directory = prefix.trim_end_matches('/');
    let (ours, theirs) = futures_util::join!(container.head(directory), container.head(prefix));
    let (ours, theirs) = (found(ours)?, found(theirs)?);
    match (ours, theirs) {
        (Some(ours), _) if ours.is_folder() => set(container, directory, &ours, mtime).await.map(|kept| kept.is_some()),
        (_, Some(theirs)) => set(container, prefix, &theirs, mtime).await.map(|kept| kept.is_some()),
        (Some(_), None) => Ok(false),
        (None, None) => container.put_marker(directory, Some(mtime)).await.map(|()| true),
    }
}

fn found(answer: StoreResult<Head>) -> StoreResult<Option<Head>> {
    match answer {
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

async fn set(container: &Container, key: &str, found: &Head, mtime: &str) -> StoreResult<Option<Change>> {
    let Some(mut headers) = found.metadata() else { return Ok(None) };
    let name = format!("{METADATA}{MTIME}");
    headers.retain(|(other, _)| *other != name);
    headers.push((name, mtime.to_owned()));
    if let Some(etag) = found.etag() {
        headers.push(("if-match".to_owned(), etag.to_owned()));
    }
    let query = [("comp", "metadata")];
    let ask = BlobAsk { method: "PUT", query: &query, headers, ..BlobAsk::default() };
    let answer = container.blob("set the time of", key, ask).await?;
    let after = bare_etag(answer.header("etag").map(str::to_owned));
    Ok(Some(Change { before: found.version(), after }))
}
