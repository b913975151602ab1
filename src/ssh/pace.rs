//! How often one client may have something that costs more than it brings: so many one after the other, then one now and then.

use std::time::{Duration, Instant};

/// Counts what one client asks for, and lets it wait.
#[derive(Debug)]
pub(super) struct Pace {
    /// So many at once, when nothing came for long.
    burst: u32,
    /// After those, one more after so long.
    pause: Duration,
    left: u32,
    last: Option<Instant>,
}

impl Pace {
    pub(super) fn new(burst: u32, pause: Duration) -> Self {
        Pace { burst, pause, left: burst, last: None }
    }

    /// Gives back what the client has paid for in another way.
    pub(super) fn earn(&mut self, count: u64) {
        self.left = self.burst.min(self.left.saturating_add(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    /// Waits until it is time for one more.
    pub(super) async fn next(&mut self) {
        tokio::time::sleep(self.wait(Instant::now())).await;
    }

    /// How long to wait for one more. It counts as if that was done.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let last = *self.last.get_or_insert(now);
        let earned = now.saturating_duration_since(last).as_nanos() / self.pause.as_nanos().max(1);
        if earned > 0 {
            self.earn(u64::try_from(earned).unwrap_or(u64::MAX));
            self.last = Some(now);
        }
        if self.left > 0 {
            self.left -= 1;
            return Duration::ZERO;
        }
        let next = self.last.map_or(now, |last| last.max(now)) + self.pause;
        self.last = Some(next);
        next - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    #[test]
    fn after_the_burst_each_waits_for_the_one_before() {
        let (mut pace, now) = (Pace::new(3, PAUSE), Instant::now());
        let waits: Vec<Duration> = (0..5).map(|_| pace.wait(now)).collect();
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, Duration::ZERO, PAUSE, PAUSE * 2]);
        assert_eq!(pace.wait(now + PAUSE * 2), PAUSE);
    }

    #[test]
    fn quiet_and_what_was_earned_give_the_burst_back_and_no_more() {
        let (mut pace, now) = (Pace::new(2, PAUSE), Instant::now());
        assert_eq!([pace.wait(now), pace.wait(now), pace.wait(now)], [Duration::ZERO, Duration::ZERO, PAUSE]);
        let later = now + PAUSE * 1000;
        assert_eq!([pace.wait(later), pace.wait(later), pace.wait(later)], [Duration::ZERO, Duration::ZERO, PAUSE]);
        pace.earn(1000);
        let waits = [pace.wait(later), pace.wait(later), pace.wait(later)];
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, PAUSE * 2]);
    }
}
