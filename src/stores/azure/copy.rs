//! Copies within the account, of any size, by Copy Blob. A small one is done when it is answered; a large one goes on and is
//! waited for.

use std::time::{Duration, Instant};

use super::container::{BlobAsk, Container, Head, METADATA};
use crate::backoff::Backoff;
use crate::stores::object::{Copied, MTIME, ObjectCopy, Replaces, TOKEN, bare_etag, exists, token};
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
    if source.is_folder() {
        return Err(StoreError::plain(StoreErrorKind::IsADirectory, format!("\"{from}\" is a directory")));
    }
    copy.judge_version(source.etag())?;
    let mut headers = vec![("x-ms-copy-source".to_owned(), container.source(from).await?)];
    if let Some(etag) = source.etag() {
        headers.push(("x-ms-source-if-match".to_owned(), etag.to_owned()));
    }
    headers.extend(tier(&source).map(|tier| ("x-ms-access-tier".to_owned(), tier.to_owned())));
    let token = (replaces != Replaces::Anything && source.metadata().is_some()).then(token);
    headers.extend(metadata(&source, mtime, token.as_deref()));
    headers.extend(replaces.header());
    let begun = match container.blob("copy to", to, BlobAsk { method: "PUT", headers, ..BlobAsk::default() }).await {
        Ok(begun) => Head::of(begun),
        Err(error)
            if replaces != Replaces::Anything
                && matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::AlreadyExists) =>
        {
            // An earlier try may have begun it, whose answer was lost; or the condition is the source's, or the target's.
            begun_before(container, to, token.as_deref(), replaces, error).await?
        }
        Err(error) => return Err(error),
    };
    let header = |name| begun.header(name);
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

/// All of a copy's metadata, with another modification time or token: to give some of it is to leave out the rest. What of the
/// source's cannot be sent again is left out.
fn metadata(source: &Head, mtime: Option<&str>, token: Option<&str>) -> Headers {
    let own = [(MTIME, mtime), (TOKEN, token)].into_iter().filter_map(|(name, value)| Some((name, value?)));
    let own: Headers = own.map(|(name, value)| (format!("{METADATA}{name}"), value.to_owned())).collect();
    if own.is_empty() {
        return Headers::new();
    }
    let mut headers = source.metadata().unwrap_or_default();
    headers.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
    headers.extend(own);
    headers
}

/// The tier that was chosen for a blob; a copy would go to the account's own.
fn tier(source: &Head) -> Option<&str> {
    let chosen = source.header("x-ms-access-tier-inferred") != Some("true");
    source.header("x-ms-access-tier").filter(|tier| chosen && matches!(*tier, "Hot" | "Cool" | "Cold"))
}

/// The target of a copy whose condition failed, if it is this copy's; else what to answer.
async fn begun_before(
    container: &Container,
    to: &str,
    token: Option<&str>,
    replaces: Replaces<'_>,
    error: StoreError,
) -> StoreResult<Head> {
    let Ok(found) = container.head(to).await else { return Err(error) };
    let ours = token.is_some() && found.header(&format!("{METADATA}{TOKEN}")) == token;
    match (ours, replaces) {
        (true, _) => Ok(found),
        (false, Replaces::Nothing) => Err(exists(to)),
        (false, _) => Err(error),
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
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut moved = Instant::now();
    loop {
        let failed = |why: &str| StoreError::new(StoreErrorKind::Other, format!("cannot copy to \"{to}\": {why}"));
        match now.status.as_str() {
            "success" => return Ok(etag),
            "pending" if moved.elapsed() < PATIENCE => {}
            "pending" => {
                let mut error = failed("the store makes no progress with it");
                error.kind = StoreErrorKind::Unavailable;
                return Err((Some(now), error));
            }
            other => return Err((Some(now.clone()), failed(&format!("the store gave it up ({other})")))),
        }
        tokio::time::sleep(backoff.wait()).await;
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
