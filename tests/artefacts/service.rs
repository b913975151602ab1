//! The systemd unit: how much it is exposed by systemd's own judgement, and what still works within it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::debian::Installed;
use crate::place::project;
use crate::support::process::{LIMIT, program, run, until};
use crate::support::server::folder;

/// What `systemd-analyze security` says of a unit: from 0 (shut) to 10 (open).
#[track_caller]
fn exposure(unit: &Path) -> f64 {
    let judged =
        run(program("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit)).succeeded();
    let text = judged.stdout.lines().find_map(|line| line.split_once("Overall exposure level for lockgate.service: "));
    text.unwrap_or_else(|| panic!("{judged}")).1.split(' ').next().unwrap().parse().unwrap()
}

/// The unit with its program replaced by one that is there, with or without the drop-in for low ports.
fn unit(folder: &Path, low_ports: bool) -> std::path::PathBuf {
    let text = fs::read_to_string(project("deploy/systemd/lockgate.service")).unwrap();
    let text =
        text.replace("/usr/bin/lockgate", env!("CARGO_BIN_EXE_lockgate")).replace("man:lockgate(1)\n", "man:sh(1)\n");
    let unit = folder.join("lockgate.service");
    fs::write(&unit, text).unwrap();
    if low_ports {
        let drop_in = folder.join("lockgate.service.d");
        fs::create_dir(&drop_in).unwrap();
        fs::copy(project("deploy/systemd/low-ports.conf"), drop_in.join("low-ports.conf")).unwrap();
    }
    unit
}

#[test]
fn the_service_is_hardly_exposed() {
    for (low_ports, most) in [(false, 1.3), (true, 1.7)] {
        let folder = folder();
        let found = exposure(&unit(folder.path(), low_ports));
        assert!(found <= most, "the exposure is {found}, low ports: {low_ports}");
    }
}

#[test]
fn systemd_understands_every_line() {
    let folder = folder();
    let judged =
        run(program("systemd-analyze").args(["verify", "--man=no"]).arg(unit(folder.path(), true))).succeeded();
    // It speaks of this machine's other units, too.
    assert!(!judged.stderr.contains("lockgate"), "{judged}");
}

#[test]
fn the_time_to_stop_is_longer_than_the_drain() {
    let unit = fs::read_to_string(project("deploy/systemd/lockgate.service")).unwrap();
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')).unwrap();
    // limits.drain is 60 s unless configured; then stores have 10 s, sinks 10 s, and what cannot be interrupted 2 s.
    assert!(stop.parse::<u64>().unwrap() > 60 + 22, "{stop}");
}

#[test]
fn within_the_sandbox_the_gateway_binds_stages_records_reloads_and_drains() {
    let installed = Installed::new();
    let machine = &installed.machine;
    installed.add_user();
    let pid = installed.main_pid();

    let status = machine.read(&format!("/proc/{pid}/status"));
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|found| found == line), "no {line:?} in\n{status}");
    }
    machine.shell(&format!("test \"$(stat -c %U /proc/{pid})\" = lockgate"));

    let python = project("target/test-tools/venv/bin/python").display().to_string();
    let script = project("tests/artefacts/out_of_order.py").display().to_string();
    machine.run(&[&python, "-B", &script, "2022", "ann", "/root/key", "/out-of-order"]);
    machine.shell("test \"$(stat -c %U /var/lib/lockgate/staging)\" = lockgate");
    machine.run(&["lockgate", "trail", "verify"]);

    // A reload with an error fails, says so, and changes nothing.
    let good = machine.read("/etc/lockgate/config.yaml");
    installed.edit(|config| config.replacen("users:", "usres: []\nusers:", 1));
    machine.shell("! systemctl reload lockgate");
    until("complaint", LIMIT, || {
        machine.shell("journalctl --no-pager -u lockgate").stdout.contains("did you mean \"users\"").then_some(())
    });
    machine.write("/etc/lockgate/config.yaml", &good);
    machine.run(&["systemctl", "reload", "lockgate"]);
    assert_eq!(installed.main_pid(), pid, "a reload starts nothing anew");

    // A stop lets the upload finish that runs.
    let upload = installed.slow_upload();
    machine.run(&["systemctl", "stop", "lockgate"]);
    upload.finish(LIMIT).succeeded();
    machine.run(&["cmp", "/root/slow", "/var/lib/lockgate/data/home/ann/slow"]);
    let result = machine.shell("systemctl show --property=Result --value lockgate").stdout;
    assert_eq!(result.trim(), "success");
}

