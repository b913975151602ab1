//! `lockgate audit` as an auditor uses it: over files, packed files, streams and stores, with its exit codes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{Finished, LIMIT, run, run_with};
use crate::support::setup::{Setup, User};
use crate::support::trail::{ChainMaker, SigningKey, text};

fn audit(words: &[&str]) -> Command {
    let mut command = lockgate();
    command.arg("audit").args(words);
    command
}

fn ends(command: &mut Command, code: i32) -> Finished {
    let finished = run(command);
    assert_eq!(finished.status.code(), Some(code), "{finished}");
    finished
}

fn packed(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A folder with a trail over three files, one of them packed, and the key: `key.pub`.
fn trail(folder: &Path) -> Vec<String> {
    let mut chain = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    (0..20).for_each(|number| chain.close(&format!("/incoming/{number}.csv")));
    chain.checkpoint("rotation", None);
    let (first, at) = (chain.lines.len(), chain.last());
    let log = folder.join("log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join(format!("events.20260731T080100Z-{at}.gz")), packed(&text(&chain.lines))).unwrap();
    (0..20).for_each(|number| chain.close(&format!("/outgoing/{number}.csv")));
    chain.kill(3, chain.last() - 1, true);
    (0..5).for_each(|number| chain.close(&format!("/last/{number}.csv")));
    chain.checkpoint("rotation", None);
    let (second, at) = (chain.lines.len(), chain.last());
    fs::write(log.join(format!("events.20260731T080200Z-{at}")), text(&chain.lines[first..])).unwrap();
    chain.pass(TimeDelta::days(3));
    (0..4).for_each(|number| chain.close(&format!("/live/{number}.csv")));
    fs::write(log.join("events"), text(&chain.lines[second..])).unwrap();
    fs::write(folder.join("key.pub"), chain.public_pem().unwrap()).unwrap();
    chain.lines
}

#[test]
fn verify_reads_folders_streams_and_says_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let lines = trail(folder.path());
    let (log, key) = (folder.path().join("log"), folder.path().join("key.pub"));
    let (log, key) = (log.to_str().unwrap(), key.to_str().unwrap());
    let report = ends(&mut audit(&["verify", log, "--key", key]), 0);
    for said in [
        "INTACT",
        "sequence 1 to 56: 53 events",
        "4 events after the last checkpoint",
        "in part",
        "43 to 45 may be missing",
    ] {
        assert!(report.stdout.contains(said), "{said}: {report}");
    }
    assert!(ends(&mut audit(&["verify", log]), 0).stdout.contains("NOT CHECKED"));
    ends(&mut audit(&["verify", log, "--key", key, "--whole"]), 1);

    let whole = text(&lines);
    let report = run_with(&mut audit(&["verify", "-", "--json"]), whole.as_bytes(), LIMIT).succeeded();
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["whole"], &report["chains"][0]["cuts"][0]["missing"]), (&json!(true), &json!([43, 45])));

    let live = folder.path().join("log/events");
    let changed = fs::read_to_string(&live).unwrap().replace("/live/1.csv", "/live/7.csv");
    fs::write(&live, changed).unwrap();
    let report = ends(&mut audit(&["verify", log, "--json"]), 1);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["line"], &finding["sequence"]), (&json!("changed"), &json!(2), &json!(54)));
    assert!(field(finding, "file").ends_with("log/events"), "{finding}");
    let gone =
        fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "gz");
    let cut = fs::read(gone.as_ref().unwrap()).unwrap();
    fs::write(gone.unwrap(), &cut[..cut.len() - 20]).unwrap();
    assert!(ends(&mut audit(&["verify", log]), 1).stdout.contains("broken"));
}

