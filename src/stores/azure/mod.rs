//! What `object_store` cannot do on Azure Blob Storage, by signed requests of our own: folder markers, listings that no odd
//! name can fail and that show kept times, copies that are waited for, new metadata on an old blob, uploads that never replace.
//!
//! A directory's marker is what Azure's own tools write: an empty blob of the directory's name with the metadata
//! `hdi_isfolder`. Those that others write as an empty blob `dir/` are understood.

mod container;
mod copy;
mod metadata;
mod name;
#[cfg(test)]
mod tests;
mod upload;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use object_store::PutMultipartOptions;
use object_store::azure::MicrosoftAzure;
use tokio::sync::OnceCell;

use super::object::{
    Copied, Extras, ListRequest, ListedTime, MtimeForm, MultipartBackend, ObjectCopy, PartedUpload, RawObject, RawPage,
    WantedUpload, exists, kept_time, replaced,
};
use super::{Change, Deletion, PartUpload, StoreErrorKind, StoreResult};
pub(super) use container::Container;
use container::METADATA;
pub(super) use name::judge;

/// The most names of one page.
const LARGEST_PAGE: usize = 5_000;

/// [`Extras`] over Azure's interface.
#[derive(Debug)]
pub(super) struct AzureExtras {
    /// Sends the requests.
    container: Container,
    /// Sends the blocks of uploads.
    objects: Arc<MicrosoftAzure>,
    /// Whether the account has real directories (a hierarchical namespace); asked when it first matters.
    hierarchical: OnceCell<bool>,
}

impl AzureExtras {
    /// `container` and `objects` are the same container.
    pub(super) fn new(container: Container, objects: Arc<MicrosoftAzure>) -> Self {
        AzureExtras { container, objects, hierarchical: OnceCell::new() }
    }

    /// The marker of the directory that is listed, which does not lie under its own prefix.
    async fn own_marker(&self, prefix: &str) -> StoreResult<Option<RawObject>> {
        let directory = prefix.trim_end_matches('/');
        if directory.is_empty() {
            return Ok(None);
        }
        let Some(head) = self.container.marker(directory).await? else { return Ok(None) };
        let modified = head.header("last-modified").and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok());
        Ok(Some(RawObject {
            key: prefix.to_owned(),
            size: 0,
            modified: modified.map(Into::into),
            kept: ListedTime::Listed(kept_time(|name| head.header(&format!("{METADATA}{name}")))),
            etag: head.version(),
            number: None,
        }))
    }

    /// The first names of a prefix. Azure may give an empty page and go on in the next.
    async fn first_page(&self, request: &ListRequest<'_>) -> StoreResult<RawPage> {
        let mut page = self.page(request).await?;
        while page.objects.is_empty() && page.skipped.count == 0 && page.next.is_some() {
            page = self.page(&ListRequest { from: page.next.as_deref(), ..*request }).await?;
        }
        Ok(page)
    }

    async fn page(&self, request: &ListRequest<'_>) -> StoreResult<RawPage> {
        let most = request.most.min(LARGEST_PAGE).to_string();
        let mut query =
            vec![("restype", "container"), ("comp", "list"), ("include", "metadata"), ("maxresults", &most)];
        if !request.prefix.is_empty() {
            query.push(("prefix", request.prefix));
        }
        if request.delimited {
            query.push(("delimiter", "/"));
        }
        if let Some(from) = request.from {
            query.push(("marker", from));
        }
        let answer = self.container.get("list", request.prefix, &query).await?;
        xml::listing(&answer.body, request.prefix)
    }

    /// Whether an empty directory may hide from a plain look-up, as the real ones do in an account with hierarchical names.
    async fn is_hierarchical(&self) -> bool {
        let ask = || async {
            let answer =
                self.container.get("look up the account", "", &[("restype", "account"), ("comp", "properties")]);
            match answer.await {
                Ok(answer) => {
                    let says = answer.head.headers().get("x-ms-is-hns-enabled");
                    Ok(says.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")))
                }
                // These credentials may not ask, and never will: better one request too many each time.
                Err(error) if error.kind != StoreErrorKind::Unavailable => Ok(true),
                Err(error) => Err(error),
            }
        };
        self.hierarchical.get_or_try_init(ask).await.copied().unwrap_or(true)
    }
}