#[test]
fn a_start_waits_for_the_listener_and_a_stop_for_a_drain_longer_than_its_own_patience() {
    let installed = Installed::new();
    let machine = &installed.machine;
    installed.add_user();
    machine.write("/etc/systemd/system/lockgate.service.d/short.conf", "[Service]\nTimeoutStopSec=2\n");
    installed.edit(|config| config.replacen("limits:\n", "limits:\n  drain: 5m\n", 1));
    machine.shell("systemctl daemon-reload; systemctl restart lockgate; lockgate status");
    let mut upload = installed.slow_upload();
    machine.run(&["systemctl", "stop", "lockgate"]);
    until("end of the upload", LIMIT, || upload.has_ended().then_some(()));
    upload.finish(LIMIT).succeeded();
    machine.run(&["cmp", "/root/slow", "/var/lib/lockgate/data/home/ann/slow"]);
}

#[test]
fn with_the_socket_unit_neither_a_restart_nor_a_crash_refuses_anybody() {
    let installed = Installed::new();
    let machine = &installed.machine;
    installed.add_user();
    machine.shell("systemctl stop lockgate; systemctl enable --now lockgate.socket; systemctl start lockgate");
    let before = installed.main_pid();
    let upload = installed.slow_upload();
    let restart = machine.start(&["systemctl", "restart", "lockgate"]);
    until("drain", LIMIT, || {
        machine.shell("journalctl --no-pager -u lockgate").stdout.contains("draining").then_some(())
    });
    // It waits for the next gateway.
    installed.sftp(2022, "put /root/key.pub /waited\\n");
    upload.finish(LIMIT).succeeded();
    restart.finish(LIMIT).succeeded();
    machine.run(&["cmp", "/root/slow", "/var/lib/lockgate/data/home/ann/slow"]);
    let after = installed.main_pid();
    assert_ne!(before, after);

    machine.run(&["kill", "-KILL", &after]);
    installed.sftp(2022, "ls\\n");
    machine.run(&["lockgate", "trail", "verify"]);
    machine.run(&["systemctl", "stop", "lockgate.socket", "lockgate"]);
    machine.shell("! ssh-keyscan -T 5 -p 2022 127.0.0.1 | grep .");
}

#[test]
fn ports_below_1024_need_the_drop_in_and_work_with_it() {
    let installed = Installed::new();
    let machine = &installed.machine;
    installed.add_user();
    installed.edit(|config| config.replacen("127.0.0.1:2022", "127.0.0.1:22", 1));
    machine.shell("systemctl restart lockgate || true");
    until("failure", Duration::from_secs(60), || {
        machine.shell("journalctl --no-pager -u lockgate").stdout.contains("ermission denied").then_some(())
    });
    machine.shell("mkdir -p /etc/systemd/system/lockgate.service.d");
    machine.copy(&project("deploy/systemd/low-ports.conf"), "/etc/systemd/system/lockgate.service.d/low-ports.conf");
    machine.shell("systemctl daemon-reload; systemctl restart lockgate");
    until("gateway at port 22", LIMIT, || {
        machine.shell("lockgate status >/dev/null && echo yes || true").stdout.contains("yes").then_some(())
    });
    installed.sftp(22, "put /root/key.pub /low\\n");
}

#[test]
fn a_wrong_configuration_is_not_tried_again_and_a_killed_gateway_is() {
    let installed = Installed::new();
    let machine = &installed.machine;
    let pid = installed.main_pid();
    machine.run(&["kill", "-KILL", &pid]);
    until("another process", LIMIT, || {
        let now = installed.main_pid();
        (now != pid && now != "0" && installed.state() == "active").then_some(())
    });
    installed.edit(|config| config.replacen("users:", "usres: []\nusers:", 1));
    machine.shell("systemctl restart lockgate || true");
    until("failed state", LIMIT, || (installed.state() == "failed").then_some(()));
    let restarts = || machine.shell("systemctl show --property=NRestarts --value lockgate").stdout;
    let before = restarts();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((installed.state().as_str(), restarts()), ("failed", before));
}
