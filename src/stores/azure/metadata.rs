//! A new modification time on an old blob, by Set Blob Metadata: two requests, no copy.

use super::container::{BlobAsk, Container, METADATA};
use crate::stores::StoreResult;
use crate::stores::object::MTIME;

/// Replaces the kept modification time and sends the rest of the metadata again, which the request would drop. `false` where
/// it cannot be kept: on a directory's marker, and beside metadata that is not ASCII.
pub(super) async fn set_mtime(container: &Container, key: &str, mtime: &str) -> StoreResult<bool> {
    let found = container.head(key).await?;
    let Some(mut headers) = found.metadata().filter(|_| !found.is_folder()) else { return Ok(false) };
    let name = format!("{METADATA}{MTIME}");
    headers.retain(|(other, _)| *other != name);
    headers.push((name, mtime.to_owned()));
    if let Some(etag) = found.etag() {
        headers.push(("if-match".to_owned(), etag.to_owned()));
    }
    let query = [("comp", "metadata")];
    let ask = BlobAsk { method: "PUT", query: &query, headers, ..BlobAsk::default() };
    container.blob("set the time of", key, ask).await.map(|_| true)
}
