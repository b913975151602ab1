//! What is listed, as what, and under which name.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn close(user: &str, name: &str, operation: &str, digest: &str) -> Value {
    json!({ "activity-type": "CLOSE", "status": "success", "operation": operation, "user": user,
            "logical-path": name, "path": format!("/lake/{user}{name}"), "sha256": digest })
}

fn put(user: &str, name: &str, digest: &str) -> Value {
    close(user, name, "write", digest)
}

fn rename(user: &str, from: &str, to: &str) -> Value {
    json!({ "activity-type": "RENAME", "status": "success", "user": user, "logical-path": from, "new-logical-path": to,
            "path": format!("/lake/{user}{from}"), "new-path": format!("/lake/{user}{to}") })
}

fn failed_rename(from: &str, to: &str, message: &str) -> Value {
    with(rename("ann", from, to), json!({ "status": "failure", "message": message }))
}

/// An event with other values of some fields.
fn with(mut event: Value, fields: Value) -> Value {
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

/// At a second of a minute, by one gateway.
fn at(second: u32, server: &str, event: Value) -> Value {
    with(event, json!({ "timestamp": format!("2026-07-31T08:15:{second:02}.000Z"), "server": server }))
}

/// In a store that two gateways have.
fn shared(event: Value) -> Value {
    with(event, json!({ "path": "/lake/a", "etag": "098f6bcd" }))
}

fn written_if(direction: Direction, events: &[Value], is_wanted: impl Fn(&Event) -> bool) -> String {
    let mut collection = Collection::new(direction);
    for event in events {
        let event = Event::parse(event.to_string().as_bytes()).unwrap();
        collection.note(&event, is_wanted(&event));
    }
    let mut out = Vec::new();
    collection.finish().write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn written(direction: Direction, events: &[Value]) -> String {
    written_if(direction, events, |_| true)
}

fn received(events: &[Value]) -> String {
    written(Direction::Received, events)
}

#[test]
fn the_last_content_of_each_name_is_listed_under_the_name_that_it_has() {
    let events = [
        put("ann", "/in/a.part", "11"),
        rename("ann", "/in/a.part", "/in/a"),
        put("ben", "/in/a", "22"),
        put("ann", "/in/b", "33"),
        put("ann", "/in/b", "44"),
        close("ann", "/out/c", "read", "55"),
        rename("ann", "/in", "/done"),
        put("ann", "/in/a", ""),
    ];
    assert_eq!(received(&events), "# ann\n11  done/a\n44  done/b\n# no digest is on record: in/a\n# ben\n22  in/a\n");
    assert_eq!(written(Direction::Sent, &events), "# ann\n55  out/c\n");
}

#[test]
fn programs_and_spreadsheets_get_the_same_files() {
    let events = [
        at(1, "one", put("ann", "/=a", "11")),
        at(2, "one", put("ann", "/b", "")),
        at(3, "two", with(put("ben", "/c", "33"), json!({ "etag": "1" }))),
    ];
    let mut collection = Collection::new(Direction::Received);
    for event in &events {
        collection.note(&Event::parse(event.to_string().as_bytes()).unwrap(), true);
    }
    let manifest = collection.finish();
    let mut out = Vec::new();
    manifest.write_json(&mut out).unwrap();
    let written: Value = serde_json::from_slice(&out).unwrap();
    let files = written["files"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["path"], &files[0]["sha256"]), (3, &json!("/=a"), &json!("11")));
    assert_eq!((&files[1]["sha256"], &files[2]["user"]), (&Value::Null, &json!("ben")));
    let mut out = Vec::new();
    manifest.write_csv(&mut out).unwrap();
    let table = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "\"user\",\"server\",\"path\",\"sha256\",\"renamed-to\""));
    assert!(lines[1].ends_with("\"/=a\",\"11\",\"\"") && lines[2].ends_with("\"/b\",\"\",\"\""), "{table}");
}

