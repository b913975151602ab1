//! The bounded queue between those who record and the task that writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::Unrecorded;
use super::chain::Position;
use super::line::Draft;
use super::own_room::OwnRoom;
use super::stamp::Stamper;

/// Bytes of lines of [`Share::Trail`] that may wait or be under way, and the most that one batch has.
pub(super) const MAX_BYTES: u32 = 8 * 1024 * 1024;
/// Events of [`Share::Trail`] that may wait or be under way.
pub(super) const MAX_EVENTS: u32 = 4096;
/// What the smallest event takes of its share, so that one count bounds both.
pub(super) const MIN_COST: u32 = MAX_BYTES / MAX_EVENTS;

/// Bytes of lines of one connection for which there is room whatever others do: 32 small events, less than a connection takes by itself.
pub(super) const OWN_BYTES: u32 = 32 * MIN_COST;

/// Bytes of [`Share::Operations`] that one user's operations may take, over all connections, also those on which a store hangs.
pub(super) const USER_BYTES: u32 = Share::Operations.size() / 4;

/// How many shares there are.
const SHARES: usize = 5;

/// What a waiter is told.
pub(super) type Answer = Result<(), Unrecorded>;

/// Whose room a line takes: one share that is full makes nobody wait for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Logins, ends of sessions, checkpoints: what is recorded as it happens.
    Trail,
    /// Operations, for which room is taken before they begin: so many may run at once, also on a store that does not answer.
    Operations,
    /// What happens before a login, which anybody can cause.
    Strangers,
    /// Calls of the admin door by nobody who was recognised.
    Door,
    /// The little that each connection has for itself ([`OwnRoom`]), so that no other's operations, which a store may keep waiting
    /// for ever, stop it.
    Connections,
}

impl Share {
    /// In the order in which they end.
    const ALL: [Share; SHARES] = [Share::Strangers, Share::Door, Share::Operations, Share::Connections, Share::Trail];

    /// Its bytes. [`Share::Connections`] is bounded by how many there are, long before this.
    pub(super) const fn size(self) -> u32 {
        match self {
            Share::Trail => MAX_BYTES,
            Share::Operations => 4 * MAX_BYTES,
            Share::Strangers | Share::Door => MAX_BYTES / 8,
            Share::Connections => 128 * MAX_BYTES,
        }
    }

    /// The bytes of all but [`Share::Connections`].
    pub(super) const fn total() -> u32 {
        Share::Trail.size() + Share::Operations.size() + Share::Strangers.size() + Share::Door.size()
    }
}

/// Lines wait here until the writer takes them, batch by batch.
#[derive(Debug)]
pub(super) struct Queue {
    rooms: [Arc<Semaphore>; SHARES],
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Batches to which nothing is added any more.
    closed: VecDeque<Batch>,
    batch: Batch,
    stamper: Stamper,
    last: Position,
    /// The number of the last checkpoint, and when it was made.
    checkpoint: Option<(u64, SystemTime)>,
    /// What lines took beyond each share; paid from what is given back.
    debts: [usize; SHARES],
    finished: bool,
}

impl Waiting {
    fn has_lines(&self) -> bool {
        !self.closed.is_empty() || !self.batch.waiters.is_empty()
    }
}

/// Lines in the order of their ids, and who waits for each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// One for each line.
    pub(super) waiters: Vec<oneshot::Sender<Answer>>,
    /// When each line was queued.
    pub(super) queued: Vec<Instant>,
    /// The place of the last line in the chain.
    pub(super) last: Position,
    /// The checkpoints among the lines.
    pub(super) checkpoints: Vec<Vec<u8>>,
    /// The sink that begins a new file after the last line, by its number.
    pub(super) rotates: Option<usize>,
    /// What its lines take of each share.
    costs: [usize; SHARES],
    /// What its lines take of what connections have for themselves, and of the parts of users.
    parts: Vec<OwnedSemaphorePermit>,
}

impl Batch {
    /// The number of the last line, when this sink begins a new file after it.
    pub(super) fn rotates_of(&self, sink: usize) -> Option<u64> {
        self.rotates.filter(|rotates| *rotates == sink).map(|_| self.last.sequence)
    }
}

