//! Mistakes: in the configuration all at once, each with its place; at run time a sentence. And the small commands.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::gateway::lockgate;
use crate::support::keys::Key;
use crate::support::process::{Finished, LIMIT, run, run_with};
use crate::support::server::free_port;
use crate::support::setup::{Setup, User, hash_password};

fn written(setup: &Setup, text: &str) -> PathBuf {
    let path = setup.folder().join("wrong.yaml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn serve(config: &Path) -> Finished {
    run(lockgate().arg("serve").arg("--config").arg(config))
}

fn check(config: &Path) -> Finished {
    run(lockgate().arg("check").arg("--config").arg(config))
}

/// A setup that would run.
fn sound() -> Setup {
    let mut setup = Setup::new();
    setup.local_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/home/${user}"));
    setup
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let setup = sound();
    let key = fs::read_to_string(setup.folder().join("alice.pub")).unwrap();
    let text = format!(
        r#"
server:
  name: edge-1
  listen: ["127.0.0.1:notaport"]
  host_keys: [{host_key}]
  security_policy: ancient
stores:
  main: {{ url: "ftp://example.org/x" }}
  disk: {{ url: "file:///tmp", colour: blue }}
users:
  - name: alice
    public_keys: ["ssh-ed25519 AAAAnonsense"]
    home:
      - {{ entry: /, target: "nowhere:/home" }}
  - name: bob
    public_keys: ["{key}"]
    auth: fingerprint
    home:
      - {{ entry: relative, target: "disk:/x", permissions: [list, fly] }}
  - name: bob
    password_hash: "plain text"
    auth: password
    home: []
limits: {{ sessions: many, idle: "5 parsecs" }}
"#,
        host_key = setup.host_keys()[0].private.display(),
        key = key.trim()
    );
    let path = written(&setup, &text);
    for finished in [check(&path), serve(&path)] {
        assert_eq!(finished.status.code(), Some(2), "{finished}");
        for place in [
            "server.listen[0]",
            "server.security_policy",
            "stores.main.url",
            "stores.disk",
            "users[0].public_keys[0]",
            "users[0].home[0].target",
            "users[1].auth",
            "users[1].home[0].entry",
            "users[1].home[0].permissions",
            "users[2].name",
            "users[2].password_hash",
            "limits.sessions",
            "limits.idle",
        ] {
            assert!(finished.stderr.contains(place), "no {place}: {finished}");
        }
        // What would be right.
        for remedy in ["transfer-2024-01", "public_key_or_password", "hash-password", "overwrite"] {
            assert!(finished.stderr.contains(remedy), "no {remedy}: {finished}");
        }
        assert!(!finished.stderr.contains("panicked"), "{finished}");
    }
}

#[test]
fn a_file_that_is_no_yaml_is_reported_with_its_line() {
    let setup = sound();
    for (text, what) in [
        ("server:\n  name: [\n", "line 2, column 9"),
        ("just words", ""),
        ("", ""),
        ("- a\n- b\n", ""),
        ("\u{0}\u{1}", ""),
    ] {
        let path = written(&setup, text);
        for finished in [check(&path), serve(&path)] {
            assert_eq!(finished.status.code(), Some(2), "{text:?}: {finished}");
            assert!(finished.stderr.contains("wrong.yaml") && finished.stderr.contains(what), "{text:?}: {finished}");
        }
    }
    let missing = setup.folder().join("missing.yaml");
    for finished in [check(&missing), serve(&missing)] {
        assert_eq!(finished.status.code(), Some(2), "{finished}");
        assert!(finished.stderr.contains("missing.yaml"), "{finished}");
    }
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for arguments in [&[][..], &["fly"], &["serve"], &["serve", "--config"], &["check", "--colour", "blue"]] {
        let finished = run(lockgate().args(arguments));
        assert_eq!(finished.status.code(), Some(2), "{finished}");
        assert!(!finished.stderr.is_empty(), "{finished}");
    }
    let help = run(lockgate().arg("--help")).succeeded();
    for command in ["demo", "init", "serve", "check", "hash-password"] {
        assert!(help.stdout.contains(command), "{command}: {help}");
    }
}

#[test]
fn the_environment_names_the_configuration() {
    let setup = sound();
    let config = setup.write_config();
    run(lockgate().arg("check").env("LOCKGATE_CONFIG", &config)).succeeded();
    // What is said comes first, also where the variable would be in its way.
    let missing = setup.folder().join("missing.yaml");
    let said = run(lockgate().arg("check").arg("--config").arg(&config).env("LOCKGATE_CONFIG", &missing));
    said.succeeded();
    let socket = setup.folder().join("nobody.sock");
    let status = run(lockgate().arg("status").arg("--socket").arg(&socket).env("LOCKGATE_CONFIG", &config));
    assert_eq!(status.status.code(), Some(1), "{status}");
    assert!(status.stderr.contains("nobody.sock"), "{status}");
    let status = run(lockgate().arg("status").env("LOCKGATE_CONFIG", &missing));
    assert!(status.status.code() == Some(2) && status.stderr.contains("missing.yaml"), "{status}");
}

#[test]
fn help_has_examples_and_the_version_says_what_was_built() {
    let help = run(lockgate().arg("--help")).succeeded().stdout;
    for said in ["Examples:", "Exit codes:", "LOCKGATE_CONFIG"] {
        assert!(help.contains(said), "{said}: {help}");
    }
    for command in [&["serve"][..], &["check"], &["migrate"], &["audit", "verify"], &["events"], &["generate"]] {
        let help = run(lockgate().args(command).arg("--help")).succeeded().stdout;
        assert!(help.contains("Example"), "{command:?}: {help}");
    }
    let short = run(lockgate().arg("-V")).succeeded().stdout;
    assert!(
        short.starts_with(concat!("lockgate ", env!("CARGO_PKG_VERSION"), " (")) && short.lines().count() == 1,
        "{short}"
    );
    let long = run(lockgate().arg("--version")).succeeded().stdout;
    for said in ["commit:", "features:", "target:"] {
        assert!(long.contains(said), "{said}: {long}");
    }
    let meant = run(lockgate().args(["chekc", "--config", "c"]));
    assert!(meant.status.code() == Some(2) && meant.stderr.contains("'check'"), "{meant}");
}

#[test]
fn a_sound_file_passes_the_check() {
    let setup = sound();
    check(&setup.write_config()).succeeded();
    run(lockgate().args(["check", "--online", "--config"]).arg(setup.write_config())).succeeded();
}

#[test]
fn secrets_come_from_the_environment_and_from_files() {
    let mut setup = sound();
    let hash = hash_password("from elsewhere");
    let secret = setup.folder().join("hash");
    fs::write(&secret, format!("{hash}\n")).unwrap();
    let by_file = User::new("filed").set("password_hash", format!("${{file:{}}}", secret.display()));
    setup.user(by_file.set("auth", "password").home("/", "main:/filed"));
    let by_name = User::new("named").set("password_hash", "${env:LOCKGATE_TEST_HASH}");
    setup.user(by_name.set("auth", "password").home("/", "main:/named"));
    let config = setup.write_config();
    let without = check(&config);
    assert_eq!(without.status.code(), Some(2), "{without}");
    assert!(without.stderr.contains("users[2].password_hash"), "{without}");
    assert!(without.stderr.contains("LOCKGATE_TEST_HASH"), "{without}");
    let with = run(lockgate().arg("check").arg("--config").arg(&config).env("LOCKGATE_TEST_HASH", &hash)).succeeded();
    assert!(!with.stdout.contains(&hash) && !with.stderr.contains(&hash), "a secret is printed: {with}");
}

#[test]
fn hash_password_prints_a_hash_that_lets_in() {
    let once = hash_password("a pass phrase");
    let again = hash_password("a pass phrase");
    assert!(once.starts_with("$argon2id$"), "{once}");
    assert_ne!(once, again, "a fresh salt");
    let empty = run_with(lockgate().arg("hash-password"), b"", LIMIT).failed();
    assert!(!empty.stderr.is_empty(), "{empty}");
}

#[test]
fn a_port_in_use_is_a_sentence() {
    let mut setup = sound();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    setup.config["server"]["listen"] = json!([address]);
    let finished = serve(&setup.write_config());
    assert_eq!(finished.status.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains(&address), "{finished}");
    assert!(!finished.stderr.contains("panicked") && !finished.stderr.contains("Os {"), "{finished}");
}

#[test]
fn a_bad_host_key_is_a_sentence() {
    let setup = sound();
    let folder = setup.folder();
    let locked = folder.join("locked");
    let sealed = run(crate::support::process::program("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "a pass phrase", "-f"])
        .arg(&locked));
    sealed.succeeded();
    fs::write(folder.join("garbage"), "garbage").unwrap();
    let public = Key::make(folder, "other", "ed25519").private.with_extension("pub");
    for path in [folder.join("missing"), folder.join("garbage"), locked, public, folder.to_path_buf()] {
        let mut setup = setup.clone();
        setup.config["server"]["host_keys"] = json!([path]);
        let finished = serve(&setup.write_config());
        let code = finished.status.code();
        assert!(code == Some(1) || code == Some(2), "{finished}");
        assert!(finished.stderr.contains(path.to_str().unwrap()), "{finished}");
        assert!(!finished.stderr.contains("panicked"), "{finished}");
    }
}

/// One ECDSA key in 256 has a private number that begins with a zero byte, which its file leaves out.
#[test]
fn an_ecdsa_host_key_with_a_short_number_is_read() {
    let mut setup = sound();
    let short = (0..5000)
        .map(|i| Key::make(setup.folder(), &format!("ecdsa-{i}"), "ecdsa"))
        .find(|key| private_number_length(&key.private) < 32)
        .expect("one key in 256");
    setup.config["server"]["host_keys"] = json!([short.private]);
    setup.start().stop();
}

/// The length of the private number in an ECDSA key file (OpenSSH's PROTOCOL.key).
fn private_number_length(file: &Path) -> usize {
    fn string<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (taken, left) = rest[4..].split_at(length);
        *rest = left;
        taken
    }
    let text: String = fs::read_to_string(file).unwrap().lines().filter(|l| !l.starts_with('-')).collect();
    let bytes = STANDARD.decode(text).unwrap();
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0").unwrap();
    // Cipher, KDF and its options; the number of keys; the public key; then the private section.
    for _ in 0..3 {
        string(&mut rest);
    }
    rest = &rest[4..];
    string(&mut rest);
    let mut private = &string(&mut rest)[8..];
    // Type, curve, point.
    for _ in 0..3 {
        string(&mut private);
    }
    string(&mut private).len()
}

#[test]
fn an_unreadable_host_key_is_exit_code_1() {
    let mut setup = sound();
    let missing = setup.folder().join("missing");
    setup.config["server"]["host_keys"] = json!([missing]);
    assert_eq!(serve(&setup.write_config()).status.code(), Some(1));
}

#[test]
fn an_unreachable_store_is_a_sentence() {
    let mut setup = sound();
    let address = format!("http://127.0.0.1:{}", free_port());
    setup.store(
        "lake",
        json!({
            "url": "s3://bucket/prefix",
            "options": {
                "aws_endpoint": address, "aws_region": "us-east-1", "aws_access_key_id": "a",
                "aws_secret_access_key": "very-secret", "aws_allow_http": "true",
            },
        }),
    );
    let config = setup.write_config();
    let online = run(lockgate().args(["check", "--online", "--config"]).arg(&config));
    for finished in [online, serve(&config)] {
        assert_eq!(finished.status.code(), Some(1), "{finished}");
        assert!(finished.stderr.contains("lake"), "which store: {finished}");
        assert!(!finished.stderr.contains("very-secret") && !finished.stderr.contains("panicked"), "{finished}");
    }
    // Offline, there is nothing wrong with the file.
    check(&config).succeeded();
}

#[test]
fn a_store_that_refuses_is_a_sentence() {
    let mut setup = sound();
    let store = setup.s3_store("lake");
    let mut options = store.options();
    options["aws_secret_access_key"] = json!("not-the-key");
    setup.store("lake", json!({ "url": store.url(), "options": options }));
    setup.store("nobucket", json!({ "url": "s3://no-such-bucket/x", "options": store.options() }));
    let finished = run(lockgate().args(["check", "--online", "--config"]).arg(setup.write_config()));
    assert_eq!(finished.status.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains("lake") && finished.stderr.contains("nobucket"), "both: {finished}");
    assert!(!finished.stderr.contains("not-the-key"), "{finished}");
}

#[test]
fn an_event_file_that_cannot_be_opened_is_a_sentence() {
    let mut setup = sound();
    setup.config["events"] = json!([{ "sink": "file", "path": setup.folder().join("no/such/folder/events") }]);
    let finished = serve(&setup.write_config());
    assert_eq!(finished.status.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains("no/such/folder"), "{finished}");
}
