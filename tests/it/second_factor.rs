//! One-time codes after any other proof. The codes are made by Python's standard library, as any app makes them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::admin::administered_with;
use crate::keys::{SUCCESS, reasons, steps};
use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, program, python, run, run_with};
use crate::support::provider::{Provider, Reply};
use crate::support::setup::{Setup, User};

/// A user's secret: each code is taken once, whoever has its secret.
fn secret_of(name: &str) -> String {
    let letters = name.bytes().map(|byte| if byte.is_ascii_digit() { byte - b'0' + b'a' } else { byte });
    let letters: String = letters.map(|byte| char::from(byte).to_ascii_uppercase()).collect();
    format!("{letters:Z<32}")
}

const WRONG: &str = "12345x";

/// A secret's code, so many steps from now, and the number of the current step.
fn code_at(secret: &str, steps: i64) -> (String, i64) {
    let script = "import base64, hashlib, hmac, sys, time\n\
                  now = int(time.time()) // 30\n\
                  key = base64.b32decode(sys.argv[1])\n\
                  hash = hmac.digest(key, (now + int(sys.argv[2])).to_bytes(8, 'big'), hashlib.sha1)\n\
                  at = hash[-1] & 15\n\
                  print(f'{(int.from_bytes(hash[at:at + 4], \"big\") & 0x7fffffff) % 10**6:06}', now)";
    let output = run(program("python3").args(["-c", script, secret, &steps.to_string()])).succeeded().stdout;
    let (code, now) = output.trim().split_once(' ').unwrap();
    (code.to_owned(), now.parse().unwrap())
}

fn code(name: &str) -> String {
    code_at(&secret_of(name), 0).0
}

/// SSH_MSG_USERAUTH_FAILURE as `tests/clients/auth_steps.py` shows it.
fn failure(methods: &str, partial: bool) -> String {
    let hex: String = methods.bytes().map(|b| format!("{b:02x}")).collect();
    format!("51 {:08x}{hex}{:02x}", methods.len(), u8::from(partial))
}

/// SSH_MSG_USERAUTH_INFO_REQUEST with one prompt.
fn prompt(text: &str, echo: bool) -> String {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    format!("60 00000000000000000000000000000001{:08x}{hex}{:02x}", text.len(), u8::from(echo))
}

fn by(key: &Key) -> String {
    format!("key={}", key.private.display())
}

fn user(name: &str, key: &Key) -> User {
    User::new(name).home("/", "main:/").key(key).set("totp", secret_of(name))
}

/// The CONNECTED of a user, and whether the method and the second factor are these.
#[track_caller]
fn connected(gateway: &Gateway, user: &str, method: &str, second: Option<&str>) -> Value {
    let event = gateway.events.await_event("CONNECTED", |event| field(event, "user") == user);
    assert_eq!((field(&event, "method"), event["second-factor"].as_str()), (method, second), "{event}");
    event
}

/// A client that answers both questions.
fn client(gateway: &Gateway, user: &str, key: &Key, code: &str) -> Client {
    gateway.client(user, key).password("staple").code(code).with("NumberOfPasswordPrompts=3")
}

