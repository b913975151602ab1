//! What a request is, by its head.

use std::fmt;

/// A request's head.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query as they are sent.
    pub target: String,
    pub kind: Kind,
    headers: Vec<(String, String)>,
}

/// What a request is for, in the words of S3; other stores' requests are counted as what they amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Head,
    Get,
    List,
    Put,
    Copy,
    Begin,
    Part,
    CopyPart,
    Complete,
    Abort,
    /// The parts of an upload under way.
    Parts,
    Delete,
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Head => "HEAD",
            Kind::Get => "GET",
            Kind::List => "LIST",
            Kind::Put => "PUT",
            Kind::Copy => "COPY",
            Kind::Begin => "BEGIN",
            Kind::Part => "PART",
            Kind::CopyPart => "COPY-PART",
            Kind::Complete => "COMPLETE",
            Kind::Abort => "ABORT",
            Kind::Parts => "LIST-PARTS",
            Kind::Delete => "DELETE",
            Kind::Other => "OTHER",
        })
    }
}

impl Request {
    /// Reads a head; `None` for what is none.
    pub fn read(head: &[u8]) -> Option<Request> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut request = Request { method, target, kind: Kind::Other, headers };
        request.kind = request.judge();
        Some(request)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Two tries of one request have the same.
    pub fn identity(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut fields = query.split('&').map(|field| field.split_once('=').unwrap_or((field, "")));
        fields.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn judge(&self) -> Kind {
        let has = |name| self.query(name).is_some();
        let copies = ["x-amz-copy-source", "x-goog-copy-source", "x-ms-copy-source"];
        let copies = copies.iter().any(|name| self.header(name).is_some());
        match self.method.as_str() {
            "HEAD" => Kind::Head,
            "GET" if has("list-type") || self.query("comp") == Some("list") => Kind::List,
            "GET" if has("uploadId") => Kind::Parts,
            "GET" => Kind::Get,
            "PUT" if has("partNumber") && copies => Kind::CopyPart,
            "PUT" if has("partNumber") || self.query("comp") == Some("block") => Kind::Part,
            "PUT" if self.query("comp") == Some("blocklist") => Kind::Complete,
            "PUT" if copies => Kind::Copy,
            "PUT" => Kind::Put,
            "POST" if has("uploads") => Kind::Begin,
            "POST" if has("uploadId") => Kind::Complete,
            "DELETE" if has("uploadId") => Kind::Abort,
            "DELETE" => Kind::Delete,
            _ => Kind::Other,
        }
    }
}
