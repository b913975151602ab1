//! Certificates made by ssh-keygen, shown by OpenSSH's client.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::keys::{reasons, steps};
use crate::support::events::{field, types};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{Finished, program, run};
use crate::support::setup::{Setup, User};

/// A gateway that trusts an authority for everybody, and another one for bob alone.
struct Office {
    setup: Setup,
    gateway: Gateway,
    authority: Key,
    of_bob: Key,
    key: Key,
}

fn office() -> Office {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (authority, of_bob) = (setup.key("authority"), setup.key("of_bob"));
    let key = setup.key("key");
    setup.config["trusted_user_ca_keys"] = json!([authority.public]);
    setup.user(User::new("alice").home("/", "main:/alice"));
    let bob = User::new("bob").home("/", "main:/bob").set("principals", json!(["bob", "staff"]));
    setup.user(bob.key(&of_bob.with_options("cert-authority")));
    let gateway = setup.start();
    Office { setup, gateway, authority, of_bob, key }
}

impl Office {
    /// Signs the key with these arguments of ssh-keygen; the certificate's file.
    fn sign(&self, name: &str, authority: &Key, key: &Key, arguments: &[&str]) -> PathBuf {
        sign(self.setup.folder(), name, authority, key, arguments)
    }

    /// Shows a certificate, and the key in it only by it.
    fn show(&self, user: &str, certificate: &Path) -> Finished {
        self.client(user, certificate).sftp("pwd\n")
    }

    fn client(&self, user: &str, certificate: &Path) -> crate::support::client::Client {
        self.gateway.client(user, &self.key).with(&format!("CertificateFile={}", certificate.display()))
    }
}

pub fn sign(folder: &Path, name: &str, authority: &Key, key: &Key, arguments: &[&str]) -> PathBuf {
    let public = folder.join(format!("{name}.pub"));
    fs::write(&public, format!("{}\n", key.public)).unwrap();
    run(program("ssh-keygen").args(["-q", "-s"]).arg(&authority.private).args(arguments).arg(&public)).succeeded();
    folder.join(format!("{name}-cert.pub"))
}

#[test]
fn a_certificate_logs_in_and_is_on_record() {
    let office = office();
    let good =
        office.sign("good", &office.authority, &office.key, &["-I", "alice@laptop", "-n", "alice", "-z", "4711"]);
    office.show("alice", &good).succeeded();
    let events = office.gateway.events.await_disconnected(1);
    assert_eq!(types(&events), ["CONNECTED", "DISCONNECTED"], "{events:#?}");
    let connected = &events[0];
    assert_eq!(field(connected, "ssh-certificate-serial"), "4711");
    assert_eq!(field(connected, "ssh-certificate-key-id"), "alice@laptop");
    assert_eq!(field(connected, "ssh-certificate-ca-fingerprint"), office.authority.fingerprint().0);
    assert_eq!(field(connected, "ssh-public-key-type"), "ssh-ed25519-cert-v01@openssh.com");
    assert_eq!(field(connected, "ssh-public-key-fingerprint"), office.key.fingerprint().0);
    assert_eq!(field(connected, "ssh-public-key"), office.key.blob());
    // Bob's own authority signs for bob, also under another of his names, and for nobody else.
    let staff = office.sign("staff", &office.of_bob, &office.key, &["-I", "x", "-n", "staff,alice"]);
    office.show("bob", &staff).succeeded();
    office.show("alice", &staff).failed();
    let mut logins = office.gateway.events.await_disconnected(3);
    logins.retain(|event| field(event, "activity-type") != "DISCONNECTED");
    // The client offers the plain key after the certificate.
    assert_eq!(reasons(&logins), ["certificate-not-trusted", "key-not-authorized"], "{logins:#?}");
    office.gateway.stop();
}

