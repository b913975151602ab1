//! Jumps through the gateway (`ProxyJump`) to targets that it serves itself, with OpenSSH's clients and the configuration that
//! their users have already.

mod behind;
mod clients;
mod ends;
mod jumps;
mod limits;
mod provided;
mod refused;
mod reloads;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::data::{MIB, assert_same_bytes, assert_same_tree, write_noise, write_tree};
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{Finished, LIMIT, Running, program, run, run_with, until};
use crate::support::setup::{Setup, User};

/// A gateway with two targets, and alice, who may jump to the first one as `deploy`.
struct Bastion {
    setup: Setup,
    gateway: Gateway,
    /// The store's folder; `web` is the home of `deploy`.
    root: PathBuf,
    key: Key,
    /// The host key of the first target.
    host_key: Key,
}

fn bastion() -> Bastion {
    bastion_with(|_, alice| alice)
}

/// The same after changes to the configuration and to alice.
fn bastion_with(change: impl FnOnce(&mut Setup, User) -> User) -> Bastion {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    fs::create_dir(root.join("web")).unwrap();
    let (key, host_key) = (setup.key("laptop"), setup.key("host_of_target"));
    setup.config["targets"] = targets(&host_key);
    let grants = json!([{ "group": "web", "accounts": ["deploy"] }]);
    let alice = change(&mut setup, User::new("alice").key(&key).home("/", "main:/alice").set("targets", grants));
    setup.user(alice);
    let gateway = setup.start();
    let bastion = Bastion { setup, gateway, root, key, host_key };
    bastion.write_config();
    bastion
}

fn targets(host_key: &Key) -> Value {
    json!([
        {
            "name": "target-host-A",
            "addresses": ["192.168.1.10:22", "target-host-a.internal:22"],
            "groups": ["web"],
            "host_keys": [host_key.private],
            "accounts": [
                { "name": "deploy", "home": [{ "entry": "/", "target": "main:/web" }], "permissions": "read_write" },
                { "name": "root", "home": [{ "entry": "/", "target": "main:/" }] },
            ],
        },
        {
            "name": "target-host-B",
            "addresses": ["192.168.1.11:22"],
            "accounts": [{ "name": "deploy", "home": [{ "entry": "/", "target": "main:/b" }] }],
        },
    ])
}

impl Bastion {
    /// The client's configuration: as its users have it.
    fn write_config(&self) {
        let folder = self.setup.folder();
        let known = folder.join("known");
        let mut lines = fs::read_to_string(self.gateway.known_hosts()).unwrap();
        for name in ["192.168.1.10", "target-host-a.internal"] {
            lines += &format!("{name} {} {}\n", self.host_key.kind(), self.host_key.blob());
        }
        for host in self.setup.host_keys() {
            lines += &format!("192.168.1.11 {} {}\n", host.kind(), host.blob());
        }
        fs::write(&known, lines).unwrap();
        let config = format!(
            "Host *\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  \
             IdentitiesOnly yes\n  IdentityFile {}\n  BatchMode yes\n  ConnectTimeout 600\n\
             Host bastion\n  HostName 127.0.0.1\n  Port {}\n  User alice\n\
             Host target-host-A\n  HostName 192.168.1.10\n  User deploy\n  ProxyJump bastion\n\
             Host target-host-B\n  HostName 192.168.1.11\n  User deploy\n  ProxyJump bastion\n",
            known.display(),
            self.key.private.display(),
            self.gateway.port,
        );
        fs::write(folder.join("ssh_config"), config).unwrap();
    }

    /// A connection to the gateway that all jumps share from now on; it ends when this is dropped.
    #[track_caller]
    fn share_connection(&self) -> Running {
        let (socket, config) = (self.setup.folder().join("mux"), self.setup.folder().join("ssh_config"));
        let shared =
            format!("{}Host bastion\n  ControlPath {}\n", fs::read_to_string(&config).unwrap(), socket.display());
        fs::write(&config, shared).unwrap();
        let master = Running::start(self.command("ssh").args(["-M", "-N", "bastion"]));
        until("shared connection", LIMIT, || socket.exists().then_some(()));
        master
    }

