//! The compose file: judged by the specification's own reference implementation; and its configuration by a gateway that runs with it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::place::project;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, run, tool, until};
use crate::support::s3;
use crate::support::server::folder;

/// The file as an engine reads it, with the settings of `example.env`.
fn project_model(profiles: &[&str]) -> Value {
    let folder = folder();
    for name in ["compose.yaml", "gateway.yaml"] {
        fs::copy(project("deploy/compose").join(name), folder.path().join(name)).unwrap();
    }
    fs::copy(project("deploy/compose/example.env"), folder.path().join(".env")).unwrap();
    let mut command = Command::new(tool("compose-check"));
    command.env_clear().arg(folder.path().join("compose.yaml")).args(profiles);
    serde_json::from_str(&run(&mut command).succeeded().stdout).unwrap()
}

#[test]
fn the_file_conforms_to_the_specification() {
    let model = project_model(&[]);
    let services = model["services"].as_object().unwrap();
    let mut names: Vec<_> = services.keys().collect();
    names.sort();
    assert_eq!(names, ["bucket", "gateway", "init", "minio"]);
    let gateway = &services["gateway"];
    assert_eq!(gateway["stop_grace_period"], "1m30s");
    assert_eq!(gateway["environment"]["MINIO_ROOT_USER"], "lockgate");
    assert_eq!((&gateway["read_only"], &gateway["cap_drop"]), (&json!(true), &json!(["ALL"])));
    assert!(project_model(&["fleet"])["services"].get("redis").is_some());
}

#[test]
fn passwords_have_to_be_set() {
    let folder = folder();
    let file = folder.path().join("compose.yaml");
    fs::copy(project("deploy/compose/compose.yaml"), &file).unwrap();
    run(Command::new(tool("compose-check")).env_clear().arg(&file)).failed().says("set it in .env");
}

#[test]
fn the_gateway_s_configuration_works_with_an_s3_server() {
    let folder = std::sync::Arc::new(folder());
    let here = folder.path().display().to_string();
    let lib = folder.path().join("lib");
    // What the service `init` does.
    run(lockgate().arg("init").arg(&lib)).succeeded();
    for name in ["run", "users"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let key = Key::make(folder.path(), "ann", "ed25519");
    fs::write(folder.path().join("users/ann.pub"), &key.public).unwrap();
    let bucket = s3::new_store();
    let replaced = [
        ("/var/lib/lockgate", format!("{here}/lib")),
        ("/etc/lockgate/users", format!("{here}/users")),
        ("/run/lockgate", format!("{here}/run")),
        ("0.0.0.0:2022", "127.0.0.1:0".to_owned()),
        ("0.0.0.0:8023", "127.0.0.1:0".to_owned()),
        ("http://minio:9000", s3::endpoint()),
        ("s3://files", bucket.url()),
    ];
    let mut config = fs::read_to_string(project("deploy/compose/gateway.yaml")).unwrap();
    for (theirs, ours) in replaced {
        assert!(config.contains(theirs), "no {theirs} in gateway.yaml");
        config = config.replace(theirs, &ours);
    }
    let file = folder.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = lockgate();
    command.args(["serve", "--config"]).arg(&file);
    command.env("MINIO_ROOT_USER", s3::KEYS.0).env("MINIO_ROOT_PASSWORD", s3::KEYS.1);
    let gateway = Gateway::spawn(&mut command, folder.clone());
    let known = folder.path().join("known");
    let host_key = fs::read_to_string(lib.join("ssh_host_ed25519_key.pub")).unwrap();
    fs::write(&known, format!("[127.0.0.1]:{} {host_key}", gateway.port)).unwrap();
    let client = Client::new(gateway.port, &known, "ann").identity(&key.private);
    let sent = folder.path().join("sent");
    fs::write(&sent, "a file").unwrap();
    until("login", LIMIT, || {
        client.sftp(&format!("put {} /sent\nls -l /\n", sent.display())).status.success().then_some(())
    });
    gateway.stop();
    let words = ["audit", "verify", "--whole", "--key"];
    run(lockgate().args(words).arg(lib.join("audit/signing_key.pub")).arg(lib.join("events"))).succeeded();
}
