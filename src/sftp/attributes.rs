//! File attributes on the wire (draft-ietf-secsh-filexfer-02 section 5) and the `longname` of a listing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Utc};

use super::wire::Fields;
use crate::session::{AttributeChange, Attributes, Kind};

/// The owner that every file shows; the name behind it is the user's.
pub(super) const USER_ID: u32 = 1000;
/// The group that every file shows; the name behind it is the user's.
pub(super) const GROUP_ID: u32 = 1000;

const HAS_SIZE: u32 = 0x1;
const HAS_OWNER: u32 = 0x2;
const HAS_PERMISSIONS: u32 = 0x4;
const HAS_TIMES: u32 = 0x8;
const HAS_EXTENDED: u32 = 0x8000_0000;

const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;

/// How long ago a change shows its time of day rather than its year: half a year, as OpenSSH's `ls_file` has it.
const RECENT: Duration = Duration::from_secs(365 * 24 * 60 * 60 / 2);

/// Reads attributes. Flags that the draft does not define are ignored, as OpenSSH does. Of extended attributes it is only kept
/// that there are some. An access time is no attribute of ours.
pub(super) fn decode(fields: &mut Fields<'_>) -> Option<AttributeChange> {
    let flags = fields.u32()?;
    let mut change = AttributeChange::default();
    if flags & HAS_SIZE != 0 {
        change.size = Some(fields.u64()?);
    }
    if flags & HAS_OWNER != 0 {
        change.owner = Some((fields.u32()?, fields.u32()?));
    }
    if flags & HAS_PERMISSIONS != 0 {
        change.mode = Some(fields.u32()? & 0o7777);
    }
    if flags & HAS_TIMES != 0 {
        let _accessed = fields.u32()?;
        change.mtime = Some(UNIX_EPOCH + Duration::from_secs(u64::from(fields.u32()?)));
    }
    if flags & HAS_EXTENDED != 0 {
        // The count is the client's word; the loop ends with the packet.
        let count = fields.u32()?;
        change.extended = count > 0;
        for _ in 0..count {
            fields.string()?;
            fields.string()?;
        }
    }
    Some(change)
}

/// Appends attributes. Without a known mtime, the times are left out.
pub(super) fn encode(attributes: &Attributes, out: &mut BytesMut) {
    let times = attributes.mtime.map(wire_time);
    let flags = HAS_SIZE | HAS_OWNER | HAS_PERMISSIONS | if times.is_some() { HAS_TIMES } else { 0 };
    out.put_u32(flags);
    out.put_u64(attributes.size);
    out.put_u32(USER_ID);
    out.put_u32(GROUP_ID);
    out.put_u32(mode(attributes));
    if let Some(seconds) = times {
        out.put_u32(seconds);
        out.put_u32(seconds);
    }
}

/// Seconds since 1970; a time that the field cannot hold is shown as the nearest one.
fn wire_time(time: SystemTime) -> u32 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

fn mode(attributes: &Attributes) -> u32 {
    let kind = match attributes.kind {
        Kind::File => S_IFREG,
        Kind::Directory => S_IFDIR,
    };
    kind | (attributes.mode & 0o7777)
}

/// A line as `ls -l` of OpenSSH's server prints it. Times are UTC; an unknown one shows as 1970, as it does there.
pub(super) fn longname(name: &str, attributes: &Attributes, user: &str, now: SystemTime) -> String {
    let mtime = attributes.mtime.unwrap_or(UNIX_EPOCH);
    let seconds = i64::from(wire_time(mtime));
    let is_recent = now.duration_since(mtime).map_or(true, |age| age < RECENT);
    let format = if is_recent { "%b %e %H:%M" } else { "%b %e  %Y" };
    let date = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().format(format);
    format!("{} {:>3} {user:<8} {user:<8} {:>8} {date} {name}", mode_text(attributes), 1, attributes.size)
}

