//! The trail as the admin door shows it, its verification, connections, and the configuration.

use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use super::events::with_trail;
use super::{Administered, administered, administered_with};
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, run, until};
use crate::support::sftp::Sftp;

/// With a file that holds the whole trail, whose chain is signed and kept, and which is rotated often.
fn signed() -> Administered {
    administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.audit_folder();
        setup.config["events"] = json!([
            { "sink": "stdout" },
            { "sink": "file", "path": path, "gzip": true, "rotate": { "size": "64KiB" } },
        ]);
    })
}

#[test]
fn the_trail_is_verified_in_the_background_and_a_finding_is_told() {
    let administered = administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.audit_folder();
        setup.config["audit"]["self_check"] = json!({ "every": "1s", "readiness": true });
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    let metric = |name: &str| {
        let text = administered.socket.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse::<f64>().unwrap())
    };
    let verified = || metric("lockgate_trail_verified_timestamp_seconds");
    assert!(until("first self-check", LIMIT, verified) > 1.7e9);
    assert_eq!(metric("lockgate_trail_whole"), Some(1.0));
    assert_eq!(administered.socket.get("/readyz").status, 200);
    let trail = administered.socket.get("/api/v1/trail").ok();
    assert_eq!(field(&trail["verification"], "by"), "self-check");
    let told = administered.door.gateway.events.await_event("TRAIL_VERIFIED", |_| true);
    assert!(field(&told, "message").starts_with("the trail is whole: "), "{told}");

    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/paid", b"content");
    let path = PathBuf::from(field(&trail, "file"));
    let forged = fs::read_to_string(&path).unwrap().replace("/paid", "/lost");
    fs::write(&path, forged).unwrap();
    let told = administered.door.gateway.events.await_event("ERROR", |event| field(event, "operation") == "VERIFY");
    assert!(field(&told, "message").starts_with("the trail is not whole"), "{told}");
    until("readiness that says so", LIMIT, || {
        let answer = administered.socket.get("/readyz");
        (answer.status == 503 && answer.body.contains("the trail is not whole")).then_some(())
    });
    assert_eq!(metric("lockgate_trail_whole"), Some(0.0));
}

/// The verification, when it has ended.
#[track_caller]
fn verified(administered: &Administered) -> Value {
    until("end of the verification", LIMIT, || {
        let trail = administered.socket.get("/api/v1/trail").ok();
        trail["verification"].get("finished").map(|_| trail["verification"].clone())
    })
}

#[test]
fn the_trail_is_shown_and_verified_while_it_is_written() {
    let administered = signed();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    // Several files, so that rotation and packing are under way.
    for number in 0..150 {
        alice.put(&format!("/f{number}"), b"content");
    }
    let trail = administered.socket.get("/api/v1/trail").ok();
    assert_eq!((&trail["kept"], &trail["server"]), (&json!(true), &json!("edge-1")), "{trail:#}");
    assert!(field(&trail, "key").starts_with("SHA256:") && field(&trail, "chain").len() == 36, "{trail:#}");
    let (last, acknowledged) = (trail["sequence"].as_u64().unwrap(), trail["acknowledged"].as_u64().unwrap());
    assert!(last >= 300 && acknowledged <= last && acknowledged >= 300, "{trail:#}");
    assert!(trail["checkpoint"]["sequence"].as_u64().unwrap() >= 1, "{trail:#}");
    assert_eq!(trail["sinks"].as_array().unwrap().len(), 2, "{trail:#}");

    let begun = administered.socket.request("POST", "/api/v1/trail/verify", &[], "");
    assert_eq!(begun.status, 202, "{begun:?}");
    alice.put("/more", b"content");
    let verification = verified(&administered);
    assert_eq!((&verification["whole"], &verification["signatures"]), (&json!(true), &json!(true)), "{verification:#}");
    assert!(field(&verification, "verdict").starts_with("INTACT"), "{verification:#}");
    assert!(verification["files_total"].as_u64().unwrap() > 1, "{verification:#}");
    let (read, total) = (verification["bytes_read"].as_u64().unwrap(), verification["bytes_total"].as_u64().unwrap());
    assert!(read > 0 && total > 0, "{verification:#}");
    let call = administered.call_event(|event| field(event, "path") == "/api/v1/trail/verify");
    assert_eq!((field(&call, "method"), field(&call, "status")), ("POST", "success"));
    let printed = administered.command(&["trail", "show"]).succeeded().stdout;
    assert!(printed.contains("signed with   SHA256:") && printed.contains("INTACT"), "{printed}");
    let printed = administered.command(&["trail", "verify"]).succeeded();
    let verdict = printed.stdout.lines().last().unwrap();
    assert!(verdict.starts_with("INTACT") && printed.stderr.is_empty(), "{printed}");
    let chains = verification["report"]["chains"].as_array().unwrap();
    let is_covered = chains.iter().all(|chain| chain["not-signed"].as_array().unwrap().is_empty());
    assert!(is_covered || printed.stdout.contains("covered by no signature: sequence "), "{printed}");
    let printed = administered.command(&["status"]).succeeded().stdout;
    assert!(printed.contains("the last checkpoint is ") && printed.contains(", signed, at "), "{printed}");
}

