//! What this gateway changes under each name, counted, so that nobody goes on with a look from before.
//!
//! The connections share the counters: what one has done, another does not take for undone. Names share counters as well, by their
//! hashes: a change of another name may cost a look that was not needed, and no more.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many counters there are: 64 KiB.
const COUNTERS: usize = 1 << 14;

/// What is changed about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::vfs) enum Effect {
    /// It gets content, a directory or a time; those above it are directories then.
    Makes,
    /// It goes away, and directories above it perhaps with it.
    Removes,
    /// All that lies below it, or below another name with it.
    Tree,
}

/// The changes of all connections.
#[derive(Debug)]
pub(in crate::vfs) struct Changes {
    hasher: RandomState,
    counters: Box<[AtomicU32]>,
    trees: AtomicU32,
}

/// How often a name and what lies below it was changed, by the time of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The name itself.
    itself: u32,
    /// Names were made below it.
    grown: u32,
    /// Names were removed below it.
    shrunk: u32,
    trees: u32,
}

/// A counter of a name.
#[derive(Hash)]
enum Counter {
    Itself,
    Grown,
    Shrunk,
}

impl Default for Changes {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        Changes { hasher: RandomState::new(), counters, trees: AtomicU32::new(0) }
    }
}

impl Changes {
    /// Now. `place` is a name as events show it, which no two stores share.
    pub(super) fn stamp(&self, place: &str) -> Stamp {
        let count = |counter| self.counter(counter, place).load(Ordering::SeqCst);
        Stamp {
            trees: self.trees.load(Ordering::SeqCst),
            itself: count(Counter::Itself),
            grown: count(Counter::Grown),
            shrunk: count(Counter::Shrunk),
        }
    }

    /// Something begins to change. It ends when what this gives is dropped.
    pub(super) fn begin(self: &Arc<Self>, place: String, effect: Effect) -> Change {
        if effect == Effect::Tree {
            self.trees.fetch_add(1, Ordering::SeqCst);
        }
        let began = self.counter(Counter::Itself, &place).fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        let trees = self.trees.load(Ordering::SeqCst);
        Change { changes: Arc::clone(self), place, effect, began, trees, has_ended: false }
    }

    fn counter(&self, counter: Counter, place: &str) -> &AtomicU32 {
        let place = self.hasher.hash_one((counter, place)) as usize % COUNTERS;
        &self.counters[place]
    }
}

impl Stamp {
    /// Whether what was a file then is the same file still, as far as this gateway knows.
    pub(super) fn holds_for_a_file(self, now: Stamp) -> bool {
        (self.itself, self.trees) == (now.itself, now.trees)
    }

    /// Whether there is nothing still, where there was nothing.
    pub(super) fn holds_for_nothing(self, now: Stamp) -> bool {
        self.holds_for_a_file(now) && self.grown == now.grown
    }

    /// Whether what was a directory is one still.
    pub(super) fn holds_for_a_directory(self, now: Stamp) -> bool {
        self.holds_for_a_file(now) && self.shrunk == now.shrunk
    }
}

/// A change under way. Looks that began before it ends are not remembered.
#[derive(Debug)]
pub(in crate::vfs) struct Change {
    changes: Arc<Changes>,
    place: String,
    effect: Effect,
    began: u32,
    trees: u32,
    has_ended: bool,
}

impl Change {
    /// It is done. Gives the moment, if nobody else of this gateway changed the same name meanwhile: else nobody knows whose change
    /// came last.
    pub(super) fn end(mut self) -> Option<Stamp> {
        let was_alone = self.count();
        let now = self.changes.stamp(&self.place);
        let is_last = was_alone && now.trees == self.trees && now.itself == self.began.wrapping_add(1);
        is_last.then_some(now)
    }

    /// Counts the end; whether no other change began since this one did.
    fn count(&mut self) -> bool {
        self.has_ended = true;
        let changes = &self.changes;
        let above = match self.effect {
            Effect::Makes => Some(Counter::Grown),
            Effect::Removes => Some(Counter::Shrunk),
            Effect::Tree => None,
        };
        if self.effect == Effect::Tree {
            changes.trees.fetch_add(1, Ordering::SeqCst);
        }
        for (at, _) in self.place.match_indices('/').filter(|(at, _)| *at > 0) {
            let counter = match above {
                Some(Counter::Grown) => Counter::Grown,
                Some(_) => Counter::Shrunk,
                None => break,
            };
            changes.counter(counter, &self.place[..at]).fetch_add(1, Ordering::SeqCst);
        }
        changes.counter(Counter::Itself, &self.place).fetch_add(1, Ordering::SeqCst) == self.began
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.has_ended {
            self.count();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn begin(changes: &Arc<Changes>, place: &str, effect: Effect) -> Change {
        changes.begin(place.to_owned(), effect)
    }

    #[test]
    fn a_change_ends_what_was_known_of_the_name_and_of_those_above() {
        let changes = Arc::<Changes>::default();
        let stamp = |place| changes.stamp(place);
        let (file, above, other) = (stamp("/b/d/f"), stamp("/b/d"), stamp("/b/e"));
        begin(&changes, "/b/d/f", Effect::Makes).end().unwrap();
        assert!(!file.holds_for_a_file(stamp("/b/d/f")) && !file.holds_for_nothing(stamp("/b/d/f")));
        assert!(above.holds_for_a_directory(stamp("/b/d")), "it is a directory all the more");
        assert!(!above.holds_for_nothing(stamp("/b/d")));
        assert!(other.holds_for_nothing(stamp("/b/e")));
        let above = stamp("/b/d");
        begin(&changes, "/b/d/f", Effect::Removes).end().unwrap();
        assert!(!above.holds_for_a_directory(stamp("/b/d")));
        assert!(above.holds_for_nothing(stamp("/b/d")));
    }

    #[test]
    fn a_look_that_began_before_a_change_ended_is_not_kept() {
        let changes = Arc::<Changes>::default();
        let before = changes.stamp("/b/f");
        let change = begin(&changes, "/b/f", Effect::Makes);
        let within = changes.stamp("/b/f");
        drop(change);
        let now = changes.stamp("/b/f");
        assert!(!before.holds_for_a_file(now) && !within.holds_for_a_file(now));
        assert!(now.holds_for_a_file(changes.stamp("/b/f")));
    }

    #[test]
    fn of_two_changes_at_once_nobody_knows_the_last() {
        let changes = Arc::<Changes>::default();
        let first = begin(&changes, "/b/f", Effect::Makes);
        let second = begin(&changes, "/b/f", Effect::Makes);
        let within = second.end().unwrap();
        assert_eq!(first.end(), None);
        assert!(!within.holds_for_a_file(changes.stamp("/b/f")), "the first may have come last");
        let file = begin(&changes, "/b/f", Effect::Makes);
        drop(begin(&changes, "/b", Effect::Tree));
        assert_eq!(file.end(), None, "it may have another name by now");
    }

    #[test]
    fn a_tree_that_moves_ends_all_that_was_known() {
        let changes = Arc::<Changes>::default();
        let before = changes.stamp("/b/x/y");
        let moving = begin(&changes, "/b/d", Effect::Tree);
        assert!(!before.holds_for_a_file(changes.stamp("/b/x/y")));
        let within = changes.stamp("/b/x/y");
        drop(moving);
        assert!(!within.holds_for_a_file(changes.stamp("/b/x/y")));
    }
}
