//! Completions and man pages, judged by the shells and by man; the schema of the configuration.

use std::fs;

use tempfile::TempDir;

use crate::support::gateway::lockgate;
use crate::support::process::{program, run};

#[test]
fn completions_complete() {
    let folder = TempDir::new().unwrap();
    let script = run(lockgate().args(["generate", "completions", "bash"])).succeeded().stdout;
    let file = folder.path().join("lockgate.bash");
    fs::write(&file, &script).unwrap();
    let typed = format!(
        "set -e; source {}; COMP_WORDS=(lockgate sess); COMP_CWORD=1; _lockgate lockgate sess lockgate; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let completed = run(program("bash").args(["--norc", "-c", &typed])).succeeded().stdout;
    assert_eq!(completed.trim(), "sessions");
    for (shell, word) in [("zsh", "#compdef lockgate"), ("fish", "complete -c lockgate")] {
        let script = run(lockgate().args(["generate", "completions", shell])).succeeded().stdout;
        assert!(script.contains(word) && script.contains("connections"), "{shell}: {script}");
    }
    run(lockgate().args(["generate", "completions", "cobol"])).failed();
}

#[test]
fn the_schema_of_the_configuration_is_printed() {
    let text = run(lockgate().args(["generate", "schema"])).succeeded().stdout;
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema, ::lockgate::internals::config::schema());
    assert!(jsonschema::draft7::meta::is_valid(&schema));
}

#[test]
fn each_command_has_a_man_page() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man");
    run(lockgate().args(["generate", "man"]).arg(&pages)).succeeded();
    for (page, text) in
        [("lockgate.1", "SFTP"), ("lockgate-sessions-end.1", "reason"), ("lockgate-trail-verify.1", "not whole")]
    {
        let page = fs::read(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        let shown = String::from_utf8_lossy(&page).into_owned();
        assert!(shown.starts_with(".ie") || shown.contains(".TH lockgate"), "{shown}");
        assert!(shown.contains(text), "{shown}");
    }
    // A file in the place of the folder.
    fs::write(folder.path().join("file"), "").unwrap();
    run(lockgate().args(["generate", "man"]).arg(folder.path().join("file"))).failed();
}
