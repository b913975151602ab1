//! Events on their way from the gateway that recorded them to those who follow at another one.
//!
//! The other one believes nothing of them: what it shows is a JSON object of a known activity, in the forms of the schema, from the gateway
//! that it names. Whether it was recorded, only the trail of that gateway says.

use serde_json::{Map, Value};

use super::described::has_control;
use super::view::name_of;
use crate::audit::schema;

/// The longest event that is told, in bytes; two paths of the longest kind fit.
pub(super) const LONGEST_LINE: usize = 32 << 10;

/// The longest id of a gateway, in bytes.
const LONGEST_ID: usize = 300;

/// The longest text of one that is told, in bytes: the event, the gateway and the number.
pub(super) const LONGEST_TOLD: usize = LONGEST_LINE + LONGEST_ID + 32;

/// Something that a gateway tells those who follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The gateway's id.
    pub(super) gateway: String,
    /// Which of its lines it is: each has the next number. A sign of life has the number of the line before it.
    pub(super) number: u64,
    /// The event, as it was recorded; `None` for a sign of life, and for an event that is not shown.
    pub(super) event: Option<String>,
}

impl Line {
    /// The text for Redis.
    pub(super) fn write(gateway: &str, number: u64, event: &str) -> String {
        format!("{number} {gateway}\n{event}")
    }

    /// What somebody has written; `None` when it makes no sense.
    pub(super) fn read(text: &[u8]) -> Option<Line> {
        let (head, event) = std::str::from_utf8(text).ok()?.split_once('\n')?;
        let (number, gateway) = head.split_once(' ')?;
        let number = number.parse().ok()?;
        if gateway.is_empty() || gateway.len() > LONGEST_ID || has_control(gateway) {
            return None;
        }
        let event = Some(event).filter(|event| !event.is_empty());
        let shown = event.map_or(Some(false), |event| may_be_shown(event, &name_of(gateway)))?;
        Some(Line { gateway: gateway.to_owned(), number, event: event.filter(|_| shown).map(str::to_owned) })
    }
}

/// Whether a line may be shown as an event of this gateway. An activity that another version has may not: it is missing. `None` for what no
/// gateway tells.
fn may_be_shown(line: &str, gateway: &str) -> Option<bool> {
    let is_one = line.len() <= LONGEST_LINE && line.starts_with("{\"") && !line.bytes().any(|byte| byte < b' ');
    let event = is_one.then(|| serde_json::from_str::<Map<String, Value>>(line).ok()).flatten()?;
    // The name is put before it where it is shown.
    let is_of_gateway = !event.contains_key("gateway") && event.get("server") == Some(&gateway.into());
    let activity = event.get("activity-type").filter(|_| is_of_gateway)?.as_str()?;
    if !schema::activities().any(|known| known == activity) {
        return Some(false);
    }
    schema::has_known_forms(&event).then_some(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Value {
        json!({
            "activity-type": "FLEET_JOINED", "resource-arn": "lockgate:server/edge-1", "message": "together",
            "timestamp": "2026-07-31T08:15:30.042Z", "event-id": "019fb73e-20fa-7b3d-8f21-4a6c0e97d000",
            "server": "edge-1", "sequence": 7, "previous": "0".repeat(64),
        })
    }

    fn read(gateway: &str, event: &str) -> Option<Line> {
        Line::read(Line::write(gateway, 7, event).as_bytes())
    }

    #[test]
    fn lines_are_read_as_they_were_told() {
        for gateway in ["edge-1.0123", "edge-1.a b"] {
            let line = event().to_string();
            let told = Line { gateway: gateway.into(), number: 7, event: Some(line.clone()) };
            assert_eq!(read(gateway, &line), Some(told));
        }
        let sign = Line { gateway: "edge 1.0123".into(), number: 7, event: None };
        assert_eq!(read("edge 1.0123", ""), Some(sign));
    }

    #[test]
    fn what_cannot_be_an_event_of_that_gateway_is_not_read() {
        let with = |name: &str, value: Value| {
            let mut event = event();
            event[name] = value;
            event.to_string()
        };
        let without = |name: &str| {
            let mut event = event();
            event.as_object_mut().unwrap().remove(name);
            event.to_string()
        };
        for line in [
            "7".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            format!("{} ", event()).replace(' ', "\n"),
            format!(" {}", event()),
            event().to_string().replace("together", "\u{1}"),
            with("activity-type", 7.into()),
            with("server", "edge-2".into()),
            with("gateway", "edge-1".into()),
            with("message", 7.into()),
            with("sequence", "7".into()),
            with("sequence", (-7).into()),
            with("of-tomorrow", json!({ "deep": {} })),
            with("message", "x".repeat(LONGEST_LINE).into()),
            without("server"),
            without("event-id"),
            without("activity-type"),
        ] {
            assert_eq!(read("edge-1.0123", &line), None, "{line:.200}");
        }
        assert!(read("edge-1.0123", &with("of-tomorrow", "a word".into())).is_some(), "a newer gateway says more");
        let unknown = Line { gateway: "edge-1.0123".into(), number: 7, event: None };
        assert_eq!(read("edge-1.0123", &with("activity-type", "OF_TOMORROW".into())), Some(unknown));
        for text in [&b""[..], b"\xff", b"7 edge-1.0123", b"x edge-1.0123\n", b"7 \n", b"7 edge\x1b-1.0123\n"] {
            assert_eq!(Line::read(text), None, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(Line::read(format!("7 {}\n", "x".repeat(LONGEST_ID + 1)).as_bytes()), None);
    }
}
