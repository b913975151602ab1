//! The queue and the ledger of the trail, step by step: whoever is next is the test's choice, all orders of a few actors and many
//! of more. Actors are polled only when something woke them, so that a wake-up that is missing shows as a standstill.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::audit::Unrecorded;
use crate::audit::chain::{Hash, Position};
use crate::audit::checkpoint::Reason;
use crate::audit::encode::Identity;
use crate::audit::keeper::Notary;
use crate::audit::ledger::Opening;
use crate::audit::line::{Draft, LineWriter};
use crate::audit::queue::{MIN_COST, Queue, Share};
use crate::audit::signer::Signer;

/// Decides what is next: one order after the other, or orders by chance.
enum Chooser {
    All { path: Vec<(usize, usize)>, at: usize },
    Some { state: u64 },
}

impl Chooser {
    fn choose(&mut self, among: usize) -> usize {
        match self {
            Chooser::All { path, at } => {
                if *at == path.len() {
                    path.push((0, among));
                }
                *at += 1;
                path[*at - 1].0
            }
            Chooser::Some { state } => {
                // xorshift64
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                usize::try_from(*state % among as u64).unwrap()
            }
        }
    }

    /// The next order; false after the last.
    fn advance(&mut self) -> bool {
        let Chooser::All { path, at } = self else { return true };
        *at = 0;
        while let Some((chosen, among)) = path.pop() {
            if chosen + 1 < among {
                path.push((chosen + 1, among));
                return true;
            }
        }
        false
    }
}

/// Whether something woke an actor since it was polled.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Actor {
    work: Work,
    woken: Arc<Woken>,
    /// Whether its client may go away.
    may_vanish: bool,
}

