//! The numbers of `limits@openssh.com`, and what has not the size or the shape that it should have: truncated, oversized,
//! unknown, of nobody.

use bytes::Buf;

use super::pipe::Client;
use super::request::golden;
use super::{packet, payload, string};
use crate::session::testing::Home;
use crate::sftp::Ended;
use crate::sftp::limits::MAX_FRAME;

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const STAT: u8 = 17;
const EXTENDED: u8 = 200;

const FOR_READING: u32 = 0x01;
const PUT: u32 = 0x1a;

const OK: u32 = 0;
const NO_SUCH_FILE: u32 = 2;
const FAILURE: u32 = 4;
const BAD_MESSAGE: u32 = 5;
const OP_UNSUPPORTED: u32 = 8;

/// What the server says of itself.
struct Limits {
    packet: usize,
    read: usize,
    write: usize,
    handles: usize,
}

async fn limits(client: &mut Client) -> Limits {
    let mut answer = client.call(EXTENDED, &[&string("limits@openssh.com")]).await;
    let [packet, read, write, handles] = std::array::from_fn(|_| usize::try_from(answer.rest.get_u64()).unwrap());
    assert!(answer.rest.is_empty());
    Limits { packet, read, write, handles }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

#[tokio::test]
async fn what_has_exactly_the_size_of_a_limit_works_and_one_more_breaks_nothing() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let limits = limits(&mut client).await;
    for more in [0, 1] {
        let data = pattern(limits.write + more);
        let handle = client.open("/written", PUT).await;
        assert_eq!(client.call(WRITE, &[&handle, &[0; 8], &string(&data)]).await.status(), OK);
        assert_eq!(client.call(CLOSE, &[&handle]).await.status(), OK);
        let handle = client.open("/written", FOR_READING).await;
        let length = u32::try_from(limits.read + more).unwrap().to_be_bytes();
        let read = client.call(READ, &[&handle, &[0; 8], &length]).await.string();
        assert!(read == data[..limits.read], "{} bytes of {}", read.len(), limits.read);
        assert_eq!(client.call(CLOSE, &[&handle]).await.status(), OK);
    }

    // A WRITE that fills the packet, and one that the fields around the data make longer.
    let handle = client.open("/packets", PUT).await;
    let around = payload(WRITE, 1, &[&handle, &[0; 8], &string("")]).len();
    for length in [limits.packet, limits.packet + 1, limits.packet + around, MAX_FRAME] {
        let data = pattern(length - around);
        let written = client.call(WRITE, &[&handle, &[0; 8], &string(&data)]).await;
        assert_eq!(written.status(), OK, "a packet of {length} bytes");
    }
    let id = client.next_id();
    client.raw(&packet(WRITE, id, &[&handle, &[0; 8], &string(pattern(MAX_FRAME + 1 - around))])).await;
    let answer = client.answer_to(id).await;
    assert_eq!(answer.status(), BAD_MESSAGE, "one more than is taken is answered");
    assert!(matches!(client.ended().await, Ended::Protocol(_)));

    let mut client = Client::start(home.session()).await;
    let mut handles = Vec::new();
    for n in 0..limits.handles {
        let opened = client.call(OPENDIR, &[&string("/")]).await;
        assert_eq!(opened.kind, 102, "handle {n}");
        handles.push(string(opened.string()));
    }
    assert_eq!(client.call(OPENDIR, &[&string("/")]).await.status(), FAILURE);
    let listed = client.call(READDIR, &[&handles[0]]).await;
    assert_eq!(listed.names()[..2], [".", ".."], "those that are open go on");
}

#[tokio::test]
async fn requests_that_are_cut_anywhere_are_answered_and_the_channel_goes_on() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    for (kind, fields, call) in golden() {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let whole = payload(kind, u32::MAX, &fields);
        for length in 5..whole.len() {
            client.raw(&string(&whole[..length])).await;
            let answer = client.answer().await;
            let is_named = kind != EXTENDED || length >= 9 + fields[0].len() - 4;
            let is_known = !format!("{call:?}").contains("Unsupported");
            let wanted = if is_known || !is_named { BAD_MESSAGE } else { OP_UNSUPPORTED };
            assert_eq!((answer.id, answer.status()), (u32::MAX, wanted), "{call:?} cut to {length} bytes");
        }
    }
    assert_eq!(client.call(STAT, &[&string("/none")]).await.status(), NO_SUCH_FILE);
    for length in 1..5 {
        let mut client = Client::start(home.session()).await;
        client.raw(&string(&payload(STAT, 1, &[])[..length])).await;
        assert!(
            matches!(client.ended().await, Ended::Protocol(why) if why.contains("without an id")),
            "{length} bytes"
        );
    }
}

