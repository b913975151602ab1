//! Users of an identity provider, as AWS Transfer Family asks its own: the example, and one that does what providers do when
//! they fail.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, program, python, run, until};
use crate::support::provider::{Example, Provider, Question, Reply, example_hash};
use crate::support::setup::{Setup, User};

/// A gateway that asks one provider, with a local store `lake`.
fn setup(http: Value, more: Value) -> Setup {
    let mut setup = Setup::new();
    setup.local_store("lake");
    let mut source = json!({ "http": http });
    source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    setup.config["users_from"] = source;
    setup
}

fn by_password(gateway: &Gateway, user: &str, password: &str) -> Client {
    gateway.keyless(user).password(password).with("PreferredAuthentications=password")
}

/// The only AUTH_FAILURE with this reason and user.
#[track_caller]
fn failure(gateway: &Gateway, user: &str, reason: &str) -> Value {
    gateway.events.await_event("AUTH_FAILURE", |event| field(event, "user") == user && field(event, "reason") == reason)
}

fn answer_for(key: &Key) -> Value {
    json!({ "Role": "arn:aws:iam::1:role/r", "HomeDirectory": "/lake/home", "PublicKeys": [key.public] })
}

/// Answers questions about `ann` as a provider written for Transfer Family: her key, or the password "battery".
fn honest(key: &Key) -> impl FnMut(&Question) -> Reply + Send + 'static {
    let answer = answer_for(key);
    move |question| {
        let about_ann =
            question.target.contains("/users/ann/") || String::from_utf8_lossy(&question.body).contains("\"ann\"");
        let right = question.password().is_none_or(|password| password == "battery");
        Reply::Json(if about_ann && right { answer.clone() } else { json!({}) })
    }
}

#[test]
fn the_example_serves_both_methods_and_both_kinds_of_homes() {
    let folder = Setup::new();
    let (ann, ben) = (folder.key("ann"), folder.key("ben"));
    let users = json!({
        "ann": { "password": example_hash("battery"), "PublicKeys": [ann.public], "Role": "arn:partner",
                 "HomeDirectory": "/lake/home/ann" },
        "ben@x.org": { "password": example_hash("stäple"), "PublicKeys": ["", ben.public], "Role": "arn:partner",
                 "HomeDirectoryType": "LOGICAL", "HomeDirectoryDetails": [
                    { "Entry": "/in", "Target": "/lake/in/${transfer:UserName}" },
                    { "Entry": "/out", "Target": "/lake/out" } ] },
    });
    let file = folder.folder().join("users.json");
    fs::write(&file, users.to_string()).unwrap();
    let example = Example::start(&file, "the-api-key");
    for method in ["GET", "POST"] {
        let http = json!({ "url": example.url(), "method": method, "headers": { "x-api-key": "the-api-key" } });
        let setup = setup(http, json!({}));
        let root = setup.folder().join("store-lake");
        let gateway = setup.start();
        gateway.client("ann", &ann).sftp("mkdir by-key\n").succeeded();
        by_password(&gateway, "ann", "battery").sftp("mkdir by-password\n").succeeded();
        assert!(root.join("home/ann/by-key").is_dir() && root.join("home/ann/by-password").is_dir(), "{method}");
        gateway.client("ben@x.org", &ben).sftp("mkdir /in/x\nmkdir /out/y\n").succeeded();
        assert!(root.join("in/ben@x.org/x").is_dir() && root.join("out/y").is_dir(), "{method}");
        by_password(&gateway, "ben@x.org", "stäple").sftp("ls /in\n").succeeded();
        gateway.client("ben@x.org", &ben).sftp("mkdir /other\n").failed();
        let connected = gateway.events.until("five logins", |events| {
            let all: Vec<_> = events.iter().filter(|e| field(e, "activity-type") == "CONNECTED").cloned().collect();
            (all.len() == 5).then_some(all)
        });
        assert!(connected.iter().all(|event| field(event, "role") == "arn:partner"), "{connected:#?}");
        assert_eq!(field(&connected[0], "ssh-public-key-fingerprint"), ann.fingerprint().0);
        assert_eq!(field(&connected[1], "method"), "password");

        // A wrong key, a wrong password, another's, an empty one, and nobody at all.
        gateway.client("ann", &ben).sftp("pwd\n").failed();
        failure(&gateway, "ann", "key-not-authorized");
        for (user, password) in [("ann", "wrong"), ("ann", "stäple"), ("ann", ""), ("nobody", "battery")] {
            by_password(&gateway, user, password).sftp("pwd\n").complained();
        }
        let wrong = failure(&gateway, "ann", "bad-password");
        assert_eq!(field(&wrong, "message"), "Invalid user name or password");
        gateway.client("nobody", &ann).sftp("pwd\n").failed();
        failure(&gateway, "nobody", "unknown-user");
        assert_eq!(gateway.events.of_type("CONNECTED").len(), 5, "{method}");
        // Somebody else's client.
        let mut paramiko = python("password_login.py");
        run(paramiko.args(["127.0.0.1", &gateway.port.to_string(), "ann", "battery"])).succeeded();
        assert!(root.join("home/ann/paramiko").is_dir());
        for secret in ["battery", "stäple", "the-api-key"] {
            assert!(!gateway.log().contains(secret), "{}", gateway.log());
            assert!(!format!("{:?}", gateway.events.all()).contains(secret));
        }
        gateway.stop();
    }
}

