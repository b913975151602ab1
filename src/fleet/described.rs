//! A session, and a gateway, as they stand in Redis: written by one gateway, read by the others, and judged by each reader anew.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::audit::{Jump, KeyIdentity};
use crate::session::{Farewell, LiveSession, OpenFile, Progress, Protocol};

/// The longest text of a session and of a gateway, in bytes.
pub(super) const LONGEST_SESSION: usize = 4096;
pub(super) const LONGEST_GATEWAY: usize = 1024;

/// How many open files of a session the others see, and how much of a path.
const FILES: usize = 3;
const LONGEST_PATH: usize = 400;

/// The longest of all other texts.
const LONGEST_TEXT: usize = 300;

/// To how many milliseconds it is known since when a session is idle: one that does nothing is not written again and again.
const IDLE_TO: u64 = 10_000;

/// What a gateway says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// When it began, in milliseconds since 1970.
    pub(super) since: u64,
    /// Whether it drains.
    pub(super) draining: bool,
}

impl Said {
    /// The text for the others.
    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What another gateway says; `None` when it makes no sense.
    pub(super) fn read(text: &[u8]) -> Option<Said> {
        let said: Said = serde_json::from_slice(text).ok()?;
        let is_fine = |text: &str| !text.is_empty() && text.len() <= LONGEST_TEXT && !has_control(text);
        (is_fine(&said.name) && is_fine(&said.version)).then_some(said)
    }
}

