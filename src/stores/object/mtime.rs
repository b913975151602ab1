//! The kept modification time: the metadata `mtime`, written as rclone writes it for each store, so that each reads the
//! other's.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use object_store::{Attribute, Attributes, ObjectMeta};

use crate::stores::{Kind, Stat};

/// The metadata's name; a header `x-amz-meta-mtime` on S3.
pub(in crate::stores) const MTIME: &str = "mtime";

/// The metadata of gcloud and gsutil, in seconds since 1970; read where there is no [`MTIME`].
const MTIME_OF_GCLOUD: &str = "goog-reserved-file-mtime";

/// The metadata of an empty object that stands for a directory on Azure.
pub(in crate::stores) const FOLDER: &str = "hdi_isfolder";

/// Whether an object stands for a directory.
pub(in crate::stores) fn is_folder(meta: &ObjectMeta, attributes: &Attributes) -> bool {
    let says = attributes.get(&Attribute::Metadata(Cow::Borrowed(FOLDER)));
    meta.size == 0 && says.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// How the time is written. Both forms are read everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stores) enum MtimeForm {
    /// Seconds since 1970 with up to nine decimals (S3): `1700000000.123456789`.
    Seconds,
    /// RFC 3339 with nanoseconds (Azure, Google).
    Rfc3339,
    /// Not at all: the store has its own times only.
    NotKept,
}

impl MtimeForm {
    /// The time as text; `None` when it lies beyond what the form can say.
    pub(in crate::stores) fn write(self, time: SystemTime) -> Option<String> {
        match self {
            MtimeForm::Seconds => Some(seconds(time)),
            MtimeForm::NotKept => None,
            MtimeForm::Rfc3339 => {
                let whole = match time.duration_since(UNIX_EPOCH) {
                    Ok(after) => i64::try_from(after.as_nanos()).ok()?,
                    Err(error) => i64::try_from(error.duration().as_nanos()).ok()?.checked_neg()?,
                };
                Some(DateTime::<Utc>::from_timestamp_nanos(whole).to_rfc3339_opts(SecondsFormat::Nanos, true))
            }
        }
    }
}

fn seconds(time: SystemTime) -> String {
    let (sign, distance) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => ("", after),
        Err(error) => ("-", error.duration()),
    };
    let text = format!("{sign}{}.{:09}", distance.as_secs(), distance.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads either form; `None` for anything else.
pub(in crate::stores) fn read(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if text.contains('T') {
        return DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    let distance = Duration::new(whole.parse().ok()?, nanos);
    if negative { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

/// The kept modification time among an object's metadata.
pub(in crate::stores) fn kept_time<'m>(metadata: impl Fn(&str) -> Option<&'m str>) -> Option<SystemTime> {
    [MTIME, MTIME_OF_GCLOUD].into_iter().find_map(|name| metadata(name).and_then(read))
}

/// The attributes of an object that was looked up: its kept time, else the store's.
pub(in crate::stores) fn stat_of(meta: &ObjectMeta, attributes: &Attributes) -> Stat {
    let metadata = |name: &str| attributes.get(&Attribute::Metadata(Cow::Owned(name.to_owned())));
    let kept = kept_time(|name| metadata(name).map(AsRef::as_ref));
    Stat {
        kind: if is_folder(meta, attributes) { Kind::Directory } else { Kind::File },
        size: meta.size,
        mtime: Some(kept.unwrap_or_else(|| meta.last_modified.into())),
        etag: bare_etag(meta.e_tag.clone()),
    }
}

/// An entity tag without its quotes.
pub(in crate::stores) fn bare_etag(etag: Option<String>) -> Option<String> {
    etag.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rclone_writes_them() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(MtimeForm::Seconds.write(time).unwrap(), "1700000000.123456789");
        assert_eq!(MtimeForm::Seconds.write(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap(), "1700000000");
        assert_eq!(MtimeForm::Seconds.write(UNIX_EPOCH + Duration::from_millis(10_500)).unwrap(), "10.5");
        assert_eq!(MtimeForm::Rfc3339.write(time).unwrap(), "2023-11-14T22:13:20.123456789Z");
    }

    #[test]
    fn both_forms_are_read_and_nonsense_is_not() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        for form in [MtimeForm::Seconds, MtimeForm::Rfc3339] {
            for wanted in [time, UNIX_EPOCH, UNIX_EPOCH - Duration::from_millis(1_500)] {
                assert_eq!(read(&form.write(wanted).unwrap()), Some(wanted));
            }
        }
        assert_eq!(read("2023-11-14T22:13:20+00:00"), Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        for wrong in ["", "x", "1.2.3", "1e9", "--1", "99999999999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