#[test]
fn openssh_gives_a_code_after_every_other_proof() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    setup.user(user("keyed", &key));
    setup.user(user("plain", &key).password("staple"));
    setup.user(user("typed", &key).password("staple"));
    setup.user(user("both", &key).password("staple").set("auth", "public_key_and_password"));
    setup.user(User::new("free").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let typed = "keyboard-interactive";
    for (name, order, method) in [
        ("keyed", "publickey,keyboard-interactive", "publickey,keyboard-interactive".to_owned()),
        ("plain", "password,keyboard-interactive", "password,keyboard-interactive".to_owned()),
        ("typed", typed, format!("{typed},{typed}")),
        ("both", "publickey,password,keyboard-interactive", "publickey,password,keyboard-interactive".to_owned()),
    ] {
        let preferred = format!("PreferredAuthentications={order}");
        let with = |code: &str| client(&gateway, name, &key, code).with(&preferred);
        with(WRONG).sftp("pwd\n").complained();
        let refused = gateway
            .events
            .await_event("AUTH_FAILURE", |event| field(event, "user") == name && field(event, "reason") == "bad-code");
        assert_eq!(field(&refused, "method"), typed);
        with(&code(name)).sftp("pwd\n").succeeded();
        let event = connected(&gateway, name, &method, Some("totp"));
        let is_keyed = order.contains("publickey");
        let fingerprint = key.fingerprint().0;
        assert_eq!(field(&event, "ssh-public-key-fingerprint"), if is_keyed { &fingerprint } else { "" });
        assert_eq!(field(&refused, "ssh-public-key-fingerprint"), if is_keyed { &fingerprint } else { "" });
    }
    // Whoever has no secret is not asked.
    gateway.client("free", &key).sftp("pwd\n").succeeded();
    connected(&gateway, "free", "publickey", None);
    // Without anybody to ask, the key alone is not enough; scp the same.
    gateway.client("keyed", &key).sftp("pwd\n").complained();
    let at_end = gateway.events.await_event("AUTH_FAILURE", |event| field(event, "reason") == "second-factor-missing");
    assert_eq!((field(&at_end, "method"), field(&at_end, "user")), ("publickey", "keyed"));
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 5);
    let events = serde_json::to_string(&gateway.events.all()).unwrap();
    let secret = secret_of("keyed");
    assert!(!events.contains(&secret) && !gateway.log().contains(&secret));
    gateway.stop();
}

/// Message by message: what is owed, what is asked, and what is not.
#[test]
fn what_is_needed_next_is_told_as_ssh_has_it() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, other) = (setup.key("key"), setup.key("other"));
    for name in ["ann", "ben", "carl", "dora", "eve"] {
        setup.user(user(name, &key));
    }
    setup.user(User::new("free").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let (right, wrong) = (by(&key), by(&other));
    let typed = |code: &str| format!("keyboard={code}");
    let only_keys = failure("publickey", false);
    let (owes, still) = (failure("keyboard-interactive", true), failure("keyboard-interactive", false));
    let asked = prompt("Verification code: ", true);
    let (asked_and_refused, asked_and_in) = (format!("{asked},{still}"), format!("{asked},{SUCCESS}"));
    let now = |name: &str| typed(&code(name));
    let no_password = "password=staple".to_owned();
    type Case<'a> = (&'a str, Vec<String>, Vec<&'a str>, Vec<&'a str>);
    let cases: [Case<'_>; 7] = [
        ("ann", vec![right.clone(), now("ann")], vec![&owes, &asked_and_in], vec![]),
        // A code before anything else is not asked for, of nobody.
        ("ben", vec![now("ben")], vec![&only_keys], vec!["method-not-allowed"]),
        ("nobody", vec![now("nobody")], vec![&only_keys], vec!["unknown-user"]),
        // Another method than what is owed neither helps nor forgets.
        (
            "carl",
            vec![
                right.clone(),
                no_password,
                wrong.clone(),
                typed(WRONG),
                typed("000000 0"),
                right.clone(),
                now("carl"),
            ],
            vec![&owes, &still, &still, &asked_and_refused, &asked_and_refused, &owes, &asked_and_in],
            vec!["method-not-allowed", "key-not-authorized", "bad-code", "bad-code"],
        ),
        // An answer without a question, and a wrong key with a right code.
        (
            "dora",
            vec![right.clone(), "response=".into()],
            vec![&owes, &still],
            vec!["second-factor-missing", "not-examined"],
        ),
        (
            "dora",
            vec![wrong, now("dora")],
            vec![&only_keys, &only_keys],
            vec!["key-not-authorized", "method-not-allowed"],
        ),
        // What one user has proven is of no use to another.
        (
            "eve",
            vec![right.clone(), "user=dora".into(), now("dora")],
            vec![&owes, &only_keys],
            vec!["second-factor-missing", "method-not-allowed"],
        ),
    ];
    for (n, (user, given, answers, failures)) in cases.iter().enumerate() {
        let mut all = vec![format!("user={user}")];
        all.extend(given.iter().cloned());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(steps(&gateway, &all), *answers, "{user} {given:?}");
        assert_eq!(reasons(&gateway.events.await_disconnected(n + 1)), *failures, "{user} {given:?}");
    }
    gateway.stop();
}

