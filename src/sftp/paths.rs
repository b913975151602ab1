//! The task that serves requests on paths, and that starts the task of each handle.
//!
//! Requests run at once as long as none could see what another does: one that changes something waits for those before it
//! that touch the same path, one above it or one below it, and those after it wait for it. So pipelined STATs cost one round
//! trip to the store together, and a pipelined MKDIR, OPEN is done in that order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh_sftp::protocol::StatusCode;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::check_file::CheckFile;
use super::directory::Listing;
use super::extension;
use super::file::File;
use super::handle::Channel;
use super::limits::{END_LIMIT, MAX_PATH_REQUESTS};
use super::outbox::Hold;
use super::reply::Reply;
use super::request::{HandleId, PathCall};
use super::table::{Effect, RequestKind};
use crate::path::LogicalPath;
use crate::session::{
    AttributeChange, Directory, ErrorKind, Kind, OpenMode, Session, SessionResult, StoreErrorKind, Transfer,
};

const EXISTS: ErrorKind = ErrorKind::Store(StoreErrorKind::AlreadyExists);
const NOT_FOUND: ErrorKind = ErrorKind::Store(StoreErrorKind::NotFound);

const TOO_MANY_HANDLES: &str = "too many open files: close some first";

/// What the reader hands over, in the client's order.
#[derive(Debug)]
pub(super) enum PathWork {
    Job(PathJob),
    /// The CLOSE of an upload is under way: requests behind it that could see the file wait. Clients send SETSTAT or RENAME
    /// before they have the answer to CLOSE (WinSCP does).
    Closing {
        path: LogicalPath,
        closed: Closed,
    },
}

/// Dropped when a CLOSE is done.
pub(super) type Closing = oneshot::Sender<()>;

/// Ends when a CLOSE is done.
pub(super) type Closed = oneshot::Receiver<()>;

/// A request on paths, with the hold that goes with its reply.
#[derive(Debug)]
pub(super) struct PathJob {
    pub(super) id: u32,
    pub(super) hold: Hold,
    pub(super) kind: RequestKind,
    pub(super) call: PathCall,
}

/// Serves requests until the queue's other end is dropped and every handle has ended. Handles that the client has not closed
/// are cut off then; whatever is not done after [`END_LIMIT`] is, too.
pub(super) async fn serve(channel: Arc<Channel>, mut jobs: UnboundedReceiver<PathWork>) {
    let mut waiting = VecDeque::new();
    let mut closing = FuturesUnordered::new();
    let mut footprints = Footprints::default();
    let mut running = FuturesUnordered::new();
    let mut handles = JoinSet::new();
    let mut deadline = None;
    loop {
        while running.len() < MAX_PATH_REQUESTS
            && let Some(work) = waiting.pop_front_if(|work: &mut PathWork| footprints.allow(work))
        {
            let place = footprints.add(&work);
            match work {
                PathWork::Job(job) => running.push(perform(Arc::clone(&channel), job, place)),
                PathWork::Closing { closed, .. } => closing.push(async move {
                    let _ = closed.await;
                    place
                }),
            }
        }
        if deadline.is_some() && running.is_empty() && waiting.is_empty() && handles.is_empty() {
            return;
        }
        tokio::select! {
            job = jobs.recv(), if deadline.is_none() => match job {
                Some(job) => waiting.push_back(job),
                None => {
                    deadline = Some(Instant::now() + END_LIMIT);
                    waiting.retain(PathWork::outlives_the_client);
                    channel.handles.end();
                }
            },
            Some(Finished { id, hold, place, done }) = running.next() => {
                footprints.remove(place);
                let reply = match done {
                    Done::Reply(reply) => reply,
                    Done::Opened(opened) => Reply::Handle { id, handle: opened.start(&channel, &mut handles) },
                };
                channel.outbox.send(reply, hold);
                if deadline.is_some() {
                    channel.handles.end();
                }
            }
            Some(place) = closing.next() => footprints.remove(place),
            Some(_) = handles.join_next() => {}
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return handles.shutdown().await;
            }
        }
    }
}

