//! Alive, ready, and the numbers: what monitoring asks for.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::events::with_trail;
use super::{Administered, address_of, administered_with};
use crate::support::campaign::{is_long, report};
use crate::support::http::{Place, answer};
use crate::support::process::{LIMIT, until};
use crate::support::proxy::Proxy;
use crate::support::s3;
use crate::support::server::free_port;
use crate::support::sftp::Sftp;

#[test]
fn it_is_ready_until_a_store_fails_and_again_after() {
    let store = s3::new_store();
    let proxy = Proxy::start(&s3::endpoint());
    let administered = administered_with(|setup| {
        setup.store("lake", json!({ "url": store.url(), "options": store.options_through(&proxy.endpoint()) }));
    });
    assert_eq!(administered.tcp.get("/healthz").status, 200);
    assert_eq!(administered.tcp.get("/readyz").ok(), json!({ "ready": true, "reasons": [] }));
    until("look at each store", LIMIT, || {
        let stores = administered.socket.get("/api/v1/stores").ok();
        stores["stores"].as_array().unwrap().iter().all(|store| store["answers"] == true).then_some(())
    });
    administered.command(&["status"]).succeeded();
    proxy.delay(Duration::from_secs(24 * 60 * 60));
    let ready = until("store that fails", LIMIT, || Some(administered.tcp.get("/readyz")).filter(|r| r.status == 503));
    assert!(ready.body.contains("the store lake fails"), "{ready:?}");
    assert_eq!(administered.tcp.get("/healthz").status, 200, "it is alive all the same");
    let status = administered.command(&["status"]).failed();
    assert!(status.stdout.contains("the store lake fails"), "{status}");
    proxy.delay(Duration::ZERO);
}

/// Of many webhooks the path is the credential.
#[test]
fn the_path_of_a_webhook_is_shown_nowhere() {
    let port = free_port();
    let administered = administered_with(|setup| {
        let hook = |name: &str, path: &str| {
            let url = format!("http://u:hunter2@127.0.0.1:{port}/services/{path}");
            let spool = setup.folder().join(name);
            json!({ "sink": "http", "url": url, "spool": spool, "on_failure": "continue", "batch": { "age": "1s" } })
        };
        let hooks = [hook("one", "T0/B0/hunter2"), hook("two", "T0/B1/hunter2?a=hunter2#hunter2")];
        setup.config["events"] = json!([{ "sink": "stdout" }, hooks[0], hooks[1]]);
    });
    let start = format!("http://127.0.0.1:{port}/…");
    let status = administered.socket.get("/api/v1/status").ok();
    let names = status["sinks"].as_array().unwrap().iter().map(|sink| sink["name"].as_str().unwrap());
    let names: Vec<&str> = names.filter(|name| name.starts_with(&start)).collect();
    assert!(names.len() == 2 && names[0] != names[1], "two of one host are told apart: {names:?}");
    until("what is said of a collector that is not there", LIMIT, || {
        administered.door.gateway.log().contains(names[0]).then_some(())
    });
    let metrics = administered.socket.get("/metrics").body;
    assert!(
        names.iter().all(|name| metrics.contains(&format!("lockgate_spool_bytes{{sink=\"{name}\"}}"))),
        "{metrics}"
    );
    let config = administered.socket.get("/api/v1/config").ok();
    let shown = format!("http://(masked)@127.0.0.1:{port}/…");
    assert_eq!(config["configuration"]["events"][1]["url"], shown, "{config:#}");
    let ready = administered.tcp.get("/readyz").body;
    for told in [&status.to_string(), &metrics, &config.to_string(), &ready, &administered.door.gateway.log()] {
        assert!(!told.contains("hunter2") && !told.contains("/services/"), "{told}");
    }
    // That one was changed shows nevertheless.
    let mut setup = administered.door.setup.clone();
    setup.config["events"][1]["url"] = json!(format!("http://127.0.0.1:{port}/services/another"));
    setup.write_config();
    let config = administered.socket.get("/api/v1/config").ok();
    assert_eq!(
        (&config["secrets_changed"], &config["waits_for_restart"]),
        (&json!(["events[1].url"]), &json!(["events"]))
    );
}

