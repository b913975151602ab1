//! The end of a line: its number and the hash of the line before it.

use crate::audit::chain::{self, Hash};

/// The field that holds the number.
const SEQUENCE: &[u8] = b"\"sequence\":";
/// What stands between the number and the hash.
const PREVIOUS: &[u8] = b",\"previous\":\"";
/// What stands after the hash.
const END: &[u8] = b"\"}";
/// Hex digits of a hash.
const DIGITS: usize = 64;

/// The largest number, so that counting on from it stays a number.
const LARGEST: u64 = u64::MAX >> 1;

/// The last two fields of a line.
///
/// They are read from the end of the line, where they have one form, so that an ordinary line is not parsed as JSON. A text
/// cannot look like them: its quotation marks are escaped, so that `,"` does not occur within it, and only the last brace of a
/// line closes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) sequence: u64,
    pub(super) previous: Hash,
}

impl Tail {
    /// Reads the end of a line, with or without a signature behind it.
    pub(super) fn of(line: &[u8]) -> Option<Tail> {
        Tail::of_unsigned(line).or_else(|| Tail::of_unsigned(&chain::signed_bytes(line)?))
    }

    fn of_unsigned(line: &[u8]) -> Option<Tail> {
        if !line.starts_with(b"{") {
            return None;
        }
        let rest = line.strip_suffix(END)?;
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
        let rest = rest.strip_suffix(PREVIOUS)?;
        let number = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, number) = rest.split_at_checked(rest.len() - number)?;
        let before = rest.strip_suffix(SEQUENCE)?.last()?;
        if !matches!(before, b',' | b'{') || number.starts_with(b"0") {
            return None;
        }
        let sequence = std::str::from_utf8(number).ok()?.parse().ok().filter(|sequence| *sequence <= LARGEST)?;
        Some(Tail { sequence, previous: std::str::from_utf8(digits).ok()?.parse().ok()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_fields_count() {
        let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let tail = |line: &str| Tail::of(line.as_bytes()).map(|tail| (tail.sequence, tail.previous.to_string()));
        let end = format!("\"sequence\":7,\"previous\":\"{hash}\"}}");
        let expected = Some((7, hash.to_owned()));
        assert_eq!(tail(&format!("{{{end}")), expected);
        assert_eq!(tail(&format!("{{\"a\":1,{end}")), expected);
        let fake = format!("{{\"sequence\":9,\"previous\":\"{}\",", "0".repeat(64));
        assert_eq!(tail(&format!("{fake}{end}")), expected);
        let signed = end.replace('}', ",\"signature\":\"AAAA==\"}");
        assert_eq!(tail(&format!("{{\"a\":1,{signed}")), expected);
        for wrong in [
            "",
            "{}",
            &end,
            &format!("{{\"a\":\"x,\\{end}"),
            &format!("{{\"a\":{{\"b\":1,{end}}}"),
            &format!("{{{end} "),
            &format!("{{{}", end.replace('7', "07")),
            &format!("{{{}", end.replace('7', "")),
            &format!("{{{}", end.replace('7', "-7")),
            &format!("{{{}", end.replace('7', "99999999999999999999")),
            &format!("{{{}", end.replace('7', "9223372036854775808")),
            &format!("{{{}", end.replace("44136f", "44136F")),
            &format!("{{\"x{end}"),
        ] {
            assert_eq!(tail(wrong), None, "{wrong}");
        }
    }
}
