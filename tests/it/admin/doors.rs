//! The socket and the listener themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;

use super::{administered, administered_with};
use crate::support::gateway::lockgate;
use crate::support::http::Place;
use crate::support::process::{LIMIT, program, run, until};

#[test]
fn the_socket_is_for_its_owner_and_one_that_is_left_over_makes_room() {
    let administered = administered();
    let path = administered.door.setup.folder().join("admin.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // A second gateway does not take it away from the first.
    let config = administered.door.setup.folder().join("config.yaml");
    let mut second = administered.door.setup.clone();
    second.limit("staging_folder", second.folder().join("second-staging").to_str().unwrap());
    second.write_config();
    run(lockgate().arg("serve").arg("--config").arg(&config)).failed().says("admin.sock is in use");
    assert_eq!(administered.socket.get("/healthz").status, 200);
    let setup = administered.door.setup.clone();
    administered.door.gateway.kill();
    assert!(path.exists(), "nobody was left to remove it");
    let again = setup.start();
    assert_eq!(administered.socket.get("/healthz").status, 200);
    again.stop();
    assert!(!path.exists());
    // A file that is no socket is not ours to remove.
    fs::write(&path, "precious").unwrap();
    run(lockgate().arg("serve").arg("--config").arg(&config)).failed().says("admin.sock cannot be made");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn commands_say_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let command = |words: &[&str]| run(lockgate().args(words));
    let path = socket.to_str().unwrap();
    command(&["sessions", "list", "--socket", path]).failed().says("the gateway does not answer at");
    let _deaf = UnixListener::bind(&socket).unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "lgt_x").unwrap();
    let token = token.to_str().unwrap();
    let clear = command(&["status", "--url", "http://admin.example.org", "--token-file", token]).failed();
    assert_eq!(clear.status.code(), Some(2));
    clear.says("in clear");
    command(&["status", "--url", "https://admin.example.org"]).failed().says("--token-file");
    let administered = administered();
    let plain = administered.door.setup.folder().join("plain.yaml");
    let mut setup = administered.door.setup.clone();
    setup.config.as_object_mut().unwrap().remove("admin");
    fs::write(&plain, setup.config.to_string()).unwrap();
    command(&["status", "--config", plain.to_str().unwrap()]).failed().says("has no admin.socket");
}

#[test]
fn a_listener_on_the_network_needs_tls_or_somebody_who_speaks_it() {
    let administered = administered();
    let mut setup = administered.door.setup.clone();
    let file = setup.folder().join("other.yaml");
    let mut check = |admin: serde_json::Value| {
        setup.config["admin"] = admin;
        fs::write(&file, setup.config.to_string()).unwrap();
        let checked = run(lockgate().arg("check").arg("--config").arg(&file));
        format!("{}{}", checked.stdout, checked.stderr)
    };
    let open = check(json!({ "listen": ["0.0.0.0:8022"] }));
    assert!(open.contains("admin.listen: tokens would go over the network in clear"), "{open}");
    let proxied = check(json!({ "listen": ["0.0.0.0:8022"], "plain_http": "behind-a-proxy" }));
    assert!(!proxied.contains("admin"), "{proxied}");
    let token = check(json!({ "tokens": [{ "name": "a", "role": "viewer", "hash": "lgt_verysecret" }] }));
    assert!(token.contains("admin.tokens[0].hash: is a token") && !token.contains("verysecret"), "{token}");
    let odd = check(json!({ "hosts": ["x"], "socket": "x".repeat(200), "listn": [] }));
    for what in ["admin.hosts: has no effect without admin.listen", "107 bytes", "admin.listn: unknown key"] {
        assert!(odd.contains(what), "{what} in {odd}");
    }
    let tls = check(json!({ "listen": ["[::]:0"], "tls": { "certificate": "none.pem", "key": "none.key" } }));
    assert!(tls.contains("none.pem cannot be read"), "{tls}");
}

/// Makes a certificate of this name, and its key, in the files that the door reads.
fn make_certificate(folder: &Path, name: &str, key: &str) {
    let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -out made.pem -keyout";
    let mut openssl = program("openssl");
    openssl.args(make.split_whitespace()).arg(key).args(["-subj", &format!("/CN={name}")]);
    run(openssl.current_dir(folder)).succeeded();
    fs::rename(folder.join("made.pem"), folder.join("admin.pem")).unwrap();
}

#[test]
fn a_new_certificate_is_served_without_a_restart_and_a_wrong_one_is_not() {
    let administered = administered_with(|setup| {
        make_certificate(setup.folder(), "first", "admin.key");
        setup.config["admin"]["tls"] = json!({ "certificate": "admin.pem", "key": "admin.key" });
    });
    let Place::Tcp(address) = &administered.tcp else { panic!("a TCP listener") };
    let served = || {
        let mut openssl = program("openssl");
        let shown = run(openssl.args(["s_client", "-connect", &address.to_string()])).stdout;
        ["first", "second", "third"]
            .into_iter()
            .find(|name| shown.contains(&format!("CN = {name}")) || shown.contains(&format!("CN={name}")))
    };
    assert_eq!(served(), Some("first"));
    let folder = administered.door.setup.folder();
    // The key is another one.
    make_certificate(folder, "second", "other.key");
    let log = || administered.door.gateway.log();
    until("complaint", LIMIT, || {
        assert_eq!(served(), Some("first"));
        log().contains("the new certificate of the admin door cannot be used").then_some(())
    });
    make_certificate(folder, "third", "admin.key");
    until("new certificate", LIMIT, || match served() {
        Some("third") => Some(()),
        other => {
            assert_eq!(other, Some("first"));
            None
        }
    });
}
