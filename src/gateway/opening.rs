//! Settings → open stores: each is reached once, those that may be away need not be there, and what a killed gateway left is removed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{STORE_ANSWERS_WITHIN, Settings, StartError};
use crate::metrics::Timings;
use crate::stores::{self, AtOnce, Store, StoreErrorKind, Unfinished};

/// A store that may be away is not waited for any longer than this.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// Opens all stores.
///
/// # Errors
/// That of the first that cannot be used.
pub(super) async fn open_stores(
    settings: &Settings,
    unfinished: &Arc<Unfinished>,
    at_once: AtOnce,
    timings: &Arc<Timings>,
) -> Result<Vec<Arc<dyn Store>>, StartError> {
    // All at the same time: those that are away are waited for once.
    let opening =
        settings.stores.iter().map(|store| open_store(store, settings.brought_store(store), unfinished, at_once));
    let opened = join_all(opening).await.into_iter().zip(&settings.stores);
    let opened = opened.map(|(open, store)| Ok(stores::timed(open?, timings.store(&store.name))));
    let opened = opened.collect::<Result<Vec<_>, StartError>>()?;
    let removing = tokio::spawn(remove_unfinished(opened.iter().map(Arc::downgrade).collect()));
    unfinished.removed_by(removing.abort_handle());
    Ok(opened)
}

/// How long after the start or a reload, and after the time before, the parts that a killed gateway left are removed. Not at once:
/// a part that is on its way then may stay when its upload goes (S3, AbortMultipartUpload). More than once,
/// because a store that does not answer may come back, and one that is slow may still be making an upload that was asked for.
/// Nothing is asked where the journal knows of nothing.
const REMOVALS_AFTER: [Duration; 3] = [Duration::from_secs(4), Duration::from_secs(30), Duration::from_secs(320)];
/// And then again and again, as long as the journal knows of anything.
const REMOVALS_EVERY: Duration = Duration::from_secs(300);

/// Removes the parts that a killed gateway left in the stores, and what this one could not remove while a store was away.
///
/// It does not keep stores open that a reload has replaced, and ends with them.
pub(super) async fn remove_unfinished(stores: Vec<Weak<dyn Store>>) {
    for pause in REMOVALS_AFTER.into_iter().chain(std::iter::repeat(REMOVALS_EVERY)) {
        tokio::time::sleep(pause).await;
        let open: Vec<_> = stores.iter().filter_map(Weak::upgrade).collect();
        if open.is_empty() {
            return;
        }
        remove_unfinished_once(&open).await;
    }
}

async fn remove_unfinished_once(stores: &[Arc<dyn Store>]) {
    for store in stores {
        match store.remove_unfinished().await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(store = store.name(), uploads, "removed the parts of unfinished uploads"),
            Err(error) => tracing::warn!(
                store = store.name(),
                %error,
                "parts of unfinished uploads stay in the store for now"
            ),
        }
    }
}

pub(super) async fn open_store(
    settings: &stores::Settings,
    brought: Option<Arc<dyn Store>>,
    unfinished: &Arc<Unfinished>,
    at_once: AtOnce,
) -> Result<Arc<dyn Store>, StartError> {
    let failed = |what: String| {
        StartError(format!(
            "the store {:?} ({}) cannot be used: {what}; check its url and options",
            settings.name, settings.url
        ))
    };
    let late = |within: Duration| format!("it does not answer within {} s", within.as_secs());
    let store = match brought {
        Some(store) => store,
        None => {
            let opening = stores::open_bounded(settings, Some(unfinished.clone()), at_once);
            let opened = timeout(STORE_ANSWERS_WITHIN, opening).await;
            let opened = opened.map_err(|_| failed(late(STORE_ANSWERS_WITHIN)))?;
            opened.map_err(|error| failed(error.to_string()))?
        }
    };
    let within = if store.may_be_away() { AWAY_AFTER } else { STORE_ANSWERS_WITHIN };
    let why = match timeout(within, store.check()).await {
        Ok(Ok(())) => return Ok(store),
        Ok(Err(error)) if !is_away(error.kind) => return Err(failed(error.to_string())),
        Ok(Err(error)) => error.to_string(),
        Err(_) => late(within),
    };
    if !store.may_be_away() {
        return Err(failed(why));
    }
    tracing::error!(
        store = settings.name,
        "the gateway goes on without a store, and tries it when it is needed: {why}"
    );
    Ok(store)
}

/// Whether a store cannot be reached, or lets nobody in, for now: nothing is wrong with its settings.
fn is_away(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::AccessDenied)
}
