//! The reader of one channel: takes the client's packets and hands each to whoever does it.
//!
//! It never waits on anything that needs the client to read: the connection does not take the client's window adjustments while
//! this channel does not take its data. It waits only until the store has accepted WRITE data.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use russh_sftp::protocol::StatusCode;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Ended;
use super::extension;
use super::frame::{FrameError, Frames};
use super::handle::{Channel, Handle};
use super::limits::{BACKLOG, BEHIND_READS_BUDGET, REQUEST_COST, SMALL_WRITE, WRITE_BUDGET};
use super::order::{Closing, Mark, PathJob, PathWork};
use super::outbox::Hold;
use super::queue::{Piece, Work};
use super::reply::{Names, Reply};
use super::request::{
    Call, CopyData, DecodeError, Flaw, HandleCall, HandleId, ImmediateCall, Packet, PathCall, Request,
};
use super::table::RequestKind;
use crate::path::LogicalPath;
use crate::session::channel::Incoming;
use crate::session::{Counter, ErrorKind, Kind, SessionError};

/// How a client broke the protocol.
type Broken = &'static str;

const TOO_FAR_AHEAD: Broken = "too many requests without taking their answers";
const UNKNOWN_HANDLE: &str = "no such handle";

/// The reader of one channel.
pub(super) struct Reader {
    channel: Arc<Channel>,
    paths: UnboundedSender<Box<PathWork>>,
    backlog: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    writes_behind_reads: Arc<Semaphore>,
    is_initialised: bool,
    /// One for each line of the table.
    counters: Vec<Arc<Counter>>,
}

impl Reader {
    pub(super) fn new(channel: Arc<Channel>, paths: UnboundedSender<Box<PathWork>>) -> Self {
        let counters = RequestKind::all().map(|kind| channel.whole.request_counter(kind.line().name)).collect();
        Reader {
            channel,
            paths,
            backlog: Arc::new(Semaphore::new(BACKLOG)),
            writes: Arc::new(Semaphore::new(WRITE_BUDGET)),
            writes_behind_reads: Arc::new(Semaphore::new(BEHIND_READS_BUDGET)),
            is_initialised: false,
            counters,
        }
    }

    /// Reads until the client ends the channel or breaks the protocol.
    pub(super) async fn run(mut self, mut incoming: impl Incoming) -> Ended {
        let channel = Arc::clone(&self.channel);
        let mut client_gone = pin!(channel.outbox.closed());
        let mut frames = Frames::default();
        loop {
            let arrived = tokio::select! {
                biased;
                arrived = incoming.next() => arrived,
                () = &mut client_gone => return Ended::ByClient,
            };
            let Some(arrived) = arrived else { break };
            frames.push(arrived);
            let taken = tokio::select! {
                biased;
                taken = self.take_all(&mut frames) => taken,
                () = &mut client_gone => return Ended::ByClient,
            };
            if let Err(how) = taken {
                return Ended::Protocol(how);
            }
        }
        if frames.is_inside_a_packet() {
            return Ended::Protocol("the channel ended inside a packet");
        }
        Ended::ByClient
    }

    async fn take_all(&mut self, frames: &mut Frames) -> Result<(), Broken> {
        loop {
            match frames.next() {
                Ok(Some(frame)) => self.take(&frame).await?,
                Ok(None) => return Ok(()),
                Err(FrameError::Empty) => return Err("an empty packet"),
                Err(FrameError::TooLong { id }) => {
                    if let Some(id) = id.filter(|_| self.is_initialised) {
                        self.refuse(id, StatusCode::BadMessage, "the packet is too long")?;
                    }
                    return Err("a packet that is too long");
                }
            }
        }
    }

