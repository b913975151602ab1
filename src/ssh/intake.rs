//! Whether the channels of a connection take what they are given. One that does not holds up the others: the library hands over in the order
//! of arrival.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often it is looked whether a channel is stalled, if it may be for so long.
pub(super) fn tick(limit: Duration) -> Duration {
    (limit / 10).max(Duration::from_millis(100))
}

/// Since when the data that a channel was given last has kept it from taking more.
#[derive(Debug)]
pub(super) struct Intake {
    /// `None` while it waits for data.
    busy_since: Mutex<Option<Instant>>,
    /// How much longer than others it may be busy.
    patience: Duration,
}

impl Intake {
    pub(super) fn set(&self, busy_since: Option<Instant>) {
        *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner) = busy_since;
    }

    fn is_busy_for(&self, limit: Duration) -> bool {
        let since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= limit)
    }
}

/// The channels of one connection.
#[derive(Debug, Default)]
pub(super) struct Intakes(Mutex<Vec<Weak<Intake>>>);

impl Intakes {
    /// One more channel, which may be busy for so much longer than others.
    pub(super) fn add(&self, patience: Duration) -> Arc<Intake> {
        let intake = Arc::new(Intake { busy_since: Mutex::default(), patience });
        self.live().push(Arc::downgrade(&intake));
        intake
    }

    /// Whether there are several channels and one of them has taken no data for `limit`.
    pub(super) fn are_stalled(&self, limit: Duration) -> bool {
        let live = self.live();
        let is_stalled = |intake: Arc<Intake>| intake.is_busy_for(limit + intake.patience);
        live.len() > 1 && live.iter().filter_map(Weak::upgrade).any(is_stalled)
    }

    fn live(&self) -> MutexGuard<'_, Vec<Weak<Intake>>> {
        let mut intakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        intakes.retain(|intake| intake.strong_count() > 0);
        intakes
    }
}

/// The channel that carries a connection inside another one, as the connection inside sees it.
#[derive(Debug)]
pub(super) struct Carrier {
    channel: Weak<Intake>,
    /// Of the connection that the channel belongs to.
    all: Arc<Intakes>,
}

impl Carrier {
    pub(super) fn new(channel: &Arc<Intake>, all: &Arc<Intakes>) -> Carrier {
        Carrier { channel: Arc::downgrade(channel), all: Arc::clone(all) }
    }

    /// Whether the connection inside has taken no data for `limit` and holds up other channels.
    pub(super) fn is_stalled(&self, limit: Duration) -> bool {
        self.channel.upgrade().is_some_and(|channel| channel.is_busy_for(limit)) && self.all.live().len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn busy(intake: &Intake, seconds: u64) {
        intake.set(Instant::now().checked_sub(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_channel_that_takes_nothing_stalls_only_others() {
        let intakes = Intakes::default();
        let one = intakes.add(Duration::ZERO);
        busy(&one, 40);
        assert!(!intakes.are_stalled(LIMIT), "it is alone");
        let other = intakes.add(Duration::ZERO);
        assert!(intakes.are_stalled(LIMIT));
        busy(&one, 20);
        assert!(!intakes.are_stalled(LIMIT));
        busy(&one, 40);
        one.set(None);
        assert!(!intakes.are_stalled(LIMIT), "it waits for data");
        busy(&one, 40);
        drop(other);
        assert!(!intakes.are_stalled(LIMIT), "it is alone again");
    }

    /// The connection inside is judged first, and by the same clock.
    #[test]
    fn a_channel_that_carries_a_connection_is_given_more_time_than_that() {
        let intakes = Arc::new(Intakes::default());
        let inner = intakes.add(Duration::from_secs(10));
        let carrier = Carrier::new(&inner, &intakes);
        busy(&inner, 35);
        assert!(!carrier.is_stalled(LIMIT), "it holds up nobody");
        let _other = intakes.add(Duration::ZERO);
        assert!(carrier.is_stalled(LIMIT) && !intakes.are_stalled(LIMIT));
        busy(&inner, 41);
        assert!(intakes.are_stalled(LIMIT), "it did not end");
        drop(inner);
        assert!(!carrier.is_stalled(LIMIT) && !intakes.are_stalled(LIMIT));
    }
}
