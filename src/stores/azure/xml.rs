//! Reading answers of Azure's interface.

use std::collections::HashSet;

use bytes::Bytes;
use chrono::DateTime;
use percent_encoding::percent_decode_str;

use crate::stores::StoreResult;
use crate::stores::object::{FOLDER, ListedTime, MTIME, RawObject, RawPage, read_mtime};
use crate::stores::rest::walk_listing;

/// Reads a listing (List Blobs with metadata). Names that are not under `prefix`, or cannot be decoded, are counted as skipped;
/// a blob that stands for a directory gets the directory's key, with a slash.
pub(super) fn listing(answer: &Bytes, prefix: &str) -> StoreResult<RawPage> {
    let mut found = Found::default();
    walk_listing(answer, prefix, "EnumerationResults", |path, text| found.take(path, text))?;
    Ok(found.into_page(prefix))
}

/// What a listing holds.
#[derive(Default)]
struct Found {
    blobs: Vec<Blob>,
    prefixes: Vec<Name>,
    /// The name that is being read.
    name: Name,
    /// The blob that is being read.
    blob: Blob,
    next: Option<String>,
}

/// A name as it stands in the answer.
#[derive(Debug, Clone, Default)]
struct Name {
    text: String,
    /// It is percent-encoded, because XML cannot say it.
    encoded: bool,
}

#[derive(Default)]
struct Blob {
    name: Name,
    object: RawObject,
    kept: Option<String>,
    folder: bool,
    /// A real directory of an account with hierarchical names.
    directory: bool,
}

impl Found {
    /// Takes an attribute, or an element that ended with the text in it.
    fn take(&mut self, path: &[String], text: &str) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["EnumerationResults", "NextMarker"] => self.next = Some(text.to_owned()).filter(|text| !text.is_empty()),
            ["EnumerationResults", "Blobs", _, "Name", "@Encoded"] => self.name.encoded = text == "true",
            ["EnumerationResults", "Blobs", _, "Name"] => self.name.text = text.to_owned(),
            ["EnumerationResults", "Blobs", "BlobPrefix"] => self.prefixes.push(std::mem::take(&mut self.name)),
            ["EnumerationResults", "Blobs", "Blob"] => {
                let name = std::mem::take(&mut self.name);
                self.blobs.push(Blob { name, ..std::mem::take(&mut self.blob) });
            }
            ["EnumerationResults", "Blobs", "Blob", "Properties", field] => self.take_property(field, text),
            ["EnumerationResults", "Blobs", "Blob", "Metadata", name] if name.eq_ignore_ascii_case(MTIME) => {
                self.blob.kept = Some(text.to_owned());
            }
            ["EnumerationResults", "Blobs", "Blob", "Metadata", name] if name.eq_ignore_ascii_case(FOLDER) => {
                self.blob.folder = text.eq_ignore_ascii_case("true");
            }
            _ => {}
        }
    }

    fn take_property(&mut self, field: &str, text: &str) {
        let object = &mut self.blob.object;
        match field {
            "Content-Length" => object.size = text.parse().unwrap_or(0),
            "Last-Modified" => object.modified = DateTime::parse_from_rfc2822(text).ok().map(Into::into),
            "Etag" => object.etag = Some(text.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty()),
            "ResourceType" => self.blob.directory = text == "directory",
            _ => {}
        }
    }

    fn into_page(self, prefix: &str) -> RawPage {
        let mut page = RawPage { next: self.next, ..RawPage::default() };
        // Two kinds of markers may stand for one directory: `dir` with the metadata, and `dir/`.
        let mut markers = HashSet::new();
        for blob in self.blobs {
            match blob.name.decode().filter(|key| key.starts_with(prefix)) {
                Some(key) => {
                    let object = blob.into_object(key);
                    if !object.key.ends_with('/') || markers.insert(object.key.clone()) {
                        page.objects.push(object);
                    }
                }
                None => page.skipped.add(blob.name.text.as_bytes()),
            }
        }
        for name in self.prefixes {
            match name.decode().filter(|key| key.starts_with(prefix)) {
                Some(key) => page.prefixes.push(key),
                None => page.skipped.add(name.text.as_bytes()),
            }
        }
        page
    }
}

