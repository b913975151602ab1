//! Every request, byte by byte.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::{payload, string};
use crate::path::{LogicalPath, PathError};
use crate::session::{AttributeChange, OpenMode};
use crate::sftp::limits::MAX_IDS;
use crate::sftp::request::{
    Call, CopyData, DecodeError, HandleCall, HandleId, ImmediateCall, Packet, PathCall, Request,
};

const NO_ATTRIBUTES: &[u8] = &[0, 0, 0, 0];
const MODE_AND_TIMES: &[u8] = &[0, 0, 0, 0x0c, 0, 0, 0x81, 0xa4, 0, 0, 0, 1, 0, 0, 0, 2];

fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

fn decode(payload: Vec<u8>) -> Result<Packet, DecodeError> {
    Packet::decode(&Bytes::from(payload))
}

fn mode_and_times() -> AttributeChange {
    AttributeChange {
        mtime: Some(UNIX_EPOCH + Duration::from_secs(2)),
        mode: Some(0o644),
        ..AttributeChange::default()
    }
}

/// Each request as it goes over the wire, and what it says.
fn golden() -> Vec<(u8, Vec<Vec<u8>>, Call)> {
    let seven = HandleId::new(7);
    let plain = AttributeChange::default();
    let h = || string("7");
    let extended = |name: &str, fields: &[&[u8]]| {
        let mut all = vec![string(name)];
        all.extend(fields.iter().map(|f| f.to_vec()));
        all
    };
    let on_handle = |call| Call::Handle(seven, call);
    vec![
        (
            3,
            vec![string("a/../b"), vec![0, 0, 0, 0x1a], MODE_AND_TIMES.to_vec()],
            Call::Path(PathCall::Open {
                path: path("/b"),
                mode: OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() },
                attributes: mode_and_times(),
            }),
        ),
        (4, vec![h()], on_handle(HandleCall::Close)),
        (
            5,
            vec![h(), vec![1, 2, 3, 4, 5, 6, 7, 8], vec![0, 0, 0x80, 0]],
            on_handle(HandleCall::Read { offset: 0x0102_0304_0506_0708, length: 32_768 }),
        ),
        (
            6,
            vec![h(), vec![0, 0, 0, 0, 0, 0, 1, 0], string("data")],
            on_handle(HandleCall::Write { offset: 256, data: Bytes::from_static(b"data") }),
        ),
        (7, vec![string("/x")], Call::Path(PathCall::Stat(path("/x")))),
        (8, vec![h()], on_handle(HandleCall::Stat)),
        (9, vec![string("/x"), MODE_AND_TIMES.to_vec()], Call::Path(PathCall::SetStat(path("/x"), mode_and_times()))),
        (10, vec![h(), MODE_AND_TIMES.to_vec()], on_handle(HandleCall::SetStat(mode_and_times()))),
        (11, vec![string("")], Call::Path(PathCall::OpenDirectory(path("/")))),
        (12, vec![h()], on_handle(HandleCall::ReadDirectory)),
        (13, vec![string("/é")], Call::Path(PathCall::Remove(path("/é")))),
        (14, vec![string("/d"), NO_ATTRIBUTES.to_vec()], Call::Path(PathCall::MakeDirectory(path("/d"), plain))),
        (15, vec![string("/d")], Call::Path(PathCall::RemoveDirectory(path("/d")))),
        (16, vec![string(".")], Call::Immediate(ImmediateCall::RealPath(path("/")))),
        (17, vec![string("/x")], Call::Path(PathCall::Stat(path("/x")))),
        (
            18,
            vec![string("/a"), string("/b")],
            Call::Path(PathCall::Rename { from: path("/a"), to: path("/b"), overwrite: false }),
        ),
        (19, vec![string("/a")], Call::Immediate(ImmediateCall::ReadLink)),
        (
            20,
            vec![string("../to"), string("/link")],
            Call::Path(PathCall::Link { target: Bytes::from_static(b"../to"), link: path("/link"), symbolic: true }),
        ),
        (
            200,
            extended("posix-rename@openssh.com", &[&string("/a"), &string("/b")]),
            Call::Path(PathCall::Rename { from: path("/a"), to: path("/b"), overwrite: true }),
        ),
        (200, extended("statvfs@openssh.com", &[&string("/a")]), Call::Path(PathCall::FileSystem(path("/a")))),
        (200, extended("fstatvfs@openssh.com", &[&h()]), on_handle(HandleCall::FileSystem)),
        (
            200,
            extended("hardlink@openssh.com", &[&string("/old"), &string("/new")]),
            Call::Path(PathCall::Link { target: Bytes::from_static(b"/old"), link: path("/new"), symbolic: false }),
        ),
        (200, extended("fsync@openssh.com", &[&h()]), on_handle(HandleCall::Sync)),
        (
            200,
            extended("lsetstat@openssh.com", &[&string("/x"), MODE_AND_TIMES]),
            Call::Path(PathCall::SetStat(path("/x"), mode_and_times())),
        ),
        (200, extended("limits@openssh.com", &[]), Call::Immediate(ImmediateCall::Limits)),
        (
            200,
            extended("expand-path@openssh.com", &[&string("~ann/x")]),
            Call::Immediate(ImmediateCall::ExpandHome { user: Bytes::from_static(b"ann"), rest: path("/x") }),
        ),
        (
            200,
            extended("expand-path@openssh.com", &[&string("x/~")]),
            Call::Immediate(ImmediateCall::RealPath(path("/x/~"))),
        ),
        (
            200,
            extended("copy-data", &[&h(), &5u64.to_be_bytes(), &6u64.to_be_bytes(), &string("8"), &9u64.to_be_bytes()]),
            Call::CopyData(CopyData { from: seven, from_offset: 5, length: 6, to: HandleId::new(8), to_offset: 9 }),
        ),
        (
            200,
            extended("home-directory", &[&string("ann")]),
            Call::Immediate(ImmediateCall::HomeDirectory(Bytes::from_static(b"ann"))),
        ),
        (
            200,
            extended("users-groups-by-id@openssh.com", &[&string([0, 0, 0, 1, 0, 0, 0, 2]), &string([0, 0, 0, 3])]),
            Call::Immediate(ImmediateCall::UserNames { users: vec![1, 2], groups: vec![3] }),
        ),
        (200, extended("nobody@example.com", &[b"whatever"]), Call::Immediate(ImmediateCall::Unsupported)),
        (200, vec![string([0xff, 0xfe])], Call::Immediate(ImmediateCall::Unsupported)),
        (99, vec![], Call::Immediate(ImmediateCall::Unsupported)),
        (101, vec![vec![0; 12]], Call::Immediate(ImmediateCall::Unsupported)),
    ]
}

