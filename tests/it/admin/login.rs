//! How a browser logs in: by a token or a link, and what its cookie is good for.

use serde_json::{Value, json};

use super::{Administered, administered, administered_with};
use crate::support::events::field;
use crate::support::http::Answer;
use crate::support::process::{LIMIT, until};

/// What a browser sends along from the page.
const OURS: [(&str, &str); 2] = [("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")];

fn log_in(administered: &Administered, credentials: &Value) -> Answer {
    let headers = [OURS[0], OURS[1], ("Content-Type", "application/json")];
    administered.tcp.request("POST", "/api/v1/login", &headers, &credentials.to_string())
}

/// The header `Cookie` that a browser would send from then on.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let set = answer.raw_header("set-cookie").expect("a cookie");
    for word in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(set.contains(word), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

fn link(administered: &Administered, role: &str) -> String {
    let made = administered.command(&["admin", "link", "--role", role]).succeeded();
    let url = made.stdout.trim().to_owned();
    let (page, code) = url.split_once("/login#code=").expect("a code behind the #");
    assert!(page.starts_with("http://127.0.0.1:"), "{url}");
    code.to_owned()
}

impl Administered {
    fn call(&self, method: &str, path: &str, cookie: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("Cookie", cookie), ("Content-Type", "application/json")], more].concat();
        self.tcp.request(method, path, &headers, body)
    }
}

#[test]
fn a_token_logs_a_browser_in_until_it_logs_out() {
    let administered = administered();
    let answer = log_in(&administered, &json!({ "token": administered.tokens.auditor }));
    let cookie = cookie(&answer);
    assert_eq!((&answer.json()["name"], &answer.json()["role"]), (&json!("auditor"), &json!("auditor")));
    assert!(!answer.body.contains("lgt_"), "{answer:?}");
    let get = |path: &str| administered.call("GET", path, &cookie, &[], "");
    let me = get("/api/v1/me").ok();
    assert!(me["role"] == "auditor" && me["until"].is_string(), "{me}");
    assert_eq!(get("/api/v1/sessions").status, 200);
    // What the role may not, the cookie may not.
    let reload = administered.call("POST", "/api/v1/reload", &cookie, &OURS, "");
    assert_eq!(reload.status, 403, "{reload:?}");
    let out = administered.call("POST", "/api/v1/logout", &cookie, &OURS, "");
    assert!(out.status == 204 && out.headers.contains("max-age=0"), "{out:?}");
    assert_eq!(get("/api/v1/me").status, 401);
    let event = administered.call_event(|event| field(event, "path") == "/api/v1/login");
    assert_eq!((field(&event, "caller"), field(&event, "role")), ("auditor", "auditor"));
    let log = administered.door.gateway.log();
    let secret = cookie.split_once('=').unwrap().1;
    let events = format!("{:?}", administered.door.gateway.events.all());
    assert!(!events.contains(secret) && !log.contains(secret) && !events.contains(&administered.tokens.auditor));
}

