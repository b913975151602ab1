//! OPEN with every combination of its flags, on a file that is there and on one that is not: what `sftp-server` does on a disk.

use super::pipe::{Answer, Client};
use super::string;
use crate::session::testing::Home;

const READ: u32 = 0x01;
const WRITE: u32 = 0x02;
const APPEND: u32 = 0x04;
const CREATE: u32 = 0x08;
const TRUNCATE: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

const OLD: &[u8] = b"0123456789";
const NEW: &[u8] = b"abc";

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const FAILURE: u32 = 4;

/// What OPEN is to answer where the file is there or is not, and what the file holds after WRITE of [`NEW`] at 2 and CLOSE.
struct Wanted {
    status: u32,
    content: Option<Vec<u8>>,
}

/// `open(2)` of the flags that `sftp-server` makes of these (`flags_from_portable`), and `write(2)`.
fn wanted(flags: u32, exists: bool) -> Wanted {
    let has = |flag| flags & flag != 0;
    if exists && has(EXCLUSIVE) && has(CREATE) {
        return Wanted { status: FAILURE, content: Some(OLD.to_vec()) };
    }
    if !exists && !has(CREATE) {
        return Wanted { status: NO_SUCH_FILE, content: None };
    }
    if !has(WRITE) {
        // The one difference: who asks only to read empties no file, whatever else is asked.
        return Wanted { status: OK, content: Some(if exists { OLD.to_vec() } else { Vec::new() }) };
    }
    let mut content = if has(TRUNCATE) || !exists { Vec::new() } else { OLD.to_vec() };
    let at = if has(APPEND) { content.len() } else { 2 };
    content.resize(content.len().max(at + NEW.len()), 0);
    content[at..at + NEW.len()].copy_from_slice(NEW);
    Wanted { status: OK, content: Some(content) }
}

#[tokio::test]
async fn every_combination_of_flags_does_what_it_does_on_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (store, home) in [("memory", Home::open().await), ("folder", Home::on_folder(folder.path()).await)] {
        let mut client = Client::start(home.session()).await;
        for flags in 0..64u32 {
            for exists in [true, false] {
                let what =
                    format!("{flags:#04x} on a file that {} there, {store}", if exists { "is" } else { "is not" });
                let path = format!("/f-{flags}-{exists}");
                if exists {
                    client.put(&path, OLD).await;
                }
                check(&mut client, &path, flags, &wanted(flags, exists), &what).await;
            }
        }
    }
}

async fn check(client: &mut Client, path: &str, flags: u32, wanted: &Wanted, what: &str) {
    let opened = client.call(3, &[&string(path), &flags.to_be_bytes(), &[0; 4]]).await;
    if opened.kind == 101 {
        assert_eq!(opened.status(), wanted.status, "{what}");
    } else {
        assert_eq!(OK, wanted.status, "{what}");
        let handle = string(opened.string());
        let may_write = flags & WRITE != 0;
        let may_read = flags & READ != 0 || !may_write;
        let written = client.call(6, &[&handle, &2u64.to_be_bytes(), &string(NEW)]).await.status();
        assert_eq!(written == OK, may_write, "WRITE, {what}");
        let read = client.call(5, &[&handle, &[0; 8], &1000u32.to_be_bytes()]).await;
        match &wanted.content {
            Some(content) if !may_read => assert_eq!(read.status(), FAILURE, "READ of {content:?}, {what}"),
            Some(content) => assert_eq!(data_of(&read), *content, "READ, {what}"),
            None => panic!("it was opened: {what}"),
        }
        assert_eq!(client.call(4, &[&handle]).await.status(), OK, "CLOSE, {what}");
    }
    let back = client.call(3, &[&string(path), &READ.to_be_bytes(), &[0; 4]]).await;
    let Some(content) = &wanted.content else {
        assert_eq!(back.status(), NO_SUCH_FILE, "{what}");
        return;
    };
    let handle = string(back.string());
    let read = client.call(5, &[&handle, &[0; 8], &1000u32.to_be_bytes()]).await;
    assert_eq!(data_of(&read), *content, "{what}");
    assert_eq!(client.call(4, &[&handle]).await.status(), OK);
}

/// The data, or none at the end of the file.
fn data_of(answer: &Answer) -> Vec<u8> {
    if answer.kind == 101 && answer.status() == EOF { Vec::new() } else { answer.string().to_vec() }
}

#[tokio::test]
async fn directories_are_not_opened_as_files_nor_files_as_directories() {
    let folder = tempfile::tempdir().unwrap();
    for home in [Home::open().await, Home::on_folder(folder.path()).await] {
        let mut client = Client::start(home.session()).await;
        client.put("/d/f", OLD).await;
        for path in ["/", "/d"] {
            for flags in [READ, WRITE, READ | WRITE, WRITE | CREATE | TRUNCATE, WRITE | CREATE | EXCLUSIVE] {
                let opened = client.call(3, &[&string(path), &flags.to_be_bytes(), &[0; 4]]).await;
                assert_eq!(opened.status(), FAILURE, "{path} with {flags:#x}");
            }
        }
        // What lies below a file is not there: ENOTDIR, which has no code of its own.
        for path in ["/d/f/below", "/none/below"] {
            assert_eq!(client.call(3, &[&string(path), &READ.to_be_bytes(), &[0; 4]]).await.status(), NO_SUCH_FILE);
        }
        assert_eq!(client.call(11, &[&string("/d/f")]).await.status(), NO_SUCH_FILE);
    }
}
