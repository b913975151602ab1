//! Descriptors: how many the process may have, and a budget with a share for each account, so that nobody who opens many files keeps
//! others from opening one.
//!
//! - What cannot be closed while it is used (an upload, a staged file) holds a descriptor ([`Account::hold`]).
//! - What can be opened again (a file that is read) keeps one as long as there are enough ([`Account::keep`]): under pressure the one
//!   that was used longest ago is closed, and opened again when it is needed.
//!
//! An account may have another one while it has fewer than are free. So one alone gets half of them, two get a third each, and there
//! is always one for whoever has none. No account is served from what another one uses.

mod plan;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use plan::{Plan, Wanted, in_use, limit};

/// A file that can be closed while nobody uses it, and opens again by itself.
pub trait Idle: Send + Sync + fmt::Debug {
    /// Closes it. Whoever uses it now goes on with what it has.
    fn close(&self);
}

/// The account has all that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{used} files are open at once for this user, and {free} of {total} descriptors are free")]
pub struct Spent {
    /// How many it has.
    pub used: usize,
    /// How many nobody has.
    pub free: usize,
    /// How many there are.
    pub total: usize,
}

/// The descriptors for files, of all accounts.
#[derive(Debug)]
pub struct Descriptors {
    total: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    accounts: HashMap<Arc<str>, Usage>,
    /// Counts uses: a later one has a higher number. 0 is none.
    uses: u64,
}

/// What one account has.
#[derive(Debug, Default)]
struct Usage {
    held: usize,
    /// By the number of the last use.
    idle: BTreeMap<u64, Weak<dyn Idle>>,
}

impl Usage {
    fn count(&self) -> usize {
        self.held + self.idle.len()
    }
}

/// One account of a budget.
#[derive(Debug, Clone)]
pub struct Account {
    all: Arc<Descriptors>,
    name: Arc<str>,
}

/// A descriptor that is in use until this is dropped.
#[derive(Debug)]
pub struct Held(Account);

/// A file that has a descriptor as long as there are enough.
#[derive(Debug)]
pub struct Kept {
    account: Account,
    what: Weak<dyn Idle>,
    /// The number of its last use; it may be closed by now.
    last: AtomicU64,
}

impl Descriptors {
    /// A budget of so many.
    pub fn new(total: usize) -> Arc<Descriptors> {
        Arc::new(Descriptors { total, state: Mutex::default() })
    }

    /// A budget that is never spent.
    pub fn unlimited() -> Arc<Descriptors> {
        Descriptors::new(usize::MAX)
    }

    /// How many are used.
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// The account of this name.
    pub fn account(self: &Arc<Self>, name: impl Into<Arc<str>>) -> Account {
        Account { all: Arc::clone(self), name: name.into() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Takes one that stays open.
    ///
    /// # Errors
    /// When the account has all that it may have, and none of its files can be closed.
    pub fn hold(&self) -> Result<Held, Spent> {
        self.take(|usage, _| {
            usage.held += 1;
            true
        })?;
        Ok(Held(self.clone()))
    }

    /// Counts a file that was just opened, and may be closed from now on. When there is no room even after others of the account
    /// were closed, it is closed itself.
    pub fn keep(&self, what: &Arc<dyn Idle>) -> Kept {
        let kept = Kept { account: self.clone(), what: Arc::downgrade(what), last: AtomicU64::new(0) };
        if kept.is_used().is_err() {
            what.close();
        }
        kept
    }

    /// Takes one more, closing what was used longest ago if need be. `note` says whether it is one more.
    fn take(&self, note: impl FnOnce(&mut Usage, u64) -> bool) -> Result<(), Spent> {
        let mut closed = Vec::new();
        let taken = self.all.lock().take(self.all.total, &self.name, note, &mut closed);
        // Not under the lock: to close a file may take a while, and to drop one gives its descriptor back here.
        closed.iter().filter_map(Weak::upgrade).for_each(|idle| idle.close());
        taken
    }
}

impl State {
    fn take(
        &mut self,
        total: usize,
        name: &Arc<str>,
        note: impl FnOnce(&mut Usage, u64) -> bool,
        closed: &mut Vec<Weak<dyn Idle>>,
    ) -> Result<(), Spent> {
        loop {
            let (used, free) = (self.accounts.get(name).map_or(0, Usage::count), total.saturating_sub(self.used));
            if used < free {
                break;
            }
            let from = if used == 0 { self.heaviest() } else { Some(Arc::clone(name)) };
            let oldest = from.and_then(|from| self.close_oldest(&from));
            closed.push(oldest.ok_or(Spent { used, free, total })?);
        }
        self.uses += 1;
        let is_one_more = note(self.accounts.entry(Arc::clone(name)).or_default(), self.uses);
        self.used += usize::from(is_one_more);
        Ok(())
    }

    fn close_oldest(&mut self, name: &Arc<str>) -> Option<Weak<dyn Idle>> {
        let (_, oldest) = self.accounts.get_mut(name)?.idle.pop_first()?;
        self.give_back(name);
        Some(oldest)
    }

    /// Of the accounts with something that can be closed, the one that has most.
    fn heaviest(&self) -> Option<Arc<str>> {
        let with_idle = self.accounts.iter().filter(|(_, usage)| !usage.idle.is_empty());
        with_idle.max_by_key(|(_, usage)| usage.count()).map(|(name, _)| Arc::clone(name))
    }

    /// One fewer is used, which the account's own count says already.
    fn give_back(&mut self, name: &Arc<str>) {
        self.used = self.used.saturating_sub(1);
        if self.accounts.get(name).is_some_and(|usage| usage.count() == 0) {
            self.accounts.remove(name);
        }
    }
}

impl Kept {
    /// It is about to be used: it counts again if it was closed, and is the last to be closed.
    ///
    /// # Errors
    /// It was closed, and the account has all that it may have.
    pub fn is_used(&self) -> Result<(), Spent> {
        let account = &self.account;
        {
            let mut state = account.all.lock();
            state.uses += 1;
            let now = state.uses;
            if let Some(usage) = state.accounts.get_mut(&account.name)
                && let Some(what) = usage.idle.remove(&self.last.load(Ordering::Relaxed))
            {
                usage.idle.insert(now, what);
                self.last.store(now, Ordering::Relaxed);
                return Ok(());
            }
        }
        account.take(|usage, now| {
            // Another use of the same file may have counted it meanwhile.
            let counted = usage.idle.remove(&self.last.swap(now, Ordering::Relaxed)).is_some();
            usage.idle.insert(now, self.what.clone());
            !counted
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.all.lock();
        if let Some(usage) = state.accounts.get_mut(&self.0.name) {
            usage.held = usage.held.saturating_sub(1);
        }
        state.give_back(&self.0.name);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut state = self.account.all.lock();
        let last = self.last.load(Ordering::Relaxed);
        let usage = state.accounts.get_mut(&self.account.name);
        if usage.is_some_and(|usage| usage.idle.remove(&last).is_some()) {
            state.give_back(&self.account.name);
        }
    }
}

#[cfg(test)]
mod tests;
