//! Reading answers of the S3 API.

use bytes::Bytes;
use chrono::DateTime;

use crate::stores::StoreResult;
use crate::stores::locks::StoredVersion;
use crate::stores::object::{RawObject, RawPage};
use crate::stores::rest::walk_listing;

/// Reads a listing (ListObjectsV2). Keys that are not under `prefix`, or cannot be decoded, are counted as skipped.
pub(super) fn listing(answer: &Bytes, prefix: &str) -> StoreResult<RawPage> {
    let mut found = Found::default();
    walk_listing(answer, prefix, "ListBucketResult", |path, text| found.take(path, text))?;
    Ok(found.into_page(prefix))
}

/// A page of the versions of a bucket's objects.
#[derive(Debug, Default)]
pub(super) struct VersionPage {
    /// Their names are what follows the prefix.
    pub(super) versions: Vec<StoredVersion>,
    /// The key and the version after which the next page begins; `None` after the last.
    pub(super) next: Option<(String, String)>,
}

/// Reads a listing of versions (ListObjectVersions). Keys that are not under `prefix`, or cannot be decoded, are left out, as are
/// the marks of deletions.
pub(super) fn versions(answer: &Bytes, prefix: &str) -> StoreResult<VersionPage> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let (mut raw, mut page) = (Vec::new(), Vec::new());
    walk_listing(answer, prefix, "ListVersionsResult", |path, text| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["ListVersionsResult", "Version"] => raw.push(std::mem::take(&mut fields)),
            ["ListVersionsResult", "Version", field] => fields.push(((*field).to_owned(), text.to_owned())),
            ["ListVersionsResult", field] => page.push(((*field).to_owned(), text.to_owned())),
            _ => {}
        }
    })?;
    let of = |fields: &[(String, String)], name: &str| {
        fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.clone())
    };
    let encoded = of(&page, "EncodingType").as_deref() == Some("url");
    let version = |fields: Vec<(String, String)>| {
        let key = decode(&of(&fields, "Key")?, encoded)?;
        Some(StoredVersion {
            name: key.strip_prefix(prefix)?.to_owned(),
            version: of(&fields, "VersionId")?,
            size: of(&fields, "Size")?.parse().ok()?,
            is_present: of(&fields, "IsLatest").as_deref() == Some("true"),
        })
    };
    let goes_on = of(&page, "IsTruncated").as_deref() == Some("true");
    let next = of(&page, "NextKeyMarker").and_then(|key| decode(&key, encoded));
    let next = next.map(|key| (key, of(&page, "NextVersionIdMarker").unwrap_or_default()));
    Ok(VersionPage { versions: raw.into_iter().filter_map(version).collect(), next: next.filter(|_| goes_on) })
}

/// What a listing holds, before its keys are decoded: `EncodingType` may come after them.
#[derive(Default)]
struct Found {
    objects: Vec<RawObject>,
    prefixes: Vec<String>,
    encoded: bool,
    truncated: bool,
    next: Option<String>,
}

impl Found {
    /// Takes an element that ended, with the text in it.
    fn take(&mut self, path: &[String], text: &str) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["ListBucketResult", "EncodingType"] => self.encoded = text == "url",
            ["ListBucketResult", "IsTruncated"] => self.truncated = text == "true",
            ["ListBucketResult", "NextContinuationToken"] => self.next = Some(text.to_owned()),
            ["ListBucketResult", "CommonPrefixes", "Prefix"] => self.prefixes.push(text.to_owned()),
            ["ListBucketResult", "Contents", field] => self.take_of_object(field, text),
            _ => {}
        }
    }

    fn take_of_object(&mut self, field: &str, text: &str) {
        if field == "Key" {
            let key = text.to_owned();
            return self.objects.push(RawObject { key, ..RawObject::default() });
        }
        // Every store gives the key first.
        let Some(object) = self.objects.last_mut() else { return };
        match field {
            "Size" => object.size = text.parse().unwrap_or(0),
            "LastModified" => object.modified = DateTime::parse_from_rfc3339(text).ok().map(Into::into),
            "ETag" => object.etag = Some(text.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty()),
            _ => {}
        }
    }

    fn into_page(self, prefix: &str) -> RawPage {
        let mut page = RawPage { next: self.next.filter(|_| self.truncated), ..RawPage::default() };
        for object in self.objects {
            match decode(&object.key, self.encoded).filter(|key| key.starts_with(prefix)) {
                Some(key) => page.objects.push(RawObject { key, ..object }),
                None => page.skipped.add(object.key.as_bytes()),
            }
        }
        for raw in self.prefixes {
            match decode(&raw, self.encoded).filter(|key| key.starts_with(prefix)) {
                Some(key) => page.prefixes.push(key),
                None => page.skipped.add(raw.as_bytes()),
            }
        }
        page
    }
}

