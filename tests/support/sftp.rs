//! An SFTP client on top of [`RawSftp`] that waits for each answer: for tests in which flags, order or errors matter.

use std::time::Duration;

use super::client::Client;
use super::raw_sftp::{
    Answer, CLOSE, DATA, FOR_READING, FOR_WRITING, HANDLE, OPEN, READ, RawSftp, STAT, STATUS, WRITE, string, write_body,
};

/// `SSH_FXF_WRITE`
pub const WRITING: u32 = 0x02;
/// `SSH_FXF_READ | SSH_FXF_WRITE`
pub const READING_AND_WRITING: u32 = 0x03;
/// `SSH_FXF_APPEND`
pub const APPEND: u32 = 0x04;
/// `SSH_FXF_CREAT`
pub const CREATE: u32 = 0x08;
/// `SSH_FXF_TRUNC`
pub const TRUNCATE: u32 = 0x10;
/// `SSH_FXF_EXCL`
pub const EXCLUSIVE: u32 = 0x20;

/// `SSH_FX_NO_SUCH_FILE`
pub const NO_SUCH_FILE: u32 = 2;
/// `SSH_FX_PERMISSION_DENIED`
pub const PERMISSION_DENIED: u32 = 3;
/// `SSH_FX_FAILURE`
pub const FAILURE: u32 = 4;
/// `SSH_FX_OP_UNSUPPORTED`
pub const UNSUPPORTED: u32 = 8;

/// What one READ or WRITE carries at most.
pub const PIECE: usize = 255 * 1024;

const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const RENAME: u8 = 18;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

/// `SSH_FX_EOF`
const END_OF_FILE: u32 = 1;

/// Pieces of one file that are under way at once.
const UNDER_WAY: usize = 16;

/// One session.
pub struct Sftp {
    pub raw: RawSftp,
    last_id: u32,
}

/// An open file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(pub Vec<u8>);

/// The answer to a request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u32,
    pub message: String,
}

pub type Answered<T> = Result<T, Refusal>;

/// Attributes as they travel; absent ones are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    pub size: Option<u64>,
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
    /// Seconds since 1970; sent as the time of the last access as well.
    pub mtime: Option<u32>,
}

impl Attributes {
    pub fn mtime(seconds: u32) -> Attributes {
        Attributes { mtime: Some(seconds), ..Attributes::default() }
    }

    pub fn size(bytes: u64) -> Attributes {
        Attributes { size: Some(bytes), ..Attributes::default() }
    }

    pub fn is_directory(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }

    fn encode(&self) -> Vec<u8> {
        let flags = u32::from(self.size.is_some())
            | u32::from(self.owner.is_some()) << 1
            | u32::from(self.mode.is_some()) << 2
            | u32::from(self.mtime.is_some()) << 3;
        let mut bytes = flags.to_be_bytes().to_vec();
        bytes.extend(self.size.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend(self.owner.iter().flat_map(|(user, group)| [user.to_be_bytes(), group.to_be_bytes()].concat()));
        bytes.extend(self.mode.iter().flat_map(|mode| mode.to_be_bytes()));
        bytes.extend(self.mtime.iter().flat_map(|time| [time.to_be_bytes(); 2].concat()));
        bytes
    }

    fn decode(rest: &mut &[u8]) -> Attributes {
        let flags = take_u32(rest);
        let mut attributes = Attributes::default();
        if flags & 1 != 0 {
            attributes.size = Some(u64::from(take_u32(rest)) << 32 | u64::from(take_u32(rest)));
        }
        if flags & 2 != 0 {
            attributes.owner = Some((take_u32(rest), take_u32(rest)));
        }
        if flags & 4 != 0 {
            attributes.mode = Some(take_u32(rest));
        }
        if flags & 8 != 0 {
            take_u32(rest);
            attributes.mtime = Some(take_u32(rest));
        }
        assert!(flags < 16, "attributes that no one asked for: {flags:x}");
        attributes
    }
}

impl Sftp {
    /// Connects; the session ends by force after `limit`.
    #[track_caller]
    pub fn connect(client: &Client, limit: Duration) -> Sftp {
        Sftp { raw: RawSftp::connect(client, limit), last_id: 0 }
    }

    /// Sends a request without waiting for the answer; its id.
    #[track_caller]
    pub fn send(&mut self, kind: u8, body: &[u8]) -> u32 {
        self.last_id += 1;
        self.raw.send(kind, self.last_id, body);
        self.last_id
    }

