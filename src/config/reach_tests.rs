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
        self.problems_with(file, target, permissions, more, "")
    }

    /// The same with more stores.
    fn problems_with(
        &self,
        file: &str,
        target: &str,
        permissions: &str,
        more: &str,
        stores: &str,
    ) -> Vec<(String, String)> {
        let text = format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [outside/key] }}\nstores: {{ disk: {{ url: 'file:store' }}{stores} }}\n\
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
    assert!(problems.list()[0].text.starts_with("this file is inside the home"), "{problems}");
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
        ("stores: {}\n", 0o666, Some("other users may write the file (mode 0666); run chmod go-w")),
        ("stores: {}\n", 0o620, Some("other users may write the file (mode 0620)")),
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
fn root_asks_the_gateway_of_another_user_and_uses_nothing_else_of_its_configuration() {
    for (own, whose, to_load, to_consult) in
        [(0, 0, true, true), (7, 7, true, true), (7, 0, true, true), (7, 8, false, false), (0, 7, false, true)]
    {
        assert_eq!(Owner::OwnOrRoot.allows(own, whose), to_load, "{own} {whose}");
        assert_eq!(Owner::AnyForRoot.allows(own, whose), to_consult, "{own} {whose}");
    }
    // Only root can be another user in a test.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fs::write(&path, "server: { listen: ['127.0.0.1:0'], host_keys: [k] }\nusers: []\nstores: {}\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    consult(&path).unwrap();
    let what = load(&path).unwrap_err().to_string();
    assert!(what.contains("belongs to the user 65534") && what.contains("as that user: sudo -u '#65534'"), "{what}");
    fs::set_permissions(&path, Permissions::from_mode(0o622)).unwrap();
    assert!(consult(&path).unwrap_err().to_string().contains("other users may write the file"));
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
        ("${foo.bar:x}", "is neither"),
        ("${aws/secret@1:x}", "is neither"),
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

#[test]
fn another_name_of_a_store_hides_nothing() {
    let place = Place::new();
    fs::create_dir_all(place.0.path().join("store/keys")).unwrap();
    std::os::unix::fs::symlink("store", place.0.path().join("link")).unwrap();
    let staging = "limits: { staging_folder: outside/staging }\n";
    let audit = "audit: { folder: outside/audit }\n";
    for url in ["file:store", "file:./store", "file:link", "file:store/keys", "file:.", "file:store/../store"] {
        let inside = url.ends_with("/keys");
        let folder = match url {
            "file:." => "store/keys",
            _ if inside => "",
            _ => "keys",
        };
        for (more, at) in [
            (
                format!(
                    "users_from: [{{ keys: 'again:/{folder}', home: [{{ entry: /, target: 'disk:/home/${{user}}' }}] }}]"
                ),
                "users_from[0].keys",
            ),
            (format!("{audit}events: [{{ sink: store, target: 'again:/{folder}' }}]"), "events[0].target"),
        ] {
            for (target, permissions, wrong) in [
                ("/keys", "read_write", true),
                ("/", "[write]", true),
                ("/", "read_only", false),
                ("/home/ann", "read_write", false),
            ] {
                let more = format!("{staging}{more}");
                let found =
                    place.problems_with("c.yaml", target, permissions, &more, &format!(", again: {{ url: '{url}' }}"));
                let found: Vec<_> = found.iter().filter(|(found, _)| found == at).collect();
                let said = found
                    .iter()
                    .any(|(_, text)| text.contains("the home of the user \"ann\", where clients may change files"));
                assert_eq!(said, wrong, "{url} {target} {permissions} {at}: {found:?}");
            }
        }
    }
}

#[test]
fn credentials_and_the_admin_door_in_a_home_are_refused() {
    let place = Place::new();
    let root = place.0.path();
    fs::write(root.join("store/secret"), "x").unwrap();
    let staging = "limits: { staging_folder: outside/staging }\n";
    for (more, at) in [
        ("admin: { socket: store/admin.sock }", "admin.socket"),
        ("admin: { listen: ['127.0.0.1:0'], tls: { certificate: outside/c, key: store/k } }", "admin.tls.key"),
        ("admin: { listen: ['127.0.0.1:0'], tls: { certificate: store/c, key: outside/k } }", "admin.tls.certificate"),
        ("events: [{ sink: syslog, address: 'tls://log.example:6514', ca_file: store/ca.pem }]", "events[0].ca_file"),
        ("partial_uploads: '${file:store/secret}'", "partial_uploads"),
    ] {
        let found = place.problems("c.yaml", "/", "read_only", &format!("{staging}{more}"));
        let said =
            |(found, text): &(String, String)| found == at && text.contains("is inside the home of the user \"ann\"");
        assert!(found.iter().any(said), "{more}: {found:?}");
        let beside = place.problems("c.yaml", "/home/ann", "read_only", &format!("{staging}{more}"));
        assert!(!beside.iter().any(said), "{more}: {beside:?}");
    }
    // The own folder of a store, by another store above it.
    let found = place.problems_with("c.yaml", "/", "read_only", staging, ", deep: { url: 'file:store/safe' }");
    let [(at, text)] = &found[..] else { panic!("{found:?}") };
    assert!(at == "stores.deep.url" && text.contains(".lockgate"), "{found:?}");
}

#[test]
fn a_reload_does_not_bring_into_reach_what_stays_in_use() {
    let place = Place::new();
    let root = place.0.path();
    let path = root.join("c.yaml");
    let text = |target: &str, kept: &str, stores: &str| {
        format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [outside/key] }}\nstores: {{ disk: {{ url: 'file:store' }}{stores} }}\n\
             users: [{{ name: ann, auth: password, password_hash: '{HASH}', home: [{{ entry: /, target: '{target}' }}] }}]\n{kept}"
        )
    };
    let write = |text: String| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let archive = ", archive: { url: 'file:store/safe' }";
    for (kept, what) in [
        ("audit: { folder: store/safe/audit }\nlimits: { staging_folder: outside/s }", "the folder of the signing key"),
        ("limits: { staging_folder: store/safe/staging }", "the staging folder"),
        ("admin: { socket: store/safe/admin }\nlimits: { staging_folder: outside/s }", "the socket of the admin door"),
        (
            "events: [{ sink: file, path: store/safe/events }]\nlimits: { staging_folder: outside/s }",
            "the file of events",
        ),
        (
            "events: [{ sink: store, target: 'archive:/trail', spool: outside/spool }]\nlimits: { staging_folder: outside/s }",
            "the folder of a sink",
        ),
    ] {
        write(text("disk:/home/ann", kept, archive));
        let in_force = InForce::of(&load(&path).unwrap());
        reload(&path, in_force.clone()).unwrap();
        // The home grows, and the file names another place that takes effect at a restart only.
        let moved = "limits: { staging_folder: outside/other }";
        write(text("disk:/safe", moved, ""));
        load(&path).unwrap();
        let problems = reload(&path, in_force.clone()).unwrap_err();
        let [problem] = problems.list() else { panic!("{problems}") };
        let said = problem
            .text
            .starts_with(&format!("{what}, which is in use until a restart, is inside the home of the user \"ann\""));
        assert!(said, "{problems}");
        // Under a new name the store is another one, and the sink still writes to the old.
        write(text("new:/", moved, ", new: { url: 'file:store/safe' }"));
        assert!(reload(&path, in_force).is_err(), "{what}");
    }
}

