//! PHP: the library phpseclib, and the extension ssh2, which is libssh2.

use std::path::Path;
use std::process::Command;

use crate::checks::{check_files, check_library, check_names, check_resume, check_tree_removal, check_trees, text};
use crate::curl::place_for_curl;
use crate::place::{Kind, Place, on_each_store};
use crate::scripted::Scripted;
use crate::support::data::write_noise;
use crate::support::process::program;

fn php(script: &str) -> Command {
    let mut command = program("php");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command
}

fn start(place: &Place, script: &str) -> Scripted {
    Scripted::start(php(script).args([&place.port(), "alice"]).arg(&place.key.private))
}

/// Each question whether a file may be written leaves a handle open that writes nothing.
const QUESTIONS: &str = "600";

#[test]
fn phpseclib() {
    on_each_store(|place| {
        let phpseclib = start(place, "phpseclib_client.php");
        check_library(place, &phpseclib);
        check_trees(place, &phpseclib);
        check_resume(place, &phpseclib);
        phpseclib.run(&["ask_whether_writable", "/asked"]);
        assert_eq!(place.mtime("asked"), 1_000_000_003);
        place.assert_holds_bytes("asked", &[b'3'; 3000]);
        phpseclib.run(&["ask_often", "/asked-often", QUESTIONS]);
        place.assert_holds_bytes("asked-often", b"other bytes");
        phpseclib.finish();
        // When the idle handles go, nothing of what was put changes.
        place.gateway.events.await_disconnected(1);
        place.assert_holds_bytes("asked", &[b'3'; 3000]);
        place.assert_holds_bytes("asked-often", b"other bytes");
    });
}

#[test]
fn php_ssh2() {
    for kind in [Kind::Local, Kind::S3] {
        let place = place_for_curl(kind);
        let ssh2 = start(&place, "php_ssh2_client.php");
        check_files(&place, &ssh2);
        check_names(&place, &ssh2);
        place.write("seen", b"0123456789");
        let found = ssh2.run(&["stat", "/seen"]);
        assert!(found.starts_with("10 "), "{found}");
        check_tree_removal(&place, |folder| drop(ssh2.run(&["remove_tree", folder])));
        // It neither ends the upload nor waits for its end before it renames.
        let source = place.local("sent");
        for round in 0..5 {
            write_noise(&source, 2_000_003, round);
            let remote = format!("/sent-{round}");
            ssh2.run(&["send_and_rename", text(&source), &remote]);
            place.assert_holds(&remote[1..], &source);
            assert!(!place.has(&format!("sent-{round}.part")));
        }
        ssh2.finish();
        place.gateway.stop();
    }
}
