//! The socket and the listener themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::administered;
use crate::support::gateway::lockgate;
use crate::support::process::run;

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
    for what in ["admin.hosts: is of no use without admin.listen", "107 bytes", "admin.listn: unknown key"] {
        assert!(odd.contains(what), "{what} in {odd}");
    }
    let tls = check(json!({ "listen": ["[::]:0"], "tls": { "certificate": "none.pem", "key": "none.key" } }));
    assert!(tls.contains("none.pem cannot be read"), "{tls}");
}