#[test]
fn a_rename_replaces_and_a_failure_counts_for_nothing() {
    let failed = with(put("ann", "/b", "99"), json!({ "status": "failure" }));
    let denied = with(rename("ann", "/x", "/b"), json!({ "status": "denied", "message": "permission denied" }));
    let events = [
        put("ann", "/a", "11"),
        put("ann", "/b", "22"),
        failed,
        rename("ann", "/a", "/b"),
        put("ann", "/ab", "33"),
        rename("ann", "/a", "/x"),
        denied,
    ];
    assert_eq!(received(&events), "# ann\n33  ab\n11  b\n");
}

#[test]
fn odd_names_are_escaped_as_sha256sum_does() {
    let events = [put("a\nb", "/new\nline", "11"), put("a\nb", "/back\\slash", "22")];
    assert_eq!(received(&events), "# a\\nb\n\\22  back\\\\slash\n\\11  new\\nline\n");
}

/// One file for many: each who got it is listed, and each content that it had.
#[test]
fn everybody_who_downloaded_a_file_is_listed_with_each_content_of_it() {
    let get = |user: &str, digest: &str| with(close(user, "/r", "read", digest), json!({ "path": "/lake/pub/r" }));
    let looked = with(get("carl", ""), json!({ "bytes-out": "0" }));
    let in_part = with(get("dora", ""), json!({ "bytes-out": "7" }));
    let whole_at_last = with(get("ben", ""), json!({ "bytes-out": "7" }));
    let events = [
        whole_at_last,
        get("ann", "11"),
        get("ben", "11"),
        get("ann", "22"),
        get("ann", "11"),
        looked,
        get("dora", "33"),
        in_part,
    ];
    assert_eq!(
        written(Direction::Sent, &events),
        "# ann\n11  r\n22  r\n# ben\n11  r\n# dora\n# no digest is on record: r\n33  r\n"
    );
}

/// What changed a file without a digest takes that away that it had.
#[test]
fn a_digest_that_may_be_of_other_content_is_not_listed() {
    let end = |activity: &str, status: &str, message: &str| {
        let operation = if activity == "ERROR" { "CLOSE" } else { "write" };
        let fields = json!({ "activity-type": activity, "status": status, "operation": operation, "message": message });
        with(put("ann", "/a", ""), fields)
    };
    let setstat = |status: &str, size: Value| {
        with(end("SETSTAT", status, ""), if size.is_null() { json!({}) } else { json!({ "size": size }) })
    };
    let renamed = |message: &str| failed_rename("/x", "/a", message);
    for (event, is_in_doubt) in [
        (setstat("success", json!(0)), true),
        (setstat("failure", json!(7)), true),
        (setstat("denied", json!(0)), false),
        (setstat("success", Value::Null), false),
        (end("PARTIAL_CLOSE", "failure", "the client went away; what had arrived was published"), true),
        (end("PARTIAL_CLOSE", "failure", "the client went away; the store does not answer"), true),
        (end("PARTIAL_CLOSE", "failure", "the client went away; nothing was published"), false),
        (end("ERROR", "failure", "/a: the store does not answer"), true),
        (end("ERROR", "failure", "/a: no space; nothing was published"), false),
        (end("ERROR", "denied", "/a: permission denied"), false),
        (with(put("ann", "/a", ""), json!({ "unchanged": true })), false),
        (renamed("the connection ended before the store had answered; whether it was done is not known"), true),
        (renamed("/x: the store does not answer; /x is whole; whether it was done is not known"), true),
        (renamed("/x: the store denies access; all of it was copied to /a; the new name has all of it"), true),
        (renamed("a message of another version"), true),
        (renamed("/a: it exists already; nothing was renamed"), false),
        (with(rename("ann", "/x", "/a"), json!({ "status": "denied", "message": "permission denied" })), false),
    ] {
        let list = received(&[put("ann", "/a", "11"), event.clone()]);
        let expected = if is_in_doubt { "# ann\n# no digest is on record: a\n" } else { "# ann\n11  a\n" };
        assert_eq!(list, expected, "{event}");
        // And the next upload has its digest.
        assert_eq!(received(&[put("ann", "/a", "11"), event, put("ann", "/a", "22")]), "# ann\n22  a\n");
    }
    assert_eq!(
        received(&[end("PARTIAL_CLOSE", "failure", "the client went away; what had arrived was published")]),
        "# ann\n# no digest is on record: a\n"
    );
}

