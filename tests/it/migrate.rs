//! Users of other servers become a configuration that the check passes, and what has no counterpart is reported.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::gateway::lockgate;
use crate::support::process::{Finished, run};

const LIST: &str = include_str!("migrate/list-users.json");
const DESCRIBED: &str = include_str!("migrate/describe-users.json");
const DUMP: &str = include_str!("migrate/sftpgo-dump.json");

/// A folder of `lockgate init`, and what was made of `inputs` in it.
fn migrated(origin: &str, inputs: &[&str]) -> (TempDir, PathBuf, Finished) {
    let folder = TempDir::new().unwrap();
    run(lockgate().arg("init").arg(folder.path())).succeeded();
    let out = folder.path().join("migrated.yaml");
    let mut command = lockgate();
    command.args(["migrate", origin, "--out"]).arg(&out);
    for (number, input) in inputs.iter().enumerate() {
        let file = folder.path().join(format!("input-{number}.json"));
        fs::write(&file, input).unwrap();
        command.arg(file);
    }
    let done = run(&mut command);
    (folder, out, done)
}

/// Each entry of a user's home, as `/entry STORE:/FOLDER PERMISSIONS`.
fn home(settings: &lockgate::internals::gateway::Settings, user: &str) -> Vec<String> {
    let user = settings.users.iter().find(|known| &*known.name == user).unwrap_or_else(|| panic!("no user {user}"));
    user.home.iter().map(|e| format!("{} {}:/{} {}", e.entry, e.store, e.target, e.permissions)).collect()
}

fn loaded(file: &Path) -> lockgate::internals::gateway::Settings {
    run(lockgate().args(["check", "--config"]).arg(file)).succeeded();
    lockgate::internals::config::load(file).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn users_of_transfer_family_are_migrated() {
    let (_folder, out, done) = migrated("transfer-family", &[LIST, DESCRIBED]);
    assert_eq!(done.status.code(), Some(1), "users were left out: {done}");
    let settings = loaded(&out);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let urls: Vec<&str> = settings.stores.iter().map(|store| store.url.as_str()).collect();
    assert_eq!(urls, ["s3://partner-files", "s3://company-reports"]);
    assert_eq!(settings.stores[0].options[0].1.expose(), "eu-west-1");
    let names: Vec<&str> = settings.users.iter().map(|user| &*user.name).collect();
    assert_eq!(names, ["ann", "ben"]);
    let ann = &settings.users[0];
    assert_eq!((ann.enabled, ann.keys.len()), (true, 1));
    assert_eq!(ann.role.as_deref(), Some("arn:aws:iam::111122223333:role/transfer-partner"));
    assert_eq!(
        home(&settings, "ann"),
        ["/incoming partner-files:/in/ann read_write", "/reports company-reports:/2026 read_write"]
    );
    assert_eq!(home(&settings, "ben"), ["/ partner-files:/home/ben read_write"]);
    assert!(!settings.users[1].enabled, "its policy cannot be evaluated");
    for said in [
        "2 users were migrated, 2 were left out",
        "describe-user` is missing\n    forgotten",
        "there is no key that can be used\n    keyless",
        "a key is left out",
        "a single file (FILE)",
        "fs-0123456789abcdef0 is a file system of EFS",
        "a session policy (Policy) cannot be evaluated",
        "PosixProfile",
        "Tags\n    ann\n",
        "host key",
    ] {
        assert!(done.stderr.contains(said), "{said:?} is not in {done}");
    }
    // The report stays with the file.
    assert!(fs::read_to_string(&out).unwrap().starts_with("# Migrated from AWS Transfer Family."));
}

#[test]
fn users_of_sftpgo_are_migrated() {
    let (_folder, out, done) = migrated("sftpgo", &[DUMP]);
    assert_eq!(done.status.code(), Some(1), "users were left out: {done}");
    let settings = loaded(&out);
    let names: Vec<&str> = settings.users.iter().map(|user| &*user.name).collect();
    assert_eq!(names, ["ann", "ben", "carl"]);
    assert_eq!(
        home(&settings, "ann"),
        [
            "/ local:/ann list, read, write, mkdir",
            "/readonly local:/ann/readonly read_only",
            "/reports local-2:/reports read_only",
            "/reports/drafts local-2:/reports/drafts read_write",
        ]
    );
    let ann = &settings.users[0];
    assert_eq!(format!("{:?}", ann.auth), "PublicKey");
    assert_eq!(ann.bounds.expires.unwrap().to_rfc3339(), "2030-01-01T00:00:00+00:00");
    assert_eq!((ann.bounds.sessions, ann.bounds.allow_from.len()), (Some(3), 2));
    // The groups decide: the bucket, its permissions and addresses; a folder of the other group.
    assert_eq!(
        home(&settings, "ben"),
        [
            "/ company-lake:/partners/ben read_only",
            "/in company-lake:/partners/ben/in list, write, mkdir",
            "/reports local-2:/reports read_only",
        ]
    );
    let ben = &settings.users[1];
    assert_eq!((ben.bounds.sessions, ben.bounds.allow_from.len()), (Some(7), 1));
    assert_eq!(format!("{:?}", ben.auth), "Password");
    assert_eq!(home(&settings, "carl"), ["/ archive:/carl read_write"]);
    assert!(!settings.users[2].enabled && settings.users[2].password.is_none());
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.contains("# aws_secret_access_key:") && !text.contains("\n      aws_access_key_id"), "{text}");
    for said in [
        "3 users were migrated, 3 were left out",
        "a folder on another SFTP server",
        "\"${\" has a meaning in a configuration\n    injected",
        "the protocol SSH is denied to this user\n    webonly",
        "the password is left out",
        "one-time codes is encrypted",
        "delete of files alone",
        "the permission chtimes\n    ann",
        "quota_size\n    ann",
        "filters.denied_ip",
        "filters.file_patterns",
        "filters.start_directory\n    ann",
        "s3config.storage_class\n    ben",
        "azblobconfig.access_tier\n    carl",
        "the credentials of company-lake are encrypted",
        "`admins` (1)",
    ] {
        assert!(done.stderr.contains(said), "{said:?} is not in {done}");
    }
    assert!(!done.stderr.contains("upload_part_size"), "{done}");
}

