//! A place where files may only be written: programs that upload under a temporary name give the file its own name there.

use std::path::Path;

use serde_json::json;

use crate::checks::{LARGE, text};
use crate::lftp::Lftp;
use crate::place::{Kind, Place, place_with};
use crate::scripting::net_sftp_foreign_at;
use crate::support::data::write_noise;

fn place(kind: Kind) -> Place {
    place_with(kind, |setup| {
        let home = setup.config["users"][0]["home"].as_array_mut().unwrap();
        home.push(json!({ "entry": "/drop", "target": "main:/drop", "permissions": "write_only" }));
    })
}

/// Uploads of no, of one and of several requests to the store. A name that is taken is not replaced.
#[track_caller]
fn check(place: &Place, put: impl Fn(&Path, &str) -> bool) {
    let source = place.local("source");
    for (round, length) in [0, 40_000, LARGE].into_iter().enumerate() {
        write_noise(&source, length, round as u64);
        let name = format!("drop/file-{round}");
        assert!(put(&source, &format!("/{name}")), "{length} bytes");
        place.assert_holds(&name, &source);
    }
    place.write("drop/taken", b"taken");
    assert!(!put(&source, "/drop/taken"), "it is there already");
    place.assert_holds_bytes("drop/taken", b"taken");
}

#[test]
fn lftp_in_a_drop_box() {
    for kind in [Kind::Local, Kind::S3] {
        let place = place(kind);
        check(&place, |source, remote| {
            let commands = format!("set xfer:use-temp-file yes; put {} -o {remote}", text(source));
            Lftp(&place).command(&commands).status.success()
        });
        place.gateway.stop();
    }
}

#[test]
fn perl_net_sftp_foreign_in_a_drop_box() {
    for kind in [Kind::Local, Kind::S3] {
        let place = place(kind);
        let foreign = net_sftp_foreign_at(&place);
        check(&place, |source, remote| foreign.try_to(&["put_beside", text(source), remote]));
        foreign.finish();
        place.gateway.stop();
    }
}
