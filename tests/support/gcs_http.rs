//! As much of HTTP/1.1 as the server in front of Google's emulator needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// The longest body that is taken, in bytes.
const LONGEST: usize = 256 << 20;

/// A request with its body.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Percent-encoded.
    pub path: String,
    /// After the question mark, as it came.
    raw_query: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer with its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        let (path, raw_query) = (path.to_owned(), raw_query.to_owned());
        Request { method: method.to_owned(), path, raw_query, headers, body }
    }

    /// A value of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.raw_query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            (key == name).then(|| percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(have, _)| have != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Answer { status, headers, body: value.to_string().into_bytes() }
    }

    pub fn json_error(status: u16, reason: &str, message: &str) -> Self {
        let detail = json!({ "domain": "global", "reason": reason, "message": message });
        Answer::json(status, &json!({ "error": { "code": status, "message": message, "errors": [detail] } }))
    }

    pub fn xml(inner: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
        let body = format!("<?xml version='1.0' encoding='UTF-8'?>{inner}").into_bytes();
        Answer { status: 200, headers, body }
    }

    pub fn xml_error(status: u16, code: &str) -> Self {
        let inner = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        Answer { status, ..Answer::xml(&inner) }
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Reads the next request; `None` when the client is done. A client that waits for leave to send the body gets it.
pub fn read_request(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(wrong("request line")) };
    let mut request = Request::new(method, target, read_headers(reader)?, Vec::new());
    if request.header("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        request.body = read_chunks(reader)?;
    } else if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().map_err(|_| wrong("length"))?;
        if length > LONGEST {
            return Err(wrong("too long a body"));
        }
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(wrong("the head ends too early"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| wrong("chunk"))?;
        if body.len() + size > LONGEST {
            return Err(wrong("too long a body"));
        }
        let begin = body.len();
        body.resize(begin + size, 0);
        reader.read_exact(&mut body[begin..])?;
        // The line end of the chunk, or the empty trailer.
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Writes an answer. The connection stays open.
pub fn write_answer(writer: &mut impl Write, method: &str, answer: &Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    for (name, value) in answer.headers.iter().filter(|(name, _)| !of_the_connection(name)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = match (method, answer.header("content-length")) {
        ("HEAD", Some(length)) => length.to_owned(),
        _ => answer.body.len().to_string(),
    };
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    writer.write_all(head.as_bytes())?;
    if method != "HEAD" {
        writer.write_all(&answer.body)?;
    }
    writer.flush()
}

/// Sends a request to a server on this machine and reads its answer. HTTP/1.0: the body ends with the connection.
pub fn ask(port: u16, request: &Request) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mark = if request.raw_query.is_empty() { "" } else { "?" };
    let mut head = format!("{} {}{mark}{} HTTP/1.0\r\n", request.method, request.path, request.raw_query);
    if request.header("host").is_none() {
        head.push_str(&format!("host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| !of_the_connection(name)) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| wrong("status"))?;
    let headers = read_headers(&mut reader)?;
    let mut body = Vec::new();
    // A server that leaves the connection open has said how long the body is.
    let length = find(&headers, "content-length").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    if request.method != "HEAD" {
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok(Answer { status, headers, body })
}

fn of_the_connection(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "transfer-encoding" | "content-length" | "expect" | "te")
}
