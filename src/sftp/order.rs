//! Which requests on paths may run side by side.
//!
//! Requests run at once as long as none could see what another does: one that changes something waits for those before it
//! that touch the same path, one above it or one below it, and those after it wait for it. So pipelined STATs cost one round
//! trip to the store together, and a pipelined MKDIR, OPEN is done in that order.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::limits::LOOK_AHEAD;
use super::outbox::Hold;
use super::request::PathCall;
use super::table::{Effect, RequestKind};
use crate::path::LogicalPath;

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

/// Dropped when a handle has come to it.
pub(super) type Marker = oneshot::Sender<()>;

/// Ends when a handle has come to a mark.
pub(super) type Mark = oneshot::Receiver<()>;

/// A request on paths, with the hold that goes with its reply.
#[derive(Debug)]
pub(super) struct PathJob {
    pub(super) id: u32,
    pub(super) hold: Hold,
    pub(super) kind: RequestKind,
    pub(super) call: PathCall,
    /// It waits until handles have come to these.
    pub(super) after: Vec<Mark>,
}

/// The path of a request, unless it has none that can be, and the second of one that has two.
type Paths<'a> = (Option<&'a LogicalPath>, Option<&'a LogicalPath>);

/// Whether a path of the one is one of the other's, lies above it or below it.
fn meet(one: Paths<'_>, other: Paths<'_>) -> bool {
    let near = |a: &LogicalPath, b: &LogicalPath| a.is_at_or_below(b) || b.is_at_or_below(a);
    let others = || other.0.into_iter().chain(other.1);
    one.0.into_iter().chain(one.1).any(|a| others().any(|b| near(a, b)))
}

impl PathWork {
    /// Whether the one could see what the other does.
    fn matters_to(&self, other: &PathWork) -> bool {
        (self.changes() || other.changes()) && meet(self.paths(), other.paths())
    }

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

    fn paths(&self) -> Paths<'_> {
        match self {
            PathWork::Job(job) => job.call.paths(),
            PathWork::Closing { path, .. } => (Some(path), None),
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
    fn paths(&self) -> Paths<'_> {
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
            | PathCall::Link { link: path, .. } => (Some(path), None),
            PathCall::Rename { from, to, .. } => (Some(from), Some(to)),
            PathCall::Misnamed(..) => (None, None),
        }
    }
}

/// The requests that wait and what those touch that run.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// In the client's order.
    waiting: VecDeque<PathWork>,
    running: Vec<Footprint>,
    next_place: u64,
    /// Whether it is known that none of those that wait may start.
    all_must_wait: bool,
}

/// What a request that runs touches.
#[derive(Debug)]
struct Footprint {
    place: u64,
    path: Option<LogicalPath>,
    other: Option<LogicalPath>,
    changes: bool,
}

impl Schedule {
    /// Adds a request behind the others.
    pub(super) fn push(&mut self, work: PathWork) {
        self.waiting.push_back(work);
        self.all_must_wait &= self.waiting.len() > LOOK_AHEAD;
    }

    /// The first request that matters neither to what runs nor to what waits before it: it runs from now on until
    /// [`Schedule::done`] is told its place.
    pub(super) fn next(&mut self) -> Option<(u64, PathWork)> {
        if self.all_must_wait {
            return None;
        }
        let found = (0..self.waiting.len().min(LOOK_AHEAD)).find(|n| self.may_start(*n));
        self.all_must_wait = found.is_none();
        let work = self.waiting.remove(found?)?;
        let place = self.next_place;
        self.next_place += 1;
        let (path, other) = work.paths();
        let (path, other) = (path.cloned(), other.cloned());
        self.running.push(Footprint { place, path, other, changes: work.changes() });
        Some((place, work))
    }

    fn may_start(&self, n: usize) -> bool {
        let Some(work) = self.waiting.get(n) else { return false };
        // A CLOSE waits for nothing that runs: it runs already.
        let is_under_way = matches!(work, PathWork::Closing { .. });
        (is_under_way || !self.running.iter().any(|running| running.matters_to(work)))
            && !self.waiting.iter().take(n).any(|before| before.matters_to(work))
    }

