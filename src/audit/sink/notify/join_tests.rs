//! Uploads under temporary names and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::audit::sink::notify::TEMPORARY_WITHIN;

fn joiner() -> Joiner {
    Joiner::new(TemporaryNames::default(), Clock::default(), Vec::new())
}

/// A line at so many seconds after eight o'clock; its id is its number.
fn line(second: u32, number: u32, rest: &str) -> Fact {
    let (minute, second) = (second / 60, second % 60);
    let line = format!(
        r#"{{"event-id":"e{number}","timestamp":"2026-07-31T08:{minute:02}:{second:02}.000Z","user":"ann","status":"success",{rest}}}"#
    );
    Fact::read(line.as_bytes()).expect("a line that something is told of")
}

fn upload(path: &str) -> String {
    format!(
        r#""activity-type":"CLOSE","operation":"write","path":"/lake/{path}","logical-path":"/{path}","bytes-in":"7""#
    )
}

fn rename(old: &str, new: &str) -> String {
    format!(
        r#""activity-type":"RENAME","path":"/lake/{old}","logical-path":"/{old}","new-path":"/lake/{new}","new-logical-path":"/{new}""#
    )
}

fn delete(path: &str) -> String {
    format!(r#""activity-type":"DELETE","path":"/lake/{path}","logical-path":"/{path}""#)
}

/// Operation, path and id of each.
fn told(notices: &[Notice]) -> Vec<(&'static str, &str, &str)> {
    notices.iter().map(|notice| (notice.operation(), notice.fact.path.as_str(), notice.id.as_str())).collect()
}

#[test]
fn an_upload_and_its_rename_are_one_arrival() {
    for (temporary, last) in [
        ("in/a.csv.filepart", "in/a.csv"),
        ("in/a.csv.8e1f2a3b.partial", "in/a.csv"),
        ("in/.in.a.csv", "in/a.csv"),
        ("in/a.csv.part", "out/b.csv"),
        ("in/a.csv.writing", "in/a.csv"),
    ] {
        let mut joiner = joiner();
        assert!(joiner.take(line(0, 1, &upload(temporary))).is_empty());
        let notices = joiner.take(line(2, 2, &rename(temporary, last)));
        assert_eq!(told(&notices), [("upload", format!("/lake/{last}").as_str(), "e2")]);
        let notice = &notices[0];
        assert_eq!(
            (notice.fact.logical_path.as_str(), notice.fact.bytes_in.as_deref()),
            (&*format!("/{last}"), Some("7"))
        );
        assert_eq!(notice.uploaded_as.as_deref(), Some(&*format!("/lake/{temporary}")));
        assert_eq!(
            (notice.ended.as_str(), notice.fact.timestamp.as_str()),
            ("2026-07-31T08:00:02.000Z", "2026-07-31T08:00:00.000Z")
        );
        assert!(joiner.uploads().next().is_none());
    }
}

#[test]
fn other_names_are_told_immediately() {
    let mut joiner = joiner();
    assert_eq!(told(&joiner.take(line(0, 1, &upload("a.csv")))), [("upload", "/lake/a.csv", "e1")]);
    assert_eq!(told(&joiner.take(line(0, 2, &rename("a.csv", "b.csv")))), [("rename", "/lake/a.csv", "e2")]);
    assert_eq!(told(&joiner.take(line(0, 3, &delete("b.csv")))), [("delete", "/lake/b.csv", "e3")]);
}

/// It comes late, or never.
#[test]
fn after_a_time_an_upload_is_told_under_the_name_that_it_has() {
    let mut joiner = joiner();
    let within = u32::try_from(TEMPORARY_WITHIN.as_secs()).unwrap();
    joiner.take(line(0, 1, &upload("a.part")));
    joiner.take(line(1, 2, &upload("b.part")));
    assert_eq!(told(&joiner.take(line(within / 2, 3, &upload("c.csv")))), [("upload", "/lake/c.csv", "e3")]);
    let notices = joiner.take(line(within, 4, &upload("d.csv")));
    assert_eq!(told(&notices), [("upload", "/lake/a.part", "e1"), ("upload", "/lake/d.csv", "e4")]);
    // No line comes any more.
    assert_eq!(joiner.due_in(0), Some(1000));
    assert!(joiner.overdue(999).is_empty());
    assert_eq!(told(&joiner.overdue(1000)), [("upload", "/lake/b.part", "e2")]);
    // It has its final name only now.
    let notices = joiner.take(line(within + 9, 5, &rename("b.part", "b")));
    assert_eq!(told(&notices), [("upload", "/lake/b", "e5")]);
}

/// Whoever filters uploads hears of the final name; what is no final name, or was none before, is no arrival.
#[test]
fn a_rename_to_a_final_name_is_an_upload_for_filters() {
    let cases = [("a.part", "a", true), ("a.part", "b.part", false), ("a", "b", false), ("a", "a.part", false)];
    for (old, new, is_arrival) in cases {
        let notices = joiner().take(line(0, 1, &rename(old, new)));
        assert_eq!(told(&notices), [("rename", &*format!("/lake/{old}"), "e1")]);
        let operations = ["upload"].map(String::from).to_vec();
        let filter = crate::audit::sink::filter::Filter { operations: Some(operations), ..Default::default() };
        assert_eq!(filter.takes_notice(&notices[0]), is_arrival, "{old} {new}");
    }
    let mut failed = line(0, 1, &rename("a.part", "a"));
    failed.status = Some("failure".into());
    assert_eq!(joiner().take(failed)[0].operations().collect::<Vec<_>>(), ["rename"]);
}

/// A clock that is set ends nobody's waiting, and prolongs none.
#[test]
fn a_clock_that_is_set_does_not_expire_what_waits() {
    let within = i64::try_from(TEMPORARY_WITHIN.as_millis()).unwrap();
    let at = |second, number, rest: &str, years: &str| {
        let mut fact = line(second, number, rest);
        fact.timestamp = fact.timestamp.replace("2026", years);
        fact
    };
    for years in ["2030", "2020"] {
        let mut joiner = joiner();
        joiner.take(line(0, 1, &upload("a.part")));
        let told_of = joiner.take(at(1, 2, &upload("b.csv"), years));
        assert_eq!(told(&told_of), [("upload", "/lake/b.csv", "e2")], "{years}");
        let left = if years == "2030" { within / 2 } else { within };
        assert_eq!(joiner.due_in(0), Some(left), "{years}");
        joiner.take(at(2, 3, &upload("c.csv"), years));
        assert_eq!(joiner.due_in(0), Some(left - 1000), "{years}");
        let arrival = joiner.take(at(3, 4, &rename("a.part", "a"), years));
        assert_eq!(told(&arrival), [("upload", "/lake/a", "e4")], "{years}");
    }
}

/// What is under the name is not what waits, so that the arrival must not have its digest.
#[test]
fn a_failed_upload_ends_the_waiting_of_what_it_may_have_replaced() {
    let end = |activity: &str, status: &str, message: &str| {
        let operation = if activity == "ERROR" { "CLOSE" } else { "write" };
        let rest = format!(
            r#""activity-type":"{activity}","operation":"{operation}","path":"/lake/a.part","logical-path":"/a.part","bytes-in":"3","message":"{message}""#
        );
        let mut fact = line(1, 2, &rest);
        fact.status = Some(status.into());
        fact
    };
    for (failed, replaced) in [
        (end("PARTIAL_CLOSE", "failure", "the client went away; what had arrived was published"), true),
        (end("PARTIAL_CLOSE", "failure", "whether the file was published is not known"), true),
        (end("ERROR", "failure", "/a.part: the store does not answer; try again later"), true),
        (end("PARTIAL_CLOSE", "failure", "the client went away; nothing was published"), false),
        (end("ERROR", "failure", "no space; nothing was published"), false),
        (end("ERROR", "denied", "/a.part: it exists already and may not be replaced"), false),
    ] {
        let mut joiner = joiner();
        joiner.take(line(0, 1, &upload("a.part")));
        assert_eq!(told(&joiner.take(failed.clone())), [("upload", "/lake/a.part", "e2")]);
        let notices = joiner.take(line(2, 3, &rename("a.part", "a")));
        let wanted = if replaced { ("rename", "/lake/a.part", "e3") } else { ("upload", "/lake/a", "e3") };
        assert_eq!(told(&notices), [wanted], "{failed:?}");
    }
}

/// It was opened to be written, and nothing was.
#[test]
fn a_close_that_changed_nothing_is_no_upload() {
    let unchanged = |second, number, path: &str| Fact { unchanged: true, ..line(second, number, &upload(path)) };
    let mut joiner = joiner();
    assert!(joiner.take(unchanged(0, 1, "a")).is_empty());
    joiner.take(line(1, 2, &upload("a.part")));
    assert!(joiner.take(unchanged(2, 3, "a.part")).is_empty());
    let notices = joiner.take(line(3, 4, &rename("a.part", "a")));
    assert_eq!(told(&notices), [("upload", "/lake/a", "e4")]);
    assert_eq!(notices[0].fact.timestamp, "2026-07-31T08:00:01.000Z");
}

/// A folder with a name of its own until all is there.
#[test]
fn what_comes_to_its_final_place_with_its_folder_has_arrived() {
    let names = TemporaryNames {
        patterns: vec![crate::audit::search::PathPattern::parse("/staging/**").unwrap()],
        ..TemporaryNames::default()
    };
    let mut joiner = Joiner::new(names, Clock::default(), Vec::new());
    for (number, name) in [(1, "staging/x/a"), (2, "staging/x/d/b"), (3, "staging/xy")] {
        assert!(joiner.take(line(number, number, &upload(name))).is_empty());
    }
    let kept: Vec<Upload> = joiner.uploads().cloned().collect();
    let mut again = Joiner::new(joiner.names.clone(), joiner.clock(), kept);
    let renamed = line(4, 4, &rename("staging/x", "in/x"));
    let notices = joiner.take(renamed.clone());
    let wanted =
        [("rename", "/lake/staging/x", "e4"), ("upload", "/lake/in/x/a", "e1"), ("upload", "/lake/in/x/d/b", "e2")];
    assert_eq!(told(&notices), wanted);
    assert_eq!(notices[1].uploaded_as.as_deref(), Some("/lake/staging/x/a"));
    assert_eq!((&*notices[1].fact.logical_path, &*notices[1].ended), ("/in/x/a", "2026-07-31T08:00:04.000Z"));
    assert_eq!(again.take(renamed), notices);
    assert_eq!(joiner.uploads().map(|upload| &*upload.fact.path).collect::<Vec<_>>(), ["/lake/staging/xy"]);
}

#[test]
fn what_nobody_was_told_of_goes_silently() {
    let mut joiner = joiner();
    joiner.take(line(0, 1, &upload("a.part")));
    assert!(joiner.take(line(1, 2, &delete("a.part"))).is_empty());
    assert_eq!(told(&joiner.take(line(2, 3, &delete("a.part")))), [("delete", "/lake/a.part", "e3")]);
    // Replaced before it had its name.
    joiner.take(line(3, 4, &upload("b.part")));
    assert!(joiner.take(line(4, 5, &upload("b.part"))).is_empty());
    joiner.take(line(5, 6, &upload("c.part")));
    assert!(joiner.take(line(6, 7, &rename("c.part", "b.part"))).is_empty());
    assert_eq!(joiner.uploads().map(|upload| upload.fact.event_id.as_str()).collect::<Vec<_>>(), ["e6"]);
    let notices = joiner.take(line(7, 8, &rename("b.part", "b")));
    assert_eq!(
        (told(&notices), notices[0].uploaded_as.as_deref()),
        (vec![("upload", "/lake/b", "e8")], Some("/lake/c.part"))
    );
}

#[test]
fn a_rename_that_failed_changes_nothing() {
    let mut joiner = joiner();
    joiner.take(line(0, 1, &upload("a.part")));
    let mut failed = line(1, 2, &rename("a.part", "a"));
    failed.status = Some("denied".into());
    assert_eq!(told(&joiner.take(failed)), [("rename", "/lake/a.part", "e2")]);
    assert_eq!(told(&joiner.take(line(2, 3, &rename("a.part", "a")))), [("upload", "/lake/a", "e3")]);
}

fn failed(second: u32, number: u32, old: &str, new: &str, message: &str) -> Fact {
    let mut fact = line(second, number, &format!(r#"{},"message":"{message}""#, rename(old, new)));
    fact.status = Some("failure".into());
    fact
}

const COPIED: &str = "the store denies access; all of it was copied; the new name has all of it";

/// The store has the copy and could not remove the old name: the file is there, and nobody else would tell.
#[test]
fn a_copy_whose_old_name_stays_has_arrived() {
    let mut joiner = joiner();
    joiner.take(line(0, 1, &upload("a.part")));
    let notices = joiner.take(failed(1, 2, "a.part", "a", COPIED));
    assert_eq!(told(&notices), [("rename", "/lake/a.part", "e2"), ("upload", "/lake/a", "e2-e1")]);
    assert!(notices[0].fact.failure().is_some() && notices[1].fact.failure().is_none());
    let arrival = &notices[1];
    assert_eq!(
        (arrival.uploaded_as.as_deref(), &*arrival.fact.logical_path, &*arrival.ended),
        (Some("/lake/a.part"), "/a", "2026-07-31T08:00:01.000Z")
    );
    assert!(joiner.overdue(i64::MAX).is_empty(), "nobody is told of the temporary name");
    // The next try succeeds, with everything that is known of the file.
    let again = joiner.take(line(2, 3, &rename("a.part", "a")));
    assert_eq!(
        (told(&again), again[0].uploaded_as.as_deref()),
        (vec![("upload", "/lake/a", "e3")], Some("/lake/a.part"))
    );
    assert_eq!(joiner.uploads().count(), 0);
}

#[test]
fn a_folder_that_was_copied_in_full_has_arrived_with_what_was_in_it() {
    let names = TemporaryNames {
        patterns: vec![crate::audit::search::PathPattern::parse("/staging/**").unwrap()],
        ..TemporaryNames::default()
    };
    let mut joiner = Joiner::new(names, Clock::default(), Vec::new());
    joiner.take(line(0, 1, &upload("staging/x/a")));
    joiner.take(line(0, 2, &upload("staging/xy")));
    let notices = joiner.take(failed(1, 3, "staging/x", "staging/z", COPIED));
    assert_eq!(told(&notices), [("rename", "/lake/staging/x", "e3")], "it waits under both names");
    assert_eq!(joiner.waiting.len(), 3);
    let notices = joiner.take(failed(2, 4, "staging/z", "in/z", COPIED));
    assert_eq!(told(&notices), [("rename", "/lake/staging/z", "e4"), ("upload", "/lake/in/z/a", "e4-e1")]);
}

/// The arrival would have the digest of another file.
#[test]
fn what_may_have_been_replaced_does_not_wait_any_more() {
    let unknown = "the store does not answer; whether it was done is not known";
    let nothing = "it exists already; nothing was renamed";
    for (message, replaced) in [(unknown, true), (COPIED, true), ("of another version", true), (nothing, false)] {
        let mut joiner = joiner();
        joiner.take(line(0, 1, &upload("a.part")));
        joiner.take(failed(1, 2, "x", "a.part", message));
        let notices = joiner.take(line(2, 3, &rename("a.part", "a")));
        let wanted = if replaced { ("rename", "/lake/a.part", "e3") } else { ("upload", "/lake/a", "e3") };
        assert_eq!(told(&notices), [wanted], "{message}");
    }
    // Nor is a newer upload of the old name what was copied.
    let mut joiner = joiner();
    joiner.take(line(5, 1, &upload("a.part")));
    let mut copied = failed(6, 2, "a.part", "a", COPIED);
    copied.duration_ms = 3_000;
    assert_eq!(told(&joiner.take(copied)), [("rename", "/lake/a.part", "e2")]);
    assert_eq!(told(&joiner.take(line(7, 3, &rename("a.part", "a")))), [("upload", "/lake/a", "e3")]);
}

#[test]
fn an_upload_goes_with_its_folder() {
    let mut joiner = joiner();
    joiner.take(line(0, 1, &upload("in/x/a.part")));
    joiner.take(line(0, 2, &upload("in/xy/a.part")));
    assert_eq!(told(&joiner.take(line(1, 3, &rename("in/x", "out")))), [("rename", "/lake/in/x", "e3")]);
    let notices = joiner.take(line(2, 4, &rename("out/a.part", "out/a")));
    assert_eq!(told(&notices), [("upload", "/lake/out/a", "e4")]);
    assert_eq!(told(&joiner.take(line(3, 5, &rename("in/xy/a.part", "b")))), [("upload", "/lake/b", "e5")]);
}

#[test]
fn what_waits_is_bounded() {
    let mut joiner = joiner();
    joiner.most = 2;
    joiner.take(line(0, 1, &upload("a.part")));
    joiner.take(line(1, 2, &upload("b.part")));
    assert_eq!(told(&joiner.take(line(2, 3, &upload("c.part")))), [("upload", "/lake/a.part", "e1")]);
    assert_eq!(joiner.waiting.len(), 2);
}

/// A receiver of arrivals alone hears of the final name, with everything that is known of the file.
#[test]
fn the_rename_of_what_no_longer_waits_is_an_arrival() {
    let arrived = |joiner: &mut Joiner, fact: Fact| {
        let notices = joiner.take(fact);
        let known: Vec<_> =
            notices.iter().map(|notice| (notice.uploaded_as.clone(), notice.fact.event_id.clone())).collect();
        (told(&notices).iter().map(|(what, path, id)| format!("{what} {path} {id}")).collect::<Vec<_>>(), known)
    };
    let known = |name: &str, id: &str| vec![(Some(format!("/lake/{name}")), id.to_owned())];
    // Too many.
    let mut joiner = joiner();
    joiner.most = 1;
    joiner.take(line(0, 1, &upload("a.part")));
    joiner.take(line(1, 2, &upload("b.part")));
    let expected = (vec!["upload /lake/a e3".to_owned()], known("a.part", "e1"));
    assert_eq!(arrived(&mut joiner, line(2, 3, &rename("a.part", "a"))), expected);
    // Too late; by another temporary name, and through a restart.
    assert_eq!(told(&joiner.overdue(i64::MAX)), [("upload", "/lake/b.part", "e2")]);
    assert_eq!(
        told(&joiner.take(line(4, 5, &rename("b.part", "b.tmp")))),
        [("rename", "/lake/b.part", "e5")],
        "who was told of the first name hears of the second"
    );
    let kept = joiner.uploads().map(|upload| serde_json::to_string(upload).unwrap());
    let kept = kept.map(|text| serde_json::from_str(&text).unwrap()).collect();
    let mut joiner = Joiner::new(TemporaryNames::default(), joiner.clock(), kept);
    assert_eq!((joiner.waiting.len(), joiner.told.len()), (0, 1));
    let expected = (vec!["upload /lake/b e6".to_owned()], known("b.part", "e2"));
    assert_eq!(arrived(&mut joiner, line(5, 6, &rename("b.tmp", "b"))), expected);
    assert_eq!(joiner.uploads().count(), 0);
}

#[test]
fn what_was_told_is_forgotten_when_it_is_gone_or_another_one() {
    let mut joiner = joiner();
    let give_up = |joiner: &mut Joiner, second: u32, name: &str| {
        joiner.take(line(second, 1, &upload(name)));
        assert_eq!(joiner.overdue(i64::MAX).len(), 1);
    };
    give_up(&mut joiner, 0, "a.part");
    assert_eq!(told(&joiner.take(line(1, 2, &delete("a.part")))), [("delete", "/lake/a.part", "e2")]);
    assert_eq!(told(&joiner.take(line(2, 3, &rename("a.part", "a")))), [("rename", "/lake/a.part", "e3")]);
    // A newer one under its name waits by itself.
    give_up(&mut joiner, 3, "b.part");
    joiner.take(line(4, 5, &upload("b.part")));
    let notices = joiner.take(line(5, 6, &rename("b.part", "b")));
    assert_eq!((told(&notices), notices[0].fact.event_id.as_str()), (vec![("upload", "/lake/b", "e6")], "e5"));
    // In a folder: the id is its own.
    give_up(&mut joiner, 6, "tmp.part/c.csv.part");
    give_up(&mut joiner, 7, "in/d.part");
    let notices = joiner.take(line(8, 9, &rename("in", "out")));
    assert_eq!(told(&notices), [("rename", "/lake/in", "e9")]);
    assert_eq!(told(&joiner.take(line(9, 10, &rename("out/d.part", "d")))), [("upload", "/lake/d", "e10")]);
    joiner.most_told = 2;
    for n in 0..5 {
        give_up(&mut joiner, 10 + n, &format!("{n}.part"));
    }
    assert_eq!(joiner.told.len(), 2);
}

#[test]
fn who_has_many_waiting_makes_room() {
    let mut joiner = joiner();
    joiner.most = 3;
    let of = |user: &str, number, rest: &str| Fact { user: user.into(), ..line(number, number, rest) };
    joiner.take(of("bob", 1, &upload("bob.part")));
    joiner.take(of("ann", 2, &upload("a.part")));
    joiner.take(of("ann", 3, &upload("b.part")));
    assert_eq!(told(&joiner.take(of("ann", 4, &upload("c.part")))), [("upload", "/lake/a.part", "e2")]);
    assert_eq!(told(&joiner.take(of("eve", 5, &upload("d.part")))), [("upload", "/lake/b.part", "e3")]);
    // Of those with as many, the oldest.
    assert_eq!(told(&joiner.take(of("eve", 6, &upload("e.part")))), [("upload", "/lake/d.part", "e5")]);
    assert_eq!(told(&joiner.take(of("bob", 7, &rename("bob.part", "bob")))), [("upload", "/lake/bob", "e7")]);
}

/// However the lines are cut into processes, the same comes out.
#[test]
fn what_waits_survives_as_it_is() {
    let lines = [
        line(0, 1, &upload("a.part")),
        line(1, 2, &upload("b.csv")),
        line(2, 3, &upload("d/c.part")),
        line(3, 4, &rename("a.part", "a.csv")),
        line(4, 5, &rename("d", "e")),
        line(5, 6, &rename("e/c.part", "c.csv")),
    ];
    let mut whole = joiner();
    let wanted: Vec<Notice> = lines.iter().flat_map(|fact| whole.take(fact.clone())).collect();
    for cut in 0..=lines.len() {
        let mut first = joiner();
        let mut notices: Vec<Notice> = lines[..cut].iter().flat_map(|fact| first.take(fact.clone())).collect();
        let kept = first.uploads().map(|upload| serde_json::to_string(upload).unwrap());
        let kept = kept.map(|text| serde_json::from_str(&text).unwrap()).collect();
        let mut second = Joiner::new(TemporaryNames::default(), first.clock(), kept);
        notices.extend(lines[cut..].iter().flat_map(|fact| second.take(fact.clone())));
        assert_eq!(notices, wanted, "cut after {cut}");
    }
}