    async fn take(&mut self, frame: &Bytes) -> Result<(), Broken> {
        let packet = Packet::decode(frame);
        if !self.is_initialised {
            return match packet {
                Ok(Packet::Init { .. }) => self.initialise(),
                _ => Err("a request before INIT"),
            };
        }
        let request = match packet {
            Ok(Packet::Request(request)) => request,
            Ok(Packet::Init { .. }) => return Err("a second INIT"),
            Err(DecodeError::NoId) => return Err("a packet without an id"),
            Err(DecodeError::Flawed { id, kind, flaw }) => {
                self.count(kind);
                return match flaw {
                    Flaw::Malformed => self.refuse(id, StatusCode::BadMessage, "the packet is malformed"),
                    Flaw::Name(error) => self.reply(Reply::error(id, SessionError::from(error))),
                };
            }
        };
        let Request { id, kind, call } = request;
        self.count(kind);
        match call {
            Call::Handle(handle, call) => self.on_handle(id, handle, call).await,
            Call::CopyData(copy) => self.copy_data(id, copy),
            Call::Path(call) => {
                let hold = self.hold(REQUEST_COST + frame.len())?;
                let after = self.marks_for(id, &call)?;
                // The other end lives as long as this one.
                let _ = self.paths.send(Box::new(PathWork::Job(PathJob { id, hold, kind, call, after })));
                Ok(())
            }
            Call::Immediate(call) => {
                let reply = self.immediately(id, call);
                self.reply(reply)
            }
        }
    }

    fn initialise(&mut self) -> Result<(), Broken> {
        self.is_initialised = true;
        self.reply(Reply::Version)
    }

    /// A share of the backlog for a request and its reply.
    fn hold(&self, cost: usize) -> Result<Hold, Broken> {
        let permits = u32::try_from(cost).map_err(|_| TOO_FAR_AHEAD)?;
        Arc::clone(&self.backlog).try_acquire_many_owned(permits).map_err(|_| TOO_FAR_AHEAD)
    }

    fn reply(&self, reply: Reply) -> Result<(), Broken> {
        let hold = self.hold(REQUEST_COST + reply.size())?;
        self.channel.outbox.send(reply, hold);
        Ok(())
    }

    fn refuse(&self, id: u32, code: StatusCode, message: &'static str) -> Result<(), Broken> {
        self.reply(Reply::failure(id, code, message))
    }

    fn count(&self, kind: RequestKind) {
        if let Some(counter) = self.counters.get(kind.index()) {
            counter.add(1);
        }
    }

    async fn on_handle(&mut self, id: u32, number: HandleId, call: HandleCall) -> Result<(), Broken> {
        let handle = match call {
            HandleCall::Close => self.channel.handles.take(number),
            _ => self.channel.handles.get(number),
        };
        let Some(handle) = handle else {
            return self.refuse(id, StatusCode::Failure, UNKNOWN_HANDLE);
        };
        let queue = &handle.queue;
        let work = match call {
            HandleCall::Read { offset, length } => {
                if !queue.extend_reads(id, offset, length) {
                    queue.push_read(id, offset, length, self.hold(REQUEST_COST)?);
                }
                return Ok(());
            }
            HandleCall::Write { offset, data } => {
                let budget = self.write_budget(&handle, data.len()).await?;
                let data = if data.len() < SMALL_WRITE { Bytes::copy_from_slice(&data) } else { data };
                Work::Write { offset, data, budget }
            }
            HandleCall::Close => Work::Close(self.announce_close(&handle)),
            HandleCall::Stat => Work::Stat,
            HandleCall::SetStat(change) => Work::SetStat(change),
            HandleCall::ReadDirectory => Work::ReadDirectory,
            HandleCall::Sync => Work::Sync,
            HandleCall::FileSystem => Work::FileSystem,
            HandleCall::Check(check) => Work::Check(check),
        };
        queue.push(id, self.hold(REQUEST_COST)?, work);
        Ok(())
    }

    /// A STAT is to show what the WRITEs before it make of the file: sshfs asks for the size in this way while it writes. A SETSTAT is to
    /// cut what they have written.
    fn marks_for(&self, id: u32, call: &PathCall) -> Result<Vec<Mark>, Broken> {
        let (PathCall::Stat(path) | PathCall::SetStat(path, _)) = call else { return Ok(Vec::new()) };
        if !self.channel.whole.has_open_for_writing(path) {
            return Ok(Vec::new());
        }
        let mark = |handle: Arc<Handle>| {
            let (marker, mark) = oneshot::channel();
            handle.queue.push(id, self.hold(REQUEST_COST)?, Work::Mark(marker));
            Ok(mark)
        };
        self.channel.handles.uploads_of(path).into_iter().map(mark).collect()
    }