/// By a gateway, in a session.
fn of(session: &str, event: Value) -> Value {
    with(event, json!({ "server": "edge", "session-id": session }))
}

fn open(session: &str, name: &str) -> Value {
    of(session, with(put("ann", name, ""), json!({ "activity-type": "OPEN" })))
}

fn start(is_clean: bool) -> Value {
    json!({ "activity-type": "CHECKPOINT", "reason": "start", "clean": is_clean, "server": "edge",
            "timestamp": "2026-07-31T08:15:59.000Z" })
}

const UNCLEAN: &str = "# edge did not end in order before its start at 2026-07-31T08:15:59.000Z: what was under way then may have no \
                       event\n";

/// Killed between the publication and its CLOSE: the trail has the OPEN, and the digest of what was there before.
#[test]
fn an_upload_that_a_kill_cut_off_leaves_a_content_that_is_not_known() {
    let close = |session: &str, name: &str, digest: &str| of(session, put("ann", name, digest));
    let first = [open("s", "/b"), close("s", "/b", "22")];
    let list = |events: &[Value]| received(&[&first[..], events].concat());
    let cut = [open("s", "/b"), start(false)];
    assert_eq!(list(&cut), format!("{UNCLEAN}# ann\n# no digest is on record: b\n"));
    // Also where no start follows, and where it is a new file.
    assert_eq!(list(&cut[..1]), "# ann\n# no digest is on record: b\n");
    assert_eq!(list(&[open("s", "/c"), start(false)]), format!("{UNCLEAN}# ann\n22  b\n# no digest is on record: c\n"));
    assert_eq!(list(&[open("s", "/c")]), "# ann\n22  b\n", "what has not come is not listed");
    // What came after the start is what is there.
    let later = |event| with(event, json!({ "timestamp": "2026-07-31T08:16:01.000Z" }));
    let after = [&cut[..], &[later(open("t", "/b")), later(close("t", "/b", "44"))]].concat();
    assert_eq!(list(&after), format!("{UNCLEAN}# ann\n44  b\n"));
    // An end of whatever kind is one.
    for end in [
        close("s", "/b", "22"),
        with(close("s", "/b", ""), json!({ "unchanged": true })),
        with(
            close("s", "/b", ""),
            json!({ "activity-type": "PARTIAL_CLOSE", "status": "failure",
            "message": "the client went away; nothing was published" }),
        ),
        with(close("s", "/b", ""), json!({ "activity-type": "ERROR", "operation": "CLOSE", "status": "denied" })),
    ] {
        assert_eq!(list(&[open("s", "/b"), end.clone(), start(true)]), "# ann\n22  b\n", "{end}");
        // It is one handle's of two.
        let two = [open("s", "/b"), open("s", "/b"), end, start(false)];
        assert_eq!(list(&two), format!("{UNCLEAN}# ann\n# no digest is on record: b\n"));
    }
    // One that failed, or of another gateway, or to read, is none.
    let refused = with(open("s", "/b"), json!({ "status": "denied" }));
    let reading = with(open("s", "/b"), json!({ "operation": "read" }));
    let others = with(start(false), json!({ "server": "other" }));
    assert_eq!(list(&[refused, reading, start(true)]), "# ann\n22  b\n");
    assert!(list(&[open("s", "/b"), others, close("s", "/b", "55")]).ends_with("# ann\n55  b\n"));
}