impl PathWork {
    /// Whether it is still done when the client has gone.
    fn outlives_the_client(&self) -> bool {
        match self {
            PathWork::Job(job) => job.kind.effect() == Effect::Changes,
            PathWork::Closing { .. } => true,
        }
    }

    fn changes(&self) -> bool {
        match self {
            PathWork::Job(job) => job.changes(),
            PathWork::Closing { .. } => true,
        }
    }

    fn paths(&self) -> (&LogicalPath, Option<&LogicalPath>) {
        match self {
            PathWork::Job(job) => job.call.paths(),
            PathWork::Closing { path, .. } => (path, None),
        }
    }
}

impl PathJob {
    /// Whether it changes what other requests see.
    fn changes(&self) -> bool {
        match self.kind.effect() {
            Effect::Looks => false,
            Effect::Changes => true,
            Effect::Opens => match &self.call {
                PathCall::Open { mode, .. } => mode.write || mode.create || mode.truncate,
                _ => false,
            },
        }
    }
}

impl PathCall {
    fn paths(&self) -> (&LogicalPath, Option<&LogicalPath>) {
        match self {
            PathCall::Stat(path)
            | PathCall::Open { path, .. }
            | PathCall::OpenDirectory(path)
            | PathCall::FileSystem(path)
            | PathCall::Check(path, _)
            | PathCall::SetStat(path, _)
            | PathCall::Remove(path)
            | PathCall::MakeDirectory(path, _)
            | PathCall::RemoveDirectory(path)
            | PathCall::Link { link: path, .. } => (path, None),
            PathCall::Rename { from, to, .. } => (from, Some(to)),
        }
    }
}

/// What the requests that run touch.
#[derive(Debug, Default)]
struct Footprints {
    running: Vec<Footprint>,
    next: u64,
}

#[derive(Debug)]
struct Footprint {
    place: u64,
    path: LogicalPath,
    other: Option<LogicalPath>,
    changes: bool,
}

impl Footprints {
    /// Whether a request may run beside those that do. A CLOSE waits for nobody: it runs already.
    fn allow(&self, work: &PathWork) -> bool {
        let (path, other) = work.paths();
        let changes = work.changes();
        let is_under_way = matches!(work, PathWork::Closing { .. });
        is_under_way
            || !self.running.iter().any(|running| {
                (changes || running.changes)
                    && (running.touches(path) || other.is_some_and(|other| running.touches(other)))
            })
    }

    fn add(&mut self, work: &PathWork) -> u64 {
        let (path, other) = work.paths();
        let place = self.next;
        self.next += 1;
        let (path, other) = (path.clone(), other.cloned());
        self.running.push(Footprint { place, path, other, changes: work.changes() });
        place
    }

    fn remove(&mut self, place: u64) {
        self.running.retain(|running| running.place != place);
    }
}

impl Footprint {
    fn touches(&self, path: &LogicalPath) -> bool {
        [Some(&self.path), self.other.as_ref()]
            .into_iter()
            .flatten()
            .any(|own| own.is_at_or_below(path) || path.is_at_or_below(own))
    }
}

