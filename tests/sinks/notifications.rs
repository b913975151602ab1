//! Notifications of finished files, seen from the receiver: one for each, in order, once a rename gave it its name; signed; over
//! deaths and refusals.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::Place;
use super::collector::{Collector, Post};
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::process::{LIMIT, Running, program, run, run_with, tool, until};

const OLD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=";

fn sink(place: &Place, collector: &Collector, more: Value) -> Value {
    let url = format!("http://127.0.0.1:{}/hook", collector.port);
    let spool = place.setup.folder().join("spool");
    let mut sink =
        json!({ "sink": "http", "url": url, "spool": spool, "format": "cloudevents", "on_failure": "continue" });
    for (key, value) in more.as_object().expect("keys") {
        sink[key] = value.clone();
    }
    json!([sink])
}

/// A session of one user, with a local file of some bytes.
#[track_caller]
fn session(place: &Place, gateway: &Gateway, script: &str) {
    let file = place.setup.folder().join("some.csv");
    fs::write(&file, "a,b\n1,2\n").unwrap();
    let script = script.replace("FILE", file.to_str().unwrap());
    gateway.client("alice", &place.key).sftp(&script).succeeded();
}

fn events(posts: &[Post]) -> Vec<Value> {
    posts.iter().map(|post| serde_json::from_slice(&post.body).expect("JSON")).collect()
}

/// The kind and the file of each notification that was taken.
fn told(collector: &Collector) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events(&collector.taken()).iter().map(|event| (text(&event["type"]), text(&event["subject"]))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(kind, file)| (format!("lockgate.{kind}"), format!("/main{file}"))).collect()
}

#[test]
fn each_finished_file_is_told_once_and_in_order() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &collector, json!({})));
    let gateway = place.setup.start();
    let script = "put FILE /a.csv.filepart\nrename /a.csv.filepart /a.csv\nput FILE /b.csv\nget /b.csv /dev/null\n\
                  rename /b.csv /c.csv\nmkdir /d\nrmdir /d\nrm /c.csv\n";
    session(&place, &gateway, script);
    gateway.client("alice", &place.key).sftp("rm /none.csv\n").failed();
    gateway.stop();
    let wanted = [
        ("file.upload.completed", "/a.csv"),
        ("file.upload.completed", "/b.csv"),
        ("file.download.completed", "/b.csv"),
        ("file.rename.completed", "/c.csv"),
        ("directory.create.completed", "/d"),
        ("directory.delete.completed", "/d"),
        ("file.delete.completed", "/c.csv"),
        ("file.delete.failed", "/none.csv"),
    ];
    assert_eq!(told(&collector), pairs(&wanted));
    let recorded: Vec<Value> = place.recorded().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (post, event) in collector.taken().iter().zip(events(&collector.taken())) {
        assert_eq!(post.header("content-type"), Some("application/cloudevents+json"));
        assert!(recorded.iter().any(|line| line["event-id"] == event["id"]), "{event}");
    }
    let arrival = &events(&collector.taken())[0];
    let close = recorded.iter().find(|line| line["activity-type"] == "CLOSE").unwrap();
    assert_eq!((&arrival["data"]["sha256"], &arrival["data"]["bytes"]), (&close["sha256"], &json!(8)));
    assert_eq!(arrival["data"]["uploaded-as"], "/main/a.csv.filepart");
}

/// A real client that uploads under temporary names, over several connections.
#[test]
fn what_lftp_uploads_arrives_under_its_final_names() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &collector, json!({ "filter": { "operations": ["upload", "rename"] } })));
    let gateway = place.setup.start();
    let folder = place.setup.subfolder("tree");
    for name in ["one.csv", "two.csv", "three.csv"] {
        fs::write(folder.join(name), vec![b'x'; 100_000]).unwrap();
    }
    let client = gateway.client("alice", &place.key).command("ssh");
    let words = client.get_args().map(|word| word.to_string_lossy().into_owned());
    let ssh: Vec<String> = std::iter::once("ssh -a -x".to_owned()).chain(words).collect();
    let script = format!(
        "set cmd:fail-exit true; set net:max-retries 1; set net:timeout 600; set xfer:use-temp-file true; \
         set sftp:connect-program \"{}\"; open -u alice, sftp://127.0.0.1:{}; mirror --reverse --parallel=3 {} /in",
        ssh.join(" "),
        gateway.port,
        folder.display()
    );
    run(program("lftp").env("LFTP_HOME", place.setup.folder()).args(["--norc", "-c", &script])).succeeded();
    gateway.stop();
    let mut told = told(&collector);
    told.sort();
    let wanted = ["/in/one.csv", "/in/three.csv", "/in/two.csv"].map(|file| ("file.upload.completed", file));
    assert_eq!(told, pairs(&wanted));
    let as_temporary = |event: &Value| event["data"]["uploaded-as"].as_str().is_some_and(|name| name.contains("/.in."));
    assert!(events(&collector.taken()).iter().all(as_temporary), "{:#?}", events(&collector.taken()));
}