/// A session renames what it writes, and that ends under the new name.
#[test]
fn an_upload_is_followed_through_a_rename() {
    let moved = |session: &str| of(session, rename("ann", "/d", "/e"));
    let close = |name: &str| of("s", put("ann", name, "33"));
    let begun = [of("s", put("ann", "/e/a", "22")), open("s", "/d/a")];
    let list = |events: &[Value]| received(&[&begun[..], events].concat());
    assert_eq!(list(&[moved("s"), close("/e/a"), start(true)]), "# ann\n33  e/a\n");
    assert_eq!(list(&[moved("s"), start(false)]), format!("{UNCLEAN}# ann\n# no digest is on record: e/a\n"));
    // Whether it went along is not known.
    let perhaps = of("s", failed_rename("/d", "/e", "cut off"));
    let unknown = "# ann\n# no digest is on record: d/a\n# no digest is on record: e/a\n";
    assert_eq!(list(&[perhaps, start(false)]), format!("{UNCLEAN}{unknown}"));
    // Another connection's rename moves what is published alone.
    let theirs = [moved("t"), close("/d/a"), start(true)];
    assert!(list(&theirs).contains("33  d/a"), "{}", list(&theirs));
}

/// Without a folder for the chain there is no checkpoint at a start, and the numbers begin again.
#[test]
fn numbers_that_begin_again_are_another_process() {
    let numbered = |sequence: u64, event: Value| with(event, json!({ "sequence": sequence }));
    let events = [
        numbered(7, of("s", put("ann", "/b", "22"))),
        numbered(8, open("s", "/b")),
        numbered(2, of("t", put("ann", "/c", "33"))),
    ];
    assert_eq!(received(&events), "# ann\n# no digest is on record: b\n33  c\n");
}

/// The copy is there, and the old name could not be removed: both are listed, and nothing is said of the content of the new one.
#[test]
fn a_rename_that_was_only_a_copy_leaves_two_names() {
    let denied = "/a: the store denies access; all of it was copied to /b; the new name has all of it";
    let events = [put("ann", "/b", "22"), put("ann", "/a", "11"), failed_rename("/a", "/b", denied)];
    assert_eq!(received(&events), "# ann\n11  a\n# no digest is on record: b\n");
    assert_eq!(received(&events[1..]), "# ann\n11  a\n# no digest is on record: b\n");
    // The next try that succeeds settles it.
    let again = [&events[..], &[rename("ann", "/a", "/b")]].concat();
    assert_eq!(received(&again), "# ann\n11  b\n");
    let removed = with(put("ann", "/a", ""), json!({ "activity-type": "DELETE" }));
    assert_eq!(
        received(&[put("ann", "/a", "11"), removed, failed_rename("/a", "/b", denied)]),
        "# ann\n11  a\n",
        "what was gone before has no other name"
    );
}

/// Of a folder, some files may be gone from their old names, and others may have stayed.
#[test]
fn of_a_folder_that_was_copied_and_not_wholly_removed_no_digest_is_known() {
    let changed =
        "/d: the file was replaced meanwhile; \"d\" was renamed, but 1 files in it changed; the new name has all of it";
    let of_ben = with(put("ben", "/his", "33"), json!({ "path": "/lake/ann/d/z" }));
    let old = with(put("ann", "/e/x", "44"), json!({}));
    let gone = with(put("ann", "/e/x", ""), json!({ "activity-type": "DELETE" }));
    let events = [old, gone, put("ann", "/d/x", "11"), put("ann", "/d/y/z", "22"), put("ann", "/dx", "55"), of_ben];
    let list = received(&[&events[..], &[failed_rename("/d", "/e", changed)]].concat());
    let unknown = |name: &str| format!("# no digest is on record: {name}\n");
    let of_ann = ["d/x", "d/y/z", "e/x", "e/y/z"].map(unknown).concat();
    let of_ann = of_ann.replacen(&unknown("d/y/z"), &format!("{}55  dx\n", unknown("d/y/z")), 1);
    assert_eq!(list, format!("# ann\n{of_ann}# ben\n{}", unknown("his")));
    // Not known at all: what is below the new name may be other content, and the old names have what they had.
    let list = received(&[&events[..4], &[failed_rename("/d", "/e", "cut off")]].concat());
    assert_eq!(list, format!("# ann\n11  d/x\n22  d/y/z\n{}", unknown("e/x")));
}

