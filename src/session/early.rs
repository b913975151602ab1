//! Pieces of files that came before those in front of them, and wait for their digests. All files share one room. When it is full, the
//! user who holds most of it gives way with the file that holds most: whoever needs little keeps what little there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What a piece takes beside its bytes: small ones take more than they hold.
const EACH_PIECE: usize = 128;

/// The most bytes that wait of one file, and of all together, with what each piece takes.
pub(super) const MOST_WAITING: usize = 4 << 20;
const MOST_OF_ALL: usize = 16 << 20;

/// The room of the process.
static ROOM: LazyLock<Arc<Room>> = LazyLock::new(Arc::default);

/// The number of the next file.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Pieces of one file that came early. They do not overlap.
#[derive(Debug)]
pub(super) struct Early {
    room: Arc<Room>,
    owner: Arc<str>,
    id: u64,
    pieces: Arc<Mutex<Pieces>>,
    /// Whether there may be any. Most files never have one, and are not to look.
    waits: bool,
}

#[derive(Debug, Default)]
struct Pieces {
    by_offset: BTreeMap<u64, Bytes>,
    size: usize,
    /// Others needed the room more.
    were_taken: bool,
}

/// Who holds how much.
#[derive(Debug, Default)]
struct Room(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    held: usize,
    owners: HashMap<Arc<str>, Owner>,
}

/// A user with files of which something waits.
#[derive(Debug, Default)]
struct Owner {
    held: usize,
    files: HashMap<u64, (usize, Arc<Mutex<Pieces>>)>,
    by_size: BTreeSet<(usize, u64)>,
}

impl Early {
    /// Of a file of which nothing came yet; `owner` is the user.
    pub(super) fn new(owner: Arc<str>) -> Early {
        Early::within(&ROOM, owner)
    }

    fn within(room: &Arc<Room>, owner: Arc<str>) -> Early {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Early { room: Arc::clone(room), owner, id, pieces: Arc::default(), waits: false }
    }

    /// Whether a piece overlaps one that waits.
    pub(super) fn touches(&self, offset: u64, length: usize) -> bool {
        if !self.waits {
            return false;
        }
        let pieces = lock(&self.pieces);
        let before = pieces.by_offset.range(..offset.saturating_add(length as u64)).next_back();
        before.is_some_and(|(start, piece)| start + piece.len() as u64 > offset)
    }

    /// Where the last piece ends.
    pub(super) fn end(&self) -> u64 {
        if !self.waits {
            return 0;
        }
        let pieces = lock(&self.pieces);
        pieces.by_offset.last_key_value().map_or(0, |(offset, piece)| offset + piece.len() as u64)
    }

    /// Keeps a piece; false when there is no room for it, or what waited had to give way: then the file has a gap for good.
    pub(super) fn add(&mut self, offset: u64, data: &Bytes) -> bool {
        let more = data.len() + EACH_PIECE;
        {
            let pieces = lock(&self.pieces);
            if pieces.by_offset.get(&offset).is_some_and(|piece| piece.len() >= data.len()) {
                return true;
            }
            if pieces.were_taken || pieces.size + more > MOST_WAITING {
                return false;
            }
        }
        self.waits = true;
        self.room.take(self, more);
        let mut pieces = lock(&self.pieces);
        if pieces.were_taken {
            return false;
        }
        // A slice must not keep alive a longer buffer, which nobody counts.
        let replaced = pieces.by_offset.insert(offset, Bytes::copy_from_slice(data));
        let less = replaced.map_or(0, |replaced| replaced.len() + EACH_PIECE);
        pieces.size = pieces.size + more - less;
        drop(pieces);
        self.room.give_back(self, less);
        true
    }

