//! Reports of made-up trails.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::*;

const LINES: [&str; 12] = [
    r#"{"activity-type":"AUTH_FAILURE","user":"root","reason":"unknown-user","source-ip":"192.0.2.66","timestamp":"2026-07-01T08:00:00.000Z","server":"edge-1"}"#,
    r#"{"activity-type":"AUTH_FAILURE","user":"root","reason":"unknown-user","source-ip":"192.0.2.66","timestamp":"2026-07-01T08:00:01.000Z","server":"edge-1"}"#,
    r#"{"activity-type":"AUTH_FAILURE","user":"ann","reason":"key-not-authorized","ssh-public-key-fingerprint":"SHA256:old","source-ip":"192.0.2.1","timestamp":"2026-07-01T08:00:02.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"CONNECTED","user":"ann","identity":"ann@laptop","ssh-public-key-fingerprint":"SHA256:new","client":"SSH-2.0-x","source-ip":"192.0.2.1","timestamp":"2026-07-01T08:00:03.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"OPEN","user":"ann","operation":"write","status":"success","timestamp":"2026-07-01T08:00:04.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"CLOSE","user":"ann","operation":"write","status":"success","bytes-in":"7","timestamp":"2026-07-01T08:00:05.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"CLOSE","user":"ann","operation":"read","status":"success","bytes-out":"9","timestamp":"2026-07-01T08:00:06.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"PARTIAL_CLOSE","user":"ann","operation":"write","status":"failure","bytes-in":"3","timestamp":"2026-07-01T08:00:07.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"DELETE","user":"ann","status":"denied","logical-path":"/<b>x","message":"not permitted","timestamp":"2026-07-01T08:00:08.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a1","activity-type":"REQUEST_DENIED","user":"ann","request":"shell","message":"files only","timestamp":"2026-07-01T08:00:09.000Z","server":"edge-1"}"#,
    r#"{"session-id":"a2","activity-type":"CONNECTED","user":"ann","identity":"ann@laptop","ssh-public-key-fingerprint":"SHA256:new","source-ip":"198.51.100.7","timestamp":"2026-07-21T08:00:00.000Z","server":"edge-2"}"#,
    r#"{"session-id":"b1","activity-type":"CONNECTED","user":"bob","source-ip":"192.0.2.2","timestamp":"2026-07-22T08:00:00.000Z","server":"edge-2"}"#,
];

fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn report(only: Option<&str>) -> Report {
    let mut collection = Collection::of(only.map(|only| UserPattern::parse(only).unwrap()));
    LINES.iter().for_each(|line| collection.note(&Event::parse(line.as_bytes()).unwrap()));
    collection.finish(moment("2026-08-01T00:00:00Z"), Span::default(), 0)
}

#[test]
fn a_user_is_what_the_events_come_to() {
    let report = report(None);
    let names: Vec<_> = report.users.iter().map(|user| user.user.as_str()).collect();
    assert_eq!((names, report.events), (vec!["ann", "bob"], 12));
    let ann = &report.users[0];
    assert_eq!((ann.logins, ann.failed_logins), (2, 1));
    assert_eq!(ann.failed_logins_by_reason, BTreeMap::from([("key-not-authorized".to_owned(), 1)]));
    assert_eq!((ann.files_in, ann.bytes_in, ann.files_out, ann.bytes_out), (1, 10, 1, 9));
    assert_eq!(
        (ann.cut_off, ann.denied, ann.failed),
        (1, 2, 0),
        "a transfer that was cut off is not a failure as well"
    );
    let keys: Vec<_> = ann.keys.list.iter().map(|key| (key.name.as_str(), key.logins, key.failures)).collect();
    assert_eq!(keys, [("SHA256:new", 2, 0), ("SHA256:old", 0, 1)]);
    assert_eq!(ann.addresses.list.len(), 2);
    assert_eq!(ann.refused[0].path, "shell", "the newest is first");
}

#[test]
fn a_pattern_names_several_users_and_invents_none() {
    let names = |report: &Report| report.users.iter().map(|user| user.user.clone()).collect::<Vec<_>>();
    let fitting = report(Some("[ab]*"));
    assert_eq!(
        (names(&fitting), fitting.pattern.as_deref()),
        (vec!["ann".to_owned(), "bob".to_owned()], Some("[ab]*"))
    );
    assert_eq!(names(&report(Some("b*"))), ["bob"]);
    let none = report(Some("dep*"));
    assert_eq!((names(&none).len(), none.events), (0, 0));
    // A name is listed in any case: nobody by that name was seen.
    let one = report(Some("dora"));
    assert_eq!((names(&one), one.pattern), (vec!["dora".to_owned()], None));
}

