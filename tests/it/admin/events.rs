//! The newest events in pages, and why a partner cannot log in.

use std::fs;

use chrono::{DateTime, SecondsFormat, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Administered, administered, administered_with};
use crate::support::events::field;
use crate::support::process::{LIMIT, run, until};
use crate::support::setup::User;
use crate::support::sftp::Sftp;

/// With a file that holds the whole trail.
pub fn with_trail() -> Administered {
    administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    })
}

/// All pages of a question, newest first.
fn pages(administered: &Administered, question: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut before) = (Vec::new(), String::new());
    loop {
        let page = administered.socket.get(&format!("/api/v1/events?limit={limit}{question}{before}")).ok();
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return all,
        }
    }
}

#[test]
fn events_come_newest_first_and_their_cursor_outlives_a_rotation() {
    let administered = with_trail();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    for number in 0..20 {
        alice.put(&format!("/f{number}"), b"content");
    }
    drop(alice);
    administered.door.gateway.events.await_disconnected(1);
    // What the calls themselves record is left out.
    let question = "&user=alice";
    let mut seen = pages(&administered, question, 7);
    seen.reverse();
    let written: Vec<Value> =
        administered.door.gateway.events.all().into_iter().filter(|event| field(event, "user") == "alice").collect();
    assert_eq!(seen, written);
    let closes = pages(&administered, "&activity=close&status=success&path=/f1*", 3);
    assert_eq!(closes.len(), 11, "{closes:?}");
    let first = administered.socket.get(&format!("/api/v1/events?limit=5{question}")).ok();
    // Another program rotates the file.
    let file = administered.door.setup.folder().join("events/e.ndjson");
    fs::rename(&file, file.with_file_name("e.ndjson.20260731T081530Z-9")).unwrap();
    administered.door.gateway.signal(Signal::HUP);
    until("new file", LIMIT, || file.exists().then_some(()));
    let next = first["next"].as_str().unwrap();
    let second = administered.socket.get(&format!("/api/v1/events?limit=5{question}&before={next}")).ok();
    let expected: Vec<Value> = written.iter().rev().skip(5).take(5).cloned().collect();
    assert_eq!(second["events"], json!(expected));
    let lines = administered.socket.get(&format!("/api/v1/events?limit=3{question}&format=ndjson"));
    assert!(lines.headers.contains("application/x-ndjson") && lines.headers.contains("rel=\"next\""), "{lines:?}");
    let newest: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(newest, written.iter().rev().take(3).cloned().collect::<Vec<_>>());
}