    /// The first piece, if it begins at `position` or before.
    pub(super) fn take_first_until(&mut self, position: u64) -> Option<(u64, Bytes)> {
        if !self.waits {
            return None;
        }
        let mut pieces = lock(&self.pieces);
        let first = pieces.by_offset.first_entry().filter(|first| *first.key() <= position)?;
        let (offset, piece) = first.remove_entry();
        let size = piece.len() + EACH_PIECE;
        pieces.size -= size;
        self.waits = !pieces.by_offset.is_empty();
        drop(pieces);
        self.room.give_back(self, size);
        Some((offset, piece))
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        if !std::mem::take(&mut self.waits) {
            return;
        }
        let size = std::mem::take(&mut *lock(&self.pieces)).size;
        self.room.give_back(self, size);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        lock(&self.pieces).size
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Room {
    /// A file is to hold so much more. Who holds most gives way, as long as it is too much: that may be the file itself.
    fn take(&self, early: &Early, size: usize) {
        let mut table = self.lock();
        table.resize(early, |held| held + size);
        while table.held > MOST_OF_ALL && table.take_from_most() {}
    }

    fn give_back(&self, early: &Early, size: usize) {
        if size > 0 {
            self.lock().resize(early, |held| held.saturating_sub(size));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn resize(&mut self, early: &Early, change: impl FnOnce(usize) -> usize) {
        let owner = self.owners.entry(Arc::clone(&early.owner)).or_default();
        let before = owner.files.get(&early.id).map_or(0, |(size, _)| *size);
        let after = change(before);
        owner.by_size.remove(&(before, early.id));
        if after > 0 {
            owner.by_size.insert((after, early.id));
            owner.files.insert(early.id, (after, Arc::clone(&early.pieces)));
        } else {
            owner.files.remove(&early.id);
        }
        owner.held = owner.held + after - before;
        self.held = self.held + after - before;
        if owner.files.is_empty() {
            self.owners.remove(&early.owner);
        }
    }

    /// Takes all that waits of one file; `false` when nobody holds anything.
    fn take_from_most(&mut self) -> bool {
        let Some((name, owner)) = self.owners.iter_mut().max_by_key(|(_, owner)| owner.held) else { return false };
        let Some((size, id)) = owner.by_size.pop_last() else { return false };
        if let Some((_, pieces)) = owner.files.remove(&id) {
            *lock(&pieces) = Pieces { were_taken: true, ..Pieces::default() };
        }
        owner.held -= size;
        self.held -= size;
        if owner.files.is_empty() {
            let name = Arc::clone(name);
            self.owners.remove(&name);
        }
        true
    }
}

/// Never held while the room is asked for: who takes from others holds the room, and then theirs.
fn lock(pieces: &Mutex<Pieces>) -> MutexGuard<'_, Pieces> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(early: &mut Early, bytes: usize) -> bool {
        const PIECE: usize = 64 << 10;
        let data = Bytes::from(vec![0; PIECE - EACH_PIECE]);
        (1..=bytes / PIECE).all(|number| early.add((number * PIECE) as u64, &data))
    }

    fn held(room: &Room) -> usize {
        room.lock().held
    }

    #[test]
    fn who_holds_most_gives_way_and_nobody_else() {
        let room = Arc::<Room>::default();
        let mut greedy: Vec<Early> = (0..5).map(|_| Early::within(&room, "greedy".into())).collect();
        let mut modest = Early::within(&room, "modest".into());
        assert!(fill(&mut modest, 1 << 20));
        for early in &mut greedy {
            fill(early, MOST_WAITING);
        }
        let left = greedy.iter().filter(|early| early.size() > 0).count();
        assert!((3..5).contains(&left) && modest.size() == 1 << 20, "{left}");
        assert!(fill(&mut modest, 2 << 20), "it goes on, and others give way");
        assert_eq!(modest.size(), 2 << 20);
        assert!(held(&room) <= MOST_OF_ALL);
        // Many small ones of one user are much.
        let mut many: Vec<Early> = (0..600).map(|_| Early::within(&room, "many".into())).collect();
        let kept = many.iter_mut().map(|early| fill(early, 64 << 10)).filter(|kept| *kept).count();
        assert!(kept > 100 && modest.size() == 2 << 20, "{kept}");
        drop((greedy, many));
        assert_eq!(held(&room), 2 << 20);
        drop(modest);
        assert_eq!((held(&room), room.lock().owners.len()), (0, 0));
    }

    #[test]
    fn what_had_to_give_way_is_a_gap_until_it_begins_again() {
        let room = Arc::<Room>::default();
        let mut first = Early::within(&room, "ann".into());
        assert!(fill(&mut first, MOST_WAITING));
        let mut others: Vec<Early> = (0..4).map(|_| Early::within(&room, "ann".into())).collect();
        for early in &mut others {
            fill(early, MOST_WAITING - (64 << 10));
        }
        let data = Bytes::from_static(b"x");
        assert_eq!((first.size(), first.end(), first.touches(0, 1 << 30)), (0, 0, false));
        assert!(!first.add(1 << 20, &data) && first.take_first_until(u64::MAX).is_none());
        first.clear();
        assert!(first.add(1 << 20, &data) && first.take_first_until(u64::MAX).is_some());
        assert_eq!(first.size(), 0);
    }

    #[test]
    fn what_is_replaced_taken_and_forgotten_is_given_back() {
        let room = Arc::<Room>::default();
        let mut early = Early::within(&room, "ann".into());
        for (offset, length) in [(10, 5), (10, 3), (10, 20), (40, 1), (50, 1)] {
            assert!(early.add(offset, &Bytes::from(vec![0; length])));
        }
        assert_eq!((held(&room), early.size()), (22 + 3 * EACH_PIECE, 22 + 3 * EACH_PIECE));
        assert_eq!(early.take_first_until(10).map(|(offset, piece)| (offset, piece.len())), Some((10, 20)));
        assert_eq!(early.take_first_until(39), None);
        assert_eq!(held(&room), 2 * (1 + EACH_PIECE));
        early.clear();
        assert_eq!(held(&room), 0);
    }
}