/// Undoes `encoding-type=url`, where a plus is a space; `None` when the bytes are not UTF-8.
fn decode(key: &str, encoded: bool) -> Option<String> {
    if !encoded {
        return Some(key.to_owned());
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::stores::StoreErrorKind;
    use crate::stores::rest::failure;

    fn page(inner: &str) -> RawPage {
        let text = format!("<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3\">{inner}</ListBucketResult>");
        listing(&Bytes::from(text), "d/").unwrap()
    }

    #[test]
    fn a_listing_is_read_with_its_odd_keys() {
        let page = page(
            "<Prefix>d/</Prefix><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>\
             <Contents><Key>d/a+b%2Bc%01</Key><LastModified>2023-11-14T22:13:20.000Z</LastModified><ETag>&quot;x&quot;</ETag>\
             <Size>7</Size><Owner><ID>o</ID></Owner></Contents><Contents><Key>d/</Key><Size>0</Size></Contents>\
             <Contents><Key>d/%FF</Key><Size>0</Size></Contents>\
             <CommonPrefixes><Prefix>d/e//</Prefix></CommonPrefixes><EncodingType>url</EncodingType>",
        );
        assert_eq!(page.next.as_deref(), Some("a&b"));
        assert_eq!(page.objects[0].key, "d/a b+c\u{1}");
        assert_eq!((page.objects[0].size, page.objects[0].etag.as_deref()), (7, Some("x")));
        assert!(page.objects[0].modified.is_some());
        assert_eq!((page.objects[1].key.as_str(), page.objects.len()), ("d/", 2));
        assert_eq!((page.prefixes, page.skipped.count), (vec!["d/e//".to_owned()], 1));
    }

    #[test]
    fn keys_that_are_not_encoded_stay_as_they_are() {
        let page = page("<Contents><Key>d/a+b%2B&lt;&#x41;</Key></Contents><IsTruncated>false</IsTruncated>");
        assert_eq!(page.objects[0].key, "d/a+b%2B<A");
        assert_eq!(page.next, None);
    }

    #[test]
    fn versions_are_read_also_those_that_a_deletion_hides() {
        let text = "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>d/a%2Fb</NextKeyMarker>\
             <NextVersionIdMarker>v2</NextVersionIdMarker><EncodingType>url</EncodingType>\
             <DeleteMarker><Key>d/a%2Fb</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
             <Version><Key>d/a%2Fb</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><Size>9</Size>\
             <Owner><ID>o</ID></Owner></Version>\
             <Version><Size>3</Size><IsLatest>true</IsLatest><VersionId>null</VersionId><Key>d/c</Key></Version>\
             <Version><Key>elsewhere</Key><VersionId>v</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>\
             </ListVersionsResult>";
        let page = versions(&Bytes::from(text), "d/").unwrap();
        let version = |name: &str, version: &str, size, is_present| StoredVersion {
            name: name.into(),
            version: version.into(),
            size,
            is_present,
        };
        assert_eq!(page.versions, [version("a/b", "v2", 9, false), version("c", "null", 3, true)]);
        assert_eq!(page.next, Some(("d/a/b".into(), "v2".into())));
        assert!(versions(&Bytes::from_static(b"<ListBucketResult/>"), "").is_err());
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(listing(&Bytes::from_static(b"<html><body>no</body></html>"), "").is_err());
        assert!(listing(&Bytes::from_static(b"<ListBucketResult><Contents></ListBucketResult>"), "").is_err());
        let inside = b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Wait</Message></Error>";
        let found = failure(200, inside).unwrap();
        assert!(found.passing && found.kind == StoreErrorKind::Unavailable);
        assert!(failure(200, b"<CopyObjectResult/>").is_none());
    }
}