#[test]
fn a_code_lets_in_once_whoever_comes_and_after_a_restart() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let names: Vec<String> = (0..6).map(|n| format!("user{n}")).collect();
    for name in &names {
        setup.user(user(name, &key));
    }
    let gateway = setup.start();
    // Two at the same time; where a step ends in between, another user tries.
    for name in &names {
        let secret = secret_of(name);
        let (code, step) = code_at(&secret, 0);
        let begin = || Running::start(&mut client(&gateway, name, &key, &code).sftp_command());
        let both: Vec<_> = vec![begin(), begin()];
        let both = both.into_iter().map(|mut one| {
            one.close_input();
            one.finish(LIMIT).status.success()
        });
        assert_eq!(both.filter(|is_in| *is_in).count(), 1, "{name}");
        client(&gateway, name, &key, &code).sftp("pwd\n").complained();
        let used = gateway.events.of_type("AUTH_FAILURE");
        if used.iter().filter(|event| field(event, "user") == name && field(event, "reason") == "code-used").count() < 2
        {
            assert_ne!(code_at(&secret, 0).1, step, "{used:#?}");
            continue;
        }
        // No kill makes it good again.
        gateway.kill();
        let again = setup.start();
        client(&again, name, &key, &code).sftp("pwd\n").complained();
        let refused = again.events.await_event("AUTH_FAILURE", |event| field(event, "user") == name);
        let expected: &[&str] =
            if code_at(&secret, 0).1 <= step + 1 { &["code-used"] } else { &["code-used", "bad-code"] };
        assert!(expected.contains(&field(&refused, "reason")), "{refused}");
        // The next one is as good as ever.
        client(&again, name, &key, &code_at(&secret, 1).0).sftp("pwd\n").succeeded();
        again.stop();
        return;
    }
    panic!("the machine is too slow for a code's half minute");
}

/// Whoever cuts the power right after a login does not make its code good again.
#[test]
fn a_used_code_is_on_the_disk_before_anybody_is_let_in() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    setup.user(user("ann", &key));
    let log = setup.folder().join("strace");
    let words = ["strace", "-f", "-qq", "-y", "-e", "trace=fsync", "-o", log.to_str().unwrap()];
    let gateway = Gateway::start_under(&words, &setup);
    client(&gateway, "ann", &key, &code("ann")).sftp("pwd\n").succeeded();
    // strace writes its line before the call goes on.
    let calls = fs::read_to_string(&log).unwrap();
    let synced: Vec<&str> = calls.lines().filter(|line| line.contains("fsync(")).collect();
    let file = synced.iter().position(|line| line.contains("lockgate-codes-used.new"));
    assert!(file.is_some_and(|file| file + 1 < synced.len()), "the file, then its folder: {calls}");
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", gateway.pid())).unwrap();
    let child = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    let mut gateway = gateway;
    gateway.ended(LIMIT);
}

#[test]
fn clocks_may_be_a_step_apart() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    for name in (0..8).flat_map(|n| [format!("behind{n}"), format!("ahead{n}"), format!("lost{n}")]) {
        setup.user(user(&name, &key));
    }
    let gateway = setup.start();
    let still = failure("keyboard-interactive", false);
    for n in 0..8 {
        let tried = |name: &str, apart: i64| {
            let name = format!("{name}{n}");
            let (code, _) = code_at(&secret_of(&name), apart);
            let given = [format!("user={name}"), by(&key), format!("keyboard={code}")];
            steps(&gateway, &given.each_ref().map(String::as_str)).pop().unwrap()
        };
        let before = code_at(&secret_of("any"), 0).1;
        let answers = [tried("behind", -1), tried("ahead", 1), tried("lost", -2), tried("lost", 3)];
        // Where a step ended in between, what was asked is not what was meant.
        if code_at(&secret_of("any"), 0).1 == before {
            let ends_with = answers.each_ref().map(|answer| answer.ends_with(SUCCESS));
            assert_eq!(ends_with, [true, true, false, false], "{answers:?}");
            assert!(answers[2].ends_with(&still));
            gateway.stop();
            return;
        }
    }
    panic!("the machine is too slow for a code's half minute");
}

