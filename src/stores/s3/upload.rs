//! Publishing an upload in parts by a request of our own: it can carry a condition (`If-None-Match: *` on
//! CompleteMultipartUpload, or `If-Match`), and it knows what to make of an answer that was lost.

use async_trait::async_trait;
use base16ct::lower::encode_string;
use bytes::Bytes;
use md5::{Digest, Md5};
use object_store::multipart::PartId;

use super::client::BucketClient;
use crate::stores::object::{PartCopy, Publish, SentParts, element};
use crate::stores::rest::{Answer, Ask, first, key_path};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// Publishes uploads in one bucket.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) client: BucketClient,
    /// Whether the bucket takes parts that it copies itself.
    pub(super) copies_parts: bool,
}

#[async_trait]
impl Publish for Publisher {
    async fn publish(&self, sent: &SentParts<'_>) -> StoreResult<Option<String>> {
        let condition = sent.replaces.header();
        let conditional = condition.is_some();
        let mut ask = Ask {
            method: "POST",
            path: key_path(sent.path.as_ref())?,
            query: &[("uploadId", sent.id)],
            headers: condition.into_iter().collect(),
            body: completion(sent.parts.iter().map(|part| part.content_id.as_str())),
        };
        let (mut answer, mut tries) = self.ask(sent, ask.clone()).await;
        if conditional && matches!(&answer, Err(error) if error.kind == StoreErrorKind::Unsupported) {
            // A server without conditional requests: looking first is the best there is.
            self.client.judge(sent.path.as_ref(), sent.replaces).await?;
            ask.headers.clear();
            (answer, tries) = self.ask(sent, ask).await;
        }
        match answer {
            Ok(answer) => Ok(first(&answer.body, "ETag").map(|tag| tag.trim_matches('"').to_owned())),
            Err(error) if tries > 1 || error.kind == StoreErrorKind::Unavailable => {
                self.after_a_lost_answer(sent, error).await
            }
            Err(error) => Err(sent.refused(error)),
        }
    }

    fn copies_parts(&self) -> bool {
        self.copies_parts
    }

    async fn copy_part(&self, copy: PartCopy<'_>) -> StoreResult<PartId> {
        let key = copy.path.as_ref();
        let headers = self.client.copy_source(key, Some(&format!("\"{}\"", copy.etag)))?;
        let content_id = self.client.copy_range(key, key, headers, copy.id, copy.place, copy.range).await?;
        Ok(PartId { content_id })
    }
}

impl Publisher {
    async fn ask(&self, sent: &SentParts<'_>, ask: Ask<'_>) -> (StoreResult<Answer>, u32) {
        self.client.client.expect_counting("finish the upload of", sent.path.as_ref(), ask).await
    }

    /// An earlier try may have been done and its answer lost: then the upload is gone, and the object is made of its parts.
    async fn after_a_lost_answer(&self, sent: &SentParts<'_>, error: StoreError) -> StoreResult<Option<String>> {
        match self.published(sent).await {
            Some(etag) => Ok(Some(etag)),
            None => Err(sent.refused(error)),
        }
    }

    /// The entity tag of the object, if it was made of this upload. Equal content alone does not tell: of two clients that
    /// make the same file exclusively only one may succeed.
    async fn published(&self, sent: &SentParts<'_>) -> Option<String> {
        let path = key_path(sent.path.as_ref()).ok()?;
        let query = [("uploadId", sent.id), ("max-parts", "1")];
        let parts = Ask { method: "GET", path: path.clone(), query: &query, ..Ask::default() };
        match self.client.expect("look for the upload of", sent.path.as_ref(), parts).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            _ => return None,
        }
        let ask = Ask { method: "HEAD", path, ..Ask::default() };
        let head = self.client.expect("look up", sent.path.as_ref(), ask).await.ok()?;
        let header = |name: &str| head.head.headers().get(name)?.to_str().ok();
        let etag = header("etag")?.trim_matches('"');
        let ours = multipart_etag(sent).is_none_or(|ours| ours == etag);
        (ours && header("content-length")? == sent.size.to_string()).then(|| etag.to_owned())
    }
}

/// The entity tag that S3 makes of parts whose own tags are MD5 sums: the MD5 of the sums, and how many they are. `None`
/// where the tags are something else (SSE-KMS).
fn multipart_etag(sent: &SentParts<'_>) -> Option<String> {
    let mut all = Md5::new();
    for part in &sent.parts {
        let tag = element(&part.content_id, "e_tag").unwrap_or(&part.content_id).replace("&quot;", "\"");
        let tag = tag.trim_matches('"');
        let sum: Vec<u8> = (0..16).map_while(|at| u8::from_str_radix(tag.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        if tag.len() != 32 || sum.len() != 16 {
            return None;
        }
        all.update(&sum);
    }
    Some(format!("{}-{}", encode_string(&all.finalize()), sent.parts.len()))
}

/// What `object_store` keeps of a part that was sent with a checksum, as an element of its own, and what S3 calls each of them.
const KEPT_OF_A_PART: [(&str, &str); 3] =
    [("e_tag", "ETag"), ("checksum_sha256", "ChecksumSHA256"), ("checksum_crc64nvme", "ChecksumCRC64NVME")];

/// The body that completes an upload of these parts.
pub(super) fn completion<'p>(parts: impl Iterator<Item = &'p str>) -> Bytes {
    let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (place, part) in parts.enumerate() {
        body.push_str(&format!("<Part><PartNumber>{}</PartNumber>", place + 1));
        match part.starts_with("<PartMetadata>") {
            true => {
                for (kept, name) in KEPT_OF_A_PART {
                    if let Some(value) = element(part, kept) {
                        body.push_str(&format!("<{name}>{value}</{name}>"));
                    }
                }
            }
            false => body.push_str(&format!("<ETag>{}</ETag>", quick_xml::escape::escape(part))),
        }
        body.push_str("</Part>");
    }
    body.push_str("</CompleteMultipartUpload>");
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_as_s3_names_them() {
        let plain = completion(["\"a<b\""].into_iter());
        assert!(
            plain.ends_with(
                b"<PartNumber>1</PartNumber><ETag>&quot;a&lt;b&quot;</ETag></Part></CompleteMultipartUpload>"
            )
        );
        let kept = "<PartMetadata><e_tag>\"t\"</e_tag><checksum_sha256>c2Vj+/==</checksum_sha256></PartMetadata>";
        let summed = completion([kept].into_iter());
        let expected = b"<ETag>\"t\"</ETag><ChecksumSHA256>c2Vj+/==</ChecksumSHA256></Part></CompleteMultipartUpload>";
        assert!(summed.ends_with(expected), "{summed:?}");
    }
}
