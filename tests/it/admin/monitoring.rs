//! The numbers and the alarms on them, judged by Prometheus' own tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::administered_with;
use super::events::with_trail;
use crate::support::events::field;
use crate::support::process::{LIMIT, run, run_with, tool, until};
use crate::support::redis::url_of;
use crate::support::server::free_port;
use crate::support::sftp::Sftp;

fn promtool() -> Command {
    Command::new(tool("promtool"))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring")
}

/// The numbers of a gateway that has seen something of everything.
fn numbers() -> String {
    let administered = administered_with(|setup| {
        let (file, spool) = (setup.subfolder("events").join("e.ndjson"), setup.subfolder("spool"));
        // Nobody is there: it is alone.
        setup.config["fleet"] = json!({ "url": url_of(free_port()), "name": "prod" });
        setup.config["stores"]["archive"] = json!({ "url": "memory:///" });
        setup.config["events"] = json!([
            { "sink": "stdout" },
            { "sink": "file", "path": file },
            { "sink": "store", "target": "archive:/audit", "spool": spool, "on_failure": "continue" },
        ]);
    });
    let door = &administered.door;
    let mut alice = Sftp::connect(&door.client, LIMIT);
    alice.put("/f", b"content");
    assert_eq!(alice.get("/f"), b"content");
    drop(alice);
    let stranger = door.setup.key("stranger");
    door.gateway.client("alice", &stranger).sftp("pwd").failed();
    door.gateway.client("nobody", &stranger).sftp("pwd").failed();
    door.gateway.events.await_disconnected(3);
    // The stores are looked at in the background.
    until("a look at the stores", LIMIT, || {
        let stores = administered.socket.get("/api/v1/stores").ok();
        stores["stores"].as_array()?.iter().all(|store| store["answers"] == true).then_some(())
    });
    administered.socket.get("/metrics").body
}

#[test]
fn prometheus_is_content_with_the_numbers_and_they_say_what_happened() {
    let text = numbers();
    run_with(promtool().args(["check", "metrics"]), text.as_bytes(), LIMIT).succeeded();
    for line in [
        "lockgate_ready 1",
        "lockgate_draining 0",
        "lockgate_bans 0",
        "lockgate_store_failing{store=\"main\"} 0",
        "lockgate_user_logins_total{user=\"alice\"} 1",
        "lockgate_user_auth_failures_total{user=\"alice\"} 1",
        "lockgate_user_received_bytes_total{user=\"alice\"} 7",
        "lockgate_user_sent_bytes_total{user=\"alice\"} 7",
        "lockgate_user_files_received_total{user=\"alice\"} 1",
        "lockgate_request_duration_seconds_count{request=\"OPEN\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let value = |start: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let last = value("lockgate_last_upload_timestamp_seconds{user=\"alice\"}");
    assert!(last <= now && last > now - 3600.0, "{last} {now}");
    assert!(value("lockgate_event_wait_seconds_count") >= 6.0);
    assert!(value("lockgate_store_call_duration_seconds_count{store=\"main\",call=\"check\"}") >= 1.0);
    assert!(value("lockgate_spool_limit_bytes{") > 0.0);
    assert!(!text.contains("nobody"), "who does not exist has no numbers: {text}");
}

/// An alarm on silence goes on over a restart.
#[test]
fn the_last_upload_is_known_after_a_restart() {
    let administered = with_trail();
    Sftp::connect(&administered.door.client, LIMIT).put("/f", b"content");
    administered.door.gateway.events.await_disconnected(1);
    let last = |text: &str| -> Option<String> {
        text.lines()
            .find(|line| line.starts_with("lockgate_last_upload_timestamp_seconds{user=\"alice\"}"))
            .map(str::to_owned)
    };
    let before = last(&administered.socket.get("/metrics").body).expect("an upload");
    administered.door.gateway.stop();
    let again = administered.door.setup.start();
    let after = until("the last upload", LIMIT, || last(&administered.socket.get("/metrics").body));
    let seconds = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((seconds(&before) - seconds(&after)).abs() < 60.0, "{before} {after}");
    again.stop();
}

#[test]
fn the_alarms_go_off_when_they_should_and_the_board_shows_what_there_is() {
    let folder = examples();
    run(promtool().args(["check", "config", "--syntax-only"]).arg(folder.join("prometheus.yaml"))).succeeded();
    run(promtool().args(["check", "rules"]).arg(folder.join("alerts.yaml"))).succeeded();
    run(promtool().args(["test", "rules"]).arg(folder.join("alerts.test.yaml"))).succeeded();
    let text = numbers();
    let known: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let board = fs::read_to_string(folder.join("grafana.json")).unwrap();
    let board: Value = serde_json::from_str(&board).unwrap();
    assert_eq!(field(&board, "uid"), "lockgate");
    let alerts = fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    let documented = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATE.md")).unwrap();
    let mut used = 0;
    for (whole, whose) in [(board.to_string(), "the board"), (alerts, "the alarms")] {
        for name in
            whole.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("lockgate_"))
        {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(&family), "{whose} uses {name}, which there is not");
            used += 1;
        }
    }
    assert!(used > 40, "{used}");
    for name in known {
        assert!(documented.contains(&format!("`{name}`")), "docs/OPERATE.md does not list {name}");
    }
}
