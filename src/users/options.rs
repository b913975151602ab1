//! The options before a key (sshd(8), AUTHORIZED_KEYS FILE FORMAT): where a key may come from, and until when.
//!
//! An option that only takes away what is never served is true already. One that would change what the key may do is refused
//! by its name: to pass over it would let the key do more than its line says.

use std::net::IpAddr;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};

use super::network::Network;
use super::presence::Presence;

/// The most patterns of one `from=`.
const MAX_PATTERNS: usize = 200;

/// What the options of one key say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct KeyOptions {
    from: Option<Vec<Pattern>>,
    expiry_time: Option<DateTime<Utc>>,
    authority: bool,
    principals: Option<Vec<String>>,
    presence: Presence,
}

impl KeyOptions {
    /// Reads the options' text: `from="10.0.0.0/8",no-pty`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = KeyOptions::default();
        for (name, value) in split(text)? {
            options.take(&name, value)?;
        }
        if options.principals.is_some() && !options.authority {
            return Err("the option `principals` requires `cert-authority`, which is missing".into());
        }
        Ok(options)
    }

    fn take(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        match (name.to_ascii_lowercase().as_str(), value) {
            // Nothing of this is ever served.
            (
                "restrict"
                | "no-pty"
                | "no-port-forwarding"
                | "no-agent-forwarding"
                | "no-x11-forwarding"
                | "no-user-rc",
                None,
            ) => Ok(()),
            ("no-touch-required", None) => {
                self.presence.touch = false;
                Ok(())
            }
            ("verify-required", None) => {
                self.presence.verified = true;
                Ok(())
            }
            ("cert-authority", None) => {
                self.authority = true;
                Ok(())
            }
            ("principals", Some(list)) => {
                let names: Vec<String> = list.split(',').map(str::to_owned).collect();
                if names.iter().any(String::is_empty) || self.principals.is_some() {
                    return Err("the option `principals` is a list of names, as in principals=\"ann,staff\"".into());
                }
                self.principals = Some(names);
                Ok(())
            }
            ("from", Some(_)) if self.from.is_some() => Err("the option `from` appears twice".into()),
            ("from", Some(list)) => {
                self.from = Some(parse_patterns(&list)?);
                Ok(())
            }
            ("expiry-time", Some(time)) => {
                // As in OpenSSH, the earliest of several holds.
                let time = parse_time(&time)?;
                self.expiry_time = Some(self.expiry_time.map_or(time, |earlier| earlier.min(time)));
                Ok(())
            }
            ("from" | "expiry-time", None) => Err(format!("the option `{name}` needs a value, as in {name}=\"…\"")),
            _ => Err(format!(
                "the option `{name}` before the key is not supported; the options are from=\"…\", expiry-time=\"…\", cert-authority \
                 with principals=\"…\", no-touch-required, verify-required, and, true already, restrict, no-pty, no-port-forwarding, no-agent-forwarding, \
                 no-X11-forwarding and no-user-rc"
            )),
        }
    }

    /// What the key has to show with its signatures, if it is a security key.
    pub(super) fn presence(&self) -> Presence {
        self.presence
    }

    /// Whether the key may be used from `source`.
    pub(super) fn allow_from(&self, source: IpAddr) -> bool {
        self.from.as_ref().is_none_or(|patterns| matches(patterns, source))
    }

    /// Whether the key signs certificates, and does nothing else.
    pub(super) fn is_authority(&self) -> bool {
        self.authority
    }

    /// Whose certificates the authority signs, when that is said.
    pub(super) fn principals(&self) -> Option<&[String]> {
        self.principals.as_deref()
    }

    /// Whether the key is past its time.
    pub(super) fn expired(&self, now: DateTime<Utc>) -> bool {
        self.expiry_time.is_some_and(|end| now >= end)
    }
}

/// Where the first field of a line ends: at the first space outside of quotes.
pub(super) fn first_field(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return (&line[..at], line[at..].trim()),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (line, "")
}

