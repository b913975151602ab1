//! The places of those who have not logged in: when they are short, whoever holds most and has shown least makes room for the
//! newcomer.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Source;
use super::marks::Marks;
use super::source::Neighbourhood;

/// A place that has shown nothing new for so long is given to a newcomer of the same address that has no place left.
const STALE: Duration = Duration::from_secs(5);

/// What a mark of its source weighs in the choice of who makes room: more than any one place.
const MARK: u64 = 10;

/// Connections that lost their places and are not gone yet, in multiples of the places: they take memory for a moment.
const MOST_LEAVING: usize = 4;

/// How far a client is. One that is further is on its way to a login, and is not dropped for one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// Its version line.
    Version,
    /// Which algorithms it has (KEXINIT).
    Algorithms,
    /// An attempt to log in.
    Attempt,
}

impl Shown {
    /// What a place weighs in the choice of who makes room.
    fn weight(self) -> u64 {
        match self {
            Shown::Nothing => 8,
            Shown::Version => 6,
            Shown::Algorithms => 3,
            Shown::Attempt => 1,
        }
    }
}

/// Why a connection that has not logged in loses its place, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// Others need it. The client had come so far.
    Crowded(Shown),
    /// Its address was banned meanwhile.
    Banned,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The source has as many as it may, and all of them are under way.
    OfSource,
    /// Those that made room are not gone yet.
    AtAll,
    /// All are taken, and it is the newcomer's own source that would make room next: it did so again and again.
    Crowded,
}

/// All places.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    places: usize,
    of_source: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number; a later one has a higher number.
    seats: HashMap<u64, Occupied>,
    networks: HashMap<Neighbourhood, Network>,
    /// The heaviest network last.
    order: BTreeSet<(u64, Neighbourhood)>,
    marks: Marks,
    next: u64,
    /// Connections that made room and are not gone yet.
    leaving: usize,
}

#[derive(Debug)]
struct Occupied {
    source: Source,
    /// Whether it counts against its source: not while it is a balancer's.
    counts: bool,
    shown: Shown,
    /// Since when it has shown nothing new.
    since: Instant,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Network {
    weight: u64,
    holders: HashMap<Source, Holder>,
}

/// What one source has.
#[derive(Debug, Default)]
struct Holder {
    weight: u64,
    seats: Vec<u64>,
}

/// How the room speaks to a connection.
#[derive(Debug, Default)]
struct Told {
    why: OnceLock<Evicted>,
    notify: Notify,
}

/// A place before the login. It is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    watch: SeatWatch,
}

/// What a connection says about its place, and hears about it.
#[derive(Debug, Clone)]
pub struct SeatWatch {
    room: Arc<WaitingRoom>,
    number: u64,
    told: Arc<Told>,
}

impl WaitingRoom {
    pub(super) fn new(places: usize, of_source: usize) -> WaitingRoom {
        WaitingRoom { places, of_source, state: Mutex::default() }
    }

    /// A place for a connection, and the places of those who make room for it. `counts`: it is the source's own, and not one of a
    /// balancer that has yet to tell whose.
    pub(super) fn enter(self: &Arc<Self>, source: Source, counts: bool, now: Instant) -> Result<Seat, NoPlace> {
        let mut state = self.lock();
        if counts {
            state.make_room_of(source, self.of_source, now)?;
        }
        if state.leaving >= self.places.saturating_mul(MOST_LEAVING) {
            return Err(NoPlace::AtAll);
        }
        while state.seats.len() >= self.places {
            state.drop_one_for(source, counts, now)?;
        }
        let number = state.next;
        state.next += 1;
        let told = Arc::<Told>::default();
        let occupied = Occupied { source, counts, shown: Shown::Nothing, since: now, told: told.clone() };
        state.insert(number, occupied, now);
        drop(state);
        Ok(Seat { watch: SeatWatch { room: Arc::clone(self), number, told } })
    }

    /// A balancer has told whose the place is.
    pub(super) fn settle(&self, seat: &Seat, source: Source, now: Instant) -> Result<(), NoPlace> {
        let mut state = self.lock();
        state.make_room_of(source, self.of_source, now)?;
        // It may have been dropped meanwhile; then its connection hears of it.
        if let Some(occupied) = state.remove(seat.watch.number, now) {
            state.insert(seat.watch.number, Occupied { source, counts: true, since: now, ..occupied }, now);
        }
        Ok(())
    }

    /// Ends the connections of a source that is banned.
    pub(super) fn evict(&self, source: Source, now: Instant) {
        let mut state = self.lock();
        let seats = state.seats_of(source).to_vec();
        for number in seats {
            if state.seats.get(&number).is_some_and(|seat| seat.counts) {
                state.evict(number, Evicted::Banned, now);
            }
        }
    }

