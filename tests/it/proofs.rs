//! What a user must prove, in which orders, and within which bounds; and that a refusal tells a stranger nothing.

use serde_json::json;

use crate::keys::{SUCCESS, reasons, steps};
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{Running, run, tool};
use crate::support::setup::{Setup, User, hash_password};

/// SSH_MSG_USERAUTH_FAILURE as `tests/clients/auth_steps.py` shows it.
fn failure(methods: &str, partial: bool) -> String {
    let hex: String = methods.bytes().map(|b| format!("{b:02x}")).collect();
    format!("51 {:08x}{hex}{:02x}", methods.len(), u8::from(partial))
}

fn rejected() -> String {
    failure("publickey,password,keyboard-interactive", false)
}

/// The method and the failures of the `n`th connection.
fn outcome(gateway: &Gateway, n: usize) -> (Option<String>, Vec<String>) {
    let events = gateway.events.await_disconnected(n);
    let connected = events.iter().find(|e| field(e, "activity-type") == "CONNECTED");
    let reasons = reasons(&events).into_iter().map(str::to_owned).collect();
    (connected.map(|e| field(e, "method").to_owned()), reasons)
}

fn bcrypt_hash(password: &str) -> String {
    let script = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(10)).decode())";
    let mut python = std::process::Command::new(tool("venv/bin/python"));
    run(python.args(["-c", script, password])).succeeded().stdout.trim().to_owned()
}

#[test]
fn two_proofs_are_given_in_either_order() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, other) = (setup.key("key"), setup.key("other"));
    let both = |name: &str| {
        let user = User::new(name).home("/", "main:/").key(&key).password("staple");
        user.set("auth", "public_key_and_password")
    };
    setup.user(both("both"));
    setup.user(both("twin"));
    let gateway = setup.start();
    let by = |key: &Key| format!("key={}", key.private.display());
    let (right, wrong) = (by(&key), by(&other));
    let passwords = "password,keyboard-interactive";
    let (needs_key, needs_password) = (failure("publickey", true), failure(passwords, true));
    let (still_key, still_password) = (failure("publickey", false), failure(passwords, false));
    // On the way of keyboard-interactive there is one prompt, with the echo off.
    let prompt = "60 00000000000000000000000000000001";
    let prompt = format!("{prompt}0000000a50617373776f72643a2000");
    let typed = format!("{prompt},{SUCCESS}");
    let typed_first = format!("{prompt},{needs_key}");
    let no = rejected();
    type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a str>, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[&right, "password=staple"], &[&needs_password, SUCCESS], Some("publickey,password"), &[]),
        (&["password=staple", &right], &[&needs_key, SUCCESS], Some("password,publickey"), &[]),
        (&[&right, "keyboard=staple"], &[&needs_password, &typed], Some("publickey,keyboard-interactive"), &[]),
        (&["keyboard=staple", &right], &[&typed_first, SUCCESS], Some("keyboard-interactive,publickey"), &[]),
        (
            &[&right, "password=wrong", "password=staple"],
            &[&needs_password, &still_password, SUCCESS],
            Some("publickey,password"),
            &["bad-password"],
        ),
        (
            &["password=staple", &wrong, &right],
            &[&needs_key, &still_key, SUCCESS],
            Some("password,publickey"),
            &["key-not-authorized"],
        ),
        // Twice the same proof is one proof, and each user needs two of their own.
        (&["password=staple", "password=staple"], &[&needs_key, &needs_key], None, &["second-factor-missing"]),
        (&[&right, &right], &[&needs_password, &needs_password], None, &["second-factor-missing"]),
        (
            &[&right, "user=twin", "password=staple", "user=both", "password=staple"],
            &[&needs_password, &needs_key, &needs_key],
            None,
            &["second-factor-missing", "second-factor-missing", "second-factor-missing"],
        ),
        (
            &["password=staple", "user=nobody", &right, "user=both", &right],
            &[&needs_key, &no, &needs_password],
            None,
            &["second-factor-missing", "unknown-user", "second-factor-missing"],
        ),
    ];
    for (i, (given, answers, method, failures)) in cases.iter().enumerate() {
        let mut all = vec!["user=both"];
        all.extend(*given);
        assert_eq!(steps(&gateway, &all), *answers, "{given:?}");
        let (connected, reasons) = outcome(&gateway, i + 1);
        let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
        assert_eq!((connected.as_deref(), reasons.as_slice()), (*method, *failures), "{given:?}");
    }
    gateway.stop();
}

