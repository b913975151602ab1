//! What people see at a terminal, and programs in a pipe: of a gateway that serves, of the demo, and of a long verification.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, run, until};
use crate::support::setup::{Setup, User};
use crate::support::terminal::{Terminal, without_colours};

/// Of a row: green for a login, red for what was denied.
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";

/// A configuration with a user who may read only, and what logs in as her to the gateway at `port`.
fn reader() -> (Setup, Box<dyn Fn(u16) -> Client>) {
    let mut setup = Setup::new();
    setup.local_store("main");
    setup.store("spare", json!({ "url": "memory:///" }));
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home_with("/", "main:/", json!("read_only")));
    let path = setup.subfolder("events").join("e.ndjson");
    setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    setup.config["admin"] = json!({ "listen": ["127.0.0.1:0"] });
    setup.write_config();
    let (hosts, known_hosts) = (setup.host_keys().to_vec(), setup.folder().join("known"));
    let client = move |port| {
        let line = |key: &crate::support::keys::Key| format!("[127.0.0.1]:{port} {} {}\n", key.kind(), key.blob());
        fs::write(&known_hosts, hosts.iter().map(line).collect::<String>()).unwrap();
        Client::new(port, &known_hosts, "alice").identity(&key.private)
    };
    (setup, Box::new(client))
}

fn serve(setup: &Setup) -> Command {
    let mut command = lockgate();
    command.args(["serve", "--config"]).arg(setup.folder().join("config.yaml"));
    command
}

/// The port of the line `listening on`.
#[track_caller]
fn port(terminal: &Terminal) -> u16 {
    terminal.line_with(&["listening on 127.0.0.1:"]);
    let text = terminal.text();
    let rest = text.split_once(" listening on 127.0.0.1:").expect("the line").1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a port")
}

#[test]
fn a_gateway_on_a_terminal_shows_a_coloured_row_for_each_event_and_what_it_serves() {
    let (setup, client) = reader();
    let terminal = Terminal::start(&serve(&setup), None);
    let port = port(&terminal);
    let config = setup.folder().join("config.yaml");
    let config = config.to_str().unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let started = terminal.line_with(&["started", &version, config, "users=1"]);
    let plain = without_colours(&started);
    for word in ["stores=\"main, spare\"", "standard output", "e.ndjson"] {
        assert!(plain.contains(word), "{word} is not in {plain}");
    }
    assert!(started.contains("\u{1b}["), "the log has colours too: {started:?}");
    terminal.line_with(&["the admin door listens on 127.0.0.1:"]);
    client(port).sftp("mkdir /a").failed();
    assert!(terminal.line_with(&["CONNECTED", "alice", "127.0.0.1"]).contains(GREEN));
    assert!(terminal.line_with(&["MKDIR", "alice", "denied", "/a"]).contains(RED));
    terminal.line_with(&["DISCONNECTED", "alice"]);
    terminal.signal(Signal::TERM);
    let shown = terminal.ended();
    assert!(!shown.contains("\"activity-type\""), "{shown}");
    // The file has the lines, whatever is shown.
    let lines = fs::read_to_string(setup.folder().join("events/e.ndjson")).unwrap();
    let types: Vec<String> = lines.lines().map(|line| activity(line)).collect();
    for wanted in ["CONNECTED", "MKDIR", "DISCONNECTED"] {
        assert!(types.iter().any(|found| found == wanted), "{types:?}");
    }
}

/// The activity of a line of JSON.
#[track_caller]
fn activity(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    field(&event, "activity-type").to_owned()
}