#[test]
fn wrong_arguments_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    trail(folder.path());
    let log = folder.path().join("log/events");
    let log = log.to_str().unwrap();
    for (words, code, said) in [
        (&["verify"][..], 2, "SOURCE"),
        (&["verify", "/no/such/file"], 1, "/no/such/file cannot be read"),
        (&["verify", "/dev/null"], 1, "no event"),
        (&["verify", log, "--key", "/no/such/key"], 2, "/no/such/key"),
        (&["verify", log, "--key", log], 2, "BEGIN PUBLIC KEY"),
        (&["verify", "lake:/audit"], 2, "--config"),
        (&["verify", "s3://"], 2, "bucket"),
        (&["verify", "s3://bucket", "--option", "aws_regoin=x"], 2, "aws_regoin"),
        (&["search", log, "--since", "yesterday"], 2, "--since"),
        (&["search", log, "--activity", "FLY"], 2, "CHECKPOINT"),
        (&["search", log, "--address", "10.0.0.1/8"], 2, "10.0.0.0/8"),
        (&["search", log, "--path", "/a["], 2, "--path"),
        (&["search", log, "--status", "fine"], 2, "denied"),
        (&["replay", log], 2, "SOURCE"),
        (&["replay", "x", log], 2, "20 hex digits"),
        (&["replay", "00000000000000000000", log], 1, "no event of the session"),
    ] {
        let finished = ends(&mut audit(words), code);
        assert!(finished.stderr.contains(said), "{words:?}: {finished}");
        assert!(finished.stdout.is_empty(), "{words:?}: {finished}");
    }
}

#[test]
fn search_finds_lines_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let lines = trail(folder.path());
    let log = folder.path().join("log");
    let search = |words: &[&str]| {
        // A kill left a line that breaks off, which is no damage.
        let finished = ends(audit(&["search", log.to_str().unwrap(), "--format", "json"]).args(words), 0);
        assert!(finished.stderr.contains("events.20260731T080200Z-"), "{finished}");
        finished.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let of = |part: &str| lines.iter().filter(|line| line.contains(part)).cloned().collect::<Vec<_>>();
    assert_eq!(search(&["--path", "/outgoing/*"]), of("\"logical-path\":\"/outgoing/"));
    assert_eq!(search(&["--path", "/lake/in/live/?.csv", "--limit", "2"]), of("\"logical-path\":\"/live/")[..2]);
    assert_eq!(search(&["--since", "2026-08-01"]), of("\"logical-path\":\"/live/"));
    assert_eq!(search(&["--activity", "checkpoint"]), of("CHECKPOINT"));
    assert_eq!(
        search(&["--address", "192.0.2.0/24", "--user", "user0001"]).len(),
        lines.len() - of("CHECKPOINT").len() - 1
    );
    assert!(search(&["--address", "198.51.100.0/24"]).is_empty());
    let table = ends(&mut audit(&["search", log.to_str().unwrap(), "--path", "/live/*"]), 0).stdout;
    assert!(table.starts_with("TIME") && table.lines().count() == 5, "{table}");
    assert!(table.contains("2026-08-03 08:00:"), "{table}");
}

/// A store that the configuration names, and a URL whose credentials stand in the environment.
#[test]
fn a_store_is_read_by_its_name_and_by_its_url() {
    let mut setup = Setup::new();
    let store = setup.s3_store("lake");
    let config = setup.write_config();
    let mut chain = ChainMaker::start("edge-1", Some(SigningKey::new(7)));
    let mut from = 0;
    for batch in 0..30 {
        (0..10).for_each(|number| chain.close(&format!("/{batch}/{number}")));
        let hour = chain.time().format("year=%Y/month=%m/day=%d/hour=%H");
        let name = format!("audit/{hour}/edge-1-{:020}-{:020}.ndjson.gz", from + 1, chain.last());
        // As curl takes it in a URL.
        let name = name.replace('=', "%3D");
        assert!(store.put(&name, &[], &packed(&text(&chain.lines[from..]))));
        from = chain.lines.len();
        chain.pass(TimeDelta::hours(1));
    }
    let by_name = ["--config", config.to_str().unwrap(), "lake:/audit"];
    let report = run(audit(&["verify"]).args(by_name)).succeeded();
    assert!(report.stdout.contains("sequence 1 to 301: 301 events") && report.stdout.contains("30 files"), "{report}");

    let options: Value = store.options();
    let mut by_url = audit(&["search", "--format", "json", "--path", "/29/**", "--since", "2026-08-01T12:30:00Z"]);
    by_url.arg(format!("{}/audit", store.url()));
    for (name, value) in options.as_object().unwrap() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if name.contains("secret") {
            by_url.env(name.to_ascii_uppercase(), value);
        } else {
            by_url.arg("--option").arg(format!("{name}={value}"));
        }
    }
    assert_eq!(run(&mut by_url).succeeded().stdout, text(&chain.lines[291..]));
}

