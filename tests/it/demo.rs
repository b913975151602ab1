//! The newcomer's first minutes: `lockgate demo` in an empty folder, and the commands that it prints, as printed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::support::data::{assert_same_tree, write_tree};
use crate::support::events::{field, types};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::http::Place;
use crate::support::process::{LIMIT, run, run_with};
use crate::support::server::folder;

fn demo(place: &Arc<tempfile::TempDir>, arguments: &[&str]) -> Gateway {
    let mut command = lockgate();
    command.current_dir(place.path()).arg("demo").args(arguments).args(["--listen", "0"]);
    Gateway::spawn(&mut command, place.clone())
}

/// The lines that can be pasted, whole: they begin with the program's name.
fn printed(gateway: &Gateway, program: &str) -> Vec<String> {
    let log = gateway.log();
    let lines = log.lines().map(str::trim).filter(|l| l.starts_with(&format!("{program} ")));
    let found: Vec<String> = lines.map(String::from).collect();
    assert!(!found.is_empty(), "no {program} command in\n{log}");
    found
}

/// Runs a line as a shell in `place` would, with a home of its own so that nothing of ours helps.
fn paste(place: &Path, line: &str, input: &str) -> crate::support::process::Finished {
    let home = place.join("home-of-a-newcomer");
    fs::create_dir_all(&home).unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.current_dir(place).args(["-c", line]).env("HOME", &home).env_remove("SSH_AUTH_SOCK");
    run_with(&mut shell, input.as_bytes(), LIMIT)
}

/// A change of everything under a folder would be seen in this.
fn fingerprint(folder: &Path) -> String {
    let script =
        "find . -type f ! -name '*.ndjson' ! -path './data/*' ! -path '*/audit/chain' -exec sha256sum {} + | sort -k2";
    run(Command::new("/bin/sh").args(["-c", script]).current_dir(folder)).succeeded().stdout
}

#[test]
fn the_printed_commands_work_as_printed() {
    let place = Arc::new(folder());
    let gateway = demo(&place, &[]);
    write_tree(&place.path().join("tree"));
    let script = "put -r tree\nls -l\nls tree\nget -r tree back\nrename tree/plain.txt tree/renamed.txt\nrm tree/renamed.txt\n\
                  mkdir empty\nrmdir empty\nbye\n";
    let done = paste(place.path(), &printed(&gateway, "sftp")[0], script).succeeded();
    assert!(done.stdout.contains("tree") && !done.stderr.contains("ermission"), "{done}");
    assert_same_tree(&place.path().join("back"), &place.path().join("tree"));
    for line in printed(&gateway, "scp") {
        paste(place.path(), &line, "").succeeded();
    }
    let seen = gateway.events.all();
    for activity in ["CONNECTED", "OPEN", "CLOSE", "LIST", "RENAME", "DELETE", "MKDIR", "RMDIR"] {
        assert!(types(&seen).contains(&activity), "no {activity} in {:?}", types(&seen));
    }
    let checkpoints: Vec<_> = seen.iter().filter(|e| field(e, "activity-type") == "CHECKPOINT").collect();
    assert_eq!(field(checkpoints[0], "reason"), "start");
    assert!(checkpoints.iter().all(|e| !field(e, "signature").is_empty()), "{checkpoints:#?}");
    assert!(seen.iter().all(|e| field(e, "user") == "demo" || checkpoints.contains(&e)), "{seen:#?}");
    gateway.stop();
}

#[test]
fn the_printed_link_logs_a_browser_in_and_another_one_can_be_had() {
    let place = Arc::new(folder());
    let gateway = demo(&place, &["--dir", "here"]);
    let log = gateway.log();
    let first = log.lines().map(str::trim).find(|line| line.contains("/login#code=")).expect("a link").to_owned();
    let command = printed(&gateway, "lockgate")[0].replacen("lockgate", env!("CARGO_BIN_EXE_lockgate"), 1);
    let second = paste(place.path(), &command, "").succeeded().stdout.trim().to_owned();
    assert_ne!(first, second);
    for link in [first, second] {
        let (page, code) = link.split_once("/login#code=").unwrap();
        let page = Place::Tcp(page.trim_start_matches("http://").parse().unwrap());
        assert!(page.get("/").body.contains("Lockgate"));
        let headers = [("Content-Type", "application/json"), ("Origin", "http://localhost")];
        let body = format!("{{\"code\":\"{code}\"}}");
        let me = page.request("POST", "/api/v1/login", &headers, &body).ok();
        assert_eq!(me["role"], "operator");
    }
    // There is no file to read again, and nothing is wrong with it.
    let config = Place::unix(&place.path().join("here/admin.sock")).get("/api/v1/config").ok();
    assert_eq!((&config["has_file"], config.get("problem")), (&false.into(), None), "{config:#}");
    gateway.stop();
}