/// Lets others go first.
async fn step() {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn draft(name: &str) -> Draft {
    let mut line = LineWriter::new();
    line.text("x", name);
    line.stamp();
    line.finish()
}

/// What came about in one order.
#[derive(Default)]
struct Seen {
    /// Lines that were queued, in their order.
    filled: Vec<String>,
    /// Lines that came when the trail had ended.
    too_late: usize,
    written: Vec<u8>,
    /// Lines of which it was told what became of them.
    answered: usize,
    /// Whether the last line is written and everybody has everything.
    is_complete: bool,
    /// How far everything is acknowledged.
    acknowledged: u64,
}

struct World {
    notary: Notary,
    seen: Rc<RefCell<Seen>>,
    actors: Vec<Actor>,
}

impl World {
    fn new() -> World {
        let identity = Identity { server: "edge-1".into(), resource_arn: "arn".into() };
        let ledger = Opening::fleeting().ledger;
        let notary = Notary::new(identity, Queue::new(Position::START), ledger, Signer::default());
        World { notary, seen: Rc::default(), actors: Vec::new() }
    }

    fn act(&mut self, may_vanish: bool, work: impl Future<Output = ()> + 'static) {
        self.actors.push(Actor { work: Box::pin(work), woken: Arc::new(Woken(AtomicBool::new(true))), may_vanish });
    }

    /// Room before the deed, all that there is of it; the deed; its record.
    fn operation(&mut self, name: &'static str, may_vanish: bool) {
        let (queue, seen) = (self.notary.queue.clone(), self.seen.clone());
        self.act(may_vanish, async move {
            let Some(room) = queue.room_for(Share::Operations, Share::Operations.size()).await else { return };
            // The deed takes its time, and its client may vanish meanwhile: then it is recorded where it is dropped.
            let mut pending = Pending { room: Some(room), name, seen: seen.clone() };
            step().await;
            if let Some(answer) = pending.fill() {
                let number = seen.borrow().filled.len() as u64;
                let is_recorded = matches!(answer.await, Ok(Ok(())));
                assert!(!is_recorded || seen.borrow().acknowledged >= number, "{name}: told before it was noted");
            }
        });
    }

    /// Something that happened already.
    fn late(&mut self, share: Share) {
        let (queue, seen) = (self.notary.queue.clone(), self.seen.clone());
        self.act(false, async move {
            step().await;
            note(&seen, "late", queue.room_beyond(share).fill(draft("late")));
        });
    }

    /// Somebody of whom it is told only if there is room.
    fn stranger(&mut self) {
        let (queue, seen) = (self.notary.queue.clone(), self.seen.clone());
        self.act(false, async move {
            for _ in 0..2 {
                if let Some(room) = queue.room_now(Share::Strangers, Share::Strangers.size()) {
                    note(&seen, "stranger", room.fill(draft("stranger")));
                }
                step().await;
            }
        });
    }

    /// As the recorder's writer, which others overtake so often in each batch; `fails` one of its batches.
    fn writer(&mut self, fails: bool, overtaken: usize) {
        let (Notary { queue, ledger, .. }, seen) = (self.notary.clone(), self.seen.clone());
        self.act(false, async move {
            let mut number = 0;
            let pause = async |place: usize| {
                if place < overtaken {
                    step().await;
                }
            };
            while let Some(mut batch) = queue.next().await {
                pause(1).await;
                ledger.issue(batch.last, !batch.checkpoints.is_empty()).unwrap();
                pause(2).await;
                seen.borrow_mut().written.extend(std::mem::take(&mut batch.lines));
                number += 1;
                let answer = match fails && number == 1 {
                    true => Err(Unrecorded("the sink fails".into())),
                    false => Ok(()),
                };
                pause(0).await;
                if answer.is_ok() {
                    ledger.acknowledge(batch.last).unwrap();
                    seen.borrow_mut().acknowledged = batch.last.sequence;
                }
                let waiters = batch.waiters.len();
                queue.answer(batch, &answer);
                seen.borrow_mut().answered += waiters;
            }
        });
    }

    /// As the recorder's end.
    fn closer(&mut self) {
        let (notary, seen) = (self.notary.clone(), self.seen.clone());
        self.act(false, async move {
            step().await;
            let before = seen.borrow().filled.len();
            let Some(room) = notary.queue.drain().await else { return };
            assert!(seen.borrow().answered >= before, "the sinks are closed next");
            step().await;
            let last = notary.fill(room, Reason::Shutdown, None);
            seen.borrow_mut().filled.push("shutdown".into());
            let complete = matches!(last.await, Ok(Ok(())));
            notary.ledger.end(complete);
            seen.borrow_mut().is_complete = complete;
            notary.queue.finish();
        });
    }

    /// One order, to its end.
    fn run(mut self, chooser: &mut Chooser) {
        let mut trace = Vec::new();
        while !self.actors.is_empty() {
            let ready: Vec<usize> =
                (0..self.actors.len()).filter(|i| self.actors[*i].woken.0.load(Ordering::SeqCst)).collect();
            let vanish: Vec<usize> = (0..self.actors.len()).filter(|i| self.actors[*i].may_vanish).collect();
            assert!(!ready.is_empty(), "a standstill after {trace:?}");
            let choice = chooser.choose(ready.len() + vanish.len());
            trace.push(choice);
            if let Some(gone) = choice.checked_sub(ready.len()) {
                drop(self.actors.remove(vanish[gone]));
            } else {
                let actor = &mut self.actors[ready[choice]];
                actor.woken.0.store(false, Ordering::SeqCst);
                let waker = Waker::from(Arc::clone(&actor.woken));
                if actor.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    drop(self.actors.remove(ready[choice]));
                }
            }
            // Killed here, the next start could go on.
            let state = self.notary.ledger.state();
            assert!(state.acknowledged.sequence <= state.issued.sequence, "after {trace:?}");
            let written = self.seen.borrow().written.iter().filter(|byte| **byte == b'\n').count() as u64;
            assert!(written <= state.issued.sequence, "{written} lines are out, after {trace:?}");
        }
        self.judge(&trace);
    }

    fn judge(&self, trace: &[usize]) {
        let seen = self.seen.borrow();
        let text = std::str::from_utf8(&seen.written).unwrap();
        let mut last = Position::START;
        let mut names = Vec::new();
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["sequence"], last.sequence + 1, "after {trace:?}");
            assert_eq!(event["previous"], last.hash.to_string(), "after {trace:?}");
            last = Position { sequence: last.sequence + 1, hash: Hash::of_line(line.as_bytes()) };
            names.push(event["x"].as_str().unwrap_or("shutdown").to_owned());
        }
        assert_eq!(names, seen.filled, "what was queued is written once, in its order: after {trace:?}");
        assert_eq!(names.last().map(String::as_str), Some("shutdown"), "after {trace:?}");
        let state = self.notary.ledger.state();
        assert_eq!(state.issued.sequence, names.len() as u64, "after {trace:?}");
        assert_eq!(state.clean, seen.is_complete, "after {trace:?}");
        for share in [Share::Operations, Share::Strangers] {
            assert_eq!(self.notary.queue.free(share), share.size() as usize, "{share:?}, after {trace:?}");
        }
    }
}