#[test]
fn the_questions_are_those_of_transfer_family() {
    let folder = Setup::new();
    let key = folder.key("ann");
    for method in ["GET", "POST"] {
        let provider = Provider::start(honest(&key));
        let http =
            json!({ "url": provider.url(), "method": method, "server_id": "s-0123", "headers": { "x-api-key": "k" } });
        let gateway = setup(http, json!({})).start();
        gateway.client("ann", &key).sftp("pwd\n").succeeded();
        by_password(&gateway, "ann", "battery").sftp("pwd\n").succeeded();
        by_password(&gateway, "a@b.c", "x").sftp("pwd\n").failed();
        let questions = provider.questions();
        let passwords: Vec<_> = questions.iter().map(Question::password).collect();
        assert_eq!(passwords, [None, Some("battery".into()), Some("x".into())], "the key was asked for once");
        assert!(
            questions.iter().all(|question| question.header("x-api-key") == Some("k") && question.method == method)
        );
        if method == "GET" {
            let target = "/stage/servers/s-0123/users/ann/config?sourceIp=127.0.0.1&protocol=SFTP";
            assert_eq!(questions[0].target, target);
            assert_eq!(questions[0].header("password"), None);
            assert!(questions[2].target.starts_with("/stage/servers/s-0123/users/a@b.c/config?"), "{questions:?}");
        } else {
            assert_eq!(questions[0].target, "/stage");
            assert_eq!(questions[0].header("content-type"), Some("application/json"));
            let body: Value = serde_json::from_slice(&questions[1].body).unwrap();
            let expected = json!({ "username": "ann", "password": "battery", "protocol": "SFTP", "serverId": "s-0123",
                                   "sourceIp": "127.0.0.1" });
            assert_eq!(body, expected);
        }
        // Names that Transfer Family does not ask for, and empty passwords, are refused without a question.
        for name in ["an n", "a/../b", "-ann", "ann%2e", &"a".repeat(101)] {
            by_password(&gateway, name, "x").sftp("pwd\n").failed();
            gateway.client(name, &key).sftp("pwd\n").failed();
        }
        by_password(&gateway, "ann", "").sftp("pwd\n").failed();
        let questions = provider.questions();
        assert!(questions.is_empty(), "{questions:?}");
        gateway.stop();
    }
}