/// The one that waits for its name outlives the process.
#[test]
fn a_kill_between_an_upload_and_its_rename_leaves_one_arrival() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.setup.local_store("disk");
    place.setup.config["users"][0]["home"] = json!([{ "entry": "/", "target": "disk:/" }]);
    place.sinks(sink(&place, &collector, json!({ "on_failure": "refuse" })));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv.part\nmkdir /d\n");
    until("what comes after the upload", LIMIT, || (!collector.taken().is_empty()).then_some(()));
    gateway.kill();
    let gateway = place.setup.start();
    session(&place, &gateway, "rename /a.csv.part /a.csv\n");
    gateway.stop();
    let wanted = [("directory.create.completed", "/d"), ("file.upload.completed", "/a.csv")];
    let wanted = wanted.map(|(kind, file)| (format!("lockgate.{kind}"), format!("/disk{file}")));
    // At least once: the first may have come twice.
    let mut told = told(&collector);
    told.dedup();
    assert_eq!(told, wanted);
}

#[test]
fn an_upload_that_never_gets_its_name_is_told_under_the_one_it_has() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &collector, json!({ "temporary_within": "2s", "temporary_names": ["*.mine"] })));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv.mine\nput FILE /b.csv.part\n");
    let wanted = pairs(&[("file.upload.completed", "/b.csv.part"), ("file.upload.completed", "/a.csv.mine")]);
    until("both", LIMIT, || (told(&collector) == wanted).then_some(()));
    gateway.stop();
    assert_eq!(told(&collector), wanted);
}

/// The convention's own library takes what is right, with either secret, and nothing else.
#[test]
fn requests_are_signed_as_standard_webhooks_has_it() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let mut tries = 0;
    collector.answer(move |_| {
        tries += 1;
        if tries == 1 { (503, "") } else { (204, "") }
    });
    place.sinks(sink(&place, &collector, json!({ "signing": { "secret": [OLD_SECRET, NEW_SECRET] } })));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv\nput FILE /b.csv\n");
    gateway.stop();
    assert!(!gateway_log_has_secret(&place));
    let posts = collector.posts();
    assert!(posts.len() == 3, "{posts:?}");
    // The one that came again has its id.
    assert_eq!((posts[0].header("webhook-id"), posts[0].body == posts[1].body), (posts[1].header("webhook-id"), true));
    for (post, event) in posts.iter().zip(events(&posts)) {
        assert_eq!(post.header("webhook-id"), event["id"].as_str());
        assert_eq!([verify(post, OLD_SECRET), verify(post, NEW_SECRET)], ["right", "right"]);
        assert_eq!(verify(post, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "No matching signature found");
        let mut altered = post.clone();
        altered.body[20] ^= 1;
        assert_eq!(verify(&altered, NEW_SECRET), "No matching signature found");
        let mut renamed = post.clone();
        renamed.headers.iter_mut().filter(|line| line.starts_with("webhook-id")).for_each(|line| line.push('x'));
        assert_eq!(verify(&renamed, NEW_SECRET), "No matching signature found");
    }
}

fn gateway_log_has_secret(place: &Place) -> bool {
    let config = place.setup.write_config();
    let outcome = run(lockgate().args(["check", "--config"]).arg(config));
    outcome.stdout.contains("MfKQ9r8") || outcome.stderr.contains("MfKQ9r8")
}

fn verify(post: &Post, secret: &str) -> String {
    let script = "import json, sys\nfrom standardwebhooks import Webhook, WebhookVerificationError\n\
                  asked = json.load(sys.stdin)\n\
                  try:\n    Webhook(sys.argv[1]).verify(asked['body'], asked['headers'])\n    print('right')\n\
                  except WebhookVerificationError as error:\n    print(error)\n";
    let headers =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, post.header(name).unwrap()));
    let asked = json!({ "body": String::from_utf8_lossy(&post.body), "headers": headers.iter().copied().collect::<std::collections::BTreeMap<_, _>>() });
    let mut python = Command::new(tool("receivers/bin/python"));
    let outcome = run_with(python.args(["-B", "-c", script, secret]), asked.to_string().as_bytes(), LIMIT);
    outcome.succeeded().stdout.trim().to_owned()
}

