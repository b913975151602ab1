//! Programs that call with tokens of an identity provider: whose tokens open the door, and which do not.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::oidc::with_provider;
use crate::support::events::field;
use crate::support::oidc::Oidc;
use crate::support::process::{LIMIT, run, until};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a token that opens the door, for an operator.
fn good(oidc: &Oidc) -> Value {
    let now = now();
    json!({ "iss": oidc.issuer(), "aud": "gateway", "sub": "robot", "iat": now, "exp": now + 3600, "groups": ["operators"] })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    match value {
        Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
        value => claims[name] = value,
    }
    claims
}

#[test]
fn a_program_calls_with_the_token_that_the_provider_gave_it() {
    let (administered, oidc) = with_provider();
    let token = oidc.token_of_program();
    let me = administered.tcp.get_as(&token, "/api/v1/me").ok();
    assert_eq!((&me["name"], &me["role"], me.get("until")), (&json!("oidc:gateway"), &json!("auditor"), None));
    assert_eq!(administered.tcp.get_as(&token, "/metrics").status, 200);
    let bearer = format!("Bearer {token}");
    let reload = administered.tcp.request("POST", "/api/v1/reload", &[("Authorization", &bearer)], "");
    assert_eq!(reload.status, 403, "{reload:?}");
    let event = administered.call_event(|event| field(event, "path") == "/api/v1/reload");
    assert_eq!((field(&event, "caller"), field(&event, "role")), ("oidc:gateway", "auditor"));
    // A command brings it as it brings a token of ours.
    let file = administered.door.setup.folder().join("token");
    std::fs::write(&file, &token).unwrap();
    let crate::support::http::Place::Tcp(address) = &administered.tcp else { panic!("no address") };
    let url = format!("http://{address}");
    let mut command = crate::support::gateway::lockgate();
    command.args(["status", "--url", &url, "--token-file", file.to_str().unwrap()]);
    assert!(run(&mut command).succeeded().stdout.contains("edge-1"));
    // Somebody may write it into the address.
    assert_eq!(administered.tcp.get(&format!("/api/v1/sessions?token={token}")).status, 401);
    administered.call_event(|event| field(event, "path") == "/api/v1/sessions?token=eyJ…");
    let told = format!("{:?}{}", administered.door.gateway.events.all(), administered.door.gateway.log());
    assert!(token.split('.').all(|part| !told.contains(part)), "{told}");
}