#[async_trait]
impl Extras for AzureExtras {
    fn judge(&self, key: &str) -> StoreResult<()> {
        judge(key)
    }

    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        if request.delimited || request.from.is_some() {
            return self.page(&request).await;
        }
        if request.most == 1 && self.hierarchical.get() != Some(&true) {
            let mut page = self.first_page(&request).await?;
            let nothing = page.objects.is_empty() && page.skipped.count == 0;
            if nothing && !request.prefix.is_empty() && self.is_hierarchical().await {
                page.objects.extend(self.own_marker(request.prefix).await?);
            }
            return Ok(page);
        }
        let (own, page) = futures_util::join!(self.own_marker(request.prefix), self.first_page(&request));
        let mut page = page?;
        if let Some(own) = own?
            && page.objects.iter().all(|object| object.key != own.key)
        {
            page.objects.insert(0, own);
        }
        Ok(page)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        let directory = prefix.trim_end_matches('/');
        match self.container.put_marker(directory, None).await {
            Err(error) if matches!(error.kind, StoreErrorKind::AlreadyExists | StoreErrorKind::Changed) => {
                match self.container.marker(directory).await? {
                    Some(_) => Ok(()),
                    None => Err(exists(directory)),
                }
            }
            other => other,
        }
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        let Some(directory) = key.strip_suffix('/') else { return self.container.delete(key, None).await };
        // A blob `dir/` and a blob `dir` may stand for the directory; `dir` may as well be a file, which stays.
        let (theirs, ours) = futures_util::join!(self.container.delete(key, None), self.container.marker(directory));
        theirs?;
        match ours? {
            Some(head) => self.container.delete(directory, head.etag()).await,
            None => Ok(()),
        }
    }

    async fn version(&self, key: &str) -> StoreResult<Option<String>> {
        match self.container.head(key).await {
            Ok(found) => Ok(Some(found.version().unwrap_or_default())),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete_version(&self, key: &str, version: &str) -> StoreResult<Deletion> {
        match self.container.delete_counting(key, Some(&format!("\"{version}\""))).await? {
            (Err(error), tries) if error.kind == StoreErrorKind::Changed || error.kind == StoreErrorKind::NotFound => {
                // One that is gone meets no condition either.
                let is_gone = error.kind == StoreErrorKind::NotFound || self.version(key).await?.is_none();
                match (is_gone, tries) {
                    (true, 1) => Ok(Deletion::WasGone),
                    // The answer to an earlier try may be lost.
                    (true, _) => Ok(Deletion::Done),
                    (false, _) => Err(replaced(key)),
                }
            }
            (other, _) => other.map(|()| Deletion::Done),
        }
    }

    async fn copy(&self, copy: ObjectCopy<'_>) -> StoreResult<Copied> {
        if copy.from.ends_with('/') {
            self.put_marker(copy.to).await?;
            // Its time goes with it.
            let time = self.own_marker(copy.from).await?.map(|marker| marker.kept);
            if let Some(ListedTime::Listed(Some(time))) = time
                && let Some(text) = MtimeForm::Rfc3339.write(time)
            {
                metadata::set_directory_mtime(&self.container, copy.to, &text).await?;
            }
            return Ok(Copied::default());
        }
        copy::blob(&self.container, copy).await
    }

    async fn set_mtime(&self, key: &str, mtime: &str, only: Option<&str>) -> StoreResult<Option<Change>> {
        metadata::set_mtime(&self.container, key, mtime, only).await
    }

    async fn set_directory_mtime(&self, prefix: &str, mtime: &str) -> StoreResult<bool> {
        metadata::set_directory_mtime(&self.container, prefix, mtime).await
    }

    async fn begin_upload(&self, wanted: WantedUpload) -> StoreResult<Box<dyn PartUpload>> {
        // The metadata goes with the request that publishes.
        let publisher = upload::Publisher::new(self.container.clone(), &wanted.options)?;
        let wanted = WantedUpload { options: PutMultipartOptions::default(), ..wanted };
        let blocks = MultipartBackend(Arc::clone(&self.objects) as _);
        PartedUpload::begin(blocks, Arc::new(publisher), None, wanted).await
    }
}
