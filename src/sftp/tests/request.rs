//! Every request, byte by byte.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::{payload, string};
use crate::path::{LogicalPath, PathError};
use crate::session::{AttributeChange, OpenMode, RenameMode};
use crate::sftp::check_file::CheckFile;
use crate::sftp::limits::MAX_IDS;
use crate::sftp::request::{
    Call, CopyData, DecodeError, Flaw, HandleCall, HandleId, ImmediateCall, Packet, PathCall, Request,
};
use crate::sftp::table::RequestKind;
use crate::sftp::wire::Fields;

const NO_ATTRIBUTES: &[u8] = &[0, 0, 0, 0];
const MODE_AND_TIMES: &[u8] = &[0, 0, 0, 0x0c, 0, 0, 0x81, 0xa4, 0, 0, 0, 1, 0, 0, 0, 2];

fn path(text: &str) -> LogicalPath {
    LogicalPath::parse_str(text).unwrap()
}

fn decode(payload: Vec<u8>) -> Result<Packet, DecodeError> {
    Packet::decode(&Bytes::from(payload))
}

/// What is asked, if the packet is a request.
fn call(payload: Vec<u8>) -> Call {
    match decode(payload) {
        Ok(Packet::Request(Request { call, .. })) => call,
        other => panic!("{other:?}"),
    }
}

/// The id and the flaw of a packet that is no request.
fn flaw(payload: Vec<u8>) -> (u32, Flaw) {
    match decode(payload) {
        Err(DecodeError::Flawed { id, flaw, .. }) => (id, flaw),
        other => panic!("{other:?}"),
    }
}

fn mode_and_times() -> AttributeChange {
    AttributeChange {
        mtime: Some(UNIX_EPOCH + Duration::from_secs(2)),
        mode: Some(0o644),
        ..AttributeChange::default()
    }
}

/// The digests of blocks of 256 bytes of a whole file.
fn md5(is_named: bool) -> CheckFile {
    let fields = Bytes::from([string("md5"), vec![0; 16], 256u32.to_be_bytes().to_vec()].concat());
    CheckFile::decode(&mut Fields::new(&fields), is_named).unwrap()
}

/// Each request as it goes over the wire, and what it says.
pub(super) fn golden() -> Vec<(u8, Vec<Vec<u8>>, Call)> {
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
        (11, vec![string("/o")], Call::Path(PathCall::OpenDirectory(path("/o")))),
        (12, vec![h()], on_handle(HandleCall::ReadDirectory)),
        (13, vec![string("/é")], Call::Path(PathCall::Remove(path("/é")))),
        (14, vec![string("/d"), NO_ATTRIBUTES.to_vec()], Call::Path(PathCall::MakeDirectory(path("/d"), plain))),
        (15, vec![string("/d")], Call::Path(PathCall::RemoveDirectory(path("/d")))),
        (16, vec![string(".")], Call::Immediate(ImmediateCall::RealPath(path("/")))),
        (17, vec![string("/x")], Call::Path(PathCall::Stat(path("/x")))),
        (
            18,
            vec![string("/a"), string("/b")],
            Call::Path(PathCall::Rename { from: path("/a"), to: path("/b"), mode: RenameMode::default() }),
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
            Call::Path(PathCall::Rename {
                from: path("/a"),
                to: path("/b"),
                mode: RenameMode { overwrite: true, directory: false },
            }),
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
            extended("check-file-name", &[&string("/x"), &string("md5"), &[0; 16], &256u32.to_be_bytes()]),
            Call::Path(PathCall::Check(path("/x"), md5(false))),
        ),
        (
            200,
            extended("check-file-handle", &[&h(), &string("md5"), &[0; 16], &256u32.to_be_bytes()]),
            on_handle(HandleCall::Check(md5(false))),
        ),
        (
            200,
            extended("check-file", &[&h(), &string("md5"), &[0; 16], &256u32.to_be_bytes()]),
            on_handle(HandleCall::Check(md5(true))),
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
    let mut seen = BTreeSet::new();
    for (number, fields, wanted) in golden() {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let Ok(Packet::Request(Request { id, kind, call })) = decode(payload(number, 0xdead_beef, &fields)) else {
            panic!("{number}: {wanted:?}");
        };
        assert_eq!((id, &call), (0xdead_beef, &wanted), "{number}");
        seen.insert(kind.line().name);
    }
    let all: BTreeSet<_> = RequestKind::all().map(|kind| kind.line().name).collect();
    assert_eq!(seen, all, "every line of the table is tried");
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
            let cut = raw[..length].to_vec();
            if length < 5 {
                assert_eq!(decode(cut), Err(DecodeError::NoId), "{call:?} cut to {length} bytes");
            } else {
                assert_eq!(flaw(cut), (9, Flaw::Malformed), "{call:?} cut to {length} bytes");
            }
        }
    }
}

#[test]
fn every_request_takes_bytes_after_its_last_field() {
    for (number, mut fields, wanted) in golden() {
        fields.push(vec![0; 3]);
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_eq!(call(payload(number, 9, &fields)), wanted);
    }
}