impl Name {
    fn decode(&self) -> Option<String> {
        if !self.encoded {
            return Some(self.text.clone());
        }
        percent_decode_str(&self.text).decode_utf8().ok().map(Into::into)
    }
}

impl Blob {
    fn into_object(self, mut key: String) -> RawObject {
        let marker = self.directory || (self.folder && self.object.size == 0);
        if marker && !key.ends_with('/') {
            key.push('/');
        }
        let kept = ListedTime::Listed(self.kept.as_deref().and_then(read_mtime));
        RawObject { key, kept, ..self.object }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn page(blobs: &str, rest: &str) -> RawPage {
        // The service begins its answers with a byte order mark.
        let text = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" \
             ContainerName=\"c\"><Prefix>d/</Prefix><Blobs>{blobs}</Blobs>{rest}</EnumerationResults>"
        );
        listing(&Bytes::from(text), "d/").unwrap()
    }

    fn blob(name: &str, size: u64, more: &str, metadata: &str) -> String {
        format!(
            "<Blob>{name}<Properties><Last-Modified>Tue, 14 Nov 2023 22:13:20 GMT</Last-Modified><Etag>0x8D</Etag>\
             <Content-Length>{size}</Content-Length>{more}</Properties><Metadata>{metadata}</Metadata></Blob>"
        )
    }

    #[test]
    fn blobs_carry_their_kept_times() {
        let blobs = blob("<Name>d/a&amp;b</Name>", 7, "", "<mtime>2020-01-02T03:04:05.5Z</mtime><other>x</other>")
            + &blob("<Name>d/c</Name>", 0, "<ResourceType>file</ResourceType>", "");
        let page = page(&blobs, "<NextMarker>2!96!x--</NextMarker>");
        assert_eq!(page.next.as_deref(), Some("2!96!x--"));
        let modified = Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let kept = UNIX_EPOCH + Duration::from_millis(1_577_934_245_500);
        assert_eq!(
            page.objects,
            [
                RawObject {
                    key: "d/a&b".into(),
                    size: 7,
                    modified,
                    kept: ListedTime::Listed(Some(kept)),
                    etag: Some("0x8D".into()),
                    number: None,
                },
                RawObject {
                    key: "d/c".into(),
                    size: 0,
                    modified,
                    kept: ListedTime::Listed(None),
                    etag: Some("0x8D".into()),
                    number: None,
                },
            ]
        );
    }

    #[test]
    fn markers_of_every_kind_are_directories_and_stand_once() {
        let blobs = blob("<Name>d/m</Name>", 0, "", "<Hdi_isfolder>True</Hdi_isfolder>")
            + &blob("<Name>d/m/</Name>", 0, "", "")
            + &blob("<Name>d/full</Name>", 1, "", "<hdi_isfolder>true</hdi_isfolder>")
            + &blob("<Name>d/real</Name>", 0, "<ResourceType>directory</ResourceType>", "")
            + "<BlobPrefix><Name>d/real/</Name></BlobPrefix>";
        let page = page(&blobs, "<NextMarker />");
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["d/m/", "d/full", "d/real/"]);
        assert_eq!((page.prefixes, page.next), (vec!["d/real/".to_owned()], None));
    }

    #[test]
    fn names_that_xml_cannot_say_are_decoded_and_strangers_skipped() {
        let blobs = blob("<Name Encoded=\"true\">d/con%01trol%25</Name>", 0, "", "")
            + &blob("<Name>d/50%25</Name>", 0, "", "")
            + &blob("<Name Encoded=\"true\">d/%FF</Name>", 0, "", "")
            + &blob("<Name>elsewhere</Name>", 0, "", "")
            + "<BlobPrefix><Name Encoded=\"true\">d/%01/</Name></BlobPrefix>";
        let page = page(&blobs, "");
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["d/con\u{1}trol%", "d/50%25"]);
        assert_eq!((page.prefixes, page.skipped.count), (vec!["d/\u{1}/".to_owned()], 2));
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(listing(&Bytes::from_static(b"<html><body>no</body></html>"), "").is_err());
        assert!(listing(&Bytes::from_static(b"<EnumerationResults><Blobs></EnumerationResults>"), "").is_err());
    }
}
