//! Requests and answers of the protocol, version 3 (draft-ietf-secsh-filexfer-02), and of OpenSSH's extensions (its `PROTOCOL`).
//!
//! Nothing that the server declares is allocated before it is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest answer that is accepted, in bytes. OpenSSH's are at most 256 KiB.
pub(super) const LONGEST_ANSWER: usize = 1 << 20;

/// The longest handle, in bytes (draft-ietf-secsh-filexfer-02 section 6.3).
const LONGEST_HANDLE: usize = 256;

/// The most names of one answer. OpenSSH's have a hundred.
const MOST_NAMES: u32 = 10_000;

const INIT: u8 = 1;
const VERSION: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const HAS_SIZE: u32 = 1;
const HAS_OWNERS: u32 = 2;
const HAS_PERMISSIONS: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

const FOR_READING: u32 = 1;
const FOR_WRITING: u32 = 2;
const MAKE: u32 = 8;
const MAKE_NEW: u32 = 0x20;

/// Where the id stands in a request, after its length and its type.
const ID: usize = 5;

/// A request whose id is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Request(BytesMut);

impl Request {
    fn new(kind: u8) -> Self {
        Request::with_room(kind, 64)
    }

    fn with_room(kind: u8, room: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(ID + 4 + room);
        bytes.put_u32(0);
        bytes.put_u8(kind);
        bytes.put_u32(0);
        Request(bytes)
    }

    fn text(mut self, text: &[u8]) -> Self {
        self.0.put_u32(length(text.len()));
        self.0.put_slice(text);
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.put_u32(number);
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    fn times(self, mtime: u32) -> Self {
        self.u32(HAS_TIMES).u32(seconds_now()).u32(mtime)
    }

    fn extended(name: &str) -> Self {
        Request::new(EXTENDED).text(name.as_bytes())
    }

    /// The packet.
    pub(super) fn with_id(mut self, id: u32) -> Bytes {
        let rest = length(self.0.len() - 4);
        self.0[..4].copy_from_slice(&rest.to_be_bytes());
        self.0[ID..ID + 4].copy_from_slice(&id.to_be_bytes());
        self.0.freeze()
    }
}

/// Nothing that is sent comes near the limit of the type.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The first packet.
pub(super) fn init() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 5, INIT, 0, 0, 0, 3])
}

pub(super) fn lstat(path: &str) -> Request {
    Request::new(LSTAT).text(path.as_bytes())
}

pub(super) fn stat(path: &str) -> Request {
    Request::new(STAT).text(path.as_bytes())
}

pub(super) fn read_link(path: &str) -> Request {
    Request::new(READLINK).text(path.as_bytes())
}

pub(super) fn open_for_reading(path: &str) -> Request {
    Request::new(OPEN).text(path.as_bytes()).u32(FOR_READING).u32(0)
}

/// Opens a file that must not exist.
pub(super) fn open_new(path: &str) -> Request {
    Request::new(OPEN).text(path.as_bytes()).u32(FOR_READING | FOR_WRITING | MAKE | MAKE_NEW).u32(0)
}

pub(super) fn open_folder(path: &str) -> Request {
    Request::new(OPENDIR).text(path.as_bytes())
}

pub(super) fn read_folder(handle: &[u8]) -> Request {
    Request::new(READDIR).text(handle)
}

pub(super) fn close(handle: &[u8]) -> Request {
    Request::new(CLOSE).text(handle)
}

pub(super) fn read(handle: &[u8], offset: u64, length: u32) -> Request {
    Request::new(READ).text(handle).u64(offset).u32(length)
}

pub(super) fn write(handle: &[u8], offset: u64, data: &[Bytes]) -> Request {
    let bytes = data.iter().map(Bytes::len).sum();
    let mut request = Request::with_room(WRITE, bytes + 64).text(handle).u64(offset).u32(length(bytes));
    for piece in data {
        request.0.put_slice(piece);
    }
    request
}

pub(super) fn fstat(handle: &[u8]) -> Request {
    Request::new(FSTAT).text(handle)
}

pub(super) fn set_length(handle: &[u8], length: u64) -> Request {
    Request::new(FSETSTAT).text(handle).u32(HAS_SIZE).u64(length)
}

