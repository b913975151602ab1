//! A stretch of time, and which files and objects can hold something of it, judged by their names.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// How far the time in a name may be from the times of the events in it: a batch may wait for its store, and clocks are set.
pub(super) const MARGIN: TimeDelta = TimeDelta::hours(24);

/// From when until when; an end that is `None` is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment of it.
    pub since: Option<DateTime<Utc>>,
    /// The first moment after it.
    pub until: Option<DateTime<Utc>>,
}

impl Span {
    /// Whether a moment is in it.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// Those of `parts` that may hold something of it.
    pub(super) fn wanted<T>(&self, parts: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        if *self == Span::default() {
            return parts;
        }
        parts.into_iter().filter(|part| self.may_hold(name(part))).collect()
    }

    fn may_hold(&self, name: &str) -> bool {
        if let Some(hour) = hour_of(name) {
            let before = self.since.is_some_and(|since| hour + TimeDelta::hours(1) + MARGIN <= since);
            let after = self.until.is_some_and(|until| hour - MARGIN >= until);
            return !before && !after;
        }
        // A rotated file has nothing of what came after its rotation.
        match rotation_of(name) {
            Some(rotated) => self.since.is_none_or(|since| rotated + MARGIN > since),
            None => true,
        }
    }
}

/// The hour of `…/year=2026/month=07/day=31/hour=08/…`.
pub(super) fn hour_of(name: &str) -> Option<DateTime<Utc>> {
    let part =
        |key: &str| -> Option<u32> { name.split('/').rev().find_map(|part| part.strip_prefix(key))?.parse().ok() };
    let year = i32::try_from(part("year=")?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, part("month=")?, part("day=")?)?;
    Some(date.and_hms_opt(part("hour=")?, 0, 0)?.and_utc())
}

/// The time of `PATH.20260731T081530Z-123` and of the same with `.gz`.
fn rotation_of(name: &str) -> Option<DateTime<Utc>> {
    let rotated = super::files::Rotated::parse(name)?;
    let time = NaiveDateTime::parse_from_str(&rotated.time, "%Y%m%dT%H%M%SZ").ok()?;
    Some(time.and_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_out_of_the_time_by_its_name_is_not_read() {
        let hour = "audit/year=2026/month=07/day=31/hour=08/edge-1-1-2.ndjson.gz";
        let file = "/log/events.ndjson.20260731T081530Z-123.gz";
        let since = |text| Span { since: Some(at(text)), until: None };
        let until = |text| Span { since: None, until: Some(at(text)) };
        for (name, span, held) in [
            (hour, since("2026-07-31T08:30:00Z"), true),
            (hour, since("2026-08-01T08:59:59Z"), true),
            (hour, since("2026-08-01T09:00:00Z"), false),
            (hour, until("2026-07-30T08:00:01Z"), true),
            (hour, until("2026-07-30T08:00:00Z"), false),
            (file, since("2026-08-01T08:15:29Z"), true),
            (file, since("2026-08-01T08:15:30Z"), false),
            (file, until("1970-01-01T00:00:00Z"), true),
            ("/log/events.ndjson", since("2036-01-01T00:00:00Z"), true),
            ("year=2026/month=13/day=31/hour=08/x", since("2036-01-01T00:00:00Z"), true),
            (hour, Span::default(), true),
        ] {
            assert_eq!(span.may_hold(name), held, "{name} {span:?}");
        }
    }

    #[test]
    fn a_span_has_its_first_moment_and_not_its_last() {
        let span = Span { since: Some(at("2026-07-31T08:00:00Z")), until: Some(at("2026-07-31T09:00:00Z")) };
        assert!(span.contains(at("2026-07-31T08:00:00Z")) && span.contains(at("2026-07-31T08:59:59.999Z")));
        assert!(!span.contains(at("2026-07-31T07:59:59.999Z")) && !span.contains(at("2026-07-31T09:00:00Z")));
    }
}
