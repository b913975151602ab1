//! What the emulator of Google Cloud Storage (fake-gcs-server 1.56.1) lacks of the service, in front of it: an HTTP server
//! that hands every other request to the emulator as it came, and its answer back.
//!
//! It adds, as Google's documentation describes them:
//! - XML API, PUT of an object with `x-goog-meta-…` and `x-goog-if-generation-match`: becomes an upload of the JSON API, which
//!   the emulator has with all of that.
//! - XML API, uploads in parts (begin, part, complete, abort, list): parts are kept here, the whole goes up in one request.
//!   As at Google's, they take no conditions.
//! - JSON API, pages of a listing: the emulator counts objects only and repeats prefixes on every page; and it does not know
//!   `includeTrailingDelimiter`.
//! - JSON API, DELETE of an object: `ifGenerationMatch`.
//! - JSON API, `rewriteTo`: `ifGenerationMatch` and `ifSourceGenerationMatch`; and a copy in rounds of 1 MiB, as between
//!   places, for buckets whose name ends with [`FAR`].
//! - JSON API, resumable uploads: the question how much has arrived (`bytes */*`), which the emulator takes for the end of the
//!   upload; and, where a test asks for it, a chunk of which only the first half arrives.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::gcs_http::{Answer, Request, ask, read_request, write_answer};
use super::gcs_parts::Parts;

/// Copies within a bucket of such a name take several rounds.
pub const FAR: &str = "-far";

/// What one round copies, in bytes.
const ROUND: u64 = 1 << 20;

/// Every chunk of a resumable upload but the last is a multiple of this.
const UNIT: usize = 256 << 10;

/// The server in front of the emulator.
#[derive(Debug, Default)]
pub struct Shim {
    emulator: u16,
    parts: Mutex<Parts>,
    /// The rewrites under way: token → source's generation, bytes copied.
    rewrites: Mutex<HashMap<String, (String, u64)>>,
    /// The bytes that resumable uploads have, by their id.
    arrived: Mutex<HashMap<String, usize>>,
    /// Objects of which a chunk is to be cut.
    to_cut: Mutex<HashSet<String>>,
    /// Held while anything is changed, so that nothing comes between a condition and what it guards.
    changes: Mutex<()>,
    /// `METHOD path`, without the query, of every request so far.
    seen: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the server for the emulator on a port; its own port and itself.
pub fn start(emulator: u16) -> (u16, Arc<Shim>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let shim = Arc::new(Shim { emulator, ..Shim::default() });
    let served = Arc::clone(&shim);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shim = Arc::clone(&served);
            // A client that goes away is no matter of ours.
            thread::spawn(move || shim.serve(stream));
        }
    });
    (port, shim)
}

impl Shim {
    /// Lets only the first half of the next chunk of an object's resumable upload arrive, and answers 503.
    pub fn cut_a_chunk_of(&self, name: &str) {
        lock(&self.to_cut).insert(name.to_owned());
    }

    /// How many requests so far began with `METHOD path`.
    pub fn seen(&self, begin: &str) -> usize {
        lock(&self.seen).iter().filter(|request| request.starts_with(begin)).count()
    }