/// As [`crate::session`]'s operations between their beginning and their record.
struct Pending {
    room: Option<crate::audit::queue::Room>,
    name: &'static str,
    seen: Rc<RefCell<Seen>>,
}

impl Pending {
    fn fill(&mut self) -> Option<tokio::sync::oneshot::Receiver<crate::audit::queue::Answer>> {
        let answer = self.room.take()?.fill(draft(self.name));
        self.seen.borrow_mut().filled.push(self.name.into());
        Some(answer)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        drop(self.fill());
    }
}

/// Whether a line was taken or came too late.
fn note(seen: &Rc<RefCell<Seen>>, name: &str, mut answer: tokio::sync::oneshot::Receiver<crate::audit::queue::Answer>) {
    use tokio::sync::oneshot::error::TryRecvError;
    match answer.try_recv() {
        Err(TryRecvError::Closed) => seen.borrow_mut().too_late += 1,
        _ => seen.borrow_mut().filled.push(name.into()),
    }
}

fn all_orders(most: usize, make: impl Fn() -> World) -> usize {
    let mut chooser = Chooser::All { path: Vec::new(), at: 0 };
    for done in 1..=most {
        make().run(&mut chooser);
        if !chooser.advance() {
            return done;
        }
    }
    panic!("more than {most} orders");
}

fn some_orders(count: u64, make: impl Fn() -> World) {
    for seed in 1..=count {
        make().run(&mut Chooser::Some { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) });
    }
}

#[test]
fn an_operation_and_the_end_in_every_order() {
    let orders = all_orders(2_000_000, || {
        let mut world = World::new();
        world.operation("a", true);
        world.writer(false, 1);
        world.closer();
        world
    });
    assert!(orders > 100, "{orders}");
}

#[test]
fn what_came_late_and_the_end_in_every_order() {
    let orders = all_orders(2_000_000, || {
        let mut world = World::new();
        world.late(Share::Operations);
        world.writer(true, 2);
        world.closer();
        world
    });
    assert!(orders > 100, "{orders}");
}

#[test]
fn many_at_once_in_many_orders() {
    for fails in [false, true] {
        some_orders(8_000, || {
            let mut world = World::new();
            world.operation("a", true);
            world.operation("b", true);
            world.operation("c", false);
            world.late(Share::Operations);
            world.late(Share::Strangers);
            world.stranger();
            world.writer(fails, 3);
            world.closer();
            world
        });
    }
}

#[test]
fn a_share_that_is_full_makes_no_other_wait() {
    let queue = Queue::new(Position::START);
    let full = queue.room_now(Share::Operations, u32::MAX).unwrap();
    assert!(queue.room_now(Share::Operations, MIN_COST).is_none());
    assert!(queue.room_now(Share::Trail, MIN_COST).is_some() && queue.room_now(Share::Strangers, MIN_COST).is_some());
    // What goes beyond it is paid before anybody else finds room.
    drop(queue.room_beyond(Share::Operations).fill(draft("late")));
    drop(full);
    assert_eq!(queue.free(Share::Operations), (Share::Operations.size() - MIN_COST) as usize);
    assert!(queue.room_now(Share::Operations, Share::Operations.size()).is_none());
}

#[tokio::test]
async fn the_end_waits_for_a_line_that_found_no_room_even_if_who_had_it_vanished() {
    let queue = Queue::new(Position::START);
    let all = queue.room_now(Share::Operations, u32::MAX).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut next = std::pin::pin!(queue.room_for(Share::Operations, u32::MAX));
        assert!(next.as_mut().poll(&mut cx).is_pending());
        // It has the room now, and does not know it yet.
        drop(all);
        drop(queue.room_beyond(Share::Operations).fill(draft("late")));
    }
    let mut end = std::pin::pin!(queue.drain());
    for _ in 0..3 {
        assert!(end.as_mut().poll(&mut cx).is_pending(), "the line is not written yet");
    }
    let batch = queue.next().await.unwrap();
    queue.answer(batch, &Ok(()));
    assert!(matches!(end.as_mut().poll(&mut cx), Poll::Ready(Some(_))));
}
