//! Who is banned, and how a ban ends before its time.

use serde_json::json;

use super::{Administered, administered_with};
use crate::door::Door;
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, until};

/// Somebody without alice's key tries to be her.
fn intrude(door: &Door) {
    let folder = tempfile::TempDir::new().unwrap();
    let stranger = Key::make(folder.path(), "stranger", "ed25519");
    door.gateway.client("alice", &stranger).sftp("pwd").failed();
}

/// A gateway that bans this machine's address for one wrong key, and has done so.
fn banned() -> Administered {
    let administered = administered_with(|setup| setup.config["defender"] = json!({ "points": 1, "allow": [] }));
    intrude(&administered.door);
    until("the ban", LIMIT, || administered.door.gateway.log().contains("banned").then_some(()));
    administered.door.client.sftp("pwd").failed();
    administered
}

#[test]
fn a_ban_is_shown_explains_why_a_user_cannot_log_in_and_is_lifted() {
    let administered = banned();
    let bans = administered.socket.get("/api/v1/bans").ok();
    assert_eq!((&bans["total"], &bans["bans"][0]["address"]), (&json!(1), &json!("127.0.0.1")), "{bans}");
    let left = bans["bans"][0]["seconds_left"].as_u64().unwrap();
    assert!(left <= 60 && bans["bans"][0]["number"] == 1, "{bans}");
    let prints = |words: &[&str], text: &str| {
        let printed = administered.command(words).succeeded().stdout;
        assert!(printed.contains(text), "{words:?}: {printed}");
    };
    prints(&["bans", "list"], "127.0.0.1");
    prints(&["users", "show", "alice", "--address", "127.0.0.1"], "is banned");

    prints(&["bans", "lift", "127.0.0.1"], "127.0.0.1 may connect again");
    administered.door.client.sftp("pwd").succeeded();
    let call = administered.call_event(|event| field(event, "path") == "/api/v1/bans/127.0.0.1");
    assert_eq!((field(&call, "method"), field(&call, "status")), ("DELETE", "success"));
    administered.command(&["bans", "lift", "127.0.0.1"]).failed().says("127.0.0.1 is not banned");
    prints(&["bans", "list"], "nobody is banned");
    assert_eq!(administered.socket.request("DELETE", "/api/v1/bans/nobody", &[], "").status, 400);
}

#[test]
fn a_reload_changes_the_rules_for_bans() {
    let administered = banned();
    let mut setup = administered.door.setup.clone();
    setup.config["defender"] = json!({ "points": 1, "allow": ["127.0.0.0/8"] });
    setup.write_config();
    administered.command(&["reload"]).succeeded();
    administered.door.client.sftp("pwd").succeeded();
    assert!(!administered.door.gateway.log().contains("at a restart"), "{}", administered.door.gateway.log());
    // And back.
    setup.config["defender"] = json!({ "points": 1, "allow": [] });
    setup.write_config();
    administered.command(&["reload"]).succeeded();
    intrude(&administered.door);
    let total = || administered.socket.get("/api/v1/bans").ok()["total"].as_u64();
    until("the ban", LIMIT, || (total() == Some(1)).then_some(()));
}

#[test]
fn bans_come_in_pages() {
    let administered = administered_with(|setup| setup.config["defender"] = json!({ "points": 1, "allow": [] }));
    let folder = tempfile::TempDir::new().unwrap();
    let stranger = Key::make(folder.path(), "stranger", "ed25519");
    for number in [9, 2, 7, 5, 3] {
        let bind = format!("BindAddress=127.0.0.{number}");
        administered.door.gateway.client("alice", &stranger).with(&bind).sftp("pwd").failed();
    }
    let page = |query: &str| administered.socket.get(&format!("/api/v1/bans?limit=2{query}")).ok();
    until("all bans", LIMIT, || (page("")["total"] == 5).then_some(()));
    let (mut addresses, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&after);
        let bans = page["bans"].as_array().unwrap();
        assert!(bans.len() <= 2 && page["total"] == 5, "{page}");
        addresses.extend(bans.iter().map(|ban| field(ban, "address").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(addresses, [2, 3, 5, 7, 9].map(|number| format!("127.0.0.{number}")));
}
