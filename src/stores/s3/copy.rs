//! Copies on the server's side: in one request, or above 5 GiB by parts; with the source's metadata or with a new mtime.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::BucketExtras;
use super::client::{METADATA, METADATA_DIRECTIVE, MTIME};
use super::upload::completion;
use crate::stores::object::{
    Copied, IF_MATCH, IF_NONE_MATCH, MtimeForm, ObjectCopy, Replaces, TOKEN, bare_etag, judge_only, read_mtime, token,
};
use crate::stores::provenance::Names;
use crate::stores::rest::{Answer, Ask, Headers, first, key_path};
use crate::stores::{Change, Made, StoreError, StoreErrorKind, StoreResult};

/// Parts that are copied at once.
const AT_ONCE: usize = 8;

/// The smallest part of a copy: large enough that few requests are needed, small enough to run several at once.
const PART: u64 = 512 << 20;

/// The most parts of an object.
const MOST_PARTS: u64 = 10_000;

/// Headers that belong to an object and are given again when its metadata is replaced.
const OWN_HEADERS: [&str; 6] =
    ["content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires"];

/// Copies an object, or a marker, with its metadata.
///
/// What was made here a moment ago is copied without a look at it, on the condition that nobody has replaced it since.
pub(super) async fn object(extras: &BucketExtras, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
    if let Some(made) = copy.made {
        match of_source(extras, copy, Source::made(copy.from, made)).await {
            Err(error) if is_another(&error) => {}
            done => return done,
        }
    }
    of_source(extras, copy, Source::look_up(extras, copy.from).await?).await
}

/// Whether the source was not what it was taken for.
fn is_another(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound)
}

/// Not every server knows conditions on the target of a copy, so it is looked at before as well.
async fn of_source(extras: &BucketExtras, copy: ObjectCopy<'_>, source: Source<'_>) -> StoreResult<Copied> {
    let ObjectCopy { to, replaces, .. } = copy;
    copy.judge_version(source.etag.as_deref())?;
    if replaces != Replaces::Anything {
        extras.client.judge(to, replaces).await?;
    }
    let token = (replaces != Replaces::Anything && source.metadata_is_text()).then(token);
    let own = copy.mtime.is_some() || token.is_some() || source.size > extras.largest_copy;
    let metadata = own.then(|| {
        let mut metadata = source.metadata(copy.mtime);
        metadata.retain(|(name, _)| *name != token_header());
        metadata.extend(token.clone().map(|token| (token_header(), token)));
        metadata
    });
    let etag = match make(extras, &source, to, metadata, replaces).await {
        Err(error) if replaces != Replaces::Anything && error.kind == StoreErrorKind::Changed => {
            match made_before(extras, to, token.as_deref()).await {
                Some(etag) => etag,
                // The condition that failed may be the source's or the target's.
                None => {
                    extras.client.judge(to, replaces).await?;
                    return Err(error);
                }
            }
        }
        made => made?,
    };
    Ok(Copied { source: bare_etag(source.etag), made: etag.clone(), etag })
}

/// The copy's entity tag, if an earlier try has made it, whose answer was lost.
async fn made_before(extras: &BucketExtras, to: &str, token: Option<&str>) -> Option<Option<String>> {
    let found = Source::look_up(extras, to).await.ok()?;
    let ours = token.is_some_and(|token| found.header(&token_header()) == Some(token));
    ours.then(|| bare_etag(found.etag))
}

fn token_header() -> String {
    format!("{METADATA}{TOKEN}")
}

/// Replaces the kept modification time, of `only` this version if one is given, by copying the object onto itself.
pub(super) async fn with_mtime(
    extras: &BucketExtras,
    key: &str,
    mtime: &str,
    only: Option<&str>,
) -> StoreResult<Change> {
    let source = Source::look_up(extras, key).await?;
    judge_only(key, only, source.etag.as_deref())?;
    onto_itself(extras, &source, mtime).await
}

/// The same of an object that was made here a moment ago, without a look at it; what it is with its new time. Should another have its
/// name by now, that one gets the time, unless `only` another one may.
pub(super) async fn of_made_with_mtime(
    extras: &BucketExtras,
    key: &str,
    made: &Made,
    mtime: &str,
    only: Option<&str>,
) -> StoreResult<(Change, Option<Made>)> {
    if only.is_none_or(|only| only == made.etag) {
        match onto_itself(extras, &Source::made(key, made), mtime).await {
            Err(error) if is_another(&error) => {}
            done => {
                let change = done?;
                let etag = change.after.clone();
                return Ok((change, etag.map(|etag| Made { etag, mtime: read_mtime(mtime), ..made.clone() })));
            }
        }
    }
    with_mtime(extras, key, mtime, only).await.map(|change| (change, None))
}