#[test]
fn it_is_not_ready_while_a_sink_fails_and_says_so_without_the_trail() {
    let administered = administered_with(|setup| {
        let folder = setup.subfolder("events");
        let path = folder.join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    let folder = administered.door.setup.folder().join("events");
    // Where the file was there is a folder now: nothing can be written.
    fs::remove_file(folder.join("e.ndjson")).unwrap();
    fs::create_dir(folder.join("e.ndjson")).unwrap();
    administered.socket.get("/api/v1/sessions").ok();
    let ready = until("sink that fails", LIMIT, || Some(administered.tcp.get("/readyz")).filter(|r| r.status == 503));
    assert!(ready.body.contains("a sink of the events fails") && ready.body.contains("e.ndjson"), "{ready:?}");
    // Who looks after it sees the state; what must be on record is refused.
    let status = administered.socket.get("/api/v1/status").ok();
    assert!(status["sinks"].as_array().unwrap().iter().any(|sink| sink["failure"].is_string()), "{status}");
    let reload = administered.socket.request("POST", "/api/v1/reload", &[], "");
    assert!(reload.status == 503 && reload.body.contains("cannot be recorded"), "{reload:?}");
    fs::remove_dir(folder.join("e.ndjson")).unwrap();
    until("sink that writes again", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
}

#[test]
fn the_health_listener_asks_nobody_and_has_nothing_else() {
    let administered = administered_with(|setup| setup.config["admin"]["health"] = json!("127.0.0.1:0"));
    let address = address_of(&administered.door.gateway, "health and metrics are shown on ");
    let health = Place::Tcp(address);
    assert_eq!(health.get("/healthz").body, "ok\n");
    assert_eq!(health.get("/readyz").status, 200);
    let metrics = health.get("/metrics");
    assert!(metrics.status == 200 && metrics.body.contains("\nlockgate_sessions 0\n"), "{metrics:?}");
    assert!(metrics.headers.contains("text/plain; version=0.0.4"), "{metrics:?}");
    let token = &administered.tokens.operator;
    for path in ["/api/v1/sessions", "/openapi.json", "/", "/healthz/../api/v1/sessions"] {
        assert_eq!(health.get_as(token, path).status, 404, "{path}");
    }
    // A balancer says where the question comes from.
    let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2]].concat();
    for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], &binary] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(header).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(answer(stream).status, 200);
    }
}

#[test]
fn the_health_listener_names_users_only_where_the_configuration_says_so() {
    for names_users in [false, true] {
        let administered = administered_with(|setup| {
            setup.config["admin"]["health"] = json!("127.0.0.1:0");
            setup.config["admin"]["health_users"] = json!(names_users);
        });
        drop(Sftp::connect(&administered.door.client, LIMIT));
        administered.door.gateway.events.await_disconnected(1);
        let health = Place::Tcp(address_of(&administered.door.gateway, "health and metrics are shown on "));
        let text = health.get("/metrics").body;
        assert!(text.contains("\nlockgate_logins_total 1\n"), "{text}");
        assert_eq!(text.contains("alice"), names_users, "{text}");
        let all = administered.tcp.get_as(&administered.tokens.viewer, "/metrics").body;
        assert!(all.contains("lockgate_user_logins_total{user=\"alice\"} 1"), "{all}");
    }
}

#[test]
fn strangers_get_no_numbers_of_their_own() {
    let administered = administered_with(|setup| {
        // Nobody knows whether this provider has the name.
        setup.config["users_from"] = json!({ "http": { "url": "http://127.0.0.1:1/", "retries": 0 } });
    });
    let stranger = administered.door.gateway.client("stranger", &administered.door.key);
    stranger.sftp("pwd").failed();
    administered.door.gateway.events.await_event("AUTH_FAILURE", |event| event["user"] == "stranger");
    let text = administered.socket.get("/metrics").body;
    assert!(!text.contains("stranger") && text.contains("lockgate_auth_failures_total"), "{text}");
}

