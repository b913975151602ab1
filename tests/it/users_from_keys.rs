//! Users whose keys lie in a folder of a store: they come, change and go while the gateway runs, and the trail says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::certificates::sign;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::plain_proxy::Proxy;
use crate::support::process::{LIMIT, Running, until};
use crate::support::s3;
use crate::support::setup::{Setup, User};

const SOURCE: &str = "keys:lake:/public-keys";

fn users_from() -> Value {
    json!({
        "keys": "lake:/public-keys",
        "every": "1s",
        "role": "partner",
        "home": [{ "entry": "/", "target": "lake:/home/${user}" }],
    })
}

/// A gateway whose users lie in a local store.
struct Desk {
    setup: Setup,
    root: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let mut setup = Setup::new();
        let root = setup.local_store("lake");
        fs::create_dir(root.join("public-keys")).unwrap();
        setup.config["users_from"] = users_from();
        Desk { setup, root }
    }

    /// Writes a file of keys in one step.
    fn put(&self, name: &str, lines: &[&str]) {
        let beside = self.setup.folder().join("beside");
        fs::write(&beside, lines.join("\n")).unwrap();
        fs::rename(beside, self.root.join("public-keys").join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.root.join("public-keys").join(name)).unwrap();
    }
}

/// An sftp session that stays until its input is closed.
fn session(gateway: &Gateway, user: &str, key: &Key) -> Running {
    let client = gateway.client(user, key);
    let mut running = Running::start(client.command("sftp").args(["-b", "-"]).arg(client.host()));
    running.feed(b"pwd\n");
    gateway.events.await_event("CONNECTED", |event| {
        field(event, "user") == user && field(event, "ssh-public-key-fingerprint") == key.fingerprint().0
    });
    running
}

/// The event of a change, with everything that it must have.
#[track_caller]
fn change(gateway: &Gateway, activity: &str, user: &str, keys: &[&Key]) -> Value {
    let keys: Vec<String> = keys.iter().map(|key| key.fingerprint().0).collect();
    let event = gateway.events.await_event(activity, |event| {
        field(event, "user") == user && field(event, "ssh-public-key-fingerprint") == keys.join(",")
    });
    assert_eq!(field(&event, "source"), SOURCE, "{event}");
    assert_eq!(field(&event, "resource-arn"), "lockgate:server/edge-1");
    assert!(event.get("session-id").is_none() && event.get("source-ip").is_none(), "{event}");
    event
}

/// The events of the user's only connection that ended with this reason.
#[track_caller]
fn ended(gateway: &Gateway, user: &str, reason: &str) -> Value {
    gateway.events.await_event("DISCONNECTED", |event| field(event, "user") == user && field(event, "reason") == reason)
}