#[test]
fn a_link_logs_in_once_and_no_higher_than_its_role() {
    let administered = administered();
    let code = link(&administered, "viewer");
    let answer = log_in(&administered, &json!({ "code": code }));
    let cookie = cookie(&answer);
    assert_eq!(answer.json()["role"], "viewer");
    assert_eq!(administered.call("GET", "/api/v1/events/stream", &cookie, &[], "").status, 403);
    let again = log_in(&administered, &json!({ "code": code }));
    assert!(again.status == 401 && again.body.contains("lockgate admin link"), "{again:?}");
    let refused = administered.call_event(|event| event["http-status"] == 401);
    assert_eq!((field(&refused, "path"), field(&refused, "status")), ("/api/v1/login", "denied"));
    for odd in [json!({}), json!({ "token": "lgt_x", "code": "x" }), json!({ "token": "lgt_x" }), json!({ "code": "" })]
    {
        let answer = log_in(&administered, &odd);
        assert!([400, 401].contains(&answer.status) && !answer.headers.contains("set-cookie"), "{answer:?}");
    }
    // A caller over the network hands on no more than his own.
    let bearer = format!("Bearer {}", administered.tokens.viewer);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let made = administered.tcp.request("POST", "/api/v1/links", &headers, r#"{"role":"operator"}"#);
    assert_eq!(made.status, 403, "{made:?}");
}

#[test]
fn a_link_leads_to_the_proxy_that_speaks_tls() {
    for (hosts, expected) in [(Some("files.example.org"), "https://files.example.org/login#code="), (None, "")] {
        let administered = administered_with(|setup| {
            setup.config["admin"]["plain_http"] = json!("behind-a-proxy");
            if let Some(host) = hosts {
                setup.config["admin"]["hosts"] = json!([host]);
            }
        });
        let made = administered.command(&["admin", "link"]);
        match hosts {
            Some(_) => assert!(made.stdout.starts_with(expected), "{made}"),
            None => assert!(!made.status.success() && made.stderr.contains("admin.hosts"), "{made}"),
        }
    }
}

#[test]
fn a_link_of_a_login_does_not_renew_it() {
    let administered = administered();
    let first = log_in(&administered, &json!({ "code": link(&administered, "operator") }));
    let end = first.json()["until"].clone();
    let mut cookie = cookie(&first);
    for _ in 0..2 {
        // The end is told in seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let made = administered.call("POST", "/api/v1/links", &cookie, &OURS, r#"{"role":"operator"}"#).ok();
        let code = made["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
        let next = log_in(&administered, &json!({ "code": code }));
        assert_eq!(next.json()["until"], end, "{next:?}");
        let set = next.raw_header("set-cookie").unwrap().to_owned();
        assert!(!set.contains("Max-Age=43200"), "{set}");
        cookie = set.split(';').next().unwrap().to_owned();
        assert_eq!(administered.call("GET", "/api/v1/me", &cookie, &[], "").ok()["until"], end);
    }
}

#[test]
fn with_a_cookie_only_the_page_itself_changes_anything() {
    let administered = administered();
    let cookie = cookie(&log_in(&administered, &json!({ "token": administered.tokens.operator })));
    let reload = |more: &[(&str, &str)]| administered.call("POST", "/api/v1/reload", &cookie, more, "").status;
    assert_eq!(reload(&[]), 403, "a cookie alone is nobody's will");
    assert_eq!(reload(&[("Origin", "http://evil.example.org")]), 403);
    assert_eq!(reload(&[("Origin", "http://localhost:1")]), 403, "another port is another origin");
    assert_eq!(reload(&[("Origin", "null")]), 403);
    assert_eq!(reload(&[OURS[0], ("Sec-Fetch-Site", "same-site")]), 403);
    let read = administered.call("GET", "/api/v1/sessions", &cookie, &[("Sec-Fetch-Site", "same-site")], "");
    assert_eq!(read.status, 403, "nor does another page of this host read");
    assert_eq!(reload(&OURS), 200);
    // Nobody is logged in by a page of somebody else.
    let credentials = json!({ "token": administered.tokens.operator }).to_string();
    let foreign = [("Origin", "http://evil.example.org"), ("Content-Type", "application/json")];
    assert_eq!(administered.tcp.request("POST", "/api/v1/login", &foreign, &credentials).status, 403);
    // The cookie of another port opens nothing here.
    let other = cookie.replacen("lockgate-0", "lockgate-9", 1);
    assert_ne!(other, cookie);
    assert_eq!(administered.call("GET", "/api/v1/me", &other, &[], "").status, 401);
}

#[test]
fn a_login_ends_with_its_token_and_so_does_what_it_follows() {
    let administered = super::events::with_trail();
    let cookie = cookie(&log_in(&administered, &json!({ "token": administered.tokens.operator })));
    let made = administered.call("POST", "/api/v1/links", &cookie, &OURS, r#"{"role":"auditor"}"#).ok();
    let code = made["url"].as_str().unwrap().split_once("#code=").unwrap().1.to_owned();
    let by_cookie = format!("GET /api/v1/status/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    let bearer = &administered.tokens.operator;
    let by_token =
        format!("GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\r\n");
    let mut streams = [by_cookie, by_token].map(|head| {
        let mut stream = administered.tcp.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 2000];
        let count = stream.read(&mut first).unwrap();
        assert!(String::from_utf8_lossy(&first[..count]).starts_with("HTTP/1.1 200"), "it follows");
        stream
    });
    let mut setup = administered.door.setup.clone();
    setup.config["admin"]["tokens"].as_array_mut().unwrap().retain(|token| token["name"] != "operator");
    setup.write_config();
    administered.command(&["reload"]).succeeded();
    assert_eq!(administered.call("GET", "/api/v1/me", &cookie, &[], "").status, 401);
    assert_eq!(log_in(&administered, &json!({ "code": code })).status, 401, "the link rested on the token too");
    // A stream that went on would be read until the limit.
    for stream in &mut streams {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "the stream ends in order");
    }
}

#[test]
fn the_state_streams_as_one_call() {
    let administered = administered();
    let mut stream = administered.socket.connect();
    stream.write_all(b"GET /api/v1/status/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    until("third moment", LIMIT, || {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).unwrap();
        text += &String::from_utf8_lossy(&chunk[..count]);
        (text.matches("event: now\ndata: {").count() >= 3).then_some(())
    });
    let moment = text.split("data: ").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let moment: Value = serde_json::from_str(moment).unwrap();
    assert_eq!((&moment["sessions"], &moment["status"]["server"]), (&json!([]), &json!("edge-1")));
    let calls = administered.door.gateway.events.of_type("ADMIN_CALL");
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn whoever_logs_in_while_the_trail_fails_sees_that_it_does() {
    let administered = super::administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    let file = administered.door.setup.folder().join("events/e.ndjson");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    administered.socket.get("/api/v1/status").ok();
    until("sink that fails", LIMIT, || (administered.tcp.get("/readyz").status == 503).then_some(()));
    let cookie = cookie(&log_in(&administered, &json!({ "token": administered.tokens.operator })));
    let status = administered.call("GET", "/api/v1/status", &cookie, &[], "").ok();
    assert_eq!(status["readiness"]["ready"], false);
    let users = administered.call("GET", "/api/v1/users/alice", &cookie, &[], "");
    assert_eq!(users.status, 503, "what must be on record is refused: {users:?}");
}
