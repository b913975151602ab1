//! Reading listings of the JSON API.

use std::collections::HashMap;
use std::time::SystemTime;

use chrono::DateTime;
use serde::Deserialize;

use crate::stores::object::{ListedTime, RawObject, RawPage, kept_time};
use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// A page as the service gives it; what is empty is left out.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listing {
    kind: String,
    next_page_token: Option<String>,
    prefixes: Vec<String>,
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    name: String,
    /// A number as text.
    size: String,
    updated: String,
    etag: Option<String>,
    generation: Option<String>,
    metadata: HashMap<String, String>,
}

/// Reads a page. Keys that are not under `prefix` are counted as skipped.
pub(super) fn read(answer: &[u8], prefix: &str) -> StoreResult<RawPage> {
    let listing: Listing = serde_json::from_slice(answer).map_err(|error| {
        let message = format!("the store's listing of \"{prefix}\" cannot be read: {error}");
        StoreError::new(StoreErrorKind::Other, message)
    })?;
    if listing.kind != "storage#objects" {
        let message = format!("the store answered the listing of \"{prefix}\" with something else");
        return Err(StoreError::new(StoreErrorKind::Other, message));
    }
    let next = listing.next_page_token.filter(|token| !token.is_empty());
    let mut page = RawPage { next, ..RawPage::default() };
    for item in listing.items {
        match item.name.starts_with(prefix) && !item.name.is_empty() {
            true => page.objects.push(item.into()),
            false => page.skipped.add(item.name.as_bytes()),
        }
    }
    for key in listing.prefixes {
        match key.starts_with(prefix) {
            true => page.prefixes.push(key),
            false => page.skipped.add(key.as_bytes()),
        }
    }
    Ok(page)
}

impl From<Item> for RawObject {
    fn from(item: Item) -> Self {
        RawObject {
            size: item.size.parse().unwrap_or(0),
            modified: DateTime::parse_from_rfc3339(&item.updated).ok().map(SystemTime::from),
            kept: ListedTime::Listed(kept_time(|name| item.metadata.get(name).map(String::as_str))),
            etag: item.etag.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty()),
            number: item.generation,
            key: item.name,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_listing_is_read_with_its_odd_keys_and_kept_times() {
        let page = read(
            br#"{"kind": "storage#objects", "nextPageToken": "t=", "prefixes": ["d/e//", "other/"], "items": [
                {"name": "d/a\u0001\n", "size": "7", "updated": "2023-11-14T22:13:20.5Z", "etag": "CJ=",
                 "metadata": {"mtime": "2020-09-13T12:26:40.5Z", "goog-reserved-file-mtime": "1", "x": "y"}},
                {"name": "d/b", "metadata": {"goog-reserved-file-mtime": "1600000000"}},
                {"name": "d/c", "metadata": {"mtime": "yesterday"}}, {"name": "d/"}, {"size": "1"}]}"#,
            "d/",
        )
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("t="));
        assert_eq!((page.prefixes, page.skipped.count), (vec!["d/e//".to_owned()], 2));
        let first = &page.objects[0];
        assert_eq!((first.key.as_str(), first.size, first.etag.as_deref()), ("d/a\u{1}\n", 7, Some("CJ=")));
        assert_eq!(first.modified, Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)));
        let kept: Vec<_> = page.objects.iter().map(|object| object.kept).collect();
        let time = |millis| ListedTime::Listed(Some(UNIX_EPOCH + Duration::from_millis(millis)));
        let none = ListedTime::Listed(None);
        assert_eq!(kept, [time(1_600_000_000_500), time(1_600_000_000_000), none, none]);
        let empty = read(br#"{"kind": "storage#objects", "nextPageToken": ""}"#, "").unwrap();
        assert!(empty.next.is_none() && empty.objects.is_empty() && empty.prefixes.is_empty());
        assert!(read(b"<html>", "").is_err());
        assert!(read(b"{}", "").is_err() && read(b"[]", "").is_err());
    }
}
