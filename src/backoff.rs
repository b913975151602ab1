//! How long to wait before another try: longer each time, and as long as the other side requests.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Waits that double, from the first to the longest.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// The first wait, and the longest one.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, next: first }
    }

    /// How long to wait now. The next wait is twice as long.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        wait
    }

    /// The same, between its half and its whole, so that those that failed together do not come back together.
    #[cfg(any(clouds, test))]
    pub fn wait_apart(&mut self) -> Duration {
        let wait = self.wait();
        // The last bits of such a UUID are random (RFC 9562 section 5.7).
        let part = f64::from(uuid::Uuid::now_v7().as_u128() as u32) / f64::from(u32::MAX);
        wait.mul_f64(1.0 - part / 2.0)
    }

    /// The next wait is the longest.
    pub fn exhaust(&mut self) {
        self.next = self.longest;
    }

    /// The next wait is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The value of `Retry-After` as a time from `now`: seconds, or a date (RFC 9110 section 10.2.3). It is what the other side wants, and may be
/// of any length. A date that is over is no time at all.
pub fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = value.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    Some((date - now).to_std().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let waits: Vec<u64> = (0..5).map(|_| backoff.wait().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        backoff.reset();
        assert_eq!(backoff.wait(), SECOND);
        backoff.exhaust();
        assert_eq!(backoff.wait(), 5 * SECOND);
    }

    #[test]
    fn waits_apart_lie_between_half_and_whole_and_differ() {
        let waits: Vec<Duration> = (0..50).map(|_| Backoff::new(SECOND, SECOND).wait_apart()).collect();
        assert!(waits.iter().all(|wait| (SECOND / 2..=SECOND).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }

    #[test]
    fn what_is_requested_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-07-31T08:15:30Z").unwrap().to_utc();
        let wish = |text: &str| retry_after(text, now).map(|wish| wish.as_secs());
        assert_eq!(wish("120"), Some(120));
        assert_eq!(wish(" 5 "), Some(5));
        assert_eq!(wish("Fri, 31 Jul 2026 08:16:30 GMT"), Some(60));
        assert_eq!(wish("Fri, 31 Jul 2020 08:16:30 GMT"), Some(0));
        assert_eq!(wish("soon"), None);
    }
}
