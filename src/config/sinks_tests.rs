//! Sinks that send elsewhere, filters and formats: what they become, and what is said of wrong ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use super::tests::{assert_problems, problems, read_text, with};
use crate::audit::{
    BatchSettings, Encoding, Format, Framing, Fsync, OcsfVersion, SinkSettings, SinkTarget, SyslogAddress,
};

fn sinks(events: &str) -> Vec<SinkSettings> {
    let settings = read_text(&with(&format!("users: []\nevents:\n  - {events}\n")));
    settings.unwrap_or_else(|problems| panic!("{problems}")).audit.sinks
}

fn sink(sink: &str) -> SinkTarget {
    sinks(sink).remove(0).target
}

#[track_caller]
fn wrong(events: &str, wanted: &[(&str, &str)]) {
    assert_problems(&with(&format!("users: []\nevents: [{events}]\n")), wanted);
}

#[test]
fn a_store_sink_has_its_defaults_and_takes_all_keys() {
    let SinkTarget::Store(store) = sink("{ sink: store, target: 'local:/audit/', spool: spool }") else { panic!() };
    assert_eq!((store.place.store.as_str(), store.place.folder.as_str()), ("local", "audit"));
    assert_eq!(store.spool.folder, Path::new("/etc/lockgate/spool"));
    assert_eq!((store.spool.limit, store.spool.fsync), (1 << 30, Fsync::Every(Duration::from_secs(1))));
    let minute = Duration::from_secs(60);
    assert_eq!(store.spool.batch, BatchSettings { events: 10_000, size: 8 << 20, age: minute });
    let all = "{ sink: store, target: 'local:/', spool: /s, spool_limit: 64MiB, fsync: batch, batch: { events: 5, size: 1MiB, age: 2s } }";
    let SinkTarget::Store(store) = sink(all) else { panic!() };
    assert_eq!((store.place.folder.as_str(), store.spool.limit, store.spool.fsync), ("", 64 << 20, Fsync::Batch));
    assert_eq!(store.spool.batch, BatchSettings { events: 5, size: 1 << 20, age: Duration::from_secs(2) });
}

#[test]
fn a_syslog_sink_has_its_defaults_and_takes_all_keys() {
    let SinkTarget::Syslog(syslog) = sink("{ sink: syslog, address: 'tcp://log.example.org:601' }") else { panic!() };
    assert_eq!((syslog.facility, syslog.app_name.as_str(), syslog.framing), (10, "lockgate", Framing::OctetCounting));
    assert_eq!(syslog.timeout, Duration::from_secs(10));
    let all = "{ sink: syslog, address: 'tls://[::1]:6514', ca_file: ca.pem, facility: local7, app_name: sftp, \
               framing: newline, timeout: 3s }";
    let SinkTarget::Syslog(syslog) = sink(all) else { panic!() };
    let SyslogAddress::Tls { to, ca_file } = &syslog.address else { panic!() };
    assert_eq!((to.to_string().as_str(), ca_file.as_deref()), ("[::1]:6514", Some(Path::new("/etc/lockgate/ca.pem"))));
    assert_eq!((syslog.facility, syslog.app_name.as_str(), syslog.framing), (23, "sftp", Framing::Newline));
}

#[test]
fn an_http_sink_has_its_defaults_and_takes_all_keys() {
    let SinkTarget::Http(http) = sink("{ sink: http, url: 'https://c.example.org/in', spool: s }") else { panic!() };
    assert_eq!((http.encoding, http.gzip, http.headers.len()), (Encoding::Ndjson, false, 0));
    let five = Duration::from_secs(5);
    assert_eq!(http.spool.batch, BatchSettings { events: 1000, size: 1 << 20, age: five });
    let all = "{ sink: http, url: 'http://c/?k=geheim', headers: { X-Key: geheim }, encoding: array, gzip: true, \
               timeout: 5s, spool: s, batch: { events: 7 } }";
    let SinkTarget::Http(http) = sink(all) else { panic!() };
    assert_eq!((http.encoding, http.gzip, http.headers.len(), http.timeout), (Encoding::Array, true, 1, five));
    assert_eq!(http.url.name, "http://c/");
    assert!(!format!("{http:?}").contains("geheim"), "{http:?}");
}

