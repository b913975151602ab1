//! Who is behind a shared account: told apart in every event of the session.

use std::fs;

use serde_json::{Value, json};

use crate::certificates::sign;
use crate::support::events::{field, types};
use crate::support::gateway::lockgate;
use crate::support::process::run;
use crate::support::provider::{Provider, Reply};
use crate::support::setup::{Setup, User};

#[test]
fn two_people_who_share_an_account_are_told_apart_file_by_file() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (authority, of_ann, of_ben) = (setup.key("authority"), setup.key("ann"), setup.key("ben"));
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    setup.user(User::new("deploy").home("/", "main:/deploy").key(&of_ben));
    let gateway = setup.start();
    let file = setup.folder().join("file");
    fs::write(&file, "content").unwrap();
    let session = |name: &str| {
        format!(
            "put {} /{name}\nrename /{name} /{name}2\nrm /{name}2\nmkdir /of-{name}\nls /\n-get /none\n",
            file.display()
        )
    };
    let certificate = sign(setup.folder(), "good", &authority, &of_ann, &["-I", "ann@corp", "-n", "deploy"]);
    let by_certificate = gateway.client("deploy", &of_ann).with(&format!("CertificateFile={}", certificate.display()));
    by_certificate.sftp(&session("a"));
    gateway.events.await_disconnected(1);
    let by_key = gateway.client("deploy", &of_ben);
    by_key.sftp(&session("b"));
    by_key.ssh(&[], &["whoami"]).failed();
    gateway.events.await_disconnected(3);
    let events = gateway.events.all();
    gateway.stop();
    let sessions: Vec<&str> =
        events.iter().filter(|event| is_login(event)).map(|event| field(event, "session-id")).collect();
    assert_eq!(sessions.len(), 3, "{events:#?}");
    let people = [
        ("ann@corp", of_ann.fingerprint().0),
        ("ben@tests", of_ben.fingerprint().0),
        ("ben@tests", of_ben.fingerprint().0),
    ];
    for (session, (identity, fingerprint)) in sessions.iter().zip(&people) {
        let all: Vec<Value> = events.iter().filter(|event| field(event, "session-id") == *session).cloned().collect();
        for event in &all {
            assert_eq!(
                (field(event, "identity"), field(event, "ssh-public-key-fingerprint")),
                (*identity, &**fingerprint),
                "{event}"
            );
        }
        if session != sessions.last().unwrap() {
            let seen = types(&all);
            for activity in ["CONNECTED", "OPEN", "CLOSE", "RENAME", "DELETE", "MKDIR", "LIST", "DISCONNECTED"] {
                assert!(seen.contains(&activity), "{activity} is not in {seen:?}");
            }
        } else {
            assert!(types(&all).contains(&"REQUEST_DENIED"), "{all:#?}");
        }
    }
    // The trail answers without a join.
    let search = |words: &[&str]| {
        let lines =
            run(lockgate().args(["audit", "search", "--format", "json"]).args(words).arg(&trail)).succeeded().stdout;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let closed = search(&["--identity", "ann@corp", "--activity", "CLOSE"]);
    assert_eq!(closed.iter().map(|event| field(event, "logical-path")).collect::<Vec<_>>(), ["/a"]);
    let closed = search(&["--key", &of_ben.fingerprint().0, "--activity", "CLOSE"]);
    assert_eq!(closed.iter().map(|event| field(event, "logical-path")).collect::<Vec<_>>(), ["/b"]);
    assert!(search(&["--identity", "ann"]).is_empty());
    let table = run(lockgate().args(["audit", "sessions"]).arg(&trail)).succeeded().stdout;
    assert!(table.contains("ann@corp SHA256:") && table.contains("ben@tests SHA256:"), "{table}");
}

fn is_login(event: &Value) -> bool {
    field(event, "activity-type") == "CONNECTED"
}

#[test]
fn an_identity_provider_names_the_person_behind_a_password() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let answer = json!({ "Role": "r", "Identity": "Ann B. <ann@corp>", "HomeDirectory": "/main/deploy" });
    let provider = Provider::start(move |_| Reply::Json(answer.clone()));
    setup.config["users_from"] = json!({ "http": { "url": provider.url() } });
    let gateway = setup.start();
    gateway
        .keyless("deploy")
        .password("right")
        .with("PreferredAuthentications=password")
        .sftp("mkdir /d\n")
        .succeeded();
    let events = gateway.events.await_disconnected(1);
    assert_eq!(types(&events), ["CONNECTED", "MKDIR", "DISCONNECTED"], "{events:#?}");
    for event in &events {
        assert_eq!((field(event, "identity"), field(event, "ssh-public-key-fingerprint")), ("Ann B. <ann@corp>", ""));
    }
    gateway.stop();
}
