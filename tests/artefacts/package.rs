//! The Debian package as a file: what is in it, and what its maintainer scripts are made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::{project, script};
use crate::support::process::{program, run};
use crate::support::server::folder;

/// Builds the package of the program under test.
#[track_caller]
pub fn build(revision: &str, into: &Path) -> PathBuf {
    let mut build = script("debian/build");
    build.arg(env!("CARGO_BIN_EXE_lockgate")).arg(into).env("LOCKGATE_DEBIAN_REVISION", revision);
    // Quickly: how it is compressed changes nothing of what is in it.
    build.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    PathBuf::from(run(&mut build).succeeded().stdout.trim())
}

/// Each path in the package, with its mode and its owner: `-rwxr-xr-x root/root`.
fn contents(package: &Path) -> BTreeMap<String, String> {
    let listing = run(program("dpkg-deb").arg("--contents").arg(package)).succeeded().stdout;
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap(), words.next().unwrap());
        (words.next_back().unwrap().trim_start_matches('.').to_owned(), format!("{mode} {owner}"))
    };
    listing.lines().map(entry).collect()
}

fn field(package: &Path, name: &str) -> String {
    run(program("dpkg-deb").arg("--field").arg(package).arg(name)).succeeded().stdout.trim().to_owned()
}

#[test]
fn the_package_has_what_its_service_needs_and_says_what_it_needs() {
    let out = folder();
    let package = build("1", out.path());
    let files = contents(&package);
    let program_file = "-rwxr-xr-x root/root";
    for (path, expected) in [
        ("/usr/bin/lockgate", program_file),
        ("/usr/lib/systemd/system/lockgate.service", "-rw-r--r-- root/root"),
        ("/usr/lib/systemd/system/lockgate.socket", "-rw-r--r-- root/root"),
        ("/etc/lockgate/config.yaml", "-rw-r----- root/root"),
        ("/usr/share/man/man1/lockgate-audit-verify.1.gz", "-rw-r--r-- root/root"),
        ("/usr/share/bash-completion/completions/lockgate", "-rw-r--r-- root/root"),
        ("/usr/share/doc/lockgate/OPERATIONS.md.gz", "-rw-r--r-- root/root"),
        ("/usr/share/doc/lockgate/copyright", "-rw-r--r-- root/root"),
        ("/usr/share/doc/lockgate/examples/config.example.yaml", "-rw-r--r-- root/root"),
        ("/var/lib/lockgate/", "drwxr-xr-x root/root"),
    ] {
        assert_eq!(files.get(path).map(String::as_str), Some(expected), "{path} of {files:#?}");
    }
    let odd: Vec<_> = files.iter().filter(|(_, how)| how.contains('s') || !how.ends_with(" root/root")).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let depends = field(&package, "Depends");
    for needed in ["adduser", "init-system-helpers", "libc6 (>= "] {
        assert!(depends.contains(needed), "{depends}");
    }
    assert_eq!(field(&package, "Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let unpacked = out.path().join("unpacked");
    run(program("dpkg-deb").arg("--control").arg(&package).arg(&unpacked)).succeeded();
    assert_eq!(fs::read_to_string(unpacked.join("conffiles")).unwrap(), "/etc/lockgate/config.yaml\n");
    for script in ["postinst", "prerm", "postrm"] {
        run(program("sh").arg("-n").arg(unpacked.join(script))).succeeded();
    }
}

#[test]
fn the_same_program_gives_the_same_package() {
    let (first, second) = (folder(), folder());
    let packages = [build("1", first.path()), build("1", second.path())];
    let [first, second] = packages.map(|package| fs::read(package).unwrap());
    assert!(first == second, "the packages differ");
}

#[test]
fn the_package_s_configuration_is_the_one_that_the_service_names() {
    let unit = fs::read_to_string(project("deploy/systemd/lockgate.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/lockgate serve --config /etc/lockgate/config.yaml\n"), "{unit}");
    let config: serde_json::Value =
        serde_saphyr::from_str(&fs::read_to_string(project("deploy/debian/config.yaml")).unwrap()).unwrap();
    // The socket unit, for whoever enables it.
    let socket = fs::read_to_string(project("deploy/systemd/lockgate.socket")).unwrap();
    let listens = config["server"]["listen"][0].as_str().unwrap();
    assert!(socket.contains(&format!("\nListenStream={listens}\n")), "{socket}");
    // The folders that the unit makes, and lets the service write.
    for (path, folder) in [
        (&config["audit"]["folder"], "/var/lib/lockgate/"),
        (&config["limits"]["staging_folder"], "/var/lib/lockgate/"),
        (&config["events"][0]["path"], "/var/log/lockgate/"),
        (&config["admin"]["socket"], "/run/lockgate/"),
    ] {
        assert!(path.as_str().unwrap().starts_with(folder), "{path}");
    }
}