#[test]
fn a_second_run_keeps_the_keys_and_the_files() {
    let place = Arc::new(folder());
    let gateway = demo(&place, &["--dir", "here"]);
    paste(place.path(), &printed(&gateway, "sftp")[0], "put /etc/hostname kept\nbye\n").succeeded();
    gateway.stop();
    let before = fingerprint(&place.path().join("here"));
    let gateway = demo(&place, &["--dir", "here"]);
    let done = paste(place.path(), &printed(&gateway, "sftp")[0], "ls\nbye\n").succeeded();
    assert!(done.stdout.contains("kept"), "{done}");
    gateway.stop();
    let keys = |text: &str| text.lines().filter(|l| !l.contains("known_hosts")).map(String::from).collect::<Vec<_>>();
    assert_eq!(keys(&fingerprint(&place.path().join("here"))), keys(&before));
}

#[test]
fn the_private_keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = Arc::new(folder());
    run(lockgate().current_dir(place.path()).args(["init", "here"])).succeeded();
    demo(&place, &["--dir", "demo"]).stop();
    let mut private = 0;
    for entry in walk(&place.path().join("here")).into_iter().chain(walk(&place.path().join("demo"))) {
        let content = fs::read(&entry).unwrap();
        if content.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----")
            || content.starts_with(b"-----BEGIN PRIVATE KEY-----")
        {
            private += 1;
            let mode = fs::metadata(&entry).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.display());
        }
    }
    assert_eq!(private, 7, "two host keys and the key of the audit trail, twice, and the key of the demo's user");
}

#[test]
fn init_makes_files_that_serve_uses_and_never_replaces_them() {
    let place = Arc::new(folder());
    run(lockgate().current_dir(place.path()).args(["init", "here"])).succeeded();
    let here = place.path().join("here");
    let before = fingerprint(&here);
    let again = run_with(lockgate().current_dir(place.path()).args(["init", "here"]), b"", LIMIT);
    assert_eq!(fingerprint(&here), before, "{again}");
    let configs: Vec<_> = walk(&here).into_iter().filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    assert_eq!(configs.len(), 1, "{configs:?}");
    run(lockgate().arg("check").arg("--config").arg(&configs[0])).succeeded();
    let text = fs::read_to_string(&configs[0]).unwrap();
    assert!(text.contains('#'), "the configuration has comments");
    // Nobody can log in with a key that everybody who reads the folder has.
    assert!(text.contains("users: []") && !text.contains("demo"), "{text}");
    assert!(walk(&here).iter().all(|file| !file.to_string_lossy().contains("demo")), "{:?}", walk(&here));
}

#[test]
fn a_demo_that_runs_is_not_started_again() {
    let place = Arc::new(folder());
    let gateway = demo(&place, &["--dir", "here"]);
    let again = run(lockgate().current_dir(place.path()).args(["demo", "--dir", "here", "--listen", "0"]));
    assert_eq!(again.status.code(), Some(1), "{again}");
    assert!(again.stderr.contains("is running already"), "{again}");
    gateway.stop();
}

#[test]
fn the_example_configuration_passes_the_check() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
    let checked = run(lockgate().arg("check").arg("--config").arg(example));
    // Its keys and folders are not here: problems at run time, none of the file's form.
    assert_ne!(checked.status.code(), Some(2), "{checked}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_printed_commands_of_a_jump_work_as_printed() {
    let place = Arc::new(folder());
    for name in ["bastion", "my 50% bastion"] {
        let gateway = demo(&place, &["--bastion", "--dir", name]);
        let ready = || gateway.log().contains("Host bastion").then_some(());
        crate::support::process::until("the configuration of the client", LIMIT, ready);
        assert_eq!(gateway.log().contains("ProxyJump bastion"), name == "bastion", "{}", gateway.log());
        let jumps: Vec<String> = ["scp", "sftp"].iter().flat_map(|program| printed(&gateway, program)).collect();
        let jumps: Vec<&String> = jumps.iter().filter(|line| line.contains("ssh_config")).collect();
        assert_eq!(jumps.len(), 3, "{jumps:?}");
        for line in jumps {
            paste(place.path(), line, "ls\nbye\n").succeeded();
        }
        let file = place.path().join(name).join("data/target-host-A/hello.txt");
        assert_eq!(fs::read_to_string(file).unwrap(), "Hello from Lockgate.\n");
        let close = gateway.events.await_event("CLOSE", |event| field(event, "target") == "target-host-A");
        assert_eq!(field(&close, "account"), "deploy", "{close}");
        gateway.stop();
    }

    // A folder of before keeps its configuration, and is told what is missing.
    let gateway = demo(&place, &["--dir", "plain"]);
    gateway.stop();
    let gateway = demo(&place, &["--bastion", "--dir", "plain"]);
    crate::support::process::until("the hint", LIMIT, || gateway.log().contains("has no target").then_some(()));
    gateway.stop();
}