#[test]
fn every_type_of_key_may_be_certified_and_certify() {
    let office = office();
    let kinds: [(&str, &[&str]); 3] =
        [("ecdsa", &["-t", "ecdsa", "-b", "384"]), ("rsa", &["-t", "rsa", "-b", "2048"]), ("ed", &["-t", "ed25519"])];
    for (i, (name, kind)) in kinds.iter().enumerate() {
        let key = Key::make_as(office.setup.folder(), &format!("certified-{name}"), kind);
        let certificate = office.sign(name, &office.authority, &key, &["-I", name, "-n", "alice"]);
        let client = office.gateway.client("alice", &key).with(&format!("CertificateFile={}", certificate.display()));
        client.sftp("pwd\n").succeeded();
        assert_eq!(types(&office.gateway.events.await_disconnected(i + 1)), ["CONNECTED", "DISCONNECTED"]);
    }
    office.gateway.stop();

    let mut setup = Setup::new();
    setup.memory_store("main");
    let authorities: Vec<Key> =
        kinds.iter().map(|(name, kind)| Key::make_as(setup.folder(), &format!("authority-{name}"), kind)).collect();
    let lines: Vec<&str> = authorities.iter().map(|key| key.public.as_str()).collect();
    setup.config["trusted_user_ca_keys"] = json!(lines);
    setup.user(User::new("alice").home("/", "main:/alice"));
    let key = setup.key("key");
    let gateway = setup.start();
    for (i, authority) in authorities.iter().enumerate() {
        let certificate = sign(setup.folder(), &format!("by{i}"), authority, &key, &["-I", "x", "-n", "alice"]);
        let client = gateway.client("alice", &key).with(&format!("CertificateFile={}", certificate.display()));
        client.sftp("pwd\n").succeeded();
    }
    // With SHA-1 an authority signs for nobody.
    let sha1 = sign(setup.folder(), "sha1", &authorities[1], &key, &["-t", "ssh-rsa", "-I", "x", "-n", "alice"]);
    let client = gateway.client("alice", &key).with(&format!("CertificateFile={}", sha1.display()));
    client.with("CASignatureAlgorithms=+ssh-rsa").sftp("pwd\n").failed();
    let events = gateway.events.await_disconnected(4);
    assert_eq!(reasons(&events)[0], "algorithm-not-allowed", "{events:#?}");
    gateway.stop();
}

#[test]
fn a_forged_certificate_is_recorded_as_what_it_is() {
    let office = office();
    let certificate = office.sign("forged", &office.authority, &office.key, &["-I", "forged", "-n", "alice"]);
    let forged = format!("forged={}:{}", office.key.private.display(), certificate.display());
    let answers = steps(&office.gateway, &["user=bob", "password=x", "user=alice", &forged]);
    assert!(answers.iter().all(|answer| answer.starts_with("51 ")), "{answers:?}");
    let events = office.gateway.events.await_disconnected(1);
    assert_eq!(reasons(&events)[1], "certificate-forged", "{events:#?}");
    assert_eq!((field(&events[1], "user"), field(&events[1], "ssh-certificate-key-id")), ("alice", "forged"));
    assert_eq!(field(&events[1], "ssh-public-key-fingerprint"), office.key.fingerprint().0);
    office.gateway.stop();
}

