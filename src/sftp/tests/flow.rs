//! Pipelines, windows and bounds: what happens when a client asks much and reads late, or not at all.

use std::time::Duration;

use super::pipe::Client;
use super::{packet, string};
use crate::session::testing::Home;
use crate::sftp::Ended;
use crate::sftp::limits::{BEHIND_READS_BUDGET, MAX_DATA};

const READ: u32 = 0x01;
const READ_WRITE_CREATE: u32 = 0x0b;
const PUT: u32 = 0x1a;

/// Bytes that are different wherever one looks.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n ^ (n >> 8) ^ (n >> 16)) & 0xff).unwrap()).collect()
}

fn read(id: u32, handle: &[u8], offset: usize, length: usize) -> Vec<u8> {
    let offset = u64::try_from(offset).unwrap().to_be_bytes();
    packet(5, id, &[handle, &offset, &u32::try_from(length).unwrap().to_be_bytes()])
}

fn write(id: u32, handle: &[u8], offset: usize, data: &[u8]) -> Vec<u8> {
    packet(6, id, &[handle, &u64::try_from(offset).unwrap().to_be_bytes(), &string(data)])
}

#[tokio::test]
async fn sixty_four_large_reads_that_are_taken_late_are_answered_in_order() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let data = pattern(64 * MAX_DATA);
    client.put("/big", &data).await;
    let handle = client.open("/big", READ).await;
    // Sixteen megabytes of answers for a window of two.
    for n in 0..64 {
        client.raw(&read(1000 + n, &handle, usize::try_from(n).unwrap() * MAX_DATA, MAX_DATA)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (n, piece) in (0..).zip(data.chunks(MAX_DATA)) {
        let answer = client.answer().await;
        assert_eq!((answer.kind, answer.id), (103, 1000 + n));
        assert!(answer.string() == piece, "the data of read {n}");
    }
    assert_eq!(client.call(4, &[&handle]).await.status(), 0);
}

#[tokio::test]
async fn a_prefetch_of_a_hundred_thousand_reads_is_taken_in_and_answered() {
    const SIZE: usize = 100;
    const COUNT: u32 = 100_000;
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let data = pattern(SIZE * 100_000 - 250);
    client.put("/big", &data).await;
    let handle = client.open("/big", READ).await;
    let requests: Vec<u8> =
        (0..COUNT).flat_map(|n| read(5000 + n, &handle, usize::try_from(n).unwrap() * SIZE, SIZE)).collect();
    client.raw(&requests).await;
    let mut pieces = data.chunks(SIZE);
    for n in 0..COUNT {
        let answer = client.answer().await;
        assert_eq!(answer.id, 5000 + n);
        match pieces.next() {
            Some(piece) => assert!(answer.string() == piece, "the data of read {n}"),
            None => assert_eq!(answer.status(), 1, "the end of the file"),
        }
    }
}

#[tokio::test]
async fn uploads_go_on_while_the_answers_to_reads_are_not_taken() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/down", &pattern(1 << 20)).await;
    let down = client.open("/down", READ).await;
    let up = client.open("/up", PUT).await;
    for n in 0..64 {
        client.raw(&read(100 + n, &down, 0, MAX_DATA)).await;
    }
    let piece = pattern(MAX_DATA);
    for n in 0..40 {
        client.raw(&write(500 + n, &up, usize::try_from(n).unwrap() * MAX_DATA, &piece)).await;
    }
    client.raw(&packet(4, 999, &[&up])).await;
    // The file is there before the client has taken one answer.
    let key = crate::stores::Key::parse("up").unwrap();
    let mut size = 0;
    for _ in 0..200 {
        size = home.store().stat(&key).await.map_or(0, |stat| stat.size);
        if size > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(size, u64::try_from(40 * MAX_DATA).unwrap());
    assert_eq!(client.answer_to(999).await.status(), 0);
    assert!(client.answer_to(163).await.string() == piece);
}

#[tokio::test]
async fn writes_behind_reads_of_one_handle_do_not_stop_the_reader() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", &pattern(1 << 20)).await;
    let handle = client.open("/f", READ_WRITE_CREATE).await;
    for n in 0..32 {
        client.raw(&read(100 + n, &handle, 0, MAX_DATA)).await;
    }
    // Twice what may wait for the store.
    let piece = vec![7; MAX_DATA];
    for n in 0..16 {
        client.raw(&write(500 + n, &handle, usize::try_from(n).unwrap() * MAX_DATA, &piece)).await;
    }
    client.raw(&read(900, &handle, 0, 3)).await;
    let expected = (100..132).chain(500..516).chain([900]);
    for id in expected {
        let answer = client.answer().await;
        assert_eq!(answer.id, id, "order holds on the handle");
        match id {
            100..132 => assert!(answer.string() == pattern(MAX_DATA), "before the writes"),
            900 => assert_eq!(answer.string()[..], [7, 7, 7]),
            _ => assert_eq!(answer.status(), 0),
        }
    }
}