/// A stretch of time is searched and nothing else, and its last page says that it is the last.
#[test]
fn since_and_until_bound_the_search_and_its_last_page() {
    let day = |number: i64| DateTime::<Utc>::from_timestamp(1_767_225_600 + number * 86_400, 0).unwrap();
    let line = |number: i64| {
        let (at, name) = (day(number), number.rem_euclid(30));
        let ms = at.timestamp_millis();
        format!(
            "{{\"activity-type\":\"CLOSE\",\"logical-path\":\"/day-{name}\",\"timestamp\":\"{}\",\"event-id\":\"{:08x}-{:04x}-7000-8000-000000000001\",\
             \"user\":\"old\",\"status\":\"success\"}}\n",
            at.to_rfc3339_opts(SecondsFormat::Millis, true),
            ms >> 16,
            ms & 0xffff
        )
    };
    let administered = administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        fs::write(path.with_file_name("e.ndjson.20260111T000000Z-10"), (0..10).map(line).collect::<String>()).unwrap();
        fs::write(&path, (10..30).map(line).collect::<String>()).unwrap();
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    let time = |number: i64| day(number).to_rfc3339_opts(SecondsFormat::Secs, true);
    let page = |question: &str| {
        let page = administered.socket.get(&format!("/api/v1/events?user=old&{question}")).ok();
        let days: Vec<String> =
            page["events"].as_array().unwrap().iter().map(|event| field(event, "logical-path").to_owned()).collect();
        (days.join(" ").replace("/day-", ""), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(page(&format!("since={}", time(27))), ("29 28 27".to_owned(), None));
    assert_eq!(page(&format!("until={}", time(2))), ("1 0".to_owned(), None));
    assert_eq!(page(&format!("since={}&until={}", time(8), time(12))), ("11 10 9 8".to_owned(), None));
    assert_eq!(page(&format!("since={}", time(400))), (String::new(), None));
    // In pages.
    let (first, next) = page(&format!("since={}&until={}&limit=3", time(8), time(12)));
    assert_eq!(first, "11 10 9");
    let second = page(&format!("since={}&until={}&limit=3&before={}", time(8), time(12), next.unwrap()));
    assert_eq!(second, ("8".to_owned(), None));
    let lines = administered.socket.get(&format!("/api/v1/events?user=old&since={}&format=ndjson", time(27)));
    assert_eq!((lines.body.lines().count(), lines.raw_header("link")), (3, None), "{lines:?}");
}

#[test]
fn the_next_page_by_its_link_is_of_the_same_question() {
    let administered = with_trail();
    let mut alice = Sftp::connect(&administered.door.client, LIMIT);
    for number in 0..12 {
        alice.put(&format!("/f{number}"), b"content");
        alice.put(&format!("/other{number}"), b"content");
    }
    drop(alice);
    administered.door.gateway.events.await_disconnected(1);
    let question = "&user=alice&activity=close&path=%2Ff*";
    let expected = pages(&administered, question, 5);
    assert_eq!(expected.len(), 12);
    let (mut seen, mut next) = (Vec::<Value>::new(), Some(format!("?limit=5{question}&format=ndjson")));
    while let Some(query) = next {
        let answer = administered.socket.get(&format!("/api/v1/events{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        seen.extend(answer.body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        let link =
            answer.raw_header("link").map(|link| link.strip_suffix(">; rel=\"next\"").expect("a link").to_owned());
        next = link.map(|link| link.strip_prefix('<').expect("a link").to_owned());
    }
    assert_eq!(seen, expected);
}

/// The bounds of a user and of a key, as the door shows them.
#[test]
fn users_and_keys_whose_time_is_over_are_shown_so() {
    let administered = administered_with(|setup| {
        let (emma, nina) = (setup.key("emma"), setup.key("nina"));
        setup.user(User::new("emma").key(&emma).home("/", "main:/").set("expires", "2020-01-01"));
        let over = nina.with_options("expiry-time=\"20200101\"");
        setup.user(User::new("nina").key(&over).home("/", "main:/"));
    });
    let show = |name: &str| administered.socket.get(&format!("/api/v1/users/{name}")).ok();
    let emma = show("emma");
    assert_eq!(emma["obstacles"], json!(["the user's time is over since 2020-01-01T00:00:00Z (expires)"]));
    assert_eq!(emma["configured"]["expires"], "2020-01-01T00:00:00Z");
    assert_eq!(emma["configured"]["keys"][0]["expired"], false);
    let nina = show("nina");
    assert_eq!(nina["obstacles"], json!(["the time of every key is over (expiry-time=)"]));
    assert_eq!(nina["configured"]["keys"][0]["expired"], true);
    assert_eq!(show("alice")["obstacles"], json!([]));
}

#[test]
fn users_come_in_pages() {
    let administered = administered_with(|setup| {
        for number in 0..7 {
            let key = setup.key(&format!("p{number}"));
            setup.user(User::new(&format!("p{number}")).key(&key).home("/", "main:/"));
        }
    });
    let (mut names, mut sizes, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = administered.socket.get(&format!("/api/v1/users?limit=3{after}")).ok();
        assert_eq!(page["total"], 8);
        let users = page["users"].as_array().unwrap();
        sizes.push(users.len());
        names.extend(users.iter().map(|user| field(user, "name").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(names.last().unwrap(), next);
        after = format!("&after={next}");
    }
    assert_eq!((names.join(" "), sizes), ("alice p0 p1 p2 p3 p4 p5 p6".to_owned(), vec![3, 3, 2]));
    assert_eq!(administered.socket.get("/api/v1/users?after=p6").ok()["users"], json!([]));
}

#[test]
fn the_last_success_is_shown_behind_more_failures_than_are() {
    let administered = with_trail();
    drop(Sftp::connect(&administered.door.client, LIMIT));
    let success = administered.door.gateway.events.await_event("CONNECTED", |_| true);
    let file = administered.door.setup.folder().join("events/e.ndjson");
    let line = until("failure in the trail", LIMIT, || {
        let key = administered.door.setup.folder().join("wrong");
        let wrong = if key.exists() { None } else { Some(administered.door.setup.key("wrong")) };
        if let Some(wrong) = wrong {
            administered.door.gateway.client("alice", &wrong).sftp("pwd").failed();
        }
        let text = fs::read_to_string(&file).unwrap();
        text.lines().find(|line| line.contains("AUTH_FAILURE")).map(str::to_owned)
    });
    // As many more as no partner's program would need a night for, written by hand.
    administered.door.gateway.stop();
    let mut text = fs::read_to_string(&file).unwrap();
    let id = field(&serde_json::from_str::<Value>(&line).unwrap(), "event-id").to_owned();
    for number in 0..500 {
        text += &format!("{}\n", line.replace(&id, &format!("ffffffff-ffff-7fff-8000-{number:012}")));
    }
    let mut setup = administered.door.setup.clone();
    let other = setup.subfolder("by-hand").join("e.ndjson");
    fs::write(&other, text).unwrap();
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": other }]);
    setup.write_config();
    let again = setup.start();
    let shown = administered.socket.get("/api/v1/users/alice").ok();
    assert_eq!(shown["failures"].as_array().unwrap().len(), 20);
    assert_eq!(shown["last_success"]["time"], success["timestamp"], "{shown:#}");
    assert_eq!(shown.get("trail"), None, "{shown:#}");
    again.stop();
}

#[test]
fn questions_that_mean_nothing_are_answered_with_what_is_wrong() {
    let administered = with_trail();
    for (question, what) in [
        ("activity=fly", "activity: there is no"),
        ("status=fine", "status:"),
        ("since=yesterday", "since:"),
        ("address=here", "address:"),
        ("path=%5B", "path:"),
        ("limit=0", "limit must be"),
        ("before=x", "before is"),
        ("format=xml", "format is"),
        ("usr=a", "unknown field"),
    ] {
        let answer = administered.socket.get(&format!("/api/v1/events?{question}"));
        assert!(answer.status == 400 && answer.body.contains(what), "{question}: {answer:?}");
    }
    let viewer = administered.tcp.get_as(&administered.tokens.viewer, "/api/v1/events");
    assert_eq!(viewer.status, 403);
    let auditor = administered.tcp.get_as(&administered.tokens.auditor, "/api/v1/events");
    assert_eq!(auditor.status, 200, "{auditor:?}");
    let nowhere = super::administered();
    let answer = nowhere.socket.get("/api/v1/events");
    assert!(answer.status == 409 && answer.body.contains("no sink keeps the whole trail"), "{answer:?}");
}

#[test]
fn one_look_says_why_a_partner_cannot_log_in() {
    let administered = with_trail();
    drop(Sftp::connect(&administered.door.client, LIMIT));
    let key = administered.door.setup.key("wrong");
    let wrong = administered.door.gateway.client("alice", &key);
    run(wrong.command("sftp").arg(wrong.host())).failed();
    administered.door.gateway.events.await_event("AUTH_FAILURE", |event| field(event, "user") == "alice");
    let shown = until("failure in the trail", LIMIT, || {
        let shown = administered.socket.get("/api/v1/users/alice").ok();
        shown["failures"].as_array().is_some_and(|failures| !failures.is_empty()).then_some(shown)
    });
    assert_eq!((&shown["found"], &shown["obstacles"]), (&json!(true), &json!([])));
    assert_eq!(shown["last_success"]["method"], "publickey");
    assert_eq!(shown["failures"][0]["reason"], "key-not-authorized");
    assert_eq!(shown["failures"][0]["fingerprint"], key.fingerprint().0);
    assert_eq!(shown["configured"]["keys"][0]["fingerprint"], administered.door.key.fingerprint().0);
    assert_eq!(shown["configured"]["home"][0]["target"], "main:/");
    assert_eq!(shown["configured"]["home"][0]["permissions"], "read_write");
    let said = administered.command(&["users", "show", "alice"]).succeeded().stdout;
    assert!(said.contains("key-not-authorized") && said.contains("nothing configured stands in the way"), "{said}");
    // Names that are folders in an address can be looked up as well.
    for name in [".", ".."] {
        let said = administered.command(&["users", "show", name]).succeeded().stdout;
        assert!(said.contains("no source has a user of this name"), "{name}: {said}");
        assert_eq!(administered.socket.get(&format!("/api/v1/user?name={name}")).ok()["name"], *name);
    }
    assert_eq!(administered.socket.get("/api/v1/users/%2e%2e").ok()["name"], "..");
    // The list has the last login for who asks.
    let last = shown["last_success"]["time"].as_str().unwrap();
    let listed = administered.socket.get("/api/v1/users?last_login=true").ok();
    assert_eq!((&listed["users"][0]["last_login"], listed.get("trail")), (&json!(last), None), "{listed:#}");
    assert!(administered.socket.get("/api/v1/users").ok()["users"][0].get("last_login").is_none());
    let said = administered.command(&["users", "list"]).succeeded().stdout;
    assert!(said.contains("LAST LOGIN") && said.contains(last.split_once('.').unwrap().0), "{said}");
    // What was configured since shows, and what the trail has survives a restart.
    let mut setup = administered.door.setup.clone();
    setup.config["users"][0]["enabled"] = json!(false);
    setup.config["users"][0]["allow_from"] = json!(["192.0.2.0/24"]);
    setup.write_config();
    administered.door.gateway.stop();
    let again = setup.start();
    let later = administered.socket.get("/api/v1/users/alice").ok();
    assert_eq!(later["obstacles"], json!(["the user is disabled (enabled: false)"]));
    assert_eq!(later["failures"][0], shown["failures"][0]);
    setup.config["users"][0]["enabled"] = json!(true);
    setup.write_config();
    assert_eq!(administered.socket.request("POST", "/api/v1/reload", &[], "").status, 200);
    let bounded = administered.socket.get("/api/v1/users/alice?address=192.0.3.1").ok();
    assert_eq!(bounded["obstacles"], json!(["192.0.3.1 is not in the networks of allow_from"]));
    assert_eq!(administered.socket.get("/api/v1/users/alice?address=192.0.2.1").ok()["obstacles"], json!([]));
    let nobody = administered.socket.get("/api/v1/users/bob").ok();
    assert_eq!(
        (&nobody["found"], &nobody["obstacles"]),
        (&json!(false), &json!(["no source has a user of this name"]))
    );
    let all = administered.socket.get("/api/v1/users").ok();
    assert_eq!(
        (&all["total"], &all["users"][0]["name"], &all["users"][0]["keys"]),
        (&json!(1), &json!("alice"), &json!(1))
    );
    again.stop();
}

#[test]
fn the_description_is_of_the_routes_that_there_are() {
    let administered = administered();
    let described = administered.tcp.get("/openapi.json").ok();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"), "{}", described["openapi"]);
    assert_eq!(
        run(crate::support::gateway::lockgate().args(["admin", "openapi"])).succeeded().stdout.trim(),
        described_text(&administered)
    );
    let paths = described["paths"].as_object().unwrap();
    let token = &administered.tokens.operator;
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            // Each is there, and answers as one that it describes. What ends the gateway, and what never ends, have tests of their own.
            if path.ends_with("/drain") || path.ends_with("/status/stream") {
                continue;
            }
            let called = path.replace("{id}", "0049cd844c7536c06a89").replace("{name}", "alice");
            let headers = [("Authorization", &*format!("Bearer {token}")), ("Content-Type", "application/json")];
            let answer = administered.tcp.request(&method.to_uppercase(), &called, &headers, r#"{"reason":"a test"}"#);
            let responses = methods[method]["responses"].as_object().unwrap();
            assert!(responses.contains_key(&answer.status.to_string()), "{method} {called}: {answer:?}");
            assert_ne!(answer.status, 405, "{method} {called}");
        }
    }
    assert!(paths.len() >= 12, "{paths:?}");
}

fn described_text(administered: &Administered) -> String {
    administered.tcp.get("/openapi.json").body.trim().to_owned()
}