#[test]
fn batches_have_the_media_type_of_batches() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let more = json!({ "encoding": "array", "batch": { "age": "2s" }, "signing": { "secret": NEW_SECRET } });
    place.sinks(sink(&place, &collector, more));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv.part\nrename /a.csv.part /a.csv\nput FILE /b.csv\n");
    gateway.stop();
    let mut files = Vec::new();
    for post in collector.taken() {
        assert_eq!(
            (post.header("content-type"), verify(&post, NEW_SECRET).as_str()),
            (Some("application/cloudevents-batch+json"), "right")
        );
        let batch: Vec<Value> = serde_json::from_slice(&post.body).unwrap();
        files.extend(batch.iter().map(|event| event["subject"].as_str().unwrap().to_owned()));
    }
    assert_eq!(files, ["/main/a.csv", "/main/b.csv"]);
}

/// One that is refused for what it is makes room for those behind it, except for those of its own file; a command brings them.
#[test]
fn what_is_refused_for_good_is_set_aside_told_and_redelivered() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let refuses = |word: &'static str| {
        move |post: &Post| {
            let is_bad = String::from_utf8_lossy(&post.body).contains(word);
            if is_bad { (422, "") } else { (200, "") }
        }
    };
    place.sinks(sink(&place, &collector, json!({ "give_up_after": "1s", "on_failure": "refuse" })));
    collector.answer(refuses("/bad.csv"));
    let redeliver =
        |place: &Place| run(lockgate().args(["audit", "redeliver", "--config"]).arg(place.setup.write_config()));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /bad.csv\nput FILE /good.csv\nrm /bad.csv\nput FILE /good2.csv\n");
    let good = pairs(&[("file.upload.completed", "/good.csv"), ("file.upload.completed", "/good2.csv")]);
    until("those behind it", LIMIT, || (told(&collector) == good).then_some(()));
    assert!(gateway.log().contains("422") && gateway.log().contains("audit redeliver"), "{}", gateway.log());
    redeliver(&place).failed().says("still set aside");
    let in_trail = gateway.events.await_event("ERROR", |event| field(event, "operation") == "DELIVER");
    assert!(field(&in_trail, "message").contains("422"), "{in_trail}");
    // The gateway dies and comes back, and still knows.
    gateway.kill();
    let gateway = place.setup.start();
    collector.answer(|_| (200, ""));
    session(&place, &gateway, "put FILE /bad.csv\n");
    until("a third one behind it", LIMIT, || (set_aside(&place) == 3).then_some(()));
    assert_eq!(told(&collector), good);
    redeliver(&place).succeeded();
    let mut all = good;
    all.extend(pairs(&[
        ("file.upload.completed", "/bad.csv"),
        ("file.delete.completed", "/bad.csv"),
        ("file.upload.completed", "/bad.csv"),
    ]));
    assert_eq!((told(&collector), set_aside(&place)), (all, 0));
    session(&place, &gateway, "rm /bad.csv\n");
    gateway.stop();
    assert_eq!(told(&collector).pop(), pairs(&[("file.delete.completed", "/bad.csv")]).pop());
}

fn set_aside(place: &Place) -> usize {
    let folder = fs::read_dir(place.setup.folder().join("spool/undelivered"));
    let names = folder.into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".refused")).count()
}

/// A collector of events that refuses everything is sent the event about that as well: it causes no further one.
#[test]
fn what_is_told_of_set_aside_events_is_not_told_for_ever() {
    let (mut place, collector) = (Place::new(), Collector::start());
    let mut events =
        sink(&place, &collector, json!({ "give_up_after": "1s", "gzip": false, "batch": { "age": "1s" } }));
    events[0].as_object_mut().unwrap().remove("format");
    place.sinks(events);
    collector.answer(|_| (422, ""));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv\n");
    gateway.events.await_event("ERROR", |event| field(event, "operation") == "DELIVER");
    let has_it = |post: &Post| String::from_utf8_lossy(&post.body).contains("\"DELIVER\"");
    until("its own event refused and set aside", LIMIT, || {
        let folder = fs::read_dir(place.setup.folder().join("spool/undelivered")).ok()?;
        let contents = folder.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        contents.into_iter().any(|content| content.contains("\"DELIVER\"")).then_some(())
    });
    assert!(collector.posts().iter().any(has_it));
    gateway.stop();
    let about = place.recorded().iter().filter(|line| line.contains("\"DELIVER\"")).count();
    assert!((1..=3).contains(&about), "{about}");
}

/// A collector that accepts nobody refuses no notification.
#[test]
fn a_wrong_password_sets_nothing_aside() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.sinks(sink(&place, &collector, json!({ "give_up_after": "1s" })));
    collector.answer(|_| (401, ""));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv\nput FILE /b.csv\n");
    until("several tries", LIMIT, || (collector.posts().len() >= 4).then_some(()));
    assert_eq!(set_aside(&place), 0);
    collector.answer(|_| (200, ""));
    let wanted = pairs(&[("file.upload.completed", "/a.csv"), ("file.upload.completed", "/b.csv")]);
    until("both", LIMIT, || (told(&collector) == wanted).then_some(()));
    gateway.stop();
}