#[test]
fn openssh_gives_two_proofs_and_each_way_of_a_password() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let home = |name: &str| User::new(name).home("/", "main:/");
    setup.user(home("both").key(&key).password("staple").set("auth", "public_key_and_password"));
    setup.user(home("paula").password("horse"));
    setup.user(home("berta").set("password_hash", bcrypt_hash("moved")).set("auth", "password"));
    let gateway = setup.start();
    let cases = [
        ("both", "staple", "publickey,password", Some("publickey,password")),
        ("both", "staple", "password,publickey", Some("password,publickey")),
        ("both", "staple", "keyboard-interactive,publickey", Some("keyboard-interactive,publickey")),
        ("both", "staple", "publickey", None),
        ("both", "staple", "password,keyboard-interactive", None),
        ("both", "wrong", "publickey,password", None),
        ("paula", "horse", "password", Some("password")),
        ("paula", "horse", "keyboard-interactive", Some("keyboard-interactive")),
        ("paula", "wrong", "keyboard-interactive", None),
        ("berta", "moved", "password", Some("password")),
        ("berta", "moved", "keyboard-interactive", Some("keyboard-interactive")),
        ("berta", "wrong", "password", None),
    ];
    for (i, (user, password, order, expected)) in cases.into_iter().enumerate() {
        let client = gateway.client(user, &key).password(password);
        let finished = client.with(&format!("PreferredAuthentications={order}")).sftp("pwd\n");
        match expected {
            Some(_) => drop(finished.succeeded()),
            None => drop(finished.complained()),
        }
        let (method, _) = outcome(&gateway, i + 1);
        assert_eq!(method.as_deref(), expected, "{user} {password} {order}");
    }
    gateway.stop();
}

#[test]
fn a_question_without_an_answer_ends_nothing() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let user = User::new("either").home("/", "main:/").key(&key).password("staple");
    setup.user(user.set("auth", "public_key_or_password"));
    let gateway = setup.start();
    let right = format!("key={}", key.private.display());
    let answers = steps(&gateway, &["user=either", "silent-keyboard=", &right]);
    assert_eq!(answers[1], SUCCESS, "{answers:?}");
    assert_eq!(outcome(&gateway, 1), (Some("publickey".into()), vec![]));
    gateway.stop();

    // Where nobody has a password, nobody is asked for one.
    let mut setup = Setup::new();
    setup.memory_store("main");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let answers = steps(&gateway, &["user=alice", "silent-keyboard=", &right]);
    assert_eq!(answers, [&failure("publickey", false), SUCCESS]);
    assert_eq!(outcome(&gateway, 1), (Some("publickey".into()), vec!["method-not-allowed".into()]));
    gateway.stop();
}

/// Users who may not log in, each for another reason, and one who may.
fn kept_out(setup: &mut Setup, key: &Key) -> Vec<(&'static str, &'static str)> {
    setup.memory_store("main");
    let hash = hash_password("staple");
    let user = |name: &str| {
        let user = User::new(name).home("/", "main:/").set("auth", "public_key_or_password");
        user.key(key).set("password_hash", hash.clone())
    };
    setup.user(user("mallory").set("enabled", false));
    setup.user(user("emma").set("expires", "2020-01-01"));
    setup.user(user("nina").set("allow_from", json!(["192.0.2.0/24"])));
    setup.user(user("olga").set("allow_from", json!(["127.0.0.0/8", "::1"])).set("expires", "2999-01-01T00:00:00Z"));
    vec![("mallory", "user-disabled"), ("emma", "user-expired"), ("nina", "source-not-allowed")]
}

