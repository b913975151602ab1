//! What is the operator's own, within somebody's home or open to others.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A folder with a store in `store`, and what a configuration there has to say.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        for folder in ["store/home/ann", "store/safe", "outside"] {
            fs::create_dir_all(place.0.path().join(folder)).unwrap();
        }
        place
    }

    /// What is wrong, each as its place and its text.
    fn problems(&self, file: &str, target: &str, permissions: &str, more: &str) -> Vec<(String, String)> {
        let text = format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [outside/key] }}\nstores: {{ disk: {{ url: 'file:store' }} }}\n\
             users: [{{ name: ann, auth: password, password_hash: '{HASH}', home: [{{ entry: /, target: 'disk:{target}', \
             permissions: {permissions} }}] }}]\n{more}"
        );
        let path = self.0.path().join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        match load(&path) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.list().iter().map(|p| (p.place.clone(), p.text.clone())).collect(),
        }
    }
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$/AaANtovXzel7iKb7hjtDg$lT0DhC+qGv4krYGTGbMhjntZEVL3W7qqX452J+d+GsY";

#[test]
fn what_lies_in_a_home_is_refused_wherever_it_is_named() {
    let place = Place::new();
    let staging = "limits: { staging_folder: outside/staging }\n";
    let sink = |path: &str| format!("{staging}events: [{{ sink: file, path: {path} }}]");
    let spool =
        |path: &str| format!("{staging}events: [{{ sink: http, url: 'https://collector.example/', spool: {path} }}]");
    for (target, below) in [("/", "store"), ("/home/ann", "store/home/ann"), ("/home/${user}", "store/home/ann")] {
        for (more, at) in [
            (format!("{staging}audit: {{ folder: {below}/audit }}"), "audit.folder"),
            (sink(&format!("{below}/events.ndjson")), "events[0]"),
            (spool(&format!("{below}/spool")), "events[0]"),
            (format!("limits: {{ staging_folder: {below}/staging }}"), "limits.staging_folder"),
        ] {
            for permissions in ["read_only", "write_only", "[delete]"] {
                let found = place.problems("c.yaml", target, permissions, &more);
                let [(found_at, text)] = &found[..] else { panic!("{target} {more}: {found:?}") };
                assert!(found_at == at && text.contains("the home of the user \"ann\""), "{target} {more}: {found:?}");
            }
        }
        let found = place.problems(&format!("{below}/c.yaml"), target, "read_only", staging);
        // Everything that it names starts from its own folder.
        assert!(found.is_empty() || found.iter().all(|(_, text)| text.contains("home of the user")), "{found:?}");
    }
    let more = format!("{staging}audit: {{ folder: store/safe }}");
    assert_eq!(place.problems("c.yaml", "/home/ann", "read_write", &more), [], "beside the home");
    let more = "limits: { staging_folder: store/.lockgate/staging }";
    assert_eq!(place.problems("c.yaml", "/", "read_write", more), [], "where no client gets");
    // By a link.
    std::os::unix::fs::symlink("store/home/ann", place.0.path().join("link")).unwrap();
    let found =
        place.problems("c.yaml", "/home/ann", "read_only", &format!("{staging}audit: {{ folder: link/audit }}"));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_host_key_and_the_file_itself_in_a_home_are_refused() {
    let place = Place::new();
    let root = place.0.path().display();
    let text = format!(
        "server: {{ listen: ['127.0.0.1:0'], host_keys: [store/key] }}\nstores: {{ disk: {{ url: 'file://{root}' }} }}\n\
         users: [{{ name: ann, auth: password, password_hash: '{HASH}', home: [{{ entry: /, target: 'disk:/' }}] }}]\n"
    );
    let path = place.0.path().join("c.yaml");
    fs::write(&path, text).unwrap();
    let problems = load(&path).unwrap_err();
    let places: Vec<&str> = problems.list().iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["", "server.host_keys[0]"], "{problems}");
    assert!(problems.list()[0].text.starts_with("this file lies in the home"), "{problems}");
}

#[test]
fn a_file_that_others_may_write_or_whose_credentials_they_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let least = "server: { listen: ['127.0.0.1:0'], host_keys: [k] }\nusers: []\n";
    let with_key =
        "stores: { s: { url: 's3://b', options: { aws_access_key_id: a, aws_secret_access_key: secret-secret } } }\n";
    let fetched = "stores: { s: { url: 's3://b', options: { aws_access_key_id: '${file:id}', aws_secret_access_key: '${file:id}' } } }\n";
    fs::write(folder.path().join("id"), "x").unwrap();
    for (stores, mode, wrong) in [
        ("stores: {}\n", 0o644, None),
        ("stores: {}\n", 0o666, Some("others may write the file (mode 0666): chmod go-w")),
        ("stores: {}\n", 0o620, Some("others may write the file (mode 0620)")),
        (with_key, 0o600, None),
        (with_key, 0o640, None),
        (with_key, 0o644, Some("everybody on this machine may read this credential")),
        (fetched, 0o644, None),
    ] {
        fs::write(&path, format!("{least}{stores}")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let found = load(&path).err().map(|problems| problems.to_string());
        match wrong {
            None => assert_eq!(found, None, "{stores} {mode:o}"),
            Some(words) => assert!(found.as_ref().is_some_and(|text| text.contains(words)), "{mode:o}: {found:?}"),
        }
        assert!(!found.unwrap_or_default().contains("secret-secret"));
    }
}

#[test]
fn what_is_fetched_is_a_file_and_its_source_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    for (reference, words) in [
        ("${file:pipe}", "is not a regular file"),
        ("${file:/dev/zero}", "is not a regular file"),
        ("${foo:x}", "`${foo:x}` is neither `${env:NAME}` nor `${file:PATH}`"),
        ("${ENV:x}", "is neither"),
        ("a${vault:b/c#d}e", "is neither"),
        ("${foo:x", "the `}` after"),
    ] {
        let text = format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [k], banner: '{reference}' }}\nstores: {{}}\nusers: []\n"
        );
        fs::write(&path, text).unwrap();
        let problems = load(&path).unwrap_err();
        let [problem] = problems.list() else { panic!("{problems}") };
        assert!(problem.place == "server.banner" && problem.text.contains(words), "{problems}");
    }
    // No reference at all.
    let text = "server: { listen: ['127.0.0.1:0'], host_keys: [k], banner: 'a $ { ${user} ${: ${a b:c}' }\nstores: {}\nusers: []\n";
    fs::write(&path, text).unwrap();
    assert_eq!(load(&path).unwrap().ssh.banner.as_deref(), Some("a $ { ${user} ${: ${a b:c}"));
}
