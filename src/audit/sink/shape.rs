//! Which events a sink takes, and in which form: from whole lines to whole lines, in the sink's thread.

use bytes::Bytes;

use super::filter::Filter;
use super::{heading, ocsf};

/// Which events a sink takes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Which ones.
    pub filter: Filter,
    /// In which form.
    pub format: Format,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The fields of AWS Transfer Family, and Lockgate's: the line as it was recorded.
    #[default]
    TransferFamily,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
}

impl Shape {
    /// Whether every line passes as it is: the sink then holds the whole trail.
    pub(in crate::audit) fn is_plain(&self) -> bool {
        self.filter.takes_all() && self.format == Format::TransferFamily
    }

    /// The lines, and how many, that pass of these, in their form.
    pub(super) fn apply(&self, lines: Bytes, events: usize) -> (Bytes, usize) {
        if self.is_plain() {
            return (lines, events);
        }
        let mut shaped = Vec::with_capacity(lines.len());
        let mut count = 0;
        for line in heading::lines(&lines).filter(|line| self.filter.takes(line)) {
            match self.format {
                Format::TransferFamily => shaped.extend_from_slice(line),
                Format::Ocsf => shaped.extend(ocsf::translate(line)),
            }
            shaped.push(b'\n');
            count += 1;
        }
        (shaped.into(), count)
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
        let no_lists = Shape { filter, format: Format::TransferFamily };
        assert_eq!(no_lists.apply(lines.clone(), 2), (lines.slice(..25), 1));
        let (ocsf, count) = Shape { format: Format::Ocsf, ..no_lists.clone() }.apply(lines.clone(), 2);
        assert!(count == 1 && ocsf.ends_with(b"}\n") && ocsf.iter().filter(|byte| **byte == b'\n').count() == 1);
        let none = Filter { activities: Some(vec!["CLOSE".into()]), ..Filter::default() };
        assert_eq!(Shape { filter: none, format: Format::Ocsf }.apply(lines, 2), (Bytes::new(), 0));
    }
}
