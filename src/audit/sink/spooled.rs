//! A sink over a spool: an event is written when it is in the spool; a task of the runtime brings the batches to where they
//! belong, one after the other, and tries again until they are taken.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::carrier::{Carrier, Refusal};
use super::delivery::{Courier, Outcome, Unit};
use super::notify::Notifier;
use super::settings::{Fsync, SpoolSettings};
use super::shape::Shape;
use super::spool::{Next, Spool};
use super::undelivered::Undelivered;
use super::{Around, Sink, Target, Throttle};
use crate::backoff::Backoff;

/// How long the end of the gateway is put off for what waits.
const LAST_BATCHES_WITHIN: Duration = Duration::from_secs(4);

/// The pause after the first failure, which doubles with each further one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a place may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(600);

/// A sink over a spool.
#[derive(Debug)]
pub(super) struct Spooled {
    name: String,
    spool: Arc<Spool>,
}

impl Spooled {
    /// Opens the spool and starts bringing what is in it to where it belongs, in the form of `shape` where that is one of
    /// notifications. Needs a runtime.
    pub(super) fn open(
        settings: &SpoolSettings,
        shape: &Shape,
        around: &Around,
        carrier: impl Carrier + 'static,
    ) -> io::Result<Spooled> {
        // What is no copy of the trail does not contradict it.
        let ledger = around.ledger.clone().filter(|_| shape.is_plain());
        let (spool, name) = (Arc::new(Spool::open(settings)?.behind(ledger)), carrier.name());
        let waiting = spool.held();
        if waiting > 0 {
            tracing::info!(sink = %name, bytes = waiting, "the spool holds events of an earlier run; they are delivered now");
        }
        let notifier = Notifier::open(shape, &settings.folder, settings.fsync != Fsync::Never)?;
        let undelivered = Undelivered::of(&settings.folder, settings.limit).counting(spool.set_aside());
        let set_aside = spool.state().undelivered;
        if set_aside > 0 {
            tracing::warn!(sink = %name, deliveries = set_aside, "deliveries that were refused are set aside; `lockgate audit redeliver` tries them again");
        }
        tokio::spawn(empty(Arc::clone(&spool), Courier::new(carrier, notifier, undelivered, spool.told())));
        Ok(Spooled { name, spool })
    }
}

impl Sink for Spooled {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn prepare(&mut self, _: bool) -> io::Result<Target> {
        self.spool.sync()?;
        Ok(Target::Same)
    }

    fn looks_again(&self) -> Option<Duration> {
        self.spool.syncs_after()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.append(bytes)
    }

    fn spool(&self) -> Option<Weak<Spool>> {
        Some(Arc::downgrade(&self.spool))
    }

    fn close(&mut self) {
        if let Err(error) = self.spool.hurry() {
            tracing::error!(sink = %self.name, %error, "the last batch stays open in the spool until the next start");
        }
        let bytes = self.spool.wait_until_empty(LAST_BATCHES_WITHIN);
        if bytes > 0 {
            tracing::warn!(sink = %self.name, bytes, "events stay in the spool and are delivered at the next start");
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.spool.end();
    }
}

/// Empties the spool until it ends.
async fn empty(spool: Arc<Spool>, mut courier: Courier<impl Carrier>) {
    let mut failures = Failures::none();
    loop {
        let looking = Arc::clone(&spool);
        let next = match tokio::task::spawn_blocking(move || looking.next()).await {
            Ok(next) => next,
            // The runtime ends.
            Err(_) => return,
        };
        match next {
            Ok(Next::End) => return,
            Ok(Next::Wait(limit)) => wait(&spool, limit, &mut courier, &mut failures).await,
            // The runtime ends.
            Ok(Next::Deliver(batch, lines)) => match courier.units(lines).await {
                Ok(units) => {
                    if bring(&spool, units, &mut courier, &mut failures).await {
                        let spool = Arc::clone(&spool);
                        let _ = tokio::task::spawn_blocking(move || spool.delivered(&batch)).await;
                    }
                }
                Err(_) => return,
            },
            Err(error) => {
                let refusal = Refusal::of(format!("the spool cannot be read: {error}"));
                spool.pause(failures.another(&spool, courier.carrier(), refusal)).await;
            }
        }
    }
}

/// Waits until there may be something to do. While nothing is in the spool, uploads whose final names do not come are told.
async fn wait(spool: &Spool, limit: Option<Duration>, courier: &mut Courier<impl Carrier>, failures: &mut Failures) {
    let due = courier.due_in().filter(|_| spool.held() == 0);
    if due.is_some_and(|due| due.is_zero()) {
        let units = courier.overdue();
        bring(spool, units, courier, failures).await;
        return;
    }
    match limit.into_iter().chain(due).min() {
        None => spool.changed().await,
        Some(limit) => drop(tokio::time::timeout(limit, spool.changed()).await),
    }
}

/// Brings all of these, trying again until they are done; `false` when the spool ends before.
async fn bring(
    spool: &Spool,
    mut units: VecDeque<Unit>,
    courier: &mut Courier<impl Carrier>,
    failures: &mut Failures,
) -> bool {
    loop {
        let outcome = match units.is_empty() {
            false => courier.deliver(&mut units).await,
            true => match courier.keep().await {
                Ok(()) => return true,
                Err(error) => Outcome::Refused(Refusal::of(format!("the spool cannot be written: {error}"))),
            },
        };
        let was_done = !matches!(outcome, Outcome::Refused(_));
        match outcome {
            Outcome::Arrived => failures.over(spool, courier.carrier()),
            // The place has not taken it, so the next failure is no first one. But it is stuck no more.
            Outcome::SetAside => spool.set_trouble(None),
            Outcome::Refused(refusal) => {
                spool.pause(failures.another(spool, courier.carrier(), refusal)).await;
            }
        }
        // What is done is noted also at the end.
        if spool.is_ending() && !(was_done && units.is_empty()) {
            return false;
        }
    }
}

/// Failures in a row.
#[derive(Debug)]
struct Failures {
    /// One at least.
    any: bool,
    backoff: Backoff,
    throttle: Throttle,
    logged: bool,
}

impl Failures {
    fn none() -> Failures {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        Failures { any: false, backoff, throttle: Throttle::default(), logged: false }
    }

    /// Says what happened, now and then, and how long to wait.
    fn another(&mut self, spool: &Spool, carrier: &impl Carrier, refusal: Refusal) -> Duration {
        if self.throttle.is_due() {
            let (sink, why, bytes) = (carrier.name(), &refusal.why, spool.held());
            tracing::error!(%sink, %why, bytes, "a batch of events was not taken; it stays in the spool and is tried again");
            self.logged = true;
        }
        spool.set_trouble(Some(refusal.why));
        self.any = true;
        let pause = self.backoff.wait();
        refusal.after.map_or(pause, |wish| wish.clamp(FIRST_PAUSE, LONGEST_WISH))
    }

    fn over(&mut self, spool: &Spool, carrier: &impl Carrier) {
        if std::mem::take(&mut self.logged) {
            tracing::warn!(sink = %carrier.name(), "batches of events are taken again");
        }
        if std::mem::take(&mut self.any) {
            self.backoff.reset();
            spool.set_trouble(None);
        }
    }
}

#[cfg(test)]
#[path = "spooled_tests.rs"]
mod tests;