/// In a store, as Transfer Family's events are on EventBridge.
#[test]
fn a_store_keeps_notifications_too() {
    let mut place = Place::new();
    let lake = place.setup.local_store("lake");
    let spool = place.setup.folder().join("spool");
    place.sinks(json!([{ "sink": "store", "target": "lake:/told", "spool": spool, "batch": { "age": "1s" }, "format": "eventbridge" }]));
    let gateway = place.setup.start();
    session(&place, &gateway, "put FILE /a.csv.filepart\nrename /a.csv.filepart /a.csv\nmkdir /d\n");
    gateway.stop();
    let mut events: Vec<Value> = Vec::new();
    for file in objects(&lake.join("told")) {
        let text = std::io::read_to_string(GzDecoder::new(fs::File::open(file).unwrap())).unwrap();
        events.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    let told: Vec<_> = events.iter().map(|event| (event["detail-type"].as_str().unwrap(), &event["detail"])).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!((told[0].0, &told[0].1["file-path"]), ("SFTP Server File Upload Completed", &json!("/main/a.csv")));
    assert_eq!(
        (told[1].0, &told[1].1["directory-path"]),
        ("SFTP Server Directory Create Completed", &json!("/main/d"))
    );
}

fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files.extend(objects(&entry)) } else { files.push(entry) }
    }
    files.sort();
    files
}

/// Killed again and again at work, with a collector that fails now and then: what a client was told of is told, and of each file
/// nothing before what came before it.
#[test]
fn deaths_at_any_moment_lose_no_arrival_and_turn_no_order_around() {
    let (mut place, collector) = (Place::new(), Collector::start());
    place.setup.local_store("disk");
    place.setup.config["users"][0]["home"] = json!([{ "entry": "/", "target": "disk:/" }]);
    place.sinks(sink(&place, &collector, json!({ "on_failure": "refuse" })));
    let mut asked = 0_u32;
    collector.answer(move |_| {
        asked += 1;
        if asked.is_multiple_of(40) { (503, "") } else { (200, "") }
    });
    let file = place.setup.folder().join("some.csv");
    fs::write(&file, "a,b\n1,2\n").unwrap();
    let mut begun = Vec::new();
    for round in 0..8_u64 {
        let gateway = place.setup.start();
        let of_one = |n| format!("put {} /{n}.part\nrename /{n}.part /{n}\nrm /{n}\n", file.display());
        let script: String = (0..300).map(|n| of_one(format!("r{round}-{n}"))).collect();
        let mut running = Running::start(&mut gateway.client("alice", &place.key).sftp_command());
        running.feed(script.as_bytes());
        until("work under way", LIMIT, || (!gateway.events.of_type("RENAME").is_empty()).then_some(()));
        std::thread::sleep(Duration::from_millis(100 + round * 137 % 700));
        gateway.kill();
        running.close_input();
        let said = running.finish(LIMIT).stdout;
        // sftp repeats each command before it runs it: when a removal stands there, the rename before it is done.
        let removals =
            said.lines().filter_map(|line| line.split_once("sftp> rm /").map(|(_, name)| name.trim().to_owned()));
        begun.extend(removals);
    }
    assert!(begun.len() > 20, "{}", begun.len());
    let gateway = place.setup.start();
    gateway.client("alice", &place.key).sftp("mkdir /last\n").succeeded();
    let last = ("lockgate.directory.create.completed".to_owned(), "/disk/last".to_owned());
    until("the last one", LIMIT, || told(&collector).contains(&last).then_some(()));
    gateway.stop();
    let told = told(&collector);
    let first = |kind: &str, name: &str| {
        told.iter().position(|(is, file)| is.ends_with(kind) && *file == format!("/disk/{name}"))
    };
    for name in &begun {
        let arrived = first("file.upload.completed", name);
        assert!(arrived.is_some(), "{name} is lost");
        assert!(
            first("file.delete.completed", name).is_none_or(|deleted| arrived < Some(deleted)),
            "{name} in the wrong order"
        );
        assert!(first("file.rename.completed", &format!("{name}.part")).is_none(), "{name} is told twice");
    }
    // What came twice came with the same id.
    let ids: std::collections::BTreeSet<String> =
        events(&collector.taken()).iter().map(|event| event["id"].to_string()).collect();
    let distinct: std::collections::BTreeSet<_> = told.iter().collect();
    assert_eq!(ids.len(), distinct.len());
}
