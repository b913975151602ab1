//! `check-file-handle` and `check-file-name` (draft-ietf-secsh-filexfer-extensions-00 section 3): digests of what a file holds.
//!
//! A file is read in pieces as READ reads it, and each piece is hashed on the runtime's threads for work that blocks.

use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};
use tokio::sync::Semaphore;

use super::handle::Channel;
use super::limits::{MAX_DATA, MAX_DIGESTS, MAX_HASHERS};
use super::outbox::Hold;
use super::reply::Reply;
use super::request::{Decoded, HandleCall, PathCall, need};
use super::wire::{Fields, put_string};
use crate::path::LogicalPath;
use crate::session::{Attempt, ErrorKind, Name, OpenMode, SessionError, SessionResult, StoreErrorKind, Transfer};

/// What the extension is called in VERSION, and in paramiko's requests.
pub(super) const CHECK_FILE: &str = "check-file";

/// The smallest block of the draft.
const SMALLEST_BLOCK: u32 = 256;

/// What a reply takes besides its digests: the names in it, and the packet's own fields.
const OVERHEAD: usize = 64;

/// How many pieces are hashed at once by the whole process: hashing is to leave threads for everything else that blocks.
static HASHERS: Semaphore = Semaphore::const_new(MAX_HASHERS);

/// What a client wants hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckFile {
    /// The first of the client's algorithms that is known.
    algorithm: Option<Algorithm>,
    offset: u64,
    /// 0 for all that there is.
    length: u64,
    /// 0 for one digest of everything.
    block: u32,
    /// paramiko's reply begins with the extension's name.
    is_named: bool,
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 6] = [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The first of a list with commas between its names. A name that is not known is passed over.
    fn choose(list: &[u8]) -> Option<Algorithm> {
        list.split(|byte| *byte == b',')
            .find_map(|name| Self::ALL.into_iter().find(|known| known.name().as_bytes() == name))
    }

    fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn hasher(self) -> Hasher {
        let sha = match self {
            Self::Md5 => return Hasher::Md5(Md5::new()),
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        Hasher::Sha(digest::Context::new(sha))
    }
}

enum Hasher {
    Md5(Md5),
    Sha(digest::Context),
}

impl Hasher {
    fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Md5(md5) => md5.update(data),
            Hasher::Sha(sha) => sha.update(data),
        }
    }

    fn finish(self, out: &mut BytesMut) {
        match self {
            Hasher::Md5(md5) => out.extend_from_slice(&md5.finalize()),
            Hasher::Sha(sha) => out.extend_from_slice(sha.finish().as_ref()),
        }
    }
}

/// Digests one after the other, each of a block.
struct Blocks {
    algorithm: Algorithm,
    /// `u64::MAX` for a single block.
    size: u64,
    current: Hasher,
    /// Bytes that `current` has seen.
    seen: u64,
    done: BytesMut,
}

impl Blocks {
    fn new(algorithm: Algorithm, size: u64) -> Self {
        Blocks { algorithm, size, current: algorithm.hasher(), seen: 0, done: BytesMut::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = usize::try_from(self.size - self.seen).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(room.min(data.len()));
            self.current.update(now);
            self.seen += u64::try_from(now.len()).unwrap_or(u64::MAX);
            if self.seen == self.size {
                self.end_block();
            }
            data = later;
        }
    }

    fn end_block(&mut self) {
        std::mem::replace(&mut self.current, self.algorithm.hasher()).finish(&mut self.done);
        self.seen = 0;
    }

    /// All digests. A range without bytes has one if there is to be one of everything, else none.
    fn finish(mut self) -> BytesMut {
        if self.seen > 0 || self.size == u64::MAX {
            self.end_block();
        }
        self.done
    }
}

/// `check-file-name`.
pub(super) fn decode_with_name(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    let name = need(fields.string())?;
    let check = CheckFile::decode(fields, false)?;
    Ok(match LogicalPath::parse(name) {
        Ok(path) => PathCall::Check(path, check),
        Err(why) => {
            let read = OpenMode { read: true, ..OpenMode::default() };
            PathCall::Misnamed(Attempt::Open(Name::wrong(name), read), why)
        }
    })
}

/// What follows the handle in `check-file-handle` and, `is_named`, in paramiko's `check-file`.
pub(super) fn decode_on_handle(fields: &mut Fields<'_>, is_named: bool) -> Decoded<HandleCall> {
    Ok(HandleCall::Check(CheckFile::decode(fields, is_named)?))
}

impl CheckFile {
    /// What follows the handle or the name.
    pub(super) fn decode(fields: &mut Fields<'_>, is_named: bool) -> Decoded<CheckFile> {
        Ok(CheckFile {
            algorithm: Algorithm::choose(need(fields.string())?),
            offset: need(fields.u64())?,
            length: need(fields.u64())?,
            block: need(fields.u32())?,
            is_named,
        })
    }

    /// Hashes what is asked of an open file. The reply, with its share of the room for replies, for which it waits as READ
    /// does; `None` when nothing more will be sent.
    pub(super) async fn answer(&self, id: u32, channel: &Channel, transfer: &mut Transfer) -> Option<(Reply, Hold)> {
        let (algorithm, range) = match self.range(transfer) {
            Ok(wanted) => wanted,
            Err(error) => {
                let reply = Reply::error(id, error);
                let hold = channel.outbox.reserve(reply.size()).await?;
                return Some((reply, hold));
            }
        };
        let _turn = channel.checks.acquire().await.ok()?;
        let hold = channel.outbox.reserve(range.digests * algorithm.length() + OVERHEAD).await?;
        let reply = match hash(transfer, algorithm, &range, channel).await? {
            Ok(digests) => Reply::Extended { id, payload: self.payload(algorithm, &digests) },
            Err(error) => Reply::error(id, error),
        };
        Some((reply, hold))
    }

