//! Libraries for which `tests/run` compiles a program: libssh, and Go's pkg/sftp.

use std::process::Command;

use crate::checks::{check_library, check_trees, text};
use crate::place::{Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::events::field;
use crate::support::keys::Key;
use crate::support::process::tool;
use crate::support::setup::{Setup, User};

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

/// It reads which signatures the gateway accepts with the packet after the keys, or not at all.
#[test]
fn libssh_logs_in_with_an_rsa_key() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = Key::make(setup.folder(), "rsa", "rsa");
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    let gateway = setup.start();
    let mut command = Command::new(tool("libssh_client"));
    command.args([&gateway.port.to_string(), "alice"]).arg(&key.private).arg(gateway.known_hosts());
    Scripted::start(&mut command).finish();
    let connected = gateway.events.await_event("CONNECTED", |_| true);
    assert_eq!(field(&connected, "ssh-public-key-type"), "ssh-rsa");
    gateway.stop();
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
