//! Each check of a campaign can fail: an outcome that is sound is tampered with, and the check says what is wrong.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Span;
use super::chaos::Deaths;
use super::checks::{LEFT_AT_MOST, LIMITED, Left, Outcome};
use super::desk::{Last, Users};
use crate::fleet::load::{Known, Refusal};
use crate::support::content::{Content, recognize};

/// A moment of the campaign, in seconds from its beginning.
fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)
}

fn between(from: u64, to: u64) -> Span {
    (at(from), at(to))
}

/// The content of `/w0-NUMBER`.
fn content(number: u64) -> Content {
    Content::new(number, 1000 + number)
}

/// An event with some fields more.
fn event(second: u64, activity: &str, fields: &Value) -> Value {
    let time = DateTime::<Utc>::from(at(second)).to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut event = json!({ "activity-type": activity, "timestamp": time });
    event["event-id"] = format!("{activity} {fields}").into();
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

fn close(second: u64, number: u64) -> Value {
    let bytes = content(number).length.to_string();
    let path = format!("/w0-{number}");
    event(
        second,
        "CLOSE",
        &json!({ "status": "success", "operation": "write", "logical-path": path, "bytes-in": bytes }),
    )
}

fn delete(second: u64, number: u64) -> Value {
    event(second, "DELETE", &json!({ "status": "success", "logical-path": format!("/w0-{number}") }))
}

fn session(id: &str, user: &str, from: u64, to: u64) -> [Value; 2] {
    let fields = json!({ "session-id": id, "user": user });
    [event(from, "CONNECTED", &fields), event(to, "DISCONNECTED", &fields)]
}

fn user(second: u64, activity: &str, user: &str, key: &str) -> Value {
    event(second, activity, &json!({ "user": user, "ssh-public-key-fingerprint": key }))
}

/// Everything is as it ought to be. Edge-3 was killed at 30; Redis was gone from 40 to 50, and the S3 server from 60 to 62.
fn sound() -> Outcome {
    let mut known = Known::default();
    for number in [1, 2, 3] {
        known.uploads.insert(format!("/w0-{number}"), content(number));
    }
    known.files = known.uploads.clone();
    known.files.remove("/w0-3");
    known.removed.insert("/w0-3".into());
    known.unknown = [4, 5].map(|number| (format!("/w0-{number}"), content(number))).into();
    known.refused.push(Refusal { during: between(61, 64), message: "the store does not answer".into() });
    let stored = [1, 2, 4].map(|number| (format!("w0-{number}"), recognize(&content(number).bytes()[..])));
    let [begins, ends] = session("s1", "alice", 1, 20);
    let [[b1, e1], [b2, e2]] = [session("b1", LIMITED, 1, 5), session("b2", LIMITED, 6, 9)];
    let [cut, _] = session("s2", "alice", 25, 31);
    let one = vec![b1, begins, close(2, 1), close(3, 2), user(4, "USER_ADDED", "ann", "first"), e1, ends];
    let two = vec![close(4, 3), delete(5, 3), b2, user(8, "USER_ADDED", "ben", "first"), e2];
    let three = vec![user(7, "USER_CHANGED", "ann", "second"), cut, user(35, "USER_REMOVED", "ben", "first")];
    let names = ["edge-1", "edge-2", "edge-3"].map(str::to_owned);
    let users =
        [("ann", Last::Has("second".into())), ("ben", Last::Removed), ("carl", Last::Removed), ("dora", Last::Unknown)];
    let deaths = Deaths {
        gateways: vec![(2, at(30))],
        s3: vec![between(60, 62)],
        apart: vec![between(40, 50)],
        forgot: vec![between(40, 50)],
        ..Deaths::default()
    };
    Outcome {
        known: vec![known],
        stored: stored.into(),
        trails: names.clone().into_iter().zip([one, two, three]).collect(),
        users: users.map(|(user, last)| (user.to_owned(), last)).into(),
        left: Left { took: Duration::from_secs(1), sessions: Vec::new(), gateways: vec![names.to_vec(); 3] },
        deaths,
    }
}

/// The one fault of an outcome after it was tampered with.
#[track_caller]
fn finds(tamper: impl FnOnce(&mut Outcome), fault: &str) {
    let mut outcome = sound();
    tamper(&mut outcome);
    let faults = outcome.judge().expect_err(fault);
    assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:#?} instead of {fault:?}");
}

/// An outcome that is still sound.
#[track_caller]
fn accepts(tamper: impl FnOnce(&mut Outcome)) -> super::Figures {
    let mut outcome = sound();
    tamper(&mut outcome);
    outcome.judge().unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The events of a gateway.
fn trail(outcome: &mut Outcome, number: usize) -> &mut Vec<Value> {
    &mut outcome.trails[number].1
}

/// Leaves out the only event of a kind that has this text somewhere.
#[track_caller]
fn lose(outcome: &mut Outcome, activity: &str, text: &str) {
    let before: usize = outcome.trails.iter().map(|(_, events)| events.len()).sum();
    for (_, events) in &mut outcome.trails {
        events.retain(|event| event["activity-type"] != activity || !event.to_string().contains(text));
    }
    let after: usize = outcome.trails.iter().map(|(_, events)| events.len()).sum();
    assert_eq!(after + 1, before, "events {activity} with {text:?}");
}

#[test]
fn a_sound_outcome_passes() {
    let figures = accepts(|_| ());
    assert_eq!((figures.files, figures.sessions, figures.logins), (3, 4, 2));
    assert_eq!((figures.judged, figures.above, figures.changes, figures.twice), (2, 0, 4, 0));
}

#[test]
fn a_file_that_is_lost_or_not_whole_is_found() {
    let put = |key: &'static str, bytes: Vec<u8>| {
        move |outcome: &mut Outcome| _ = outcome.stored.insert(key.into(), recognize(&bytes[..]))
    };
    finds(|outcome| _ = outcome.stored.remove("w0-1"), "w0-1 was acknowledged and is not there");
    finds(put("w0-1", content(1).bytes()[..1000].to_vec()), "ends after 1000 bytes");
    finds(put("w0-1", Vec::new()), "is empty");
    finds(put("w0-1", content(2).bytes()), "w0-1 is Ok(Content { id: 2");
    finds(put("w0-1", [content(1).bytes(), vec![0]].concat()), "differs at byte 1001");
    // Nobody was told that it is there, but if it is, it is whole.
    finds(put("w0-4", content(4).bytes()[..1003].to_vec()), "w0-4 is Err");
    accepts(|outcome| _ = outcome.stored.remove("w0-4"));
    finds(put("w0-3", content(3).bytes()), "w0-3 appeared out of nothing");
    finds(|outcome| outcome.known[0].misread.push("/w0-2".into()), "/w0-2 was read back");
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    let refuse = |from: u64, to: u64| {
        let refused = Refusal { during: between(from, to), message: "denied".into() };
        move |outcome: &mut Outcome| outcome.known[0].refused.push(refused)
    };
    finds(refuse(50, 59), "denied");
    finds(refuse(65, 66), "denied");
    accepts(refuse(59, 60));
    accepts(refuse(63, 70));
}

#[test]
fn an_event_that_is_missing_or_there_twice_is_found() {
    finds(|outcome| lose(outcome, "CLOSE", "/w0-1\""), "the CLOSE of /w0-1 was acknowledged, and is on record 0 times");
    finds(
        |outcome| lose(outcome, "DELETE", "/w0-3\""),
        "the DELETE of /w0-3 was acknowledged, and is on record 0 times",
    );
    // Of less than was acknowledged, without success, or of a download.
    for (field, other) in [("bytes-in", "1000"), ("status", "failure"), ("operation", "read")] {
        finds(|outcome| trail(outcome, 0)[2][field] = other.into(), "the CLOSE of /w0-1");
    }
    // The same upload at another gateway, and the same event.
    let again = |id: &'static str| {
        move |outcome: &mut Outcome| {
            let mut copy = close(2, 1);
            copy["event-id"] = id.into();
            trail(outcome, 1).push(copy);
        }
    };
    finds(again("another"), "is on record 2 times");
    finds(
        |outcome| {
            let copy = trail(outcome, 0)[1].clone();
            let id = copy["event-id"].clone();
            trail(outcome, 1)[2]["event-id"] = id;
        },
        "is on record twice",
    );
}