#[test]
fn each_mode_asks_for_what_it_says() {
    let folder = Setup::new();
    let (key, stranger) = (folder.key("ann"), folder.key("stranger"));
    let provider = Provider::start(honest(&key));
    let start = |auth: &str| {
        let http = json!({ "url": provider.url(), "cache": "0s" });
        setup(http, json!({ "auth": auth })).start()
    };
    let both = |gateway: &Gateway, key: &Key, password: &str| gateway.client("ann", key).password(password);

    let gateway = start("public_key");
    gateway.client("ann", &key).sftp("pwd\n").succeeded();
    gateway.client("ann", &stranger).sftp("pwd\n").failed();
    by_password(&gateway, "ann", "battery").sftp("pwd\n").failed();
    assert!(
        provider.questions().iter().all(|question| question.password().is_none()),
        "no password leaves the gateway"
    );
    gateway.stop();

    let gateway = start("password");
    gateway.client("ann", &key).sftp("pwd\n").failed();
    failure(&gateway, "ann", "method-not-allowed");
    assert!(provider.questions().is_empty(), "a key is of no use, so nobody is asked");
    by_password(&gateway, "ann", "battery").sftp("pwd\n").succeeded();
    gateway.stop();

    let gateway = start("public_key_or_password");
    both(&gateway, &stranger, "battery").sftp("pwd\n").succeeded();
    both(&gateway, &stranger, "wrong").sftp("pwd\n").failed();
    gateway.stop();

    let gateway = start("public_key_and_password");
    provider.questions();
    gateway.client("ann", &key).sftp("pwd\n").failed();
    by_password(&gateway, "ann", "battery").sftp("pwd\n").failed();
    both(&gateway, &key, "wrong").sftp("pwd\n").failed();
    both(&gateway, &stranger, "battery").sftp("pwd\n").failed();
    assert!(gateway.events.of_type("CONNECTED").is_empty());
    both(&gateway, &key, "battery").sftp("pwd\n").succeeded();
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    assert!(field(&connected, "method").starts_with("publickey,"), "{connected}");
    gateway.stop();
}