#[test]
fn a_trail_that_was_changed_is_found_out_and_one_that_is_nowhere_is_said() {
    let administered = signed();
    administered.door.client.sftp("mkdir /a").succeeded();
    administered.door.gateway.events.await_disconnected(1);
    let file = administered.door.setup.folder().join("events/e.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("MKDIR", "RMDIR")).unwrap();
    assert_eq!(administered.socket.request("POST", "/api/v1/trail/verify", &[], "").status, 202);
    let verification = verified(&administered);
    assert_eq!(verification["whole"], false, "{verification:#}");
    assert!(verification["report"]["finding-count"].as_u64().unwrap() >= 1, "{verification:#}");
    let printed = administered.command(&["trail", "verify"]).failed();
    assert!(printed.stdout.lines().last().unwrap().starts_with("BROKEN"), "{printed}");
    let shown = administered.command(&["trail", "show"]).succeeded();
    let finding = &verification["report"]["findings"][0];
    for said in [format!("events/e.ndjson, line {}", finding["line"]), format!("{}: ", field(finding, "kind"))] {
        assert!(printed.stdout.contains(&said) && shown.stdout.contains(&said), "{said}: {printed} {shown}");
    }

    let nowhere = super::administered();
    let answer = nowhere.socket.request("POST", "/api/v1/trail/verify", &[], "");
    assert!(answer.status == 409 && answer.body.contains("add { sink: file"), "{answer:?}");
    let trail = nowhere.socket.get("/api/v1/trail").ok();
    assert!(trail.get("verification").is_none() && trail.get("key").is_none() && trail["kept"] == false, "{trail:#}");
}

/// Its DISCONNECTED was never written.
#[test]
fn a_session_whose_gateway_was_killed_is_listed_as_over() {
    let administered = with_trail();
    let setup = administered.door.setup.clone();
    administered.door.client.sftp("mkdir /one").succeeded();
    administered.door.gateway.events.await_disconnected(1);
    let _alice = Sftp::connect(&administered.door.client, LIMIT);
    let id = administered.session_of("alice");
    administered.door.gateway.kill();
    let gateway = setup.start();
    gateway.client("alice", &administered.door.key).sftp("mkdir /two").succeeded();
    gateway.events.await_disconnected(1);
    let config = setup.folder().join("config.yaml");
    let list = |words: &[&str]| {
        let done =
            run(lockgate().arg("connections").args(words).arg("--json").arg("--config").arg(&config)).succeeded();
        serde_json::from_str::<Value>(&done.stdout).unwrap()["connections"].as_array().unwrap().clone()
    };
    let closed = until("the end of the session after the kill", LIMIT, || Some(list(&[])).filter(|all| all.len() == 3));
    let reasons: Vec<&str> = closed.iter().map(|connection| field(connection, "reason")).collect();
    assert_eq!(reasons, ["client", "gateway-killed", "client"], "{closed:#?}");
    assert_eq!((field(&closed[1], "id"), closed[1].get("end")), (id.as_str(), None), "{closed:#?}");
    assert_eq!(list(&["--status", "open"]), Vec::<Value>::new());
    gateway.stop();
}

#[test]
fn connections_are_shown_open_and_closed() {
    let administered = with_trail();
    administered.door.client.sftp("mkdir /a").succeeded();
    let stranger = administered.door.setup.key("stranger");
    administered.door.gateway.client("mallory", &stranger).sftp("pwd").failed();
    administered.door.gateway.events.await_disconnected(2);
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    alice.put("/f", b"content");
    let id = administered.session_of("alice");
    let get = |query: &str| administered.socket.get(&format!("/api/v1/connections{query}")).ok();
    let all = get("");
    let of = |value: &Value, name: &str| -> Vec<String> {
        value["connections"].as_array().unwrap().iter().map(|one| field(one, name).to_owned()).collect()
    };
    assert_eq!(of(&all, "status"), ["open", "closed", "closed"], "{all:#}");
    assert_eq!(of(&all, "user"), ["alice", "mallory", "alice"]);
    assert_eq!((&all["open"], &all["connections"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(all["connections"][0]["bytes_in"], 7);
    let closed = &all["connections"][2];
    assert_eq!((field(closed, "reason"), field(closed, "target")), ("client", "edge-1"), "{closed}");
    assert!(field(closed, "start") <= field(closed, "end"), "{closed}");
    assert_eq!(of(&get("?status=open"), "id"), [id.as_str()]);
    assert_eq!(of(&get("?user=mallory"), "user"), ["mallory"]);
    assert_eq!(get("?address=192.0.2.0/24")["connections"], json!([]));
    // Pages.
    let first = get("?status=closed&limit=1");
    let second = get(&format!("?status=closed&limit=1&before={}", field(&first, "next")));
    assert_eq!([of(&first, "user"), of(&second, "user")].concat(), ["mallory", "alice"]);
    // Who ended it.
    let end = administered.socket.request(
        "DELETE",
        &format!("/api/v1/sessions/{id}"),
        &[("Content-Type", "application/json")],
        r#"{"reason":"key stolen"}"#,
    );
    assert_eq!(end.status, 200, "{end:?}");
    administered.door.gateway.events.await_disconnected(3);
    let ended = until("the end", LIMIT, || {
        let newest = get("?limit=1")["connections"][0].clone();
        (newest["status"] == "closed" && newest["id"] == id).then_some(newest)
    });
    assert_eq!((field(&ended, "reason"), field(&ended, "message")), ("administrator", "key stolen"), "{ended}");
    assert!(!field(&ended, "ended_by").is_empty(), "{ended}");
    let printed = administered.command(&["connections"]).succeeded().stdout;
    assert!(printed.contains("mallory") && printed.contains(": key stolen"), "{printed}");
    for wrong in ["?status=lost", "?limit=0", "?limit=1001", "?before=x", "?address=here", "?odd=1"] {
        let answer = administered.socket.get(&format!("/api/v1/connections{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
    administered.call_event(|event| field(event, "path") == "/api/v1/connections?user=mallory");

    let nowhere = administered_without_trail();
    assert_eq!(nowhere.socket.get("/api/v1/connections").status, 409);
    assert_eq!(nowhere.socket.get("/api/v1/connections?status=open").ok()["open"], 0);
}

fn administered_without_trail() -> Administered {
    administered()
}

#[test]
fn the_configuration_is_shown_without_secrets_and_with_what_waits() {
    let administered = administered_with(|setup| {
        setup.config["stores"]["spare"] = json!({ "url": "memory:///", "options": { "size": "1MiB" } });
    });
    let get = || administered.socket.get("/api/v1/config").ok();
    let shown = get();
    let configuration = &shown["configuration"];
    assert_eq!(configuration["stores"]["spare"]["options"]["size"], "1MiB", "{shown:#}");
    assert_eq!(configuration["admin"]["tokens"][0]["hash"], "(masked)", "{shown:#}");
    assert_eq!((&shown["waits_for_reload"], &shown["waits_for_restart"]), (&json!([]), &json!([])), "{shown:#}");

    let mut setup = administered.door.setup.clone();
    setup.config["server"]["name"] = json!("edge-2");
    setup.config["limits"]["sessions"] = json!(7);
    setup.config["stores"]["spare"]["options"]["size"] = json!("2MiB");
    setup.write_config();
    let shown = get();
    assert_eq!(shown["configuration"]["server"]["name"], "edge-1", "{shown:#}");
    assert_eq!(shown["waits_for_reload"], json!(["stores"]), "{shown:#}");
    assert_eq!(shown["waits_for_restart"], json!(["server", "limits"]), "{shown:#}");
    administered.command(&["reload"]).succeeded();
    let shown = get();
    assert_eq!(shown["configuration"]["stores"]["spare"]["options"]["size"], "2MiB", "{shown:#}");
    assert_eq!(shown["configuration"]["server"]["name"], "edge-1", "{shown:#}");
    assert_eq!((&shown["waits_for_reload"], &shown["waits_for_restart"]), (&json!([]), &json!(["server", "limits"])));
    assert!(administered.door.gateway.log().contains("server, limits"), "{}", administered.door.gateway.log());

    // Secrets are compared and not shown: one in the file, and one that the file refers to.
    let secret = administered.door.setup.folder().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let port = crate::support::server::free_port();
    let mut oidc = crate::support::oidc::settings(port);
    oidc["client_secret"] = json!(format!("${{file:{}}}", secret.display()));
    setup.config["admin"]["oidc"] = oidc;
    setup.write_config();
    administered.command(&["reload"]).succeeded();
    let shown = get();
    assert_eq!((&shown["secrets_changed"], &shown["waits_for_reload"]), (&json!([]), &json!([])), "{shown:#}");
    fs::write(&secret, "hunter3").unwrap();
    let (_, entry) = super::token("viewer", "viewer");
    setup.config["admin"]["tokens"][0] = entry;
    setup.write_config();
    let shown = get();
    assert_eq!(shown["secrets_changed"], json!(["admin.oidc.client_secret", "admin.tokens[0].hash"]), "{shown:#}");
    assert_eq!(shown["waits_for_reload"], json!(["admin.oidc", "admin.tokens"]), "{shown:#}");
    assert!(!shown.to_string().contains("hunter"), "{shown:#}");
    administered.command(&["reload"]).succeeded();
    assert_eq!(get()["secrets_changed"], json!([]));

    // Many at once wait for each other.
    let all: Vec<Value> = thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(get)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(all.iter().all(|shown| shown.get("problem").is_none() && shown["has_file"] == true), "{all:#?}");

    let file: PathBuf = administered.door.setup.folder().join("config.yaml");
    fs::write(&file, "server: 7\n").unwrap();
    let shown = get();
    assert!(field(&shown, "problem").contains("server: expected"), "{shown:#}");
}