/// What the gateway itself wrote: found, and told as a story.
#[test]
fn a_session_of_a_gateway_is_found_and_replayed() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/").set("role", "partners"));
    let events = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": events }]);
    let gateway = setup.start();
    gateway.client("alice", &key).sftp("mkdir /in\nput /etc/hostname /in/f\nrename /in/f /in/g\n").succeeded();
    let told = gateway.events.await_disconnected(1);
    gateway.stop();
    let (session, events) = (field(&told[0], "session-id"), events.to_str().unwrap());

    let found =
        run(&mut audit(&["search", events, "--user", "alice", "--format", "json", "--path", "/in/f"])).succeeded();
    let activities: Vec<Value> = found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(activities.iter().map(|e| field(e, "activity-type")).collect::<Vec<_>>(), ["OPEN", "CLOSE", "RENAME"]);
    let by_key = run(&mut audit(&["search", events, "--fingerprint", field(&told[0], "ssh-public-key-fingerprint")]));
    assert!(by_key.succeeded().stdout.contains("CONNECTED"));

    let story = run(&mut audit(&["replay", session, events])).succeeded().stdout;
    let (fingerprint, client) = (field(&told[0], "ssh-public-key-fingerprint"), field(&told[0], "client"));
    for said in [
        "127.0.0.1",
        "(role partners)",
        fingerprint,
        client,
        "kex ",
        "MKDIR",
        "/in/f → /in/g",
        "bytes in",
        "ended     by: client",
    ] {
        assert!(story.contains(said), "{said}: {story}");
    }
    let story: Value =
        serde_json::from_str(&run(&mut audit(&["replay", session, events, "--json"])).succeeded().stdout).unwrap();
    let replayed: Vec<Value> = story["events"].as_array().unwrap().iter().map(|step| step["event"].clone()).collect();
    assert_eq!(replayed, told);
    assert_eq!((&story["summary"]["user"], &story["summary"]["reason"]), (&json!("alice"), &json!("client")));
}

