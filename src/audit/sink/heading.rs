//! What a sink has to know of a line: when it happened, what it is, and its place in the order. Read from any format.

use serde::Deserialize;

/// The fields that say which event a line is. A line that is not JSON has none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heading {
    /// `activity-type`
    pub(super) activity: Option<String>,
    /// `timestamp`, as it stands.
    pub(super) timestamp: Option<String>,
    /// `event-id`
    pub(super) event_id: Option<String>,
    /// `sequence`
    pub(super) sequence: Option<u64>,
    /// How it went: `success`, `denied` or `failure`.
    pub(super) status: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Plain {
    activity_type: Option<String>,
    timestamp: Option<String>,
    event_id: Option<String>,
    sequence: Option<u64>,
    // OCSF has a text here as well, in capital letters.
    status: Option<String>,
    metadata: Option<Metadata>,
    // A number in OCSF.
    time: serde_json::Value,
    id: Option<String>,
    event: Option<Ecs>,
}

/// Where ECS keeps the same.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Ecs {
    code: Option<String>,
    created: Option<String>,
    id: Option<String>,
    sequence: Option<u64>,
    outcome: Option<String>,
}

/// Where the OCSF format keeps the same.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    event_code: Option<String>,
    original_time: Option<String>,
    uid: Option<String>,
    sequence: Option<u64>,
}

impl Heading {
    /// Reads a line.
    pub(super) fn of(line: &[u8]) -> Heading {
        let plain: Plain = serde_json::from_slice(line).unwrap_or_default();
        let (ocsf, ecs) = (plain.metadata.unwrap_or_default(), plain.event.unwrap_or_default());
        let time = || plain.time.as_str().map(str::to_owned);
        // An event that says nothing of an outcome has "unknown" in ECS.
        let outcome = ecs.outcome.filter(|outcome| outcome != "unknown");
        Heading {
            activity: plain.activity_type.or(ocsf.event_code).or(ecs.code),
            timestamp: plain.timestamp.or(ocsf.original_time).or(ecs.created).or_else(time),
            event_id: plain.event_id.or(ocsf.uid).or(ecs.id).or(plain.id),
            sequence: plain.sequence.or(ocsf.sequence).or(ecs.sequence),
            status: plain.status.or(outcome).map(|status| status.to_ascii_lowercase()),
        }
    }

    /// Date and hour, `2026-07-31T08`, if the time has the form that it should.
    pub(super) fn hour(&self) -> Option<&str> {
        let hour = self.timestamp.as_deref()?.get(..13)?;
        let form = |(place, byte): (usize, u8)| match place {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            _ => byte.is_ascii_digit(),
        };
        hour.bytes().enumerate().all(form).then_some(hour)
    }
}

/// The lines of a batch, without their newlines.
pub(super) fn lines(batch: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    batch.strip_suffix(b"\n").unwrap_or(batch).split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let plain = br#"{"activity-type":"OPEN","timestamp":"2026-07-31T08:15:38.042Z","event-id":"e","status":"denied","sequence":7}"#;
        let ocsf = br#"{"metadata":{"event_code":"OPEN","original_time":"2026-07-31T08:15:38.042Z","uid":"e","sequence":7},"status":"Denied"}"#;
        assert_eq!(Heading::of(plain), Heading::of(ocsf));
        let notification = br#"{"id":"e","time":"2026-07-31T08:15:38Z"}"#;
        let id = Heading::of(notification).event_id;
        assert_eq!((id.as_deref(), Heading::of(notification).hour()), (Some("e"), Some("2026-07-31T08")));
        assert_eq!(Heading::of(plain).hour(), Some("2026-07-31T08"));
        assert_eq!(Heading::of(b"{\"sequence\":"), Heading::default());
        let odd = Heading { timestamp: Some("../../../../etc/passwd".into()), ..Heading::default() };
        assert_eq!(odd.hour(), None);
    }

    #[test]
    fn lines_have_no_newlines() {
        assert_eq!(lines(b"a\nb\n").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(lines(b"a\nb").next_back(), Some(&b"b"[..]));
        assert_eq!(lines(b"").count(), 0);
    }
}
