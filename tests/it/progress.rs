//! Long commands say on a terminal how far they are, and nothing in a pipe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::gateway::lockgate;
use crate::support::process::{Finished, program, run};
use crate::support::setup::Setup;

/// What moves to the beginning of the line and empties it.
const CLEAR: &str = "\r\u{1b}[K";

/// A trail of so many lines, of which every hundredth is of ann.
pub fn trail(folder: &Path, lines: usize) -> PathBuf {
    let line = |number: usize| {
        let user = if number.is_multiple_of(100) { "ann" } else { "bob" };
        let event = json!({
            "activity-type": "CLOSE", "event-id": format!("019a{number:028x}"), "timestamp": "2026-07-31T08:00:00.000Z",
            "user": user, "session-id": "0049cd844c7536c06a89", "source-ip": "192.0.2.1", "logical-path": "/a", "mode": "WRITE",
            "status": "success", "bytes-in": 7, "sha256": "ab".repeat(32), "filler": "x".repeat(300),
        });
        format!("{event}\n")
    };
    let file = folder.join("e.ndjson");
    fs::write(&file, (0..lines).map(line).collect::<String>()).unwrap();
    file
}

/// The same command in a terminal; what it writes to standard output goes to `out`, or to the terminal as well.
fn on_terminal(command: &Command, out: Option<&Path>) -> Finished {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let out = out.map_or(String::new(), |out| format!(" > '{}'", out.display()));
    run(program("script").args(["-q", "-e", "-c", &format!("{}{out}", words.join(" ")), "/dev/null"]))
}

fn audit(words: &[&str], file: &Path) -> Command {
    let mut command = lockgate();
    command.arg("audit").args(words).arg(file);
    command
}

#[test]
fn reading_a_trail_shows_how_far_it_is_on_a_terminal_and_nothing_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let file = trail(folder.path(), 20_000);
    let megabytes = fs::metadata(&file).unwrap().len() / 1_000_000;
    let total = format!("of {megabytes} MB");
    for words in [
        &["verify"][..],
        &["search", "--user", "ann", "--format", "json"],
        &["manifest", "--user", "ann"],
        &["sessions"],
        &["replay", "0049cd844c7536c06a89", "--format", "json"],
    ] {
        let mut command = audit(words, &file);
        let out = folder.path().join("out");
        let shown = on_terminal(&command, Some(&out)).stdout;
        assert!(shown.contains(" %  ") && shown.contains(&total), "{words:?}: {shown:?}");
        assert!(shown.starts_with(CLEAR), "{words:?}: {shown:?}");
        let piped = run(&mut command);
        assert!(!piped.stderr.contains('%') && !piped.stderr.contains('\r'), "{words:?}: {piped}");
        assert!(!piped.stdout.contains('\r'), "{words:?}: {piped}");
        assert_eq!(fs::read_to_string(&out).unwrap(), piped.stdout, "{words:?}");
        // The line is gone in the end; what is said after it stays.
        let last = shown.rsplit_once(CLEAR).unwrap().1;
        assert!(!last.contains('%'), "{words:?}: {shown:?}");
    }
}

#[test]
fn rows_and_the_line_share_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = trail(folder.path(), 20_000);
    let command = audit(&["search", "--user", "ann", "--format", "json"], &file);
    let shown = on_terminal(&command, None).stdout.replace("\r\n", "\n");
    let expected = run(&mut audit(&["search", "--user", "ann", "--format", "json"], &file)).succeeded().stdout;
    // What stood on the line before it was emptied is not on the screen any more.
    let seen: Vec<&str> = shown.lines().map(|line| line.rsplit_once(CLEAR).map_or(line, |(_, rest)| rest)).collect();
    let seen: Vec<&str> = seen.into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(seen, expected.lines().collect::<Vec<_>>());
    assert!(shown.contains(" %  "), "{shown:.2000?}");
}

#[test]
fn a_stream_of_unknown_length_shows_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = trail(folder.path(), 2000);
    let words =
        format!("'{}' audit sessions - < '{}' > /dev/null", lockgate().get_program().to_str().unwrap(), file.display());
    let shown = run(program("script").args(["-q", "-e", "-c", &words, "/dev/null"])).succeeded().stdout;
    assert!(shown.contains(" read …") && !shown.contains('%'), "{shown:?}");
}

#[test]
fn a_check_of_what_is_far_away_counts_its_steps() {
    let mut setup = Setup::new();
    setup.memory_store("one");
    setup.memory_store("two");
    setup.config["events"] = json!([{ "sink": "stdout" }]);
    setup.write_config();
    let mut command = lockgate();
    command.args(["check", "--online", "--config"]).arg(setup.folder().join("config.yaml"));
    let shown = on_terminal(&command, None).succeeded().stdout;
    for step in ["1 of 3: reaching the store \"one\"", "2 of 3: reaching the store \"two\"", "3 of 3: reaching a sink"]
    {
        assert!(shown.contains(step), "{step} is not in {shown:?}");
    }
    assert!(shown.rsplit_once(CLEAR).unwrap().1.starts_with("OK: "), "{shown:?}");
    let piped = run(&mut command).succeeded();
    assert!(piped.stderr.is_empty() && !piped.stdout.contains('\r'), "{piped}");
}