#[test]
fn every_request_is_decoded() {
    for (kind, fields, call) in golden() {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let raw = payload(kind, 0xdead_beef, &fields);
        let wanted = format!("{call:?}");
        assert_eq!(decode(raw), Ok(Packet::Request(Request { id: 0xdead_beef, call })), "{kind}: {wanted}");
    }
}

#[test]
fn every_request_that_is_cut_short_is_malformed_and_its_id_is_known() {
    for (kind, fields, call) in golden() {
        if matches!(call, Call::Immediate(ImmediateCall::Unsupported)) {
            continue;
        }
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let raw = payload(kind, 9, &fields);
        for length in 0..raw.len() {
            let error = if length < 5 { DecodeError::NoId } else { DecodeError::Malformed { id: 9 } };
            assert_eq!(decode(raw[..length].to_vec()), Err(error), "{call:?} cut to {length} bytes");
        }
    }
}

#[test]
fn every_request_takes_bytes_after_its_last_field() {
    for (kind, mut fields, call) in golden() {
        fields.push(vec![0; 3]);
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_eq!(decode(payload(kind, 9, &fields)), Ok(Packet::Request(Request { id: 9, call })));
    }
}

#[test]
fn init_has_a_version_where_others_have_an_id() {
    assert_eq!(decode(vec![1, 0, 0, 0, 3]), Ok(Packet::Init { version: 3 }));
    assert_eq!(decode(vec![1, 0, 0, 0, 6, 0, 0, 0, 1, b'x', 0, 0, 0, 0]), Ok(Packet::Init { version: 6 }));
    assert_eq!(decode(vec![1, 0, 0, 3]), Err(DecodeError::NoId));
}

