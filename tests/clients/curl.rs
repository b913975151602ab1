//! curl, with libssh2.

use std::fs;
use std::path::Path;

use crate::support::data::{SMALL_FILE, assert_same_bytes};
use crate::support::process::{Finished, program, run};
use crate::{Files, Names, Place, check_files, check_names, place_with};

struct Curl<'a>(&'a Place, &'a str);

impl Curl<'_> {
    #[track_caller]
    fn run(&self, remote: &str, arguments: &[&str]) -> String {
        self.ask(remote, arguments).succeeded().stdout
    }

    #[track_caller]
    fn ask(&self, remote: &str, arguments: &[&str]) -> Finished {
        let Curl(place, protocol) = self;
        let mut command = program("curl");
        command.args(["-sS", "--insecure", "--user", "alice:", "--key"]).arg(&place.key.private);
        command.arg("--pubkey").arg(place.key.private.with_extension("pub")).args(arguments);
        command.arg(format!("{protocol}://127.0.0.1:{}{}", place.port(), remote.replace(' ', "%20")));
        run(&mut command)
    }
}

impl Files for Curl<'_> {
    fn put(&self, local: &str, remote: &str) {
        self.run(remote, &["--upload-file", local]);
    }

    fn get(&self, remote: &str, local: &str) {
        self.run(remote, &["--output", local]);
    }
}

impl Names for Curl<'_> {
    fn list(&self, remote: &str) -> String {
        self.run(&format!("{}/", remote.trim_end_matches('/')), &["--list-only"])
    }

    fn rename(&self, from: &str, to: &str) {
        self.run("/", &["--list-only", "--quote", &format!("rename {from} {to}")]);
    }

    fn remove(&self, remote: &str) {
        self.run("/", &["--list-only", "--quote", &format!("rm {remote}")]);
    }

    fn mkdir(&self, remote: &str) {
        self.run("/", &["--list-only", "--quote", &format!("mkdir {remote}")]);
    }
}

/// A gateway for a curl that speaks both protocols.
fn place_for_curl() -> Place {
    let protocols = run(program("curl").arg("--version")).succeeded().stdout;
    assert!(protocols.contains(" scp sftp "), "this curl speaks no SFTP: install Debian's curl");
    // libssh2 before 1.11 knows no encrypt-then-MAC, and no AEAD cipher: the operator has to allow it an older MAC.
    place_with(|setup| {
        setup.config["server"]["macs"] =
            serde_json::json!(["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"]);
    })
}

#[test]
fn curl() {
    let place = place_for_curl();
    check_files(&place, &Curl(&place, "sftp"));
    check_names(&place, &Curl(&place, "sftp"));
    place.gateway.stop();
}

#[test]
fn curl_with_the_scp_protocol() {
    let place = place_for_curl();
    let curl = Curl(&place, "scp");
    check_files(&place, &curl);
    fs::write(place.root.join("it's \"odd\" $x"), "odd").unwrap();
    assert_eq!(curl.run("/~/it's%20%22odd%22%20$x", &[]), "odd");
    // 78: there is no such file.
    fs::create_dir(place.root.join("folder")).unwrap();
    for missing in ["/missing", "/folder"] {
        assert_eq!(curl.ask(missing, &[]).failed().status.code(), Some(78));
    }
    assert_eq!(curl.ask("/folder", &["--upload-file", SMALL_FILE]).succeeded().status.code(), Some(0));
    assert_same_bytes(&place.root.join("folder/folder"), Path::new(SMALL_FILE));
    assert_eq!(curl.ask("/folder/", &["--upload-file", SMALL_FILE]).succeeded().status.code(), Some(0));
    assert_same_bytes(&place.root.join("folder/Cargo.toml"), Path::new(SMALL_FILE));
    place.gateway.stop();
}
