//! What serves requests on paths, and each handle that they open.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use russh_sftp::protocol::StatusCode;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::check_file::CheckFile;
use super::directory::Listing;
use super::extension;
use super::file::File;
use super::handle::Channel;
use super::limits::{END_LIMIT, MAX_PATH_REQUESTS};
pub(super) use super::order::Closing;
use super::order::{PathJob, PathWork, Schedule};
use super::outbox::Hold;
use super::reply::Reply;
use super::request::{HandleId, PathCall};
use crate::path::LogicalPath;
use crate::session::{
    AttributeChange, Directory, ErrorKind, Kind, OpenMode, Session, SessionResult, StoreErrorKind, Transfer,
};

const EXISTS: ErrorKind = ErrorKind::Store(StoreErrorKind::AlreadyExists);
const NOT_FOUND: ErrorKind = ErrorKind::Store(StoreErrorKind::NotFound);

const TOO_MANY_HANDLES: &str = "too many open files: close some first";

/// What is done on each open handle.
type OpenHandles = FuturesUnordered<BoxFuture<'static, ()>>;

/// Serves requests until the queue's other end is dropped and every handle has ended. Handles that the client has not closed
/// are cut off then; whatever is not done after [`END_LIMIT`] is, too.
pub(super) async fn serve(channel: Arc<Channel>, mut jobs: UnboundedReceiver<Box<PathWork>>) {
    let mut schedule = Schedule::default();
    let mut closing = FuturesUnordered::new();
    // On the heap, each: the set keeps room for one more, and most channels are idle most of the time.
    let mut running = FuturesUnordered::<BoxFuture<'static, Finished>>::new();
    let mut handles = OpenHandles::new();
    let mut deadline = None;
    loop {
        while running.len() < MAX_PATH_REQUESTS
            && let Some((place, work)) = schedule.next()
        {
            match work {
                PathWork::Job(job) => running.push(Box::pin(perform(Arc::clone(&channel), job, place))),
                PathWork::Closing { closed, .. } => closing.push(async move {
                    let _ = closed.await;
                    place
                }),
            }
        }
        if deadline.is_some() && running.is_empty() && schedule.is_empty() && handles.is_empty() {
            return;
        }
        tokio::select! {
            work = jobs.recv(), if deadline.is_none() => match work {
                Some(work) => schedule.push(*work),
                None => {
                    deadline = Some(Instant::now() + END_LIMIT);
                    schedule.client_has_gone();
                    channel.handles.end();
                }
            },
            Some(Finished { id, hold, place, done }) = running.next() => {
                schedule.done(place);
                let reply = match done {
                    Done::Reply(reply) => reply,
                    Done::Opened(opened) => Reply::Handle { id, handle: opened.start(&channel, &mut handles) },
                };
                channel.outbox.send(reply, hold);
                if deadline.is_some() {
                    channel.handles.end();
                }
            }
            Some(place) = closing.next() => schedule.done(place),
            Some(()) = handles.next() => {}
            // Those that are left are dropped with the rest.
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
        }
    }
}

/// What a request on a path came to.
enum Done {
    /// It is answered.
    Reply(Reply),
    /// The handle is to be served from now on, and to be told to the client.
    Opened(Box<Opened>),
}

/// What a request on a path has opened.
struct Opened {
    path: LogicalPath,
    room: Hold,
    what: OpenedWhat,
}

enum OpenedWhat {
    File(Transfer),
    Directory(Directory),
}

impl Opened {
    /// Serves the handle from now on. The number that the client gets.
    fn start(self, channel: &Arc<Channel>, handles: &mut OpenHandles) -> HandleId {
        let Opened { path, room, what } = self;
        match what {
            OpenedWhat::File(transfer) => {
                let (number, handle) = channel.handles.add(Kind::File, path, transfer.upload_name());
                let file = File { channel: Arc::clone(channel), handle, transfer, room, is_incomplete: false };
                handles.push(Box::pin(file.serve()));
                number
            }
            OpenedWhat::Directory(directory) => {
                let (number, handle) = channel.handles.add(Kind::Directory, path, None);
                handles.push(Box::pin(Listing::new(Arc::clone(channel), handle, directory, room).serve()));
                number
            }
        }
    }
}

/// A request that was done.
struct Finished {
    id: u32,
    hold: Hold,
    place: u64,
    done: Done,
}