#[test]
fn guesses_of_codes_are_bounded_for_the_user_and_for_the_address() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    setup.user(user("ann", &key));
    setup.user(user("ben", &key));
    let guess = |gateway: &Gateway, user: &str, code: &str| {
        let given = [format!("user={user}"), by(&key), format!("keyboard={code}")];
        steps(gateway, &given.each_ref().map(String::as_str))
    };
    let gateway = setup.start();
    for _ in 0..5 {
        guess(&gateway, "ann", WRONG);
    }
    // Whatever comes then is not looked at, on whichever connection, and nothing tells.
    let (wrong, right) = (guess(&gateway, "ann", WRONG), guess(&gateway, "ann", &code("ann")));
    assert_eq!(wrong, right);
    let events = gateway.events.await_disconnected(7);
    let told = reasons(&events);
    assert_eq!(told, ["too-many-codes", "second-factor-missing"], "{events:#?}");
    assert_eq!(guess(&gateway, "ben", &code("ben")).pop().unwrap().rsplit(',').next(), Some(SUCCESS), "another user");
    gateway.stop();

    setup.config["defender"] = json!({ "points": 100, "allow": [] });
    let gateway = setup.start();
    guess(&gateway, "ann", WRONG);
    // Two wrong codes have 100 points; the second one may not be answered any more.
    let mut last = python("auth_steps.py");
    run(last.arg(gateway.port.to_string()).args(["user=ben", &by(&key), &format!("keyboard={WRONG}")]));
    gateway.client("ben", &key).sftp("pwd\n").complained();
    gateway.events.await_event("CONNECTION_REJECTED", |event| field(event, "reason") == "banned");
    gateway.stop();
}

#[test]
fn paramiko_gives_a_code() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    setup.user(user("ann", &key));
    setup.user(user("ben", &key).password("staple"));
    let gateway = setup.start();
    let attempt = |how: &str, user: &str, rest: &[&str]| {
        run(python("several_attempts.py").args([how, &gateway.port.to_string(), user]).args(rest)).succeeded();
    };
    attempt("paramiko-key-and-code", "ann", &[key.private.to_str().unwrap(), &code("ann")]);
    connected(&gateway, "ann", "publickey,keyboard-interactive", Some("totp"));
    attempt("paramiko-password-and-code", "ben", &["staple", &code("ben")]);
    connected(&gateway, "ben", "password,keyboard-interactive", Some("totp"));
    gateway.stop();
}