#[test]
fn a_certificate_that_is_not_right_is_refused_with_its_reason() {
    let office = office();
    let stranger = office.setup.key("stranger");
    let cases: [(&str, &Key, &[&str], &str); 9] = [
        ("expired", &office.authority, &["-n", "alice", "-V", "20200101:20200102"], "certificate-not-valid-now"),
        ("early", &office.authority, &["-n", "alice", "-V", "29990101:29990102"], "certificate-not-valid-now"),
        ("principal", &office.authority, &["-n", "bob"], "principal-not-allowed"),
        ("nobody", &office.authority, &[], "principal-not-allowed"),
        ("untrusted", &stranger, &["-n", "alice"], "certificate-not-trusted"),
        ("address", &office.authority, &["-n", "alice", "-O", "source-address=192.0.2.0/24"], "source-not-allowed"),
        ("command", &office.authority, &["-n", "alice", "-O", "force-command=/bin/true"], "certificate-option-refused"),
        ("verify", &office.authority, &["-n", "alice", "-O", "verify-required"], "certificate-option-refused"),
        ("unknown", &office.authority, &["-n", "alice", "-O", "critical:x@tests=1"], "certificate-option-refused"),
    ];
    for (i, (name, authority, arguments, reason)) in cases.into_iter().enumerate() {
        let mut all = vec!["-I", name];
        all.extend(arguments);
        let certificate = office.sign(name, authority, &office.key, &all);
        office.show("alice", &certificate).complained();
        let events = office.gateway.events.await_disconnected(i + 1);
        assert_eq!(reasons(&events), [reason, "key-not-authorized"], "{name}: {events:#?}");
        assert_eq!(field(&events[0], "user"), "alice");
        assert_eq!(field(&events[0], "ssh-certificate-key-id"), name);
        assert!(field(&events[0], "message").starts_with("ED25519-CERT SHA256:"), "{}", events[0]);
    }
    office.gateway.stop();
}

/// OpenSSH's client does not show a host's certificate, so another one does.
#[test]
fn a_hosts_certificate_is_no_users() {
    let office = office();
    let certificate = office.sign("host", &office.authority, &office.key, &["-h", "-I", "host", "-n", "alice"]);
    let private = office.key.private.display();
    let answers = crate::keys::steps(
        &office.gateway,
        &["user=alice", &format!("certificate={private}:{}", certificate.display())],
    );
    assert!(answers[0].starts_with("51 "), "{answers:?}");
    assert_eq!(reasons(&office.gateway.events.await_disconnected(1)), ["certificate-not-for-users"]);
    office.gateway.stop();
}

#[test]
fn options_that_can_be_obeyed_are() {
    let office = office();
    let here = office.sign(
        "here",
        &office.authority,
        &office.key,
        &["-I", "x", "-n", "alice", "-O", "source-address=127.0.0.0/8,::1/128", "-O", "extension:x@tests=1"],
    );
    office.show("alice", &here).succeeded();
    let only_sftp = ["-I", "x", "-n", "alice", "-O", "force-command=internal-sftp"];
    let only_sftp = office.sign("sftp", &office.authority, &office.key, &only_sftp);
    let file = office.setup.folder().join("file");
    fs::write(&file, "bytes").unwrap();
    let client = office.client("alice", &only_sftp);
    client.sftp(&format!("put {} /file\n", file.display())).succeeded();
    let target = client.remote("/scp");
    let file = file.to_str().unwrap();
    client.scp(["-O", file, target.as_str()]).failed().says("SFTP only");
    office.gateway.events.await_event("REQUEST_DENIED", |event| field(event, "request").starts_with("exec: scp"));
    // scp of today speaks SFTP; and without the certificate's option, the old one works.
    client.scp(["-s", file, target.as_str()]).succeeded();
    office.client("alice", &here).scp(["-O", file, target.as_str()]).succeeded();
    office.gateway.stop();
}

/// Where authorities are trusted, a plain key that is nobody's is still refused when it is offered: the client need not sign
/// for nothing.
#[test]
fn a_wrong_plain_key_is_not_asked_for_a_signature() {
    let office = office();
    let public = office.key.private.with_extension("pub");
    let probe = format!("probe={}", public.display());
    let answers = crate::keys::steps(&office.gateway, &["user=alice", &probe, &probe]);
    // The first request comes with the key exchange, so that its length is not known.
    assert!(answers[1].starts_with("51 "), "{answers:?}");
    let events = office.gateway.events.await_disconnected(1);
    assert!(reasons(&events).iter().all(|reason| *reason == "key-not-authorized"), "{events:#?}");
    office.gateway.stop();
}
