//! The description of the API against what is served: a validator of OpenAPI, and thousands of calls that are made of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Administered, administered_with};
use crate::support::http::Place;
use crate::support::process::{LIMIT, run, run_with, tool};
use crate::support::schema;
use crate::support::sftp::Sftp;

/// How long the calls may take: for hangs only.
const CALLS_WITHIN: Duration = Duration::from_secs(600);

/// Those that never end.
const STREAMS: [&str; 2] = ["/api/v1/events/stream", "/api/v1/status/stream"];

/// The one that ends the gateway.
const DRAIN: &str = "/api/v1/drain";

fn python_tool(name: &str) -> Command {
    Command::new(tool("openapi").join("bin").join(name))
}

fn with_trail() -> Administered {
    administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
        setup.limit("drain", "10m");
    })
}

fn address(administered: &Administered) -> SocketAddr {
    let Place::Tcp(address) = administered.tcp else { panic!("no address") };
    address
}

/// Makes calls of the description that is served at `server`, of the paths that are chosen; its report. Whatever is found fails.
#[track_caller]
fn call(administered: &Administered, server: SocketAddr, chosen: &[&str]) -> String {
    let mut schemathesis = python_tool("st");
    schemathesis.arg("run").arg(format!("http://{server}/openapi.json"));
    schemathesis.args(["--header", &format!("Authorization: Bearer {}", administered.tokens.operator)]);
    schemathesis.args(chosen);
    let usual = "--max-examples 25 --seed 1 --request-timeout 60 --no-color --warnings off --generation-database none";
    schemathesis.args(usual.split(' ')).args(["--phases", "examples,coverage,fuzzing"]);
    // What a value means is beyond a schema: that an address is banned, that a pattern of paths can be read.
    schemathesis.args(["--exclude-checks", "positive_data_acceptance"]);
    schemathesis.current_dir(administered.door.setup.folder());
    let report = run_with(&mut schemathesis, b"", CALLS_WITHIN).succeeded().stdout;
    assert_eq!(administered.socket.get("/healthz").status, 200);
    let log = administered.door.gateway.log();
    assert!(!log.contains("panicked"), "{log}");
    report
}

/// How many operations a report says were tested.
#[track_caller]
fn tested(report: &str) -> u64 {
    let count = report.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in\n{report}"))
}

#[test]
fn the_description_is_valid_and_calls_made_of_it_find_nothing() {
    let administered = with_trail();
    administered.door.client.sftp("mkdir /a").succeeded();
    let described = administered.tcp.get("/openapi.json");
    let file = administered.door.setup.folder().join("openapi.json");
    fs::write(&file, &described.body).unwrap();
    run(python_tool("openapi-spec-validator").arg(&file)).succeeded();
    // All but those that are called in the other tests here.
    let left_out: Vec<&str> = [DRAIN].into_iter().chain(STREAMS).flat_map(|path| ["--exclude-path", path]).collect();
    let report = call(&administered, address(&administered), &left_out);
    let paths = described.json()["paths"].as_object().unwrap().clone();
    let operations: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(tested(&report), operations as u64 - 3, "{report}");
}

/// On a gateway of its own, which waits for a transfer as long as calls come.
#[test]
fn a_drain_is_as_it_is_described() {
    let mut administered = with_trail();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    let handle = alice.create("/a");
    let report = call(&administered, address(&administered), &["--include-path", DRAIN]);
    assert_eq!(tested(&report), 1, "{report}");
    assert_eq!(administered.socket.get("/readyz").status, 503, "it drains");
    alice.close(&handle).unwrap();
    assert!(administered.door.gateway.ended(LIMIT).success());
}

