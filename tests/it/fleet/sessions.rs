//! The sessions of all gateways: listed by any, ended by any, gone with the gateway that had them.

use std::time::Instant;

use serde_json::json;

use super::{LEASE, gateway, sessions, two, until_sessions};
use crate::support::client::Client;
use crate::support::events::field;
use crate::support::process::{LIMIT, Running, until};
use crate::support::redis::Redis;
use crate::support::sftp::Sftp;

/// An `ssh` that has begun an SFTP session and waits: what the gateway says to it stands in its error stream.
fn waiting_ssh(client: &Client) -> Running {
    let mut command = client.command("ssh");
    Running::start(command.arg("-s").arg(client.host()).arg("sftp"))
}

#[test]
fn any_gateway_lists_the_sessions_of_all_and_what_they_do() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let mut here = Sftp::connect(&one.door.client, LIMIT);
    let seen = until_sessions(&other, &[("edge-1", "alice")]);
    eprintln!("a session was seen elsewhere after {seen:?}");
    let handle = here.create("/big");
    here.write(&handle, 0, &[7; 32 << 10]).unwrap();
    let id = one.session_of("alice");
    let shown = until("what it does", LIMIT, || {
        let shown = other.socket.get(&format!("/api/v1/sessions/{}", &id[..8])).ok();
        (shown["bytes_in"] == 32 << 10).then_some(shown)
    });
    for (name, value) in [
        ("id", json!(id)),
        ("gateway", json!("edge-1")),
        ("user", json!("alice")),
        ("identity", json!("alice@tests")),
        ("address", json!("127.0.0.1")),
        ("method", json!("publickey")),
        ("protocols", json!(["sftp"])),
        ("under_way", json!(1)),
    ] {
        assert_eq!(shown[name], value, "{name} in {shown}");
    }
    let original = one.socket.get(&format!("/api/v1/sessions/{id}")).ok();
    for name in ["port", "since", "client", "key", "source"] {
        assert_eq!(shown[name], original[name], "{name}");
    }
    assert_eq!(
        (&shown["open_files"][0]["path"], &shown["open_files"][0]["operation"]),
        (&json!("/big"), &json!("write"))
    );
    let open = other.socket.get("/api/v1/connections?status=open").ok();
    assert_eq!((&open["open"], &open["connections"][0]["target"]), (&json!(1), &json!("edge-1")), "{open}");
    let list = other.command(&["sessions", "list"]).succeeded().stdout;
    assert!(list.contains("GATEWAY") && list.contains("edge-1") && list.contains("receives /big"), "{list}");
    let show = other.command(&["sessions", "show", &id]).succeeded().stdout;
    assert!(show.contains("gateway   edge-1"), "{show}");
    // Both ways, and in pages.
    let _there = Sftp::connect(&other.door.client, LIMIT);
    until_sessions(&one, &[("edge-1", "alice"), ("edge-2", "alice")]);
    let page = one.socket.get("/api/v1/sessions?limit=1").ok();
    assert_eq!((&page["total"], page["sessions"].as_array().unwrap().len()), (&json!(2), 1));
    let rest = one.socket.get(&format!("/api/v1/sessions?limit=1&after={}", page["next"].as_str().unwrap())).ok();
    assert_ne!(page["sessions"][0]["id"], rest["sessions"][0]["id"]);
    here.close(&handle).unwrap();
    drop(here);
    until_sessions(&other, &[("edge-2", "alice")]);
}

#[test]
fn any_gateway_ends_a_session_of_another_and_both_trails_say_so() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let waiting = waiting_ssh(&one.door.client);
    let id = one.session_of("alice");
    until_sessions(&other, &[("edge-1", "alice")]);
    let began = Instant::now();
    let said = other.command(&["sessions", "end", &id[..8], "--reason", "key reported stolen"]).succeeded().stdout;
    assert!(said.contains(&id) && said.contains("alice"), "{said}");
    waiting.finish(LIMIT).failed().says("ended by an administrator: key reported stolen");
    eprintln!("a session of another gateway ended after {:?}", began.elapsed());
    let end = one.door.gateway.events.await_event("DISCONNECTED", |event| field(event, "session-id") == id);
    let call = other.call_event(|event| field(event, "method") == "DELETE");
    assert_eq!((field(&end, "reason"), field(&end, "message")), ("administrator", "key reported stolen"));
    assert_eq!(field(&end, "ended-by"), format!("{} (through edge-2)", field(&call, "caller")));
    assert_eq!(field(&call, "path"), format!("/api/v1/sessions/{id}"));
    until_sessions(&other, &[]);
    let again = other.command(&["sessions", "end", &id, "--reason", "again"]).failed();
    assert!(again.stderr.contains("there is no live session"), "{again}");
}

#[test]
fn while_redis_is_away_another_gateways_session_cannot_be_ended_and_that_is_said() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    let id = one.session_of("alice");
    until_sessions(&other, &[("edge-1", "alice")]);
    redis.kill();
    super::until_alone(&other);
    let reason = r#"{"reason":"late"}"#;
    let json = [("Content-Type", "application/json")];
    let answer = until("an answer that knows no session", LIMIT, || {
        let answer = other.socket.request("DELETE", &format!("/api/v1/sessions/{id}"), &json, reason);
        (answer.status != 200).then_some(answer)
    });
    assert!([404, 503].contains(&answer.status), "{answer:?}");
    assert_eq!(sessions(&one), [("edge-1".to_owned(), "alice".to_owned())], "its own gateway has it and can end it");
    one.command(&["sessions", "end", &id, "--reason", "late"]).succeeded();
}

#[test]
fn the_sessions_of_a_killed_gateway_are_gone_with_its_lease() {
    let redis = Redis::start();
    let [one, other] = two(&redis);
    let _session = Sftp::connect(&one.door.client, LIMIT);
    until_sessions(&other, &[("edge-1", "alice")]);
    gateway(one).kill();
    let gone = until_sessions(&other, &[]);
    eprintln!("the sessions of a killed gateway were gone after {gone:?}, with a lease of {LEASE:?}");
    // Nothing of it stays behind.
    until("the end of its keys", LIMIT, || {
        let keys = redis.keys("lockgate:{prod}:sessions:edge-1");
        (keys.is_empty() && redis.keys("lockgate:{prod}:gateway:edge-1").is_empty()).then_some(())
    });
}