#[test]
fn a_change_of_users_that_is_missing_or_there_twice_is_found() {
    finds(|outcome| lose(outcome, "USER_CHANGED", "ann"), "no trail has it that ann is now Has(\"second\")");
    finds(|outcome| lose(outcome, "USER_REMOVED", "ben"), "no trail has it that ben is now Removed");
    finds(|outcome| outcome.users.extend(Users::from([("eve".into(), Last::Has("first".into()))])), "eve is now Has");
    let again = |number: usize, activity: &'static str, name: &'static str, key: &'static str, second: u64| {
        move |outcome: &mut Outcome| {
            let mut copy = user(second, activity, name, key);
            copy["event-id"] = "another".into();
            trail(outcome, number).push(copy);
        }
    };
    finds(again(1, "USER_ADDED", "ann", "first", 5), "that ann is now first is on record twice");
    finds(again(0, "USER_ADDED", "ann", "first", 5), "that ann is now first is on record twice");
    finds(again(1, "USER_CHANGED", "ann", "second", 8), "that ann is now second is on record twice");
    finds(again(0, "USER_REMOVED", "ben", "first", 36), "that ben is now removed is on record twice");
    // A gateway that saw both changes at once records one that leads to the same.
    finds(again(0, "USER_ADDED", "ann", "second", 8), "that ann is now second is on record twice");
    // Redis forgot it in between.
    assert_eq!(accepts(again(1, "USER_ADDED", "ann", "first", 45)).twice, 1);
    assert_eq!(accepts(again(1, "USER_REMOVED", "ben", "first", 55)).twice, 1);
    // The gateway was killed just after its trail had it; another gateway, or long after it, explains nothing.
    let killed = |number: usize, second: u64| {
        move |outcome: &mut Outcome| {
            outcome.deaths.gateways.push((number, at(second)));
            again(1, "USER_ADDED", "ann", "first", 12)(outcome);
        }
    };
    assert_eq!(accepts(killed(0, 6)).twice, 1);
    finds(killed(0, 8), "that ann is now first is on record twice");
    finds(killed(2, 6), "that ann is now first is on record twice");
}