impl Queue {
    /// An empty queue, whose first line comes after `last`.
    pub(super) fn new(last: Position) -> Arc<Self> {
        let waiting = Waiting { last, ..Waiting::default() };
        let room = |share: Share| Arc::new(Semaphore::new(share.size() as usize));
        let rooms = [Share::Trail, Share::Operations, Share::Strangers, Share::Door, Share::Connections].map(room);
        Arc::new(Queue { rooms, waiting: Mutex::new(waiting), wake: Notify::new() })
    }

    /// Whether the last line, if there is one, is a checkpoint.
    pub(super) fn ends_in_checkpoint(&self) -> bool {
        let waiting = self.lock();
        waiting.last.sequence == waiting.checkpoint.map_or(0, |(number, _)| number)
    }

    /// The place of the last line, and the last checkpoint of this process with its time.
    pub(super) fn last(&self) -> (Position, Option<(u64, SystemTime)>) {
        let waiting = self.lock();
        (waiting.last, waiting.checkpoint)
    }

    /// Waits for room of `cost` bytes, in the order of the calls; `None` after [`Queue::drain`].
    pub(super) async fn room_for(self: &Arc<Self>, share: Share, cost: u32) -> Option<Room> {
        let permit = self.room(share).clone().acquire_many_owned(bounded(share, cost)).await.ok()?;
        Some(Room { queue: Arc::clone(self), share, permit: Some(permit), part: None })
    }

    /// As [`Queue::room_for`], for an operation of a connection: of its user's part of the room of all operations, or else of its own.
    pub(super) async fn room_of(self: &Arc<Self>, own: &OwnRoom, cost: u32) -> Option<Room> {
        tokio::select! {
            biased;
            room = self.room_within(&own.user, USER_BYTES, Share::Operations, cost) => room,
            room = self.room_within(&own.own, OWN_BYTES, Share::Connections, cost) => room,
        }
    }

    /// Room of a share that counts against a part of it as well, of which there are so many bytes.
    async fn room_within(self: &Arc<Self>, part: &Arc<Semaphore>, bytes: u32, share: Share, cost: u32) -> Option<Room> {
        let cost = cost.clamp(MIN_COST, bytes);
        // Nobody closes it.
        let permit = Arc::clone(part).acquire_many_owned(cost).await.ok()?;
        let mut room = self.room_for(share, cost).await?;
        room.part = Some(permit);
        Some(room)
    }

    /// As [`Queue::room_of`], if there is room and nobody waits for it.
    pub(super) fn room_of_now(self: &Arc<Self>, own: &OwnRoom, cost: u32) -> Option<Room> {
        let within = |part: &Arc<Semaphore>, bytes: u32, share: Share| {
            let permit = Arc::clone(part).try_acquire_many_owned(cost.clamp(MIN_COST, bytes)).ok()?;
            let mut room = self.room_now(share, cost)?;
            room.part = Some(permit);
            Some(room)
        };
        let of_all = within(&own.user, USER_BYTES, Share::Operations);
        of_all.or_else(|| within(&own.own, OWN_BYTES, Share::Connections))
    }

    /// Room, if there is some and nobody waits for it.
    pub(super) fn room_now(self: &Arc<Self>, share: Share, cost: u32) -> Option<Room> {
        let permit = self.room(share).clone().try_acquire_many_owned(bounded(share, cost)).ok()?;
        Some(Room { queue: Arc::clone(self), share, permit: Some(permit), part: None })
    }

    /// Room beyond the share, for what happened already: nobody finds room there before it is paid back.
    pub(super) fn room_beyond(self: &Arc<Self>, share: Share) -> Room {
        Room { queue: Arc::clone(self), share, permit: None, part: None }
    }

    /// Waits until there are lines; false when the queue is finished and empty.
    pub(super) async fn has_lines(&self) -> bool {
        loop {
            {
                let waiting = self.lock();
                if waiting.has_lines() {
                    return true;
                }
                if waiting.finished {
                    return false;
                }
            }
            self.wake.notified().await;
        }
    }

