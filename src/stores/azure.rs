//! What `object_store`'s trait cannot say on Azure Blob Storage, as far as it can be done through the trait.
//!
//! A directory's marker is what Azure's own tools write: an empty blob of the directory's name with the metadata
//! `hdi_isfolder`. A listing does not give metadata, so each empty blob of a page costs a look-up. A key that cannot be shown
//! (`a//b`) fails a page here, and the modification time is kept only when it is given with the bytes.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::azure::MicrosoftAzure;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};

use super::object::{Extras, FOLDER, ListRequest, ListedTime, RawObject, RawPage, at, is_folder};
use super::{Existing, StoreError, StoreErrorKind, StoreResult};

/// Look-ups of one page that are under way at once.
const AT_ONCE: usize = 16;

/// [`Extras`] through the trait.
#[derive(Debug)]
pub(super) struct AzureExtras {
    /// The container.
    pub(super) objects: Arc<MicrosoftAzure>,
}

impl AzureExtras {
    /// Whether an empty blob is a directory's marker.
    async fn is_marker(&self, key: &str) -> StoreResult<bool> {
        match self.objects.get_opts(&parse(key)?, GetOptions::new().with_head(true)).await {
            Ok(found) => Ok(is_folder(&found.meta, &found.attributes)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(at("look up", key)(error)),
        }
    }

    /// The object under its key, or a marker under its key with a slash.
    async fn told_apart(&self, mut object: RawObject) -> StoreResult<RawObject> {
        if object.size == 0 && self.is_marker(&object.key).await? {
            object.key.push('/');
        }
        Ok(object)
    }

    /// The marker of the directory that is listed, which does not lie under its own prefix.
    async fn own_marker(&self, request: &ListRequest<'_>) -> StoreResult<Option<RawObject>> {
        let directory = request.prefix.trim_end_matches('/');
        if request.delimited || request.from.is_some() || directory.is_empty() || !self.is_marker(directory).await? {
            return Ok(None);
        }
        Ok(Some(RawObject { key: request.prefix.to_owned(), ..RawObject::default() }))
    }
}

#[async_trait]
impl Extras for AzureExtras {
    async fn list(&self, request: ListRequest<'_>) -> StoreResult<RawPage> {
        let options = PaginatedListOptions {
            delimiter: request.delimited.then_some(Cow::Borrowed("/")),
            max_keys: Some(request.most),
            page_token: request.from.map(str::to_owned),
            ..PaginatedListOptions::default()
        };
        let prefix = Some(request.prefix).filter(|prefix| !prefix.is_empty());
        let (own, found) = futures_util::join!(self.own_marker(&request), self.objects.list_paginated(prefix, options));
        let found = found.map_err(at("list", request.prefix))?;
        let objects = found.result.objects.into_iter().map(|meta| RawObject {
            key: meta.location.into(),
            size: meta.size,
            modified: Some(meta.last_modified.into()),
            etag: meta.e_tag.map(|tag| tag.trim_matches('"').to_owned()),
            kept: ListedTime::NotListed,
        });
        let objects: Vec<_> = objects.map(|object| self.told_apart(object)).collect();
        let mut page = RawPage { objects: own?.into_iter().collect(), next: found.page_token, ..RawPage::default() };
        page.objects.extend(stream::iter(objects).buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
        page.prefixes = found.result.common_prefixes.iter().map(|path| format!("{path}/")).collect();
        Ok(page)
    }

    async fn put_marker(&self, prefix: &str) -> StoreResult<()> {
        let directory = prefix.trim_end_matches('/');
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(Cow::Borrowed(FOLDER)), "true".into());
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        match self.objects.put_opts(&parse(directory)?, PutPayload::new(), options).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) if self.is_marker(directory).await? => Ok(()),
            Err(error) => Err(at("make the directory", directory)(error)),
        }
    }

    async fn delete(&self, key: &str) -> StoreResult<()> {
        match self.objects.delete(&parse(key)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(at("delete", key)(error)),
        }
    }

    async fn copy(&self, from: &str, to: &str, existing: Existing) -> StoreResult<()> {
        if from.ends_with('/') {
            return self.put_marker(to).await;
        }
        let mode = match existing {
            Existing::Replace => CopyMode::Overwrite,
            Existing::Refuse => CopyMode::Create,
        };
        let options = CopyOptions { mode, ..CopyOptions::default() };
        self.objects.copy_opts(&parse(from)?, &parse(to)?, options).await.map_err(at("copy", from))
    }

    async fn set_mtime(&self, key: &str, _mtime: &str) -> StoreResult<bool> {
        match self.objects.head(&parse(key)?).await {
            // The trait cannot replace the metadata of a blob.
            Ok(_) => Ok(false),
            Err(error) => Err(at("look up", key)(error)),
        }
    }
}

/// The blob of a key or of a marker.
fn parse(key: &str) -> StoreResult<Path> {
    Path::parse(key.trim_end_matches('/')).map_err(|error| {
        StoreError::with_source(StoreErrorKind::InvalidName, format!("the store cannot hold \"{key}\""), error)
    })
}