async fn onto_itself(extras: &BucketExtras, source: &Source<'_>, mtime: &str) -> StoreResult<Change> {
    let before = bare_etag(source.etag.clone());
    let replaces = before.as_deref().map_or(Replaces::Anything, Replaces::Version);
    let after = make(extras, source, source.key, Some(source.metadata(Some(mtime))), replaces).await?;
    Ok(Change { before, after })
}

/// Makes the copy, in one request or by parts; its entity tag. `metadata`: what it gets instead of the source's.
async fn make(
    extras: &BucketExtras,
    source: &Source<'_>,
    to: &str,
    metadata: Option<Headers>,
    replaces: Replaces<'_>,
) -> StoreResult<Option<String>> {
    if source.size <= extras.largest_copy {
        return at_once(extras, source, to, metadata, replaces).await;
    }
    by_parts(extras, source, to, metadata.unwrap_or_else(|| source.metadata(None)), replaces).await
}

/// The version that is copied.
struct Source<'a> {
    key: &'a str,
    size: u64,
    /// With its quotes.
    etag: Option<String>,
    about: About,
}

/// Where a version's metadata is known from.
enum About {
    /// A look at it.
    Looked(Answer),
    /// It was made here, and has this metadata alone.
    Made(Headers),
}

impl<'a> Source<'a> {
    async fn look_up(extras: &BucketExtras, key: &'a str) -> StoreResult<Self> {
        let ask = Ask { method: "HEAD", path: key_path(key)?, ..Ask::default() };
        let head = extras.client.expect("look up", key, ask).await?;
        let header = |name: &str| head.head.headers().get(name).and_then(|value| value.to_str().ok());
        let size = header("content-length").and_then(|text| text.parse().ok());
        let etag = header("etag").map(str::to_owned);
        let Some(size) = size else {
            return Err(StoreError::new(
                StoreErrorKind::Other,
                format!("the store does not say how long \"{key}\" is"),
            ));
        };
        Ok(Source { key, size, etag, about: About::Looked(head) })
    }

    fn made(key: &'a str, made: &Made) -> Self {
        let mtime = made.mtime.and_then(|time| MtimeForm::Seconds.write(time));
        let mut metadata: Headers = mtime.map(|mtime| (MTIME.to_owned(), mtime)).into_iter().collect();
        if let Some(provenance) = &made.provenance {
            let own = provenance.metadata(Names::Dashes);
            metadata.extend(own.map(|(name, value)| (format!("{METADATA}{name}"), value.to_owned())));
        }
        Source { key, size: made.size, etag: Some(format!("\"{}\"", made.etag)), about: About::Made(metadata) }
    }

    /// A header of its metadata.
    fn header(&self, name: &str) -> Option<&str> {
        match &self.about {
            About::Looked(head) => head.header(name),
            About::Made(metadata) => metadata.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()),
        }
    }

    /// The object's own headers and metadata, with another mtime if one is given.
    fn metadata(&self, mtime: Option<&str>) -> Headers {
        let mut kept = match &self.about {
            About::Looked(head) => own_headers(head),
            About::Made(metadata) => metadata.clone(),
        };
        if let Some(mtime) = mtime {
            kept.retain(|(name, _)| name != MTIME);
            kept.push((MTIME.to_owned(), mtime.to_owned()));
        }
        kept.extend(self.storage_class());
        kept
    }

    /// Whether all of its metadata can be given again.
    fn metadata_is_text(&self) -> bool {
        let About::Looked(Answer { head, .. }) = &self.about else { return true };
        let mut own = head.headers().iter().filter(|(name, _)| name.as_str().starts_with(METADATA));
        own.all(|(_, value)| value.to_str().is_ok())
    }

    /// A copy goes to the standard class unless it is told otherwise.
    fn storage_class(&self) -> Option<(String, String)> {
        let class = self.header("x-amz-storage-class")?;
        Some(("x-amz-storage-class".to_owned(), class.to_owned()))
    }

    /// The headers that name this version as a copy's source.
    fn headers(&self, extras: &BucketExtras) -> StoreResult<Headers> {
        extras.client.copy_source(self.key, self.etag.as_deref())
    }
}