    /// The next batch: everything that waits, up to where a file ends and up to [`MAX_BYTES`]. Whoever takes it has the turn
    /// to write, so that batches are written in their order.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        waiting.closed.pop_front().or_else(|| waiting.has_lines().then(|| std::mem::take(&mut waiting.batch)))
    }

    /// As [`Queue::take`], unless the batch has a checkpoint or ends a file: that takes its time.
    pub(super) fn take_plain(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let is_plain = waiting.closed.is_empty() && waiting.has_lines() && waiting.batch.checkpoints.is_empty();
        is_plain.then(|| std::mem::take(&mut waiting.batch))
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        !self.lock().has_lines()
    }

    /// Lets [`Queue::has_lines`] look again.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The next batch, as a writer that is the only one takes it; `None` at the end.
    #[cfg(test)]
    pub(super) async fn next(&self) -> Option<Batch> {
        if self.has_lines().await { self.take() } else { None }
    }

    /// Answers everyone who waits for the batch and gives its room back.
    pub(super) fn answer(&self, batch: Batch, answer: &Answer) {
        for waiter in batch.waiters {
            // A waiter that went away does not need its answer.
            let _ = waiter.send(answer.clone());
        }
        for share in Share::ALL {
            self.give_back(share, batch.costs[share as usize]);
        }
        drop(batch.parts);
    }

    /// Room that is free again: pays what was taken beyond the share first.
    fn give_back(&self, share: Share, cost: usize) {
        let left = {
            let debt = &mut self.lock().debts[share as usize];
            let paid = cost.min(*debt);
            *debt -= paid;
            cost - paid
        };
        self.room(share).add_permits(left);
    }

    /// Waits until all that was queued, waited for room or had taken it before this call is answered; from then on there is no
    /// room but what this returns, for a last line.
    pub(super) async fn drain(self: &Arc<Self>) -> Option<Room> {
        let mut last = None;
        for share in Share::ALL {
            last = Some(self.drain_share(share).await?);
        }
        last
    }

    async fn drain_share(self: &Arc<Self>, share: Share) -> Option<Room> {
        loop {
            // The semaphore is fair: all of the room is free only after those who came before.
            let room = self.room_for(share, share.size()).await?;
            let debt = {
                let mut waiting = self.lock();
                let debt = &mut waiting.debts[share as usize];
                if *debt == 0 {
                    self.room(share).close();
                    return Some(room);
                }
                std::mem::take(debt)
            };
            // Lines are under way that found no room: theirs is a part of this, which comes back when they are answered.
            room.lend(debt);
        }
    }

    /// No line comes any more: [`Queue::next`] ends when the rest is taken.
    pub(super) fn finish(&self) {
        self.rooms.iter().for_each(|room| room.close());
        self.lock().finished = true;
        self.wake.notify_one();
    }

    /// Bytes that nobody holds and no line takes.
    #[cfg(test)]
    pub(super) fn free(&self, share: Share) -> usize {
        self.room(share).available_permits() - self.lock().debts[share as usize]
    }

    fn room(&self, share: Share) -> &Arc<Semaphore> {
        &self.rooms[share as usize]
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line takes of its share.
pub(super) fn cost(draft: &Draft) -> u32 {
    u32::try_from(draft.len()).unwrap_or(MAX_BYTES)
}

fn bounded(share: Share, cost: u32) -> u32 {
    cost.clamp(MIN_COST, share.size())
}

/// Room for one line. Dropped without one, it is given back.
#[derive(Debug)]
pub(super) struct Room {
    queue: Arc<Queue>,
    share: Share,
    permit: Option<OwnedSemaphorePermit>,
    /// What it takes of what its connection has for itself, or of its user's part: until its line is written.
    part: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Stamps the line, puts it in its place in the chain and queues it, in one step: the order of the lines is the order of
    /// their ids and of their numbers. The receiver gets the answer when the line is written or could not be; it is told so when
    /// it is dropped, too: the line stays.
    pub(super) fn fill(self, draft: Draft) -> oneshot::Receiver<Answer> {
        let queue = Arc::clone(&self.queue);
        let answer = self.fill_quietly(draft);
        queue.wake();
        answer
    }

    /// As [`Room::fill`], but wakes nobody: who calls this sees to it that the line is written, or calls [`Queue::wake`].
    pub(super) fn fill_quietly(self, draft: Draft) -> oneshot::Receiver<Answer> {
        self.put(draft, None, false)
    }

    /// As [`Room::fill`]; after this line a sink begins a new file.
    pub(super) fn fill_and_rotate(self, draft: Draft, sink: usize) -> oneshot::Receiver<Answer> {
        let queue = Arc::clone(&self.queue);
        let answer = self.put(draft, Some(sink), false);
        queue.wake();
        answer
    }

    /// As [`Room::fill`]; no line comes after this one.
    pub(super) fn fill_last(self, draft: Draft) -> oneshot::Receiver<Answer> {
        let queue = Arc::clone(&self.queue);
        let answer = self.put(draft, None, true);
        queue.wake();
        answer
    }

    fn put(mut self, draft: Draft, rotates: Option<usize>, is_last: bool) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = oneshot::channel();
        let (queue, share) = (Arc::clone(&self.queue), self.share as usize);
        let real = bounded(self.share, cost(&draft)) as usize;
        {
            let mut guard = queue.lock();
            let waiting = &mut *guard;
            if waiting.finished {
                // Nobody would take it. The waiter is dropped, and the receiver says so.
                tracing::error!("an event came after the end of the trail and is not recorded");
                return answer;
            }
            waiting.finished = is_last;
            waiting.debts[share] += self.spend(real);
            if !waiting.batch.waiters.is_empty() && waiting.batch.lines.len() + draft.len() > MAX_BYTES as usize {
                waiting.closed.push_back(std::mem::take(&mut waiting.batch));
            }
            let stamp = waiting.stamper.next(SystemTime::now());
            let (batch, is_checkpoint) = (&mut waiting.batch, draft.is_checkpoint());
            let begin = batch.lines.len();
            waiting.last = draft.seal_into(&mut batch.lines, &stamp, waiting.last);
            batch.waiters.push(waiter);
            batch.queued.push(Instant::now());
            batch.costs[share] += real;
            batch.parts.extend(self.part.take());
            batch.last = waiting.last;
            if is_checkpoint {
                batch.checkpoints.push(batch.lines[begin..].to_vec());
                waiting.checkpoint = Some((waiting.last.sequence, SystemTime::now()));
            }
            if rotates.is_some() {
                batch.rotates = rotates;
                waiting.closed.push_back(std::mem::take(&mut waiting.batch));
            }
        }
        answer
    }

    /// Takes `real` for a line, which [`Queue::answer`] gives back: of what is held here, then of what is free. What is missing is
    /// the debt; what is left goes back when this is dropped.
    fn spend(&mut self, real: usize) -> usize {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits).min(real);
        if let Some(spent) = self.permit.as_mut().and_then(|permit| permit.split(held)) {
            spent.forget();
        }
        real - held - self.queue.room(self.share).forget_permits(real - held)
    }

    /// Gives away so much of what is held, to come back by another way, and the rest back.
    fn lend(mut self, cost: usize) {
        let missing = self.spend(cost);
        self.queue.lock().debts[self.share as usize] += missing;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let cost = permit.num_permits();
            permit.forget();
            self.queue.give_back(self.share, cost);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::line::LineWriter;
    use crate::audit::own_room::Users;

    /// Operations whose store does not answer hold all that there is.
    #[tokio::test]
    async fn a_connection_has_room_whatever_others_hold() {
        let queue = Queue::new(Position::START);
        let (hung, other) = (OwnRoom::default(), OwnRoom::default());
        let held = queue.room_for(Share::Operations, u32::MAX).await.unwrap();
        let now =
            async |own| tokio::time::timeout(Duration::from_millis(20), queue.room_of(own, 1)).await.ok().flatten();
        let mut rooms = Vec::new();
        for own in [&hung, &other] {
            for _ in 0..OWN_BYTES / MIN_COST {
                rooms.push(now(own).await.expect("room of its own"));
            }
            assert!(now(own).await.is_none(), "its own room has a bound");
        }
        // A line keeps it until it is written; room that is given back is there at once.
        let answer = rooms.pop().unwrap().fill(draft(100));
        assert!(now(&other).await.is_none());
        drop(rooms.pop());
        rooms.push(now(&other).await.unwrap());
        let batch = queue.next().await.unwrap();
        queue.answer(batch, &Ok(()));
        answer.await.unwrap().unwrap();
        rooms.push(now(&other).await.unwrap());
        // The end waits for all of them.
        let mut end = std::pin::pin!(queue.drain());
        let waits =
            async |end: std::pin::Pin<&mut _>| tokio::time::timeout(Duration::from_millis(20), end).await.is_err();
        drop(held);
        assert!(waits(end.as_mut()).await);
        rooms.truncate(1);
        assert!(waits(end.as_mut()).await);
        rooms.clear();
        assert!(end.await.is_some());
        assert!(queue.room_of(&OwnRoom::default(), 1).await.is_none(), "there is none after the end");
    }

    /// All connections of one user together hold a part of what all share, and then only what each has for itself.
    #[tokio::test]
    async fn a_user_takes_a_part_of_the_room_that_all_share() {
        let (queue, users) = (Queue::new(Position::START), Users::default());
        let name = |name: &str| Arc::<str>::from(name);
        let connections: Vec<OwnRoom> = (0..4).map(|_| users.connect(&name("hung"))).collect();
        let now =
            async |own| tokio::time::timeout(Duration::from_millis(20), queue.room_of(own, 1)).await.ok().flatten();
        let mut held = Vec::new();
        for own in connections.iter().cycle() {
            let room = now(own).await.unwrap();
            if room.share == Share::Connections {
                break;
            }
            held.push(room);
        }
        assert_eq!(held.len(), (USER_BYTES / MIN_COST) as usize);
        let other = users.connect(&name("other"));
        assert_eq!(now(&other).await.unwrap().share, Share::Operations, "others have their part");
        // A line keeps it until it is written.
        let answer = held.pop().unwrap().fill(draft(100));
        assert_eq!(now(&connections[0]).await.unwrap().share, Share::Connections);
        let batch = queue.next().await.unwrap();
        queue.answer(batch, &Ok(()));
        answer.await.unwrap().unwrap();
        assert_eq!(now(&connections[0]).await.unwrap().share, Share::Operations);
    }

    #[test]
    fn users_who_are_gone_are_forgotten() {
        let users = Users::default();
        let stays = users.connect(&Arc::from("stays"));
        for number in 0..10_000 {
            drop(users.connect(&Arc::from(format!("user {number}"))));
        }
        let known = users.0.lock().unwrap();
        assert!(known.len() < 100, "{}", known.len());
        assert!(Arc::ptr_eq(&known["stays"].upgrade().unwrap(), &stays.user));
    }

    fn draft(length: usize) -> Draft {
        let mut line = LineWriter::new();
        line.bounded("x", &"x".repeat(length), length);
        line.stamp();
        line.finish()
    }

    async fn room(queue: &Arc<Queue>, draft: &Draft) -> Room {
        queue.room_for(Share::Trail, cost(draft)).await.unwrap()
    }

    async fn has_room(queue: &Arc<Queue>, draft: &Draft) -> bool {
        tokio::time::timeout(Duration::from_millis(20), room(queue, draft)).await.is_ok()
    }

    #[tokio::test]
    async fn events_are_bounded_by_number() {
        let (queue, small) = (Queue::new(Position::START), draft(100));
        let mut answers = Vec::new();
        for _ in 0..MAX_EVENTS {
            answers.push(room(&queue, &small).await.fill(draft(100)));
        }
        assert!(!has_room(&queue, &small).await);
        let batch = queue.next().await.unwrap();
        assert_eq!(batch.waiters.len(), MAX_EVENTS as usize);
        assert!(!has_room(&queue, &small).await, "what is under way takes room too");
        queue.answer(batch, &Ok(()));
        assert!(has_room(&queue, &small).await);
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn events_are_bounded_by_bytes() {
        let (queue, large) = (Queue::new(Position::START), draft(1024 * 1024));
        for _ in 0..7 {
            drop(room(&queue, &large).await.fill(draft(1024 * 1024)));
        }
        assert!(!has_room(&queue, &large).await);
        assert!(queue.next().await.unwrap().lines.len() <= MAX_BYTES as usize);
    }

    #[tokio::test]
    async fn room_that_is_not_used_does_not_exist_after_the_end() {
        let queue = Queue::new(Position::START);
        queue.drain().await;
        queue.finish();
        assert!(queue.room_for(Share::Trail, 1).await.is_none());
        assert!(queue.next().await.is_none());
    }
}