/// Sets the modification time of an open file, and with it the time of its last use, which the protocol does not tell apart.
pub(super) fn set_time(handle: &[u8], mtime: u32) -> Request {
    Request::new(FSETSTAT).text(handle).times(mtime)
}

/// The same by name.
pub(super) fn set_time_of(path: &str, mtime: u32) -> Request {
    Request::new(SETSTAT).text(path.as_bytes()).times(mtime)
}

pub(super) fn remove(path: &str) -> Request {
    Request::new(REMOVE).text(path.as_bytes())
}

pub(super) fn make_folder(path: &str) -> Request {
    Request::new(MKDIR).text(path.as_bytes()).u32(0)
}

pub(super) fn remove_folder(path: &str) -> Request {
    Request::new(RMDIR).text(path.as_bytes())
}

/// Refuses a target that exists.
pub(super) fn rename(from: &str, to: &str) -> Request {
    Request::new(RENAME).text(from.as_bytes()).text(to.as_bytes())
}

/// Replaces a file in one step.
pub(super) fn posix_rename(from: &str, to: &str) -> Request {
    Request::extended(POSIX_RENAME).text(from.as_bytes()).text(to.as_bytes())
}

/// Refuses a target that exists.
pub(super) fn hard_link(from: &str, to: &str) -> Request {
    Request::extended(HARD_LINK).text(from.as_bytes()).text(to.as_bytes())
}

pub(super) fn fsync(handle: &[u8]) -> Request {
    Request::extended(FSYNC).text(handle)
}

pub(super) fn capacity(path: &str) -> Request {
    Request::extended(STATVFS).text(path.as_bytes())
}

pub(super) fn limits() -> Request {
    Request::extended(LIMITS)
}

/// Copies a range from one open file to the same place of another.
pub(super) fn copy_data(from: &[u8], offset: u64, length: u64, to: &[u8]) -> Request {
    Request::extended(COPY_DATA).text(from).u64(offset).u64(length).text(to).u64(offset)
}

pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const HARD_LINK: &str = "hardlink@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
pub(super) const STATVFS: &str = "statvfs@openssh.com";
pub(super) const LIMITS: &str = "limits@openssh.com";
pub(super) const COPY_DATA: &str = "copy-data";

/// What kind of thing has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    File,
    Folder,
    Link,
    /// A pipe, a device, or what the server does not say.
    Other,
}

/// Attributes, as far as the server tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: u64,
    pub(super) permissions: Option<u32>,
    /// Seconds since 1970.
    pub(super) mtime: Option<u32>,
}

impl Attributes {
    /// What kind of thing it is.
    pub(super) fn what(&self) -> What {
        match self.permissions.map(|mode| mode & 0o170_000) {
            Some(0o100_000) => What::File,
            Some(0o040_000) => What::Folder,
            Some(0o120_000) => What::Link,
            _ => What::Other,
        }
    }

    /// The modification time.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.mtime.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.into()))
    }
}

/// One name of a folder; names are bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: Bytes,
    pub(super) attributes: Attributes,
}

/// An answer, without its id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Status { code: u32, message: String },
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<Named>),
    Attributes(Attributes),
    Extended(Bytes),
}

/// What cannot be an answer; the stream of answers cannot be read any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Malformed
    }
}

/// Cuts what arrives into packets.
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    pub(super) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    /// Bytes of packets that are not cut off yet.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// The next packet without its length; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(head) = self.0.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if !(1..=LONGEST_ANSWER).contains(&length) {
            return Err(Malformed);
        }
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

/// Reads the answer to [`init`]: the names of the extensions.
pub(super) fn version(mut packet: Bytes) -> Result<Vec<String>, Malformed> {
    if packet.try_get_u8()? != VERSION || packet.try_get_u32()? != 3 {
        return Err(Malformed);
    }
    let mut extensions = Vec::new();
    while packet.has_remaining() {
        let (name, _version) = (text(&mut packet)?, text(&mut packet)?);
        extensions.push(String::from_utf8_lossy(&name).into_owned());
    }
    Ok(extensions)
}

