//! curl, with libssh2.

use std::process::Command;

use crate::checks::{
    Files, Names, Resumes, check_download_time, check_files, check_names, check_resume, check_upload_time, text,
};
use crate::place::{Kind, Place, escaped, place_with};
use crate::support::data::{SMALL_FILE, noise, write_noise};
use crate::support::process::{Finished, LIMIT, program, run, run_with};

/// With the URL's scheme: `sftp` or `scp`.
pub struct Curl<'a>(pub &'a Place, pub &'a str);

impl Curl<'_> {
    #[track_caller]
    fn run(&self, remote: &str, arguments: &[&str]) -> String {
        self.command(remote, arguments).succeeded().stdout
    }

    #[track_caller]
    pub fn command(&self, remote: &str, arguments: &[&str]) -> Finished {
        run(&mut self.prepare(remote, arguments))
    }

    fn prepare(&self, remote: &str, arguments: &[&str]) -> Command {
        let Curl(place, scheme) = self;
        let mut command = program("curl");
        command.args(["-sS", "--insecure", "--user", "alice:", "--key"]).arg(&place.key.private);
        command.arg("--pubkey").arg(place.key.private.with_extension("pub")).args(arguments);
        command.arg(format!("{scheme}://127.0.0.1:{}{}", place.port(), escaped(remote)));
        command
    }

    /// One of its commands for the server.
    #[track_caller]
    pub fn quote(&self, command: &str) -> Finished {
        self.command("/", &["--list-only", "--quote", command])
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
        self.quote(&format!("rename {from} {to}")).succeeded();
    }

    fn remove(&self, remote: &str) {
        self.quote(&format!("rm {remote}")).succeeded();
    }

    fn mkdir(&self, remote: &str) {
        self.quote(&format!("mkdir {remote}")).succeeded();
    }

    fn rmdir(&self, remote: &str) {
        self.quote(&format!("rmdir {remote}")).succeeded();
    }
}

impl Resumes for Curl<'_> {
    fn reput(&self, local: &str, remote: &str) {
        self.run(remote, &["--continue-at", "-", "--upload-file", local]);
    }

    fn reget(&self, remote: &str, local: &str) {
        self.run(remote, &["--continue-at", "-", "--output", local]);
    }
}

/// libssh2 before 1.11 knows no encrypt-then-MAC, and no AEAD cipher: the operator has to allow it an older MAC.
pub fn place_for_curl(kind: Kind) -> Place {
    place_with(kind, |setup| {
        setup.config["server"]["macs"] =
            serde_json::json!(["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256"]);
    })
}

fn on_each_store(check: impl Fn(&Place)) {
    let protocols = run(program("curl").arg("--version")).succeeded().stdout;
    assert!(protocols.contains(" scp sftp "), "this curl speaks no SFTP: install Debian's curl");
    for kind in [Kind::Local, Kind::S3] {
        let place = place_for_curl(kind);
        check(&place);
        place.gateway.stop();
    }
}

#[test]
fn curl() {
    on_each_store(|place| {
        let curl = Curl(place, "sftp");
        check_files(place, &curl);
        check_names(place, &curl);
        check_resume(place, &curl);
        // It sets a time only as a command of its own.
        let set = "-mtime \"Wed, 04 Mar 2015 05:06:07 GMT\" /timed";
        check_upload_time(place, |local, remote| drop(curl.run(remote, &["--quote", set, "--upload-file", local])));
        check_download_time(place, |remote, local| drop(curl.run(remote, &["--remote-time", "--output", local])));
        check_pieces(place, &curl);
    });
}

/// Ranges of a file, an upload whose length is not known, and one onto the end of a file.
#[track_caller]
fn check_pieces(place: &Place, curl: &Curl<'_>) {
    let whole = noise(200_000, 31);
    let back = place.local("piece");
    place.write("pieces", &whole[..150_000]);
    let rest = &whole[150_000..];
    let mut command = curl.prepare("/pieces", &["--append", "--upload-file", "-"]);
    run_with(&mut command, rest, LIMIT).succeeded();
    place.assert_holds_bytes("pieces", &whole);
    for (range, expected) in
        [("0-0", &whole[..1]), ("100-199", &whole[100..200]), ("150000-", rest), ("-7", &whole[199_993..])]
    {
        curl.run("/pieces", &["--range", range, "--output", text(&back)]);
        assert!(std::fs::read(&back).unwrap() == expected, "{range}");
    }
    let file = place.local("deep");
    write_noise(&file, 1000, 32);
    curl.run("/made/on the way/deep", &["--ftp-create-dirs", "--upload-file", text(&file)]);
    place.assert_holds("made/on the way/deep", &file);
}

#[test]
fn curl_with_the_scp_protocol() {
    on_each_store(|place| {
        let curl = Curl(place, "scp");
        check_files(place, &curl);
        place.write("folder/inner", b"inner");
        // 78: there is no such file.
        for missing in ["/missing", "/folder"] {
            assert_eq!(curl.command(missing, &[]).failed().status.code(), Some(78));
        }
        // Into the folder: under the name in the URL, else under the file's own.
        for (url, name) in [("/folder", "folder/folder"), ("/folder/", "folder/Cargo.toml")] {
            curl.run(url, &["--upload-file", SMALL_FILE]);
            place.assert_holds(name, std::path::Path::new(SMALL_FILE));
        }
    });
}