#[test]
fn a_session_that_is_left_over_is_found() {
    finds(|outcome| outcome.left.sessions.push("s9".into()), "left over after 1s: [\"s9\"]");
    finds(|outcome| outcome.left.took = LEFT_AT_MOST, "until no session was left over");
    finds(|outcome| _ = outcome.left.gateways[1].pop(), "the gateways list");
    finds(|outcome| _ = outcome.left.gateways.pop(), "the gateways list");
    finds(|outcome| outcome.left.gateways[0].push("edge-1".into()), "the gateways list");
    finds(|outcome| lose(outcome, "DISCONNECTED", "s1"), "the session s1 of alice at edge-1 has no end on record");
    // Its gateway was killed before it began.
    finds(|outcome| outcome.deaths.gateways[0].1 = at(24), "the session s2 of alice at edge-3 has no end on record");
}

#[test]
fn a_login_above_the_limit_is_found() {
    let beside = |from: u64| {
        move |outcome: &mut Outcome| {
            trail(outcome, 0).extend(session("b3", LIMITED, from - 10, from + 10));
            trail(outcome, 1).extend(session("b4", LIMITED, from, from + 1));
        }
    };
    finds(beside(25), "bob logged in at 08:00:25 beside another session, of 08:00:15 to 08:00:35");
    let figures = accepts(beside(45));
    assert_eq!((figures.logins, figures.above), (4, 1));
    // The end of the one is on record just after the beginning of the other.
    accepts(|outcome| {
        trail(outcome, 0).extend(session("b3", LIMITED, 20, 26));
        trail(outcome, 1).extend(session("b4", LIMITED, 25, 28));
    });
    finds(
        |outcome| {
            trail(outcome, 0).extend(session("b3", LIMITED, 20, 28));
            trail(outcome, 1).extend(session("b4", LIMITED, 25, 28));
        },
        "beside another session",
    );
}
