//! Uploads in parts of Google's XML API, kept in memory.

use std::collections::{BTreeMap, HashMap};

use md5::{Digest, Md5};

use super::gcs_http::{Answer, Request};

/// Every part but the last has at least this many bytes.
const SMALLEST: usize = 5 << 20;

/// The uploads that were begun and neither completed nor removed, by their id.
#[derive(Debug, Default)]
pub struct Parts(HashMap<String, Begun>);

#[derive(Debug)]
struct Begun {
    bucket: String,
    key: String,
    headers: Vec<(String, String)>,
    parts: BTreeMap<u32, (String, Vec<u8>)>,
}

/// An object that is complete.
pub struct Whole {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Parts {
    /// Answers a request of an upload; when it completes one, the object is to be stored.
    pub fn answer(&mut self, request: &Request, bucket: &str, key: &str) -> (Answer, Option<Whole>) {
        if request.method == "POST" && request.query("uploads").is_some() {
            return (self.begin(request, bucket, key), None);
        }
        let id = request.query("uploadId").unwrap_or_default();
        let Some(upload) = self.0.get_mut(&id).filter(|upload| upload.bucket == bucket && upload.key == key) else {
            return (Answer::xml_error(404, "NoSuchUpload"), None);
        };
        match request.method.as_str() {
            "PUT" => {
                let Some(number) = request.query("partNumber").and_then(|text| text.parse().ok()) else {
                    return (Answer::xml_error(400, "InvalidArgument"), None);
                };
                let etag = format!("\"{}\"", hex(&Md5::digest(&request.body)));
                upload.parts.insert(number, (etag.clone(), request.body.clone()));
                (Answer { status: 200, headers: vec![("etag".to_owned(), etag)], body: Vec::new() }, None)
            }
            "POST" => match upload.whole(&String::from_utf8_lossy(&request.body)) {
                Ok(whole) => {
                    self.0.remove(&id);
                    (Answer { status: 200, headers: Vec::new(), body: Vec::new() }, Some(whole))
                }
                Err(code) => (Answer::xml_error(400, code), None),
            },
            _ => {
                self.0.remove(&id);
                (Answer { status: 204, headers: Vec::new(), body: Vec::new() }, None)
            }
        }
    }

    fn begin(&mut self, request: &Request, bucket: &str, key: &str) -> Answer {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.0.insert(id.clone(), Begun { bucket, key, headers: request.headers.clone(), parts: BTreeMap::new() });
        let inner = format!("<UploadId>{id}</UploadId>");
        Answer::xml(&format!("<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>"))
    }

    /// The uploads under way of keys with a prefix.
    pub fn list(&self, bucket: &str, prefix: &str) -> Answer {
        let ours = self.0.iter().filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(prefix));
        let uploads: String = ours.map(|(id, _)| format!("<Upload><UploadId>{id}</UploadId></Upload>")).collect();
        Answer::xml(&format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>"))
    }
}

impl Begun {
    /// Puts the parts together that the request names: number, then tag, in order.
    fn whole(&self, wanted: &str) -> Result<Whole, &'static str> {
        let mut body = Vec::new();
        let mut last = 0;
        let wanted: Vec<&str> = wanted.split("<Part>").skip(1).collect();
        for (place, part) in wanted.iter().enumerate() {
            let number: u32 = element(part, "PartNumber").and_then(|text| text.parse().ok()).ok_or("MalformedXML")?;
            let tag = element(part, "ETag").ok_or("MalformedXML")?.replace("&quot;", "\"");
            let (etag, bytes) = self.parts.get(&number).ok_or("InvalidPart")?;
            if tag.trim_matches('"') != etag.trim_matches('"') {
                return Err("InvalidPart");
            }
            if number <= last {
                return Err("InvalidPartOrder");
            }
            if bytes.len() < SMALLEST && place + 1 < wanted.len() {
                return Err("EntityTooSmall");
            }
            last = number;
            body.extend_from_slice(bytes);
        }
        if wanted.is_empty() {
            return Err("MalformedXML");
        }
        Ok(Whole { headers: self.headers.clone(), body })
    }
}

fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    after.split_once("</").map(|(inner, _)| inner)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
