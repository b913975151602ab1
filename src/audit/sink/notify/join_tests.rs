//! Uploads under temporary names and what becomes of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::audit::sink::notify::TEMPORARY_WITHIN;

fn joiner() -> Joiner {
    Joiner::new(TemporaryNames::default(), Vec::new())
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
    let notices = joiner.take(line(within, 3, &upload("c.csv")));
    assert_eq!(told(&notices), [("upload", "/lake/a.part", "e1"), ("upload", "/lake/c.csv", "e3")]);
    let due = joiner.due().unwrap();
    assert!(joiner.overdue(due - 1).is_empty());
    assert_eq!(told(&joiner.overdue(due)), [("upload", "/lake/b.part", "e2")]);
    // By now it is a file like others.
    assert_eq!(told(&joiner.take(line(within + 9, 4, &rename("b.part", "b")))), [("rename", "/lake/b.part", "e4")]);
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
    assert_eq!(joiner.uploads().count(), 2);
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
        let mut second = Joiner::new(TemporaryNames::default(), kept);
        notices.extend(lines[cut..].iter().flat_map(|fact| second.take(fact.clone())));
        assert_eq!(notices, wanted, "cut after {cut}");
    }
}
