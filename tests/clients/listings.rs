//! A folder of five thousand names, as each program lists it.

use crate::checks::Names;
use crate::curl::{Curl, place_for_curl};
use crate::filezilla::filezilla_at;
use crate::java::{jsch_at, mina_at};
use crate::lftp::Lftp;
use crate::node::node_at;
use crate::openssh::Sftp;
use crate::place::{Kind, Place};
use crate::putty::Putty;
use crate::python::{asyncssh_at, paramiko_at};
use crate::rclone::Rclone;

/// More than one page of every store's listing.
const NAMES: usize = 5000;

#[track_caller]
fn check(who: &str, program: &impl Names) {
    let list = program.list("/many");
    let found = list.lines().filter(|line| line.contains("name-")).count();
    assert_eq!(found, NAMES, "{who}");
    for i in [0, 1, 127, 128, 999, 1000, 1001, 4999] {
        assert!(list.contains(&format!("name-{i:04}")), "{who}: {i}");
    }
}

#[track_caller]
fn check_all(place: &Place) {
    place.write_many("many/name", NAMES);
    check("sftp", &Sftp(place));
    check("lftp", &Lftp(place));
    check("psftp", &Putty::new(place));
    check("rclone", &Rclone(place));
    check("curl", &Curl(place, "sftp"));
    check("paramiko", &paramiko_at(place));
    check("asyncssh", &asyncssh_at(place));
    check("ssh2", &node_at(place));
    check("jsch", &jsch_at(place));
    check("mina", &mina_at(place));
    check("filezilla", &filezilla_at(place));
}

#[test]
fn five_thousand_names_in_a_local_folder() {
    let place = place_for_curl(Kind::Local);
    check_all(&place);
    place.gateway.stop();
}

#[test]
fn five_thousand_names_on_s3() {
    let place = place_for_curl(Kind::S3);
    check_all(&place);
    place.gateway.stop();
}
