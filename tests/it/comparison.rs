//! `benches/compare` works: its own tests pass, and a small comparison of this Lockgate writes a document.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::process::{program, run};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn comparison() -> Command {
    let mut command = Command::new(root().join("benches/compare"));
    command.env("LOCKGATE", env!("CARGO_BIN_EXE_lockgate"));
    // Any version serves to show that it works; a recent one would be built first.
    command.env("RCLONE", "rclone");
    command
}

#[test]
fn the_tests_of_the_comparison_pass() {
    let mut python = program("python3");
    run(python.args(["-B", "-m", "unittest", "discover", "benches/comparison", "-t", "benches"]).current_dir(root()))
        .succeeded();
}

#[test]
fn a_quick_comparison_measures_each_kind_of_work_and_leaves_the_published_figures() {
    let published = root().join("docs/PERFORMANCE.md");
    let before = fs::read(&published).unwrap();
    let out = TempDir::new().unwrap();
    let works = "sftp-put,scp-get,streams-get,tree,logins,listing,idle,growth-names,bucket-put,requests";
    let options = ["--quick", "--peers", "lockgate", "--only", works, "--out"];
    run(comparison().args(options).arg(out.path())).succeeded();

    let text = fs::read_to_string(out.path().join("PERFORMANCE.md")).unwrap();
    assert!(text.contains("**Not fit to be published**: "), "{text}");
    for work in ["aes256-gcm, 8 MiB put", "`scp -O`, 8 MiB get", "20 files of 4 KiB, `put -r`", "`ls -1` of 300 names"]
    {
        assert!(measured(&text, work), "{work:?} has no figure: {text}");
    }
    assert!(measured(&text, "12 MiB put, S3"), "{text}");
    assert!(text.contains("| put, new | 1 HEAD"), "{text}");
    for plot in ["large-files", "small", "processor", "bucket", "memory", "growth-names"] {
        assert_is_plot(&out.path().join(format!("performance/{plot}.svg")));
    }
    assert_eq!(fs::read(&published).unwrap(), before);
}

#[test]
fn servers_that_nobody_knows_are_refused() {
    run(comparison().args(["--quick", "--peers", "lockgate,shd"])).failed().says("shd");
}

/// Whether the row that begins with `work` has a number in its second column.
fn measured(text: &str, work: &str) -> bool {
    let rows = text.lines().filter_map(|line| line.strip_prefix(&format!("| {work} | ")));
    rows.into_iter().any(|row| row.starts_with(|c: char| c.is_ascii_digit()))
}

fn assert_is_plot(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(text.starts_with("<svg") && text.contains("<rect") | text.contains("<polyline"), "{text}");
}