    /// A connection of the source took a place for nothing: it is the first to make room next time.
    pub(super) fn mark(&self, source: Source, now: Instant) {
        let mut state = self.lock();
        state.marks.add(source, now);
        state.weigh(source, now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A source that has all its places loses the stalest one, or gets no more.
    fn make_room_of(&mut self, source: Source, limit: usize, now: Instant) -> Result<(), NoPlace> {
        let own = self.seats_of(source).iter().filter_map(|number| Some((self.seats.get(number)?, *number)));
        let own: Vec<_> = own.filter(|(seat, _)| seat.counts).collect();
        if own.len() < limit {
            return Ok(());
        }
        let stale = own.iter().filter(|(seat, _)| now.saturating_duration_since(seat.since) >= STALE);
        let (_, number) = stale.min_by_key(|(seat, number)| (seat.shown, *number)).ok_or(NoPlace::OfSource)?;
        let number = *number;
        self.crowd_out(number, now);
        Ok(())
    }

    /// Drops the place that has shown least, the oldest of these, of the heaviest source of the heaviest network. A newcomer never
    /// makes room itself, unless its source has marks and is heavier than any: it would be the next.
    fn drop_one_for(&mut self, newcomer: Source, counts: bool, now: Instant) -> Result<(), NoPlace> {
        let network = self.order.last().and_then(|(_, network)| self.networks.get(network)).ok_or(NoPlace::AtAll)?;
        let candidates = network.holders.values().filter_map(|holder| {
            let seats = holder.seats.iter().filter_map(|number| Some((self.seats.get(number)?.shown, *number)));
            // Of sources that weigh the same, the one whose place has shown less, and then the older one.
            Some((holder.weight, Reverse(seats.min()?)))
        });
        let (weight, Reverse((_, number))) = candidates.max().ok_or(NoPlace::AtAll)?;
        let marks = if counts { self.marks.of(newcomer, now) } else { 0 };
        if marks > 0 && MARK * marks + Shown::Nothing.weight() > weight {
            return Err(NoPlace::Crowded);
        }
        self.crowd_out(number, now);
        Ok(())
    }

    fn crowd_out(&mut self, number: u64, now: Instant) {
        let Some(seat) = self.seats.get(&number) else { return };
        let (shown, source, marks) = (seat.shown, seat.source, seat.counts && seat.shown < Shown::Attempt);
        if marks {
            self.marks.add(source, now);
        }
        self.evict(number, Evicted::Crowded(shown), now);
    }

    fn evict(&mut self, number: u64, why: Evicted, now: Instant) {
        if let Some(seat) = self.remove(number, now) {
            self.leaving += 1;
            let _ = seat.told.why.set(why);
            seat.told.notify.notify_one();
        }
    }

    fn insert(&mut self, number: u64, seat: Occupied, now: Instant) {
        let source = seat.source;
        self.seats.insert(number, seat);
        let network = self.networks.entry(source.network()).or_default();
        network.holders.entry(source).or_default().seats.push(number);
        self.weigh(source, now);
    }

    fn remove(&mut self, number: u64, now: Instant) -> Option<Occupied> {
        let seat = self.seats.remove(&number)?;
        if let Some(holder) =
            self.networks.get_mut(&seat.source.network()).and_then(|n| n.holders.get_mut(&seat.source))
        {
            holder.seats.retain(|other| *other != number);
        }
        self.weigh(seat.source, now);
        Some(seat)
    }

    fn seats_of(&self, source: Source) -> &[u64] {
        let holder = self.networks.get(&source.network()).and_then(|network| network.holders.get(&source));
        holder.map_or(&[], |holder| &holder.seats)
    }

    /// Brings the weights of a source and its network up to date.
    fn weigh(&mut self, source: Source, now: Instant) {
        let neighbourhood = source.network();
        let Some(network) = self.networks.get_mut(&neighbourhood) else { return };
        let Some(holder) = network.holders.get_mut(&source) else { return };
        let places = holder.seats.iter().filter_map(|number| self.seats.get(number));
        let own = places.clone().any(|seat| seat.counts);
        let marks = if own { self.marks.of(source, now) } else { 0 };
        let weight = places.map(|seat| seat.shown.weight()).sum::<u64>() + MARK * marks;
        let before = network.weight;
        network.weight = before - holder.weight + weight;
        holder.weight = weight;
        if holder.seats.is_empty() {
            network.holders.remove(&source);
        }
        let after = network.weight;
        let is_empty = network.holders.is_empty();
        self.order.remove(&(before, neighbourhood));
        if is_empty {
            self.networks.remove(&neighbourhood);
        } else {
            self.order.insert((after, neighbourhood));
        }
    }
}

impl Seat {
    /// For those who watch over the connection.
    pub fn watch(&self) -> SeatWatch {
        self.watch.clone()
    }

    /// How often a connection's end may be waited for: once at a time.
    pub async fn evicted(&self) -> Evicted {
        self.watch.evicted().await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.watch.room.lock();
        if state.remove(self.watch.number, Instant::now()).is_none() {
            state.leaving = state.leaving.saturating_sub(1);
        }
    }
}

impl SeatWatch {
    /// The client has come so far, or made another attempt.
    pub fn shows(&self, shown: Shown) {
        let mut state = self.room.lock();
        let is_news = |seat: &Occupied| seat.shown < shown || shown == Shown::Attempt;
        let Some(seat) = state.seats.get_mut(&self.number).filter(|seat| is_news(seat)) else { return };
        let now = Instant::now();
        (seat.shown, seat.since) = (shown, now);
        let source = seat.source;
        state.weigh(source, now);
    }

    /// Returns when the connection has lost its place. One may wait at a time.
    pub async fn evicted(&self) -> Evicted {
        loop {
            if let Some(why) = self.told.why.get() {
                return *why;
            }
            self.told.notify.notified().await;
        }
    }

    /// Whether it has lost its place.
    pub fn is_evicted(&self) -> bool {
        self.told.why.get().is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
