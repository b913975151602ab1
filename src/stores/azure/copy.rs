//! Copies within the account, of any size, by Copy Blob. A small one is done when it is answered; a large one goes on and is
//! waited for.

use std::time::{Duration, Instant};

use super::container::{BlobAsk, Container, Head, METADATA};
use crate::stores::object::{Copied, MTIME, ObjectCopy, Replaces, bare_etag, exists};
use crate::stores::rest::Headers;
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// The first wait for a copy that goes on; each further one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A copy that has not moved for this long is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Copies a blob with its metadata, properties and access tier.
pub(super) async fn blob(container: &Container, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
    let ObjectCopy { from, to, replaces, mtime, .. } = copy;
    let source = container.head(from).await?;
    copy.judge_version(source.etag())?;
    let mut headers = vec![("x-ms-copy-source".to_owned(), container.source(from).await?)];
    if let Some(etag) = source.etag() {
        headers.push(("x-ms-source-if-match".to_owned(), etag.to_owned()));
    }
    headers.extend(tier(&source).map(|tier| ("x-ms-access-tier".to_owned(), tier.to_owned())));
    headers.extend(mtime.into_iter().flat_map(|mtime| metadata(&source, mtime)));
    headers.extend(replaces.header());
    let begun = match container.blob("copy to", to, BlobAsk { method: "PUT", headers, ..BlobAsk::default() }).await {
        Ok(begun) => begun,
        // The condition that failed may be the source's or the target's.
        Err(error) if replaces == Replaces::Nothing && error.kind == StoreErrorKind::Changed => {
            return Err(refused(container, to, error).await);
        }
        Err(error) => return Err(error),
    };
    let header = |name| begun.head.headers().get(name).and_then(|value| value.to_str().ok());
    match wait(container, to, Copy::read(header)).await {
        Ok(last) => {
            let etag = last.or_else(|| bare_etag(header("etag").map(str::to_owned)));
            Ok(Copied { source: source.version(), made: etag.clone(), etag })
        }
        Err((unfinished, error)) => {
            if let Some(copy) = unfinished {
                give_up(container, to, &copy).await;
            }
            Err(error)
        }
    }
}

/// All of a copy's metadata, with another modification time: to give some of it is to leave out the rest. What of the source's
/// cannot be sent again is left out.
fn metadata(source: &Head, mtime: &str) -> Headers {
    let name = format!("{METADATA}{MTIME}");
    let mut headers = source.metadata().unwrap_or_default();
    headers.retain(|(other, _)| *other != name);
    headers.push((name, mtime.to_owned()));
    headers
}

/// The tier that was chosen for a blob; a copy would go to the account's own.
fn tier(source: &Head) -> Option<&str> {
    let chosen = source.header("x-ms-access-tier-inferred") != Some("true");
    source.header("x-ms-access-tier").filter(|tier| chosen && matches!(*tier, "Hot" | "Cool" | "Cold"))
}

/// What to answer when a condition of a copy that must not replace failed.
async fn refused(container: &Container, to: &str, error: StoreError) -> StoreError {
    match container.head(to).await {
        Ok(_) => exists(to),
        Err(_) => error,
    }
}

/// What the store says of a copy, in its answer and in each look-up of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    /// The number of the copy that made the target last.
    id: String,
    status: String,
    /// Bytes that are copied and all of them, as text.
    progress: String,
}

impl Copy {
    fn read<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Self {
        let text = |name| header(name).unwrap_or_default().to_owned();
        Copy { id: text("x-ms-copy-id"), status: text("x-ms-copy-status"), progress: text("x-ms-copy-progress") }
    }
}

/// Waits until a copy has succeeded; the target's entity tag, if it had to be looked up. With the error comes the copy whose
/// unfinished target is there still.
async fn wait(container: &Container, to: &str, begun: Copy) -> Result<Option<String>, (Option<Copy>, StoreError)> {
    let mut now = begun.clone();
    let mut etag = None;
    let mut pause = FIRST_WAIT;
    let mut moved = Instant::now();
    loop {
        let failed = |why: &str| StoreError::new(StoreErrorKind::Other, format!("cannot copy to \"{to}\": {why}"));
        match now.status.as_str() {
            "success" => return Ok(etag),
            "pending" if moved.elapsed() < PATIENCE => {}
            "pending" => {
                let mut error = failed("the store does not go on with it");
                error.kind = StoreErrorKind::Unavailable;
                return Err((Some(now), error));
            }
            other => return Err((Some(now.clone()), failed(&format!("the store gave it up ({other})")))),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_WAIT);
        let found = container.head(to).await.map_err(|error| (Some(now.clone()), error))?;
        let then = Copy::read(|name| found.header(name));
        if then.id != begun.id {
            let message = format!("\"{to}\" was replaced while it was copied");
            return Err((None, StoreError::new(StoreErrorKind::Changed, message)));
        }
        if then.progress != now.progress {
            moved = Instant::now();
        }
        now = then;
        etag = found.version();
    }
}

/// Stops a copy and removes what there is of its target, as far as the store answers: an empty blob.
async fn give_up(container: &Container, to: &str, copy: &Copy) {
    if copy.status == "pending" {
        let query = [("comp", "copy"), ("copyid", copy.id.as_str())];
        let headers = vec![("x-ms-copy-action".to_owned(), "abort".to_owned())];
        let ask = BlobAsk { method: "PUT", query: &query, headers, ..BlobAsk::default() };
        if let Err(error) = container.blob("stop the copy to", to, ask).await {
            tracing::warn!(%error, "a copy that failed goes on in the store");
        }
    }
    let Ok(found) = container.head(to).await else { return };
    let left = Copy::read(|name| found.header(name));
    if left.id == copy.id
        && left.status != "success"
        && let Err(error) = container.delete(to, found.etag()).await
    {
        tracing::warn!(%error, "what a copy that failed left is still there");
    }
}
