//! Who may do what, and that each call is on record.

use serde_json::{Value, json};

use super::{administered, administered_with, token};
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, run, until};

/// Each route, and which roles it lets in.
const ROUTES: &[(&str, &str, [bool; 3])] = &[
    ("GET", "/api/v1/status", [true, true, true]),
    ("GET", "/api/v1/sessions", [true, true, true]),
    ("GET", "/api/v1/sessions/0049cd844c7536c06a89", [true, true, true]),
    ("GET", "/api/v1/stores", [true, true, true]),
    ("GET", "/api/v1/bans", [true, true, true]),
    ("GET", "/api/v1/users", [true, true, true]),
    ("GET", "/api/v1/users/alice", [true, true, true]),
    ("GET", "/api/v1/user?name=alice", [true, true, true]),
    ("GET", "/api/v1/fleet", [true, true, true]),
    ("GET", "/api/v1/me", [true, true, true]),
    ("POST", "/api/v1/logout", [true, true, true]),
    ("POST", "/api/v1/links", [false, false, true]),
    ("GET", "/api/v1/connections", [true, true, true]),
    ("GET", "/api/v1/config", [true, true, true]),
    ("GET", "/metrics", [true, true, true]),
    ("GET", "/api/v1/trail", [false, true, true]),
    ("POST", "/api/v1/trail/verify", [false, true, true]),
    ("GET", "/api/v1/events", [false, true, true]),
    ("GET", "/api/v1/recordings/0049cd844c7536c06a89", [false, true, true]),
    ("GET", "/api/v1/events/stream?after=x", [false, true, true]),
    ("DELETE", "/api/v1/sessions/0049cd844c7536c06a89", [false, false, true]),
    ("DELETE", "/api/v1/bans/192.0.2.1", [false, false, true]),
    ("POST", "/api/v1/reload", [false, false, true]),
];

/// Those that need no role, never end, or end the gateway.
const OTHERS: [&str; 7] = [
    "POST /api/v1/login",
    "POST /api/v1/login/oidc",
    "POST /api/v1/login/oidc/finish",
    "GET /api/v1/status/stream",
    "POST /api/v1/drain",
    "GET /healthz",
    "GET /readyz",
];

/// What is described is what is looked at here: nobody adds a route and forgets to say for whom it is.
#[test]
fn every_route_is_among_those_whose_roles_are_tested() {
    let administered = administered();
    let described = administered.tcp.get("/openapi.json").ok();
    let paths = described["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let is_shape_of = |shape: &str, path: &str| {
        let (shape, path): (Vec<&str>, Vec<&str>) = (shape.split('/').collect(), path.split('/').collect());
        shape.len() == path.len() && shape.iter().zip(&path).all(|(part, given)| part == given || part.starts_with('{'))
    };
    let is_tested = |route: &String| {
        let (method, shape) = route.split_once(' ').unwrap();
        let path = |path: &&str| path.split('?').next().unwrap().to_owned();
        ROUTES.iter().any(|(tested, given, _)| *tested == method && is_shape_of(shape, &path(given)))
    };
    let (tested, others): (Vec<String>, Vec<String>) = all.partition(|route| is_tested(route));
    let mut expected = OTHERS.map(str::to_owned).to_vec();
    expected.sort();
    let mut others = others;
    others.sort();
    assert_eq!(others, expected);
    assert_eq!(tested.len(), ROUTES.len());
    // Those that end something are for operators too, and the stream for everybody who is known.
    for (method, path, lets_viewers_in) in [("POST", "/api/v1/drain", false), ("GET", "/api/v1/status/stream", true)] {
        assert_eq!(administered.tcp.request(method, path, &[], "").status, 401, "{path}");
        if !lets_viewers_in {
            for token in [&administered.tokens.viewer, &administered.tokens.auditor] {
                let bearer = format!("Bearer {token}");
                let answer = administered.tcp.request(method, path, &[("Authorization", &bearer)], "");
                assert_eq!(answer.status, 403, "{path}: {answer:?}");
            }
        }
    }
}

#[test]
fn each_route_lets_its_roles_in_and_records_every_call_but_those_of_monitoring() {
    let administered = administered();
    let tokens = &administered.tokens;
    for (method, path, lets_in) in ROUTES {
        for (token, may) in [&tokens.viewer, &tokens.auditor, &tokens.operator].into_iter().zip(lets_in) {
            let bearer = format!("Bearer {token}");
            let answer = administered.tcp.request(method, path, &[("Authorization", &bearer)], "");
            assert_eq!(answer.status == 403, !may, "{method} {path}: {answer:?}");
            assert_ne!(answer.status, 401);
        }
        let answer = administered.tcp.request(method, path, &[], "");
        assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
        assert!(answer.headers.contains("www-authenticate: bearer"), "{answer:?}");
    }
    let recorded = ROUTES.iter().filter(|(_, path, _)| *path != "/metrics").count() * 4;
    let calls = administered.door.gateway.events.until("record of each call", |events| {
        let calls: Vec<_> = events.iter().filter(|event| field(event, "activity-type") == "ADMIN_CALL").collect();
        (calls.len() >= recorded).then(|| calls.into_iter().cloned().collect::<Vec<_>>())
    });
    assert_eq!(calls.len(), recorded);
    let denied = calls.iter().filter(|call| field(call, "status") == "denied").count();
    assert_eq!(denied, 22 + 13, "twenty-two without a token, thirteen without the role");
    for call in &calls {
        let is_known = call["http-status"] != 401;
        assert_eq!(call.get("caller").is_some(), is_known, "{call}");
        assert_eq!(field(call, "source-ip"), "127.0.0.1");
    }
}

