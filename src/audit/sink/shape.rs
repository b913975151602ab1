//! Which events a sink takes, and in which form: from whole lines to whole lines, in the sink's thread.

use bytes::Bytes;
use serde::Deserialize;

use super::filter::Filter;
use super::notify::{TemporaryNames, is_told};
use super::ocsf::OcsfVersion;
use super::{ecs, heading, ocsf};

/// Which events a sink takes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Which ones.
    pub filter: Filter,
    /// In which form.
    pub format: Format,
    /// Of notifications: what is a temporary name.
    pub temporary: TemporaryNames,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The fields of AWS Transfer Family, and Lockgate's: the line as it was recorded.
    #[default]
    TransferFamily,
    /// The Open Cybersecurity Schema Framework.
    Ocsf(OcsfVersion),
    /// The Elastic Common Schema.
    Ecs,
    /// Notifications of finished files, as Transfer Family sends them to EventBridge.
    EventBridge,
    /// Notifications of finished files, as CloudEvents 1.0.
    CloudEvents,
}

impl Format {
    /// Whether it has one notification for each finished file rather than one line for each event.
    pub fn is_notification(self) -> bool {
        matches!(self, Format::EventBridge | Format::CloudEvents)
    }
}

impl Shape {
    /// Whether every line passes as it is: the sink then holds the whole trail.
    pub fn is_plain(&self) -> bool {
        self.filter.takes_all() && self.format == Format::TransferFamily
    }

    /// The lines, and how many, that pass of these, in their form. Of notifications: the lines that they will be made of.
    pub(super) fn apply(&self, lines: Bytes, events: usize) -> (Bytes, usize) {
        if self.is_plain() {
            return (lines, events);
        }
        let mut shaped = Vec::with_capacity(lines.len());
        let mut count = 0;
        for line in heading::lines(&lines).filter(|line| self.takes(line)) {
            match self.format {
                Format::TransferFamily | Format::EventBridge | Format::CloudEvents => shaped.extend_from_slice(line),
                Format::Ocsf(version) => shaped.extend(ocsf::translate(line, version)),
                Format::Ecs => shaped.extend(ecs::translate(line)),
            }
            shaped.push(b'\n');
            count += 1;
        }
        (shaped.into(), count)
    }

    /// A rename and the upload before it make one notification, which alone the filter can judge.
    fn takes(&self, line: &[u8]) -> bool {
        match self.format.is_notification() {
            true => Told::of(line).is_none_or(|told| is_told(&told.activity_type, told.operation.as_deref())),
            false => self.filter.takes(line),
        }
    }
}

/// What says whether a notification can be made of a line.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Told {
    activity_type: String,
    operation: Option<String>,
}

impl Told {
    fn of(line: &[u8]) -> Option<Told> {
        serde_json::from_slice(line).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_come_out_and_are_counted() {
        let lines = Bytes::from_static(b"{\"activity-type\":\"OPEN\"}\n{\"activity-type\":\"LIST\"}\n");
        assert_eq!(Shape::default().apply(lines.clone(), 2), (lines.clone(), 2));
        let filter = Filter { except: vec!["LIST".into()], ..Filter::default() };
        let no_lists = Shape { filter, ..Shape::default() };
        assert_eq!(no_lists.apply(lines.clone(), 2), (lines.slice(..25), 1));
        let (ocsf, count) =
            Shape { format: Format::Ocsf(OcsfVersion::V1_4), ..no_lists.clone() }.apply(lines.clone(), 2);
        assert!(count == 1 && ocsf.ends_with(b"}\n") && ocsf.iter().filter(|byte| **byte == b'\n').count() == 1);
        let none = Filter { activities: Some(vec!["CLOSE".into()]), ..Filter::default() };
        assert_eq!(
            Shape { filter: none, format: Format::Ocsf(OcsfVersion::V1_8), ..Shape::default() }.apply(lines, 2),
            (Bytes::new(), 0)
        );
    }
}
