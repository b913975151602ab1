//! What one caller, or nobody in particular, may take of what all have.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::events::with_trail;
use super::{Administered, address_of, administered, administered_with};
use crate::support::events::field;
use crate::support::http::{Place, Stream};
use crate::support::process::{LIMIT, until};

#[test]
fn a_pattern_that_cannot_be_compiled_is_refused_and_the_caller_is_on_record() {
    let administered = with_trail();
    let nested = format!("/{}b{}", "%7Ba,".repeat(300), "%7D".repeat(300));
    let long = format!("/{}", "a".repeat(1024));
    for path in [nested, long] {
        for call in ["/api/v1/events?limit=1&path=", "/api/v1/events/stream?path="] {
            let answer = administered.tcp.get_as(&administered.tokens.auditor, &format!("{call}{path}"));
            assert!(answer.status == 400 && answer.body.contains("path: "), "{answer:?}");
        }
    }
    let calls = administered.door.gateway.events.until("a record of each", |events| {
        let calls: Vec<Value> = events.iter().filter(|event| event["http-status"] == 400).cloned().collect();
        (calls.len() == 4).then_some(calls)
    });
    assert!(calls.iter().all(|call| field(call, "caller") == "auditor"), "{calls:#?}");
    assert!(!administered.door.gateway.log().contains("panicked"), "{}", administered.door.gateway.log());
}

/// Calls of nobody who was recognised.
fn strangers<'a>(events: &'a [Value], path: &str) -> Vec<&'a Value> {
    let is_one = |event: &&Value| field(event, "activity-type") == "ADMIN_CALL" && event.get("caller").is_none();
    events.iter().filter(is_one).filter(|event| field(event, "path").starts_with(path)).collect()
}

#[test]
fn a_flood_of_strangers_is_summed_up_and_recognised_callers_are_all_on_record() {
    let administered = administered();
    let long = format!("/api/v1/sessions?{}", "x".repeat(5000));
    for n in 0..300 {
        assert_eq!(administered.tcp.get(&long).status, 401);
        if n % 30 == 0 {
            let own =
                administered.tcp.get_as(&administered.tokens.viewer, &format!("/api/v1/sessions?limit={}", n + 1));
            assert_eq!(own.status, 200, "{own:?}");
        }
    }
    let all = administered.door.gateway.events.until("the sum", |events| {
        let told = |event: &Value| event["reason"] == "admin-calls";
        let sum: u64 =
            events.iter().filter(|event| told(event)).filter_map(|event| event["connections"].as_u64()).sum();
        let alone = strangers(events, "/api/v1/sessions");
        (sum + alone.len() as u64 == 300).then(|| events.to_vec())
    });
    let alone = strangers(&all, "/api/v1/sessions");
    assert!((30..150).contains(&alone.len()), "{}", alone.len());
    assert!(alone.iter().all(|call| field(call, "path").len() <= 260), "{alone:#?}");
    let own = all.iter().filter(|event| field(event, "caller") == "viewer").count();
    assert_eq!(own, 10);
    assert!(!administered.door.gateway.log().contains("could not be recorded"), "no line for each");
}

/// A stream that has begun, and the status.
fn stream(place: &Place, token: Option<&str>, path: &str) -> (u16, Box<dyn Stream>) {
    let mut stream = place.connect();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let status = String::from_utf8_lossy(&head[9..12]).parse().unwrap();
    (status, stream)
}

#[test]
fn one_token_leaves_streams_to_other_tokens_and_to_the_socket() {
    let administered: Administered = with_trail();
    let (auditor, operator) = (&administered.tokens.auditor, &administered.tokens.operator);
    for (path, most_of_caller) in [("/api/v1/events/stream", 8), ("/api/v1/status/stream", 16)] {
        let mut held = Vec::new();
        for n in 0..=most_of_caller {
            let (status, stream) = stream(&administered.tcp, Some(auditor), path);
            assert_eq!(status, if n < most_of_caller { 200 } else { 503 }, "{path} {n}");
            held.push(stream);
        }
        assert_eq!(stream(&administered.tcp, Some(operator), path).0, 200, "{path}");
        assert_eq!(stream(&administered.socket, None, path).0, 200, "{path}");
    }
}

#[test]
fn an_address_that_holds_idle_connections_keeps_nobody_from_asking() {
    let administered = administered_with(|setup| setup.config["admin"]["health"] = json!("127.0.0.1:0"));
    let health = address_of(&administered.door.gateway, "health and metrics are shown on ");
    let Place::Tcp(listen) = administered.tcp else { panic!() };
    for address in [health, listen] {
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..300 {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            held.push(stream);
        }
        until("an answer", LIMIT, || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(LIMIT)).ok()?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
            let mut head = [0; 12];
            stream.read_exact(&mut head).ok()?;
            (head == *b"HTTP/1.1 200").then_some(())
        });
        // The first ones had to leave.
        let first = &mut held[0];
        first.set_read_timeout(Some(LIMIT)).unwrap();
        let mut rest = Vec::new();
        let _ = first.read_to_end(&mut rest);
    }
    let answer = Place::Tcp(health).request("GET", "/healthz", &[], "");
    assert!(answer.status == 200 && answer.headers.contains("connection: close"), "{answer:?}");
}

#[test]
fn questions_to_an_identity_provider_leave_it_to_logins() {
    // It accepts connections and never answers.
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", provider.local_addr().unwrap());
    let administered = administered_with(|setup| setup.config["users_from"] = json!({ "http": { "url": url } }));
    let asked = |n: usize| {
        let mut stream = administered.tcp.connect();
        let token = &administered.tokens.viewer;
        let head = format!(
            "GET /api/v1/users/partner{n} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let under_way: Vec<_> = (0..2).map(|n| (asked(n), provider.accept().unwrap())).collect();
    let show = |place: &Place, path: &str| place.get_as(&administered.tokens.viewer, path).ok();
    let third = show(&administered.tcp, "/api/v1/users/partner9");
    assert!(third["obstacles"].to_string().contains("not asked"), "{third:#}");
    // Whoever is known without a question is shown.
    assert_eq!(show(&administered.tcp, "/api/v1/users/alice")["found"], true);
    drop(under_way);
}
