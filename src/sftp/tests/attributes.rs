//! Attributes in OPEN, MKDIR, SETSTAT and FSETSTAT: honoured, or reported as ignored. And what `longname` says of a listing.

use std::time::{Duration, UNIX_EPOCH};

use super::pipe::Client;
use super::string;
use crate::policy::Permissions;
use crate::session::testing::Home;
use crate::stores::{Key, Stat};

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const WRITE: u8 = 6;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const MKDIR: u8 = 14;
const STAT: u8 = 17;

const READ: u32 = 0x01;
const WRITE_ONLY: u32 = 0x02;
const PUT: u32 = 0x1a;

const OK: u32 = 0;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;

/// Attributes with every flag of the draft: a size of 9, an owner, a mode, times, and two extended attributes.
fn everything() -> Vec<u8> {
    let plain = [0x8000_000f, 0, 9, 7, 7, 0o600, 1_500_000_000, 1_500_000_000, 2].map(u32::to_be_bytes).concat();
    [plain, string("name@example.org"), string(b"\xff\0"), string("other@example.org"), string("")].concat()
}

fn size(size: u64) -> Vec<u8> {
    [&[0, 0, 0, 1][..], &size.to_be_bytes()].concat()
}

async fn stored(home: &Home, name: &str) -> Stat {
    home.store().stat(&Key::parse(name).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_is_not_kept_is_reported_as_ignored() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let all = everything();
    let handle = string(client.call(OPEN, &[&string("/f"), &PUT.to_be_bytes(), &all]).await.string());
    assert_eq!(client.call(FSETSTAT, &[&handle, &all]).await.status(), OK);
    assert_eq!(client.call(CLOSE, &[&handle]).await.status(), OK);
    assert_eq!(client.call(MKDIR, &[&string("/d"), &all]).await.status(), OK);
    assert_eq!(client.call(SETSTAT, &[&string("/f"), &all]).await.status(), OK);
    let messages = |activity: &str| -> Vec<_> {
        home.sink().of(activity).iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    };
    // A size in OPEN is what the client expects to send.
    assert_eq!(messages("OPEN"), ["ignored: mode, owner, extended attributes"]);
    assert_eq!(messages("MKDIR"), ["ignored: mode, owner, extended attributes, size, mtime"]);
    assert_eq!(messages("SETSTAT"), ["ignored: mode, owner, extended attributes"; 2], "FSETSTAT and SETSTAT");
    // What is honoured: the times, and the size of SETSTAT and FSETSTAT.
    let found = stored(&home, "f").await;
    assert_eq!((found.size, found.mtime), (9, Some(UNIX_EPOCH + Duration::from_secs(1_500_000_000))));
}

#[tokio::test]
async fn extended_attributes_that_do_not_end_in_the_packet_are_malformed() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", b"x").await;
    let all = everything();
    for (count, rest) in [(3u32, &all[36..]), (u32::MAX, &all[36..]), (1, &[]), (u32::MAX, &[])] {
        let attributes = [&[0x80, 0, 0, 0][..], &count.to_be_bytes(), rest].concat();
        for (kind, path) in [(SETSTAT, "/f"), (MKDIR, "/d")] {
            assert_eq!(client.call(kind, &[&string(path), &attributes]).await.status(), 5, "{count} in type {kind}");
        }
    }
    // None, and flags that the draft has not.
    for attributes in [[0x80, 0, 0, 0, 0, 0, 0, 0], [0x7f, 0xff, 0xff, 0xf0, 1, 2, 3, 4]] {
        assert_eq!(client.call(SETSTAT, &[&string("/f"), &attributes]).await.status(), OK);
    }
    assert_eq!(client.call(STAT, &[&string("/d")]).await.status(), NO_SUCH_FILE);
}

