//! Commands that call a gateway of which the test says what it answers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::support::gateway::lockgate;
use crate::support::process::{Finished, LIMIT, run};

/// What a call is answered with: the status, the type of its content, and this.
type Answer = (u16, &'static str, String);

fn json_of(value: &Value) -> Answer {
    (200, "application/json", value.to_string())
}

/// Reads a request; its first line.
fn request(stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").and_then(|length| length.parse().ok()).unwrap_or(length);
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(first.trim_end().trim_end_matches(" HTTP/1.1").to_owned())
}

/// Runs a command that calls a gateway which answers so, call by call; what it asked.
#[track_caller]
fn run_against(words: &[&str], answers: Vec<Answer>) -> (Finished, Vec<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serving: JoinHandle<Vec<String>> = thread::spawn(move || {
        let mut asked = Vec::new();
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept() {
            let Some(call) = request(&stream) else { break };
            let Some((status, kind, body)) = answers.next() else { break };
            asked.push(call);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
            write!(stream, "{head}Connection: close\r\n\r\n{body}").unwrap();
        }
        asked
    });
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "lgt_x").unwrap();
    let url = format!("http://{address}");
    let finished = run(lockgate().args(words).args(["--url", &url, "--token-file"]).arg(&token));
    // It ends with a call that says nothing.
    drop(TcpStream::connect(address));
    (finished, serving.join().unwrap())
}

/// An id of 2026-07-31T06:49:41Z and later.
fn id(number: usize) -> String {
    format!("019fb73e-20fa-7b3d-8f21-{number:012}")
}

fn closed(user: &str) -> Value {
    json!({
        "id": "0049cd844c7536c06a89", "status": "closed", "user": user, "address": "192.0.2.1", "port": 50022, "target": "edge-1",
        "start": "2026-07-31T08:14:58.792Z", "end": "2026-07-31T08:16:00.042Z", "reason": "client",
        "bytes_in": 0, "bytes_out": 0, "files_in": 0, "files_out": 0,
    })
}

/// One page may be empty although there is something further back.
#[test]
fn connections_are_searched_page_by_page() {
    let page = |connections: Value, next: Option<usize>| {
        let mut page = json!({ "connections": connections, "open": 0 });
        if let Some(next) = next {
            page["next"] = json!(id(next));
        }
        json_of(&page)
    };
    let (finished, asked) = run_against(
        &["connections", "--user", "acme", "--limit", "2", "--before", &id(9)],
        vec![page(json!([]), Some(5)), page(json!([closed("acme")]), Some(3)), page(json!([]), None)],
    );
    let printed = finished.succeeded().stdout;
    assert!(printed.contains("acme") && !printed.contains("nobody") && !printed.contains("--before"), "{printed}");
    let call =
        |limit: usize, before: usize| format!("GET /api/v1/connections?user=acme&limit={limit}&before={}", id(before));
    assert_eq!(asked, [call(2, 9), call(2, 5), call(1, 3)]);
    // Where there are more, it says how to go on.
    let more = vec![page(json!([closed("acme"), closed("acme")]), Some(7))];
    let (finished, asked) = run_against(&["connections", "--limit", "2"], more);
    let printed = finished.succeeded().stdout;
    assert!(printed.contains(&format!("continue with --before {}", id(7))), "{printed}");
    assert!(printed.contains("searched back to 2026-07-31T"), "{printed}");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (finished, _) = run_against(&["connections"], vec![page(json!([]), None)]);
    assert_eq!(finished.succeeded().stdout, "nobody is or was connected\n");
}

/// Its own verification ends, and another one begins before it asks again.
#[test]
fn a_verification_is_found_although_another_one_has_begun() {
    let begun = json!({ "by": "root", "started": "2026-07-31T08:00:00.000Z", "bytes_read": 0, "bytes_total": 0, "files": 0, "files_total": 1 });
    let ended = |is_whole: bool| {
        let mut ended = begun.clone();
        ended["finished"] = json!("2026-07-31T08:00:01.000Z");
        ended["whole"] = json!(is_whole);
        ended["verdict"] = json!(if is_whole { "WHOLE: 7 lines" } else { "NOT WHOLE: 1 finding" });
        ended["report"] = json!({ "findings": [], "finding-count": 0, "signatures-checked": true });
        ended
    };
    let mut other = begun.clone();
    (other["by"], other["started"]) = (json!("self-check"), json!("2026-07-31T08:00:02.000Z"));
    let verify = |previous: Value| {
        let trail = json!({ "verification": other, "previous_verification": previous });
        run_against(&["trail", "verify"], vec![json_of(&begun), json_of(&trail)])
    };
    let (finished, asked) = verify(ended(true));
    assert_eq!(finished.succeeded().stdout, "WHOLE: 7 lines\n");
    assert_eq!(asked, ["POST /api/v1/trail/verify", "GET /api/v1/trail"]);
    let (finished, _) = verify(ended(false));
    assert_eq!(finished.failed().stdout, "NOT WHOLE: 1 finding\n");
    // Two have begun since, so that nobody knows.
    let (finished, _) = verify(other.clone());
    let finished = finished.failed().says("the verification is gone");
    assert_eq!(finished.stdout, "");
}

/// Without the address, a token would be left aside and the socket of this machine called.
#[test]
fn a_token_without_an_address_is_refused() {
    let refused = run(lockgate().args(["sessions", "list", "--token-file", "token"])).failed();
    assert!(refused.stderr.contains("--url"), "{refused}");
    assert_eq!(refused.status.code(), Some(2));
}
