//! The static program, alone on an empty root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::machine::as_root;
use crate::place::{bare_root, builds_static_program, static_program};
use crate::support::client::Client;
use crate::support::data::{assert_same_bytes, write_noise};
use crate::support::process::{LIMIT, program, run, until};
use crate::support::s3;
use crate::support::server::{Server, free_port};

/// `lockgate WORDS` in a root of its own, as nobody in particular.
fn rooted(root: &Path, words: &[&str]) -> Command {
    let mut command = as_root("chroot");
    command.args(["--userspec=65532:65532", "--groups="]).arg(root).arg("/lockgate").args(words);
    command.env_clear();
    command
}

#[test]
fn the_program_needs_no_loader_and_no_library() {
    if !builds_static_program() {
        return;
    }
    let headers =
        run(program("readelf").args(["--wide", "--program-headers", "--dynamic"]).arg(static_program())).succeeded();
    assert!(!headers.stdout.contains("INTERP") && !headers.stdout.contains("(NEEDED)"), "{headers}");
    // Addresses are still chosen anew at each start.
    let kind = run(program("readelf").args(["--file-header"]).arg(static_program())).succeeded();
    assert!(kind.stdout.contains("DYN ("), "{kind}");
}

#[test]
fn on_an_empty_root_it_makes_its_keys_serves_and_keeps_the_trail() {
    if !builds_static_program() {
        return;
    }
    let root = bare_root();
    let gateway = root.path().join("gateway");
    fs::create_dir(&gateway).unwrap();
    run(as_root("chown").arg("65532:65532").arg(&gateway)).succeeded();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    run(&mut rooted(root.path(), &["init", "/gateway"])).succeeded();

    let bucket = s3::new_store();
    let port = free_port();
    let private = root.path().join("private");
    run(program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&private)).succeeded();
    let key = fs::read_to_string(private.with_extension("pub")).unwrap();
    let config = json!({
        "server": { "name": "empty", "listen": [format!("127.0.0.1:{port}")], "host_keys": ["ssh_host_ed25519_key"] },
        "stores": { "local": { "url": "file:data" }, "lake": { "url": bucket.url(), "options": bucket.options() } },
        "users": [{
            "name": "demo",
            "public_keys": [key.trim()],
            "home": [{ "entry": "/", "target": "local:/home" }, { "entry": "/lake", "target": "lake:/home" }],
        }],
        "events": [{ "sink": "file", "path": "events/events.ndjson" }],
        "audit": { "folder": "audit" },
        "limits": { "staging_folder": "staging" },
    });
    fs::write(gateway.join("config.json"), config.to_string()).unwrap();
    let log = fs::File::create(root.path().join("log")).unwrap();
    let mut serving = rooted(root.path(), &["serve", "--config", "/gateway/config.json"]);
    serving.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut server = Server::start(&mut serving, None);
    until("line `listening on`", LIMIT, || {
        let log = fs::read_to_string(root.path().join("log")).unwrap();
        assert!(!server.has_ended(), "{log}");
        log.contains("listening on").then_some(())
    });

    let known_hosts = root.path().join("known");
    let host_key = fs::read_to_string(gateway.join("ssh_host_ed25519_key.pub")).unwrap();
    fs::write(&known_hosts, format!("[127.0.0.1]:{port} {host_key}")).unwrap();
    let client = Client::new(port, &known_hosts, "demo").identity(&private);
    let (sent, got) = (root.path().join("sent"), root.path().join("got"));
    write_noise(&sent, 12 << 20, 5);
    for place in ["/file", "/lake/file"] {
        client.sftp(&format!("put {} {place}\nget {place} {}\n", sent.display(), got.display())).succeeded();
        assert_same_bytes(&got, &sent);
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended(LIMIT).is_some_and(|status| status.success()));
    let words = ["audit", "verify", "/gateway/events", "--key", "/gateway/audit/signing_key.pub", "--whole"];
    run(&mut rooted(root.path(), &words)).succeeded();
}