#[test]
fn names_that_cannot_be_are_told_from_broken_packets() {
    for (name, error) in [
        (&b"/a\xff"[..], PathError::NotUtf8),
        (b"/a\0", PathError::ControlCharacter(0)),
        (&[b'x'; 256], PathError::ComponentTooLong),
    ] {
        for kind in [7, 11, 13, 15, 16, 17, 19] {
            let raw = payload(kind, 5, &[&string(name)]);
            assert_eq!(decode(raw), Err(DecodeError::Name { id: 5, error }), "type {kind}");
        }
    }
}

#[test]
fn open_flags_are_those_of_the_draft() {
    let mode_of = |flags: u32| {
        let raw = payload(3, 1, &[&string("/f"), &flags.to_be_bytes(), NO_ATTRIBUTES]);
        match decode(raw) {
            Ok(Packet::Request(Request { call: Call::Path(PathCall::Open { mode, .. }), .. })) => mode,
            other => panic!("{other:?}"),
        }
    };
    let read = OpenMode { read: true, ..OpenMode::default() };
    let write = OpenMode { write: true, ..OpenMode::default() };
    assert_eq!(mode_of(0x01), read);
    assert_eq!(mode_of(0x00), read, "as OpenSSH");
    assert_eq!(mode_of(0x02), write);
    assert_eq!(mode_of(0x03), OpenMode { read: true, ..write });
    assert_eq!(mode_of(0x0e), OpenMode { append: true, create: true, ..write });
    assert_eq!(mode_of(0x1a), OpenMode { create: true, truncate: true, ..write });
    assert_eq!(mode_of(0x2a), OpenMode { create: true, exclusive: true, ..write });
    assert_eq!(mode_of(0x22), write, "EXCL says nothing without CREAT");
    assert_eq!(mode_of(0xffff_ffc1), read, "unknown flags are ignored");
}

#[test]
fn a_size_in_open_and_mkdir_changes_nothing() {
    let size = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    let open = decode(payload(3, 1, &[&string("/f"), &[0, 0, 0, 2], &size]));
    let mkdir = decode(payload(14, 1, &[&string("/f"), &size]));
    for decoded in [open, mkdir] {
        let text = format!("{decoded:?}");
        assert!(text.contains("size: None"), "{text}");
    }
}

#[test]
fn only_the_text_that_was_given_is_a_handle() {
    let seven = Call::Handle(HandleId::new(7), HandleCall::Close);
    for text in ["", "07", "+7", " 7", "7 ", "7\0", "x", "18446744073709551616", "777777777777777777777777"] {
        match decode(payload(4, 1, &[&string(text)])) {
            Ok(Packet::Request(request)) => {
                assert_ne!(request.call, seven, "{text:?}");
                assert_eq!(request.call, Call::Handle(HandleId::new(0), HandleCall::Close), "{text:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(HandleId::new(u64::MAX).text().len(), 20);
}

#[test]
fn a_list_of_ids_is_bounded() {
    let extension = string("users-groups-by-id@openssh.com");
    let most = string(vec![0; MAX_IDS * 4]);
    let more = string(vec![0; MAX_IDS * 4 + 4]);
    assert!(decode(payload(200, 1, &[&extension, &most, &most])).is_ok());
    for (users, groups) in [(&more, &most), (&most, &more), (&string([0; 5]), &most)] {
        let decoded = decode(payload(200, 1, &[&extension, users, groups]));
        assert_eq!(decoded, Err(DecodeError::Malformed { id: 1 }));
    }
}