#[test]
fn users_come_change_and_go_without_a_restart() {
    let desk = Desk::new();
    let (ann, ben, spare) = (desk.setup.key("ann"), desk.setup.key("ben"), desk.setup.key("spare"));
    desk.put("ann.pub", &[&ann.public]);
    let gateway = desk.setup.start();
    // Whoever stands there at the start logs in at once, with the home of the template.
    gateway.client("ann", &ann).sftp("mkdir /seen\n").succeeded();
    assert!(desk.root.join("home/ann/seen").is_dir());
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    assert_eq!(field(&connected, "role"), "partner");
    let added = change(&gateway, "USER_ADDED", "ann", &[&ann]);
    assert_eq!(field(&added, "message"), "found at the first round");
    gateway.client("ben", &ben).sftp("pwd\n").failed();

    // A new one.
    desk.put("ben.pub", &["# ben's", &ben.public, &spare.public]);
    let added = change(&gateway, "USER_ADDED", "ben", &[&ben, &spare]);
    assert!(added.get("message").is_none(), "{added}");
    gateway.client("ben", &ben).sftp("pwd\n").succeeded();

    // A key less: its sessions end, those of the other key go on.
    let mut of_ben = session(&gateway, "ben", &ben);
    let mut of_spare = session(&gateway, "ben", &spare);
    desk.put("ben.pub", &[&spare.public]);
    let changed = change(&gateway, "USER_CHANGED", "ben", &[&spare]);
    assert_eq!(field(&changed, "ssh-public-key-fingerprint-removed"), ben.fingerprint().0);
    assert!(changed.get("ssh-public-key-fingerprint-added").is_none(), "{changed}");
    let end = ended(&gateway, "ben", "key-removed");
    assert_eq!(field(&end, "message"), "the key of this session was removed");
    of_ben.close_input();
    of_ben.finish(LIMIT).says("the key of this session was removed");
    gateway.client("ben", &ben).sftp("pwd\n").failed();
    of_spare.feed(b"mkdir /still-here\n");
    until("work of the session that stays", LIMIT, || desk.root.join("home/ben/still-here").is_dir().then_some(()));

    // And nothing left of him: the upload under way is cut off and on record.
    desk.remove("ben.pub");
    let removed = change(&gateway, "USER_REMOVED", "ben", &[&spare]);
    assert_eq!(field(&removed, "message"), "ben.pub is no longer there");
    let end = ended(&gateway, "ben", "user-removed");
    assert_eq!(field(&end, "message"), "the user was removed");
    of_spare.close_input();
    of_spare.finish(LIMIT).says("the user was removed");
    let refused = gateway.client("ben", &spare).sftp("pwd\n").failed();
    let unknown = gateway.client("nobody", &spare).sftp("pwd\n").failed();
    assert_eq!(refused.stderr.replace("ben", "X"), unknown.stderr.replace("nobody", "X"));
    gateway.client("ann", &ann).sftp("pwd\n").succeeded();
    gateway.stop();
}

/// `user_01.pub` is the file of the user `user_01`.
#[test]
fn a_file_with_an_underscore_and_digits_is_a_user() {
    let desk = Desk::new();
    let key = desk.setup.key("key");
    desk.put("user_01.pub", &[&key.public]);
    let gateway = desk.setup.start();
    change(&gateway, "USER_ADDED", "user_01", &[&key]);
    gateway.client("user_01", &key).sftp("mkdir /seen\n").succeeded();
    assert!(desk.root.join("home/user_01/seen").is_dir());
    gateway.stop();
}

#[test]
fn a_restart_tells_what_changed_meanwhile() {
    let desk = Desk::new();
    let (ann, ben, carl) = (desk.setup.key("ann"), desk.setup.key("ben"), desk.setup.key("carl"));
    desk.put("ann.pub", &[&ann.public]);
    desk.put("ben.pub", &[&ben.public]);
    let gateway = desk.setup.start();
    change(&gateway, "USER_ADDED", "ann", &[&ann]);
    change(&gateway, "USER_ADDED", "ben", &[&ben]);
    gateway.stop();
    desk.remove("ann.pub");
    desk.put("carl.pub", &[&carl.public]);
    let gateway = desk.setup.start();
    change(&gateway, "USER_ADDED", "carl", &[&carl]);
    change(&gateway, "USER_REMOVED", "ann", &[&ann]);
    gateway.client("ben", &ben).sftp("pwd\n").succeeded();
    let told = gateway.events.of_type("USER_ADDED").len() + gateway.events.of_type("USER_CHANGED").len();
    assert_eq!(told, 1, "of ben there is nothing new");
    gateway.stop();
    // A folder that the next process is not to read any more.
    let mut desk = desk;
    desk.setup.config.as_object_mut().unwrap().remove("users_from");
    let gateway = desk.setup.start();
    change(&gateway, "USER_REMOVED", "ben", &[&ben]);
    change(&gateway, "USER_REMOVED", "carl", &[&carl]);
    gateway.stop();
}

