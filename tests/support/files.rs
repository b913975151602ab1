//! An SFTP client for tests in which a connection may end at any moment: nothing here panics because it did.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use super::client::Client;
use super::content::Content;
use super::data::KIB;
use super::raw_sftp::{
    Answer, CLOSE, DATA, FOR_WRITING, HANDLE, OPEN, READ, RawSftp, STATUS, WRITE, string, write_body,
};

const REMOVE: u8 = 13;
const OPEN_DIRECTORY: u8 = 11;
const READ_DIRECTORY: u8 = 12;
const MAKE_DIRECTORY: u8 = 14;
const REMOVE_DIRECTORY: u8 = 15;
const RENAME: u8 = 18;
const EXTENDED: u8 = 200;
const NAME: u8 = 104;

const END_OF_FILE: u32 = 1;

/// What one WRITE or READ carries.
pub const PIECE: u64 = 255 * KIB;

/// How many WRITEs or READs are under way at once.
const WINDOW: usize = 16;

/// Why a request has no success to show.
#[derive(Debug)]
pub enum Failed {
    /// The connection ended: whether the request was done is not known.
    Lost(io::Error),
    /// The answer was an error.
    Refused { code: u32, message: String },
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Lost(error)
    }
}

pub type Answered<T> = Result<T, Failed>;

/// One SFTP session.
pub struct Files {
    pub raw: RawSftp,
    next: u32,
}

impl Files {
    /// Connects; panics when that fails.
    #[track_caller]
    pub fn connect(client: &Client, limit: Duration) -> Files {
        // What ssh has to say about a connection that is cut on purpose helps nobody.
        Files { raw: RawSftp::connect_with(client, limit, Stdio::null()), next: 100 }
    }

    /// Connects, if that succeeds.
    pub fn try_connect(client: &Client, limit: Duration) -> io::Result<Files> {
        Ok(Files { raw: RawSftp::try_connect(client, limit)?, next: 100 })
    }