#[tokio::test]
async fn an_end_anywhere_in_a_packet_ends_the_channel() {
    let home = Home::open().await;
    let whole = packet(STAT, 1, &[&string("/none")]);
    for length in 0..=whole.len() {
        for piece in [1, whole.len()] {
            let mut client = Client::start(home.session()).await;
            for piece in whole[..length].chunks(piece) {
                client.raw(piece).await;
            }
            client.eof();
            match client.ended().await {
                Ended::ByClient => assert!(length == 0 || length == whole.len(), "{length} bytes"),
                Ended::Protocol(why) => assert!(why.contains("inside a packet"), "{length} bytes: {why}"),
            }
        }
    }
}

#[tokio::test]
async fn packets_of_any_type_that_are_too_long_are_answered_and_end_the_channel() {
    let home = Home::open().await;
    let lengths = [MAX_FRAME + 1, 1 << 20, 1 << 31, usize::try_from(u32::MAX).unwrap()];
    for length in lengths.map(|length| u32::try_from(length).unwrap().to_be_bytes()) {
        for kind in 0..=u8::MAX {
            let mut client = Client::start(home.session()).await;
            client.raw(&[&length[..], &payload(kind, 77, &[])].concat()).await;
            if kind != 1 {
                let answer = client.answer().await;
                assert_eq!((answer.id, answer.status()), (77, BAD_MESSAGE), "type {kind}");
            }
            assert!(matches!(client.ended().await, Ended::Protocol(why) if why.contains("too long")), "type {kind}");
        }
    }
}

#[tokio::test]
async fn types_that_are_no_requests_are_answered_and_the_channel_goes_on() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    for kind in (0..=u8::MAX).filter(|kind| *kind != 1 && !(3..=20).contains(kind) && *kind != EXTENDED) {
        for body in [&[][..], &[0xff; 40]] {
            assert_eq!(client.call(kind, &[body]).await.status(), OP_UNSUPPORTED, "type {kind}");
        }
    }
    assert_eq!(client.call(STAT, &[&string("/none")]).await.status(), NO_SUCH_FILE);
}

#[tokio::test]
async fn any_id_is_answered_as_often_as_it_is_asked() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", b"0123456789").await;
    let handle = client.open("/f", FOR_READING).await;
    for id in [0, 1, 7, u32::MAX] {
        let stat = packet(STAT, id, &[&string("/f")]);
        let read = packet(READ, id, &[&handle, &[0; 8], &[0, 0, 0, 3]]);
        client.raw(&[stat, read].concat().repeat(50)).await;
        let mut kinds = Vec::new();
        for _ in 0..100 {
            let answer = client.answer().await;
            assert_eq!(answer.id, id);
            kinds.push(answer.kind);
        }
        kinds.sort_unstable();
        assert_eq!((kinds[49], kinds[50]), (103, 105), "fifty of each");
    }
}

