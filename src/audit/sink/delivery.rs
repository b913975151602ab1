//! Brings what a batch has become to where it belongs, one delivery after the other, and sets aside what is refused for good.
//!
//! At each moment the process may be killed. What is in the spool then comes again, with the same notifications; what was set
//! aside is found in its folder and not posted again; nothing is removed from the spool before all of it has arrived or is set
//! aside.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use super::carrier::{Carrier, Refusal};
use super::heading::{Heading as LineHeading, lines};
use super::notify::{Notifier, Told};
use super::set_aside::SetAside;
use super::undelivered::{Heading, Undelivered};
use crate::audit::chain::Hash;

/// What is delivered with one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Whole lines.
    pub(super) lines: Bytes,
    /// Of each notification the files that it is about; none for lines of the trail.
    pub(super) paths: Vec<Vec<String>>,
    /// Part of one that was refused for too long: it is not waited for again.
    is_over: bool,
}

impl Unit {
    fn of_trail(lines: Bytes) -> Unit {
        Unit { lines, ..Unit::default() }
    }

    fn of(told: &[Told], is_over: bool) -> Unit {
        let lines: Vec<u8> = told.iter().flat_map(Told::whole_line).collect();
        Unit { lines: lines.into(), paths: told.iter().map(|told| told.paths.clone()).collect(), is_over }
    }

    /// How long ago its first event was; `None` when that does not say.
    fn age(&self) -> Option<Duration> {
        let heading = LineHeading::of(lines(&self.lines).next().unwrap_or_default());
        let time = DateTime::parse_from_rfc3339(heading.timestamp.as_deref()?).ok()?;
        Some((Utc::now() - time.to_utc()).to_std().unwrap_or_default())
    }

    /// The notifications that it has; none of the trail.
    fn told(&self) -> Vec<Told> {
        let lines = lines(&self.lines).map(<[u8]>::to_vec);
        lines.zip(&self.paths).map(|(line, paths)| Told { line, paths: paths.clone() }).collect()
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has arrived.
    Arrived,
    /// It is set aside, or divided: nothing has arrived, and what follows may be refused as well.
    SetAside,
    /// It has to come again.
    Refused(Refusal),
}

/// Brings batches to where they belong.
pub(super) struct Courier<C> {
    carrier: C,
    notifier: Option<Arc<Mutex<Notifier>>>,
    undelivered: Arc<Mutex<Undelivered>>,
    /// What the trail is to hear.
    told: Arc<SetAside>,
    /// The notifications that are on their way together, by the hashes of their lines: where each stands.
    order: Arc<HashMap<String, usize>>,
    /// How often in a row the first of those that wait was refused for what it is.
    refused: u32,
}

/// Why one is set aside that was not refused itself.
const WAITS_BEHIND: &str = "waits behind another one about the same file or folder";

/// How often a delivery is refused at least before it is set aside, however old it is: a collector may be wrong for a moment.
const LEAST_TRIES: u32 = 3;

impl<C: Carrier> Courier<C> {
    pub(super) fn new(carrier: C, notifier: Option<Notifier>, undelivered: Undelivered, told: &Arc<SetAside>) -> Self {
        let notifier = notifier.map(|notifier| Arc::new(Mutex::new(notifier)));
        Courier {
            carrier,
            notifier,
            undelivered: Arc::new(Mutex::new(undelivered)),
            told: Arc::clone(told),
            order: Arc::default(),
            refused: 0,
        }
    }

    pub(super) fn carrier(&self) -> &C {
        &self.carrier
    }

    /// What a batch of the spool becomes.
    pub(super) async fn units(&mut self, batch: Bytes) -> io::Result<VecDeque<Unit>> {
        let Some(notifier) = self.notifier.clone() else {
            return Ok(VecDeque::from([Unit::of_trail(batch)]));
        };
        let told = blocking(move || Ok(notifier.lock().unwrap_or_else(PoisonError::into_inner).take(&batch))).await?;
        Ok(self.packed(told))
    }

    /// What is to be told because its time is over. Right only when the spool is empty.
    pub(super) fn overdue(&mut self) -> VecDeque<Unit> {
        let told =
            self.notifier.as_ref().map(|notifier| notifier.lock().unwrap_or_else(PoisonError::into_inner).overdue());
        self.packed(told.unwrap_or_default())
    }

    /// When [`Courier::overdue`] has something, if no line comes before.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.notifier.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).due_in()
    }

    /// Notes that all units of a batch are done.
    pub(super) async fn keep(&self) -> io::Result<()> {
        match self.notifier.clone() {
            Some(notifier) => blocking(move || notifier.lock().unwrap_or_else(PoisonError::into_inner).keep()).await,
            None => Ok(()),
        }
    }