#[test]
fn it_is_not_ready_while_a_spool_cannot_take_events_even_if_there_are_none() {
    let port = crate::support::server::free_port();
    let administered = administered_with(|setup| {
        let url = format!("http://127.0.0.1:{port}/");
        let spool = setup.subfolder("spool");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "http", "url": url, "spool": spool }]);
    });
    let spool = administered.door.setup.folder().join("spool");
    let moved = administered.door.setup.folder().join("moved");
    until("readiness", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
    // Its disk is gone. Nothing is recorded meanwhile that would find it out.
    fs::rename(&spool, &moved).unwrap();
    let ready = until("spool that fails", LIMIT, || Some(administered.tcp.get("/readyz")).filter(|r| r.status == 503));
    assert!(ready.body.contains("the spool") && ready.body.contains("No such file"), "{ready:?}");
    let status = administered.command(&["status"]).failed();
    assert!(status.stdout.contains("the spool"), "{status}");
    fs::rename(&moved, &spool).unwrap();
    until("spool that is back", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
}

/// Waits until it is not ready, and until it says why. How soon that is, the long form judges: the machine has other things to do otherwise.
#[track_caller]
fn await_fault(administered: &Administered, what: &str) {
    let began = Instant::now();
    let ready = until(what, LIMIT, || Some(administered.tcp.get("/readyz")).filter(|ready| ready.status == 503));
    let elapsed = began.elapsed();
    assert!(ready.body.contains("a sink of the events fails") && ready.body.contains(what), "{ready:?}");
    report(&format!("{what}: not ready after {} ms", elapsed.as_millis()));
    assert!(!is_long() || elapsed < Duration::from_secs(5), "{elapsed:?}");
}

/// Nothing is recorded meanwhile that would find it out.
#[test]
fn it_is_not_ready_while_a_file_cannot_take_events_even_if_there_are_none() {
    let administered = with_trail();
    let folder = administered.door.setup.folder().join("events");
    until("readiness", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
    let before = administered.door.gateway.events.all().len();
    fs::remove_dir_all(&folder).unwrap();
    await_fault(&administered, "No such file");
    assert_eq!(administered.door.gateway.events.all().len(), before);
    fs::create_dir(&folder).unwrap();
    until("folder that is back", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
}

/// A small file system, until this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where it may not be made: only root may.
    fn mount(folder: &Path) -> Option<Small> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Small(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn it_is_not_ready_while_the_disk_of_a_file_is_full() {
    let mut small = None;
    let administered = administered_with(|setup| {
        let folder = setup.subfolder("events");
        small = Small::mount(&folder);
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": folder.join("e.ndjson") }]);
    });
    let Some(small) = small else { return };
    until("readiness", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
    let filling = small.0.join("filling");
    let _ = fs::write(&filling, vec![7; 1 << 20]).unwrap_err();
    await_fault(&administered, "its disk is full");
    fs::remove_file(&filling).unwrap();
    until("room again", LIMIT, || (administered.tcp.get("/readyz").status == 200).then_some(()));
    administered.door.gateway.stop();
}

#[test]
fn ten_thousand_checks_leave_no_event() {
    let administered = administered_with(|setup| setup.config["admin"]["health"] = json!("127.0.0.1:0"));
    let address: SocketAddr = address_of(&administered.door.gateway, "health and metrics are shown on ");
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    // One after the other, and some that only connect.
    for number in 0..10_000u32 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        read_one(&mut stream);
        if number % 100 == 0 {
            drop(TcpStream::connect(address).unwrap());
        }
    }
    drop(Sftp::connect(&administered.door.client, LIMIT));
    administered.door.gateway.events.await_disconnected(1);
    let events = administered.door.gateway.events.all();
    assert!(events.iter().all(|event| event["activity-type"] != "ADMIN_CALL"), "{events:?}");
}

/// Reads an answer up to its end.
fn read_one(stream: &mut TcpStream) {
    use std::io::Read;
    let mut text = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&chunk[..count]);
        let shown = String::from_utf8_lossy(&text);
        let Some((head, body)) = shown.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split_once("content-length: ").and_then(|(_, rest)| rest.split('\r').next()).unwrap();
        if body.len() >= length.parse::<usize>().unwrap() {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            return;
        }
    }
}
