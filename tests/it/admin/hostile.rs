//! Callers who mean no good: refused within bounds, while logins over SSH go on.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Administered, administered, administered_with};
use crate::support::events::field;
use crate::support::http::{Place, Stream, answer};
use crate::support::oidc;
use crate::support::process::{LIMIT, until};
use crate::support::sftp::Sftp;

#[test]
fn names_and_pages_that_are_not_ours_are_turned_away() {
    let administered = administered();
    let bearer = format!("Bearer {}", administered.tokens.operator);
    let authorization = ("Authorization", bearer.as_str());
    for host in ["evil.example.org", "localhost.evil.example.org:8022", ""] {
        let answer = administered.tcp.request("GET", "/api/v1/sessions", &[authorization, ("Host", host)], "");
        assert_eq!(answer.status, 421, "{host}: {answer:?}");
        let answer = administered.tcp.request("GET", "/readyz", &[("Host", host)], "");
        assert_eq!(answer.status, 421, "{host}: {answer:?}");
    }
    for header in [("Origin", "https://evil.example.org"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")] {
        let answer = administered.tcp.request("POST", "/api/v1/reload", &[authorization, header], "");
        assert_eq!(answer.status, 403, "{header:?}: {answer:?}");
    }
    let own = administered.tcp.request("POST", "/api/v1/reload", &[authorization, ("Origin", "http://localhost")], "");
    assert_eq!(own.status, 200, "{own:?}");
    assert!(own.headers.contains("x-content-type-options: nosniff") && own.headers.contains("no-store"), "{own:?}");
}

/// What is refused before anybody is asked who they are is a call too.
#[test]
fn calls_under_foreign_names_and_to_nowhere_are_on_record() {
    let administered = administered();
    let bearer = format!("Bearer {}", administered.tokens.operator);
    let authorization = ("Authorization", bearer.as_str());
    let get = |path: &str, header| administered.tcp.request("GET", path, &[authorization, header], "").status;
    let post = |path: &str, header| administered.tcp.request("POST", path, &[authorization, header], "").status;
    let (foreign, here) = (("Host", "evil.example.org"), ("Host", "localhost"));
    assert_eq!(get("/api/v1/sessions?a=1", foreign), 421);
    assert_eq!(get("/readyz", foreign), 421);
    assert_eq!(post("/api/v1/reload", ("Origin", "https://evil.example.org")), 403);
    assert_eq!(post("/api/v1/login", ("Origin", "https://evil.example.org")), 403);
    assert_eq!(get("/api/v1/nothing", here), 404);
    assert_eq!(post("/api/v1/sessions", here), 405);
    assert_eq!(get("/api/v1/me", here), 200);
    let calls = administered.door.gateway.events.until("a record of each", |events| {
        let calls: Vec<_> = events.iter().filter(|event| field(event, "activity-type") == "ADMIN_CALL").collect();
        let last = calls.iter().any(|call| field(call, "path") == "/api/v1/me");
        last.then(|| calls.into_iter().cloned().collect::<Vec<_>>())
    });
    let said: Vec<_> = calls.iter().map(|call| (field(call, "path"), call["http-status"].as_u64().unwrap())).collect();
    let expected = [
        ("/api/v1/sessions?a=1", 421),
        ("/api/v1/reload", 403),
        ("/api/v1/login", 403),
        ("/api/v1/nothing", 404),
        ("/api/v1/sessions", 405),
        ("/api/v1/me", 200),
    ];
    assert_eq!(said, expected, "each once, and those of monitoring not at all");
    assert!(calls.iter().all(|call| field(call, "source-ip") == "127.0.0.1"), "{calls:#?}");
    let statuses: Vec<_> = calls.iter().map(|call| field(call, "status")).collect();
    assert_eq!(statuses, ["failure", "denied", "denied", "failure", "failure", "success"]);
}

/// A gateway whose identity provider accepts connections and never answers, and a token that it has to be asked about.
fn with_stalled_provider() -> (Administered, TcpListener, &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let administered = administered_with(|setup| setup.config["admin"]["oidc"] = oidc::settings(port));
    (administered, listener, "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.c2ln")
}

/// Calls, and hangs up when what is given back is dropped.
fn call(administered: &Administered, token: &str, path: &str) -> Box<dyn Stream> {
    let mut stream = administered.tcp.connect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn whoever_hangs_up_while_the_provider_is_asked_is_on_record() {
    let (administered, listener, token) = with_stalled_provider();
    let stream = call(&administered, token, "/api/v1/sessions?hangs=up");
    // It is asked; the caller goes before it fails.
    let asked = listener.accept().unwrap();
    drop(stream);
    // A call that comes later is answered: the gateway has seen that the other one is gone.
    assert_eq!(administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/me").status, 200);
    drop(asked);
    let call = administered.call_event(|event| field(event, "path") == "/api/v1/sessions?hangs=up");
    assert_eq!((&call["http-status"], call.get("caller")), (&json!(503), None), "{call}");
}

#[test]
fn those_who_hang_up_leave_no_more_behind_than_there_is_room_for() {
    let (administered, _listener, token) = with_stalled_provider();
    // Nobody waits for it but those who hang up.
    let told = (0..5000).find_map(|_| {
        drop(call(&administered, token, "/api/v1/sessions"));
        let answer = administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/me");
        (answer.status != 200).then_some(answer)
    });
    let told = told.expect("a call for which there is no room");
    assert!(told.status == 503 && told.body.contains("too many calls are under way"), "{told:?}");
    assert_eq!(administered.socket.get("/api/v1/sessions").status, 200, "the machine's own users have theirs");
    until("room again", LIMIT, || {
        let answer = administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/me");
        (answer.status == 200).then_some(())
    });
}

#[test]
fn odd_requests_are_refused() {
    let administered = administered();
    let token = &administered.tokens.operator;
    for path in [
        "/api/v1/../v1/sessions",
        "/api/v1/sessions/../../../etc/passwd",
        "/api/v1/sessions/%2e%2e%2f",
        "/api/v1//sessions",
        "/API/v1/sessions",
        "/api/v1/sessions/",
    ] {
        let answer = administered.tcp.get_as(token, path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let bearer = format!("Bearer {token}");
    let authorization = ("Authorization", bearer.as_str());
    for method in ["PUT", "POST", "PATCH", "TRACE", "CONNECT"] {
        let answer = administered.tcp.request(method, "/api/v1/sessions", &[authorization], "");
        assert!([405, 400, 404].contains(&answer.status), "{method}: {answer:?}");
    }
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(100_000));
    let json = ("Content-Type", "application/json");
    let answer = administered.tcp.request("DELETE", "/api/v1/sessions/0049", &[authorization, json], &large);
    assert_eq!(answer.status, 413, "{answer:?}");
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("X-{n}"), "y".repeat(100))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = administered.tcp.request("GET", "/healthz", &many, "");
    assert_eq!(answer.status, 431, "{answer:?}");
}

#[test]
fn a_body_without_end_ends() {
    let administered = administered();
    let Place::Tcp(address) = &administered.tcp else { panic!("a TCP listener") };
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "DELETE /api/v1/sessions/0049 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        administered.tokens.operator
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    reader.set_read_timeout(Some(LIMIT)).unwrap();
    let writing = thread::spawn(move || {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        // Until the other side has had enough.
        (0..1 << 20).find(|_| stream.write_all(chunk.as_bytes()).is_err())
    });
    let mut begun = [0; 12];
    reader.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 413");
    drop(reader);
    let chunks = writing.join().unwrap();
    assert!(chunks.is_some(), "it took four gigabytes");
}

#[test]
fn slow_connections_keep_neither_users_nor_the_socket_out() {
    let administered = administered();
    let Place::Tcp(address) = &administered.tcp else { panic!("a TCP listener") };
    // Ten thousand, and at any time more than there are places, each with a head that does not come to its end.
    let mut slow = VecDeque::new();
    for _ in 0..10_000 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        if stream.write_all(b"GET /api/v1/sessions HTTP/1.1\r\nX-Slow: ").is_ok() {
            slow.push_back(stream);
        }
        if slow.len() > 600 {
            slow.pop_front();
        }
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", administered.door.gateway.pid())).unwrap().count();
    assert!(descriptors < 600, "{descriptors} descriptors are held for them");
    assert_eq!(administered.socket.get("/api/v1/sessions").status, 200);
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/a", b"content");
    // They are ended, and the door is open again for those who speak.
    for mut stream in slow {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/sessions").status, 200);
}

#[test]
fn a_connection_that_says_nothing_more_is_ended() {
    let administered = administered();
    let Place::Tcp(address) = &administered.tcp else { panic!("a TCP listener") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT.max(Duration::from_secs(60)))).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // To the end of the connection, which the client does not ask for.
    assert_eq!(answer(stream).status, 200);
}

/// A token that is pasted where it does not belong is in no answer, no event and no line of the log.
#[test]
fn a_token_in_the_wrong_place_is_repeated_nowhere() {
    let administered = super::events::with_trail();
    let secret = "aB3_secret-of-somebody-0123456789abcdefghijklm";
    let jwt = format!("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.{secret}");
    let opaque = format!("{secret}\\\"{secret}");
    let json = ("Content-Type", "application/json");
    for body in [
        format!("\"lgt_{secret}\""),
        format!("{{\"lgt_{secret}\":1}}"),
        format!("{{\"token\":[\"lgt_{secret}\"]}}"),
        format!("\"{jwt}\""),
        format!("{{\"{jwt}\":1}}"),
        format!("\"{opaque}\""),
        format!("[\"{}\"]", secret.repeat(100)),
    ] {
        let answer = administered.tcp.request("POST", "/api/v1/login", &[json], &body);
        assert!(answer.status == 422 && !answer.body.contains(secret), "{body}: {answer:?}");
        assert!(answer.body.len() < 600, "{answer:?}");
    }
    for query in [
        format!("lgt_{secret}=1"),
        format!("{jwt}=1"),
        format!("status=lgt_{secret}"),
        format!("status=lgt%5F{secret}"),
        format!("text=lgt_{secret}&limit=0"),
    ] {
        let answer = administered.tcp.get_as(&administered.tokens.auditor, &format!("/api/v1/events?{query}"));
        assert!(answer.status == 400 && !answer.body.contains(secret), "{query}: {answer:?}");
    }
    let encoded: String = format!("lgt_{secret}").bytes().map(|byte| format!("%{byte:02x}")).collect();
    let of_user = administered.tcp.get_as(&administered.tokens.auditor, &format!("/api/v1/users/{encoded}"));
    assert_eq!(of_user.status, 200, "{of_user:?}");
    administered.call_event(|event| field(event, "path") == "/api/v1/users/lgt_…");
    let plain = administered.tcp.get_as(&administered.tokens.auditor, "/api/v1/events?usr=1");
    assert!(plain.body.contains("unknown field `usr`"), "what is wrong is said: {plain:?}");
    administered.call_event(|event| field(event, "path").ends_with("usr=1"));
    let told = format!("{:?}{}", administered.door.gateway.events.all(), administered.door.gateway.log());
    assert!(!told.contains(secret) && !told.contains(&encoded) && told.contains("lgt_…"), "{told}");
    let trail = fs::read_to_string(administered.door.setup.folder().join("events/e.ndjson")).unwrap();
    assert!(!trail.contains(secret) && !trail.contains(&encoded));
}
