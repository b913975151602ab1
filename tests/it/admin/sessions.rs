//! Who is here, how far their files are, and how a session is ended.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{administered, administered_with};
use crate::support::client::Client;
use crate::support::data::{KIB, MIB};
use crate::support::events::field;
use crate::support::process::{LIMIT, Running, until};
use crate::support::proxy::Proxy;
use crate::support::raw_sftp::{string, write_body};
use crate::support::s3;
use crate::support::setup::User;
use crate::support::sftp::Sftp;

const CLOSE: u8 = 4;
const WRITE: u8 = 6;

/// An `ssh` that has begun an SFTP session and waits: what the gateway says to it stands in its error stream.
fn waiting_ssh(client: &Client) -> Running {
    let mut command = client.command("ssh");
    Running::start(command.arg("-s").arg(client.host()).arg("sftp"))
}

#[test]
fn a_session_shows_who_it_is_and_how_far_its_files_are() {
    let administered = administered();
    let nobody = administered.socket.get("/api/v1/sessions").ok();
    assert_eq!(nobody, json!({ "sessions": [], "total": 0 }));
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    let handle = alice.create("/big");
    alice.write(&handle, 0, &[7; 32 * KIB as usize]).unwrap();
    let id = administered.session_of("alice");
    let path = format!("/api/v1/sessions/{id}");
    let shown = administered.socket.get(&path).ok();
    for (name, value) in [
        ("id", json!(id)),
        ("user", json!("alice")),
        ("source", json!("configuration")),
        ("address", json!("127.0.0.1")),
        ("method", json!("publickey")),
        ("protocols", json!(["sftp"])),
        ("bytes_in", json!(32 * KIB)),
        ("files_in", json!(0)),
        ("under_way", json!(1)),
    ] {
        assert_eq!(shown[name], value, "{name} in {shown}");
    }
    let connected = administered.door.gateway.events.of_type("CONNECTED");
    assert_eq!(shown["key"]["fingerprint"], connected[0]["ssh-public-key-fingerprint"]);
    let person = field(&connected[0], "identity");
    assert_eq!((shown["identity"].as_str(), person), (Some("alice@tests"), "alice@tests"), "{shown}");
    assert!(shown["client"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"), "{shown}");
    let file = &shown["open_files"][0];
    assert_eq!((&file["path"], &file["operation"]), (&json!("/big"), &json!("write")));
    assert_eq!(file["bytes"], 32 * KIB);
    // What moves moves here as well.
    alice.write(&handle, 32 * KIB, &[7; 32 * KIB as usize]).unwrap();
    let later = administered.socket.get(&path).ok();
    assert_eq!((&later["bytes_in"], &later["open_files"][0]["bytes"]), (&json!(64 * KIB), &json!(64 * KIB)));
    assert!(later["open_files"][0]["speed"].as_u64().unwrap() > 0, "{later}");
    alice.close(&handle).unwrap();
    let reading = alice.open_to_read("/big");
    alice.read(&reading, 0, 1000).unwrap();
    let read = administered.socket.get(&path).ok();
    let file = &read["open_files"][0];
    assert_eq!((&file["operation"], &file["bytes"], &file["size"]), (&json!("read"), &json!(1000), &json!(64 * KIB)));
    assert_eq!((&read["files_in"], &read["bytes_out"]), (&json!(1), &json!(1000)));
    // A person sees the same.
    let list = administered.command(&["sessions", "list"]).succeeded().stdout;
    assert!(list.contains(&id) && list.contains("alice") && list.contains("sends /big"), "{list}");
    assert!(list.contains("PERSON") && list.contains("alice@tests"), "{list}");
    let show = administered.command(&["sessions", "show", &id]).succeeded().stdout;
    assert!(
        show.contains("alice@tests")
            && show.contains("publickey")
            && show.contains("64 KiB in 1 files")
            && show.contains("sends /big"),
        "{show}"
    );
    drop(alice);
    administered.door.gateway.events.await_disconnected(1);
    until("end of the session", LIMIT, || (administered.socket.get(&path).status == 404).then_some(()));
    assert_eq!(administered.command(&["sessions", "list"]).succeeded().stdout.trim(), "nobody is connected");
    administered.command(&["sessions", "show", &id]).failed().says("there is no live session");
}

#[test]
fn sessions_come_in_pages() {
    let administered = administered();
    let sessions: Vec<Sftp> = (0..3).map(|_| Sftp::connect(&administered.door.client, LIMIT)).collect();
    let all = until("three sessions", LIMIT, || {
        let all = administered.socket.get("/api/v1/sessions").ok();
        (all["total"] == 3).then_some(all)
    });
    let mut seen = Vec::new();
    let mut after = String::new();
    for _ in 0..3 {
        let page = administered.socket.get(&format!("/api/v1/sessions?limit=1&user=alice{after}")).ok();
        assert_eq!((page["total"].as_u64(), page["sessions"].as_array().unwrap().len()), (Some(3), 1));
        seen.push(page["sessions"][0]["id"].clone());
        after = page["next"].as_str().map(|next| format!("&after={next}")).unwrap_or_default();
    }
    assert_eq!(after, "", "the last page has no next one");
    let expected: Vec<_> = all["sessions"].as_array().unwrap().iter().map(|session| session["id"].clone()).collect();
    assert_eq!(seen, expected);
    assert_eq!(administered.socket.get("/api/v1/sessions?user=bob").ok()["total"], 0);
    for wrong in ["limit=0", "limit=1001", "limit=x", "limt=1"] {
        let answer = administered.socket.get(&format!("/api/v1/sessions?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        assert!(answer.headers.contains("content-type: application/problem+json"), "{answer:?}");
    }
    drop(sessions);
}

#[test]
fn an_administrator_ends_a_session_and_everybody_is_told_why() {
    let administered = administered();
    let waiting = waiting_ssh(&administered.door.client);
    let id = &administered.session_of("alice");
    let bystander = Sftp::connect(&administered.door.client, LIMIT);
    let ids = until("two sessions", LIMIT, || {
        let all = administered.socket.get("/api/v1/sessions").ok();
        let ids: Vec<String> =
            all["sessions"].as_array()?.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        (ids.len() == 2).then_some(ids)
    });
    let end = ["sessions", "end", id, "--reason", "key reported stolen"];
    let said = administered.command(&end).succeeded().stdout;
    assert!(said.contains(id) && said.contains("alice"), "{said}");
    let events = &administered.door.gateway.events;
    waiting.finish(LIMIT).failed().says("ended by an administrator: key reported stolen");
    let end = events.await_event("DISCONNECTED", |event| field(event, "session-id") == id);
    assert_eq!((field(&end, "reason"), field(&end, "message")), ("administrator", "key reported stolen"));
    let call = administered.call_event(|event| field(event, "method") == "DELETE");
    assert_eq!(field(&end, "ended-by"), field(&call, "caller"));
    assert_eq!(field(&call, "path"), format!("/api/v1/sessions/{id}"));
    assert_eq!((field(&call, "role"), field(&call, "status")), ("operator", "success"));
    assert_eq!((field(&call, "reason"), &call["http-status"]), ("key reported stolen", &json!(200)));
    assert!(call.get("source-ip").is_none(), "it came over the socket: {call}");
    // The other session lives on, and a second try finds nobody.
    until("end of one session", LIMIT, || {
        (administered.socket.get("/api/v1/sessions").ok()["total"] == 1).then_some(())
    });
    let reason = r#"{"reason":"again"}"#;
    let json = [("Content-Type", "application/json")];
    let again = administered.socket.request("DELETE", &format!("/api/v1/sessions/{id}"), &json, reason);
    assert_eq!(again.status, 404, "{again:?}");
    let other = ids.iter().find(|other| *other != id).unwrap();
    for (body, status) in [("{}", 422), (r#"{"reason":" "}"#, 400), ("{", 400), (r#"{"reason":"a","x":1}"#, 422)] {
        let answer = administered.socket.request("DELETE", &format!("/api/v1/sessions/{other}"), &json, body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    drop(bystander);
}

#[test]
fn a_session_that_is_stuck_in_a_slow_store_ends_with_its_open_files_on_record() {
    let store = s3::new_store();
    let proxy = Proxy::start(&s3::endpoint());
    let mut key = None;
    let administered = administered_with(|setup| {
        setup.store("slow", json!({ "url": store.url(), "options": store.options_through(&proxy.endpoint()) }));
        let bobs = setup.key("bob");
        setup.user(User::new("bob").key(&bobs).home("/", "slow:/"));
        key = Some(bobs);
    });
    let client = administered.door.gateway.client("bob", &key.unwrap());
    let mut bob = Sftp::connect(&client, LIMIT);
    let handle = bob.create("/big");
    let id = administered.session_of("bob");
    // From now on the store takes longer than any test. More than one part is on its way, and nobody waits for the answers.
    proxy.delay(Duration::from_secs(24 * 60 * 60));
    let packet = vec![7; 32 * KIB as usize];
    let length = 9 * MIB;
    for offset in (0..length).step_by(packet.len()) {
        bob.send(WRITE, &write_body(&handle.0, offset, &packet));
    }
    bob.send(CLOSE, &string(&handle.0));
    let path = format!("/api/v1/sessions/{id}");
    until("upload that stands still", LIMIT, || {
        let arrived = || administered.socket.get(&path).ok()["bytes_in"].as_u64();
        let before = arrived();
        thread::sleep(Duration::from_millis(500));
        (before > Some(0) && arrived() == before).then_some(())
    });
    let reason = r#"{"reason":"the store hangs"}"#;
    let bearer = format!("Bearer {}", administered.tokens.operator);
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    let answer = administered.tcp.request("DELETE", &path, &headers, reason);
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = administered.socket.get("/api/v1/sessions").ok();
    assert_eq!(ended["sessions"][0]["ending"]["by"], "operator", "{ended}");
    // Whoever comes second is told so, and does not change who ended it and why.
    let again = administered.socket.request("DELETE", &path, &headers[..1], r#"{"reason":"me too"}"#);
    assert!(again.status == 409 && again.body.contains("is about to end already"), "{again:?}");
    let call = administered.call_event(|event| event["http-status"] == 409);
    assert_eq!((field(&call, "path"), field(&call, "status")), (path.as_str(), "failure"), "{call}");
    let events = &administered.door.gateway.events;
    let cut = events.await_event("PARTIAL_CLOSE", |event| field(event, "session-id") == id);
    assert_eq!(field(&cut, "status"), "failure");
    let end = events.await_event("DISCONNECTED", |event| field(event, "session-id") == id);
    assert_eq!((field(&end, "reason"), field(&end, "ended-by")), ("administrator", "operator"));
    assert_eq!(field(&end, "message"), "the store hangs");
    let call = administered.call_event(|event| field(event, "method") == "DELETE" && event["http-status"] == 200);
    assert_eq!((field(&call, "caller"), field(&call, "source-ip")), ("operator", "127.0.0.1"));
}

/// Tables print eight digits of an id.
#[test]
fn the_digits_that_tables_print_name_a_session_to_show_to_replay_and_to_end() {
    let administered = super::events::with_trail();
    let waiting = waiting_ssh(&administered.door.client);
    let id = administered.session_of("alice");
    let short = &id[..8];
    let capital = short.to_ascii_uppercase();
    for given in [short, &capital, &id[..19]] {
        let shown = administered.socket.get(&format!("/api/v1/sessions/{given}")).ok();
        assert_eq!(shown["id"], id, "{given}");
        let recording = administered.socket.get(&format!("/api/v1/recordings/{given}?format=json")).ok();
        assert_eq!(recording["session"], id, "{given}");
    }
    administered.call_event(|call| field(call, "path") == format!("/api/v1/recordings/{id}?format=json"));
    let nobody = if short == "00000000" { "11111111" } else { "00000000" };
    for (path, status) in [
        (format!("sessions/{}", &id[..7]), 404),
        (format!("sessions/{nobody}"), 404),
        (format!("recordings/{nobody}"), 404),
        (format!("recordings/{}", &id[..7]), 400),
    ] {
        assert_eq!(administered.socket.get(&format!("/api/v1/{path}")).status, status, "{path}");
    }
    let said = administered.command(&["sessions", "end", short, "--reason", "over"]).succeeded().stdout;
    assert!(said.contains(&id), "it says which session exactly: {said}");
    waiting.finish(LIMIT).failed().says("ended by an administrator: over");
    let call = administered.call_event(|event| field(event, "method") == "DELETE");
    assert_eq!(field(&call, "path"), format!("/api/v1/sessions/{id}"));
}
