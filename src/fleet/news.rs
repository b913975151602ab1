//! What gateways tell one another through the stream of news: bans, their ends, and which session is to end.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Known;
use super::described::{cut, has_control};
use crate::session::gate::Source;

/// The longest news, in bytes.
pub(super) const LONGEST_NEWS: usize = 2048;

/// The longest reason and name in a wish for an end, in bytes.
const LONGEST_REASON: usize = 500;
const LONGEST_NAME: usize = 100;

/// Something that each gateway hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// A gateway has banned a source.
    Ban(Known),
    /// A gateway, of this id, has lifted the ban of a source.
    Lift(Source, String),
    /// An administrator wants a session to end.
    End(End),
}

/// Which session is to end, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    /// The id of the gateway that has it.
    pub(super) gateway: String,
    pub(super) session: String,
    /// A sentence.
    pub(super) reason: String,
    /// The administrator.
    pub(super) by: String,
    /// The name of the gateway that the administrator asked.
    pub(super) through: String,
}

impl News {
    /// What a gateway has told; `None` when it makes no sense. `now` is Redis' time, in milliseconds.
    pub(super) fn read(text: &[u8], now: u64) -> Option<News> {
        let text = std::str::from_utf8(text).ok()?;
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "ban" => Some(News::Ban(read_ban(rest.as_bytes(), now)?)),
            "lift" => {
                let (lifted, by) = rest.split_once(' ').filter(|_| !has_control(rest))?;
                Some(News::Lift(source(lifted)?, by.to_owned()))
            }
            "end" => serde_json::from_str(rest).ok().filter(End::is_sound).map(News::End),
            _ => None,
        }
    }
}

impl End {
    /// The news of it.
    pub(super) fn write(&self) -> String {
        let cut = End {
            reason: cut(&self.reason, LONGEST_REASON),
            by: cut(&self.by, LONGEST_NAME),
            through: cut(&self.through, LONGEST_NAME),
            ..self.clone()
        };
        format!("end {}", serde_json::to_string(&cut).unwrap_or_default())
    }

    fn is_sound(&self) -> bool {
        let texts = [(&self.reason, LONGEST_REASON), (&self.by, LONGEST_NAME), (&self.through, LONGEST_NAME)];
        texts.iter().all(|(text, longest)| !text.is_empty() && text.len() <= *longest && !has_control(text))
    }
}

/// `SOURCE UNTIL NUMBER GATEWAY`, as bans stand in Redis; `None` when that makes no sense or is over.
pub(super) fn read_ban(text: &[u8], now: u64) -> Option<Known> {
    let text = std::str::from_utf8(text).ok().filter(|text| !has_control(text))?;
    let mut words = text.splitn(4, ' ');
    let source = source(words.next()?)?;
    let left = words.next()?.parse::<u64>().ok()?.checked_sub(now).filter(|left| *left > 0)?;
    let number = words.next()?.parse().ok().filter(|number| *number > 0)?;
    Some(Known { source, left: Duration::from_millis(left), number, by: words.next()?.to_owned() })
}

fn source(text: &str) -> Option<Source> {
    text.parse::<IpAddr>().ok().map(Source::of)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_as_they_were_told() {
        let end = End {
            gateway: "edge-1.0123".into(),
            session: "0049cd844c7536c06a89".into(),
            reason: "key reported stolen".into(),
            by: "night-shift".into(),
            through: "edge-2".into(),
        };
        assert_eq!(News::read(end.write().as_bytes(), 0), Some(News::End(end.clone())));
        let long = End { reason: "ä".repeat(1000), ..end };
        assert!(matches!(News::read(long.write().as_bytes(), 0), Some(News::End(end)) if end.reason.len() == 500));
        let Some(News::Ban(ban)) = News::read(b"ban 2001:db8:: 90000 3 edge-1.0123", 30_000) else { panic!("a ban") };
        assert_eq!((ban.left, ban.number, ban.by.as_str()), (Duration::from_secs(60), 3, "edge-1.0123"));
        assert_eq!(ban.source, Source::of("2001:db8::7".parse().unwrap()));
        let lifted = News::Lift(Source::of("192.0.2.1".parse().unwrap()), "edge-1.0123".to_owned());
        assert_eq!(News::read(b"lift 192.0.2.1 edge-1.0123", 0), Some(lifted));
    }

    #[test]
    fn what_makes_no_sense_is_not_heard() {
        for text in [
            &b""[..],
            b"\xff",
            b"ban",
            b"ban everybody 90000 1 x",
            b"ban 192.0.2.1 10 1 x",
            b"ban 192.0.2.1 90000 0 x",
            b"ban 192.0.2.1 1e9 1 x",
            b"ban 192.0.2.1 90000 1",
            b"ban 192.0.2.1 90000 1 \x1b[2J",
            b"lift 0/0",
            b"end {}",
            b"end {\"gateway\":\"g\",\"session\":\"s\",\"reason\":\"\",\"by\":\"b\",\"through\":\"t\"}",
            b"end {\"gateway\":\"g\",\"session\":\"s\",\"reason\":\"\\u001b\",\"by\":\"b\",\"through\":\"t\"}",
            b"shutdown now",
        ] {
            assert_eq!(News::read(text, 60_000), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