/// The options of a field, each with its value. `\"` in a value is a quote.
fn split(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut options = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find([',', '=']).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_@.".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err("the options before the key are not a list of names, as in from=\"10.0.0.0/8\",no-pty".into());
        }
        rest = &rest[end..];
        let mut value = None;
        if let Some(after) = rest.strip_prefix('=') {
            let (read, left) = quoted(after)
                .ok_or_else(|| format!("the value of the option `{name}` is not in quotes, as in {name}=\"…\""))?;
            (value, rest) = (Some(read), left);
        }
        options.push((name, value));
        if rest.is_empty() {
            return Ok(options);
        }
        rest = rest.strip_prefix(',').ok_or("a comma is missing between the options before the key")?;
    }
}

/// A text in quotes at the start, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                value.push('"');
            }
            c => value.push(c),
        }
    }
    None
}

/// One element of a `from=` list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Network(Network),
    /// An address with `*` and `?`.
    Wildcard(String),
}

impl Shape {
    fn matches(&self, source: IpAddr) -> bool {
        match self {
            Shape::Network(network) => network.contains(source),
            Shape::Wildcard(pattern) => glob(pattern.as_bytes(), source.to_string().as_bytes()),
        }
    }
}

fn parse_patterns(list: &str) -> Result<Vec<Pattern>, String> {
    let mut patterns = Vec::new();
    for word in list.split(',') {
        let (negated, text) = word.strip_prefix('!').map_or((false, word), |text| (true, text));
        let wild = text.contains(['*', '?']);
        let shape = if wild && text.bytes().all(|b| b.is_ascii_hexdigit() || b".:*?".contains(&b)) {
            Shape::Wildcard(text.to_ascii_lowercase())
        } else {
            let network = Network::parse(text).map_err(|what| {
                let word: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
                format!("{word:?} in from=: {what}; host names are not resolved")
            })?;
            Shape::Network(network)
        };
        patterns.push(Pattern { negated, shape });
    }
    if patterns.len() > MAX_PATTERNS {
        return Err(format!("from= has {} patterns; at most {MAX_PATTERNS} are allowed", patterns.len()));
    }
    if patterns.iter().all(|pattern| pattern.negated) {
        return Err("from= has only negated patterns, which let nobody in; add \"*\" for everywhere else".into());
    }
    Ok(patterns)
}

/// A negated match wins over every other; without any match the answer is no.
fn matches(patterns: &[Pattern], source: IpAddr) -> bool {
    let source = source.to_canonical();
    let mut hits = patterns.iter().filter(|pattern| pattern.shape.matches(source)).peekable();
    hits.peek().is_some() && hits.all(|pattern| !pattern.negated)
}

