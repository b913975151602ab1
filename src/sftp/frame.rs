//! Cuts the client's bytes into packets (draft-ietf-secsh-filexfer-02 section 3): a length of four bytes, a type, a payload.

use bytes::{Buf, Bytes, BytesMut};

use super::limits::MAX_FRAME;
use super::wire::{self, packet};

/// How much is reserved for a packet before any of it has come.
const FIRST_RESERVE: usize = 64 * 1024;

/// Bytes of the length field, the type and the id.
const HEAD: usize = 9;

/// A length that no packet can have. What follows it cannot be cut, so the channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// A packet without a type.
    Empty,
    /// Longer than [`MAX_FRAME`]; the id of the request, where its type has one.
    TooLong { id: Option<u32> },
}

/// Assembles packets. A packet that lies whole in what arrived is cut out of it without copying; one that does not is gathered
/// in a buffer of its own, which grows with what arrives.
#[derive(Debug, Default)]
pub(super) struct Frames {
    arrived: Bytes,
    /// A packet that is not whole yet, with its length field.
    partial: BytesMut,
}

impl Frames {
    /// Adds what arrived. To be called when [`Frames::next`] has given `None`.
    pub(super) fn push(&mut self, data: Bytes) {
        debug_assert!(self.arrived.is_empty(), "the packets before must be taken first");
        self.arrived = data;
    }

    /// Whether a packet has begun and is not whole.
    pub(super) fn is_inside_a_packet(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The next packet without its length field: a type at least. `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.partial.is_empty()
            && let Some(length) = declared(&self.arrived)?
            && self.arrived.len() >= 4 + length
        {
            self.arrived.advance(4);
            return Ok(Some(self.arrived.split_to(length)));
        }
        loop {
            let wanted = match declared(&self.partial)? {
                None => 4,
                Some(length) if self.partial.len() == 4 + length => {
                    let mut whole = std::mem::take(&mut self.partial).freeze();
                    whole.advance(4);
                    return Ok(Some(whole));
                }
                Some(length) => 4 + length,
            };
            if self.arrived.is_empty() {
                return Ok(None);
            }
            self.take_up_to(wanted);
        }
    }

    fn take_up_to(&mut self, wanted: usize) {
        let missing = wanted - self.partial.len();
        let taken = self.arrived.split_to(missing.min(self.arrived.len()));
        if self.partial.capacity() < self.partial.len() + taken.len() {
            let reserve = if wanted <= FIRST_RESERVE || self.partial.len() + taken.len() > FIRST_RESERVE {
                missing
            } else {
                FIRST_RESERVE - self.partial.len()
            };
            self.partial.reserve(reserve);
        }
        self.partial.extend_from_slice(&taken);
    }
}

/// The length that a packet declares; `None` while it is not there. Of one that is too long, the type and the id are
/// awaited, so that it can be answered.
fn declared(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = wire::u32_at(buffer, 0) else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match length {
        0 => Err(FrameError::Empty),
        1..=MAX_FRAME => Ok(Some(length)),
        _ if buffer.len() >= HEAD => {
            let has_id = buffer[4] != packet::INIT;
            Err(FrameError::TooLong { id: wire::u32_at(buffer, 5).filter(|_| has_id) })
        }
        _ => Ok(Some(HEAD - 4)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packet_of(payload: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        out.extend_from_slice(payload);
        out
    }

    fn all(frames: &mut Frames) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| frames.next().unwrap()).map(|f| f.to_vec()).collect()
    }

    #[test]
    fn packets_are_cut_wherever_the_bytes_are_split() {
        let payloads: [&[u8]; 4] = [b"a", b"bcdef", &[7; 300], b"x"];
        let stream: Vec<u8> = payloads.iter().flat_map(|p| packet_of(p)).collect();
        for size in [1, 2, 3, 4, 5, 7, 100, 303, stream.len()] {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                frames.push(Bytes::copy_from_slice(piece));
                got.extend(all(&mut frames));
            }
            assert_eq!(got, payloads, "pieces of {size}");
            assert!(!frames.is_inside_a_packet());
        }
    }

    #[test]
    fn a_whole_packet_is_not_copied() {
        let stream = Bytes::from(packet_of(&[1; 1000]));
        let place = stream.as_ptr();
        let mut frames = Frames::default();
        frames.push(stream);
        assert_eq!(frames.next().unwrap().unwrap().as_ptr(), place.wrapping_add(4));
    }

    #[test]
    fn the_largest_packet_passes_and_a_longer_one_does_not() {
        let mut frames = Frames::default();
        for piece in packet_of(&vec![9; MAX_FRAME]).chunks(32 * 1024) {
            frames.push(Bytes::copy_from_slice(piece));
            if let Some(whole) = frames.next().unwrap() {
                assert_eq!(whole.len(), MAX_FRAME);
                return;
            }
        }
        panic!("it was not given");
    }

    #[test]
    fn a_length_reserves_nothing_large_before_bytes_come() {
        let mut frames = Frames::default();
        frames.push(Bytes::from(u32::try_from(MAX_FRAME).unwrap().to_be_bytes().to_vec()));
        assert_eq!(frames.next(), Ok(None));
        frames.push(Bytes::from_static(&[3]));
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.partial.capacity() <= 2 * FIRST_RESERVE, "{}", frames.partial.capacity());
        assert!(frames.is_inside_a_packet());
    }

    #[test]
    fn wrong_lengths_are_refused_with_the_id_where_there_is_one() {
        let long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        let cases: [(Vec<u8>, FrameError); 4] = [
            (vec![0, 0, 0, 0], FrameError::Empty),
            ([&long[..], &[packet::READ, 0, 0, 1, 2]].concat(), FrameError::TooLong { id: Some(258) }),
            ([&long[..], &[packet::INIT, 0, 0, 0, 3]].concat(), FrameError::TooLong { id: None }),
            (vec![255, 255, 255, 255, 4, 0, 0, 0, 9], FrameError::TooLong { id: Some(9) }),
        ];
        for (stream, error) in cases {
            for size in [1, 4, 9] {
                let mut frames = Frames::default();
                let mut result = Ok(None);
                for piece in stream.chunks(size) {
                    frames.push(Bytes::copy_from_slice(piece));
                    result = frames.next();
                    if result.is_err() {
                        break;
                    }
                    assert_eq!(result, Ok(None));
                }
                assert_eq!(result, Err(error), "{stream:?} in pieces of {size}");
            }
        }
    }
}