#[test]
fn a_jump_is_no_second_login_and_a_file_that_stayed_as_it_was_no_upload() {
    let line = |more: &str| {
        format!(
            r#"{{"session-id":"t1","user":"ann","status":"success","timestamp":"2026-07-21T08:00:01.000Z",{more}}}"#
        )
    };
    let at_target = r#""activity-type":"CONNECTED","jump-session-id":"a2","source-ip":"198.51.100.7","ssh-public-key-fingerprint":"SHA256:new""#;
    let unchanged = r#""activity-type":"CLOSE","operation":"write","bytes-in":"0","unchanged":true"#;
    let mut collection = Collection::of(None);
    for line in LINES.map(str::to_owned).into_iter().chain([line(at_target), line(unchanged)]) {
        collection.note(&Event::parse(line.as_bytes()).unwrap());
    }
    let report = collection.finish(moment("2026-08-01T00:00:00Z"), Span::default(), 0);
    let ann = &report.users[0];
    assert_eq!((ann.logins, ann.jumps, ann.files_in), (2, 1, 1));
    assert_eq!((ann.keys.list[0].logins, ann.addresses.list[1].logins), (2, 1), "{ann:?}");
    let mut table = Vec::new();
    write_csv(&report, &mut table).unwrap();
    let mut rows = csv::Reader::from_reader(table.as_slice());
    let place = rows.headers().unwrap().iter().position(|name| name == "jumps").unwrap();
    assert_eq!(&rows.records().next().unwrap().unwrap()[place], "1");
}

