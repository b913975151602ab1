//! When, and which: the `timestamp` and the `event-id` of an event.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

/// What the clock said when the event was queued, and the id that it got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    at: SystemTime,
    id: Uuid,
}

impl Stamp {
    /// Bytes of the two fields, in every year that has four digits.
    pub(super) const LENGTH: usize =
        r#""timestamp":"2026-01-01T00:00:00.000Z","event-id":"01890000-0000-7000-8000-000000000000""#.len();

    #[cfg(test)]
    pub(super) fn new(at: SystemTime, id: Uuid) -> Self {
        Stamp { at, id }
    }

    /// The two fields as JSON, without a comma before or after.
    pub(super) fn fields(&self) -> [u8; Self::LENGTH] {
        let text = format!(r#""timestamp":"{}","event-id":"{}""#, rfc3339(self.at), self.id.as_hyphenated());
        let mut fields = [b' '; Self::LENGTH];
        if text.len() == fields.len() {
            fields.copy_from_slice(text.as_bytes());
        }
        fields
    }
}

/// RFC 3339 in UTC with milliseconds and `Z`. A clock before 1970 or after 9999 shows as the nearest of the two.
pub(super) fn rfc3339(at: SystemTime) -> String {
    const LAST: u64 = 253_402_300_799;
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(Duration::from_secs(LAST));
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    DateTime::<Utc>::from_timestamp(seconds, since.subsec_nanos())
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Makes stamps whose ids ascend, also when the clock steps back. The `timestamp` is what the clock says.
#[derive(Debug, Default)]
pub(super) struct Stamper {
    context: ContextV7,
}

impl Stamper {
    /// The next stamp.
    pub(super) fn next(&mut self, now: SystemTime) -> Stamp {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp::from_unix(&self.context, since.as_secs(), since.subsec_nanos());
        Stamp { at: now, id: Uuid::new_v7(time) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_when_the_clock_steps_back() {
        let mut stamper = Stamper::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let mut last = stamper.next(start);
        assert_eq!(last.id.get_version_num(), 7);
        for step in 0..2_000_u64 {
            let now =
                if step % 3 == 0 { start - Duration::from_secs(3600) } else { start + Duration::from_micros(step) };
            let next = stamper.next(now);
            assert!(next.id > last.id);
            assert!(next.id.to_string() > last.id.to_string());
            last = next;
        }
    }

    #[test]
    fn every_clock_gives_the_fixed_width() {
        for seconds in [0, 951_827_696, 253_402_300_799, u64::from(u32::MAX) * 100] {
            let stamp = Stamp::new(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), Uuid::nil());
            assert!(stamp.fields().starts_with(b"\"timestamp\":\""), "{seconds}");
        }
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(951_827_696_789)),
            "2000-02-29T12:34:56.789Z"
        );
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