#[test]
fn collectors_of_one_host_have_names_of_their_own() {
    let names = |urls: &[&str]| {
        let one = |(number, url): (usize, &&str)| format!("{{ sink: http, url: '{url}', spool: s{number} }}");
        let all: Vec<String> = urls.iter().enumerate().map(one).collect();
        let name = |sink: &SinkSettings| match &sink.target {
            SinkTarget::Http(http) => http.url.name.clone(),
            other => panic!("{other:?}"),
        };
        sinks(&all.join("\n  - ")).iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["https://c/geheim/a", "https://d/b"]), ["https://c/…", "https://d/…"]);
    let both = names(&["https://c/geheim/a", "https://c/geheim/b", "https://d/b", "https://c/geheim/a"]);
    assert!(both.iter().all(|name| !name.contains("geheim")), "{both:?}");
    assert!(both[0].starts_with("https://c/… (") && both[0] != both[1], "{both:?}");
    assert_eq!((&both[2], &both[3]), (&"https://d/…".to_owned(), &both[0]), "the same as long as the URL is");
    assert_eq!(names(&["https://c/geheim/b", "https://c/geheim/a"]), [both[1].clone(), both[0].clone()]);
}

#[test]
fn filters_and_formats_are_of_any_sink() {
    let all = "{ sink: stdout, format: ocsf, filter: { activities: [OPEN, CLOSE], except: [CLOSE], users: ['p-*'], status: [denied] } }";
    let shape = sinks(all).remove(0).shape;
    assert_eq!(shape.format, Format::Ocsf(OcsfVersion::V1_4));
    let newer = sinks("{ sink: stdout, format: ocsf, version: '1.8' }").remove(0).shape;
    assert_eq!(newer.format, Format::Ocsf(OcsfVersion::V1_8));
    assert_eq!(shape.filter.activities.as_deref(), Some(&["OPEN".to_owned(), "CLOSE".to_owned()][..]));
    assert_eq!((shape.filter.except.len(), shape.filter.status.as_deref().map(<[_]>::len)), (1, Some(1)));
    assert!(shape.filter.users.is_some_and(|users| users.is_match("p-7") && !users.is_match("q")));
}

#[test]
fn wrong_sinks_are_told_where_and_what_would_be_right() {
    wrong(
        "{ sink: store, target: 'lok:/a', spool: s }, { sink: store, target: 'local:/${user}', spool: t }, \
         { sink: store, spool: u, batch: { events: 0, age: 10ms } }, { sink: store, target: 'local:/b' }, \
         { sink: store, target: 'local:/c', spool: v, spool_limit: 16MiB, batch: { size: 32MiB } }, \
         { sink: store, target: 'local:/d', spool: w, fsync: sometimes }",
        &[
            ("events[0].target", "no store named \"lok\""),
            ("events[1].target", "is not replaced here"),
            ("events[2].target", "is missing"),
            ("events[2].batch.events", "must be from 1"),
            ("events[2].batch.age", "must be from 1s"),
            ("events[3]", "`spool` is missing"),
            ("events[4]", "`batch.size` is larger than `spool_limit` allows"),
            ("events[5].fsync", "write never, batch, or a duration"),
        ],
    );
    wrong(
        "{ sink: syslog, address: 'udp://a:514' }, { sink: syslog, address: 'tcp://a:1', ca_file: x, facility: locl0 }, \
         { sink: syslog, address: 'unix:/dev/log', framing: newline, app_name: 'a b' }, { sink: syslog, path: x }",
        &[
            ("events[0].address", "write tcp://HOST:PORT"),
            ("events[1].ca_file", "only tls:// uses authorities"),
            ("events[1].facility", "did you mean \"local0\"?"),
            ("events[2].framing", "framing cannot be chosen"),
            ("events[2].app_name", "printable ASCII"),
            ("events[3].address", "is missing"),
            ("events[3].path", "unknown key"),
        ],
    );
    wrong(
        "{ sink: http, url: 'ftp://geheim/', spool: a, headers: { 'Content-Length': 1 } }, \
         { sink: http, url: 'http://a/', spool: b, timeout: 0s }, { sink: http, url: 'http://c/', spool: ./b }",
        &[
            ("events[0].url", "write https://HOST/PATH"),
            ("events[0].headers.Content-Length", "is set from the body"),
            ("events[1].timeout", "must be from 1s"),
            ("events[2]", "the same spool"),
        ],
    );
    wrong(
        "{ sink: stdout, format: ocfs, filter: { activities: [OPNE], users: ['[a'], status: [bad], except: [], x: 1 } }",
        &[
            ("events[0].format", "did you mean \"ocsf\"?"),
            ("events[0].filter.activities[0]", "did you mean \"OPEN\"?"),
            ("events[0].filter.users[0]", "is not a pattern"),
            ("events[0].filter.status[0]", "is not one of"),
            ("events[0].filter.except", "is empty"),
            ("events[0].filter.x", "unknown key"),
        ],
    );
}