    /// A program of OpenSSH's with that configuration.
    fn command(&self, name: &str) -> Command {
        let mut command = program(name);
        command.arg("-F").arg(self.setup.folder().join("ssh_config"));
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        command
    }

    #[track_caller]
    fn run<A: AsRef<OsStr>>(&self, name: &str, arguments: impl IntoIterator<Item = A>) -> Finished {
        run(self.command(name).args(arguments))
    }

    #[track_caller]
    fn sftp(&self, host: &str, script: &str) -> Finished {
        run_with(self.command("sftp").args(["-b", "-", host]), script.as_bytes(), LIMIT)
    }

    /// A session that stays until its input is closed; it has logged in at the target.
    #[track_caller]
    fn session(&self, host: &str) -> Running {
        let before = self.logins_at_targets();
        let is_login = |event: &&Value| field(event, "activity-type") == "CONNECTED" && is_at_target(event);
        let mut running = Running::start(self.command("sftp").args(["-b", "-", host]));
        running.feed(b"pwd\n");
        self.gateway
            .events
            .until("login at a target", |events| (events.iter().filter(is_login).count() > before).then_some(()));
        running
    }

    fn logins_at_targets(&self) -> usize {
        let connected = self.gateway.events.of_type("CONNECTED");
        connected.iter().filter(|event| is_at_target(event)).count()
    }

    /// The end of the session at a target that the event belongs to.
    #[track_caller]
    fn end_at_target(&self) -> Value {
        self.gateway.events.await_event("DISCONNECTED", is_at_target)
    }

    /// The first `count` ends of connections.
    #[track_caller]
    fn ends(&self, count: usize) -> Vec<Value> {
        self.gateway.events.until("end of connections", |events| {
            let ends = events.iter().filter(|event| field(event, "activity-type") == "DISCONNECTED");
            let ends: Vec<Value> = ends.take(count).cloned().collect();
            (ends.len() == count).then_some(ends)
        })
    }
}

/// Trees go to a target under this name and come back, by both protocols, and transfers that were cut off are resumed both ways.
#[track_caller]
fn trees_and_resumed_transfers(door: &Bastion, host: &str, name: &str) {
    let here = door.setup.subfolder(&format!("{host}-{name}"));
    let (tree, file, part, back) = (here.join("tree"), here.join("file"), here.join("part"), here.join("back"));
    fs::create_dir(&tree).unwrap();
    write_tree(&tree);
    for (option, protocol) in [("-s", "sftp"), ("-O", "scp")] {
        let remote = format!("{host}:/{name}-by-{protocol}");
        door.run("scp", ["-r", option, tree.to_str().unwrap(), &remote]).succeeded();
        let again = here.join(protocol);
        door.run("scp", ["-r", option, &remote, again.to_str().unwrap()]).succeeded();
        assert_same_tree(&again, &tree);
    }
    write_noise(&file, 5 * MIB + 1, 1);
    let content = fs::read(&file).unwrap();
    let third = &content[..content.len() / 3];
    fs::write(&part, third).unwrap();
    let [file_at, part_at, back_at] = [&file, &part, &back].map(|path| path.display());
    door.sftp(host, &format!("put {part_at} /{name}\nreput {file_at} /{name}\nget /{name} {back_at}\n")).succeeded();
    assert_same_bytes(&back, &file);
    fs::write(&back, third).unwrap();
    door.sftp(host, &format!("reget /{name} {back_at}\n")).succeeded();
    assert_same_bytes(&back, &file);
}

/// Whether an event is of a session at a target.
fn is_at_target(event: &Value) -> bool {
    !field(event, "jump-session-id").is_empty()
}
