//! Uploads in blocks: `object_store` sends them under random names, the request that publishes them is ours.
//!
//! Blocks of all unfinished uploads of a name lie side by side in Azure, so their names must not meet. Whoever publishes first
//! makes Azure discard the blocks of all others: theirs then end with [`StoreErrorKind::Changed`], never with a mixture. Nothing
//! shows unfinished blocks, nothing but time removes them: Azure discards them a week after the last one was sent.

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use object_store::{Attribute, PutMultipartOptions};

use super::container::{BlobAsk, Container, METADATA};
use crate::stores::object::{Publish, Replaces, SentParts, exists, replaced};
use crate::stores::provenance::Names;
use crate::stores::rest::{Headers, walk};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// What the publishing of an upload says it does.
const FINISH: &str = "finish the upload of";

/// Publishes one upload.
#[derive(Debug)]
pub(super) struct Publisher {
    container: Container,
    metadata: Headers,
}

/// The headers of the blob's metadata.
fn metadata(options: &PutMultipartOptions) -> StoreResult<Headers> {
    let header = |(attribute, value): (&Attribute, &object_store::AttributeValue)| match attribute {
        Attribute::Metadata(name) => Ok((format!("{METADATA}{name}"), value.to_string())),
        other => Err(StoreError::new(StoreErrorKind::Unsupported, format!("an upload cannot set {other:?}"))),
    };
    options.attributes.iter().map(header).collect()
}

impl Publisher {
    pub(super) fn new(container: Container, options: &PutMultipartOptions) -> StoreResult<Self> {
        Ok(Publisher { container, metadata: metadata(options)? })
    }

    /// Publishes (Put Block List); the entity tag of the new version.
    async fn put_list(&self, sent: &SentParts<'_>, blocks: &[String]) -> StoreResult<Option<String>> {
        let mut headers = self.metadata.clone();
        let digest = |sha256: &str| (format!("{METADATA}{}", Names::Underscores.sha256()), sha256.to_owned());
        headers.extend(sent.sha256.map(digest));
        headers.extend(sent.replaces.header());
        let ask = BlobAsk { method: "PUT", query: &[("comp", "blocklist")], headers, body: block_list(blocks) };
        let answer = self.container.blob(FINISH, sent.path.as_ref(), ask).await?;
        Ok(bare_etag(&answer))
    }

    /// Whether a publishing that failed is done nevertheless: its answers may have been lost, and a request that was sent
    /// again has then met its own blob. The entity tag if so.
    async fn published(&self, sent: &SentParts<'_>, blocks: &[String]) -> Option<Option<String>> {
        let query = [("comp", "blocklist"), ("blocklisttype", "committed")];
        let ask = BlobAsk { method: "GET", query: &query, ..BlobAsk::default() };
        let answer = self.container.blob("look up the blocks of", sent.path.as_ref(), ask).await.ok()?;
        let mut present = Vec::new();
        walk(&answer.body, |path, text| {
            if path.ends_with(&["Block".to_owned(), "Name".to_owned()]) {
                present.push(text.to_owned());
            }
        })
        .ok()?;
        (!blocks.is_empty() && present == blocks).then(|| bare_etag(&answer))
    }

    /// Why a publishing failed whose condition or whose blocks did not hold.
    async fn refusal(&self, sent: &SentParts<'_>, error: StoreError) -> StoreError {
        let found = self.container.head(sent.path.as_ref()).await;
        match (sent.replaces, found) {
            (Replaces::Nothing, Ok(_)) => return exists(sent.key),
            (Replaces::Version(version), Ok(found)) if found.version().as_deref() != Some(version) => {
                return replaced(sent.key);
            }
            (Replaces::Version(_), Err(missing)) if missing.kind == StoreErrorKind::NotFound => {
                return replaced(sent.key);
            }
            _ => {}
        }
        let what = "another upload of that name was finished meanwhile, and Azure discarded the parts of this one";
        StoreError::new(error.kind, format!("cannot {FINISH} \"{}\": {what}", sent.key))
    }
}

fn bare_etag(answer: &crate::stores::rest::Answer) -> Option<String> {
    let tag = answer.head.headers().get("etag")?.to_str().ok()?.trim_matches('"');
    (!tag.is_empty()).then(|| tag.to_owned())
}

#[async_trait]
impl Publish for Publisher {
    async fn publish(&self, sent: &SentParts<'_>) -> StoreResult<Option<String>> {
        // The names as they stand in a list of blocks; the library gives them raw. They are random.
        let blocks: Vec<String> = sent.parts.iter().map(|part| BASE64_STANDARD.encode(&part.content_id)).collect();
        let error = match self.put_list(sent, &blocks).await {
            Ok(etag) => return Ok(etag),
            Err(error) => error,
        };
        // Of a request that was sent again and again no failure says what became of the first. The names of the blocks do.
        if let Some(etag) = self.published(sent, &blocks).await {
            return Ok(etag);
        }
        Err(match error.kind {
            StoreErrorKind::AlreadyExists | StoreErrorKind::Changed | StoreErrorKind::NotFound => {
                self.refusal(sent, error).await
            }
            _ => error,
        })
    }

    fn needs_a_part(&self) -> bool {
        false
    }

    fn keeps_sha256(&self) -> bool {
        true
    }
}

/// The body that publishes these blocks. `Latest` finds those that are published already, so that the request may be sent again.
fn block_list(blocks: &[String]) -> Bytes {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for block in blocks {
        body.push_str("<Latest>");
        body.push_str(block);
        body.push_str("</Latest>");
    }
    body.push_str("</BlockList>");
    body.into()
}