#[test]
fn no_problem_repeats_a_credential() {
    let text = "users: []\nevents: [{ sink: http, url: 'mailto:geheim-1', spool: s, headers: { A: \"geheim-2\\n\", \"geheim b\": c } }]";
    let all = problems(&with(text)).join("\n");
    assert!(!all.contains("geheim-"), "{all}");
    assert!(all.contains("events[0].headers.A"), "{all}");
}

#[test]
fn no_user_may_change_the_objects_of_a_store_sink() {
    let text = |target: &str, permissions: &str| {
        with(&format!(
            "users: [{{ name: anna, password_hash: '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$3m4h7oR1kq9mJm2s0cQeXv8bB6uYt5wLzN1pDfGhIjA', \
             auth: password, home: [{{ entry: /, target: '{target}', permissions: {permissions} }}] }}]\n\
             events: [{{ sink: store, target: 'local:/audit', spool: s }}]\n"
        ))
    };
    for inside in ["local:/", "local:/audit", "local:/audit/${user}"] {
        assert_problems(&text(inside, "read_write"), &[("events[0].target", "inside the home of the user \"anna\"")]);
        assert_problems(&text(inside, "[list, delete]"), &[("events[0].target", "choose another folder")]);
        // An auditor may look.
        read_text(&text(inside, "read_only")).unwrap();
    }
    read_text(&text("local:/audits", "read_write")).unwrap();
}

#[test]
fn notifications_have_defaults_of_their_own() {
    let all = "{ sink: http, url: 'https://c/', spool: s, format: cloudevents, on_failure: continue }";
    let sink = sinks(all).remove(0);
    let SinkTarget::Http(http) = &sink.target else { panic!() };
    assert_eq!(
        (sink.shape.format, http.encoding, http.spool.batch.age.as_secs()),
        (Format::CloudEvents, Encoding::Single, 1)
    );
    assert_eq!((http.give_up_after, http.signing.len()), (Some(Duration::from_secs(3600)), 0));
    assert_eq!(sink.shape.temporary.within, Duration::from_secs(600));
    assert!(sink.shape.temporary.patterns.iter().any(|pattern| pattern.fits("/lake/in/a.csv.filepart")));
    // Operations wait for it: it never gives up.
    let required = sinks("{ sink: http, url: 'https://c/', spool: s, format: eventbridge, encoding: array }").remove(0);
    let SinkTarget::Http(http) = &required.target else { panic!() };
    assert_eq!((http.give_up_after, http.encoding), (None, Encoding::Array));
    let both =
        "{ sink: http, url: 'https://c/', spool: s, format: eventbridge, on_failure: refuse, give_up_after: 1m }";
    let SinkTarget::Http(http) = sinks(both).remove(0).target else { panic!() };
    assert_eq!(http.give_up_after, Some(Duration::from_secs(60)));

    let all = "{ sink: http, url: 'https://c/', spool: s, format: eventbridge, on_failure: continue, give_up_after: 5m, \
               batch: { age: 7s }, temporary_names: ['*.x', '/in/.*'], temporary_within: 1m, \
               signing: { secret: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk='] }, \
               filter: { paths: ['/in/**'], operations: [upload, rename] } }";
    let sink = sinks(all).remove(0);
    let SinkTarget::Http(http) = &sink.target else { panic!() };
    assert_eq!(
        (http.give_up_after, http.signing.len(), http.spool.batch.age.as_secs()),
        (Some(Duration::from_secs(300)), 2, 7)
    );
    assert_eq!((sink.shape.temporary.patterns.len(), sink.shape.temporary.within.as_secs()), (2, 60));
    let filter = &sink.shape.filter;
    assert_eq!((filter.paths.as_ref().map(Vec::len), filter.operations.as_ref().map(Vec::len)), (Some(1), Some(2)));
    assert!(!format!("{sink:?}").contains("MfKQ9"), "{sink:?}");
}

