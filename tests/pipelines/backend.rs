//! A backend that speaks OTLP over HTTP, in JSON, as far as logs go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::read::GzDecoder;
use serde_json::{Map, Value};

/// One log record, as it arrived.
#[derive(Debug, Clone)]
pub struct Record {
    pub body: String,
    pub attributes: Value,
    /// `service.name` of the resource.
    pub service: String,
    /// Nanoseconds since 1970.
    pub time: i64,
}

/// The backend. Its threads end with the process, each connection's with the connection.
#[derive(Debug, Clone)]
pub struct Backend {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Mutex<Vec<Record>>,
    away: AtomicBool,
    refused: AtomicUsize,
}

impl Backend {
    pub fn start() -> Backend {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let backend = Backend { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = backend.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                thread::spawn(move || state.serve(stream));
            }
        });
        backend
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether requests are refused with 503.
    pub fn be_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// What arrived, in order.
    pub fn records(&self) -> Vec<Record> {
        self.state.records.lock().unwrap().clone()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((gzipped, body)) = read_request(&mut reader) {
            let status = if self.away.load(Ordering::SeqCst) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                "503 Service Unavailable"
            } else {
                let text = if gzipped {
                    std::io::read_to_string(GzDecoder::new(&body[..])).expect("gzip")
                } else {
                    String::from_utf8(body).expect("UTF-8")
                };
                let request: Value = serde_json::from_str(&text).expect("JSON");
                self.records.lock().unwrap().extend(records(&request));
                "200 OK"
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Whether the body is compressed, and the body; `None` at the end of the connection.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(bool, Vec<u8>)> {
    let (mut length, mut gzipped) = (0, false);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    assert!(line.starts_with("POST /v1/logs "), "{line:?}");
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "content-encoding" => gzipped = value.trim() == "gzip",
            "transfer-encoding" => panic!("bodies without a length are not read here"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((gzipped, body))
}

fn records(request: &Value) -> Vec<Record> {
    let mut records = Vec::new();
    for resource in list(&request["resourceLogs"]) {
        let service = attributes(&resource["resource"])["service.name"].as_str().unwrap_or("").to_owned();
        for scope in list(&resource["scopeLogs"]) {
            for record in list(&scope["logRecords"]) {
                records.push(Record {
                    body: record["body"]["stringValue"].as_str().unwrap_or("").to_owned(),
                    attributes: attributes(record),
                    service: service.clone(),
                    time: number(&record["timeUnixNano"]),
                });
            }
        }
    }
    records
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `[{key, value}]` as an object.
fn attributes(holder: &Value) -> Value {
    let pairs = list(&holder["attributes"]).iter();
    Value::Object(pairs.map(|pair| (pair["key"].as_str().unwrap().to_owned(), plain(&pair["value"]))).collect())
}

/// An `AnyValue` as the JSON that it stands for. 64-bit integers travel as strings.
fn plain(value: &Value) -> Value {
    let (kind, inner) = value.as_object().and_then(|object| object.iter().next()).expect("an AnyValue with a value");
    match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" => inner.clone(),
        "intValue" => number(inner).into(),
        "arrayValue" => list(&inner["values"]).iter().map(plain).collect(),
        "kvlistValue" => {
            let pairs = list(&inner["values"]).iter();
            pairs
                .map(|pair| (pair["key"].as_str().unwrap().to_owned(), plain(&pair["value"])))
                .collect::<Map<_, _>>()
                .into()
        }
        other => panic!("a value of the kind {other}"),
    }
}

fn number(value: &Value) -> i64 {
    value.as_str().map_or_else(|| value.as_i64(), |text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}
