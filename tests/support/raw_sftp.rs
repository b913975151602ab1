//! SFTP packets by hand, through `ssh -s sftp`: a client that does what no well-behaved client does, over a real transport.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use std::os::unix::process::CommandExt;

use rustix::process::{Pid, Signal, kill_process_group};

use super::client::Client;

pub const OPEN: u8 = 3;
pub const CLOSE: u8 = 4;
pub const READ: u8 = 5;
pub const WRITE: u8 = 6;
pub const STAT: u8 = 17;
pub const STATUS: u8 = 101;
pub const HANDLE: u8 = 102;
pub const DATA: u8 = 103;

/// `SSH_FXF_READ`
pub const FOR_READING: u32 = 1;
/// `SSH_FXF_WRITE | SSH_FXF_CREAT | SSH_FXF_TRUNC`
pub const FOR_WRITING: u32 = 2 | 8 | 16;

/// One SFTP session. It ends by force after a time limit, so that no read or write of a test waits for ever.
pub struct RawSftp {
    child: Child,
    pub input: Option<ChildStdin>,
    pub output: ChildStdout,
    /// The extensions that the server named.
    pub extensions: Vec<(String, Vec<u8>)>,
    hangs: Arc<AtomicBool>,
    _timer: Sender<()>,
}

/// An answer: type, id, and what follows.
#[derive(Debug)]
pub struct Answer {
    pub kind: u8,
    pub id: u32,
    pub body: Vec<u8>,
}

impl Answer {
    /// The status code of a STATUS answer.
    #[track_caller]
    pub fn status(&self) -> u32 {
        assert_eq!(self.kind, STATUS, "not a status: {self:?}");
        u32::from_be_bytes(self.body[..4].try_into().unwrap())
    }

    /// The string that a HANDLE or DATA answer holds.
    #[track_caller]
    pub fn string(&self, kind: u8) -> &[u8] {
        assert_eq!(self.kind, kind, "another answer: {self:?}");
        let length = u32::from_be_bytes(self.body[..4].try_into().unwrap()) as usize;
        assert_eq!(self.body.len(), 4 + length, "a string of another length");
        &self.body[4..]
    }
}

impl RawSftp {
    /// Connects and exchanges versions.
    #[track_caller]
    pub fn connect(client: &Client, limit: Duration) -> RawSftp {
        let mut session = RawSftp::open_channel(client, limit);
        session.exchange_versions(3);
        session
    }

    /// As [`RawSftp::connect`]; `complaints` is ssh's error stream.
    #[track_caller]
    pub fn connect_with(client: &Client, limit: Duration, complaints: Stdio) -> RawSftp {
        let mut session = RawSftp::open_channel_with(client, limit, complaints);
        session.exchange_versions(3);
        session
    }

    /// As [`RawSftp::connect`], where the connection may fail. What ssh has to say about that helps nobody.
    pub fn try_connect(client: &Client, limit: Duration) -> io::Result<RawSftp> {
        let mut session = RawSftp::open_channel_with(client, limit, Stdio::null());
        session.try_send_frame(&[1, 0, 0, 0, 3])?;
        session.try_receive_frame()?;
        Ok(session)
    }

    /// Says which version the client speaks, and takes the server's.
    #[track_caller]
    pub fn exchange_versions(&mut self, version: u32) {
        self.send_frame(&[&[1][..], &version.to_be_bytes()].concat());
        let hello = self.receive_frame();
        assert_eq!(hello[..5], [2, 0, 0, 0, 3], "the server's version");
        let mut rest = &hello[5..];
        while !rest.is_empty() {
            let name = String::from_utf8(take_string(&mut rest)).unwrap();
            let value = take_string(&mut rest);
            self.extensions.push((name, value));
        }
    }

    /// Connects, and says nothing yet.
    #[track_caller]
    pub fn open_channel(client: &Client, limit: Duration) -> RawSftp {
        RawSftp::open_channel_with(client, limit, Stdio::inherit())
    }