#[tokio::test]
async fn handles_of_nobody_are_refused_in_every_request() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let mut beside = Client::start(home.session()).await;
    client.put("/f", b"0123456789").await;
    let open = client.open("/f", FOR_READING).await;
    let closed = client.open("/f", FOR_READING).await;
    assert_eq!(client.call(CLOSE, &[&closed]).await.status(), OK);
    // Of the other channel of the connection: higher than all that this one has given.
    for _ in 0..9 {
        beside.call(OPENDIR, &[&string("/")]).await;
    }
    let foreign = string(beside.call(OPENDIR, &[&string("/")]).await.string());
    let wrong: [Vec<u8>; 8] = [
        closed,
        foreign,
        string(""),
        string("0"),
        string(b"\xff\xfe"),
        string([b'1'; 100_000]),
        string(b"1\0"),
        string(u32::MAX.to_string()),
    ];
    let copy = string("copy-data");
    for handle in &wrong {
        let on_handle = golden().into_iter().filter(|(_, fields, _)| fields.contains(&string("7")));
        for (kind, fields, call) in on_handle {
            let with = |good: &Vec<u8>| -> Vec<Vec<u8>> {
                let swap = |field: &Vec<u8>| match field {
                    field if *field == string("7") => handle.clone(),
                    field if *field == string("8") => good.clone(),
                    field => field.clone(),
                };
                fields.iter().map(swap).collect()
            };
            let fields = with(&open);
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            assert_eq!(client.call(kind, &fields).await.status(), FAILURE, "{call:?} of {handle:?}");
        }
        let to = client.call(EXTENDED, &[&copy, &open, &[0; 16], handle, &[0; 8]]).await;
        assert_eq!(to.status(), FAILURE, "copy-data to {handle:?}");
    }
    let read = client.call(READ, &[&open, &[0; 8], &[0, 0, 0, 3]]).await;
    assert_eq!(read.string(), "012", "the one that is open is untouched");
    assert_eq!(client.call(OPEN, &[&string("/f"), &FOR_READING.to_be_bytes(), &[0; 4]]).await.kind, 102);
}

#[tokio::test]
async fn as_many_digests_as_are_promised_fit_into_an_answer_and_no_more() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    for (algorithm, size, most) in [("sha512", 64, 2048), ("md5", 16, 8192)] {
        for more in [0, 1] {
            client.put("/f", &pattern(256 * most + more)).await;
            let fields = [string("check-file-name"), string("/f"), string(algorithm), vec![0; 16]].concat();
            let answer = client.call(EXTENDED, &[&fields, &256u32.to_be_bytes()]).await;
            if more == 0 {
                assert_eq!(answer.rest.len(), string(algorithm).len() + most * size, "{algorithm}");
            } else {
                assert_eq!(answer.status(), FAILURE, "{algorithm}");
            }
        }
    }
}

#[tokio::test]
async fn statvfs_tells_the_space_of_the_store_where_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::on_folder(folder.path()).await;
    let mut client = Client::start(home.session()).await;
    let handle = string(client.call(OPENDIR, &[&string("/")]).await.string());
    for request in [[string("statvfs@openssh.com"), string("/")], [string("fstatvfs@openssh.com"), handle]] {
        let mut answer = client.call(EXTENDED, &[&request.concat()]).await;
        let real = rustix::fs::statvfs(folder.path()).unwrap();
        let fields: [u64; 11] = std::array::from_fn(|_| answer.rest.get_u64());
        let [block, unit, blocks, _, free, .., name_max] = fields;
        assert_eq!((block, unit, name_max), (4096, 4096, 255));
        assert_eq!(blocks, real.f_blocks * real.f_frsize / 4096);
        // Others write to the same disk meanwhile.
        let difference = (free * 4096).abs_diff(real.f_bavail * real.f_frsize);
        assert!(difference < 1 << 30, "{free} blocks are free, really {}", real.f_bavail * real.f_frsize / 4096);
    }
}

/// The draft has every client take packets of 34,000 bytes.
#[tokio::test]
async fn pages_of_names_are_large_and_fit_into_what_every_client_takes() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    for (directory, width, least) in [("short", 3, 100), ("long", 255, 45)] {
        for n in 0..300 {
            client.put(&format!("/{directory}/{n:0>width$}"), b"").await;
        }
        let handle = string(client.call(OPENDIR, &[&string(directory)]).await.string());
        let mut pages = Vec::new();
        loop {
            let page = client.call(READDIR, &[&handle]).await;
            if page.kind == 101 {
                break;
            }
            assert!(page.rest.len() + 9 <= 34_000, "{directory}: a page of {} bytes", page.rest.len());
            pages.push(page.names().len());
        }
        assert_eq!(pages.iter().sum::<usize>(), 302, "{directory}");
        let (_, whole) = pages.split_last().unwrap();
        assert!(whole.iter().all(|names| *names >= least), "{directory}: {pages:?}");
    }
}