#[test]
fn nothing_is_coloured_for_those_who_do_not_want_it() {
    let (setup, client) = reader();
    let mut command = serve(&setup);
    command.env("NO_COLOR", "1");
    let terminal = Terminal::start(&command, None);
    client(port(&terminal)).sftp("mkdir /a").failed();
    terminal.line_with(&["DISCONNECTED", "alice"]);
    terminal.signal(Signal::TERM);
    let shown = terminal.ended();
    assert!(shown.contains("MKDIR") && shown.contains("started"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    // Nor in a table of old events; which has colours for the others.
    let events = setup.folder().join("events/e.ndjson");
    let search = |no_color: &str| {
        let mut command = lockgate();
        command.args(["audit", "search", "--user", "alice"]).arg(&events).env("NO_COLOR", no_color);
        Terminal::start(&command, None).ended()
    };
    let (plain, coloured) = (search("1"), search(""));
    assert!(plain.contains("MKDIR") && !plain.contains(RED) && !plain.contains(GREEN), "{plain:?}");
    assert!(coloured.contains(RED) && coloured.contains(GREEN), "{coloured:?}");
    let mut piped = lockgate();
    let piped = run(piped.args(["audit", "search", "--user", "alice"]).arg(&events)).succeeded();
    assert!(piped.stdout.contains("MKDIR") && !piped.stdout.contains('\u{1b}'), "{piped}");
}

#[test]
fn a_demo_shows_rows_on_a_terminal_and_lines_in_a_pipe() {
    for piped in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let mut command = lockgate();
        command.args(["demo", "--listen", "127.0.0.1:0"]).current_dir(place.path());
        let out = place.path().join("out");
        let terminal = Terminal::start(&command, piped.then_some(out.as_path()));
        let port = port(&terminal);
        let folder = place.path().join("lockgate-demo");
        let client = Client::new(port, &folder.join("known_hosts"), "demo").identity(&folder.join("demo_ed25519"));
        client.sftp("mkdir /a").succeeded();
        match piped {
            false => {
                assert!(terminal.line_with(&["CONNECTED", "demo"]).contains(GREEN));
                terminal.line_with(&["MKDIR", "demo", "/a"]);
                terminal.line_with(&["DISCONNECTED", "demo"]);
            }
            true => until("lines", LIMIT, || {
                fs::read_to_string(&out).unwrap().contains("\"activity-type\":\"DISCONNECTED\"").then_some(())
            }),
        }
        terminal.line_with(&["started", "users=1", "stores=", "sinks="]);
        terminal.signal(Signal::INT);
        let shown = terminal.ended();
        assert!(shown.contains("/login#code="), "{shown}");
        assert!(!shown.contains("\"activity-type\""), "{shown}");
        assert_eq!(shown.contains("MKDIR"), !piped, "{shown}");
        if piped {
            let lines = fs::read_to_string(&out).unwrap();
            let types: Vec<String> = lines.lines().map(activity).collect();
            assert!(types.iter().any(|found| found == "MKDIR") && !lines.contains('\u{1b}'), "{types:?}");
        }
    }
}

#[test]
fn a_verification_that_takes_long_says_how_long_still() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::progress::trail(folder.path(), 100_000);
    let mut command = lockgate();
    command.args(["audit", "verify"]).arg(&file);
    let terminal = Terminal::start(&command, None);
    // Held up where it is, so that it takes longer than the second before which nothing is estimated, on a quick machine too.
    until("line that moves", LIMIT, || {
        let shown = terminal.raw();
        shown.contains(" %  ").then_some(())?;
        terminal.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(1200));
        terminal.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(300));
        let shown = terminal.raw();
        assert!(
            shown.contains(" left") || !shown.contains("Script done on "),
            "it ended without an estimate: {shown:?}"
        );
        shown.contains(" left").then_some(())
    });
    let shown = terminal.ended();
    let estimate = shown.split("\r\u{1b}[K").find(|line| line.contains(", about ")).expect("an estimate");
    assert!(
        estimate.contains(" %  ") && estimate.contains(" MB, about ") && estimate.ends_with(" left"),
        "{estimate:?}"
    );
    let last = shown.rsplit_once("\r\u{1b}[K").expect("a line that was drawn").1;
    assert!(!last.contains('%') && !last.is_empty(), "the line is gone in the end, and the report stays: {last:?}");
}