    /// Sends a request; its id.
    pub fn ask(&mut self, kind: u8, body: &[u8]) -> Answered<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.raw.try_send(kind, id, body)?;
        Ok(id)
    }

    fn request(&mut self, kind: u8, body: &[u8]) -> Answered<Answer> {
        let id = self.ask(kind, body)?;
        let answer = self.raw.try_receive()?;
        assert_eq!(answer.id, id, "the answer to another request: {answer:?}");
        Ok(answer)
    }

    /// Takes one answer, which has to be a success.
    pub fn success(&mut self) -> Answered<()> {
        let answer = self.raw.try_receive()?;
        judge(&answer)
    }

    fn perform(&mut self, kind: u8, body: &[u8]) -> Answered<()> {
        judge(&self.request(kind, body)?)
    }

    fn handle(&mut self, kind: u8, body: &[u8]) -> Answered<Vec<u8>> {
        let answer = self.request(kind, body)?;
        if answer.kind == STATUS {
            judge(&answer)?;
        }
        Ok(answer.string(HANDLE).to_vec())
    }

    pub fn open(&mut self, path: &str, flags: u32) -> Answered<Vec<u8>> {
        let mut body = string(path.as_bytes());
        body.extend(flags.to_be_bytes());
        body.extend(0u32.to_be_bytes());
        self.handle(OPEN, &body)
    }

    pub fn close(&mut self, handle: &[u8]) -> Answered<()> {
        self.perform(CLOSE, &string(handle))
    }

    pub fn remove(&mut self, path: &str) -> Answered<()> {
        self.perform(REMOVE, &string(path.as_bytes()))
    }

    pub fn make_directory(&mut self, path: &str) -> Answered<()> {
        let mut body = string(path.as_bytes());
        body.extend(0u32.to_be_bytes());
        self.perform(MAKE_DIRECTORY, &body)
    }

    pub fn remove_directory(&mut self, path: &str) -> Answered<()> {
        self.perform(REMOVE_DIRECTORY, &string(path.as_bytes()))
    }

    /// SFTP's rename, or OpenSSH's, which replaces.
    pub fn rename(&mut self, from: &str, to: &str, replace: bool) -> Answered<()> {
        let (from, to) = (string(from.as_bytes()), string(to.as_bytes()));
        if replace {
            self.perform(EXTENDED, &[string(b"posix-rename@openssh.com"), from, to].concat())
        } else {
            self.perform(RENAME, &[from, to].concat())
        }
    }

    /// Sends the bytes from `from` to `to` of a content, and takes the answers to all of them.
    pub fn write(&mut self, handle: &[u8], content: Content, from: u64, to: u64) -> Answered<()> {
        let (mut at, mut open) = (from, 0);
        while at < to {
            let piece = content.piece(at, PIECE.min(to - at));
            self.ask(WRITE, &write_body(handle, at, &piece))?;
            at += piece.len() as u64;
            open += 1;
            if open == WINDOW {
                self.success()?;
                open -= 1;
            }
        }
        (0..open).try_for_each(|_| self.success())
    }

    /// Uploads a whole file. `closing` is called when CLOSE is about to be sent: from then on the file may appear.
    pub fn upload(&mut self, path: &str, content: Content, closing: impl FnOnce()) -> Answered<()> {
        let handle = self.open(path, FOR_WRITING)?;
        self.write(&handle, content, 0, content.length)?;
        closing();
        self.close(&handle)
    }

    /// Reads a file from its start to its end.
    pub fn read(&mut self, path: &str, mut take: impl FnMut(&[u8])) -> Answered<()> {
        let handle = self.open(path, super::raw_sftp::FOR_READING)?;
        let (mut asked, mut open, mut ended) = (0u64, 0, false);
        while open > 0 || !ended {
            while open < WINDOW && !ended {
                let body =
                    [string(&handle), asked.to_be_bytes().to_vec(), (PIECE as u32).to_be_bytes().to_vec()].concat();
                self.ask(READ, &body)?;
                asked += PIECE;
                open += 1;
            }
            let answer = self.raw.try_receive()?;
            open -= 1;
            if answer.kind == STATUS && answer.status() == END_OF_FILE {
                ended = true;
            } else if answer.kind == STATUS {
                judge(&answer)?;
            } else {
                let data = answer.string(DATA);
                // Offsets were asked for as if each answer were full; a short one is the last.
                assert!(!ended, "bytes after the end");
                ended = (data.len() as u64) < PIECE;
                take(data);
            }
        }
        self.close(&handle)
    }

    pub fn open_directory(&mut self, path: &str) -> Answered<Vec<u8>> {
        self.handle(OPEN_DIRECTORY, &string(path.as_bytes()))
    }

    /// The next names of a directory; none at its end.
    pub fn read_directory(&mut self, handle: &[u8]) -> Answered<Vec<String>> {
        let answer = self.request(READ_DIRECTORY, &string(handle))?;
        if answer.kind == STATUS && answer.status() == END_OF_FILE {
            return Ok(Vec::new());
        }
        if answer.kind == STATUS {
            judge(&answer)?;
        }
        assert_eq!(answer.kind, NAME, "names, or the end");
        let mut rest = &answer.body[4..];
        let count = u32::from_be_bytes(answer.body[..4].try_into().unwrap());
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(String::from_utf8(take_string(&mut rest)).unwrap());
            take_string(&mut rest);
            skip_attributes(&mut rest);
        }
        Ok(names)
    }
}

/// An error unless the answer is the status 0.
fn judge(answer: &Answer) -> Answered<()> {
    match answer.status() {
        0 => Ok(()),
        code => {
            let message = String::from_utf8_lossy(&take_string(&mut &answer.body[4..])).into_owned();
            Err(Failed::Refused { code, message })
        }
    }
}

fn take_string(rest: &mut &[u8]) -> Vec<u8> {
    let length = take_number(rest) as usize;
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken.to_vec()
}

fn take_number(rest: &mut &[u8]) -> u32 {
    let (taken, left) = rest.split_at(4);
    *rest = left;
    u32::from_be_bytes(taken.try_into().unwrap())
}

/// Size, owner, mode and times, each where its flag is set.
fn skip_attributes(rest: &mut &[u8]) {
    let flags = take_number(rest);
    assert_eq!(flags & !0xf, 0, "extended attributes");
    let length = [(1, 8), (2, 8), (4, 4), (8, 8)].iter().filter(|(flag, _)| flags & flag != 0).map(|(_, n)| n).sum();
    *rest = &rest[length..];
}