/// Their answers end after the first that comes: a relay sees to that.
#[test]
fn streams_are_as_they_are_described() {
    let administered = with_trail();
    administered.door.client.sftp("mkdir /a").succeeded();
    let relay = ending_streams(address(&administered));
    let chosen: Vec<&str> = STREAMS.into_iter().flat_map(|path| ["--include-path", path]).collect();
    assert_eq!(tested(&call(&administered, relay, &chosen)), 2);

    // What stands in them: the events have a schema of their own, the moments are in the description.
    let whole = format!("{}?after=00000000-0000-0000-0000-000000000000", STREAMS[0]);
    let events = messages(&administered.tcp, &administered.tokens.operator, &whole, 5);
    for event in &events {
        schema::event(&event.to_string()).unwrap_or_else(|why| panic!("{why}: {event}"));
    }
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    let handle = alice.create("/b");
    alice.write(&handle, 0, &[7; 100_000]).unwrap();
    // The first may be one that was made for the caller before.
    let moments = messages(&administered.tcp, &administered.tokens.viewer, STREAMS[1], 3).split_off(1);
    assert_eq!(moments[1]["sessions"][0]["open_files"][0]["path"], "/b", "{moments:?}");
    let folder = administered.door.setup.folder();
    judge(folder, &administered.tcp.get("/openapi.json").body, &moments).succeeded();
    // The judge can say no.
    let mut wrong = moments.clone();
    wrong[0]["sessions"][0]["open_files"][0]["since"] = json!(7);
    judge(folder, &administered.tcp.get("/openapi.json").body, &wrong).failed().says("7 is not of type 'string'");
}

/// The data of the first messages of a stream that have any.
fn messages(place: &Place, token: &str, path: &str, count: usize) -> Vec<Value> {
    let mut stream = place.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let data = lines.filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).expect("JSON")));
    data.take(count).collect()
}

/// Whether these are moments, by a validator of JSON Schema that reads the description.
fn judge(folder: &Path, described: &str, moments: &[Value]) -> crate::support::process::Finished {
    const SCRIPT: &str = r##"
import json, sys
from jsonschema import Draft202012Validator
described, moments = (json.load(open(name)) for name in sys.argv[1:])
schema = {"$ref": "#/components/schemas/Moment", "components": described["components"]}
found = described["paths"]["/api/v1/status/stream"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
assert found["properties"]["data"]["contentSchema"] == {"$ref": schema["$ref"]}, found
assert len(moments) == 2
for moment in moments:
    Draft202012Validator(schema).validate(moment)
"##;
    let (description, shown) = (folder.join("description.json"), folder.join("moments.json"));
    fs::write(&description, described).unwrap();
    fs::write(&shown, json!(moments).to_string()).unwrap();
    run(python_tool("python").args(["-c", SCRIPT]).arg(&description).arg(&shown))
}

/// A relay to `server`: each connection has one request, and a stream ends after the first empty line of its body. Its threads end with
/// the process.
fn ending_streams(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // That either side ends it is no failure here.
            thread::spawn(move || pass_one(client, server));
        }
    });
    address
}

fn pass_one(client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut server = BufReader::new(TcpStream::connect(server)?);
    let head = head(&mut client)?;
    let length =
        head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    let kept = head.iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let request: String = kept.map(|line| format!("{line}\r\n")).collect();
    server.get_mut().write_all(format!("{request}Connection: close\r\n\r\n").as_bytes())?;
    server.get_mut().write_all(&body)?;

    let answer = self::head(&mut server)?;
    let is = |line: &str, wanted: &str| line.to_ascii_lowercase().starts_with(wanted);
    let is_stream = answer.iter().any(|line| is(line, "content-type: text/event-stream"));
    let is_hidden = |line: &&String| !is_stream || !is(line, "transfer-encoding: chunked");
    let told: String = answer.iter().filter(is_hidden).map(|line| format!("{line}\r\n")).collect();
    client.get_mut().write_all(format!("{told}\r\n").as_bytes())?;
    if !is_stream {
        std::io::copy(&mut server, client.get_mut())?;
        return Ok(());
    }
    // The body is in chunks: a line with the size, and so many bytes and a newline.
    let mut body = Vec::new();
    while !body.windows(2).any(|two| two == b"\n\n") {
        let mut size = String::new();
        server.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        server.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            break;
        }
    }
    client.get_mut().write_all(&body)
}

/// The lines up to the empty one.
fn head(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
}