#[tokio::test]
async fn too_many_writes_behind_reads_end_the_channel() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", &pattern(1 << 20)).await;
    let handle = client.open("/f", READ_WRITE_CREATE).await;
    for n in 0..32 {
        client.raw(&read(100 + n, &handle, 0, MAX_DATA)).await;
    }
    let piece = vec![7; MAX_DATA];
    for n in 0.. {
        let offset = usize::try_from(n).unwrap() * MAX_DATA;
        if !client.try_raw(&write(500 + n, &handle, offset, &piece)).await {
            break;
        }
        assert!(offset < 2 * BEHIND_READS_BUDGET, "nothing stops it");
    }
    assert!(matches!(client.ended().await, Ended::Protocol(why) if why.contains("writes behind reads")));
}

#[tokio::test]
async fn a_client_that_asks_without_end_and_takes_nothing_is_ended() {
    let home = Home::open().await;
    for (what, payload) in [
        ("an unknown request", super::payload(99, 5, &[])),
        ("REALPATH", super::payload(16, 5, &[&string("/some/where")])),
        ("STAT", super::payload(17, 5, &[&string("/some/where")])),
        ("READ of no handle", super::payload(5, 5, &[&string("9"), &[0; 12]])),
    ] {
        let mut client = Client::start(home.session()).await;
        let many: Vec<u8> = (0..1000).flat_map(|_| string(&payload)).collect();
        let mut rounds = 0;
        while client.try_raw(&many).await {
            rounds += 1;
            assert!(rounds < 150, "nothing stops it: {what}");
        }
        assert!(rounds > 10, "it stops too soon: {what} after {rounds}");
        assert!(matches!(client.ended().await, Ended::Protocol(why) if why.contains("too many requests")), "{what}");
    }
}

#[tokio::test]
async fn scattered_reads_without_end_are_ended_too() {
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    client.put("/f", &pattern(MAX_DATA)).await;
    let handle = client.open("/f", READ).await;
    let mut sent = 0;
    loop {
        // Backwards, so that none follows the one before.
        let many: Vec<u8> =
            (0..1000u32).flat_map(|n| read(n, &handle, 1000 - usize::try_from(n).unwrap(), MAX_DATA)).collect();
        if !client.try_raw(&many).await {
            break;
        }
        sent += 1000;
        assert!(sent < 100_000, "nothing stops it");
    }
    assert!(sent > 50_000, "it stops too soon: after {sent}");
    assert!(matches!(client.ended().await, Ended::Protocol(_)));
    let last = home.events().pop().unwrap();
    assert_eq!(last["activity-type"], "PARTIAL_CLOSE", "the file was cut off before the end");
}

#[tokio::test]
async fn writes_are_taken_faster_than_they_are_acknowledged() {
    // As paramiko's pipelined upload: no answer is taken before the end.
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let handle = client.open("/up", PUT).await;
    let data = pattern(20_000 * 500);
    for (n, piece) in (0..).zip(data.chunks(500)) {
        client.raw(&write(100 + n, &handle, usize::try_from(n).unwrap() * 500, piece)).await;
    }
    for n in 0..20_000 {
        let answer = client.answer().await;
        assert_eq!((answer.id, answer.status()), (100 + n, 0));
    }
    assert_eq!(client.call(4, &[&handle]).await.status(), 0);
    let back = client.open("/up", READ).await;
    let first = client.call(5, &[&back, &[0; 8], &MAX_DATA.to_be_bytes()[4..]]).await.string();
    assert!(first == data[..MAX_DATA]);
}

#[tokio::test]
async fn a_stat_of_a_name_sees_the_writes_before_it() {
    // As sshfs: a program asks for the size of a file that it writes.
    let home = Home::open().await;
    let mut client = Client::start(home.session()).await;
    let handle = client.open("/up", READ_WRITE_CREATE).await;
    let piece = pattern(MAX_DATA);
    for n in 0..4 {
        client.raw(&write(100 + n, &handle, usize::try_from(n).unwrap() * MAX_DATA, &piece)).await;
        client.raw(&packet(7, 200 + n, &[&string("/up")])).await;
    }
    for n in 0..4 {
        let attributes = client.answer_to(200 + n).await.rest;
        let size = u64::from_be_bytes(attributes[4..12].try_into().unwrap());
        // Those behind it may be done as well.
        let written = (usize::try_from(n).unwrap() + 1) * MAX_DATA;
        assert!(size >= u64::try_from(written).unwrap(), "{size} bytes after WRITE number {n}");
    }
}