    fn packed(&mut self, told: Vec<Told>) -> VecDeque<Unit> {
        let hashes = told.iter().enumerate().map(|(place, told)| (hash(&told.whole_line()), place));
        self.order = Arc::new(hashes.collect());
        let size = if self.carrier.is_one_by_one() { 1 } else { told.len().max(1) };
        told.chunks(size).map(|told| Unit::of(told, false)).collect()
    }

    /// Delivers the first unit, once. When its time is over, one of several notifications is halved, so that only those that are
    /// refused are set aside.
    pub(super) async fn deliver(&mut self, units: &mut VecDeque<Unit>) -> Outcome {
        let Some(unit) = units.pop_front() else { return Outcome::Arrived };
        let unit = match self.without_held(unit.clone()).await {
            Ok(Some(left)) => left,
            Ok(None) => return Outcome::SetAside,
            Err(error) => {
                units.push_front(unit);
                return Outcome::Refused(Refusal::of(format!("what is set aside cannot be looked at: {error}")));
            }
        };
        let Err(refusal) = self.carrier.deliver(&unit.lines).await else {
            self.refused = 0;
            return Outcome::Arrived;
        };
        if !self.is_over(&unit, &refusal) {
            units.push_front(unit);
            return Outcome::Refused(refusal);
        }
        let told = unit.told();
        if told.len() > 1 {
            let (first, second) = told.split_at(told.len() / 2);
            units.push_front(Unit::of(second, true));
            units.push_front(Unit::of(first, true));
            return Outcome::SetAside;
        }
        if let Err(error) = self.set_aside(unit.clone(), refusal.why.clone()).await {
            units.push_front(unit);
            return Outcome::Refused(Refusal::of(format!("{}; it cannot be set aside: {error}", refusal.why)));
        }
        self.refused = 0;
        Outcome::SetAside
    }

    /// Whether this refusal is of the delivery itself, often enough, and the delivery old enough. Its age is that of its first
    /// event, so that those that waited behind another one, or over a restart, do not wait as long again.
    fn is_over(&mut self, unit: &Unit, refusal: &Refusal) -> bool {
        if !refusal.is_of_this_one {
            self.refused = 0;
            return false;
        }
        self.refused = self.refused.saturating_add(1);
        let is_old = |limit| unit.age().is_none_or(|age| age >= limit);
        unit.is_over || (self.refused >= LEAST_TRIES && self.carrier.gives_up_after().is_some_and(is_old))
    }

    /// What is left of a unit when those are gone that are set aside, or have to wait behind one about the same file, about
    /// something in it, or about a folder around it. A batch that comes again after a kill finds later ones of itself set aside: what
    /// stands before them waits behind none of those, and is posted again.
    async fn without_held(&self, unit: Unit) -> io::Result<Option<Unit>> {
        let (undelivered, set_aside) = (Arc::clone(&self.undelivered), Arc::clone(&self.told));
        let order = Arc::clone(&self.order);
        blocking(move || {
            let mut undelivered = undelivered.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mut locked) = undelivered.lock_unless_empty()? else { return Ok(Some(unit)) };
            if unit.paths.is_empty() {
                return Ok((!locked.has(&unit.lines)).then_some(unit));
            }
            let mut left = Vec::new();
            for told in unit.told() {
                let line = told.whole_line();
                let place = order.get(&hash(&line));
                let is_later = |hash: &str| place.zip(order.get(hash)).is_some_and(|(place, other)| other > place);
                if locked.holds(&told.paths) && locked.holds_but(&told.paths, is_later) {
                    // Does nothing when it is there.
                    let is_new = !locked.has(&line);
                    locked.put(&heading(WAITS_BEHIND, told.paths), &line)?;
                    if is_new {
                        set_aside.add(&line, WAITS_BEHIND);
                    }
                } else {
                    left.push(told);
                }
            }
            Ok((!left.is_empty()).then(|| Unit::of(&left, unit.is_over)))
        })
        .await
    }

    async fn set_aside(&self, unit: Unit, why: String) -> io::Result<()> {
        let (undelivered, set_aside, said) = (Arc::clone(&self.undelivered), Arc::clone(&self.told), why.clone());
        blocking(move || {
            let mut undelivered = undelivered.lock().unwrap_or_else(PoisonError::into_inner);
            undelivered.lock()?.put(&heading(&why, unit.paths.concat()), &unit.lines)?;
            set_aside.add(&unit.lines, &why);
            Ok(())
        })
        .await?;
        let sink = self.carrier.name();
        tracing::error!(%sink, why = %said, "a delivery was refused for too long and is set aside; `lockgate audit redeliver` tries it again");
        Ok(())
    }
}

/// As [`Undelivered`] knows a delivery.
fn hash(line: &[u8]) -> String {
    Hash::of_line(line).to_string()
}

fn heading(why: &str, paths: Vec<String>) -> Heading {
    Heading { why: why.to_owned(), since: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true), paths }
}

/// Runs what waits for a disk where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