#[test]
fn one_file_or_spool_of_two_names_stands_twice() {
    let place = Place::new();
    std::os::unix::fs::symlink("outside", place.0.path().join("link")).unwrap();
    let http = |spool: &str| format!("{{ sink: http, url: 'https://collector.example/', spool: {spool} }}");
    let file = |path: &str| format!("{{ sink: file, path: {path} }}");
    for (first, second, words) in [
        (file("outside/e"), file("link/e"), "this sink appears twice"),
        (file("outside/e"), file("outside/../link/./e"), "this sink appears twice"),
        (http("outside/s"), http("link/s"), "another sink has the same spool"),
    ] {
        let more = format!("limits: {{ staging_folder: outside/staging }}\nevents: [{first}, {second}]");
        let found = place.problems("c.yaml", "/home/ann", "read_only", &more);
        let [(at, text)] = &found[..] else { panic!("{found:?}") };
        assert!(at == "events[1]" && text.starts_with(words), "{found:?}");
    }
}

#[test]
fn nothing_that_is_read_at_the_start_waits_for_a_pipe() {
    let place = Place::new();
    let root = place.0.path();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let problems = load(&root.join("pipe")).unwrap_err();
    assert_eq!(problems.list()[0].text, "the file cannot be read: it is not a regular file");
    let at_a_pipe = |more: &str, stores: &str| {
        let path = root.join("c.yaml");
        let text = format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [pipe] }}\nstores: {{ {stores} }}\nusers: []\n{more}"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        check(&path)
            .unwrap_err()
            .list()
            .iter()
            .filter(|problem| problem.text.contains("it is not a regular file"))
            .count()
    };
    assert_eq!(at_a_pipe("", ""), 1, "the host key");
    for more in [
        "events: [{ sink: syslog, address: 'tls://log.example:6514', ca_file: pipe }]",
        "admin: { listen: ['127.0.0.1:0'], tls: { certificate: pipe, key: pipe } }",
    ] {
        assert_eq!(at_a_pipe(more, ""), 2, "{more}");
    }
    for option in ["google_service_account", "google_application_credentials", "SERVICE_ACCOUNT_PATH"] {
        assert_eq!(at_a_pipe("", &format!("s: {{ url: 'gs://b', options: {{ {option}: pipe }} }}")), 2, "{option}");
    }
}

#[test]
fn files_of_options_start_from_the_folder_of_the_configuration() {
    let place = Place::new();
    let root = place.0.path();
    fs::write(root.join("outside/sa.json"), "{}").unwrap();
    let text = |file: &str| {
        format!(
            "server: {{ listen: ['127.0.0.1:0'], host_keys: [k] }}\nstores: {{ s: {{ url: 'gs://b', options: {{ google_service_account: {file} }} }} }}\nusers: []\n"
        )
    };
    let path = root.join("c.yaml");
    for (file, words) in [("outside/sa.json", "do not match"), ("outside/none.json", "cannot be read: No such file")] {
        fs::write(&path, text(file)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let found = load(&path).unwrap_err().to_string();
        assert!(found.contains(words), "{file}: {found}");
    }
    // A path is no credential, so the file may be read by others; what is none is not shown.
    for (file, shown) in [("outside/none.json", true), ("'{\"private_key\": \"hunter2hunter2\"}'", false)] {
        fs::write(&path, text(file)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let found = load(&path).unwrap_err().to_string();
        assert_eq!(found.contains("everybody on this machine"), !shown, "{found}");
        assert_eq!(found.contains("outside/none.json"), shown, "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