#[test]
fn a_provider_that_fails_lets_nobody_in() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let provider = Provider::start(honest(&key));
    let http = json!({ "url": provider.url(), "cache": "0s", "timeout": "10s", "retries": 2 });
    let gateway = setup(http, json!({})).start();
    let big =
        json!({ "Role": "r", "HomeDirectory": "/lake", "PublicKeys": [key.public], "Filler": "x".repeat(2 << 20) });
    let good = answer_for(&key);
    let elsewhere = format!("location: {}/moved\r\n", provider.url());
    let with = |name: &str, value: Value| {
        let mut answer = answer_for(&key);
        answer[name] = value;
        Reply::Json(answer)
    };
    let (silent, unusable) = ("directory-unavailable", "directory-answer-unusable");
    let failures = [
        (Reply::Raw(500, String::new(), Vec::new()), 3, silent, "did not answer: its status is 500"),
        (Reply::Raw(503, String::new(), Vec::new()), 3, silent, "did not answer: its status is 503"),
        (Reply::Raw(403, String::new(), good.to_string().into_bytes()), 1, unusable, "used: status: is 403"),
        (Reply::Raw(201, String::new(), good.to_string().into_bytes()), 1, unusable, "used: status: is 201"),
        (Reply::Raw(302, elsewhere, Vec::new()), 1, unusable, "used: status: is 302"),
        (Reply::Raw(200, String::new(), b"<html>".to_vec()), 1, unusable, "used: body: is no JSON"),
        (Reply::Raw(200, "content-length: 9999\r\n".into(), b"{".to_vec()), 1, silent, "the request failed"),
        (Reply::Json(json!([good.clone()])), 1, unusable, "used: body: is a list"),
        (Reply::Json(big), 1, unusable, "used: body: is longer than 1024 KiB"),
        (Reply::Endless, 1, unusable, "used: body: is longer than 1024 KiB"),
        (Reply::Cut, 1, silent, "did not answer: the request failed"),
        (Reply::Late(LIMIT, Box::new(Reply::Json(good.clone()))), 1, silent, "does not answer in time"),
        (
            with("HomeDirectory", json!("/elsewhere/x")),
            1,
            unusable,
            "HomeDirectory: the target /elsewhere/x is in none",
        ),
        (with("HomeDirectory", json!("/lake/../..")), 1, unusable, "plain form"),
        (with("HomeDirectory", json!(7)), 1, unusable, "HomeDirectory: is a number; text is needed"),
        (with("HomeDirectoryType", json!("LOGICAL")), 1, unusable, "HomeDirectoryDetails: is missing"),
        (with("Policy", json!("{\"Version\":\"2012-10-17\"}")), 1, unusable, "Policy: cannot be evaluated here"),
    ];
    for (place, (reply, times, reason, said)) in failures.into_iter().enumerate() {
        provider.answer(move |_| reply.clone());
        provider.questions();
        gateway.client("ann", &key).sftp("pwd\n").complained();
        assert_eq!(provider.questions().len(), times, "{said}");
        let failed = gateway.events.await_disconnected(2 * place + 1);
        let failed: Vec<_> = failed.iter().filter(|event| field(event, "activity-type") == "AUTH_FAILURE").collect();
        assert_eq!(failed.len(), 1, "{said}: {failed:#?}");
        assert_eq!(field(failed[0], "reason"), reason, "{said}");
        assert!(field(failed[0], "cause").contains(said), "{said}: {failed:#?}");
        let session = format!("session={}", field(failed[0], "session-id"));
        until(said, LIMIT, || {
            let log = gateway.log();
            let line = log.lines().find(|line| line.contains(&session) && line.contains(said))?;
            (line.contains("user=\"ann\"") && line.contains("address=127.0.0.1")).then_some(())
        });
        by_password(&gateway, "ann", "battery").sftp("pwd\n").failed();
    }
    assert!(gateway.events.of_type("CONNECTED").is_empty());
    // One that fails for a moment is asked again, and one that is back is believed.
    let (mut count, mut then) = (0, honest(&key));
    provider.answer(move |question| {
        count += 1;
        if count == 1 { Reply::Raw(502, String::new(), Vec::new()) } else { then(question) }
    });
    gateway.client("ann", &key).sftp("pwd\n").succeeded();
    gateway.stop();
}

/// The configuration cannot know these homes, so each is judged at the login.
#[test]
fn a_home_that_leads_to_the_keys_of_others_lets_nobody_in() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let provider = Provider::start(honest(&key));
    let mut setup = setup(json!({ "url": provider.url(), "cache": "0s" }), json!({}));
    let keys = json!({ "keys": "lake:/safe/keys", "home": [{ "entry": "/", "target": "lake:/home/${user}" }] });
    setup.config["users_from"] = json!([setup.config["users_from"], keys]);
    let root = setup.folder().join("store-lake");
    fs::create_dir_all(root.join("safe/keys")).unwrap();
    std::os::unix::fs::symlink("safe", root.join("by-link")).unwrap();
    let gateway = setup.start();
    for (home, is_let_in) in [
        ("/lake", false),
        ("/lake/safe", false),
        ("/lake/safe/keys", false),
        ("/lake/by-link/keys/x", false),
        ("/lake/safe/other", true),
    ] {
        let mut answer = answer_for(&key);
        answer["HomeDirectory"] = home.into();
        provider.answer(move |_| Reply::Json(answer.clone()));
        let tried = [gateway.client("ann", &key).sftp("pwd\n"), by_password(&gateway, "ann", "battery").sftp("pwd\n")];
        for finished in tried {
            if is_let_in {
                finished.succeeded()
            } else {
                finished.failed()
            };
        }
    }
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 2);
    failure(&gateway, "ann", "directory-answer-unusable");
    until("the reason", LIMIT, || {
        gateway.log().contains("lake:/safe/keys is inside the home of the user").then_some(())
    });
    gateway.stop();
}