    /// Requests on paths that come after the CLOSE of an upload are to see the file.
    /// Those that were before it and wait for it learn that it has come.
    fn announce_close(&self, handle: &Handle) -> Option<Closing> {
        let upload = handle.upload.as_ref()?;
        upload.announce_close();
        let (closing, closed) = oneshot::channel();
        let path = upload.path().unwrap_or_else(|| handle.path.clone());
        let _ = self.paths.send(Box::new(PathWork::Closing { path, closed }));
        Some(closing)
    }

    /// Waits until WRITE data may be kept. That depends on the store alone, unless there are READs before it on the same
    /// handle: those wait for the client to read, so then nothing is waited for.
    async fn write_budget(&self, handle: &Handle, bytes: usize) -> Result<OwnedSemaphorePermit, Broken> {
        let permits = u32::try_from(bytes).map_err(|_| TOO_FAR_AHEAD)?;
        if handle.queue.may_wait_for_the_client() {
            return Arc::clone(&self.writes_behind_reads)
                .try_acquire_many_owned(permits)
                .map_err(|_| "too many writes behind reads whose answers are not taken");
        }
        // It is never closed.
        Arc::clone(&self.writes).acquire_many_owned(permits).await.map_err(|_| TOO_FAR_AHEAD)
    }

    /// Puts one half of the copy into each handle's queue, so that it keeps its place among the requests on either.
    fn copy_data(&self, id: u32, copy: CopyData) -> Result<(), Broken> {
        let (from, to) = (self.channel.handles.get(copy.from), self.channel.handles.get(copy.to));
        let (Some(from), Some(to)) = (from, to) else {
            return self.refuse(id, StatusCode::Failure, UNKNOWN_HANDLE);
        };
        let message = "copy-data needs two different files";
        if from.kind != Kind::File || to.kind != Kind::File {
            return self.refuse(id, StatusCode::Failure, message);
        }
        let (sender, receiver) = mpsc::channel(1);
        let (out_hold, in_hold) = (self.hold(REQUEST_COST)?, self.hold(REQUEST_COST)?);
        if from.path == to.path {
            // The file that would be written learns of it: it may have been emptied for the copy.
            let refusal = SessionError::new(ErrorKind::InvalidRequest, format!("{}: {message}", to.path));
            let _ = sender.try_send(Piece::Failed(refusal));
        } else {
            let out = Work::CopyOut { offset: copy.from_offset, length: copy.length, to: sender };
            from.queue.push(id, out_hold, out);
        }
        to.queue.push(id, in_hold, Work::CopyIn { offset: copy.to_offset, from: receiver });
        Ok(())
    }

    fn immediately(&self, id: u32, call: ImmediateCall) -> Reply {
        let user = self.channel.session.user();
        match call {
            ImmediateCall::RealPath(path) => name(id, &path),
            ImmediateCall::ReadLink => {
                Reply::failure(id, StatusCode::OpUnsupported, "there are no symbolic links here")
            }
            ImmediateCall::Limits => Reply::Extended { id, payload: extension::limits_reply() },
            ImmediateCall::ExpandHome { user: wanted, rest } if is_own(&wanted, user) => name(id, &rest),
            ImmediateCall::HomeDirectory(wanted) if is_own(&wanted, user) => name(id, &LogicalPath::root()),
            ImmediateCall::ExpandHome { .. } | ImmediateCall::HomeDirectory(_) => {
                Reply::failure(id, StatusCode::NoSuchFile, "only your own home directory can be named")
            }
            ImmediateCall::UserNames { users, groups } => {
                Reply::Extended { id, payload: extension::user_names_reply(&users, &groups, user) }
            }
            ImmediateCall::Unsupported => {
                Reply::failure(id, StatusCode::OpUnsupported, "the server does not know this request")
            }
        }
    }
}

fn name(id: u32, path: &LogicalPath) -> Reply {
    Reply::Names { id, names: Names::of_path(path.as_str()) }
}

fn is_own(wanted: &[u8], user: &str) -> bool {
    wanted.is_empty() || wanted == user.as_bytes()
}