/// A session and what it does. Times are in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    id: String,
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    address: IpAddr,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    since: u64,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jump: Option<Through>,
    bytes_in: u64,
    bytes_out: u64,
    files_in: u64,
    files_out: u64,
    /// Since when nothing runs; absent while something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_since: Option<u64>,
    protocols: Vec<String>,
    under_way: usize,
    files: Vec<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    kind: String,
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Through {
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    session: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    path: String,
    upload: bool,
    since: u64,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    speed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ending {
    reason: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// The text of a session for the others. It is never longer than [`LONGEST_SESSION`]: what does not fit is left out.
pub(super) fn write_session(session: &LiveSession, progress: &Progress) -> String {
    let mut written = Written::of(session, progress);
    loop {
        let text = serde_json::to_string(&written).unwrap_or_default();
        if text.len() <= LONGEST_SESSION {
            return text;
        }
        if written.files.pop().is_none() {
            written.shorten();
        }
    }
}

/// A session that another gateway has written; `None` when it makes no sense.
pub(super) fn read_session(text: &[u8], now: SystemTime) -> Option<(LiveSession, Progress)> {
    let written: Written = serde_json::from_slice(text).ok()?;
    written.is_sound().then(|| (written.session(), written.progress(now)))
}

impl Written {
    fn of(session: &LiveSession, progress: &Progress) -> Written {
        let text = |text: &str| cut(text, LONGEST_TEXT);
        let idle_since = (!progress.idle.is_zero()).then(|| {
            let since = milliseconds(SystemTime::now()).saturating_sub(as_milliseconds(progress.idle));
            since - since % IDLE_TO
        });
        Written {
            id: session.session_id.to_string(),
            user: text(&session.user),
            identity: session.identity.as_deref().map(text),
            address: session.source_ip,
            port: session.source_port,
            client: session.client.as_deref().map(text),
            method: text(&session.method),
            key: session.key.as_ref().map(|key| Key {
                kind: text(&key.key_type),
                fingerprint: text(&key.fingerprint),
                comment: key.comment.as_deref().map(text),
            }),
            since: milliseconds(session.since),
            source: text(&session.source),
            jump: session.jump.as_ref().map(|jump| Through {
                target: text(jump.target()),
                account: jump.account().map(|account| text(account)),
                session: jump.through().to_string(),
            }),
            bytes_in: progress.bytes_in,
            bytes_out: progress.bytes_out,
            files_in: progress.files_in,
            files_out: progress.files_out,
            idle_since,
            protocols: progress.protocols.iter().map(|protocol| protocol.as_str().to_owned()).collect(),
            under_way: progress.under_way,
            files: progress.files.iter().take(FILES).map(File::of).collect(),
            ending: progress.ending.as_ref().map(|why| Ending {
                reason: text(&why.reason),
                message: text(&why.message),
                by: why.by.as_deref().map(text),
            }),
        }
    }

    /// Leaves out what a list can do without, and cuts the rest so that it fits: a letter may take six bytes as JSON.
    fn shorten(&mut self) {
        (self.identity, self.client, self.key, self.ending) = (None, None, None, None);
        let of_jump = self.jump.iter_mut().flat_map(|jump| [Some(&mut jump.target), jump.account.as_mut()]);
        let others = [&mut self.user, &mut self.method, &mut self.source];
        for text in of_jump.flatten().chain(others) {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT / 6));
        }
    }

    fn is_sound(&self) -> bool {
        let is_id =
            |id: &str| id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let texts = [&self.user, &self.method, &self.source];
        is_id(&self.id)
            && texts.iter().all(|text| !text.is_empty() && !has_control(text))
            && !self.method.bytes().any(|byte| !byte.is_ascii_lowercase() && !b"-,".contains(&byte))
            && self.jump.as_ref().is_none_or(|jump| is_id(&jump.session))
            && self.files.len() <= FILES
            && self.since <= LATEST
            && self.files.iter().all(|file| file.since <= LATEST)
    }

    fn session(&self) -> LiveSession {
        let shared = |text: &Option<String>| text.as_deref().map(Into::into);
        LiveSession {
            session_id: self.id.as_str().into(),
            user: self.user.as_str().into(),
            identity: shared(&self.identity),
            source_ip: self.address,
            source_port: self.port,
            client: shared(&self.client),
            method: self.method.clone().into(),
            key: self.key.as_ref().map(|key| KeyIdentity {
                key_type: key.kind.clone(),
                fingerprint: key.fingerprint.clone(),
                blob: String::new(),
                comment: key.comment.clone(),
                certificate: None,
            }),
            since: time(self.since),
            source: self.source.as_str().into(),
            credential: None,
            jump: self.jump.as_ref().map(|jump| {
                Jump::new(jump.target.as_str().into(), shared(&jump.account), jump.session.as_str().into())
            }),
            proof_ends: None,
        }
    }

    fn progress(&self, now: SystemTime) -> Progress {
        let is_spoken = |protocol: &Protocol| self.protocols.iter().any(|spoken| spoken == protocol.as_str());
        let idle = self.idle_since.map_or(0, |since| milliseconds(now).saturating_sub(since));
        Progress {
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            files_in: self.files_in,
            files_out: self.files_out,
            idle: Duration::from_millis(idle),
            protocols: Protocol::ALL.into_iter().filter(is_spoken).collect(),
            under_way: self.under_way,
            files: self.files.iter().map(File::read).collect(),
            ending: self.ending.as_ref().map(|why| Farewell {
                reason: why.reason.clone().into(),
                message: why.message.clone(),
                by: why.by.clone(),
            }),
        }
    }
}

impl File {
    fn of(file: &OpenFile) -> File {
        File {
            path: cut(&file.path, LONGEST_PATH),
            upload: file.is_upload,
            since: milliseconds(file.since),
            bytes: file.bytes,
            size: file.size,
            speed: file.speed,
        }
    }

    fn read(&self) -> OpenFile {
        OpenFile {
            path: self.path.clone(),
            is_upload: self.upload,
            since: time(self.since),
            bytes: self.bytes,
            size: self.size,
            speed: self.speed,
        }
    }
}

/// The latest time that is believed: the year 9999, which is the last one that RFC 3339 can write.
const LATEST: u64 = 253_402_300_799_000;

/// A time as it is written.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, as_milliseconds)
}

/// A time as it was written.
pub(super) fn time(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds.min(LATEST))
}

fn as_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The text, as far as it is not too long.
pub(super) fn cut(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}

