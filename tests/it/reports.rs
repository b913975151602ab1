//! What an access review reads: `audit report` and `audit access`.

use std::fs;

use serde_json::{Value, json};

use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::run;
use crate::support::provider::{Provider, Reply};
use crate::support::setup::{Setup, User};

#[test]
fn a_report_says_what_each_user_did() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (of_ann, of_eve) = (setup.key("ann"), setup.key("eve"));
    let trail = setup.folder().join("events.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": trail }]);
    setup.user(User::new("ann").home("/", "main:/ann").key(&of_ann));
    setup.user(User::new("ben").home_with("/", "main:/ben", json!("read_only")).password("long enough"));
    let gateway = setup.start();
    let file = setup.folder().join("file");
    fs::write(&file, "content").unwrap();
    let back = setup.folder().join("back");
    gateway
        .client("ann", &of_ann)
        .sftp(&format!("put {} /a\nget /a {}\nrename /a /b\nrm /b\nmkdir /d\n", file.display(), back.display()))
        .succeeded();
    gateway.client("ann", &of_ann).ssh(&[], &["whoami"]).failed();
    gateway.client("ann", &of_eve).sftp("ls\n").failed();
    gateway.client("nobody", &of_eve).sftp("ls\n").failed();
    gateway.events.await_disconnected(4);
    gateway.stop();
    let report = |words: &[&str]| run(lockgate().args(["audit", "report"]).args(words).arg(&trail)).succeeded().stdout;

    let whole: Value = serde_json::from_str(&report(&["--all", "--format", "json"])).unwrap();
    let users = whole["users"].as_array().unwrap();
    assert_eq!(users.len(), 1, "{whole:#}");
    let ann = &users[0];
    let counts =
        ["logins", "failed-logins", "files-in", "bytes-in", "files-out", "bytes-out"].map(|name| ann[name].as_u64());
    assert_eq!(counts, [2, 1, 1, 7, 1, 7].map(Some), "{ann:#}");
    let counts =
        ["renamed", "deleted", "folders-made", "denied", "active-days", "silent-days"].map(|name| ann[name].as_u64());
    assert_eq!(counts, [1, 1, 1, 1, 1, 0].map(Some), "{ann:#}");
    let keys: Vec<_> = ann["keys"]["list"].as_array().unwrap().iter().map(|key| field(key, "name")).collect();
    assert!(keys.contains(&&*of_ann.fingerprint().0) && keys.contains(&&*of_eve.fingerprint().0), "{keys:?}");
    assert_eq!(whole["strangers"], json!([{ "name": "nobody", "attempts": 1 }]));

    let page = report(&["--user", "ann"]);
    assert!(page.contains("Activity of ann") && page.contains(&of_ann.fingerprint().0), "{page}");
    assert!(page.contains("whoami") && page.ends_with("</html>"), "{page}");
    let rows = report(&["--all", "--format", "csv"]);
    assert_eq!(rows.lines().count(), 2, "{rows}");
    let silent: Value = serde_json::from_str(&report(&["--user", "ben", "--format", "json"])).unwrap();
    assert_eq!((&silent["users"][0]["user"], &silent["users"][0]["last-seen"]), (&json!("ben"), &Value::Null));
    let neither = run(lockgate().args(["audit", "report"]).arg(&trail));
    assert_eq!(neither.status.code(), Some(2), "{neither}");
}