/// From a question to a session, and from what a partner sent to what is there.
#[test]
fn sessions_are_listed_and_what_was_sent_is_proven() {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let (alice, ben) = (setup.key("alice"), setup.key("ben"));
    for (name, key) in [("alice", &alice), ("ben", &ben)] {
        setup.user(User::new(name).key(key).home("/", &format!("main:/{name}")));
    }
    let events = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": events }]);
    let gateway = setup.start();
    let files = [("q1.pdf", "first"), ("odd name", "second"), ("back\\slash", "third")];
    for (name, content) in files {
        fs::write(setup.folder().join(name), content).unwrap();
    }
    let from = setup.folder().display().to_string();
    let batch = format!(
        "mkdir /in\nput {from}/q1.pdf /in/q1.pdf.part\nrename /in/q1.pdf.part /in/q1.pdf\nput \"{from}/odd name\" \"/in/odd name\"\n\
         put {from}/q1.pdf /in/twice\nput \"{from}/odd name\" /in/twice\nrename /in /done\nget /done/q1.pdf {from}/got\n"
    );
    gateway.client("alice", &alice).sftp(&batch).succeeded();
    gateway.client("ben", &ben).sftp(&format!("put {from}/back* /\nput {from}/q1.pdf /gone\nrm /gone\n")).succeeded();
    gateway.client("alice", &ben).sftp("pwd\n").failed();
    gateway.events.await_disconnected(3);
    gateway.stop();
    let events = events.to_str().unwrap();

    let listed = ends(&mut audit(&["sessions", events, "--format", "json"]), 0).stdout;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.iter().map(|session| field(session, "user")).collect::<Vec<_>>(), ["alice", "ben"]);
    let first = &listed[0];
    assert_eq!((&first["files-in"], &first["files-out"], &first["reason"]), (&json!(4), &json!(1), &json!("client")));
    assert_eq!((&first["bytes-in"], field(first, "key")), (&json!(5 + 6 + 5 + 6), &*alice.fingerprint().0));
    let table = ends(&mut audit(&["sessions", events, "--user", "ben"]), 0).stdout;
    assert!(table.starts_with("BEGAN (UTC)") && table.lines().count() == 2, "{table}");
    assert!(table.contains(&ben.fingerprint().0), "{table}");
    assert_eq!(ends(&mut audit(&["sessions", events, "--all"]), 0).stdout.lines().count(), 4);
    let nobody = ends(&mut audit(&["sessions", events, "--user", "carl"]), 0);
    assert!(nobody.stdout.is_empty() && nobody.stderr.contains("no session matches"), "{nobody}");

    // The first digits of an id are enough, and a name without its folder.
    let (id, short) = (field(first, "session-id"), &field(first, "session-id")[..8]);
    let story = ends(&mut audit(&["replay", short, events]), 0).stdout;
    assert!(story.contains(id) && story.contains("/done/q1.pdf"), "{story}");
    let found = ends(&mut audit(&["search", events, "--session", short, "--path", "q1.pdf"]), 0).stdout;
    assert_eq!(found.lines().count(), 1 + 3, "a head, RENAME, and the download's OPEN and CLOSE: {found}");
    assert!(found.contains(short), "{found}");
    let none = ends(&mut audit(&["search", events, "--path", "q2.pdf"]), 0);
    assert!(none.stdout.is_empty() && none.stderr.contains("no event matches"), "{none}");

    // Programs that nobody here wrote check what is in the store.
    let manifest = |words: &[&str]| ends(audit(&["manifest", events]).args(words), 0).stdout;
    let mine = manifest(&["--user", "alice"]);
    assert_eq!(mine.lines().count(), 1 + 3, "{mine}");
    let check = |user: &str, list: &str, code| {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict", "-"]).current_dir(root.join(user));
        let checked = run_with(&mut command, list.as_bytes(), LIMIT);
        assert_eq!(checked.status.code(), Some(code), "{checked}");
        checked.stdout
    };
    assert_eq!(check("alice", &mine, 0).lines().count(), 3);
    let of_session = manifest(&["--session", short, "--path", "twice"]);
    assert!(
        of_session.lines().count() == 2 && check("alice", &of_session, 0).contains("done/twice: OK"),
        "{of_session}"
    );
    let kept = manifest(&["--user", "ben", "--path", "back*"]);
    assert!(check("ben", &kept, 0).contains("slash: OK"), "{kept}");
    // What was removed was received all the same.
    assert!(manifest(&["--user", "ben"]).contains("  gone"));
    let as_json: serde_json::Value = serde_json::from_str(&manifest(&["--user", "alice", "--format", "json"])).unwrap();
    let with_digest = |file: &&serde_json::Value| file["sha256"].is_string();
    let listed = as_json["files"].as_array().unwrap().iter().filter(with_digest).count();
    assert_eq!(listed, mine.lines().filter(|line| !line.starts_with('#')).count());
    assert_eq!(
        manifest(&["--user", "alice", "--format", "csv"]).lines().count(),
        as_json["files"].as_array().unwrap().len() + 1
    );
    let sent = manifest(&["--user", "alice", "--direction", "sent"]);
    assert!(sent.lines().count() == 2 && check("alice", &sent, 0).contains("done/q1.pdf: OK"), "{sent}");
    fs::write(root.join("alice/done/q1.pdf"), "other").unwrap();
    assert!(check("alice", &mine, 1).contains("done/q1.pdf: FAILED"));
}