    /// What is to be hashed, if it can be.
    fn range(&self, transfer: &Transfer) -> SessionResult<(Algorithm, Range)> {
        let path = transfer.path();
        let refuse = |what: &str| SessionError::new(ErrorKind::InvalidRequest, format!("{path}: {what}"));
        if !transfer.may_read() {
            return Err(refuse("the file is not open for reading"));
        }
        let Some(algorithm) = self.algorithm else {
            let kind = ErrorKind::Store(StoreErrorKind::Unsupported);
            return Err(SessionError::new(kind, format!("{path}: none of these hash functions is known")));
        };
        if self.block != 0 && self.block < SMALLEST_BLOCK {
            return Err(refuse("a block has at least 256 bytes"));
        }
        let size = transfer.attributes().size;
        let Some(rest) = size.checked_sub(self.offset) else {
            return Err(refuse("the file ends before the offset"));
        };
        let length = if self.length == 0 { rest } else { rest.min(self.length) };
        let block = if self.block == 0 { u64::MAX } else { u64::from(self.block) };
        let digests = usize::try_from(length.div_ceil(block).max(1)).unwrap_or(usize::MAX);
        if digests.saturating_mul(algorithm.length()) > MAX_DIGESTS {
            return Err(refuse("these are too many blocks for one answer"));
        }
        Ok((algorithm, Range { offset: self.offset, end: self.offset + length, block, digests }))
    }

    fn payload(&self, algorithm: Algorithm, digests: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(digests.len() + OVERHEAD);
        if self.is_named {
            put_string(&mut out, CHECK_FILE.as_bytes());
        }
        put_string(&mut out, algorithm.name().as_bytes());
        out.extend_from_slice(digests);
        out.freeze()
    }
}

/// Where to hash, and in how many pieces.
struct Range {
    offset: u64,
    end: u64,
    /// `u64::MAX` for a single block.
    block: u64,
    digests: usize,
}

/// The digests of a range; `None` when the client has gone meanwhile.
async fn hash(
    transfer: &mut Transfer,
    algorithm: Algorithm,
    range: &Range,
    channel: &Channel,
) -> Option<SessionResult<BytesMut>> {
    let mut blocks = Blocks::new(algorithm, range.block);
    let mut offset = range.offset;
    while offset < range.end {
        if channel.outbox.is_ending() {
            return None;
        }
        let wanted = usize::try_from(range.end - offset).unwrap_or(MAX_DATA).min(MAX_DATA);
        let data = match transfer.read_unsent(offset, wanted).await {
            Ok(data) if data.is_empty() => break,
            Ok(data) => data,
            Err(error) => return Some(Err(error)),
        };
        offset = offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        let _turn = HASHERS.acquire().await.ok()?;
        let hashed = tokio::task::spawn_blocking(move || {
            blocks.update(&data);
            blocks
        });
        // It fails only when the runtime ends.
        blocks = hashed.await.ok()?;
    }
    Some(Ok(blocks.finish()))
}

/// The turns of one channel.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(super::limits::MAX_CHECKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: Algorithm, block: u64, pieces: &[&[u8]]) -> Vec<u8> {
        let mut blocks = Blocks::new(algorithm, block);
        pieces.iter().for_each(|piece| blocks.update(piece));
        blocks.finish().to_vec()
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        // RFC 1321, FIPS 180-4: "abc".
        let starts: [(Algorithm, [u8; 4]); 6] = [
            (Algorithm::Md5, [0x90, 0x01, 0x50, 0x98]),
            (Algorithm::Sha1, [0xa9, 0x99, 0x3e, 0x36]),
            (Algorithm::Sha224, [0x23, 0x09, 0x7d, 0x22]),
            (Algorithm::Sha256, [0xba, 0x78, 0x16, 0xbf]),
            (Algorithm::Sha384, [0xcb, 0x00, 0x75, 0x3f]),
            (Algorithm::Sha512, [0xdd, 0xaf, 0x35, 0xa1]),
        ];
        for (algorithm, start) in starts {
            let digest = of(algorithm, u64::MAX, &[b"a", b"bc"]);
            assert_eq!((digest.len(), &digest[..4]), (algorithm.length(), &start[..]), "{algorithm:?}");
        }
    }

    #[test]
    fn blocks_end_where_they_end_however_the_bytes_come() {
        let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let golden: Vec<u8> = data.chunks(300).flat_map(|block| of(Algorithm::Sha1, u64::MAX, &[block])).collect();
        for size in [1, 7, 299, 300, 301, 1000] {
            let pieces: Vec<&[u8]> = data.chunks(size).collect();
            assert_eq!(of(Algorithm::Sha1, 300, &pieces), golden, "pieces of {size}");
        }
        assert_eq!(of(Algorithm::Md5, 500, &[&data]).len(), 32, "no digest of nothing at the end");
        assert_eq!(of(Algorithm::Md5, 500, &[]).len(), 0);
        assert_eq!(of(Algorithm::Md5, u64::MAX, &[]).len(), 16);
    }

    #[test]
    fn the_first_known_algorithm_is_taken() {
        assert_eq!(Algorithm::choose(b"crc32,sha512,md5"), Some(Algorithm::Sha512));
        assert_eq!(Algorithm::choose(b"md5"), Some(Algorithm::Md5));
        for none in [&b""[..], b"crc32", b"SHA-1", b"md5 "] {
            assert_eq!(Algorithm::choose(none), None);
        }
    }
}
