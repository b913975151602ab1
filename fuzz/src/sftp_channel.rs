//! A whole SFTP channel over memory stores.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::session::Protocol;
use lockgate::internals::sftp;

use super::channel::{Answers, Kept, Pieces, converse, login};
use super::cursor::Cursor;

/// The client waits for each answer.
const PATIENT: u8 = 1;
/// The bytes after the head are sent as they are, in pieces, rather than as packets with their right lengths.
const RAW: u8 = 2;
/// The client stops taking answers early.
const LEAVES: u8 = 4;

/// Requests of a client: each is answered once with its id, unless the channel ends, and it ends.
pub fn sftp_channel(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let flags = cursor.byte();
    let is_raw = flags & RAW != 0;
    let pieces = if is_raw { raw(&mut cursor) } else { packets(&mut cursor) };
    let asked = ids(&pieces);
    let patient = flags & PATIENT != 0 && !is_raw && flags & LEAVES == 0;
    let limit = if flags & LEAVES != 0 { usize::from(flags) * 64 } else { usize::MAX };

    let answers = Arc::new(Answers::default());
    let incoming = Pieces { pieces: pieces.into_iter(), patient, answers: answers.clone() };
    let outgoing = Kept { answers: answers.clone(), limit };
    let login = login();
    let session = login.session(Protocol::Sftp);
    converse(&login, async move {
        sftp::serve(session, incoming, outgoing).await;
    });
    if !is_raw {
        check(asked, &answers.packets());
    }
}

fn raw(cursor: &mut Cursor<'_>) -> Vec<Bytes> {
    let size = usize::from(cursor.byte()).max(1);
    let init = Bytes::from_static(&[0, 0, 0, 5, 1, 0, 0, 0, 3]);
    std::iter::once(init).chain(cursor.rest().chunks(size).map(Bytes::copy_from_slice)).collect()
}

fn packets(cursor: &mut Cursor<'_>) -> Vec<Bytes> {
    let mut packets = vec![Bytes::from_static(&[0, 0, 0, 5, 1, 0, 0, 0, 3])];
    while !cursor.is_empty() {
        let payload = cursor.piece();
        let length = u32::try_from(payload.len()).expect("two bytes");
        packets.push([&length.to_be_bytes()[..], payload].concat().into());
    }
    packets
}

/// How often each id is asked.
fn ids(packets: &[Bytes]) -> HashMap<u32, usize> {
    let mut asked = HashMap::new();
    for packet in packets.iter().skip(1) {
        if let Some(id) = id_of(packet.get(4..).unwrap_or_default()) {
            *asked.entry(id).or_default() += 1;
        }
    }
    asked
}

fn id_of(packet: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(packet.get(1..5)?.try_into().ok()?))
}

fn check(mut asked: HashMap<u32, usize>, answers: &[Bytes]) {
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer[0] == 2, n == 0, "VERSION comes first, and once");
        if n == 0 {
            continue;
        }
        assert!(matches!(answer[0], 101..=105 | 201), "an answer of type {}", answer[0]);
        let id = id_of(answer).expect("an id");
        let left = asked.get_mut(&id).expect("the answer to something");
        *left = left.checked_sub(1).expect("one answer each");
    }
}
