//! The names that other programs give to the files that they rotate: those of logrotate, which newsyslog and others have in common with it.

use super::files::{ENDINGS, PACKED, Rotated};

/// How such a program compresses if it does not use gzip.
const PACKED_OTHERWISE: [&str; 7] = [".bz2", ".xz", ".zst", ".lz4", ".lzma", ".Z", ".zip"];

/// Digits of the shortest date (`%y%m%d`). After a hyphen, less is a part of the name.
const DATE: usize = 6;

/// Digits of a year, with which a date of several groups begins (`%Y-%m-%d`).
const YEAR: usize = 4;

/// A file that another program rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ByOthers {
    /// The live file that it was.
    pub(super) live: String,
    /// What its name has for its age: a number, or a date.
    pub(super) stamp: String,
    /// Whether the stamp stands before the ending of the name, as with the option `extension`. Many other names look so.
    pub(super) is_within: bool,
}

impl ByOthers {
    /// Reads `LIVE.1`, `LIVE-20261130`, `LIVE.20261130`, `LIVE-20261130-1796034000`, and with a live file `NAME.ndjson` also
    /// `NAME-20261130.ndjson` and the like; each may be packed.
    pub(super) fn parse(name: &str) -> Option<ByOthers> {
        if Rotated::parse(name).is_some() {
            return None;
        }
        let plain = name.strip_suffix(PACKED).unwrap_or(name);
        if let Some((live, stamp)) = split(plain) {
            return Some(ByOthers { live: live.to_owned(), stamp: stamp.to_owned(), is_within: false });
        }
        let (stem, ending) = ENDINGS.iter().find_map(|ending| Some((plain.strip_suffix(ending)?, ending)))?;
        let (live, stamp) = split(stem)?;
        Some(ByOthers { live: format!("{live}{ending}"), stamp: stamp.to_owned(), is_within: true })
    }

    /// Where it stands among those of its trail when nothing in it says so: numbers count from the newest on, dates from the oldest.
    pub(super) fn order(&self) -> (String, u64) {
        match self.stamp.parse::<u64>() {
            Ok(number) if self.stamp.len() < DATE => (String::new(), u64::MAX - number),
            _ => (self.stamp.clone(), 0),
        }
    }
}

/// The name without what says that it was compressed by something else than gzip; `None` for other names.
pub(super) fn packed_otherwise(name: &str) -> Option<&str> {
    PACKED_OTHERWISE.iter().find_map(|ending| name.strip_suffix(ending))
}

/// A name and the number or date at its end.
fn split(name: &str) -> Option<(&str, &str)> {
    let before = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let (live, stamp) = match name.get(before.len()..)?.strip_prefix('-') {
        Some(stamp) => (before, stamp),
        None => (before.strip_suffix('.')?, name.get(before.len()..)?),
    };
    let is_name = !live.is_empty() && !live.ends_with('/');
    let groups: Vec<usize> = stamp.split('-').map(str::len).collect();
    let is_date = groups.first().is_some_and(|first| *first >= YEAR) && groups.iter().sum::<usize>() >= DATE;
    let is_stamp = groups.iter().all(|digits| *digits > 0) && (is_date || before.ends_with('.'));
    (is_name && is_stamp).then_some((live, stamp))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logrotate_are_known() {
        for (name, live, order) in [
            ("/l/e.ndjson.1", "/l/e.ndjson", ("", u64::MAX - 1)),
            ("/l/e.ndjson.12.gz", "/l/e.ndjson", ("", u64::MAX - 12)),
            ("e.ndjson-20261130", "e.ndjson", ("20261130", 0)),
            ("e.ndjson.20261130.gz", "e.ndjson", ("20261130", 0)),
            ("e.ndjson-2026113014.gz", "e.ndjson", ("2026113014", 0)),
            ("e.ndjson-20261130-1796034000", "e.ndjson", ("20261130-1796034000", 0)),
            ("e.ndjson-2026-11-30", "e.ndjson", ("2026-11-30", 0)),
            ("e.ndjson-1-1-2", "", ("", 0)),
            ("e-20261130.ndjson", "e.ndjson", ("20261130", 0)),
            ("e.3.ndjson.gz", "e.ndjson", ("", u64::MAX - 3)),
            ("e.ndjson", "", ("", 0)),
            ("edge-1.ndjson", "", ("", 0)),
            ("edge-1-1-2.ndjson.gz", "", ("", 0)),
            ("e.ndjson.20260731T081530Z-4711000", "", ("", 0)),
            ("/l/.1", "", ("", 0)),
            ("e.ndjson.1-", "", ("", 0)),
            ("7", "", ("", 0)),
        ] {
            let parsed = ByOthers::parse(name);
            match live {
                "" => assert_eq!(parsed, None, "{name}"),
                live => {
                    let parsed = parsed.unwrap();
                    assert_eq!((parsed.live.as_str(), parsed.order()), (live, (order.0.to_owned(), order.1)), "{name}");
                    assert_eq!(parsed.is_within, name.trim_end_matches(".gz").ends_with(".ndjson"), "{name}");
                }
            }
        }
        assert_eq!((packed_otherwise("e.ndjson.1.zst"), packed_otherwise("e.ndjson.1.gz")), (Some("e.ndjson.1"), None));
    }
}