#[test]
fn what_cannot_be_used_is_said_and_gives_no_access() {
    let desk = Desk::new();
    let (ann, ben) = (desk.setup.key("ann"), desk.setup.key("ben"));
    desk.put("Ann.pub", &[&ann.public]);
    desk.put("ann.pub", &[&ann.public]);
    desk.put("ben.pub", &["ssh-dss AAAAB3 weak", &ben.public, "nonsense"]);
    desk.put("carl.pub", &[fs::read_to_string(&ann.private).unwrap().as_str()]);
    let gateway = desk.setup.start();
    for (file, why) in [("Ann.pub", "NAME.pub"), ("ben.pub", "line 1: "), ("carl.pub", "private key")] {
        let said = format!("{SOURCE}: passed over {file}: ");
        let event = gateway.events.await_event("ERROR", |event| field(event, "message").starts_with(&said));
        assert!(field(&event, "message").contains(why), "{event}");
        assert_eq!(field(&event, "operation"), "USERS");
        let logged = format!("passed over {file}");
        until(&logged, LIMIT, || gateway.log().contains(&logged).then_some(()));
    }
    gateway.client("ben", &ben).sftp("pwd\n").succeeded();
    for user in ["Ann", "carl"] {
        gateway.client(user, &ann).sftp("pwd\n").failed();
    }
    // A good file that becomes a bad one: the user is gone, and the trail says why.
    let mut of_ann = session(&gateway, "ann", &ann);
    desk.put("ann.pub", &["ssh-ed25519 AAAAC3 cut off"]);
    let removed = change(&gateway, "USER_REMOVED", "ann", &[&ann]);
    assert!(field(&removed, "message").starts_with("ann.pub: line 1: "), "{removed}");
    ended(&gateway, "ann", "user-removed");
    of_ann.close_input();
    of_ann.finish(LIMIT).says("the user was removed");
    // Each is said once, whatever number of rounds pass.
    std::thread::sleep(Duration::from_millis(2500));
    let said = gateway.events.of_type("ERROR").iter().filter(|e| field(e, "message").contains(" ben.pub")).count();
    assert_eq!(said, 1);
    gateway.stop();
}

#[test]
fn a_user_of_the_configuration_wins() {
    let mut desk = Desk::new();
    let (inside, outside) = (desk.setup.key("inside"), desk.setup.key("outside"));
    desk.put("ann.pub", &[&outside.public]);
    desk.setup.user(User::new("ann").key(&inside).home("/", "lake:/inside"));
    let gateway = desk.setup.start();
    gateway.client("ann", &inside).sftp("mkdir /x\n").succeeded();
    assert!(desk.root.join("inside/x").is_dir());
    gateway.client("ann", &outside).sftp("pwd\n").failed();
    until("word of it in the log", LIMIT, || {
        gateway.log().contains("a user of the configuration has this name, and wins").then_some(())
    });
    gateway.stop();
}

/// One upload under way when its user is removed.
#[test]
fn an_upload_of_a_removed_user_is_cut_off_and_on_record() {
    let desk = Desk::new();
    let ann = desk.setup.key("ann");
    desk.put("ann.pub", &[&ann.public]);
    let gateway = desk.setup.start();
    let large = desk.setup.folder().join("large");
    fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    let client = gateway.client("ann", &ann);
    let mut upload =
        Running::start(client.command("scp").args(["-l", "4096"]).arg(&large).arg(client.remote("/large")));
    gateway.events.await_event("OPEN", |_| true);
    desk.remove("ann.pub");
    gateway.events.await_event("PARTIAL_CLOSE", |_| true);
    ended(&gateway, "ann", "user-removed");
    upload.close_input();
    upload.finish(LIMIT).failed();
    assert!(!desk.root.join("home/ann/large").exists());
    gateway.stop();
}