/// The headers of an object's own that a copy with other metadata has to be given again.
fn own_headers(head: &Answer) -> Headers {
    let headers = head.head.headers().iter().map(|(name, value)| (name.as_str(), value));
    let own = headers.filter(|(name, _)| OWN_HEADERS.contains(name) || name.starts_with(METADATA));
    own.filter_map(|(name, value)| Some((name.to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// One request for all of it. `metadata`: what the copy gets instead of the source's.
async fn at_once(
    extras: &BucketExtras,
    source: &Source<'_>,
    to: &str,
    metadata: Option<Headers>,
    replaces: Replaces<'_>,
) -> StoreResult<Option<String>> {
    let mut headers = source.headers(extras)?;
    match metadata {
        Some(metadata) => {
            headers.push((METADATA_DIRECTIVE.to_owned(), "REPLACE".to_owned()));
            headers.extend(metadata);
        }
        None => headers.extend(source.storage_class()),
    }
    headers.extend(replaces.header());
    let ask = Ask { method: "PUT", path: key_path(to)?, headers: creation(extras, headers), ..Ask::default() };
    conditional(extras, "copy to", to, ask).await
}

/// Sends a request; without its condition on the target where the store knows none. The caller has looked before.
///
/// Gives the entity tag that the answer has.
async fn conditional(extras: &BucketExtras, doing: &str, to: &str, mut ask: Ask<'_>) -> StoreResult<Option<String>> {
    let is_condition = |name: &str| [IF_NONE_MATCH, IF_MATCH].contains(&name);
    let conditional = ask.headers.iter().any(|(name, _)| is_condition(name));
    let answered = match extras.client.expect(doing, to, ask.clone()).await {
        Err(error) if conditional && error.kind == StoreErrorKind::Unsupported => {
            ask.headers.retain(|(name, _)| !is_condition(name));
            extras.client.expect(doing, to, ask).await
        }
        other => other,
    };
    Ok(bare_etag(first(&answered?.body, "ETag")))
}

fn creation(extras: &BucketExtras, mut headers: Headers) -> Headers {
    headers.extend(extras.client.creation_headers.iter().cloned());
    headers
}

/// A copy by parts (UploadPartCopy): begun with the metadata, removed again if anything fails.
async fn by_parts(
    extras: &BucketExtras,
    source: &Source<'_>,
    to: &str,
    metadata: Headers,
    replaces: Replaces<'_>,
) -> StoreResult<Option<String>> {
    let begin = Ask {
        method: "POST",
        path: key_path(to)?,
        query: &[("uploads", "")],
        headers: creation(extras, metadata),
        ..Ask::default()
    };
    let noted = extras.journal.begin(to).await;
    let answer = extras.client.expect("begin a copy to", to, begin).await?;
    let Some(upload) = first(&answer.body, "UploadId") else {
        return Err(StoreError::new(StoreErrorKind::Other, format!("the store gave no upload for \"{to}\"")));
    };
    if let Some(noted) = &noted {
        noted.named(&upload);
    }
    let copied = copy_parts(extras, source, to, &upload, replaces).await;
    if copied.is_err() {
        let abort = Ask { method: "DELETE", path: key_path(to)?, query: &[("uploadId", &upload)], ..Ask::default() };
        if let Err(error) = extras.client.expect("remove the parts of", to, abort).await {
            tracing::warn!(%error, "the parts of a copy are left in the store");
            return copied;
        }
    }
    if let Some(noted) = noted {
        noted.settled();
    }
    copied
}

async fn copy_parts(
    extras: &BucketExtras,
    source: &Source<'_>,
    to: &str,
    upload: &str,
    replaces: Replaces<'_>,
) -> StoreResult<Option<String>> {
    let part = PART.min(extras.largest_copy).max(source.size.div_ceil(MOST_PARTS));
    let parts = (0..source.size.div_ceil(part)).map(|number| {
        let range = number * part..((number + 1) * part).min(source.size);
        (usize::try_from(number).unwrap_or(usize::MAX), range)
    });
    let headers = source.headers(extras)?;
    let parts =
        parts.map(|(place, range)| extras.client.copy_range(source.key, to, headers.clone(), upload, place, range));
    let tags: Vec<String> = stream::iter(parts).buffered(AT_ONCE).try_collect().await?;
    let complete = Ask {
        method: "POST",
        path: key_path(to)?,
        query: &[("uploadId", upload)],
        headers: replaces.header().into_iter().collect(),
        body: completion(tags.iter().map(String::as_str)),
    };
    conditional(extras, "finish the copy to", to, complete).await
}
