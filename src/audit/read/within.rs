//! Pages of a stretch of time. An `event-id` begins with a time, so that neither what is newer than the stretch nor what is older is read.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

use super::Span;
use super::newest::{Page, Reader};
use super::span::MARGIN;

/// The time in an `event-id` (UUID version 7, RFC 9562: its first 48 bits), in milliseconds since 1970.
pub fn milliseconds(id: &str) -> Option<u64> {
    let digits = [id.get(..8)?, id.get(9..13)?].concat();
    u64::from_str_radix(&digits, 16).ok()
}

/// The time in an `event-id` as a text (RFC 3339, seconds). A search that has looked at nothing yet is at an id beyond all times.
pub fn time_of(id: &str) -> String {
    let time = milliseconds(id).and_then(|ms| DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).ok()?));
    match time.filter(|time| time.year() <= 9999) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => "the newest event".to_owned(),
    }
}

/// An id that is older than every `event-id` of this millisecond or a later one.
fn first_of(milliseconds: u64) -> String {
    let time = milliseconds.min((1 << 48) - 1);
    format!("{:08x}-{:04x}-7000-8000-000000000000", time >> 16, time & 0xffff)
}

impl Page {
    /// The same page of what happened in `span`. Its newest line may be a day newer: ids ascend and the clock may step back, so the time
    /// in an id can be later than that of its event.
    pub fn in_span(self, span: Span) -> Page {
        let until = span.until.map(|until| first_of(since_1970(until.checked_add_signed(MARGIN).unwrap_or(until))));
        let before = match (self.before, until) {
            (Some(before), Some(until)) => Some(before.min(until)),
            (before, until) => before.or(until),
        };
        Page { before, ..self }
    }
}

/// A reader that wants nothing older than a moment. The time in an id is never earlier than that of its event, so nothing is missed.
#[derive(Debug)]
pub struct Since<R> {
    reader: R,
    /// In milliseconds since 1970.
    since: Option<u64>,
}

impl<R: Reader> Since<R> {
    /// What `reader` wants of `span`.
    pub fn of(span: Span, reader: R) -> Since<R> {
        Since { reader, since: span.since.map(since_1970) }
    }
}

impl<R: Reader> Reader for Since<R> {
    type Taken = R::Taken;

    fn take(&mut self, line: &[u8]) -> Option<R::Taken> {
        self.reader.take(line)
    }

    fn has_enough(&self, id: &str) -> bool {
        let is_over = self.since.zip(milliseconds(id)).is_some_and(|(since, time)| time < since);
        is_over || self.reader.has_enough(id)
    }
}

fn since_1970(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::super::newest::newest;
    use super::*;

    #[test]
    fn the_time_of_an_id_is_read_and_made() {
        assert_eq!(milliseconds("019fb73e-20fa-7b3d-8f21-000000000000"), Some(0x019f_b73e_20fa));
        assert_eq!(milliseconds("019f"), None);
        assert_eq!(milliseconds("日本語日本語日本語"), None);
        let first = first_of(0x019f_b73e_20fa);
        assert_eq!(milliseconds(&first), Some(0x019f_b73e_20fa));
        assert!(first.as_str() < "019fb73e-20fa-7000-8000-000000000001" && first.len() == 36);
        assert!(first.as_str() > "019fb73e-20f9-7fff-bfff-ffffffffffff");
        assert_eq!(first_of(u64::MAX).len(), 36);
        assert_eq!(time_of("019fb73e-20fa-7b3d-8f21-000000000000"), "2026-07-31T08:15:30Z");
        assert_eq!([time_of(&first_of(u64::MAX)), time_of("x")], ["the newest event"; 2]);
    }

    fn hour(number: i64) -> DateTime<Utc> {
        "2026-07-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(number)
    }

    /// One line an hour.
    fn write(path: &Path, hours: std::ops::Range<i64>) {
        let line = |number| format!("{{\"event-id\":\"{}\",\"n\":{number}}}\n", first_of(since_1970(hour(number))));
        std::fs::write(path, hours.map(line).collect::<String>()).unwrap();
    }

    /// What was looked at, and whether there is a next page.
    fn looked_at(path: &Path, span: Span, page: Page) -> (Vec<i64>, bool) {
        let number = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap()["n"].as_i64();
        let newest = newest(path, &page.in_span(span), Since::of(span, number)).unwrap();
        (newest.found, newest.next.is_some())
    }

    #[test]
    fn what_is_out_of_the_time_is_not_read_and_the_last_page_says_that_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("e");
        write(&folder.path().join("e.20260705T000000Z-1"), 0..96);
        write(&live, 96..200);
        let page = || Page::newest(1000, Duration::from_secs(600));
        let since = |since| Span { since: Some(hour(since)), until: None };
        // One line says that it is enough.
        assert_eq!(looked_at(&live, since(190), page()), ((189..200).rev().collect(), false));
        assert_eq!(looked_at(&live, since(90), page()), ((89..200).rev().collect(), false));
        assert_eq!(looked_at(&live, since(500), page()), (vec![199], false));
        assert_eq!(looked_at(&live, since(-1), page()).0.len(), 200);
        // Less than all of it: there is more.
        assert_eq!(looked_at(&live, since(90), Page { limit: 3, ..page() }), (vec![199, 198, 197], true));
        let until = |until| Span { since: None, until: Some(hour(until)) };
        assert_eq!(looked_at(&live, until(50), page()), ((0..74).rev().collect(), false), "a day for the clock");
        assert_eq!(looked_at(&live, until(-100), page()), (vec![], false));
        assert_eq!(looked_at(&live, until(500), page()).0.len(), 200);
        let both = Span { since: Some(hour(40)), until: Some(hour(50)) };
        assert_eq!(looked_at(&live, both, page()), ((39..74).rev().collect(), false));
        // The next page goes on where it was told to, if that is older.
        let before = |number| Page { before: Some(first_of(since_1970(hour(number)))), ..page() };
        assert_eq!(looked_at(&live, until(50), before(45)).0[0], 44);
        assert_eq!(looked_at(&live, until(50), before(150)).0[0], 73);
    }
}
