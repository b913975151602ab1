//! Every reply, byte by byte.

use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use russh_sftp::protocol::StatusCode;

use super::{packet, string};
use crate::session::{Attributes, ErrorKind, Kind, SessionError};
use crate::sftp::limits::MAX_MESSAGE;
use crate::sftp::reply::{Names, Reply};
use crate::sftp::request::HandleId;

fn encoded(reply: &Reply) -> Vec<u8> {
    let mut out = BytesMut::new();
    reply.encode(&mut out);
    assert!(out.len() <= reply.size(), "{reply:?} is larger than it says");
    out.to_vec()
}

#[test]
fn version_names_what_is_there() {
    let raw = encoded(&Reply::Version);
    assert_eq!(raw[4..9], [2, 0, 0, 0, 3]);
    let text = String::from_utf8_lossy(&raw);
    let first = string("posix-rename@openssh.com");
    assert_eq!(raw[9..9 + first.len()], first);
    assert_eq!(raw[9 + first.len()..][..5], string("1"));
    assert!(text.contains("limits@openssh.com"));
    assert!(!text.contains("hardlink@openssh.com"), "it is always refused");
}

#[test]
fn each_reply_is_that_of_the_draft() {
    let attributes =
        Attributes { kind: Kind::File, size: 3, mtime: Some(UNIX_EPOCH + Duration::from_secs(9)), mode: 0o644 };
    let attributes_raw = [
        &[0, 0, 0, 0x0f][..],
        &[0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 3, 0xe8, 0, 0, 3, 0xe8],
        &[0, 0, 0x81, 0xa4],
        &[0, 0, 0, 9, 0, 0, 0, 9],
    ]
    .concat();
    let mut names = Names::default();
    names.push("n", &attributes, "u", UNIX_EPOCH);
    let longname = "-rw-r--r--    1 u        u               3 Jan  1 00:00 n";
    for (reply, golden) in [
        (Reply::ok(1), packet(101, 1, &[&[0, 0, 0, 0], &string("Success"), &string("en")])),
        (Reply::end(2), packet(101, 2, &[&[0, 0, 0, 1], &string("End of file"), &string("en")])),
        (
            Reply::failure(3, StatusCode::OpUnsupported, "no"),
            packet(101, 3, &[&[0, 0, 0, 8], &string("Operation unsupported: no"), &string("en")]),
        ),
        (Reply::Handle { id: 4, handle: HandleId::new(12) }, packet(102, 4, &[&string("12")])),
        (Reply::Data { id: 5, data: Bytes::from_static(b"xyz") }, packet(103, 5, &[&string("xyz")])),
        (
            Reply::Names { id: 6, names },
            packet(104, 6, &[&[0, 0, 0, 1], &string("n"), &string(longname), &attributes_raw]),
        ),
        (
            Reply::Names { id: 7, names: Names::of_path("/a") },
            packet(104, 7, &[&[0, 0, 0, 1], &string("/a"), &string("/a"), &[0, 0, 0, 0]]),
        ),
        (Reply::Attributes { id: 8, attributes }, packet(105, 8, &[&attributes_raw])),
        (Reply::Extended { id: 9, payload: Bytes::from_static(b"pay") }, packet(201, 9, &[b"pay"])),
    ] {
        assert_eq!(encoded(&reply), golden, "{reply:?}");
    }
}

#[test]
fn a_message_is_bounded_and_stays_text() {
    let error = SessionError::new(ErrorKind::Denied, "é".repeat(MAX_MESSAGE));
    let Reply::Status { code, message, .. } = Reply::error(1, error) else { panic!("not a status") };
    assert_eq!(code, StatusCode::PermissionDenied);
    assert!(message.len() <= MAX_MESSAGE && message.ends_with("é…"), "{} bytes", message.len());
}