#[test]
fn only_a_token_of_the_provider_for_us_and_of_now_opens_the_door() {
    let (administered, oidc) = with_provider();
    let plain = json!({});
    let get = |token: &str| administered.tcp.get_as(token, "/api/v1/me");
    let token = oidc.sign("own", &plain, &good(&oidc));
    assert_eq!(get(&token).ok()["role"], "operator");
    let now = now();
    for (header, name, value, status, words) in [
        (&plain, "exp", json!(now - 120), 401, "is over"),
        (&plain, "exp", Value::Null, 401, "exp"),
        (&plain, "exp", json!("tomorrow"), 401, "exp"),
        (&plain, "nbf", json!(now + 600), 401, "has not come"),
        (&plain, "aud", json!("another"), 401, "another audience"),
        (&plain, "aud", json!(["another", "third"]), 401, "another audience"),
        (&plain, "aud", Value::Null, 401, "aud"),
        (&plain, "aud", json!(["another", "gateway"]), 200, "operator"),
        (&plain, "iss", json!("http://127.0.0.1:1"), 401, "another issuer"),
        (&plain, "iss", json!([oidc.issuer()]), 401, "another issuer"),
        (&plain, "iss", Value::Null, 401, "iss"),
        (&plain, "sub", Value::Null, 401, "sub"),
        (&plain, "groups", Value::Null, 403, "has no claim"),
        (&plain, "groups", json!("operators"), 200, "operator"),
        (&plain, "groups", json!(["strangers"]), 403, "no value of"),
        (&plain, "groups", json!({ "operators": true }), 403, "has no claim"),
        (&json!({ "typ": "at+jwt" }), "sub", json!("robot"), 200, "operator"),
        (&json!({ "typ": "logout+jwt" }), "sub", json!("robot"), 401, "cannot be used"),
        (&json!({ "kid": "k9" }), "sub", json!("robot"), 401, "a key that the provider does not have"),
    ] {
        let token = oidc.sign("own", header, &with(good(&oidc), name, value.clone()));
        let answer = get(&token);
        assert!(answer.status == status && answer.body.contains(words), "{header} {name}={value}: {answer:?}");
        assert!(token.split('.').all(|part| !answer.body.contains(part)), "{answer:?}");
    }
    for key in ["other", "none", "hmac"] {
        let answer = get(&oidc.sign(key, &plain, &good(&oidc)));
        assert_eq!(answer.status, 401, "{key}: {answer:?}");
    }
    // Every part counts.
    let parts: Vec<&str> = token.split('.').collect();
    let viewer = oidc.sign("own", &plain, &with(good(&oidc), "groups", json!(["viewers"])));
    let others: Vec<&str> = viewer.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0";
    for tampered in [
        format!("{}.{}.{}", others[0], parts[1], others[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        "..".into(),
        "a.b.c".into(),
        format!("{token}x"),
    ] {
        assert_eq!(get(&tampered).status, 401, "{tampered}");
    }
    assert_eq!(get(&oidc.sign("own", &plain, &good(&oidc))).status, 200, "the door still opens");
}

#[test]
fn what_a_token_opened_ends_with_it() {
    let (administered, oidc) = with_provider();
    // Within the leeway for clocks: it is over, and is accepted for a moment longer.
    let token = oidc.sign("own", &json!({}), &with(good(&oidc), "exp", json!(now() + 2)));
    let mut stream = administered.tcp.connect();
    let head =
        format!("GET /api/v1/status/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    // A stream that went on would be read until the limit.
    stream.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200") && all.ends_with(b"0\r\n\r\n"), "the stream ends in order");
}

#[test]
fn a_browser_that_logs_in_with_a_token_is_logged_out_when_it_ends() {
    let (administered, oidc) = with_provider();
    let log_in = |exp: u64| {
        let token = oidc.sign("own", &json!({}), &with(good(&oidc), "exp", json!(exp)));
        let headers = [("Origin", "http://localhost"), ("Content-Type", "application/json")];
        administered.tcp.request("POST", "/api/v1/login", &headers, &json!({ "token": token }).to_string())
    };
    let end = now() + 3600;
    let answer = log_in(end);
    let until = answer.ok()["until"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(u64::try_from(until.timestamp()).unwrap(), end);
    let set = log_in(end).raw_header("set-cookie").unwrap().to_owned();
    let age = set.split_once("Max-Age=").and_then(|(_, rest)| rest.split(';').next()).unwrap().parse::<u64>().unwrap();
    assert!(age <= 3600, "{set}");
    // Within the leeway for clocks: a call passes, a login would be over before it began.
    let answer = log_in(now() - 5);
    assert!(answer.status == 401 && answer.raw_header("set-cookie").is_none(), "{answer:?}");
}

#[test]
fn a_new_key_is_fetched_and_strangers_cannot_make_the_gateway_ask_without_end() {
    let port = crate::support::server::free_port();
    let administered =
        super::administered_with(|setup| setup.config["admin"]["oidc"] = crate::support::oidc::settings(port));
    let oidc = Oidc::start(port, "k1", &[]);
    let get = |token: &str| administered.tcp.get_as(token, "/api/v1/me").status;
    let old = oidc.sign("own", &json!({}), &good(&oidc));
    assert_eq!(get(&old), 200);
    for number in 0..200 {
        let strange = oidc.sign("other", &json!({ "kid": format!("strange-{number}") }), &good(&oidc));
        assert_eq!(get(&strange), 401);
    }
    let fetches = oidc.fetches();
    assert!(fetches < 100, "{fetches} fetches for 200 tokens");
    // Those whose key is known do not notice when the provider is gone.
    drop(oidc);
    assert_eq!(get(&old), 200);
    let oidc = Oidc::start(port, "k2", &[]);
    let new = oidc.sign("own", &json!({}), &good(&oidc));
    until("new key", LIMIT, || (get(&new) == 200).then_some(()));
    assert_eq!(get(&old), 401, "the provider has withdrawn the old one");
}
