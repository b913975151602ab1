//! Keys and certificates that let nobody in any more.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::admin::administered_with;
use crate::certificates::sign;
use crate::keys::reasons;
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::LIMIT;
use crate::support::process::{program, run};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

fn keygen(folder: &Path, words: &[&str]) {
    run(program("ssh-keygen").args(words).current_dir(folder)).succeeded();
}

/// A gateway with an authority, two users with a key each, a list and a file of ssh-keygen.
fn office() -> (Setup, Gateway, Key, [Key; 2]) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (authority, keys) = (setup.key("authority"), ["alice", "bob"].map(|name| setup.key(name)));
    setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    for (name, key) in ["alice", "bob"].iter().zip(&keys) {
        setup.user(User::new(name).home("/", "main:/").key(key));
    }
    let (list, krl) = (setup.folder().join("revoked"), setup.folder().join("krl"));
    fs::write(&list, "# nobody yet\n").unwrap();
    keygen(setup.folder(), &["-q", "-k", "-f", "krl"]);
    setup.config["revoked_keys"] = json!([list, krl]);
    let gateway = setup.start();
    (setup, gateway, authority, keys)
}

fn reload(gateway: &Gateway) {
    let before = gateway.log().matches("reloaded: ").count();
    gateway.signal(Signal::HUP);
    crate::support::process::until("reload", LIMIT, || {
        (gateway.log().matches("reloaded: ").count() > before).then_some(())
    });
}

#[test]
fn a_key_that_is_revoked_lets_nobody_in_and_its_session_ends() {
    let (setup, gateway, _authority, [alice, bob]) = office();
    gateway.client("alice", &alice).sftp("pwd\n").succeeded();
    let mut live = Sftp::connect(&gateway.client("alice", &alice), LIMIT);
    live.make_directory("/d").unwrap();
    fs::write(setup.folder().join("revoked"), format!("{} # stolen\n", alice.fingerprint().0)).unwrap();
    reload(&gateway);
    let ended = gateway.events.await_event("DISCONNECTED", |event| field(event, "reason") == "key-revoked");
    assert_eq!(field(&ended, "user"), "alice");
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    let failed = gateway.events.await_event("AUTH_FAILURE", |_| true);
    assert_eq!(
        (field(&failed, "reason"), field(&failed, "ssh-public-key-fingerprint")),
        ("key-revoked", &*alice.fingerprint().0)
    );
    gateway.client("bob", &bob).sftp("pwd\n").succeeded();
    // Back again.
    fs::write(setup.folder().join("revoked"), "").unwrap();
    reload(&gateway);
    gateway.client("alice", &alice).sftp("pwd\n").succeeded();
    gateway.stop();
}

/// `ssh-keygen -k` names keys by their SHA-1 as well, which no fingerprint of a session is.
#[test]
fn an_authority_that_is_revoked_by_its_sha1_ends_its_live_sessions() {
    let (setup, gateway, authority, [_, bob]) = office();
    let folder = setup.folder();
    let key = setup.key("fresh");
    let certificate = sign(folder, "live", &authority, &key, &["-I", "x", "-n", "alice"]);
    let shown = gateway.client("alice", &key).with(&format!("CertificateFile={}", certificate.display()));
    let mut live = Sftp::connect(&shown, LIMIT);
    live.make_directory("/d").unwrap();
    let mut other = Sftp::connect(&gateway.client("bob", &bob), LIMIT);
    fs::write(folder.join("spec"), format!("sha1: {}\n", authority.public)).unwrap();
    keygen(folder, &["-q", "-k", "-f", "krl", "spec"]);
    reload(&gateway);
    let ended = gateway.events.await_event("DISCONNECTED", |_| true);
    assert_eq!((field(&ended, "user"), field(&ended, "reason")), ("alice", "key-revoked"));
    shown.sftp("pwd\n").failed();
    other.make_directory("/e").unwrap();
    drop(other);
    gateway.stop();
}