#[test]
fn a_reload_ends_the_sessions_of_who_is_gone() {
    let mut desk = Desk::new();
    let keys: Vec<Key> = ["ann", "ben", "carl", "dora", "emil"].map(|name| desk.setup.key(name)).into();
    desk.put("ann.pub", &[&keys[0].public]);
    let home = |user: User| user.home("/", "lake:/home/${user}");
    for (name, key) in [("ben", &keys[1]), ("carl", &keys[2]), ("dora", &keys[3]), ("emil", &keys[4])] {
        desk.setup.user(home(User::new(name).key(key)));
    }
    let gateway = desk.setup.start();
    let mut sessions: Vec<Running> = ["ann", "ben", "carl", "dora", "emil"]
        .iter()
        .zip(&keys)
        .map(|(name, key)| session(&gateway, name, key))
        .collect();
    // ann's folder is not named any more, ben is removed, carl disabled, dora has another key, emil stays.
    desk.setup.config["users"] = json!([]);
    desk.setup.user(home(User::new("carl").key(&keys[2]).set("enabled", false)));
    desk.setup.user(home(User::new("dora").key(&keys[0])));
    desk.setup.user(home(User::new("emil").key(&keys[4]).key(&keys[0])));
    desk.setup.config.as_object_mut().unwrap().remove("users_from");
    desk.setup.write_config();
    gateway.signal(Signal::HUP);
    for (user, reason) in
        [("ann", "user-removed"), ("ben", "user-removed"), ("carl", "user-disabled"), ("dora", "key-removed")]
    {
        ended(&gateway, user, reason);
    }
    let removed = change(&gateway, "USER_REMOVED", "ann", &[&keys[0]]);
    assert!(field(&removed, "message").contains("does not name this folder"), "{removed}");
    let mut emil = sessions.pop().unwrap();
    emil.feed(b"mkdir /still-here\n");
    emil.close_input();
    emil.finish(LIMIT).succeeded();
    for mut session in sessions {
        session.close_input();
        // Whether it fails depends on what it hears first, the end of its input or of the connection.
        let finished = session.finish(LIMIT);
        assert!(!finished.stderr.trim().is_empty(), "it was not told: {finished}");
    }
    gateway.stop();
}

/// The new configuration leads nobody to the keys; a session of the old one does.
#[test]
fn a_reload_ends_the_sessions_whose_homes_lead_to_a_new_folder_of_keys() {
    let mut desk = Desk::new();
    let [ann, ben, kim] = ["ann", "ben", "kim"].map(|name| desk.setup.key(name));
    desk.put("kim.pub", &[&kim.public]);
    desk.setup.config.as_object_mut().unwrap().remove("users_from");
    desk.setup.user(User::new("ann").key(&ann).home("/", "lake:/"));
    desk.setup.user(User::new("ben").key(&ben).home("/", "lake:/home/ben"));
    let gateway = desk.setup.start();
    let mut sessions = [session(&gateway, "ann", &ann), session(&gateway, "ben", &ben)];
    desk.setup.config["users_from"] = json!([users_from()]);
    desk.setup.config["users"] = json!([]);
    // The store has another name now.
    let lake = desk.setup.config["stores"]["lake"].clone();
    desk.setup.config["stores"]["pond"] = lake;
    desk.setup.user(User::new("ann").key(&ann).home("/", "pond:/home/ann"));
    desk.setup.user(User::new("ben").key(&ben).home("/", "pond:/home/ben"));
    desk.setup.write_config();
    gateway.signal(Signal::HUP);
    ended(&gateway, "ann", "home-closed");
    change(&gateway, "USER_ADDED", "kim", &[&kim]);
    gateway.client("ann", &ann).sftp("pwd\n").succeeded();
    let [ann_session, ben_session] = &mut sessions;
    ben_session.feed(b"mkdir /still-here\n");
    ben_session.close_input();
    ann_session.close_input();
    let [ann_session, ben_session] = sessions;
    ben_session.finish(LIMIT).succeeded();
    let told = ann_session.finish(LIMIT);
    assert!(!told.stderr.trim().is_empty(), "it was not told: {told}");
    assert!(desk.root.join("home/ben/still-here").is_dir());
    gateway.stop();
}

#[test]
fn a_reload_brings_a_folder_and_its_users() {
    let mut desk = Desk::new();
    let ann = desk.setup.key("ann");
    desk.put("ann.pub", &[&ann.public]);
    desk.setup.config.as_object_mut().unwrap().remove("users_from");
    let gateway = desk.setup.start();
    gateway.client("ann", &ann).sftp("pwd\n").failed();
    desk.setup.config["users_from"] = json!([users_from()]);
    desk.setup.write_config();
    gateway.signal(Signal::HUP);
    change(&gateway, "USER_ADDED", "ann", &[&ann]);
    let held = session(&gateway, "ann", &ann);
    // Another reload with the same folder tells nothing and ends nothing.
    gateway.signal(Signal::HUP);
    until("the second reload", LIMIT, || (gateway.log().matches("reloaded: users").count() == 2).then_some(()));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(gateway.events.of_type("USER_ADDED").len(), 1);
    let mut held = held;
    held.feed(b"mkdir /still-here\n");
    held.close_input();
    held.finish(LIMIT).succeeded();
    gateway.stop();
}