    fn open_channel_with(client: &Client, limit: Duration, complaints: Stdio) -> RawSftp {
        let mut command: Command = client.command("ssh");
        command.arg("-s").arg(client.host()).arg("sftp");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints).process_group(0);
        let mut child = command.spawn().expect("ssh");
        let (timer, stopped) = channel::<()>();
        let (group, hangs) = (Pid::from_child(&child), Arc::new(AtomicBool::new(false)));
        let hanging = hangs.clone();
        thread::spawn(move || {
            if stopped.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a raw SFTP session was ended after {limit:?}");
                hanging.store(true, Ordering::SeqCst);
                let _ = kill_process_group(group, Signal::KILL);
            }
        });
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        RawSftp { child, input, output, extensions: Vec::new(), hangs, _timer: timer }
    }

    /// Sends bytes as they are; false when the channel has ended.
    pub fn send_raw(&mut self, bytes: &[u8]) -> bool {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(bytes).and_then(|()| input.flush()).is_ok()
    }

    /// Ends the client's side of the channel.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Reads to the end of the channel, which is not that of the time limit; how many bytes came.
    #[track_caller]
    pub fn read_to_end(&mut self) -> usize {
        let mut rest = Vec::new();
        let length = self.output.read_to_end(&mut rest).expect("the channel ends");
        self.assert_does_not_hang();
        length
    }

    /// Panics when the time limit has ended the session.
    #[track_caller]
    pub fn assert_does_not_hang(&self) {
        assert!(!self.hangs.load(Ordering::SeqCst), "nothing ended the channel but the time limit");
    }

    /// A request and its answer.
    #[track_caller]
    pub fn call(&mut self, kind: u8, id: u32, fields: &[&[u8]]) -> Answer {
        self.send(kind, id, &fields.concat());
        let answer = self.receive();
        assert_eq!(answer.id, id, "the answer to something else: {answer:?}");
        answer
    }

    /// Sends a request.
    #[track_caller]
    pub fn send(&mut self, kind: u8, id: u32, body: &[u8]) {
        self.try_send(kind, id, body).expect("the session takes a packet");
    }

    /// Sends a request, if the session still stands.
    pub fn try_send(&mut self, kind: u8, id: u32, body: &[u8]) -> io::Result<()> {
        let mut frame = vec![kind];
        frame.extend(id.to_be_bytes());
        frame.extend(body);
        self.try_send_frame(&frame)
    }

    #[track_caller]
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.try_send_frame(frame).expect("the session takes a packet");
    }

    fn try_send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut packet = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        packet.extend(frame);
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(&packet)?;
        input.flush()
    }

    #[track_caller]
    pub fn receive(&mut self) -> Answer {
        self.try_receive().expect("an answer")
    }

    /// The next answer, if the session still stands.
    pub fn try_receive(&mut self) -> io::Result<Answer> {
        let frame = self.try_receive_frame()?;
        let id = u32::from_be_bytes(frame[1..5].try_into().unwrap());
        Ok(Answer { kind: frame[0], id, body: frame[5..].to_vec() })
    }

    #[track_caller]
    fn receive_frame(&mut self) -> Vec<u8> {
        self.try_receive_frame().expect("an answer")
    }

    fn try_receive_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Opens a file; its handle.
    #[track_caller]
    pub fn open(&mut self, path: &str, flags: u32) -> Vec<u8> {
        let mut body = string(path.as_bytes());
        body.extend(flags.to_be_bytes());
        body.extend(0u32.to_be_bytes());
        self.send(OPEN, 1, &body);
        self.receive().string(HANDLE).to_vec()
    }

    /// Asks for bytes, without waiting for them.
    #[track_caller]
    pub fn ask_to_read(&mut self, id: u32, handle: &[u8], offset: u64, length: u32) {
        let mut body = string(handle);
        body.extend(offset.to_be_bytes());
        body.extend(length.to_be_bytes());
        self.send(READ, id, &body);
    }

    /// Closes a handle; the status code.
    #[track_caller]
    pub fn close(&mut self, id: u32, handle: &[u8]) -> u32 {
        self.send(CLOSE, id, &string(handle));
        let answer = self.receive();
        assert_eq!(answer.id, id);
        answer.status()
    }
}

impl Drop for RawSftp {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The body of a WRITE.
pub fn write_body(handle: &[u8], offset: u64, data: &[u8]) -> Vec<u8> {
    let mut body = string(handle);
    body.extend(offset.to_be_bytes());
    body.extend(string(data));
    body
}

/// A string as SSH writes it: its length, then its bytes.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut text = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    text.extend(bytes);
    text
}

fn take_string(rest: &mut &[u8]) -> Vec<u8> {
    let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
    let (taken, left) = rest[4..].split_at(length);
    *rest = left;
    taken.to_vec()
}