/// What is known of a place is known by its own store, not by that of the other name.
#[test]
fn a_rename_across_stores_is_of_both() {
    let moved = |message: &str, status: &str| {
        let paths = json!({ "path": "/own/in/a", "new-path": "/lake/a", "status": status, "message": message });
        at(30, "one", with(rename("ann", "/in/a", "/a"), paths))
    };
    let own = at(10, "one", with(put("ann", "/in/a", "11"), json!({ "path": "/own/in/a" })));
    let bucket = at(20, "two", shared(put("ann", "/a", "22")));
    let known = |event| received(&[own.clone(), bucket.clone(), at(15, "one", shared(put("ann", "/b", "0"))), event]);
    assert!(!known(moved("", "success")).contains("22  a"), "{}", known(moved("", "success")));
    assert!(!known(moved("cut off", "failure")).contains("22  a"));
    assert!(known(moved("x; nothing was renamed", "failure")).contains("22  a"));
}

#[test]
fn what_nobody_uploaded_takes_the_place_of_what_it_is_renamed_over() {
    assert_eq!(received(&[put("ann", "/a", "11"), rename("ann", "/unknown", "/a")]), "");
    // Also of what was removed before, which is listed otherwise.
    let removed = with(put("ann", "/out/a", ""), json!({ "activity-type": "DELETE" }));
    let events = [put("ann", "/out/a", "11"), removed, rename("ann", "/out", "/new"), rename("ann", "/in", "/out")];
    assert_eq!(received(&events[..3]), "# ann\n11  out/a\n");
    assert_eq!(received(&events), "# ann\n# no digest is on record: out/a\n");
}

/// Who is asked about does not decide what is there.
#[test]
fn what_others_did_to_a_file_counts_whoever_is_asked_for() {
    let of_ben = |name: &str, digest: &str| with(put("ben", name, digest), json!({ "path": "/lake/ann/a" }));
    let of_ann = |event: &Event| event.text("user") == "ann";
    let list = |events: &[Value]| written_if(Direction::Received, events, of_ann);
    assert_eq!(list(&[put("ann", "/a", "11"), put("ann", "/b", "22"), of_ben("/x/a", "33")]), "# ann\n22  b\n");
    assert_eq!(list(&[of_ben("/x/a", "33"), put("ann", "/a", "11")]), "# ann\n11  a\n");
    let cut = with(of_ben("/x/a", ""), json!({ "activity-type": "SETSTAT", "size": 0 }));
    assert_eq!(list(&[put("ann", "/a", "11"), cut]), "# ann\n# no digest is on record: a\n");
}

/// `/shared` of carol is the root of ann.
fn renamed_by_carol(from: &str, to: &str) -> Value {
    let path = |name: &str| {
        name.strip_prefix("/shared").map_or(format!("/lake/carol{name}"), |rest| format!("/lake/ann{rest}"))
    };
    with(rename("carol", from, to), json!({ "path": path(from), "new-path": path(to) }))
}

#[test]
fn a_file_that_another_user_renames_is_listed_under_the_name_that_its_user_sees() {
    let files = [put("ann", "/m1", "11"), put("ann", "/in/a", "22"), put("ann", "/in/deep/b", "33")];
    let after = |events: &[Value]| received(&[&files[..], events].concat());
    let one = renamed_by_carol("/shared/m1", "/shared/moved1");
    assert_eq!(after(std::slice::from_ref(&one)), "# ann\n22  in/a\n33  in/deep/b\n11  moved1\n");
    let folder = renamed_by_carol("/shared/in", "/shared/done");
    assert_eq!(after(std::slice::from_ref(&folder)), "# ann\n22  done/a\n33  done/deep/b\n11  m1\n");
    let others = |event: &Event| event.text("user") == "ann";
    let asked = written_if(Direction::Received, &[files[0].clone(), one.clone()], others);
    assert_eq!(asked, "# ann\n11  moved1\n", "who renamed it is not asked about");
    // Its user goes on with it, and with its old name.
    let again = after(&[one, rename("ann", "/moved1", "/m2"), put("ann", "/m1", "44"), folder]);
    assert_eq!(again, "# ann\n22  done/a\n33  done/deep/b\n44  m1\n11  m2\n");
}