/// The same on an S3 server, which fails for a while.
#[test]
fn a_bucket_that_fails_keeps_the_last_known_users() {
    let mut setup = Setup::new();
    let store = s3::new_store();
    let proxy = Proxy::start(store.port());
    setup.store("lake", json!({ "url": store.url(), "options": store.options_through(&proxy.endpoint()) }));
    setup.config["users_from"] = users_from();
    let (ann, ben) = (setup.key("ann"), setup.key("ben"));
    assert!(store.put("public-keys/ann.pub", &[], ann.public.as_bytes()));
    let gateway = setup.start();
    change(&gateway, "USER_ADDED", "ann", &[&ann]);
    gateway.client("ann", &ann).sftp("pwd\n").succeeded();

    // What did not change is listed and not fetched.
    proxy.forget();
    until("two more rounds", LIMIT, || (lists(&proxy) >= 2).then_some(()));
    let fetched = proxy.requests().iter().filter(|r| r.method == "GET" && r.target.contains("ann.pub")).count();
    assert_eq!(fetched, 0, "{:?}", proxy.requests());

    proxy.answer(|_| Some(403));
    let began = "cannot be read; the last known users stay";
    gateway.events.await_event("ERROR", |event| field(event, "message").contains(began));
    assert!(store.put("public-keys/ben.pub", &[], ben.public.as_bytes()));
    proxy.forget();
    until("two rounds of the outage", LIMIT, || (lists(&proxy) >= 2).then_some(()));
    // She still logs in; that her home cannot be read now is another thing.
    session(&gateway, "ann", &ann).kill();
    gateway.client("ben", &ben).sftp("pwd\n").failed();
    proxy.pass_everything();
    gateway.events.await_event("ERROR", |event| field(event, "message").contains("can be read again"));
    change(&gateway, "USER_ADDED", "ben", &[&ben]);
    gateway.client("ben", &ben).sftp("pwd\n").succeeded();
    let outages = gateway.events.of_type("ERROR").iter().filter(|e| field(e, "message").contains(began)).count();
    assert_eq!(outages, 1, "an outage is said once");

    // A change and a removal, as the bucket's listing shows them.
    assert!(store.put("public-keys/ben.pub", &[], ann.public.as_bytes()));
    let changed = change(&gateway, "USER_CHANGED", "ben", &[&ann]);
    assert_eq!(field(&changed, "ssh-public-key-fingerprint-added"), ann.fingerprint().0);
    assert_eq!(field(&changed, "ssh-public-key-fingerprint-removed"), ben.fingerprint().0);
    let mut held = session(&gateway, "ben", &ann);
    store.remove("public-keys/ben.pub");
    change(&gateway, "USER_REMOVED", "ben", &[&ann]);
    ended(&gateway, "ben", "user-removed");
    held.close_input();
    held.finish(LIMIT).says("the user was removed");
    gateway.stop();
}

fn lists(proxy: &Proxy) -> usize {
    let is_list = |target: &str| target.contains("list-type=2") && target.contains("public-keys");
    proxy.requests().iter().filter(|request| is_list(&request.target)).count()
}

#[test]
fn the_configuration_says_what_is_wrong() {
    let desk = Desk::new();
    for (source, said) in [
        (json!({ "keys": "lake:/public-keys" }), "users_from.home: is missing"),
        (json!({ "keys": "lak:/k", "home": [] }), "no store named \"lak\""),
        (json!({ "keys": "lake:/k/${user}", "home": [] }), "write it without ${user}"),
        (json!([{ "keys": "lake:/k", "home": [], "evry": "5m" }]), "did you mean \"every\"?"),
        (json!([users_from(), users_from()]), "users_from[1].keys: this folder appears twice"),
        (json!([{ "keys": "lake:/k", "home": [{ "entry": "/", "target": "lake:/${name}" }] }]), "only `${user}`"),
        (json!("lake:/k"), "expected a list"),
    ] {
        assert_problem(&desk.setup, source, said);
    }
}