#[test]
fn users_of_a_folder_and_of_a_provider_give_codes_too() {
    let mut setup = Setup::new();
    let root = setup.local_store("lake");
    let key = setup.key("key");
    fs::create_dir(root.join("keys")).unwrap();
    for name in ["ann", "ben"] {
        fs::write(root.join("keys").join(format!("{name}.pub")), &key.public).unwrap();
    }
    let file = setup.folder().join("ann.totp");
    fs::write(&file, format!("{}\n", secret_of("ann"))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let public = key.public.clone();
    let provider = Provider::start(move |question| {
        let answer = |more: Value| {
            let mut answer = json!({ "Role": "r", "HomeDirectory": "/lake/home", "PublicKeys": [public] });
            answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Reply::Json(answer)
        };
        match &question.target.to_ascii_lowercase() {
            about if about.contains("/users/carl/") => answer(json!({ "TotpSecret": secret_of("carl") })),
            about if about.contains("/users/dora/") => answer(json!({ "TotpSecret": "hunter2" })),
            about if about.contains("/users/emil/") => answer(json!({ "TotpSecret": null })),
            _ => Reply::Json(json!({})),
        }
    });
    let home = json!([{ "entry": "/", "target": "lake:/home/${user}" }]);
    let totp = json!({ "ann": format!("${{file:{}}}", file.display()) });
    setup.config["users_from"] = json!([
        { "keys": "lake:/keys", "home": home, "totp": totp, "require_totp": true },
        { "http": { "url": provider.url(), "cache": "0ms" } },
    ]);
    let gateway = setup.start();
    for name in ["ann", "carl"] {
        client(&gateway, name, &key, &code(name)).sftp("pwd\n").succeeded();
        connected(&gateway, name, "publickey,keyboard-interactive", Some("totp"));
    }
    // The provider knows the user by every spelling; what was used is used by each.
    let used = code("carl");
    for name in ["carl", "Carl", "CARL"] {
        client(&gateway, name, &key, &used).sftp("pwd\n");
    }
    let by_carl = gateway.events.of_type("CONNECTED").into_iter().filter(|event| event["user"] != "ann").count();
    // The login before these took one; between it and these a step may have ended.
    assert!(by_carl <= 2, "{by_carl} logins with two codes");
    client(&gateway, "ben", &key, &code("ben")).sftp("pwd\n").complained();
    client(&gateway, "dora", &key, &code("dora")).sftp("pwd\n").complained();
    gateway.client("emil", &key).sftp("pwd\n").succeeded();
    connected(&gateway, "emil", "publickey", None);
    let reason = |user: &str| {
        let of_user = gateway.events.of_type("AUTH_FAILURE").into_iter().filter(|event| field(event, "user") == user);
        of_user.map(|event| field(&event, "reason").to_owned()).collect::<BTreeSet<_>>()
    };
    assert!(reason("ben").contains("second-factor-not-set"), "{:?}", reason("ben"));
    assert!(reason("dora").contains("directory-answer-unusable"), "{:?}", reason("dora"));
    let told = serde_json::to_string(&gateway.events.all()).unwrap() + &gateway.log();
    let is_secret = ["ann", "carl"].iter().all(|name| !told.contains(&secret_of(name)));
    assert!(!told.contains("hunter2") && is_secret && told.contains("TotpSecret"), "{told}");
    gateway.stop();
}

#[test]
fn what_totp_makes_is_what_a_gateway_takes() {
    let folder = Setup::new();
    let key = folder.key("key");
    let file = folder.folder().join("ann.totp");
    let made = run(lockgate().args(["totp", "ann", "--issuer", "edge 1", "--out"]).arg(&file)).succeeded().stdout;
    let secret = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let uri = format!("otpauth://totp/edge%201:ann?secret={}&issuer=edge%201&", secret.trim());
    let line = format!("totp: \"${{file:{}}}\"", file.display());
    assert!(made.starts_with(&uri) && made.contains('█') && made.trim_end().ends_with(&line), "{made}");
    assert_eq!(made.matches(secret.trim()).count(), 1, "only in the URI");
    let again = run_with(lockgate().args(["totp", "ann", "--out"]).arg(&file), b"", LIMIT);
    assert!(!again.status.success() && again.stdout.is_empty(), "{again:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), secret, "what is there stays");

    let with_file = User::new("ann").home("/", "main:/").key(&key).set("totp", format!("${{file:{}}}", file.display()));
    let administered = administered_with(|setup| setup.user(with_file));
    let gateway = &administered.door.gateway;
    let given = ["user=ann".to_owned(), by(&key), format!("keyboard={}", code_at(secret.trim(), 0).0)];
    let answers = steps(gateway, &given.each_ref().map(String::as_str));
    assert!(answers[1].ends_with(SUCCESS), "{answers:?}");
    let shown = administered.command(&["users", "show", "ann"]).succeeded().stdout;
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["and", "totp"])), "{shown}");
    let configuration = administered.socket.get("/api/v1/config").ok().to_string();
    assert!(configuration.contains("ann.totp") && !configuration.contains(secret.trim()), "{configuration}");
    let access = administered.command(&["audit", "access", "--user", "ann", "--format", "json"]).succeeded().stdout;
    let access: Value = serde_json::from_str(&access).unwrap();
    assert_eq!(access["users"][0]["second-factor"], "totp");
    assert!(!access.to_string().contains(secret.trim()));
}
