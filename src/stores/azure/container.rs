//! The requests to one container that more than one task needs.

use bytes::Bytes;
use object_store::azure::AzureCredential;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::name::judge;
use crate::stores::object::{FOLDER, MTIME, bare_etag, without_credentials};
use crate::stores::rest::{Answer, Ask, Client, Headers, Signing, key_path};
use crate::stores::{StoreErrorKind, StoreResult};

/// The version of the interface that is spoken: the one of `object_store`. It is sent with unsigned requests as well.
const VERSION: &str = "2023-11-03";

/// The start of the names of a blob's own metadata.
pub(super) const METADATA: &str = "x-ms-meta-";

/// Sends requests to one container.
#[derive(Debug, Clone)]
pub(in crate::stores) struct Container {
    client: Client,
}

/// What is asked of a blob.
#[derive(Debug, Default)]
pub(super) struct BlobAsk<'a> {
    pub(super) method: &'static str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Container {
    /// `client`'s address is the container's.
    pub(in crate::stores) fn new(client: Client) -> Self {
        Container { client }
    }

    /// Sends a request for a blob, as [`Client::expect`].
    pub(super) async fn blob(&self, doing: &str, key: &str, ask: BlobAsk<'_>) -> StoreResult<Answer> {
        judge(key)?;
        self.expect(doing, key, key_path(key)?, ask).await
    }

    /// Sends a GET for the container; `key` is what it is about.
    pub(super) async fn get(&self, doing: &str, key: &str, query: &[(&str, &str)]) -> StoreResult<Answer> {
        self.expect(doing, key, String::new(), BlobAsk { method: "GET", query, ..BlobAsk::default() }).await
    }

    async fn expect(&self, doing: &str, key: &str, path: String, ask: BlobAsk<'_>) -> StoreResult<Answer> {
        self.expect_counting(doing, key, path, ask).await.0
    }

    /// As [`Client::expect_counting`].
    async fn expect_counting(
        &self,
        doing: &str,
        key: &str,
        path: String,
        ask: BlobAsk<'_>,
    ) -> (StoreResult<Answer>, u32) {
        let BlobAsk { method, query, mut headers, body } = ask;
        headers.push(("x-ms-version".to_owned(), VERSION.to_owned()));
        if method == "PUT" {
            // The signature covers it, so it has to be there before the request is sent.
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        self.client.expect_counting(doing, key, Ask { method, path, query, headers, body }).await
    }

    /// Looks a blob up.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    pub(super) async fn head(&self, key: &str) -> StoreResult<Head> {
        self.blob("look up", key, BlobAsk { method: "HEAD", ..BlobAsk::default() }).await.map(Head)
    }

    /// The blob of a directory's own name, if it stands for the directory.
    pub(super) async fn marker(&self, directory: &str) -> StoreResult<Option<Head>> {
        match self.head(directory).await {
            Ok(found) => Ok(Some(found).filter(Head::is_folder)),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a directory's marker, under the directory's own name, where nothing has it.
    pub(super) async fn put_marker(&self, directory: &str, mtime: Option<&str>) -> StoreResult<()> {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            text("x-ms-blob-type", "BlockBlob"),
            text(&format!("{METADATA}{FOLDER}"), "true"),
            text("if-none-match", "*"),
        ];
        headers.extend(mtime.map(|mtime| text(&format!("{METADATA}{MTIME}"), mtime)));
        let ask = BlobAsk { method: "PUT", headers, ..BlobAsk::default() };
        self.blob("make the directory", directory, ask).await.map(drop)
    }

    /// Deletes a blob; with `etag` that version only. One that is gone is no error.
    pub(super) async fn delete(&self, key: &str, etag: Option<&str>) -> StoreResult<()> {
        match self.delete_counting(key, etag).await?.0 {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// As [`Container::delete`], where one that is gone is an error; and how often the request was sent.
    pub(super) async fn delete_counting(&self, key: &str, etag: Option<&str>) -> StoreResult<(StoreResult<()>, u32)> {
        judge(key)?;
        let headers = etag.map(|etag| ("if-match".to_owned(), etag.to_owned())).into_iter().collect();
        let ask = BlobAsk { method: "DELETE", headers, ..BlobAsk::default() };
        let (answer, tries) = self.expect_counting("delete", key, key_path(key)?, ask).await;
        Ok((answer.map(drop), tries))
    }

    /// The address of a blob as the source of a copy. It carries the shared access signature, if that is what lets us in.
    pub(super) async fn source(&self, key: &str) -> StoreResult<String> {
        judge(key)?;
        let mut address = format!("{}{}", self.client.address, key_path(key)?);
        let Signing::Azure { credentials, .. } = &self.client.signing else { return Ok(address) };
        let credential = credentials.get_credential().await;
        let credential = credential.map_err(|error| without_credentials("copy", key, &error))?;
        if let AzureCredential::SASToken(pairs) = &*credential {
            for (place, (name, value)) in pairs.iter().enumerate() {
                address.push(if place == 0 { '?' } else { '&' });
                address.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
                address.push('=');
                address.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        Ok(address)
    }
}

/// What a look-up says of a blob.
pub(super) struct Head(Answer);

impl Head {
    /// What an answer to another request says of the blob.
    pub(super) fn of(answer: Answer) -> Self {
        Head(answer)
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.0.head.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The entity tag with its quotes.
    pub(super) fn etag(&self) -> Option<&str> {
        self.header("etag")
    }

    /// The same without.
    pub(super) fn version(&self) -> Option<String> {
        bare_etag(self.etag().map(str::to_owned))
    }

    /// Whether it stands for a directory: an empty blob with the metadata, or a real directory of an account with
    /// hierarchical names.
    pub(super) fn is_folder(&self) -> bool {
        let says = |name: &str, value: &str| self.header(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        says("x-ms-resource-type", "directory")
            || (says("content-length", "0") && says(&format!("{METADATA}{FOLDER}"), "true"))
    }

    /// The blob's metadata as headers; `None` if some of it cannot be sent again as it is.
    pub(super) fn metadata(&self) -> Option<Headers> {
        let own = self.0.head.headers().iter().filter(|(name, _)| name.as_str().starts_with(METADATA));
        own.map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
    }
}