/// Whether `text` fits a pattern with `*` and `?`. Goes back to the last `*` only, so the time is bounded by the product of the
/// lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in UTC with a `Z` at the end, else in the system's time zone.
fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong = || {
        "expiry-time is not YYYYMMDD or YYYYMMDDHHMM[SS], with a Z at the end for UTC, as in \"20271231Z\"".to_owned()
    };
    let upper = text.to_ascii_uppercase();
    let (digits, utc) = match upper.strip_suffix('Z').or_else(|| upper.strip_suffix("UTC")) {
        Some(digits) => (digits, true),
        None => (upper.as_str(), false),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let time = match digits.len() {
        8 => NaiveDate::parse_from_str(digits, "%Y%m%d").map(|date| date.and_time(NaiveTime::MIN)),
        12 => NaiveDateTime::parse_from_str(&format!("{digits}00"), "%Y%m%d%H%M%S"),
        14 => NaiveDateTime::parse_from_str(digits, "%Y%m%d%H%M%S"),
        _ => return Err(wrong()),
    };
    let time = time.map_err(|_| wrong())?;
    if utc {
        return Ok(time.and_utc());
    }
    // In the hour that the clock is set back, the earlier of the two; the hour that is left out is no time.
    Local.from_local_datetime(&time).earliest().map(|time| time.to_utc()).ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(text: &str) -> KeyOptions {
        KeyOptions::parse(text).unwrap_or_else(|what| panic!("{text}: {what}"))
    }

    #[test]
    fn from_matches_as_in_openssh() {
        for (list, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
            ("10.0.0.0/8,2001:db8::/32", "2001:db8::7", "2001:db9::7"),
            ("*,!192.0.2.0/24", "198.51.100.1", "192.0.2.9"),
            ("!192.0.2.9,192.0.2.*", "192.0.2.8", "192.0.2.9"),
            ("192.0.2.?", "192.0.2.7", "192.0.2.77"),
            ("10.*.7", "10.1.2.7", "10.1.2.8"),
            ("2001:DB8:*", "2001:db8::1", "2001:db9::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("10.*", "::ffff:10.1.2.3", "::1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ] {
            let options = options(&format!("from=\"{list}\""));
            assert!(options.allow_from(inside.parse().unwrap()), "{list} {inside}");
            assert!(!options.allow_from(outside.parse().unwrap()), "{list} {outside}");
        }
        assert!(KeyOptions::default().allow_from("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_expiry_time_is_the_first_moment_without_the_key() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        for (text, end) in [
            ("20271231Z", "2027-12-31T00:00:00Z"),
            ("202712312359z", "2027-12-31T23:59:00Z"),
            ("20271231235958Z", "2027-12-31T23:59:58Z"),
            ("20271231UTC", "2027-12-31T00:00:00Z"),
            ("20300101Z\",expiry-time=\"20271231Z", "2027-12-31T00:00:00Z"),
        ] {
            let options = options(&format!("expiry-time=\"{text}\""));
            let second = chrono::TimeDelta::seconds(1);
            assert!(!options.expired(at(end) - second) && options.expired(at(end)), "{text}");
        }
        let local = Local.with_ymd_and_hms(2027, 12, 31, 6, 0, 0).unwrap().to_utc();
        assert_eq!(options("expiry-time=\"202712310600\"").expiry_time, Some(local));
        assert!(!KeyOptions::default().expired(at("9999-12-31T00:00:00Z")));
    }

    #[test]
    fn what_is_never_served_may_be_taken_away() {
        let all = "restrict,no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc";
        assert_eq!(options(all), KeyOptions::default());
        assert_eq!(options("no-touch-required").presence(), Presence { touch: false, verified: false });
        assert_eq!(options("Verify-Required,no-pty").presence(), Presence { touch: true, verified: true });
        assert_eq!(options("NO-PTY,From=\"::1\"").from.map(|patterns| patterns.len()), Some(1));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (wrong, words) in [
            ("command=\"echo \\\"hi, there\\\"\"", "`command` before the key is not supported"),
            ("no-pty,environment=\"A=b\"", "`environment`"),
            ("permitopen=\"h:1\"", "`permitopen`"),
            ("permitlisten=\"1\"", "`permitlisten`"),
            ("tunnel=\"0\"", "`tunnel`"),
            ("verify-required=\"x\"", "`verify-required`"),
            ("restrict,pty", "`pty`"),
            ("principals=\"a\"", "requires `cert-authority`"),
            ("cert-authority,principals=\"a,,b\"", "list of names"),
            ("cert-authority=\"x\"", "`cert-authority`"),
            ("of-the-future", "`of-the-future`"),
            ("no-pty=\"x\"", "`no-pty`"),
            ("from", "`from` needs a value"),
            ("from=10.0.0.0/8", "not in quotes"),
            ("from=\"10.0.0.0/8", "not in quotes"),
            ("from=\"\"", "not an IP address"),
            ("from=\"*.example.org\"", "host names are not resolved"),
            ("from=\"10.0.0.0/8, ::1\"", "\" ::1\" in from="),
            ("from=\"10.0.0.1/8\"", "write 10.0.0.0/8"),
            ("from=\"!10.0.0.0/8\"", "only negated"),
            ("from=\"::1\",from=\"::2\"", "appears twice"),
            ("expiry-time=\"2027-12-31\"", "YYYYMMDD"),
            ("expiry-time=\"20271331\"", "YYYYMMDD"),
            ("expiry-time=\"2027123112\"", "YYYYMMDD"),
            ("no-pty,", "not a list of names"),
            ("from=\"::1\"no-pty", "a comma is missing"),
        ] {
            let problem = KeyOptions::parse(wrong).unwrap_err();
            assert!(problem.contains(words), "{wrong}: {problem}");
        }
        let many = vec!["10.0.0.1"; 201].join(",");
        assert!(KeyOptions::parse(&format!("from=\"{many}\"")).unwrap_err().contains("at most 200"));
    }

    #[test]
    fn a_pattern_takes_no_time_to_fail() {
        assert!(!glob("*1".repeat(40).as_bytes(), "1".repeat(39).as_bytes()));
        assert!(glob(b"*", b"") && glob(b"**", b"a") && !glob(b"?", b"") && !glob(b"", b"a"));
    }
}
