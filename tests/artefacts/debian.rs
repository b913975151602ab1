//! The Debian package on a machine with a systemd: installed, used, upgraded, removed, purged.

use std::time::Duration;

use crate::machine::Machine;
use crate::package::build;
use crate::place::project;
use crate::support::process::{Finished, LIMIT, Running, until};
use crate::support::server::folder;

/// The options of an OpenSSH client there.
const OPTIONS: &str = "-i /root/key -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new";

/// A machine with the package.
pub struct Installed {
    pub machine: Machine,
}

impl Installed {
    #[track_caller]
    pub fn new() -> Installed {
        let installed = Installed { machine: Machine::boot() };
        installed.install("1");
        installed
    }

    /// Installs, or upgrades to, a revision.
    #[track_caller]
    fn install(&self, revision: &str) {
        let out = folder();
        self.machine.copy(&build(revision, out.path()), "/root/lockgate.deb");
        self.machine.run(&["dpkg", "--install", "/root/lockgate.deb"]);
    }

    /// Adds a user with a key of its own, and has the gateway read it.
    #[track_caller]
    pub fn add_user(&self) {
        self.machine.shell("ssh-keygen -q -t ed25519 -N '' -f /root/key");
        let key = self.machine.read("/root/key.pub");
        let users = format!(
            "users:\n  - name: ann\n    public_keys: [\"{}\"]\n    home: [{{ entry: /, target: \"local:/home/ann\" }}]\n",
            key.trim()
        );
        self.edit(|config| config.replacen("users: []\n", &users, 1));
        self.machine.run(&["systemctl", "reload", "lockgate"]);
        // The gateway reads the file after the reload was asked for.
        until("user", LIMIT, || {
            self.machine
                .shell("lockgate users show ann >/dev/null 2>&1 && echo yes || true")
                .stdout
                .contains("yes")
                .then_some(())
        });
    }

    /// Changes the configuration as an editor does, which keeps owner and mode.
    #[track_caller]
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let config = self.machine.read("/etc/lockgate/config.yaml");
        let changed = change(config.clone());
        assert_ne!(config, changed, "nothing was changed");
        self.machine.write("/etc/lockgate/config.yaml", &changed);
    }

    /// OpenSSH's sftp as ann, to a port.
    #[track_caller]
    pub fn sftp(&self, port: u16, script: &str) -> Finished {
        self.machine.shell(&format!("printf '{script}' | sftp -b - -P {port} {OPTIONS} ann@127.0.0.1"))
    }

    /// An upload that takes four seconds; returns when it has begun.
    #[track_caller]
    pub fn slow_upload(&self) -> Running {
        self.machine.shell("head -c 4194304 /dev/urandom >/root/slow");
        let line = format!("printf 'put /root/slow /slow\\n' | sftp -l 8000 -b - -P 2022 {OPTIONS} ann@127.0.0.1");
        let upload = self.machine.start(&["sh", "-euc", &line]);
        let found = "grep -q '\"OPEN\".*/slow' /var/log/lockgate/events.ndjson && echo yes || true";
        until("upload", LIMIT, || self.machine.shell(found).stdout.contains("yes").then_some(()));
        upload
    }

    #[track_caller]
    pub fn state(&self) -> String {
        self.machine.shell("systemctl is-active lockgate || true").stdout.trim().to_owned()
    }

    #[track_caller]
    pub fn main_pid(&self) -> String {
        self.machine.shell("systemctl show --property=MainPID --value lockgate").stdout.trim().to_owned()
    }

    /// What must outlive everything: keys, in one text.
    #[track_caller]
    fn keys(&self) -> String {
        let files = "/etc/lockgate/ssh_host_*_key /var/lib/lockgate/audit/signing_key";
        self.machine.shell(&format!("sha256sum {files}")).stdout
    }

    /// Whether the trail is whole, by the program that built the package.
    #[track_caller]
    fn verify_trail(&self) -> String {
        let words = "audit verify /var/log/lockgate --key /var/lib/lockgate/audit/signing_key.pub --state /var/lib/lockgate/audit";
        self.machine.shell(&format!("{} {words}", env!("CARGO_BIN_EXE_lockgate"))).stdout
    }
}