/// What is recorded only once the user was found: nobody of these is a name that belongs to nobody.
#[test]
fn a_user_who_only_fails_is_a_user_by_every_reason_that_follows_the_name() {
    let of_user = [
        "key-not-authorized",
        "key-expired",
        "key-revoked",
        "touch-missing",
        "verification-missing",
        "bad-code",
        "code-used",
        "too-many-codes",
        "bad-signature",
        "offered-not-signed",
        "user-disabled",
        "user-expired",
        "too-many-sessions",
        "source-not-allowed",
        "certificate-not-trusted",
        "certificate-not-for-users",
        "certificate-option-refused",
        "principal-not-allowed",
        "second-factor-missing",
        "second-factor-not-set",
        "login-refused",
        "trail-unavailable",
    ];
    let of_anybody = ["unknown-user", "bad-password", "malformed", "banned", "certificate-forged", "of-tomorrow"];
    for (reason, is_user) in
        of_user.map(|reason| (reason, true)).into_iter().chain(of_anybody.map(|reason| (reason, false)))
    {
        let mut collection = Collection::of(None);
        let line = format!(r#"{{"activity-type":"AUTH_FAILURE","user":"dora","reason":"{reason}"}}"#);
        collection.note(&Event::parse(line.as_bytes()).unwrap());
        let report = collection.finish(Utc::now(), Span::default(), 0);
        assert_eq!((report.users.len(), report.strangers.len()), if is_user { (1, 0) } else { (0, 1) }, "{reason}");
    }
}

#[test]
fn silence_is_the_time_between_sessions_and_up_to_the_end() {
    let report = report(None);
    let ann = &report.users[0];
    assert_eq!((ann.active_days, ann.silent_days, ann.longest_silence_days), (2, Some(10), 19));
    let mut collection = Collection::of(Some(UserPattern::exactly("ann")));
    LINES.iter().for_each(|line| collection.note(&Event::parse(line.as_bytes()).unwrap()));
    let until = Span { since: None, until: Some(moment("2026-07-23T00:00:00Z")) };
    let report = collection.finish(moment("2026-08-01T00:00:00Z"), until, 0);
    assert_eq!(report.users[0].silent_days, Some(1), "what lies after the time that was asked for is no silence");
}

#[test]
fn trails_that_are_read_one_after_the_other_make_no_silence() {
    let mut collection = Collection::of(None);
    let line = |id: &str, day: &str| LINES[10].replace("a2", id).replace("07-21", day);
    let denied = |day: &str| LINES[8].replace("07-01", day).replace("/<b>x", day);
    for line in [line("x1", "07-01"), denied("07-31"), line("x2", "07-31"), line("x3", "07-10"), denied("07-10")] {
        collection.note(&Event::parse(line.as_bytes()).unwrap());
    }
    let report = collection.finish(moment("2026-08-01T00:00:00Z"), Span::default(), 0);
    let ann = &report.users[0];
    assert_eq!((ann.longest_silence_days, ann.silent_days, ann.active_days), (20, Some(0), 3));
    assert_eq!(ann.refused.iter().map(|refused| refused.path.as_str()).collect::<Vec<_>>(), ["07-31", "07-10"]);
}

#[test]
fn a_stranger_who_tries_a_name_is_no_sign_of_its_user() {
    let mut collection = Collection::of(None);
    let end = r#"{"session-id":"c9","activity-type":"DISCONNECTED","user":"bob","reason":"client","timestamp":"2026-07-30T08:00:00.000Z"}"#;
    for line in [LINES[11], end] {
        collection.note(&Event::parse(line.as_bytes()).unwrap());
    }
    let report = collection.finish(moment("2026-08-01T00:00:00Z"), Span::default(), 0);
    assert_eq!(report.users[0].last_seen, Some(moment("2026-07-22T08:00:00Z")));
    let own = end.replace("c9", "b1");
    let mut collection = Collection::of(None);
    for line in [LINES[11], &own] {
        collection.note(&Event::parse(line.as_bytes()).unwrap());
    }
    let report = collection.finish(moment("2026-08-01T00:00:00Z"), Span::default(), 0);
    assert_eq!(report.users[0].last_seen, Some(moment("2026-07-30T08:00:00Z")));
}

#[test]
fn a_name_without_a_user_is_no_user_unless_it_is_asked_for() {
    assert_eq!(report(None).strangers, [Stranger { name: "root".to_owned(), attempts: 2 }]);
    let quiet = report(Some("carol"));
    assert_eq!((quiet.users.len(), quiet.users[0].silent_days, quiet.events), (1, None, 0));
    assert_eq!(report(Some("bob")).users.len(), 1);
}

#[test]
fn the_page_escapes_what_clients_wrote() {
    let mut page = Vec::new();
    write_html(&report(None), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("/&lt;b&gt;x") && !page.contains("<b>"), "{page}");
    assert!(page.contains("Activity of all users") && page.contains("SHA256:new"));
    assert!(!page.contains("http://") && !page.contains("https://"), "it loads nothing");
}

#[test]
fn the_table_has_a_row_for_each_user_and_no_formulas() {
    let mut collection = Collection::of(None);
    let line = LINES[11].replace("\"bob\"", "\"=cmd|' /C calc'!A0,\\\"x\\\"\"");
    collection.note(&Event::parse(line.as_bytes()).unwrap());
    let mut table = Vec::new();
    write_csv(&collection.finish(Utc::now(), Span::default(), 0), &mut table).unwrap();
    let mut rows = csv::Reader::from_reader(table.as_slice());
    let columns = rows.headers().unwrap().len();
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!((rows.len(), rows[0].len()), (1, columns));
    assert_eq!(&rows[0][0], "'=cmd|' /C calc'!A0,\"x\"");
}

#[test]
fn names_and_keys_without_end_are_bounded() {
    let mut collection = Collection::of(None);
    for n in 0..12_000 {
        let stranger = format!(r#"{{"activity-type":"AUTH_FAILURE","user":"n{n}","reason":"unknown-user"}}"#);
        let known = format!(
            r#"{{"activity-type":"AUTH_FAILURE","user":"ann","reason":"key-not-authorized","ssh-public-key-fingerprint":"SHA256:{n}"}}"#
        );
        [stranger, known].iter().for_each(|line| collection.note(&Event::parse(line.as_bytes()).unwrap()));
    }
    let report = collection.finish(Utc::now(), Span::default(), 0);
    assert_eq!((report.strangers.len(), report.attempts_of_other_strangers), (20, 11_980));
    let keys = &report.users[0].keys;
    assert_eq!((keys.list.len(), keys.of_others), (1000, 11_000));
}