    fn serve(&self, stream: std::net::TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = io::BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(request) = read_request(&mut reader, &mut writer)? {
            lock(&self.seen).push(format!("{} {}", request.method, request.path));
            let answer = self.answer(&request)?;
            write_answer(&mut writer, &request.method, &answer)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> io::Result<Answer> {
        let _changing = (request.method != "GET" && request.method != "HEAD").then(|| lock(&self.changes));
        let steps: Vec<&str> = request.path.split('/').collect();
        match (request.method.as_str(), steps.as_slice()) {
            ("GET", ["", "storage", "v1", "b", _, "o"]) => self.list(request),
            ("POST", ["", "storage", "v1", "b", bucket, "o", from, "rewriteTo", "b", _, "o", to]) => {
                self.rewrite(request, bucket, from, to)
            }
            ("DELETE", ["", "storage", "v1", "b", bucket, "o", key]) => self.delete(request, bucket, key),
            ("PUT", ["", "upload", "storage", "v1", "b", _, "o"]) if request.query("upload_id").is_some() => {
                self.chunk(request)
            }
            (_, ["", "storage" | "upload" | "download" | "batch" | "_internal", ..]) => self.emulate(request),
            (_, ["", bucket]) if request.query("uploads").is_some() => {
                Ok(lock(&self.parts).list(&decoded(bucket), &request.query("prefix").unwrap_or_default()))
            }
            ("PUT" | "POST" | "DELETE", ["", bucket, key @ ..]) => {
                self.xml(request, &decoded(bucket), &decoded(&key.join("/")))
            }
            _ => self.emulate(request),
        }
    }

    fn emulate(&self, request: &Request) -> io::Result<Answer> {
        ask(self.emulator, request)
    }

    /// Changes through the XML API.
    fn xml(&self, request: &Request, bucket: &str, key: &str) -> io::Result<Answer> {
        let in_parts = request.query("uploads").is_some() || request.query("uploadId").is_some();
        if !in_parts {
            return match request.method.as_str() {
                "PUT" => self.put(bucket, key, &request.headers, &request.body),
                _ => self.emulate(request),
            };
        }
        if request.header("x-goog-if-generation-match").is_some() {
            return Ok(Answer::xml_error(400, "InvalidArgument"));
        }
        let (answer, whole) = lock(&self.parts).answer(request, bucket, key);
        let Some(whole) = whole else { return Ok(answer) };
        let done = self.put(bucket, key, &whole.headers, &whole.body)?;
        if done.status != 200 {
            return Ok(done);
        }
        let etag = done.header("etag").unwrap_or_default().to_owned();
        Ok(Answer::xml(&format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>")))
    }

    /// Stores an object through the JSON API and answers as the XML API does.
    fn put(&self, bucket: &str, key: &str, headers: &[(String, String)], body: &[u8]) -> io::Result<Answer> {
        let mut target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={}", encoded(key));
        let mut kept = Vec::new();
        for (name, value) in headers {
            match name.as_str() {
                "x-goog-if-generation-match" => target.push_str(&format!("&ifGenerationMatch={value}")),
                "content-type" | "cache-control" | "content-disposition" | "content-language" | "host" => {
                    kept.push((name.clone(), value.clone()));
                }
                _ if name.starts_with("x-goog-meta-") => kept.push((name.clone(), value.clone())),
                _ => {}
            }
        }
        let answer = self.emulate(&Request::new("POST", &target, kept, body.to_vec()))?;
        if answer.status != 200 {
            let code = if answer.status == 412 { "PreconditionFailed" } else { "NoSuchBucket" };
            return Ok(Answer::xml_error(answer.status, code));
        }
        let object: Value = serde_json::from_slice(&answer.body)?;
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let headers = vec![
            ("etag".to_owned(), format!("\"{}\"", text("etag"))),
            ("x-goog-generation".to_owned(), text("generation")),
        ];
        Ok(Answer { status: 200, headers, body: Vec::new() })
    }

    /// A page of a listing: objects and prefixes together are at most `maxResults`, none twice.
    fn list(&self, request: &Request) -> io::Result<Answer> {
        let query = |name: &str| request.query(name).unwrap_or_default();
        let whole = format!("{}?prefix={}&delimiter={}", request.path, encoded(&query("prefix")), query("delimiter"));
        let answer = self.emulate(&Request::new("GET", &whole, request.headers.clone(), Vec::new()))?;
        if answer.status != 200 {
            return Ok(answer);
        }
        let found: Value = serde_json::from_slice(&answer.body)?;
        // An object that is a prefix as well shows as both.
        let both = query("includeTrailingDelimiter") == "true";
        let bucket = request.path.split('/').nth(4).unwrap_or_default();
        let mut entries: BTreeMap<(String, bool), Option<Value>> = BTreeMap::new();
        for item in found["items"].as_array().into_iter().flatten() {
            entries.insert((item["name"].as_str().unwrap_or_default().to_owned(), false), Some(item.clone()));
        }
        for prefix in found["prefixes"].as_array().into_iter().flatten() {
            let name = prefix.as_str().unwrap_or_default().to_owned();
            let object = if both { self.resource(bucket, &encoded(&name))? } else { Value::Null };
            if !object.is_null() {
                entries.insert((name.clone(), false), Some(object));
            }
            entries.insert((name, true), None);
        }
        let most = query("maxResults").parse().unwrap_or(1_000).clamp(1, 1_000);
        let from = query("pageToken").strip_prefix("after:").map(str::to_owned);
        let mut left = entries.into_iter().filter(|((name, _), _)| from.as_ref().is_none_or(|from| name > from));
        let (mut items, mut prefixes, mut last) = (Vec::new(), Vec::new(), String::new());
        for ((name, _), item) in left.by_ref().take(most) {
            last.clone_from(&name);
            match item {
                Some(item) => items.push(item),
                None => prefixes.push(name),
            }
        }
        let mut page = json!({ "kind": "storage#objects" });
        if !items.is_empty() {
            page["items"] = items.into();
        }
        if !prefixes.is_empty() {
            page["prefixes"] = prefixes.into();
        }
        if left.next().is_some() {
            page["nextPageToken"] = format!("after:{last}").into();
        }
        Ok(Answer::json(200, &page))
    }

    fn delete(&self, request: &Request, bucket: &str, key: &str) -> io::Result<Answer> {
        if let Some(wanted) = request.query("ifGenerationMatch") {
            let object = self.resource(bucket, key)?;
            if object["generation"].as_str().is_some_and(|generation| generation != wanted) {
                return Ok(Answer::json_error(412, "conditionNotMet", "At least one of the conditions did not hold"));
            }
        }
        self.emulate(request)
    }

    fn rewrite(&self, request: &Request, bucket: &str, from: &str, to: &str) -> io::Result<Answer> {
        let source = self.resource(bucket, from)?;
        let generation = source["generation"].as_str().unwrap_or("0").to_owned();
        let target = self.resource(bucket, to)?["generation"].as_str().unwrap_or("0").to_owned();
        for (condition, is) in [("ifSourceGenerationMatch", &generation), ("ifGenerationMatch", &target)] {
            // A source that is missing is told as such.
            if generation != "0" && request.query(condition).is_some_and(|wanted| wanted != *is) {
                return Ok(Answer::json_error(412, "conditionNotMet", "At least one of the conditions did not hold"));
            }
        }
        let size: u64 = source["size"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        if !bucket.ends_with(FAR) || size <= ROUND {
            return self.emulate(request);
        }
        let mut rewrites = lock(&self.rewrites);
        let token = request.query("rewriteToken");
        let before = match token.as_ref().map(|token| rewrites.remove(token)) {
            None => 0,
            Some(Some((begun, copied))) if begun == generation => copied,
            Some(_) => return Ok(Answer::json_error(400, "invalid", "The rewrite token does not fit")),
        };
        if before + ROUND >= size {
            return self.emulate(request);
        }
        let token = uuid::Uuid::now_v7().simple().to_string();
        rewrites.insert(token.clone(), (generation, before + ROUND));
        Ok(Answer::json(200, &json!({ "kind": "storage#rewriteResponse", "done": false, "rewriteToken": token })))
    }

    /// An object's metadata; null when there is none.
    fn resource(&self, bucket: &str, encoded_key: &str) -> io::Result<Value> {
        let request = Request::new("GET", &format!("/storage/v1/b/{bucket}/o/{encoded_key}"), Vec::new(), Vec::new());
        let answer = self.emulate(&request)?;
        Ok(if answer.status == 200 { serde_json::from_slice(&answer.body)? } else { Value::Null })
    }

    /// A request of a resumable upload.
    fn chunk(&self, request: &Request) -> io::Result<Answer> {
        let id = request.query("upload_id").unwrap_or_default();
        let range = request.header("content-range").unwrap_or_default().to_owned();
        if range == "bytes */*" {
            let headers = match lock(&self.arrived).get(&id) {
                Some(bytes) if *bytes > 0 => vec![("range".to_owned(), format!("bytes=0-{}", bytes - 1))],
                _ => Vec::new(),
            };
            let mut answer = Answer { status: 200, headers, body: Vec::new() };
            answer.headers.push(("x-http-status-code-override".to_owned(), "308".to_owned()));
            return Ok(answer);
        }
        let offset = range.trim_start_matches("bytes ").split('-').next().and_then(|text| text.parse::<usize>().ok());
        let open = range.ends_with("/*");
        let mut request = request.clone();
        let cut = open && lock(&self.to_cut).remove(&request.query("name").unwrap_or_default());
        if let (true, Some(offset)) = (cut, offset) {
            request.body.truncate(request.body.len() / 2 / UNIT * UNIT);
            request.set_header("content-range", &format!("bytes {offset}-{}/*", offset + request.body.len() - 1));
        }
        let answer = self.emulate(&request)?;
        if let (true, Some(offset)) = (open, offset) {
            lock(&self.arrived).insert(id, offset + request.body.len());
        }
        Ok(if cut { Answer::json_error(503, "backendError", "cut by the tests") } else { answer })
    }
}

/// Percent-encodes a key with its slashes.
pub fn encoded(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
