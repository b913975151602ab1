//! The proxy that the other checks trust: it changes nothing, and its faults are what they say.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{LIMIT, program, run, run_with};
use crate::support::proxy::{Fault, Plan, Proxy};

/// A server that answers every request with the request itself, in chunks; it ends with its listener's last client.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                let mut seen = Vec::new();
                let mut buffer = [0; 65_536];
                loop {
                    let count = client.read(&mut buffer).unwrap_or(0);
                    if count == 0 {
                        return;
                    }
                    seen.extend_from_slice(&buffer[..count]);
                    // Requests here are in chunks or have no body.
                    let chunked = String::from_utf8_lossy(&seen).to_ascii_lowercase().contains("chunked");
                    if seen.ends_with(if chunked { b"\r\n0\r\n\r\n" } else { b"\r\n\r\n" }) {
                        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                        let answer = [head.as_bytes(), &chunks(&std::mem::take(&mut seen))].concat();
                        client.write_all(&answer).unwrap();
                    }
                }
            });
        }
    });
    endpoint
}

fn chunks(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in data.chunks(1_000) {
        write!(text, "{:x}\r\n", chunk.len()).unwrap();
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n\r\n");
    text
}

fn curl() -> std::process::Command {
    let mut command = program("curl");
    command.args(["-sS", "--noproxy", "*"]);
    command
}

#[test]
fn heads_and_chunked_bodies_go_through_unchanged_and_connections_are_kept() {
    let proxy = Proxy::start(&echo());
    let url = format!("{}/a%20b?x=1&y", proxy.endpoint());
    let body = "0123456789".repeat(3_000);
    // A length that is not known makes chunks, and the header a wait for the interim answer.
    let send = ["-T", "-", "-H", "Expect: 100-continue", "-H", "X-Odd: a  b", "--expect100-timeout", "3600"];
    let answer = run_with(curl().args(send).arg(&url), body.as_bytes(), LIMIT).succeeded().stdout;
    assert!(answer.starts_with("PUT /a%20b?x=1&y HTTP/1.1\r\n"), "{answer:.300}");
    let host = proxy.endpoint().replace("http://", "Host: ");
    assert!(answer.contains(&host) && answer.contains("X-Odd: a  b"), "{answer:.300}");
    assert!(!answer.contains("Expect"), "{answer:.300}");
    let digits: String = answer.split_once("\r\n\r\n").unwrap().1.split("\r\n").filter(|line| line.len() > 8).collect();
    assert_eq!(digits, body);
    let twice = run(curl().args(["--output", "/dev/null", "--output", "/dev/null"]).args([
        "--write-out",
        "%{num_connects}\n",
        &url,
        &url,
    ]));
    assert_eq!(twice.succeeded().stdout, "1\n0\n", "the second time there is a connection");
    assert_eq!(proxy.counts(), "GET=2 PUT=1");
}

#[test]
fn faults_are_what_they_say() {
    let proxy = Proxy::start(&echo());
    let url = format!("{}/f", proxy.endpoint());
    // curl's codes: 52 is an answer without a byte, 56 a connection that was reset, 18 a body that ended too soon.
    let cases: [(Fault, &[i32]); 6] = [
        (Fault::Status(503, "SlowDown"), &[22]),
        (Fault::Close, &[52]),
        (Fault::LoseAnswer, &[52]),
        (Fault::ResetAnswer(10), &[56, 18]),
        (Fault::ResetRequest(0), &[56]),
        (Fault::Hang(Duration::from_millis(50)), &[52]),
    ];
    for (fault, codes) in cases {
        proxy.plan(Plan::chosen(|request| request.path() == "/f", 1, fault));
        let failed = run(curl().args(["--fail", &url])).failed();
        let code = failed.status.code().unwrap();
        assert!(codes.contains(&code), "{fault:?}: {code}");
        run(curl().args(["--fail", &url])).succeeded();
    }
    assert_eq!(proxy.faults(), 6);
}

#[test]
fn a_request_that_fails_for_good_fails_at_every_try_and_others_do_not() {
    let proxy = Proxy::start(&echo());
    proxy.plan(Plan::nth(2, Fault::Status(503, "SlowDown")));
    let ask = |name: &str| run(curl().args(["--fail", &format!("{}/{name}", proxy.endpoint())])).status.success();
    assert_eq!(["a", "b", "b", "a", "c", "b"].map(ask), [true, false, false, true, true, false]);
    proxy.plan(Plan::transient(0, 1, &[Fault::Close]));
    assert_eq!(["a", "a", "a", "a"].map(ask), [false, false, true, false]);
}

#[test]
fn latency_comes_before_every_request() {
    let proxy = Proxy::start(&echo());
    proxy.delay(Duration::from_millis(200));
    let url = proxy.endpoint();
    let started = Instant::now();
    run(curl().args([&url, &url, &url])).succeeded();
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
}