#[test]
fn init_has_a_version_where_others_have_an_id() {
    assert_eq!(decode(vec![1, 0, 0, 0, 3]), Ok(Packet::Init { version: 3 }));
    assert_eq!(decode(vec![1, 0, 0, 0, 6, 0, 0, 0, 1, b'x', 0, 0, 0, 0]), Ok(Packet::Init { version: 6 }));
    assert_eq!(decode(vec![1, 0, 0, 3]), Err(DecodeError::NoId));
}

/// Wherever a path stands in a request, as the first or as the second.
#[test]
fn names_that_cannot_be_are_told_from_broken_packets() {
    let long = vec![b'x'; 256];
    let deep = [b'/', b'x'].repeat(513);
    let wrong: [(&[u8], PathError); 8] = [
        (b"/a\xff", PathError::NotUtf8),
        (b"\xc3/x", PathError::NotUtf8),
        (b"/\xed\xa0\x80", PathError::NotUtf8),
        (b"/\xc0\xaf", PathError::NotUtf8),
        (b"/a\0", PathError::ControlCharacter(0)),
        (b"/a\n", PathError::ControlCharacter(b'\n')),
        (&long, PathError::ComponentTooLong),
        (&deep, PathError::TooLong),
    ];
    let paths: BTreeSet<Vec<u8>> =
        ["/x", "/a", "/b", "a/../b", "/d", "/é", "/link", "/new", "/o", "x/~", "."].map(string).into();
    let mut places = 0;
    for (name, error) in wrong {
        for (number, fields, call) in golden() {
            if matches!(call, Call::Immediate(ImmediateCall::Unsupported)) {
                continue;
            }
            for place in (0..fields.len()).filter(|place| paths.contains(&fields[*place])) {
                let mut fields = fields.clone();
                fields[place] = string(name);
                let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                let packet = payload(number, 5, &fields);
                match &call {
                    // Not on record.
                    Call::Immediate(_) | Call::Path(PathCall::Stat(_) | PathCall::FileSystem(_)) => {
                        assert_eq!(flaw(packet), (5, Flaw::Name(error)), "{call:?}, field {place}");
                    }
                    _ => match self::call(packet) {
                        Call::Path(PathCall::Misnamed(_, why)) => assert_eq!(why, error, "{call:?}, field {place}"),
                        other => panic!("{call:?}, field {place}: {other:?}"),
                    },
                }
                places += 1;
            }
        }
    }
    assert_eq!(places, wrong.len() * 20, "a place for a path was missed");
    // After `~name`, too.
    let home = [string("expand-path@openssh.com"), string(b"~ann/\xff")].concat();
    assert_eq!(flaw(payload(200, 5, &[&home])), (5, Flaw::Name(PathError::NotUtf8)));
}

/// What is no path may hold any bytes: it is compared, or told as it is.
#[test]
fn strings_that_are_no_paths_need_not_be_text() {
    let raw = string(b"\xff\0\xfe");
    let nobody = Call::Handle(HandleId::new(0), HandleCall::Close);
    assert_eq!(call(payload(4, 1, &[&raw])), nobody, "a handle");
    assert_eq!(call(payload(200, 1, &[&raw, &raw])), Call::Immediate(ImmediateCall::Unsupported), "an extension");
    let target = Bytes::from_static(b"\xff\0\xfe");
    let link = PathCall::Link { target: target.clone(), link: path("/l"), symbolic: true };
    assert_eq!(call(payload(20, 1, &[&raw, &string("/l")])), Call::Path(link), "the target of a link");
    let of = call(payload(200, 1, &[&string("home-directory"), &raw]));
    assert_eq!(of, Call::Immediate(ImmediateCall::HomeDirectory(target)), "a user");
    let list = payload(200, 1, &[&string("check-file-name"), &string("/x"), &string(b"\xff,md5"), &[0; 20]]);
    assert!(matches!(call(list), Call::Path(PathCall::Check(..))), "a list of digests");
}

#[test]
fn open_flags_are_those_of_the_draft() {
    let mode_of = |flags: u32| {
        let raw = payload(3, 1, &[&string("/f"), &flags.to_be_bytes(), NO_ATTRIBUTES]);
        match call(raw) {
            Call::Path(PathCall::Open { mode, .. }) => mode,
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
fn a_size_in_open_is_only_what_the_client_expects() {
    let size = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    match call(payload(3, 1, &[&string("/f"), &[0, 0, 0, 2], &size])) {
        Call::Path(PathCall::Open { attributes, .. }) => assert_eq!(attributes, AttributeChange::default()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_text_that_was_given_is_a_handle() {
    let seven = Call::Handle(HandleId::new(7), HandleCall::Close);
    for text in ["", "07", "+7", " 7", "7 ", "7\0", "x", "18446744073709551616", "777777777777777777777777"] {
        let close = call(payload(4, 1, &[&string(text)]));
        assert_ne!(close, seven, "{text:?}");
        assert_eq!(close, Call::Handle(HandleId::new(0), HandleCall::Close), "{text:?}");
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
        assert_eq!(flaw(payload(200, 1, &[&extension, users, groups])), (1, Flaw::Malformed));
    }
}