#[test]
fn a_user_out_of_bounds_is_refused_with_the_reason_on_record() {
    let mut setup = Setup::new();
    let key = setup.key("key");
    let users = kept_out(&mut setup, &key);
    let gateway = setup.start();
    for (i, (user, reason)) in users.iter().enumerate() {
        gateway.client(user, &key).password("staple").sftp("pwd\n").complained();
        let (method, reasons) = outcome(&gateway, i + 1);
        // The key, and the password in both ways.
        assert_eq!((method, reasons), (None, vec![(*reason).to_owned(); 3]), "{user}");
    }
    gateway.client("olga", &key).sftp("pwd\n").succeeded();
    gateway.stop();
}

/// Byte for byte: an unknown user, a wrong key, a wrong password, and every user who may not log in with what is right.
#[test]
fn every_refusal_is_the_same() {
    for with_authority in [false, true] {
        let mut setup = Setup::new();
        let (key, stranger) = (setup.key("key"), setup.key("stranger"));
        let users = kept_out(&mut setup, &key);
        setup.user(User::new("keyed").home("/", "main:/").key(&stranger));
        if with_authority {
            setup.config["trusted_user_ca_keys"] = json!([setup.key("authority").public]);
        }
        let gateway = setup.start();
        let attempts = |key: &Key, password: &str| {
            let (private, public) = (key.private.display(), key.private.with_extension("pub"));
            let probe = format!("probe={}", public.display());
            let passwords = [format!("password={password}"), format!("keyboard={password}")];
            let [password, keyboard] = passwords;
            vec![password, probe.clone(), probe, format!("key={private}"), keyboard]
        };
        let mut answers = Vec::new();
        let cases = users.iter().map(|(user, _)| (*user, &key, "staple"));
        let others = [("nobody", &key, "staple"), ("olga", &stranger, "wrong!"), ("keyed", &key, "staple")];
        for (user, key, password) in cases.chain(others) {
            let mut all = vec![format!("user={user}")];
            all.extend(attempts(key, password));
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            answers.push((user, steps(&gateway, &all)));
        }
        for (user, heard) in &answers {
            assert_eq!(*heard, answers[0].1, "{user} is told apart from {}: {answers:#?}", answers[0].0);
            assert_eq!(heard[0], rejected(), "{user}");
        }
        gateway.stop();
    }
}

#[test]
fn a_user_has_as_many_sessions_as_allowed() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, stranger) = (setup.key("key"), setup.key("stranger"));
    let user = |name: &str| User::new(name).home("/", "main:/").key(&key);
    setup.user(user("single").set("sessions", 1));
    setup.user(user("other").set("sessions", 1));
    let gateway = setup.start();
    let mut first = Running::start(&mut gateway.client("single", &key).sftp_command());
    gateway.events.await_event("CONNECTED", |event| field(event, "user") == "single");
    let second = gateway.client("single", &key).sftp("pwd\n").failed();
    let wrong = gateway.client("single", &stranger).sftp("pwd\n").failed();
    assert_eq!(second.stderr, wrong.stderr);
    let refused = gateway.events.await_event("AUTH_FAILURE", |event| field(event, "reason") == "too-many-sessions");
    assert_eq!(field(&refused, "ssh-public-key-fingerprint"), key.fingerprint().0);
    gateway.client("other", &key).sftp("pwd\n").succeeded();
    first.feed(b"bye\n");
    first.close_input();
    first.finish(crate::support::process::LIMIT).succeeded();
    crate::support::process::until("a free place", crate::support::process::LIMIT, || {
        gateway.client("single", &key).sftp("pwd\n").status.success().then_some(())
    });
    gateway.stop();
}