#[track_caller]
fn assert_problem(setup: &Setup, source: Value, said: &str) {
    let mut setup = setup.clone();
    setup.config["users_from"] = source;
    let config = setup.write_config();
    let checked = check(&config);
    assert!(checked.contains(said), "{said:?} is not in {checked}");
}

fn check(config: &Path) -> String {
    let mut command = crate::support::gateway::lockgate();
    let finished = crate::support::process::run(command.arg("check").arg("--config").arg(config)).failed();
    format!("{}{}", finished.stdout, finished.stderr)
}

#[test]
fn a_certificate_of_an_authority_that_everybody_trusts_is_as_good_as_a_key() {
    let mut desk = Desk::new();
    let (authority, own, ann) = (desk.setup.key("authority"), desk.setup.key("own"), desk.setup.key("ann"));
    desk.setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    desk.put("ann.pub", &[&own.with_options("cert-authority").public, &desk.setup.key("other").public]);
    let gateway = desk.setup.start();
    let held = |name: &str, authority: &Key| {
        let certificate = sign(desk.setup.folder(), name, authority, &ann, &["-I", name, "-n", "ann"]);
        let client = gateway.client("ann", &ann).with(&format!("CertificateFile={}", certificate.display()));
        let mut running = Running::start(client.command("sftp").args(["-b", "-"]).arg(client.host()));
        running.feed(b"pwd\n");
        gateway.events.await_event("CONNECTED", |event| field(event, "ssh-certificate-key-id") == name);
        running
    };
    let (mut by_all, mut by_own) = (held("all", &authority), held("own-cert", &own));
    // Rounds pass. Then her own authority goes, and then she herself.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(gateway.events.of_type("DISCONNECTED").is_empty());
    let other = fs::read_to_string(desk.setup.folder().join("other.pub")).unwrap();
    desk.put("ann.pub", &[&other]);
    ended(&gateway, "ann", "key-removed");
    by_own.close_input();
    by_own.finish(LIMIT).says("the key of this session was removed");
    assert_eq!(gateway.events.of_type("DISCONNECTED").len(), 1);
    desk.remove("ann.pub");
    ended(&gateway, "ann", "user-removed");
    by_all.close_input();
    by_all.finish(LIMIT).says("the user was removed");
    gateway.stop();
}

#[test]
fn an_online_check_reads_the_folder() {
    let mut desk = Desk::new();
    let key = desk.setup.key("ann");
    for name in ["ann.pub", "ben.pub", "Carl.pub"] {
        desk.put(name, &[&key.public]);
    }
    desk.setup.user(User::new("ann").key(&key).home("/", "lake:/inside"));
    let mut command = crate::support::gateway::lockgate();
    let config = desk.setup.write_config();
    let checked = crate::support::process::run(command.args(["check", "--online", "--config"]).arg(config)).succeeded();
    for said in [
        "keys:lake:/public-keys has 2 users",
        "passed over Carl.pub",
        "ann stands in the configuration too, which wins",
    ] {
        assert!(checked.stderr.contains(said), "{checked}");
    }
    assert!(checked.stdout.contains("1 user and 1 source of users"), "{checked}");
}

/// Ten thousand users: the gateway serves them, finds a change, and stays small.
#[test]
fn ten_thousand_users_are_read_at_the_start() {
    let desk = Desk::new();
    let (key, other) = (desk.setup.key("all"), desk.setup.key("other"));
    let folder = desk.root.join("public-keys");
    for n in 0..10_000 {
        fs::write(folder.join(format!("user{n}.pub")), &key.public).unwrap();
    }
    let began = Instant::now();
    let gateway = desk.setup.start();
    gateway.client("user9999", &key).sftp("pwd\n").succeeded();
    until("every user on record", LIMIT, || (gateway.events.of_type("USER_ADDED").len() == 10_000).then_some(()));
    desk.put("user5000.pub", &[&other.public]);
    change(&gateway, "USER_CHANGED", "user5000", &[&other]);
    assert!(gateway.peak_memory() < 128 << 20, "{}", gateway.peak_memory());
    eprintln!("all told after {:?}, at most {} MiB", began.elapsed(), gateway.peak_memory() >> 20);
    gateway.stop();
}