/// Whether a text would do something to a terminal or a log.
pub(super) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn session(user: &str) -> LiveSession {
        LiveSession {
            session_id: "0049cd844c7536c06a89".into(),
            user: user.into(),
            identity: Some("ann@laptop".into()),
            source_ip: [192, 0, 2, 1].into(),
            source_port: 50022,
            client: Some("SSH-2.0-OpenSSH_9.2p1".into()),
            method: "publickey,password".into(),
            key: None,
            since: time(1_700_000_000_123),
            source: "configuration".into(),
            credential: Some("SHA256:x".into()),
            jump: Some(Jump::new("db-1".into(), Some("deploy".into()), "0049cd844c7536c06a88".into())),
            proof_ends: None,
        }
    }

    fn file(path: &str) -> OpenFile {
        OpenFile { path: path.into(), is_upload: true, since: time(5), bytes: 7, size: None, speed: 3 }
    }

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let progress = Progress {
            bytes_in: 5,
            protocols: vec![Protocol::Scp],
            under_way: 2,
            files: vec![file("/a"), file("/b"), file("/c"), file("/d")],
            idle: Duration::from_secs(60),
            ending: Some(Farewell { reason: "administrator".into(), message: "over".into(), by: Some("ben".into()) }),
            ..Progress::default()
        };
        let text = write_session(&session("ann"), &progress);
        let (read, does) = read_session(text.as_bytes(), SystemTime::now()).unwrap();
        assert_eq!((&*read.user, &*read.method, read.source_port), ("ann", "publickey,password", 50022));
        assert_eq!((read.since, read.source_ip), (time(1_700_000_000_123), [192, 0, 2, 1].into()));
        let jump = read.jump.unwrap();
        assert_eq!((&**jump.target(), jump.account().map(|name| &**name)), ("db-1", Some("deploy")));
        assert_eq!((does.bytes_in, does.under_way, does.protocols, does.files.len()), (5, 2, vec![Protocol::Scp], 3));
        assert!((60..=70).contains(&does.idle.as_secs()), "{:?}", does.idle);
        assert_eq!(does.ending, progress.ending);
        let again = write_session(&session("ann"), &progress);
        assert!(again == text || milliseconds(SystemTime::now()) % IDLE_TO < 1000, "an idle session stays as it is");
    }

    #[test]
    fn what_is_long_is_cut() {
        let files = vec![file(&"\u{1}".repeat(10_000)), file(&"ä".repeat(10_000)), file("/c")];
        let mut long = session(&"\u{2}".repeat(10_000));
        long.client = Some("\u{3}".repeat(1000).into());
        long.source = "\u{4}".repeat(1000).into();
        let account = Some("\u{5}".repeat(1000).into());
        long.jump = Some(Jump::new("\u{6}".repeat(1000).into(), account, "0049cd844c7536c06a88".into()));
        let text = write_session(&long, &Progress { files, ..Progress::default() });
        assert!(text.len() <= LONGEST_SESSION, "{}", text.len());
    }

    #[test]
    fn what_makes_no_sense_is_not_read() {
        let fine = write_session(&session("ann"), &Progress::default());
        assert!(read_session(fine.as_bytes(), SystemTime::now()).is_some());
        for (part, other) in [
            ("0049cd844c7536c06a89", "../etc"),
            ("\"ann\"", "\"\""),
            ("\"ann\"", "\"a\\u001b[2J\""),
            ("\"ann\"", "7"),
            ("publickey,password", "PWNED"),
            ("50022", "-1"),
            ("1700000000123", "99999999999999999"),
            ("192.0.2.1", "somewhere"),
            ("0049cd844c7536c06a88", "x"),
        ] {
            let text = fine.replace(part, other);
            assert_ne!(text, fine, "{part}");
            assert!(read_session(text.as_bytes(), SystemTime::now()).is_none(), "{text}");
        }
        for text in [&b""[..], b"{}", b"null", b"\xff", b"[[[["] {
            assert!(read_session(text, SystemTime::now()).is_none() && Said::read(text).is_none());
        }
    }

    #[test]
    fn a_gateway_is_read_as_it_said() {
        let said = Said { name: "edge-1".into(), version: "1.2.3".into(), since: 5, draining: true };
        assert_eq!(Said::read(said.write().as_bytes()), Some(said.clone()));
        let odd = Said { name: "edge\u{7}".into(), ..said };
        assert_eq!(Said::read(odd.write().as_bytes()), None);
    }
}
