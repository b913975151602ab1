//! Tests of the codec as a whole: packets byte by byte, and channels over an in-memory pipe.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attributes;
mod channel;
mod check_file;
mod flow;
mod limits;
mod opening;
mod permissions;
mod pipe;
mod reply;
mod request;
mod roundtrip;
mod slow;
mod table;

/// A string as it goes over the wire.
pub(super) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

/// A packet's payload: type, id, fields.
pub(super) fn payload(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&id.to_be_bytes());
    fields.iter().for_each(|field| out.extend_from_slice(field));
    out
}

/// A packet with its length.
fn packet(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    string(payload(kind, id, fields))
}