#[test]
fn wrong_notifications_are_told_where_and_what_would_be_right() {
    wrong(
        "{ sink: stdout, format: ecs, version: '1.8' }, { sink: file, path: /e, format: ocsf, version: '1.5' }",
        &[("events[0].version", "only `format: ocsf`"), ("events[1].version", "\"1.4\"")],
    );
    wrong(
        "{ sink: stdout, format: cloudevents }, \
         { sink: http, url: 'http://a/', spool: a, format: cloudevents, encoding: ndjson, filter: { activities: [CLOSE], operations: [uplod], paths: ['[a'] } }, \
         { sink: http, url: 'http://b/', spool: b, encoding: single, temporary_names: ['*.x'], temporary_within: 1m }, \
         { sink: http, url: 'http://c/', spool: c, gzip: true, give_up_after: 1h, headers: { Webhook-Id: x }, signing: { secret: geheim } }, \
         { sink: http, url: 'http://d/', spool: d, signing: { secret: [] } }, \
         { sink: http, url: 'http://e/', spool: e, signing: {} }",
        &[
            ("events[0].format", "only the sinks `http` and `store`"),
            ("events[1].encoding", "`single` or `array`"),
            ("events[1].filter.activities[0]", "notifications have no activities"),
            ("events[1].filter.operations[0]", "did you mean \"upload\"?"),
            ("events[1].filter.paths[0]", "is not a pattern"),
            ("events[2].encoding", "only notifications are sent in single requests"),
            ("events[2].temporary_names[0]", "only notifications have"),
            ("events[2].temporary_within", "only notifications have"),
            ("events[3].headers.Webhook-Id", "`signing` sets this header"),
            ("events[3].give_up_after", "`on_failure: continue` too"),
            ("events[3].signing.secret", "are not compressed"),
            ("events[3].signing.secret", "24 to 64"),
            ("events[4].signing.secret", "leave `signing` out"),
            ("events[5].signing.secret", "is missing"),
        ],
    );
}

/// A chain that no sink holds whole can be verified by nobody.
#[test]
fn a_kept_chain_needs_a_sink_that_holds_all_of_it() {
    let filtered = "{ sink: stdout, filter: { except: [LIST] } }";
    let translated = "{ sink: file, path: /e, format: ocsf }";
    let config = |sinks: &str| with(&format!("users: []\naudit: {{ folder: /a }}\nevents: [{sinks}]\n"));
    assert_problems(
        &config(&format!("{filtered}, {translated}")),
        &[("audit.folder", "no sink holds the whole trail")],
    );
    assert!(read_text(&config(&format!("{filtered}, {{ sink: file, path: /e }}"))).is_ok());
    assert!(read_text(&with(&format!("users: []\nevents: [{filtered}]\n"))).is_ok());
}