#[test]
fn a_file_that_another_user_renames_out_of_sight_has_no_known_name() {
    let away = renamed_by_carol("/shared/m1", "/mine");
    let list = received(&[put("ann", "/m1", "11"), away.clone()]);
    let comment = "# another user renamed it to /lake/carol/mine, and its new name is not known: 11  m1\n";
    assert_eq!(list, format!("# ann\n{comment}"));
    let list = received(&[put("ann", "/m1", "11"), away.clone(), put("ann", "/m1", "22")]);
    assert_eq!(list, format!("# ann\n22  m1\n{comment}"), "what comes under its name is another file");
    let back = [put("ann", "/m1", "11"), away.clone(), renamed_by_carol("/mine", "/shared/m3")];
    assert_eq!(received(&back), "# ann\n11  m3\n");
    let mut collection = Collection::new(Direction::Received);
    for event in [put("ann", "/m1", "11"), away] {
        collection.note(&Event::parse(event.to_string().as_bytes()).unwrap(), true);
    }
    let manifest = collection.finish();
    assert_eq!(manifest.count(), (1, 0, 1));
    let mut out = Vec::new();
    manifest.write_json(&mut out).unwrap();
    let written: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(written["files"][0]["renamed-to"], "/lake/carol/mine", "{written}");
}

/// Two gateways write to one bucket, and their trails are read one after the other.
#[test]
fn the_last_content_is_the_last_by_time_not_by_reading() {
    let (early, late) = (at(10, "two", shared(put("ann", "/a", "11"))), at(20, "one", shared(put("ann", "/a", "22"))));
    assert_eq!(received(&[late.clone(), early.clone()]), "# ann\n22  a\n");
    assert_eq!(received(&[early, late]), "# ann\n22  a\n");
    // An id has its place within a millisecond, and what is read twice happened once.
    let id = |last: u32, event: Value| {
        let id = format!("019fb73e-4bf2-7b3d-8f21-{last:012}");
        with(at(10, "one", event), json!({ "event-id": id }))
    };
    let events = [
        id(3, rename("ann", "/a", "/b")),
        id(2, put("ann", "/a", "22")),
        id(1, put("ann", "/a", "11")),
        id(3, rename("ann", "/a", "/b")),
    ];
    assert_eq!(received(&events), "# ann\n22  b\n");
}

#[test]
fn the_numbers_of_a_gateway_count_more_than_its_clock() {
    let numbered = |sequence: u64, second: u32, digest: &str| {
        with(at(second, "one", put("ann", "/a", digest)), json!({ "sequence": sequence }))
    };
    assert_eq!(received(&[numbered(7, 40, "11"), numbered(8, 10, "22")]), "# ann\n22  a\n");
    // A batch that is read after a later one.
    assert_eq!(received(&[numbered(8, 40, "22"), numbered(7, 10, "11")]), "# ann\n22  a\n");
}

/// A folder of each gateway has one name: these are two files.
#[test]
fn stores_of_one_name_that_are_a_gateways_own_are_told_apart() {
    let (one, two) = (at(10, "one", put("ann", "/a", "11")), at(20, "two", put("ann", "/a", "22")));
    assert_eq!(received(&[one.clone(), two.clone()]), "# ann on one\n11  a\n# ann on two\n22  a\n");
    assert_eq!(received(&[one.clone(), at(20, "two", rename("ann", "/x", "/a"))]), "# ann\n11  a\n");
    let of_one = written_if(Direction::Received, &[one, two], |event| event.text("server") == "one");
    assert_eq!(of_one, "# ann\n11  a\n");
}