/// What a request on a path came to.
enum Done {
    /// It is answered.
    Reply(Reply),
    /// The handle's task is to be started, and answers.
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
    /// Starts the task of the handle. The number that the client gets.
    fn start(self, channel: &Arc<Channel>, handles: &mut JoinSet<()>) -> HandleId {
        let Opened { path, room, what } = self;
        match what {
            OpenedWhat::File(transfer) => {
                let (number, handle) = channel.handles.add(Kind::File, path, transfer.is_upload());
                let file = File { channel: Arc::clone(channel), handle, transfer, room, is_incomplete: false };
                handles.spawn(file.serve());
                number
            }
            OpenedWhat::Directory(directory) => {
                let (number, handle) = channel.handles.add(Kind::Directory, path, false);
                handles.spawn(Listing::new(Arc::clone(channel), handle, directory, room).serve());
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
    let PathJob { id, hold, kind, call } = job;
    let session = &channel.whole.limited_to(kind.scope());
    let done = match call {
        PathCall::Open { path, mode, attributes } => {
            let open = async |path: &LogicalPath| {
                if mode.create && !mode.write {
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
        PathCall::Rename { from, to, overwrite } => {
            Done::Reply(Reply::of(id, session.rename(&from, &to, overwrite).await))
        }
        PathCall::Check(path, check) => {
            let (reply, hold) = check_by_name(&channel, session, id, hold, &path, check).await;
            return Finished { id, hold, place, done: Done::Reply(reply) };
        }
        PathCall::Link { target, link, symbolic } => {
            Done::Reply(Reply::error(id, session.refuse_link(&target, &link, symbolic).await))
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::sftp::request::{Call, Packet, Request};
    use crate::sftp::tests::{payload, string};

    fn path(text: &str) -> LogicalPath {
        LogicalPath::parse_str(text).unwrap()
    }

    /// A request as it comes, without its length.
    fn asked(kind: u8, fields: &[&[u8]]) -> Request {
        match Packet::decode(&payload(kind, 1, fields).into()) {
            Ok(Packet::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn stat(path: &str) -> Request {
        asked(17, &[&string(path)])
    }

    fn open(path: &str, write: bool) -> Request {
        asked(3, &[&string(path), &[0, 0, 0, if write { 2 } else { 1 }], &[0; 4]])
    }

    fn open_directory(path: &str) -> Request {
        asked(11, &[&string(path)])
    }

    fn remove(path: &str) -> Request {
        asked(13, &[&string(path)])
    }

    fn make_directory(path: &str) -> Request {
        asked(14, &[&string(path), &[0; 4]])
    }

    fn rename(from: &str, to: &str) -> Request {
        asked(18, &[&string(from), &string(to)])
    }

    /// Whether `second` may start while `first` runs.
    fn together(first: Request, second: Request) -> bool {
        work_together(job(first), job(second))
    }

    fn work_together(first: PathWork, second: PathWork) -> bool {
        let mut footprints = Footprints::default();
        let place = footprints.add(&first);
        let allowed = footprints.allow(&second);
        footprints.remove(place);
        assert!(footprints.allow(&second), "nothing runs any more");
        allowed
    }

    fn job(request: Request) -> PathWork {
        let hold = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let Request { id, kind, call: Call::Path(call) } = request else { panic!("{request:?}") };
        PathWork::Job(PathJob { id, hold, kind, call })
    }

    fn closing(text: &str) -> PathWork {
        PathWork::Closing { path: path(text), closed: oneshot::channel().1 }
    }

    #[test]
    fn what_could_see_a_file_waits_for_its_close() {
        assert!(!work_together(closing("/d/a"), job(stat("/d/a"))));
        assert!(!work_together(closing("/d/a"), job(rename("/d", "/e"))));
        assert!(work_together(closing("/d/a"), job(stat("/d/b"))));
        assert!(work_together(job(remove("/a")), closing("/a")), "it runs already");
    }

    #[test]
    fn requests_wait_only_for_those_that_could_matter_to_them() {
        assert!(together(stat("/a"), stat("/a")));
        assert!(together(open("/a", false), stat("/")));
        assert!(together(open("/d/a", true), open("/d/b", true)), "siblings");
        assert!(together(remove("/d/a"), stat("/d/ab")));
        for (first, second) in [
            (remove("/a"), stat("/a")),
            (stat("/a"), remove("/a")),
            (make_directory("/d"), open("/d/a", true)),
            (open("/d/a", true), open_directory("/d")),
            (rename("/a", "/b"), stat("/b")),
            (rename("/a", "/b"), stat("/a/x")),
            (stat("/b/x"), rename("/a", "/b")),
            (rename("/a", "/b"), rename("/b", "/c")),
        ] {
            let what = format!("{first:?} and {second:?}");
            assert!(!together(first, second), "{what}");
        }
    }
}