    /// The request at this place runs no more.
    pub(super) fn done(&mut self, place: u64) {
        self.running.retain(|running| running.place != place);
        self.all_must_wait = false;
    }

    /// Drops what nobody waits for any more.
    pub(super) fn client_has_gone(&mut self) {
        self.waiting.retain(PathWork::outlives_the_client);
        self.all_must_wait = false;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Footprint {
    fn matters_to(&self, work: &PathWork) -> bool {
        (self.changes || work.changes()) && meet((self.path.as_ref(), self.other.as_ref()), work.paths())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::sftp::request::{Call, Packet, Request};
    use crate::sftp::tests::{payload, string};

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
        let mut schedule = Schedule::default();
        schedule.push(first);
        let (place, _) = schedule.next().unwrap();
        schedule.push(second);
        let allowed = schedule.next().is_some();
        schedule.done(place);
        assert!(allowed || schedule.next().is_some(), "nothing runs any more");
        allowed
    }

    fn job(request: Request) -> PathWork {
        let hold = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let Request { id, kind, call: Call::Path(call) } = request else { panic!("{request:?}") };
        PathWork::Job(PathJob { id, hold, kind, call, after: Vec::new() })
    }

    fn closing(text: &str) -> PathWork {
        let path = LogicalPath::parse_str(text).unwrap();
        PathWork::Closing { path, closed: oneshot::channel().1 }
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

    /// The ids of what runs after `requests` were pushed.
    fn started(schedule: &mut Schedule) -> Vec<(u64, u32)> {
        let jobs = std::iter::from_fn(|| schedule.next());
        jobs.filter_map(|(place, work)| match work {
            PathWork::Job(job) => Some((place, job.id)),
            PathWork::Closing { .. } => None,
        })
        .collect()
    }

    #[test]
    fn what_waits_holds_up_only_those_that_it_matters_to() {
        let mut schedule = Schedule::default();
        let mut push = |id: u32, request: Request| schedule.push(job(Request { id, ..request }));
        push(1, remove("/a"));
        push(2, rename("/a", "/b"));
        push(3, stat("/b"));
        push(4, stat("/c"));
        push(5, stat("/a"));
        push(6, make_directory("/c"));
        let first = started(&mut schedule);
        assert_eq!(first.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [1, 4]);
        schedule.done(first[1].0);
        assert_eq!(started(&mut schedule).iter().map(|(_, id)| *id).collect::<Vec<_>>(), [6]);
        schedule.done(first[0].0);
        let second = started(&mut schedule);
        assert_eq!(second.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [2]);
        schedule.done(second[0].0);
        assert_eq!(started(&mut schedule).iter().map(|(_, id)| *id).collect::<Vec<_>>(), [3, 5]);
        assert!(schedule.is_empty());
    }

    #[test]
    fn a_close_does_not_pass_what_was_asked_before_it() {
        let mut schedule = Schedule::default();
        schedule.push(job(make_directory("/d")));
        schedule.push(job(rename("/d/x", "/d/y")));
        schedule.push(closing("/d/x"));
        schedule.push(job(stat("/d/x")));
        let (place, _) = schedule.next().unwrap();
        assert!(schedule.next().is_none());
        schedule.done(place);
        let (place, _) = schedule.next().unwrap();
        let (closing, work) = schedule.next().unwrap();
        assert!(matches!(work, PathWork::Closing { .. }), "what runs does not stop it: it runs itself");
        schedule.done(place);
        assert!(schedule.next().is_none(), "the STAT waits for the CLOSE");
        schedule.done(closing);
        assert!(schedule.next().is_some());
    }

    #[test]
    fn only_so_many_are_looked_at() {
        let mut schedule = Schedule::default();
        schedule.push(job(remove("/a")));
        for _ in 0..LOOK_AHEAD {
            schedule.push(job(stat("/a")));
        }
        schedule.push(job(stat("/b")));
        let (place, _) = schedule.next().unwrap();
        assert!(schedule.next().is_none());
        schedule.done(place);
        assert_eq!(started(&mut schedule).len(), LOOK_AHEAD + 1);
    }
}
