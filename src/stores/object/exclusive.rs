//! A whole object in one request that never replaces another.
//!
//! The answer to that request may be lost. A second try would then find the name taken by the first, and an error would deny a
//! file that is there. So the object carries a token of its own, by which a look tells whether it is ours. Equal content would
//! not tell: of two clients that make the same lock file only one may succeed.

use std::borrow::Cow;

use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, PutMode, PutOptions, PutPayload};

use super::failure::exists;
use super::{ObjectBacked, at, mtime};
use crate::stores::{Key, StoreErrorKind, StoreResult};

/// The metadata that holds the token. Azure takes names of letters only.
const TOKEN: &str = "lockgateput";

/// How often the object is put before the failure counts. The library tries again by itself where it knows that this is safe.
const TRIES: usize = 3;

/// Puts an object; its entity tag.
pub(super) async fn put(
    store: &ObjectBacked,
    key: &Key,
    payload: PutPayload,
    attributes: &Attributes,
) -> StoreResult<Option<String>> {
    let path = store.path(key)?;
    let token = uuid::Uuid::now_v7().simple().to_string();
    let mut marked = attributes.clone();
    marked.insert(Attribute::Metadata(Cow::Borrowed(TOKEN)), token.clone().into());
    let mut tried = 0;
    loop {
        tried += 1;
        let how = PutOptions { mode: PutMode::Create, attributes: marked.clone(), ..Default::default() };
        let error = match store.objects.put_opts(&path, payload.clone(), how).await {
            Ok(done) => return Ok(mtime::bare_etag(done.e_tag)),
            Err(error) => at("write", key)(error),
        };
        match error.kind {
            // A server without conditional requests: looking first is the best there is.
            StoreErrorKind::Unsupported => {
                store.refuse_existing(key).await?;
                let how = PutOptions { attributes: attributes.clone(), ..Default::default() };
                let done = store.objects.put_opts(&path, payload, how).await.map_err(at("write", key))?;
                return Ok(mtime::bare_etag(done.e_tag));
            }
            StoreErrorKind::AlreadyExists | StoreErrorKind::Unavailable => match look(store, &path, &token).await {
                Ok(Found::Ours(etag)) => return Ok(etag),
                Ok(Found::Another) => return Err(exists(key)),
                Ok(Found::Nothing) if error.kind == StoreErrorKind::Unavailable && tried < TRIES => {}
                Ok(Found::Nothing) | Err(_) => return Err(error),
            },
            _ => return Err(error),
        }
    }
}

/// What has the name.
enum Found {
    /// The object that was put, with its entity tag.
    Ours(Option<String>),
    Another,
    Nothing,
}

async fn look(store: &ObjectBacked, path: &Path, token: &str) -> object_store::Result<Found> {
    match store.objects.get_opts(path, GetOptions::new().with_head(true)).await {
        Ok(found) => {
            let mark = found.attributes.get(&Attribute::Metadata(Cow::Borrowed(TOKEN)));
            let ours = mark.is_some_and(|mark| mark.as_ref() == token);
            Ok(if ours { Found::Ours(mtime::bare_etag(found.meta.e_tag)) } else { Found::Another })
        }
        Err(object_store::Error::NotFound { .. }) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}
