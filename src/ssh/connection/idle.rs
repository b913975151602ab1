//! Whether anything happens on a connection.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::Visit;

/// Looks now and then whether anything happens. Bytes from or to the client count, so a client's keepalive does; so does
/// an operation that runs, however long the store takes.
pub(super) struct IdleWatch {
    limit: Duration,
    seen: (u64, u64),
    since: Instant,
}

impl IdleWatch {
    pub(super) fn new(limit: Duration) -> Self {
        IdleWatch { limit, seen: (0, 0), since: Instant::now() }
    }

    pub(super) async fn is_over(&mut self, visit: &Visit) {
        let step = (self.limit / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        let mut ticks = interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = (visit.line.bytes_in(), visit.line.bytes_out());
            if now != self.seen || visit.is_busy() {
                self.seen = now;
                self.since = Instant::now();
            } else if self.since.elapsed() >= self.limit {
                return;
            }
        }
    }
}