/// As `strmode(3)`: eleven characters, the last of them a space.
fn mode_text(attributes: &Attributes) -> String {
    let mut text = String::with_capacity(11);
    text.push(match attributes.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if attributes.mode & (1 << bit) != 0 { letter } else { '-' });
    }
    text.push(' ');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn file(mode: u32, size: u64, mtime: Option<SystemTime>) -> Attributes {
        Attributes { kind: Kind::File, size, mtime, mode }
    }

    #[test]
    fn attributes_are_those_of_the_draft() {
        let mut out = BytesMut::new();
        encode(&file(0o644, 0x0102_0304_0506, Some(at(1_700_000_000))), &mut out);
        let golden = [
            &[0, 0, 0, 0x0f][..],
            &[0, 0, 1, 2, 3, 4, 5, 6],
            &[0, 0, 0x03, 0xe8, 0, 0, 0x03, 0xe8],
            &[0, 0, 0x81, 0xa4],
            &[0x65, 0x53, 0xf1, 0, 0x65, 0x53, 0xf1, 0],
        ]
        .concat();
        assert_eq!(out, golden);

        out.clear();
        encode(&Attributes { kind: Kind::Directory, size: 0, mtime: None, mode: 0o555 }, &mut out);
        assert_eq!(out[..4], [0, 0, 0, 7], "no times when none is known");
        assert_eq!(out[20..], [0, 0, 0x41, 0x6d]);
    }

    #[test]
    fn times_that_do_not_fit_show_as_the_nearest() {
        assert_eq!(wire_time(UNIX_EPOCH - Duration::from_secs(5)), 0);
        assert_eq!(wire_time(at(u64::from(u32::MAX) + 5)), u32::MAX);
    }

    #[test]
    fn changes_are_read_with_all_their_fields() {
        let raw = Bytes::from(
            [
                &[0x80, 0, 0, 0x0f][..],
                &[0, 0, 0, 0, 0, 0, 0, 9],
                &[0, 0, 0, 1, 0, 0, 0, 2],
                &[0, 0, 0x81, 0xa4],
                &[0, 0, 0, 3, 0, 0, 0, 4],
                &[0, 0, 0, 1, 0, 0, 0, 1, b'n', 0, 0, 0, 1, b'v'],
            ]
            .concat(),
        );
        let change = decode(&mut Fields::new(&raw)).unwrap();
        let owner = Some((1, 2));
        let wanted = AttributeChange { size: Some(9), mtime: Some(at(4)), mode: Some(0o644), owner, extended: true };
        assert_eq!(change, wanted);
        for short in 0..raw.len() {
            assert_eq!(decode(&mut Fields::new(&raw.slice(..short))), None, "cut after {short}");
        }
    }

    #[test]
    fn a_count_of_extended_attributes_is_not_believed() {
        let raw = Bytes::from_static(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode(&mut Fields::new(&raw)), None);
    }

    #[test]
    fn longnames_are_openssh_lines() {
        let now = at(1_763_751_600); // 2025-11-21 19:00
        let directory = Attributes { kind: Kind::Directory, size: 4096, mtime: Some(now), mode: 0o755 };
        assert_eq!(
            longname("name", &directory, "user", now),
            "drwxr-xr-x    1 user     user         4096 Nov 21 19:00 name"
        );
        let old = file(0o444, 12_345_678_901, Some(at(1_699_999_999)));
        assert_eq!(
            longname("a b", &old, "a-long-user-name", now),
            "-r--r--r--    1 a-long-user-name a-long-user-name 12345678901 Nov 14  2023 a b"
        );
        let none = file(0o600, 0, None);
        assert_eq!(longname("x", &none, "u", now), "-rw-------    1 u        u               0 Jan  1  1970 x");
        let future = file(0o600, 1, Some(at(1_763_751_600 + 86_400 * 400)));
        assert!(longname("x", &future, "u", now).contains("Dec 26 19:00"), "{}", longname("x", &future, "u", now));
    }
}