#[test]
fn who_has_only_revoked_keys_is_shown_as_one_who_cannot_log_in() {
    let mut public = Vec::new();
    let administered = administered_with(|setup| {
        let [authority, ann, ben, carl] = ["authority", "ann", "ben", "carl"].map(|name| setup.key(name));
        setup.user(User::new("ann").home("/", "main:/").key(&ann));
        setup.user(User::new("ben").home("/", "main:/").key(&ben).key(&carl));
        setup.user(User::new("typed").home("/", "main:/").password("staple"));
        setup.user(User::new("both").home("/", "main:/").key(&ann).password("staple"));
        let of_authority = format!("cert-authority {}", authority.public);
        setup.user(User::new("certified").home("/", "main:/").set("public_keys", json!([of_authority])));
        fs::write(setup.folder().join("revoked"), format!("{}\n{}\n", ann.public, ben.public)).unwrap();
        fs::write(setup.folder().join("spec"), "id: somebody\n").unwrap();
        let of = authority.private.with_extension("pub");
        keygen(setup.folder(), &["-q", "-k", "-f", "krl", "-s", &of.display().to_string(), "spec"]);
        setup.config["revoked_keys"] = json!([setup.folder().join("revoked"), setup.folder().join("krl")]);
        public = vec![ann.fingerprint().0, ben.fingerprint().0];
    });
    let access = |words: &[&str]| administered.command(&[&["audit", "access"], words].concat()).succeeded().stdout;
    let listed: Value = serde_json::from_str(&access(&["--format", "json"])).unwrap();
    let of = |name: &str| {
        let found = listed["users"].as_array().unwrap().iter().find(|user| user["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {listed:#}")).clone()
    };
    let marks = |name: &str| -> Vec<Value> {
        of(name)["keys"].as_array().unwrap().iter().map(|key| key["revoked"].clone()).collect()
    };
    for (name, state, revoked) in [
        ("ann", "keys-revoked", &[true][..]),
        ("ben", "active", &[true, false]),
        ("typed", "active", &[]),
        ("both", "active", &[true]),
        ("certified", "active", &[false]),
    ] {
        assert_eq!(
            (of(name)["state"].clone(), marks(name)),
            (state.into(), revoked.iter().map(|is| json!(is)).collect())
        );
    }
    assert_eq!(of("certified")["keys"][0]["certificates-revoked"], true);
    let takes = |name: &str| of(name)["takes-certificates"].clone();
    assert_eq!(["ann", "typed", "certified"].map(takes), [json!(false), json!(false), json!(true)]);
    let page = access(&["--user", "typed"]);
    assert!(page.contains("no certificate is accepted"), "{page}");
    assert!(access(&["--user", "ann"]).contains("<td>revoked</td>"));
    assert!(access(&["--format", "csv", "--user", "ann"]).contains(&format!("{} ", public[0])));
    assert!(access(&["--format", "csv", "--user", "ann"]).contains("(revoked)"));

    let shown = |name: &str| administered.command(&["users", "show", name]).succeeded().stdout;
    let ann = shown("ann");
    assert!(ann.contains("every key is revoked (revoked_keys)") && !ann.contains("stands in the way"), "{ann}");
    assert_eq!(ann.matches("(revoked)").count(), 1, "{ann}");
    let ben = shown("ben");
    assert!(!ben.contains("every key") && ben.matches("(revoked)").count() == 1, "{ben}");
    // One of two keys lets in, and the other one does not.
    let cautions = |name: &str| administered.socket.get(&format!("/api/v1/users/{name}")).ok()["cautions"].clone();
    let of_ben = format!("the key {} (", public[1]);
    assert!(ben.contains(&of_ben) && ben.contains("stands in the way"), "{ben}");
    let said =
        cautions("ben").as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert!(
        matches!(&said[..], [one] if one.starts_with(&of_ben) && one.ends_with("is revoked (revoked_keys)")),
        "{said:?}"
    );
    assert_eq!(cautions("both").as_array().unwrap().len(), 1, "the password lets in");
    assert_eq!([cautions("ann"), cautions("certified")], [json!([]), json!([])]);
    assert!(shown("certified").contains("(some certificates revoked)"));
}

#[test]
fn certificates_are_revoked_by_number_by_name_by_key_and_with_their_authority() {
    let (setup, gateway, authority, _) = office();
    let folder = setup.folder();
    let key = setup.key("fresh");
    let certificate = |name: &str, id: &str, serial: &str| {
        sign(folder, name, &authority, &key, &["-I", id, "-n", "alice", "-z", serial])
    };
    let shows = |certificate: &Path| {
        gateway.client("alice", &key).with(&format!("CertificateFile={}", certificate.display())).sftp("pwd\n")
    };
    let (seven, eight, named) =
        (certificate("c7", "x", "7"), certificate("c8", "x", "8"), certificate("c9", "ann@corp", "9"));
    [&seven, &eight, &named].iter().for_each(|one| drop(shows(one).succeeded()));
    fs::write(folder.join("spec"), "serial: 7\nid: ann@corp\n").unwrap();
    keygen(folder, &["-q", "-k", "-f", "krl", "-s", "authority.pub", "spec"]);
    reload(&gateway);
    shows(&seven).failed();
    shows(&named).failed();
    shows(&eight).succeeded();
    for revoked in [&key, &authority] {
        fs::write(folder.join("revoked"), format!("{}\n", revoked.public)).unwrap();
        reload(&gateway);
        shows(&eight).failed();
    }
    gateway.events.await_disconnected(8);
    let failures = gateway.events.of_type("AUTH_FAILURE");
    // The client offers the plain key after the certificate.
    let revoked = reasons(&failures).into_iter().filter(|reason| *reason == "key-revoked").count();
    assert_eq!(revoked, 4, "{failures:#?}");
    gateway.stop();
}

#[test]
fn a_list_that_cannot_be_read_is_an_error_and_changes_nothing() {
    let (setup, gateway, _authority, [alice, _]) = office();
    fs::write(setup.folder().join("revoked"), format!("{}\n", alice.public)).unwrap();
    reload(&gateway);
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    fs::write(setup.folder().join("krl"), b"SSHKRL\n\0torn").unwrap();
    let config = setup.write_config();
    let check = run(lockgate().arg("check").arg("--config").arg(&config)).failed();
    assert!(check.to_string().contains("revoked_keys[1]"), "{check}");
    gateway.signal(Signal::HUP);
    crate::support::process::until("refusal of the reload", LIMIT, || {
        gateway.log().contains("revoked_keys[1]").then_some(())
    });
    gateway.client("alice", &alice).sftp("pwd\n").failed();
    gateway.stop();
}