/// Reads an answer and the id of its request.
pub(super) fn answer(mut packet: Bytes) -> Result<(u32, Answer), Malformed> {
    let (kind, id) = (packet.try_get_u8()?, packet.try_get_u32()?);
    let answer = match kind {
        STATUS => {
            let code = packet.try_get_u32()?;
            // Old servers leave the words out.
            let message = text(&mut packet).map(|text| printable(&text)).unwrap_or_default();
            Answer::Status { code, message }
        }
        HANDLE => Answer::Handle(handle(&mut packet)?),
        DATA => Answer::Data(text(&mut packet)?),
        NAME => Answer::Names(names(&mut packet)?),
        ATTRS => Answer::Attributes(attributes(&mut packet)?),
        EXTENDED_REPLY => Answer::Extended(packet),
        _ => return Err(Malformed),
    };
    Ok((id, answer))
}

fn handle(packet: &mut Bytes) -> Result<Bytes, Malformed> {
    let handle = text(packet)?;
    // Not a piece of the packet, which would be kept with it.
    if handle.len() > LONGEST_HANDLE { Err(Malformed) } else { Ok(Bytes::copy_from_slice(&handle)) }
}

fn names(packet: &mut Bytes) -> Result<Vec<Named>, Malformed> {
    let count = packet.try_get_u32()?;
    if count > MOST_NAMES {
        return Err(Malformed);
    }
    let mut names = Vec::new();
    for _ in 0..count {
        let (name, _line) = (text(packet)?, text(packet)?);
        names.push(Named { name: Bytes::copy_from_slice(&name), attributes: attributes(packet)? });
    }
    Ok(names)
}

fn attributes(packet: &mut Bytes) -> Result<Attributes, Malformed> {
    let flags = packet.try_get_u32()?;
    let mut found = Attributes::default();
    if flags & HAS_SIZE != 0 {
        found.size = packet.try_get_u64()?;
    }
    if flags & HAS_OWNERS != 0 {
        packet.try_get_u64()?;
    }
    if flags & HAS_PERMISSIONS != 0 {
        found.permissions = Some(packet.try_get_u32()?);
    }
    if flags & HAS_TIMES != 0 {
        packet.try_get_u32()?;
        found.mtime = Some(packet.try_get_u32()?);
    }
    if flags & HAS_MORE != 0 {
        for _ in 0..packet.try_get_u32()? {
            text(packet)?;
            text(packet)?;
        }
    }
    Ok(found)
}

fn text(packet: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = usize::try_from(packet.try_get_u32()?).map_err(|_| Malformed)?;
    if packet.len() < length {
        return Err(Malformed);
    }
    Ok(packet.split_to(length))
}

/// The server's words, fit for a log: one line, not too long.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The largest packet, read and write, in bytes, and the most open handles, from an answer to [`limits`]. 0: not told.
pub(super) fn read_limits(mut answer: Bytes) -> Result<[u64; 4], Malformed> {
    let mut numbers = [0; 4];
    for number in &mut numbers {
        *number = answer.try_get_u64()?;
    }
    Ok(numbers)
}

/// Total and free bytes, from an answer to [`capacity`].
pub(super) fn read_capacity(mut answer: Bytes) -> Result<(u64, u64), Malformed> {
    let _block_size = answer.try_get_u64()?;
    let unit = answer.try_get_u64()?;
    let (blocks, _free, available) = (answer.try_get_u64()?, answer.try_get_u64()?, answer.try_get_u64()?);
    Ok((blocks.saturating_mul(unit), available.saturating_mul(unit)))
}

