//! curl, with libssh2.

use crate::support::process::{program, run};
use crate::{Files, Names, Place, check_files, check_names, place_with};

struct Curl<'a>(&'a Place);

impl Curl<'_> {
    #[track_caller]
    fn run(&self, remote: &str, arguments: &[&str]) -> String {
        let place = self.0;
        let mut command = program("curl");
        command.args(["-sS", "--insecure", "--user", "alice:", "--key"]).arg(&place.key.private);
        command.arg("--pubkey").arg(place.key.private.with_extension("pub")).args(arguments);
        command.arg(format!("sftp://127.0.0.1:{}{}", place.port(), remote.replace(' ', "%20")));
        run(&mut command).succeeded().stdout
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

#[test]
fn curl() {
    let protocols = run(program("curl").arg("--version")).succeeded().stdout;
    assert!(protocols.contains(" sftp "), "this curl speaks no SFTP: install Debian's curl");
    // libssh2 before 1.11 knows no encrypt-then-MAC, and no AEAD cipher: the operator has to allow it an older MAC.
    let place = place_with(|setup| {
        setup.config["server"]["macs"] =
            serde_json::json!(["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"]);
    });
    check_files(&place, &Curl(&place));
    check_names(&place, &Curl(&place));
    place.gateway.stop();
}
