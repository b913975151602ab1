//! The readers that are functions of their input alone.

use std::time::{Duration, SystemTime};

use lockgate::internals::path::{LogicalPath, MAX_COMPONENT, MAX_PATH};
use lockgate::internals::scp::{Command, MAX_NAME, Record};
use lockgate::internals::sftp::decode_stream;
use lockgate::internals::ssh::{KexInitReader, ProxyStart};
use lockgate::internals::stores::Key;
use lockgate::internals::users::{CertificateFacts, Revoked};

/// SFTP packets: where the bytes are split makes no difference.
pub fn sftp_frames(data: &[u8]) {
    let Some((split, stream)) = data.split_first() else { return };
    let whole = decode_stream(stream, stream.len());
    assert_eq!(decode_stream(stream, usize::from(*split)), whole, "in pieces of {split}");
}

/// Records of SCP: what is taken for a record holds what its type promises.
pub fn scp_records(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        match Record::parse(line) {
            Ok(Record::File { mode, size, name }) => {
                assert!(i64::try_from(size).is_ok());
                check_entry(mode, name);
            }
            Ok(Record::Directory { mode, name }) => check_entry(mode, name),
            Ok(Record::Times { mtime, atime }) => {
                let ten_thousand = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
                assert!([mtime, atime].iter().flatten().all(|time| *time < ten_thousand));
            }
            Ok(Record::End | Record::Warning(_) | Record::Fatal(_)) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn check_entry(mode: u32, name: &[u8]) {
    assert!(mode <= 0o7777);
    assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && name.len() <= MAX_NAME);
}

/// Command lines: anything is a command or a reason.
pub fn scp_commands(data: &[u8]) {
    if let Ok(command) = Command::parse(data) {
        assert!(std::str::from_utf8(data).is_ok());
        assert_eq!(Command::parse(data), Ok(command));
    }
}

/// The cleartext start of a connection: where the bytes are split makes no difference.
pub fn kexinit(data: &[u8]) {
    let Some((split, stream)) = data.split_first() else { return };
    let mut whole = KexInitReader::default();
    whole.take(stream);
    let mut split_up = KexInitReader::default();
    stream.chunks(usize::from(*split).max(1)).for_each(|piece| split_up.take(piece));
    assert_eq!(split_up.version(), whole.version());
    assert_eq!(split_up.kexinit(), whole.kexinit());
    assert_eq!(split_up.is_done(), whole.is_done());
    if let Some(kexinit) = whole.kexinit() {
        assert_eq!(kexinit.hassh().len(), 32);
    }
}

/// PROXY headers: a header ends within what was read, what follows it makes no difference, and less of it is its beginning.
pub fn proxy_headers(data: &[u8]) {
    let ProxyStart::Header { length, source } = ProxyStart::of(data) else { return };
    let header = data.get(..length).expect("a header within what was read");
    assert_eq!(ProxyStart::of(header), ProxyStart::Header { length, source });
    for cut in [0, 1, length / 2, length - 1] {
        assert_eq!(ProxyStart::of(&header[..cut]), ProxyStart::Partial, "{cut} bytes of {length}");
    }
}

/// Names: what is taken for a path or a key has no way out.
pub fn paths(data: &[u8]) {
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let (first, second) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    if let Ok(path) = LogicalPath::parse(first) {
        check_path(&path);
        if let Ok(name) = std::str::from_utf8(second)
            && let Ok(below) = path.join(name)
        {
            check_path(&below);
            assert_eq!(below.parent(), Some(path.clone()));
            assert_eq!((below.name(), below.below(&path)), (Some(name), Some(name)));
        }
    }
    let (Ok(first), Ok(second)) = (std::str::from_utf8(first), std::str::from_utf8(second)) else { return };
    if let Ok(key) = Key::parse(first) {
        check_key(&key);
        if let Ok(below) = key.join(second) {
            check_key(&below);
            assert!(below == key || below.as_str().starts_with(&key.as_prefix()), "{below} is not below {key}");
        }
    }
}

fn check_path(path: &LogicalPath) {
    assert_eq!(LogicalPath::parse_str(path.as_str()).as_ref(), Ok(path), "normal paths stay as they are");
    assert!(path.as_str().starts_with('/') && path.as_str().len() <= MAX_PATH);
    path.components().for_each(check_component);
}

fn check_key(key: &Key) {
    assert_eq!(Key::parse(key.as_str()).as_ref(), Ok(key));
    assert!(key.as_str().len() <= MAX_PATH);
    if !key.is_root() {
        key.as_str().split('/').for_each(check_component);
    }
}

fn check_component(component: &str) {
    assert!(!component.is_empty() && component != "." && component != ".." && component.len() <= MAX_COMPONENT);
    assert!(!component.contains(|c: char| c.is_ascii_control()));
}

/// Lists of revoked keys and files of `ssh-keygen -k`: read or refused with a sentence, and then each question has an answer. A key that a
/// list names by itself is revoked whatever else the list says.
pub fn revoked_keys(data: &[u8]) {
    const NAMED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPUsGt9kYZpqstR//YZc+4wKPWd0rm3aJiUgH6p/x+EI";
    let read = |files: &[&[u8]]| {
        let files: Vec<_> = files.iter().map(|bytes| ("list".into(), bytes.to_vec())).collect();
        Revoked::read(&files)
    };
    match read(&[data]) {
        Err((number, what)) => assert!(number == 0 && what.len() > "list: ".len()),
        Ok(revoked) => {
            let facts = CertificateFacts { authority: "SHA256:x", serial: 7, key_id: "id" };
            let alone = revoked.revokes(b"key", Some(facts));
            let with = read(&[data, NAMED.as_bytes()]).expect("both are fine");
            assert!(!with.is_empty() && (!alone || with.revokes(b"key", Some(facts))));
        }
    }
}