#[test]
fn answers_are_remembered_for_a_short_time_and_passwords_never() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let provider = Provider::start(honest(&key));
    let gateway = setup(json!({ "url": provider.url(), "cache": "10m" }), json!({})).start();
    gateway.client("ann", &key).sftp("pwd\n").succeeded();
    provider.answer(|_| Reply::Json(json!({})));
    gateway.client("ann", &key).sftp("pwd\n").succeeded();
    assert_eq!(provider.questions().len(), 1);
    by_password(&gateway, "ann", "battery").sftp("pwd\n").failed();
    assert_eq!(provider.questions().len(), 1, "a password is always asked for");
    gateway.stop();

    let provider = Provider::start(honest(&key));
    let gateway = setup(json!({ "url": provider.url(), "cache": "6s" }), json!({})).start();
    gateway.client("ann", &key).sftp("pwd\n").succeeded();
    provider.answer(|_| Reply::Json(json!({})));
    std::thread::sleep(Duration::from_millis(6100));
    provider.questions();
    gateway.client("ann", &key).sftp("pwd\n").failed();
    assert_eq!(provider.questions().len(), 1, "the refusal is remembered for the client's other questions");
    gateway.stop();
}

#[test]
fn names_of_one_and_two_characters_are_asked_for() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let answer = answer_for(&key);
    let provider = Provider::start(move |_| Reply::Json(answer.clone()));
    let gateway = setup(json!({ "url": provider.url() }), json!({})).start();
    for name in ["a", "an", "_1"] {
        gateway.client(name, &key).sftp("pwd\n").succeeded();
    }
    gateway.stop();
}

#[test]
fn sources_are_asked_in_their_order_after_the_configuration() {
    let mut setup = Setup::new();
    let root = setup.local_store("lake");
    let keys: Vec<Key> = ["ann", "ben", "carl"].map(|name| setup.key(name)).into();
    fs::create_dir(root.join("public-keys")).unwrap();
    for (name, key) in [("ann", &keys[1]), ("ben", &keys[1])] {
        fs::write(root.join(format!("public-keys/{name}.pub")), &key.public).unwrap();
    }
    let all = keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>();
    let answer =
        json!({ "Role": "provider", "HomeDirectory": "/elsewhere/http/${transfer:UserName}", "PublicKeys": all });
    let provider = Provider::start(move |_| Reply::Json(answer.clone()));
    setup.config["users_from"] = json!([
        { "keys": "lake:/public-keys", "home": [{ "entry": "/", "target": "lake:/folder/${user}" }] },
        { "http": { "url": provider.url() }, "targets": { "/elsewhere/http": "lake:/mapped" }, "permissions": "read_only" },
    ]);
    setup.user(User::new("ann").key(&keys[0]).home("/", "lake:/file"));
    let gateway = setup.start();
    for (name, key) in [("ann", &keys[0]), ("ben", &keys[1])] {
        gateway.client(name, key).sftp("mkdir x\n").succeeded();
    }
    assert!(root.join("file/x").is_dir() && root.join("folder/ben/x").is_dir());
    for (name, key) in [("ann", &keys[1]), ("ben", &keys[2])] {
        gateway.client(name, key).sftp("pwd\n").failed();
    }
    assert!(provider.questions().is_empty(), "nobody asks for who is known");
    fs::create_dir_all(root.join("mapped/carl/seen")).unwrap();
    let listed = gateway.client("carl", &keys[2]).sftp("ls -1\n").succeeded();
    assert!(listed.stdout.contains("seen"), "{listed}");
    gateway.client("carl", &keys[2]).sftp("mkdir x\n").failed();
    gateway.stop();
}