    #[track_caller]
    fn ask(&mut self, kind: u8, body: &[u8]) -> Answer {
        let id = self.send(kind, body);
        let answer = self.raw.receive();
        assert_eq!(answer.id, id, "the answer to another request");
        answer
    }

    #[track_caller]
    fn ask_to_do(&mut self, kind: u8, body: &[u8]) -> Answered<()> {
        done(&self.ask(kind, body))
    }

    #[track_caller]
    pub fn open(&mut self, path: &str, flags: u32) -> Answered<Handle> {
        self.open_with(path, flags, &Attributes::default())
    }

    #[track_caller]
    pub fn open_with(&mut self, path: &str, flags: u32, attributes: &Attributes) -> Answered<Handle> {
        let answer =
            self.ask(OPEN, &[string(path.as_bytes()), flags.to_be_bytes().to_vec(), attributes.encode()].concat());
        if answer.kind == STATUS { Err(refusal(&answer)) } else { Ok(Handle(answer.string(HANDLE).to_vec())) }
    }

    /// OPEN, and right behind it the CLOSE of another handle, as clients send them that end files in the background.
    #[track_caller]
    pub fn open_before_close(&mut self, path: &str, flags: u32, closed: &Handle) -> Answered<Handle> {
        let body = [string(path.as_bytes()), flags.to_be_bytes().to_vec(), Attributes::default().encode()].concat();
        let answer = self.ask_before_close(OPEN, &body, closed);
        if answer.kind == STATUS { Err(refusal(&answer)) } else { Ok(Handle(answer.string(HANDLE).to_vec())) }
    }

    /// RENAME, and right behind it the CLOSE of a handle.
    #[track_caller]
    pub fn rename_before_close(&mut self, from: &str, to: &str, closed: &Handle) -> Answered<()> {
        done(&self.ask_before_close(RENAME, &[string(from.as_bytes()), string(to.as_bytes())].concat(), closed))
    }

    /// The answer to the request; the CLOSE succeeds.
    #[track_caller]
    fn ask_before_close(&mut self, kind: u8, body: &[u8], closed: &Handle) -> Answer {
        let asked = self.send(kind, body);
        self.send(CLOSE, &string(&closed.0));
        let (mut answers, closes): (Vec<_>, Vec<_>) =
            [self.raw.receive(), self.raw.receive()].into_iter().partition(|answer| answer.id == asked);
        done(&closes[0]).expect("CLOSE succeeds");
        answers.remove(0)
    }

    /// Opens a new file, or an old one that is to be replaced whole.
    #[track_caller]
    pub fn create(&mut self, path: &str) -> Handle {
        self.open(path, FOR_WRITING).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"))
    }

    #[track_caller]
    pub fn open_to_read(&mut self, path: &str) -> Handle {
        self.open(path, FOR_READING).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"))
    }

    #[track_caller]
    pub fn close(&mut self, handle: &Handle) -> Answered<()> {
        self.ask_to_do(CLOSE, &string(&handle.0))
    }

    /// Writes any number of bytes, in pieces, several under way at once. The first refusal, when all are answered.
    #[track_caller]
    pub fn write(&mut self, handle: &Handle, offset: u64, data: &[u8]) -> Answered<()> {
        let mut outcome = Ok(());
        let mut under_way = 0;
        for (i, piece) in data.chunks(PIECE).enumerate() {
            self.send(WRITE, &write_body(&handle.0, offset + (i * PIECE) as u64, piece));
            under_way += 1;
            if under_way == UNDER_WAY {
                outcome = outcome.and(done(&self.raw.receive()));
                under_way -= 1;
            }
        }
        for _ in 0..under_way {
            outcome = outcome.and(done(&self.raw.receive()));
        }
        outcome
    }

    /// One READ of at most [`PIECE`] bytes; empty at the end of the file.
    #[track_caller]
    pub fn read(&mut self, handle: &Handle, offset: u64, length: usize) -> Answered<Vec<u8>> {
        let body = [string(&handle.0), offset.to_be_bytes().to_vec(), (length as u32).to_be_bytes().to_vec()].concat();
        let answer = self.ask(READ, &body);
        if answer.kind != STATUS {
            return Ok(answer.string(DATA).to_vec());
        }
        match refusal(&answer) {
            end if end.code == END_OF_FILE => Ok(Vec::new()),
            refusal => Err(refusal),
        }
    }

