//! Libraries for which `tests/run` compiles a program: libssh, and Go's pkg/sftp.

use std::process::Command;

use crate::checks::{check_library, check_trees, text};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::tool;

fn start(place: &Place, name: &str) -> Scripted {
    let mut command = Command::new(tool(name));
    command.args([&place.port(), "alice"]).arg(&place.key.private);
    Scripted::start(command.arg(place.gateway.known_hosts()))
}

#[test]
fn libssh() {
    on_each_store(|place| {
        let libssh = start(place, "libssh_client");
        check_library(place, &libssh);
        libssh.finish();
        place.assert_all_closed();
    });
}

#[test]
fn go_pkg_sftp() {
    on_each_store(|place| {
        let pkg_sftp = start(place, "pkg_sftp_client");
        check_library(place, &pkg_sftp);
        check_trees(place, &pkg_sftp);
        place.assert_all_closed();
        let source = place.local("renamed");
        write_noise(&source, 7_000_001, 3);
        pkg_sftp.run(&["rename_before_close", text(&source), "/renamed"]);
        place.assert_holds("renamed", &source);
        pkg_sftp.run(&["rename_folder_before_close", text(&source), "/folder"]);
        place.assert_holds("folder/file", &source);
        assert!(!place.has("renamed.part") && !place.has_folder("folder.part"));
        pkg_sftp.run(&["begin_again", "/again"]);
        place.assert_holds_bytes("again", &[0; 100]);
        assert_eq!(place.mtime("again"), 1_000_000_000);
        pkg_sftp.finish();
    });
}