#[test]
fn the_configuration_says_what_is_wrong() {
    let url = "https://idp.example.org/";
    for (source, said) in [
        (json!({ "http": {} }), "users_from.http.url: is missing"),
        (json!({ "http": { "url": "http://idp.example.org/" } }), "passwords would go over the network in clear"),
        (json!({ "http": { "url": "https://u:hunter2@idp.example.org/" } }), "put them into `headers`"),
        (json!({ "http": { "url": url, "methud": "GET" } }), "did you mean \"method\"?"),
        (json!({ "http": { "url": url, "method": "PUT" } }), "is not one of"),
        (json!({ "http": { "url": url, "headers": { "x y": "hunter2" } } }), "is not a header name"),
        (json!({ "http": { "url": url, "headers": { "x": "hunter2\n" } } }), "cannot stand in a header"),
        (json!({ "http": { "url": url, "cache": "2h" } }), "must be from"),
        (json!({ "http": { "url": url }, "keys": "lake:/k" }), "write two elements"),
        (json!({ "http": { "url": url }, "policy": "obey" }), "users_from.policy"),
        (json!({ "http": { "url": url }, "targets": { "bucket": "lake:/" } }), "as in /bucket or /bucket/folder"),
        (json!({ "http": { "url": url }, "targets": { "/bucket": "lak:/" } }), "did you mean \"lake\"?"),
        (
            json!([{ "http": { "url": url } }, { "http": { "url": url } }]),
            "users_from[1].http.url: this provider appears twice",
        ),
    ] {
        let mut setup = setup(json!({}), json!({}));
        setup.config["users_from"] = source;
        let mut command = crate::support::gateway::lockgate();
        let checked = run(command.arg("check").arg("--config").arg(setup.write_config())).failed();
        let text = format!("{}{}", checked.stdout, checked.stderr);
        assert!(text.contains(said), "{said:?} is not in {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_online_check_asks_the_provider() {
    let provider = Provider::start(|_| Reply::Json(json!({})));
    let setup = setup(json!({ "url": provider.url(), "retries": 0 }), json!({}));
    let config = setup.write_config();
    let check = || {
        let mut command = crate::support::gateway::lockgate();
        run(command.args(["check", "--online", "--config"]).arg(&config))
    };
    check().succeeded();
    assert!(provider.questions()[0].target.contains("/users/lockgate-check/config"));
    provider.answer(|_| Reply::Raw(403, String::new(), Vec::new()));
    check().failed().says("status: is 403");
}

#[test]
fn over_tls_the_provider_must_be_who_it_says() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let file = |name: &str| folder.folder().join(name).display().to_string();
    fs::write(file("users.json"), json!({ "ann": answer_for(&key) }).to_string()).unwrap();
    let make = |name: &str, subject: &str, more: &[&str]| {
        let mut openssl = program("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args([
            "-subj",
            subject,
            "-keyout",
            &file(&format!("{name}.key")),
            "-out",
            &file(&format!("{name}.pem")),
        ]);
        run(openssl.args(more)).succeeded();
    };
    make("ca", "/CN=authority", &[]);
    let signed = ["-CA", &file("ca.pem"), "-CAkey", &file("ca.key"), "-addext", "basicConstraints=critical,CA:FALSE"];
    make("tls", "/CN=localhost", &[&signed[..], &["-addext", "subjectAltName=DNS:localhost"]].concat());
    let tls = ["--tls-certificate", &file("tls.pem"), "--tls-key", &file("tls.key")];
    let example = Example::start_with(folder.folder().join("users.json").as_path(), "", &tls);
    let url = |host: &str| format!("https://{host}:{}/", example.port);
    let trusted = format!("SSL_CERT_FILE={}", file("ca.pem"));
    for (environment, host, right) in
        [(trusted.as_str(), "localhost", true), ("A=B", "localhost", false), (trusted.as_str(), "127.0.0.1", false)]
    {
        let setup = setup(json!({ "url": url(host) }), json!({}));
        let gateway = Gateway::start_under(&["env", environment], &setup);
        let tried = gateway.client("ann", &key).sftp("pwd\n");
        if right {
            tried.succeeded();
        } else {
            tried.failed();
            failure(&gateway, "ann", "directory-unavailable");
        }
        gateway.stop();
    }
}