#[test]
fn a_package_is_installed_used_upgraded_removed_and_purged_and_keeps_keys_and_trail() {
    let installed = Installed::new();
    let machine = &installed.machine;
    assert_eq!(installed.state(), "active", "{}", machine.shell("journalctl --no-pager -u lockgate").stdout);
    machine.run(&["systemctl", "is-enabled", "lockgate"]);
    machine.run(&["lockgate", "status"]);
    let account = machine.run(&["getent", "passwd", "lockgate"]).stdout;
    assert!(account.trim().ends_with(":/var/lib/lockgate:/usr/sbin/nologin"), "{account}");
    let owners = machine.shell("stat -c '%n %U:%G %a' /etc/lockgate /etc/lockgate/* /var/lib/lockgate/audit/*").stdout;
    for line in [
        "/etc/lockgate root:lockgate 750",
        "/etc/lockgate/config.yaml root:lockgate 640",
        "/etc/lockgate/ssh_host_ed25519_key root:lockgate 640",
        "/var/lib/lockgate/audit/signing_key lockgate:lockgate 600",
    ] {
        assert!(owners.lines().any(|found| found == line), "no {line} in\n{owners}");
    }
    let keys = installed.keys();

    installed.add_user();
    installed.sftp(2022, "put /root/key.pub /one\\n");
    let before = installed.main_pid();
    installed.install("2");
    until("restart", LIMIT, || (installed.main_pid() != before).then_some(()));
    until("new gateway", LIMIT, || (installed.state() == "active").then_some(()));
    assert_eq!(installed.keys(), keys);
    // The administrator's configuration has stayed, and the file.
    installed.sftp(2022, "get /one /root/got\\n");
    machine.run(&["cmp", "/root/key.pub", "/root/got"]);
    let report = installed.verify_trail();
    assert!(!report.contains("A NEW CHAIN"), "{report}");

    machine.run(&["dpkg", "--remove", "lockgate"]);
    assert_ne!(installed.state(), "active");
    machine.shell("test ! -e /usr/bin/lockgate; test -z \"$(pgrep -u lockgate)\"");
    assert_eq!(installed.keys(), keys);
    installed.verify_trail();
    machine.shell("grep -q ann /etc/lockgate/config.yaml; test -s /var/lib/lockgate/data/home/ann/one");

    installed.install("3");
    installed.sftp(2022, "get /one /root/got\\nput /root/key.pub /two\\n");
    assert_eq!(installed.keys(), keys);

    let said = machine.run(&["dpkg", "--purge", "lockgate"]).stdout;
    assert!(said.contains("/var/lib/lockgate"), "{said}");
    machine.shell("test ! -e /etc/lockgate/config.yaml");
    assert_eq!(installed.keys(), keys);
    let report = installed.verify_trail();
    assert!(!report.contains("A NEW CHAIN"), "{report}");
}

#[test]
fn a_folder_of_the_trail_without_its_key_gets_no_other_one() {
    let installed = Installed::new();
    let machine = &installed.machine;
    machine.shell("systemctl stop lockgate; rm /var/lib/lockgate/audit/signing_key");
    installed.install("2");
    machine.shell("test ! -e /var/lib/lockgate/audit/signing_key");
    until("complaint", Duration::from_secs(60), || {
        let log = machine.shell("journalctl --no-pager -u lockgate").stdout;
        log.contains("signing_key is missing").then_some(())
    });
}

#[test]
fn the_manual_s_way_without_the_package_works_too() {
    let machine = Machine::boot();
    let manual = std::fs::read_to_string(project("docs/OPERATIONS.md")).unwrap();
    let (_, rest) = manual.split_once("### Without a package\n").expect("the section of the manual");
    let (_, rest) = rest.split_once("```sh\n").expect("its commands");
    let (commands, _) = rest.split_once("```").unwrap();
    machine.shell("mkdir -p /root/lockgate/target/dist");
    machine.shell(&format!("cp {} /root/lockgate/target/dist/lockgate", env!("CARGO_BIN_EXE_lockgate")));
    machine.shell(&format!("cp -r {} /root/lockgate/deploy", project("deploy").display()));
    machine.shell(&format!("cd /root/lockgate; {commands}"));
    machine.run(&["systemctl", "is-active", "lockgate"]);
    machine.run(&["lockgate", "status"]);
}
