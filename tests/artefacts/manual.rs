//! docs/OPERATIONS.md: the commands in it exist, with their options; the files that it names are there.

use std::fs;

use crate::place::project;
use crate::support::gateway::lockgate;
use crate::support::process::run;

fn manual() -> String {
    fs::read_to_string(project("docs/OPERATIONS.md")).unwrap()
}

/// The lines of all blocks of shell commands, without comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines = blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| line.split(" #").next().unwrap().trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The arguments of `lockgate` in a line: up to what ends a command in a shell.
fn arguments(line: &str) -> Option<Vec<String>> {
    let before = ["sudo ", "-u lockgate ", "/usr/bin/", "-- ", "$(", "&& ", "| "];
    let begins = |at: usize| at == 0 || before.iter().any(|end| line[..at].ends_with(end));
    let (at, name) = line.match_indices("lockgate ").find(|(at, _)| begins(*at))?;
    let rest = &line[at + name.len()..];
    let words = rest.split(['|', '>', ';', '&', ')']).next().unwrap().split_whitespace();
    Some(words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect())
}

#[test]
fn every_command_of_lockgate_exists_with_its_options() {
    let lines = commands(&manual());
    let calls: Vec<_> = lines.iter().filter_map(|line| Some((line, arguments(line)?))).collect();
    assert!(calls.len() >= 20, "only {} commands were found", calls.len());
    for (line, words) in calls {
        // What stands before --help is parsed first: an option that does not exist is an error.
        let parsed = run(lockgate().args(&words).arg("--help"));
        assert!(parsed.status.success() && parsed.stdout.contains("Usage:"), "{line}: {parsed}");
    }
}

#[test]
fn an_option_that_does_not_exist_is_found() {
    let words = arguments("sudo lockgate status --colour | head").unwrap();
    assert_eq!(words, ["status", "--colour"]);
    run(lockgate().args(words).arg("--help")).failed();
}

#[test]
fn every_link_leads_somewhere() {
    let text = manual();
    let mut links = 0;
    for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let (path, heading) = link.split_once('#').unwrap_or((link, ""));
        let file = if path.is_empty() { project("docs/OPERATIONS.md") } else { project("docs").join(path) };
        assert!(file.exists(), "{link} leads nowhere");
        if !heading.is_empty() {
            let headings = fs::read_to_string(file).unwrap();
            let plain = |line: &str| {
                let line = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                line.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect::<String>()
            };
            assert!(
                headings.lines().filter(|line| line.starts_with('#')).any(|line| plain(line) == heading),
                "{link} leads nowhere"
            );
        }
        links += 1;
    }
    assert!(links > 10, "{links}");
}

#[test]
fn every_file_of_the_project_that_it_names_is_there() {
    let text = manual();
    for name in
        text.split('`').skip(1).step_by(2).filter(|name| name.starts_with("deploy/") || name.starts_with("examples/"))
    {
        let path = name.split([' ', '{']).next().unwrap();
        assert!(project(path).exists(), "{name} is not there");
    }
}

#[test]
fn every_metric_that_it_names_is_described() {
    let metrics = fs::read_to_string(project("docs/OPERATE.md")).unwrap();
    let text = manual();
    for name in text.split('`').skip(1).step_by(2).filter(|name| name.starts_with("lockgate_")) {
        let name = name.split('{').next().unwrap();
        assert!(metrics.contains(name), "docs/OPERATE.md has no {name}");
    }
}

#[test]
fn every_artefact_is_of_the_program_s_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, text) in [
        ("deploy/helm/lockgate/Chart.yaml", format!("appVersion: {version}\n")),
        ("deploy/compose/compose.yaml", format!("localhost/lockgate:{version}}}")),
        ("docs/OPERATIONS.md", format!("lockgate_{version}-1_amd64.deb")),
    ] {
        assert!(fs::read_to_string(project(file)).unwrap().contains(&text), "no {text:?} in {file}");
    }
}