/// Evidence of which a part cannot be read is no evidence to rely on, whatever was asked for.
#[test]
fn what_cannot_be_read_is_named_and_the_exit_code_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let lines = trail(folder.path());
    let live = folder.path().join("log/events");
    let log = live.to_str().unwrap();
    let of_session = |event: &Value| event.get("session-id").is_some();
    let mut events = lines.iter().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let last = events.find(of_session).expect("an event of a session in the live file");
    let asked: [&[&str]; 6] = [
        &["search", log],
        &["search", log, "--user", "user0001"],
        &["sessions", log, "--all"],
        &["manifest", log],
        &["report", "--all", log, "--format", "json"],
        &["replay", field(&last, "session-id"), log],
    ];
    let whole = fs::read_to_string(&live).unwrap();
    let answers: Vec<String> = asked.iter().map(|words| run(&mut audit(words)).stdout).collect();
    for words in [&asked[..3], &asked[4..]].concat() {
        ends(&mut audit(words), 0);
    }
    let first = whole.lines().next().unwrap();
    fs::write(&live, format!("{first}\ngarbage\n{}", &whole[first.len() + 1..])).unwrap();
    for (words, answer) in asked.iter().zip(answers) {
        let finished = ends(&mut audit(words), 1);
        assert!(finished.stderr.contains("log/events, line 2: not an event"), "{words:?}: {finished}");
        assert!(
            finished.stderr.contains("incomplete: 1 line or file cannot be read as an event"),
            "{words:?}: {finished}"
        );
        if words[0] != "report" {
            assert_eq!(finished.stdout, answer, "{words:?}");
        }
    }
}

/// The same words as in a sink's filter, with the same meaning.
#[test]
fn failed_logins_and_uploads_are_found_by_the_words_of_a_filter() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, stranger) = (setup.key("alice"), setup.key("stranger"));
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let events = setup.folder().join("events.ndjson");
    let failures = setup.folder().join("failures.ndjson");
    setup.config["events"] = json!([
        { "sink": "stdout" },
        { "sink": "file", "path": events },
        { "sink": "file", "path": failures, "filter": { "status": ["failure"] } },
    ]);
    let gateway = setup.start();
    gateway.client("alice", &key).sftp("put /etc/hostname /f\nmkdir /in\n").succeeded();
    gateway.client("alice", &stranger).sftp("pwd\n").failed();
    gateway.events.await_disconnected(2);
    gateway.stop();
    let events = events.to_str().unwrap();
    let search = |words: &[&str]| ends(audit(&["search", events]).args(words), 0).stdout;
    let found = search(&["--status", "failure", "--format", "json"]);
    assert!(found.contains("AUTH_FAILURE"), "{found}");
    assert_eq!(found, fs::read_to_string(&failures).unwrap());
    let csv = search(&["--operation", "upload", "--operation", "mkdir", "--format", "csv"]);
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert!(
        rows[0].starts_with("\"timestamp\",\"activity-type\",") && rows.len() == 1 + 3 + 1,
        "OPEN, CLOSE and MKDIR: {csv}"
    );
    assert!(csv.contains(&key.fingerprint().0), "{csv}");
    let wrong = ends(&mut audit(&["search", events, "--operation", "OPEN"]), 2);
    assert!(wrong.stderr.contains("upload, download"), "{wrong}");
    let listed = ends(&mut audit(&["sessions", events, "--all", "--format", "json"]), 0).stdout;
    let logins: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["login"].clone()).collect();
    assert_eq!(logins, ["succeeded", "failed"]);
    let table = ends(&mut audit(&["sessions", events, "--all"]), 0).stdout;
    assert!(table.contains("LOGIN") && table.contains(" failed "), "{table}");
}
