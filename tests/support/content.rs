//! File contents that can be told apart: every kibibyte says which content it belongs to, how long that is, and where in it the
//! kibibyte stands. So a file that is truncated, torn or mixed of two contents cannot pass for a whole one.

use std::io::{self, Read};
use std::sync::OnceLock;

use aws_lc_rs::digest;

use super::data::{MIB, noise};

/// A stamp at the start of each block of this many bytes.
const BLOCK: u64 = 1024;

/// The stamp: id, length and offset.
const STAMP: usize = 24;

/// The shortest content that can be told apart from others.
pub const SHORTEST: u64 = STAMP as u64;

/// One content, known by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub id: u64,
    pub length: u64,
}

impl Content {
    pub fn new(id: u64, length: u64) -> Content {
        assert!(length >= SHORTEST, "{length} bytes cannot hold a stamp");
        Content { id, length }
    }

    /// The bytes from `offset` on.
    pub fn fill(self, offset: u64, buffer: &mut [u8]) {
        static BASE: OnceLock<Vec<u8>> = OnceLock::new();
        let base = BASE.get_or_init(|| noise(MIB + BLOCK, 7));
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let start = at / BLOCK * BLOCK;
            let within = usize::try_from(at - start).unwrap();
            let (piece, left) = rest.split_at_mut((BLOCK as usize - within).min(rest.len()));
            let from =
                usize::try_from((self.id.wrapping_mul(0x9E37_79B9) ^ start.wrapping_mul(0x85EB_CA6B)) % MIB).unwrap();
            piece.copy_from_slice(&base[from + within..][..piece.len()]);
            if within < STAMP {
                let stamp = self.stamp(start);
                let end = (within + piece.len()).min(STAMP);
                piece[..end - within].copy_from_slice(&stamp[within..end]);
            }
            at += piece.len() as u64;
            rest = left;
        }
    }

    fn stamp(self, offset: u64) -> [u8; STAMP] {
        let mut stamp = [0; STAMP];
        stamp[..8].copy_from_slice(&self.id.to_le_bytes());
        stamp[8..16].copy_from_slice(&self.length.to_le_bytes());
        stamp[16..].copy_from_slice(&offset.to_le_bytes());
        stamp
    }

    /// At most `length` bytes from `offset`, up to the end.
    pub fn piece(self, offset: u64, length: u64) -> Vec<u8> {
        let mut buffer = vec![0; usize::try_from(length.min(self.length - offset)).unwrap()];
        self.fill(offset, &mut buffer);
        buffer
    }

    pub fn bytes(self) -> Vec<u8> {
        self.piece(0, self.length)
    }

    /// The SHA-256 of the whole.
    pub fn sha256(self) -> String {
        let mut hash = Hash::new();
        let mut at = 0;
        while at < self.length {
            let piece = self.piece(at, MIB);
            hash.add(&piece);
            at += piece.len() as u64;
        }
        hash.finish()
    }
}

/// The SHA-256 of bytes that come piece by piece.
pub struct Hash(digest::Context);

impl Hash {
    pub fn new() -> Hash {
        Hash(digest::Context::new(&digest::SHA256))
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads a file to its end and says which content it is, whole; else what is wrong with it.
pub fn recognize(mut file: impl Read) -> Result<Content, String> {
    let mut content: Option<Content> = None;
    let (mut got, mut expected) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    let mut at = 0;
    loop {
        let length = read_full(&mut file, &mut got).map_err(|e| format!("cannot be read at byte {at}: {e}"))?;
        if length == 0 {
            break;
        }
        if content.is_none() {
            if length < STAMP {
                return Err(format!("has {length} bytes, which is no content"));
            }
            let number = |from: usize| u64::from_le_bytes(got[from..from + 8].try_into().unwrap());
            content = Some(Content { id: number(0), length: number(8) });
        }
        let content = content.unwrap();
        content.fill(at, &mut expected[..length]);
        if got[..length] != expected[..length] {
            let wrong = (0..length).find(|i| got[*i] != expected[*i]).unwrap();
            return Err(format!("begins as {content:?} and differs at byte {}", at + wrong as u64));
        }
        at += length as u64;
    }
    match content {
        Some(content) if content.length == at => Ok(content),
        Some(content) => Err(format!("begins as {content:?} and ends after {at} bytes")),
        None => Err("is empty".into()),
    }
}

/// Reads until the buffer is full or the file ends.
pub fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