    /// All bytes from `offset` to the end.
    #[track_caller]
    pub fn read_from(&mut self, handle: &Handle, mut offset: u64) -> Answered<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.read(handle, offset, PIECE)?;
            if piece.is_empty() {
                return Ok(all);
            }
            offset += piece.len() as u64;
            all.extend(piece);
        }
    }

    /// Makes or replaces a whole file.
    #[track_caller]
    pub fn put(&mut self, path: &str, data: &[u8]) {
        let handle = self.create(path);
        self.write(&handle, 0, data).unwrap_or_else(|refusal| panic!("write to {path}: {refusal:?}"));
        self.close(&handle).unwrap_or_else(|refusal| panic!("close of {path}: {refusal:?}"));
    }

    /// Makes many files with the same few bytes in them.
    #[track_caller]
    pub fn put_many(&mut self, paths: &[String], data: &[u8]) {
        for paths in paths.chunks(64) {
            let bodies =
                paths.iter().map(|path| [string(path.as_bytes()), FOR_WRITING.to_be_bytes().to_vec(), vec![0; 4]]);
            let handles: Vec<Vec<u8>> = self
                .ask_all(OPEN, bodies.map(|body| body.concat()))
                .iter()
                .map(|a| a.string(HANDLE).to_vec())
                .collect();
            let written = self.ask_all(WRITE, handles.iter().map(|handle| write_body(handle, 0, data)));
            let closed = self.ask_all(CLOSE, handles.iter().map(|handle| string(handle)));
            assert!(written.iter().chain(&closed).all(|answer| answer.status() == 0), "{written:?} {closed:?}");
        }
    }

    /// Sends several requests at once; the answers in the order of the requests.
    #[track_caller]
    fn ask_all(&mut self, kind: u8, bodies: impl Iterator<Item = Vec<u8>>) -> Vec<Answer> {
        let ids: Vec<u32> = bodies.map(|body| self.send(kind, &body)).collect();
        let mut answers: Vec<Answer> = ids.iter().map(|_| self.raw.receive()).collect();
        answers.sort_by_key(|answer| answer.id);
        answers
    }

    /// A whole file.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Vec<u8> {
        self.try_get(path).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"))
    }

    /// A whole file, if it can be had.
    #[track_caller]
    pub fn try_get(&mut self, path: &str) -> Answered<Vec<u8>> {
        let handle = self.open(path, FOR_READING)?;
        let data = self.read_from(&handle, 0);
        self.close(&handle)?;
        data
    }

    #[track_caller]
    pub fn stat(&mut self, path: &str) -> Answered<Attributes> {
        let answer = self.ask(STAT, &string(path.as_bytes()));
        attributes(&answer)
    }

    #[track_caller]
    pub fn lstat(&mut self, path: &str) -> Answered<Attributes> {
        let answer = self.ask(LSTAT, &string(path.as_bytes()));
        attributes(&answer)
    }

    #[track_caller]
    pub fn fstat(&mut self, handle: &Handle) -> Answered<Attributes> {
        let answer = self.ask(FSTAT, &string(&handle.0));
        attributes(&answer)
    }

    /// Whether something has the name. Panics when that cannot be told.
    #[track_caller]
    pub fn exists(&mut self, path: &str) -> bool {
        match self.stat(path) {
            Ok(_) => true,
            Err(refusal) if refusal.code == NO_SUCH_FILE => false,
            Err(refusal) => panic!("{path}: {refusal:?}"),
        }
    }

    #[track_caller]
    pub fn set_attributes(&mut self, path: &str, attributes: &Attributes) -> Answered<()> {
        self.ask_to_do(SETSTAT, &[string(path.as_bytes()), attributes.encode()].concat())
    }

    #[track_caller]
    pub fn set_open_attributes(&mut self, handle: &Handle, attributes: &Attributes) -> Answered<()> {
        self.ask_to_do(FSETSTAT, &[string(&handle.0), attributes.encode()].concat())
    }

    #[track_caller]
    pub fn remove(&mut self, path: &str) -> Answered<()> {
        self.ask_to_do(REMOVE, &string(path.as_bytes()))
    }

    #[track_caller]
    pub fn make_directory(&mut self, path: &str) -> Answered<()> {
        self.ask_to_do(MKDIR, &[string(path.as_bytes()), vec![0; 4]].concat())
    }

    #[track_caller]
    pub fn remove_directory(&mut self, path: &str) -> Answered<()> {
        self.ask_to_do(RMDIR, &string(path.as_bytes()))
    }

    #[track_caller]
    pub fn rename(&mut self, from: &str, to: &str) -> Answered<()> {
        self.ask_to_do(RENAME, &[string(from.as_bytes()), string(to.as_bytes())].concat())
    }

    #[track_caller]
    pub fn posix_rename(&mut self, from: &str, to: &str) -> Answered<()> {
        let extension = string(b"posix-rename@openssh.com");
        self.ask_to_do(EXTENDED, &[extension, string(from.as_bytes()), string(to.as_bytes())].concat())
    }

    /// Copies from one open file to another; a length of 0 is all that follows.
    #[track_caller]
    pub fn copy_data(&mut self, from: &Handle, start: u64, length: u64, to: &Handle, at: u64) -> Answered<()> {
        let range = [start.to_be_bytes(), length.to_be_bytes()].concat();
        let target = [string(&to.0), at.to_be_bytes().to_vec()].concat();
        self.ask_to_do(EXTENDED, &[string(b"copy-data"), string(&from.0), range, target].concat())
    }

    #[track_caller]
    pub fn symbolic_link(&mut self, target: &str, link: &str) -> Answered<()> {
        self.ask_to_do(SYMLINK, &[string(target.as_bytes()), string(link.as_bytes())].concat())
    }

    #[track_caller]
    pub fn hard_link(&mut self, target: &str, link: &str) -> Answered<()> {
        let extension = string(b"hardlink@openssh.com");
        self.ask_to_do(EXTENDED, &[extension, string(target.as_bytes()), string(link.as_bytes())].concat())
    }

    #[track_caller]
    pub fn open_directory(&mut self, path: &str) -> Answered<Handle> {
        let answer = self.ask(OPENDIR, &string(path.as_bytes()));
        if answer.kind == STATUS { Err(refusal(&answer)) } else { Ok(Handle(answer.string(HANDLE).to_vec())) }
    }

    /// The next names of a directory, without `.` and `..`; `None` after the last.
    #[track_caller]
    pub fn read_directory(&mut self, handle: &Handle) -> Answered<Option<Vec<(String, Attributes)>>> {
        let answer = self.ask(READDIR, &string(&handle.0));
        if answer.kind == STATUS {
            let refusal = refusal(&answer);
            return if refusal.code == END_OF_FILE { Ok(None) } else { Err(refusal) };
        }
        assert_eq!(answer.kind, NAME);
        let mut rest = &answer.body[..];
        let mut names = Vec::new();
        for _ in 0..take_u32(&mut rest) {
            let name = take_text(&mut rest);
            take_text(&mut rest);
            names.push((name, Attributes::decode(&mut rest)));
        }
        names.retain(|(name, _)| name != "." && name != "..");
        Ok(Some(names))
    }

    /// All names of a directory in the order in which they came.
    #[track_caller]
    pub fn list(&mut self, path: &str) -> Answered<Vec<(String, Attributes)>> {
        let handle = self.open_directory(path)?;
        let mut all = Vec::new();
        while let Some(names) = self.read_directory(&handle)? {
            all.extend(names);
        }
        self.close(&handle)?;
        Ok(all)
    }

    /// All names of a directory, sorted; those of directories with a slash.
    #[track_caller]
    pub fn names(&mut self, path: &str) -> Vec<String> {
        let list = self.list(path).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}"));
        let shown =
            |(name, attributes): (String, Attributes)| if attributes.is_directory() { name + "/" } else { name };
        let mut names: Vec<String> = list.into_iter().map(shown).collect();
        names.sort();
        names
    }
}

fn done(answer: &Answer) -> Answered<()> {
    match refusal(answer) {
        Refusal { code: 0, .. } => Ok(()),
        refusal => Err(refusal),
    }
}

#[track_caller]
fn refusal(answer: &Answer) -> Refusal {
    let code = answer.status();
    let message = take_text(&mut &answer.body[4..]);
    Refusal { code, message }
}

#[track_caller]
fn attributes(answer: &Answer) -> Answered<Attributes> {
    if answer.kind == STATUS {
        return Err(refusal(answer));
    }
    assert_eq!(answer.kind, ATTRS);
    Ok(Attributes::decode(&mut &answer.body[..]))
}

fn take_u32(rest: &mut &[u8]) -> u32 {
    let (taken, left) = rest.split_at(4);
    *rest = left;
    u32::from_be_bytes(taken.try_into().unwrap())
}

fn take_text(rest: &mut &[u8]) -> String {
    let length = take_u32(rest) as usize;
    let (taken, left) = rest.split_at(length);
    *rest = left;
    String::from_utf8(taken.to_vec()).expect("UTF-8")
}
