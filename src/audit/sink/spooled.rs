//! A sink over a spool: an event is written when it is in the spool; a task of the runtime brings the batches to where they
//! belong, one after the other, and tries again until they are taken.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::carrier::{Carrier, Refusal};
use super::settings::SpoolSettings;
use super::spool::{Next, Spool};
use super::{Sink, Target, Throttle};

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
    /// Opens the spool and starts bringing what is in it to where it belongs. Needs a runtime.
    pub(super) fn open(settings: &SpoolSettings, carrier: impl Carrier + 'static) -> io::Result<Spooled> {
        let (spool, name) = (Arc::new(Spool::open(settings)?), carrier.name());
        let waiting = spool.held();
        if waiting > 0 {
            tracing::info!(sink = %name, bytes = waiting, "the spool holds events of an earlier run; they are delivered now");
        }
        tokio::spawn(empty(Arc::clone(&spool), carrier));
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
async fn empty(spool: Arc<Spool>, carrier: impl Carrier) {
    let mut failures = Failures::default();
    loop {
        let looking = Arc::clone(&spool);
        let next = match tokio::task::spawn_blocking(move || looking.next()).await {
            Ok(next) => next,
            // The runtime ends.
            Err(_) => return,
        };
        let outcome = match next {
            Ok(Next::End) => return,
            Ok(Next::Wait(None)) => {
                spool.changed().await;
                continue;
            }
            Ok(Next::Wait(Some(limit))) => {
                let _ = tokio::time::timeout(limit, spool.changed()).await;
                continue;
            }
            Ok(Next::Deliver(batch, lines)) => carrier.deliver(&lines).await.map(|()| batch),
            Err(error) => Err(Refusal::of(format!("the spool cannot be read: {error}"))),
        };
        match outcome {
            Ok(batch) => {
                failures.over(&spool, &carrier);
                let spool = Arc::clone(&spool);
                let _ = tokio::task::spawn_blocking(move || spool.delivered(&batch)).await;
            }
            Err(refusal) => {
                let pause = failures.another(&spool, &carrier, refusal);
                spool.pause(pause).await;
            }
        }
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    throttle: Throttle,
    logged: bool,
}

impl Failures {
    /// Says what happened, now and then, and how long to wait.
    fn another(&mut self, spool: &Spool, carrier: &impl Carrier, refusal: Refusal) -> Duration {
        if self.throttle.is_due() {
            let (sink, why, bytes) = (carrier.name(), &refusal.why, spool.held());
            tracing::error!(%sink, %why, bytes, "a batch of events was not taken; it stays in the spool and is tried again");
            self.logged = true;
        }
        spool.set_trouble(Some(refusal.why));
        let pause = FIRST_PAUSE.saturating_mul(1 << self.count.min(10)).min(LONGEST_PAUSE);
        self.count = self.count.saturating_add(1);
        refusal.after.map_or(pause, |wish| wish.clamp(FIRST_PAUSE, LONGEST_WISH))
    }

    fn over(&mut self, spool: &Spool, carrier: &impl Carrier) {
        if std::mem::take(&mut self.logged) {
            tracing::warn!(sink = %carrier.name(), "batches of events are taken again");
        }
        if std::mem::take(&mut self.count) > 0 {
            spool.set_trouble(None);
        }
    }
}
