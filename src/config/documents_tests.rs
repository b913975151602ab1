//! The documents' configurations are right: config.example.yaml, and each one in README.md and docs/CONFIGURATION.md.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::users::AuthMode;

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The example as an operator has it: nobody else may write it, whatever the mode of files here.
fn example() -> gateway::Settings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, std::fs::read(document("config.example.yaml")).unwrap()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    load(&file).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_example_loads_as_it_is() {
    let settings = example();
    assert_eq!(settings.audit.server, "edge-1");
    assert_eq!(settings.stores.len(), 5);
    assert_eq!(settings.users[1].auth, AuthMode::Password);
    assert_eq!(settings.users[0].home.len(), 4);
}

/// What the comments call a default is one.
#[test]
fn the_example_shows_the_defaults_of_the_limits() {
    let settings = example();
    let least = "server: { listen: ['127.0.0.1:0'], host_keys: [k] }\nstores: {}\nusers: []\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c"), least).unwrap();
    let default = load(&folder.path().join("c")).unwrap();
    assert_eq!(format!("{:?}", settings.ssh.limits), format!("{:?}", default.ssh.limits));
    assert_eq!(settings.ssh.defender, default.ssh.defender);
    assert_eq!(settings.ssh.algorithms, default.ssh.algorithms);
    assert_eq!(settings.transfers.transfer_memory, default.transfers.transfer_memory);
    assert_eq!(settings.transfers.staging, default.transfers.staging);
    assert_eq!(settings.transfers.largest_hole, default.transfers.largest_hole);
    assert_eq!(settings.transfers.partial_uploads, default.transfers.partial_uploads);
    assert_eq!(settings.strict_setstat, default.strict_setstat);
}

/// A key that the program reads and the example does not show would be found by nobody. The schema has the parser's keys.
#[test]
fn the_example_shows_every_key_and_fits_the_schema() {
    let text = std::fs::read_to_string(document("config.example.yaml")).unwrap();
    schema::tests::assert_fits(&text);
    let keys = schema::tests::keys();
    assert!(keys.len() > 130, "{}", keys.len());
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "{key} is not in config.example.yaml");
    }
}

/// The first line tells an editor where the schema is.
#[test]
fn the_configurations_name_their_schema() {
    let line = "# yaml-language-server: $schema=config.schema.json\n";
    for file in ["config.example.yaml", "src/cli/starter.yaml"] {
        assert!(std::fs::read_to_string(document(file)).unwrap().starts_with(line), "{file}");
    }
}

#[test]
fn every_configuration_in_the_guides_loads() {
    let guides = ["README.md", "docs/CONFIGURATION.md"].map(|name| std::fs::read_to_string(document(name)).unwrap());
    let guides = guides.join("\n");
    let blocks: Vec<&str> = guides.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, block).unwrap();
        load(&file).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
        schema::tests::assert_fits(block);
    }
}

/// The limits' table says what the program does.
#[test]
fn the_guide_tells_the_defaults_of_the_limits() {
    let guide = std::fs::read_to_string(document("docs/CONFIGURATION.md")).unwrap();
    let rows: Vec<(&str, &str)> = guide
        .split("| Key in `limits` | Default | |\n|---|---|---|\n")
        .nth(1)
        .unwrap()
        .lines()
        .map_while(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            Some((cells.next()?.trim().trim_end_matches('`'), cells.next()?.trim()))
        })
        .collect();
    assert_eq!(rows.len(), 12, "{rows:?}");
    let head = "server: { listen: ['127.0.0.1:0'], host_keys: [k] }\nstores: {}\nusers: []\n";
    let table: Vec<String> = rows.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let around = Surroundings {
        folder: PathBuf::from("/"),
        host_name: "h".into(),
        look_at_files: false,
        others_read: false,
        in_force: InForce::default(),
    };
    let read = |text: &str| read_from(text, &around, &|_| None, Problems::new(Path::new("c"))).unwrap();
    let told = read(&format!("{head}limits: {{ {} }}", table.join(", ")));
    assert_eq!(format!("{told:?}"), format!("{:?}", read(head)));
}
