//! A whole object in one request that replaces nothing, or one version only.
//!
//! The answer to that request may be lost. A second try would then find the name taken by the first, and an error would deny a
//! file that is there. So the object carries a token of its own, by which a look tells whether it is ours. Equal content would
//! not tell: of two clients that make the same lock file only one may succeed.

use std::borrow::Cow;

use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, PutMode, PutOptions, PutPayload};

use super::failure::exists;
use super::{ObjectBacked, Replaces, TOKEN, at, mtime, replaced, token};
use crate::stores::{Key, StoreErrorKind, StoreResult, Written};

/// How often the object is put before the failure counts. The library tries again by itself where it knows that this is safe.
const TRIES: usize = 3;

/// Puts an object; its entity tag and version.
pub(super) async fn put(
    store: &ObjectBacked,
    key: &Key,
    payload: PutPayload,
    attributes: &Attributes,
    replaces: Replaces<'_>,
) -> StoreResult<Written> {
    let path = store.path(key)?;
    let mode = match replaces {
        Replaces::Anything => PutMode::Overwrite,
        Replaces::Nothing => PutMode::Create,
        Replaces::Version(version) => PutMode::Update(store.extras.condition(version)),
    };
    let token = token();
    let mut marked = attributes.clone();
    marked.insert(Attribute::Metadata(Cow::Borrowed(TOKEN)), token.clone().into());
    let mut tried = 0;
    loop {
        tried += 1;
        let how = PutOptions { mode: mode.clone(), attributes: marked.clone(), ..Default::default() };
        let error = match store.objects.put_opts(&path, payload.clone(), how).await {
            Ok(done) => return Ok(store.stored(done.e_tag, done.version)),
            Err(error) => at("write", key)(error),
        };
        match error.kind {
            // A server without conditional requests: looking first is the best there is.
            StoreErrorKind::Unsupported => {
                judge(store, key, replaces).await?;
                let how = PutOptions { attributes: attributes.clone(), ..Default::default() };
                let done = store.objects.put_opts(&path, payload, how).await.map_err(at("write", key))?;
                return Ok(store.stored(done.e_tag, done.version));
            }
            StoreErrorKind::AlreadyExists | StoreErrorKind::Changed | StoreErrorKind::Unavailable => {
                let found = look(store, &path, &token).await;
                let again = error.kind == StoreErrorKind::Unavailable && tried < TRIES;
                match (found, replaces) {
                    (Ok(Found::Ours(found)), _) => return Ok(found),
                    (Ok(Found::Another(_)), Replaces::Nothing) => return Err(exists(key)),
                    (Ok(Found::Another(found)), Replaces::Version(version)) if found.as_deref() != Some(version) => {
                        return Err(replaced(key));
                    }
                    (Ok(Found::Nothing), Replaces::Version(_)) => return Err(replaced(key)),
                    (Ok(Found::Nothing | Found::Another(_)), _) if again => {}
                    _ => return Err(error),
                }
            }
            _ => return Err(error),
        }
    }
}

/// Looks whether the condition holds now.
pub(super) async fn judge(store: &ObjectBacked, key: &Key, replaces: Replaces<'_>) -> StoreResult<()> {
    match replaces {
        Replaces::Anything => Ok(()),
        Replaces::Nothing => store.refuse_existing(key).await,
        Replaces::Version(version) => match store.extras.version(&store.full(key)).await? {
            Some(found) if found == version => Ok(()),
            _ => Err(replaced(key)),
        },
    }
}

/// What has the name.
enum Found {
    /// The object that was put.
    Ours(Written),
    /// Another one, with its version.
    Another(Option<String>),
    Nothing,
}

async fn look(store: &ObjectBacked, path: &Path, token: &str) -> object_store::Result<Found> {
    match store.objects.get_opts(path, GetOptions::new().with_head(true)).await {
        Ok(found) => {
            let mark = found.attributes.get(&Attribute::Metadata(Cow::Borrowed(TOKEN)));
            if mark.is_some_and(|mark| mark.as_ref() == token) {
                return Ok(Found::Ours(store.stored(found.meta.e_tag, found.meta.version)));
            }
            let number = found.meta.version.filter(|_| store.extras.reads_by_version());
            Ok(Found::Another(number.or(mtime::bare_etag(found.meta.e_tag))))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}