#[test]
fn an_access_review_lists_users_of_every_source_with_keys_and_folders() {
    let mut setup = Setup::new();
    let lake = setup.local_store("lake");
    let (of_ann, of_carl, authority) = (setup.key("ann"), setup.key("carl"), setup.key("authority"));
    setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    setup.config["users_from"] = json!({
        "keys": "lake:/public-keys",
        "home": [{ "entry": "/in", "target": "lake:/in/${user}", "permissions": "write_only" }],
    });
    setup.user(
        User::new("ann")
            .home("/", "lake:/ann")
            .home_with("/shared", "lake:/shared", json!(["list", "read", "delete"]))
            .key(&of_ann)
            .set("allow_from", json!(["192.0.2.0/24"])),
    );
    setup.user(User::new("old").home("/", "lake:/shared").password("long enough").set("expires", "2020-01-01"));
    fs::create_dir_all(lake.join("public-keys")).unwrap();
    for (name, key) in [("carl", &of_carl), ("ann", &of_carl)] {
        fs::write(lake.join(format!("public-keys/{name}.pub")), format!("{}\n", key.public)).unwrap();
    }
    let config = setup.write_config();
    let access = |words: &[&str]| run(lockgate().args(["audit", "access", "--config"]).arg(&config).args(words));

    let listed = access(&["--format", "json"]).succeeded();
    let shown: Value = serde_json::from_str(&listed.stdout).unwrap();
    let users: Vec<_> = shown["users"].as_array().unwrap().iter().map(|user| field(user, "name")).collect();
    assert_eq!(users, ["ann", "carl", "old"], "{shown:#}");
    let (ann, carl, old) = (&shown["users"][0], &shown["users"][1], &shown["users"][2]);
    assert_eq!(ann["keys"][0]["fingerprint"], *of_ann.fingerprint().0, "the configuration's user logs in");
    assert_eq!(
        ann["home"][1],
        json!({ "entry": "/shared", "target": "lake:/shared", "permissions": "list, read, delete" })
    );
    assert_eq!((&ann["allow-from"], &ann["state"]), (&json!(["192.0.2.0/24"]), &json!("active")));
    assert_eq!(carl["home"][0]["target"], "lake:/in/carl");
    assert_eq!(
        (&old["state"], &old["has-password"], &old["auth"]),
        (&json!("expired"), &json!(true), &json!("password"))
    );
    assert_eq!(shown["authorities"][0]["fingerprint"], *authority.fingerprint().0);
    assert!(listed.stderr.contains("also has a user ann"), "{listed}");

    let page = access(&[]).succeeded().stdout;
    assert!(page.contains("lake:/shared") && page.contains(&of_carl.fingerprint().0), "{page}");
    let rows = access(&["--format", "csv"]).succeeded().stdout;
    assert_eq!(rows.lines().count(), 1 + 4, "{rows}");
    assert!(!rows.contains("$argon2") && !page.contains("$argon2"), "no hash of a password is shown");
    let one = access(&["--format", "csv", "--user", "carl"]).succeeded().stdout;
    assert_eq!(one.lines().count(), 1 + 1, "{one}");

    // A source that cannot be read makes a list that says so.
    fs::remove_dir_all(lake.join("public-keys")).unwrap();
    fs::write(lake.join("public-keys"), "no folder").unwrap();
    let broken = access(&["--format", "json"]);
    assert_eq!(broken.status.code(), Some(1), "{broken}");
    let shown: Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!(shown["failures"].as_array().map(Vec::len), Some(1), "{shown:#}");
}

#[test]
fn an_access_review_asks_an_identity_provider_about_one_user() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("dora");
    let answer = json!({ "Role": "r", "HomeDirectory": "/main/dora", "PublicKeys": [key.public] });
    let provider = Provider::start(move |_| Reply::Json(answer.clone()));
    setup.config["users_from"] = json!({ "http": { "url": provider.url() } });
    let config = setup.write_config();
    let access = |words: &[&str]| {
        run(lockgate().args(["audit", "access", "--format", "json", "--config"]).arg(&config).args(words))
    };
    let all = access(&[]).succeeded();
    assert!(all.stderr.contains("does not list its users"), "{all}");
    let one: Value = serde_json::from_str(&access(&["--user", "dora"]).succeeded().stdout).unwrap();
    assert_eq!(one["users"][0]["keys"][0]["fingerprint"], *key.fingerprint().0, "{one:#}");
}