#[test]
fn a_token_that_is_wrong_or_gone_opens_nothing_and_is_told_nowhere() {
    let administered = administered();
    let (stranger, _) = token("stranger", "operator");
    let answer = administered.tcp.get_as(&stranger, "/api/v1/sessions");
    assert_eq!(answer.status, 401);
    // One that somebody wrote into the address.
    let odd = administered.tcp.get(&format!("/api/v1/sessions?token={}", administered.tokens.operator));
    assert_eq!(odd.status, 401);
    let call = administered.call_event(|event| field(event, "path").contains("token="));
    assert_eq!(field(&call, "path"), "/api/v1/sessions?token=lgt_…");
    // Gone with a reload; and one whose time is over.
    let mut setup = administered.door.setup.clone();
    let (expired, mut entry) = token("expired", "viewer");
    entry["expires"] = json!("2020-01-01");
    setup.config["admin"]["tokens"] = json!([entry]);
    setup.write_config();
    administered.command(&["reload"]).succeeded();
    let gone = administered.tcp.get_as(&administered.tokens.operator, "/api/v1/sessions");
    assert_eq!(gone.status, 401, "{gone:?}");
    let over = administered.tcp.get_as(&expired, "/api/v1/sessions");
    assert!(over.status == 401 && over.body.contains("is over"), "{over:?}");
    assert!(administered.socket.get("/api/v1/sessions").status == 200, "the socket needs none");
    let events = format!("{:?}", administered.door.gateway.events.all());
    let log = administered.door.gateway.log();
    for token in [&stranger, &expired, &administered.tokens.operator] {
        assert!(
            !events.contains(token.as_str()) && !log.contains(token.as_str()) && !gone.body.contains(token.as_str())
        );
    }
}

#[test]
fn a_reload_over_the_door_says_how_it_went() {
    let administered = administered();
    let said = administered.command(&["reload"]).succeeded().stdout;
    assert!(said.contains("the new configuration holds") && !said.contains("restart"), "{said}");
    let mut setup = administered.door.setup.clone();
    // What only a restart changes is said, in words and in the answer.
    setup.config["server"]["name"] = json!("another-name");
    setup.write_config();
    let said = administered.command(&["reload"]).succeeded().stdout;
    assert!(said.contains("except for server: restart"), "{said}");
    let answer = administered.socket.request("POST", "/api/v1/reload", &[], "").ok();
    assert_eq!(answer["waits_for_restart"], json!(["server"]), "{answer}");
    setup.config["stores"]["main"]["url"] = json!("nonsense:");
    setup.write_config();
    // The command reads the same file; the socket is named outright.
    let answer = administered.socket.request("POST", "/api/v1/reload", &[], "");
    assert!(answer.status == 409 && answer.body.contains("stores.main.url"), "{answer:?}");
    assert!(administered.door.gateway.log().contains("was not reloaded"));
    let call = administered.call_event(|event| event["http-status"] == 409);
    assert_eq!(field(&call, "status"), "failure");
}

#[test]
fn a_drain_over_the_door_ends_the_gateway_once_transfers_have() {
    let mut administered = administered();
    let mut alice = crate::support::sftp::Sftp::connect(&administered.door.client, LIMIT);
    let handle = alice.create("/a");
    let said = administered.command(&["drain"]).succeeded().stdout;
    assert!(said.contains("1 session may finish"), "{said}");
    let ready = until("drain that shows", LIMIT, || {
        let ready = administered.socket.get("/readyz");
        (ready.status == 503).then_some(ready)
    });
    assert!(ready.body.contains("drains"), "{ready:?}");
    alice.write(&handle, 0, b"content").unwrap();
    alice.close(&handle).unwrap();
    assert!(administered.door.gateway.ended(LIMIT).success());
    assert!(!administered.door.setup.folder().join("admin.sock").exists(), "the socket goes with the gateway");
}

/// What a program prints of a token lets in as it is.
#[test]
fn a_token_and_its_entry_are_printed_as_json() {
    let mut token = String::new();
    let administered = administered_with(|setup| {
        let words = ["admin", "token", "a \"name\"", "--role", "viewer", "--days", "1", "--json"];
        let made = run(lockgate().args(words)).succeeded();
        assert_eq!(made.stderr, "");
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        token = made["token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("lgt_") && made["entry"]["expires"].as_str().unwrap().ends_with('Z'), "{made}");
        setup.config["admin"]["tokens"] = json!([made["entry"]]);
    });
    let me = administered.tcp.get_as(&token, "/api/v1/me").ok();
    assert_eq!((me["name"].as_str(), me["role"].as_str()), (Some("a \"name\""), Some("viewer")), "{me}");
}