/// On a folder and in memory: SETSTAT by name, FSETSTAT of a file open for reading and of one open for writing.
#[tokio::test]
async fn a_size_cuts_and_extends() {
    let folder = tempfile::tempdir().unwrap();
    for home in [Home::open().await, Home::on_folder(folder.path()).await] {
        let mut client = Client::start(home.session()).await;
        client.put("/f", b"0123456789").await;
        let by_name = string("/f");
        for (length, wanted) in [(10u64, &b"0123456789"[..]), (4, b"0123"), (6, b"0123\0\0"), (0, b""), (3, b"\0\0\0")]
        {
            assert_eq!(client.call(SETSTAT, &[&by_name, &size(length)]).await.status(), OK);
            assert_eq!(content(&mut client, "/f").await, wanted);
        }
        client.put("/f", b"0123456789").await;
        let reading = client.open("/f", READ).await;
        assert_eq!(client.call(FSETSTAT, &[&reading, &size(8)]).await.status(), FAILURE, "only of what is written");
        assert_eq!(client.call(CLOSE, &[&reading]).await.status(), OK);
        assert_eq!(content(&mut client, "/f").await, b"0123456789");

        let writing = client.open("/f", WRITE_ONLY).await;
        for (length, write) in [(2u64, None), (5, Some((5u64, "x"))), (7, None)] {
            assert_eq!(client.call(FSETSTAT, &[&writing, &size(length)]).await.status(), OK);
            if let Some((offset, data)) = write {
                let written = client.call(WRITE, &[&writing, &offset.to_be_bytes(), &string(data)]).await;
                assert_eq!(written.status(), OK);
            }
        }
        let seen = client.call(FSTAT, &[&writing]).await;
        assert_eq!(seen.rest[4..12], 7u64.to_be_bytes());
        assert_eq!(client.call(CLOSE, &[&writing]).await.status(), OK);
        assert_eq!(content(&mut client, "/f").await, b"01\0\0\0x\0");

        assert_eq!(client.call(SETSTAT, &[&string("/none"), &size(3)]).await.status(), NO_SUCH_FILE);
        assert_eq!(client.call(MKDIR, &[&string("/d"), &[0; 4]]).await.status(), OK);
        assert_eq!(client.call(SETSTAT, &[&string("/d"), &size(0)]).await.status(), FAILURE, "a directory");
    }
}

async fn content(client: &mut Client, path: &str) -> Vec<u8> {
    let handle = client.open(path, READ).await;
    let answer = client.call(5, &[&handle, &[0; 8], &1000u32.to_be_bytes()]).await;
    let content = if answer.kind == 101 { Vec::new() } else { answer.string().to_vec() };
    assert_eq!(client.call(CLOSE, &[&handle]).await.status(), OK);
    content
}

#[tokio::test]
async fn a_size_is_a_change_of_content_and_needs_its_permission() {
    let may_add = Permissions::READ_ONLY.with(crate::policy::Permission::Write);
    let home = Home::new(&[("/", "", Permissions::READ_WRITE), ("/add", "add", may_add)]).await;
    home.store().make_directory(&Key::parse("add").unwrap()).await.unwrap();
    let mut client = Client::start(home.session()).await;
    client.put("/add/f", b"0123").await;
    let times = [8, 5, 5].map(u32::to_be_bytes).concat();
    assert_eq!(client.call(SETSTAT, &[&string("/add/f"), &times]).await.status(), OK, "whoever may upload may do that");
    assert_eq!(client.call(SETSTAT, &[&string("/add/f"), &size(2)]).await.status(), PERMISSION_DENIED);
    let reading = client.open("/add/f", READ).await;
    assert_eq!(client.call(FSETSTAT, &[&reading, &size(2)]).await.status(), PERMISSION_DENIED);
    assert_eq!(stored(&home, "add/f").await.size, 4);
}

#[tokio::test]
async fn a_listing_shows_lines_of_openssh_with_the_name_of_the_user() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/d/a file", b"12345").await;
    let times = [8, 1_400_000_000, 1_400_000_000].map(u32::to_be_bytes).concat();
    assert_eq!(client.call(SETSTAT, &[&string("/d/a file"), &times]).await.status(), OK);
    let handle = string(client.call(11, &[&string("/d")]).await.string());
    let listed = client.call(12, &[&handle]).await;
    assert_eq!(listed.names(), [".", "..", "a file"]);
    // `ls -l` of sftp-server for a file of 5 bytes that changed in 2014.
    let line = "-rw-r--r--    1 demo     demo            5 May 13  2014 a file";
    assert!(listed.rest.windows(line.len() + 4).any(|window| window == string(line)), "{listed:?}");
}