async fn perform(channel: Arc<Channel>, job: PathJob, place: u64) -> Finished {
    let PathJob { id, hold, kind, call, after } = job;
    for mark in after {
        let _ = mark.await;
    }
    let session = &channel.whole.limited_to(kind.scope());
    let done = match call {
        PathCall::Open { path, mode, attributes } => {
            let open = async |path: &LogicalPath| {
                // A user who may not read it is told so, and nothing is made.
                if mode.create && !mode.write && session.may_read(path) {
                    make_to_read(session, path, mode.exclusive).await?;
                }
                session.open(path, mode, &attributes).await.map(OpenedWhat::File)
            };
            opened(&channel, id, path, open).await
        }
        PathCall::OpenDirectory(path) => {
            let open = async |path: &LogicalPath| session.open_directory(path).await.map(OpenedWhat::Directory);
            opened(&channel, id, path, open).await
        }
        PathCall::Stat(path) => Done::Reply(match session.stat(&path).await {
            Ok(attributes) => Reply::Attributes { id, attributes },
            Err(error) => Reply::error(id, error),
        }),
        PathCall::FileSystem(path) => Done::Reply(extension::file_system_reply(id, session.capacity(&path).await)),
        PathCall::SetStat(path, change) => Done::Reply(Reply::of(id, session.set_attributes(&path, &change).await)),
        PathCall::Remove(path) => Done::Reply(Reply::of(id, session.remove_file(&path).await)),
        PathCall::MakeDirectory(path, attributes) => {
            Done::Reply(Reply::of(id, session.make_directory(&path, &attributes).await))
        }
        PathCall::RemoveDirectory(path) => Done::Reply(Reply::of(id, session.remove_directory(&path).await)),
        PathCall::Rename { from, to, mode } => Done::Reply(Reply::of(id, session.rename(&from, &to, mode).await)),
        PathCall::Check(path, check) => {
            let (reply, hold) = check_by_name(&channel, session, id, hold, &path, check).await;
            return Finished { id, hold, place, done: Done::Reply(reply) };
        }
        PathCall::Link { target, link, symbolic } => {
            Done::Reply(Reply::of(id, session.refuse_link(&target, &link, symbolic).await))
        }
        PathCall::Misnamed(attempt, why) => Done::Reply(Reply::error(id, session.refuse_name(attempt, why).await)),
    };
    Finished { id, hold, place, done }
}

/// CREAT without WRITE, as `open(2)` has it (`flock` asks for that, through sshfs): an empty file, where there is none.
async fn make_to_read(session: &Session, path: &LogicalPath, exclusive: bool) -> SessionResult<()> {
    if !exclusive && !matches!(session.stat(path).await, Err(error) if error.kind == NOT_FOUND) {
        return Ok(());
    }
    let mode = OpenMode { write: true, create: true, exclusive: true, ..OpenMode::default() };
    let made = match session.open(path, mode, &AttributeChange::default()).await {
        Ok(file) => file.close().await,
        Err(error) => Err(error),
    };
    match made {
        // Somebody else was faster.
        Err(error) if !exclusive && error.kind == EXISTS => Ok(()),
        made => made,
    }
}

/// Opens a file for a while to hash it: on record as a file that was opened, read and closed.
async fn check_by_name(
    channel: &Channel,
    session: &Session,
    id: u32,
    hold: Hold,
    path: &LogicalPath,
    check: CheckFile,
) -> (Reply, Hold) {
    let Some(_room) = channel.handles.reserve() else {
        return (Reply::failure(id, StatusCode::Failure, TOO_MANY_HANDLES), hold);
    };
    let mode = OpenMode { read: true, ..OpenMode::default() };
    let mut transfer = match session.open(path, mode, &AttributeChange::default()).await {
        Ok(transfer) => transfer,
        Err(error) => return (Reply::error(id, error), hold),
    };
    let Some((reply, hold)) = check.answer(id, channel, &mut transfer).await else {
        transfer.cut_off("the channel ended before the file was hashed").await;
        return (Reply::failure(id, StatusCode::Failure, "the channel has ended"), hold);
    };
    match transfer.close().await {
        Ok(()) => (reply, hold),
        Err(error) => (Reply::error(id, error), hold),
    }
}

/// Opens something, if there is room for one more handle.
async fn opened(
    channel: &Channel,
    id: u32,
    path: LogicalPath,
    open: impl AsyncFnOnce(&LogicalPath) -> SessionResult<OpenedWhat>,
) -> Done {
    let Some(room) = channel.handles.reserve() else {
        return Done::Reply(Reply::failure(id, StatusCode::Failure, TOO_MANY_HANDLES));
    };
    match open(&path).await {
        Ok(what) => Done::Opened(Box::new(Opened { path, room, what })),
        Err(error) => Done::Reply(Reply::error(id, error)),
    }
}