/// A time as the protocol has it: whole seconds from 1970 to 2106, rounded down. `None`: it cannot be kept.
pub(super) fn seconds(time: SystemTime) -> Option<u32> {
    u32::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

fn seconds_now() -> u32 {
    seconds(SystemTime::now()).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packet(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    fn string(text: &[u8]) -> Vec<u8> {
        [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
    }

    #[test]
    fn requests_carry_their_length_and_id() {
        let pieces = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let sent = write(b"h", 7, &pieces).with_id(9);
        let rest = [&[WRITE, 0, 0, 0, 9][..], &string(b"h"), &7_u64.to_be_bytes(), &string(b"abc")].concat();
        assert_eq!(sent, string(&rest));
        assert_eq!(close(b"hh").with_id(1), string(&[&[CLOSE, 0, 0, 0, 1][..], &string(b"hh")].concat()));
    }

    #[test]
    fn answers_are_read() {
        let id = [0, 0, 0, 5];
        let status = packet(&[&[STATUS], &id, &[0, 0, 0, 2], &string(b"No such\nfile"), &string(b"en")]);
        assert_eq!(answer(status), Ok((5, Answer::Status { code: 2, message: "No suchfile".to_owned() })));
        let bare = packet(&[&[STATUS], &id, &[0, 0, 0, 0]]);
        assert_eq!(answer(bare), Ok((5, Answer::Status { code: 0, message: String::new() })));
        let flags = (HAS_SIZE | HAS_OWNERS | HAS_PERMISSIONS | HAS_TIMES | HAS_MORE).to_be_bytes();
        let attributes = [
            &flags[..],
            &7_u64.to_be_bytes(),
            &[0; 8],
            &0o100_644_u32.to_be_bytes(),
            &[0, 0, 0, 1, 0, 0, 0, 2],
            &[0, 0, 0, 1],
            &string(b"k"),
            &string(b"v"),
        ]
        .concat();
        let names = packet(&[&[NAME], &id, &[0, 0, 0, 1], &string(b"\xff"), &string(b"line"), &attributes]);
        let Ok((5, Answer::Names(names))) = answer(names) else { panic!("names") };
        assert_eq!(names[0].name, &b"\xff"[..]);
        let found = names[0].attributes;
        assert_eq!((found.size, found.what(), found.mtime), (7, What::File, Some(2)));
        assert_eq!(Attributes::default().what(), What::Other);
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        let whole = packet(&[&[NAME, 0, 0, 0, 1], &[255, 255, 255, 255], &string(b"a"), &string(b"a"), &[0; 4]]);
        for end in 0..=whole.len() {
            assert_eq!(answer(whole.slice(..end)), Err(Malformed), "{end}");
        }
        assert_eq!(answer(packet(&[&[DATA, 0, 0, 0, 1], &[255, 255, 255, 255, 0]])), Err(Malformed));
        assert_eq!(answer(packet(&[&[77, 0, 0, 0, 1]])), Err(Malformed));
        for other in [2, 4, 6] {
            assert!(version(packet(&[&[VERSION, 0, 0, 0, other]])).is_err());
        }
        let extensions = version(packet(&[&[VERSION, 0, 0, 0, 3], &string(b"a@b"), &string(b"1")]));
        assert_eq!(extensions, Ok(vec!["a@b".to_owned()]));
    }

    #[test]
    fn handles_and_names_are_bounded() {
        let id = [0, 0, 0, 1];
        let with_handle = |length: usize| answer(packet(&[&[HANDLE], &id, &string(&vec![b'h'; length])]));
        assert!(with_handle(LONGEST_HANDLE).is_ok());
        assert_eq!(with_handle(LONGEST_HANDLE + 1), Err(Malformed));
        let with_names = |count: u32| {
            let named = [0; 12].repeat(usize::try_from(count).unwrap());
            answer(packet(&[&[NAME], &id, &count.to_be_bytes(), &named]))
        };
        assert!(with_names(MOST_NAMES).is_ok());
        assert_eq!(with_names(MOST_NAMES + 1), Err(Malformed));
    }

    #[test]
    fn packets_are_cut_wherever_the_bytes_are_split() {
        let stream = [string(b"one"), string(&[7; 300]), string(b"x")].concat();
        for size in [1, 3, 5, 100, stream.len()] {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some(packet) = frames.next().unwrap() {
                    got.push(packet);
                }
            }
            assert_eq!(got, [&b"one"[..], &[7; 300], b"x"]);
        }
        for wrong in [[0, 0, 0, 0], [0, 16, 0, 1]] {
            let mut frames = Frames::default();
            frames.push(&wrong);
            assert_eq!(frames.next(), Err(Malformed));
        }
    }

    #[test]
    fn times_are_whole_seconds_that_the_protocol_knows() {
        assert_eq!(seconds(UNIX_EPOCH + Duration::new(7, 999_999_999)), Some(7));
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_millis(1)), None);
        assert_eq!(seconds(UNIX_EPOCH + Duration::from_secs(1 << 32)), None);
    }
}