/// A group that the backup lacks could restrict: its user is left out rather than given more.
#[test]
fn what_cannot_be_known_grants_nothing() {
    let without =
        DUMP.replace("\"name\": \"lake\",\n      \"description\"", "\"name\": \"pond\",\n      \"description\"");
    assert_ne!(without, DUMP);
    let (_folder, out, done) = migrated("sftpgo", &[&without]);
    assert!(done.stderr.contains("the backup does not have its group lake\n    ben"), "{done}");
    assert!(loaded(&out).users.iter().all(|user| &*user.name != "ben"));
    let nowhere = DUMP.replace("[\"192.0.2.0/24\", \"2001:db8::/32\"]", "[\"nowhere\"]");
    let (_folder, out, done) = migrated("sftpgo", &[&nowhere]);
    assert!(done.stderr.contains("none of the allowed addresses can be used"), "{done}");
    assert!(!loaded(&out).users[0].enabled);
}

#[test]
fn what_is_no_input_is_refused_and_nothing_is_replaced() {
    for (origin, input, said) in [
        ("sftpgo", "{}", "no backup of SFTPGo"),
        ("sftpgo", "{\"users\": []}", "no users"),
        ("sftpgo", "not json", "is not JSON"),
        ("transfer-family", "{\"Server\": {}}", "is neither of"),
        ("transfer-family", LIST, "neither keys nor mappings"),
        ("transfer-family", "", "is empty"),
    ] {
        let (_folder, out, done) = migrated(origin, &[input]);
        assert_eq!(done.status.code(), Some(1), "{done}");
        assert!(done.stderr.contains(said) && !out.exists(), "{said}: {done}");
    }
    let (folder, out, _) = migrated("transfer-family", &[DESCRIBED]);
    let before = fs::read(&out).unwrap();
    let again =
        run(lockgate().args(["migrate", "transfer-family", "--out"]).arg(&out).arg(folder.path().join("input-0.json")));
    assert_eq!(again.status.code(), Some(2), "{again}");
    assert_eq!(fs::read(&out).unwrap(), before);
    // Without --out it goes to standard output, and the report does not.
    let printed = run(lockgate().args(["migrate", "transfer-family"]).arg(folder.path().join("input-0.json")));
    assert!(
        printed.stdout.contains("users:\n  - name: \"ann\"") && printed.stderr.contains("were migrated"),
        "{printed}"
    );
}
