//! Sizes and durations as the configuration writes them.

use std::time::Duration;

const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// In milliseconds, longest first.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `512MiB`, `64KiB`, `10GiB`, `1TiB` or plain bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let example = "write a whole number and KiB, MiB, GiB or TiB, as in 512MiB, or a number of bytes";
    let (number, unit) = split(text).ok_or_else(|| format!("this is not a size; {example}"))?;
    let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => {
            let meant = SIZES.iter().find(|(name, _)| unit.to_lowercase().starts_with(&name[..1].to_lowercase()));
            return Err(match meant {
                Some((name, _)) => format!("the unit {unit:?} is not known; did you mean {number}{name}?"),
                None => format!("the unit {unit:?} is not known; {example}"),
            });
        }
    };
    number.checked_mul(factor).ok_or_else(|| "the size is too large".into())
}

/// Reads `500ms`, `30s`, `5m`, `1h` or `7d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let example = "write a whole number and ms, s, m, h or d, as in 30s";
    let (number, unit) = split(text).ok_or_else(|| format!("this is not a duration; {example}"))?;
    let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "" => format!("the unit is missing; {example}"),
            _ => format!("the unit {unit:?} is not known; {example}"),
        });
    };
    number.checked_mul(*factor).map(Duration::from_millis).ok_or_else(|| "the duration is too long".into())
}

/// A whole number and what follows it; `None` when the text does not start with digits, or the number is too large.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[digits..].trim_start();
    let plain = unit.chars().all(char::is_alphabetic) && unit.len() <= 16;
    Some((text[..digits].parse().ok()?, plain.then_some(unit)?))
}

/// A size as [`parse_size`] reads it.
pub(super) fn show_size(bytes: u64) -> String {
    match SIZES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match DURATIONS.iter().find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", ms / factor),
        None => "0s".into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1KiB", 1024),
            ("512MiB", 512 << 20),
            ("10 GiB", 10 << 30),
            (" 2TiB ", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (wrong, what) in [
            ("", "not a size"),
            ("MiB", "not a size"),
            ("-1MiB", "not a size"),
            ("1.5GiB", "not a size"),
            ("99999999999999999999", "not a size"),
            ("1MiB!", "not a size"),
            ("16777216TiB", "too large"),
            ("512MB", "did you mean 512MiB?"),
            ("10g", "did you mean 10GiB?"),
            ("512mib", "did you mean 512MiB?"),
            ("5 apples", "the unit \"apples\" is not known"),
        ] {
            let problem = parse_size(wrong).unwrap_err();
            assert!(problem.contains(what), "{wrong}: {problem}");
        }
        for text in ["1KiB", "1000 bytes", "16MiB", "1TiB", "1025KiB"] {
            assert_eq!(show_size(parse_size(text.trim_end_matches(" bytes")).unwrap()), text);
        }
    }

    #[test]
    fn durations_are_read_and_shown() {
        for (text, ms) in
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5 m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (wrong, what) in [
            ("", "not a duration"),
            ("30", "the unit is missing"),
            ("1h30m", "not a duration"),
            ("5min", "the unit \"min\" is not known"),
            ("1M", "the unit \"M\" is not known"),
            ("-1s", "not a duration"),
            ("18446744073709551615h", "too long"),
        ] {
            let problem = parse_duration(wrong).unwrap_err();
            assert!(problem.contains(what), "{wrong}: {problem}");
        }
        for text in ["500ms", "1500ms", "90s", "30m", "1h", "7d", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
    }
}
