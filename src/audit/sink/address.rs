//! Where sinks send to, as the configuration writes it.

use std::path::PathBuf;

use aws_lc_rs::digest;
use base16ct::lower::encode_string;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::secret::Secret;

use super::settings::{HostPort, SyslogAddress};

/// The facilities of RFC 5424, each at the place of its number. Those without a customary name have one of RFC 5424's words.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Where a socket of the file system is on Linux, before its name is exhausted.
const MAX_SOCKET_PATH: usize = 107;

impl SyslogAddress {
    /// Reads `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<SyslogAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') && path.len() <= MAX_SOCKET_PATH && !path.contains(char::is_control) {
                true => Ok(SyslogAddress::Unix(PathBuf::from(path))),
                false => Err(format!("is not a socket; write unix:/PATH, at most {MAX_SOCKET_PATH} bytes")),
            };
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return Ok(SyslogAddress::Tcp(HostPort::parse(rest)?));
        }
        if let Some(rest) = text.strip_prefix("tls://") {
            return Ok(SyslogAddress::Tls { to: HostPort::parse(rest)?, ca_file: None });
        }
        Err("is not a syslog address; write tcp://HOST:PORT, tls://HOST:PORT or unix:/dev/log".into())
    }
}

impl HostPort {
    fn parse(text: &str) -> Result<HostPort, String> {
        let wrong = || "the port or the host is missing; write HOST:PORT, as in log.example.org:6514".to_owned();
        let (host, port) = text.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_right = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.len() <= 253 && host.bytes().all(plain),
        };
        if is_right { Ok(HostPort { host: host.to_owned(), port }) } else { Err(wrong()) }
    }
}

/// Bytes of a hash that tell two URLs of one host apart.
const MARK: usize = 3;

/// The URL of a collector, which may hold a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl {
    whole: Secret,
    /// Scheme, host and port, and `…` in place of a path: how messages name it.
    pub name: String,
    /// The host, and the port where it is not the scheme's.
    pub host: String,
}

impl CollectorUrl {
    /// Reads an `http` or `https` URL.
    ///
    /// # Errors
    /// What would be right; the text itself is not repeated.
    pub fn parse(text: &Secret) -> Result<CollectorUrl, String> {
        let wrong = "is not a collector's URL; write https://HOST/PATH";
        let url = Url::parse(text.expose()).map_err(|_| wrong.to_owned())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong.to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong.to_owned())?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        // Of many webhooks the path is the credential.
        let path = if url.path() == "/" { "" } else { "…" };
        let name = format!("{}://{host}/{path}", url.scheme());
        Ok(CollectorUrl { whole: text.clone(), name, host })
    }

    /// Gives it a name that another URL of the same host does not have: a few digits of a hash, which stay as long as the URL does and
    /// are too few to guess the URL from.
    pub(super) fn add_mark(&mut self) {
        let hash = digest::digest(&digest::SHA256, self.whole.expose().as_bytes());
        let mark = encode_string(&hash.as_ref()[..MARK]);
        self.name = format!("{} ({mark})", self.name);
    }

    /// Whether it is `https`.
    pub(super) fn is_encrypted(&self) -> bool {
        self.name.starts_with("https:")
    }

    /// All of it; whoever calls this must not print it.
    pub(super) fn expose(&self) -> &str {
        self.whole.expose()
    }
}

/// A header of the requests to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorHeader {
    name: String,
    value: Secret,
}

/// Headers that follow from the body and the connection.
const OWN_HEADERS: [&str; 5] = ["content-length", "content-encoding", "transfer-encoding", "connection", "host"];

impl CollectorHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong; the value is not repeated.
    pub fn parse(name: &str, value: &Secret) -> Result<CollectorHeader, String> {
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not a header name".to_owned())?;
        if OWN_HEADERS.contains(&known.as_str()) {
            return Err("this header is set from the body; remove it".into());
        }
        HeaderValue::from_str(value.expose()).map_err(|_| {
            "the value cannot be a header: it contains a control character, such as a line end".to_owned()
        })?;
        Ok(CollectorHeader { name: name.to_owned(), value: value.clone() })
    }

    /// As the client takes it; the value is marked as one that is not printed.
    pub(super) fn pair(&self) -> Option<(HeaderName, HeaderValue)> {
        let mut value = HeaderValue::from_str(self.value.expose()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(self.name.as_bytes()).ok()?, value))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn syslog_addresses() {
        let tcp = |host: &str, port| Ok(SyslogAddress::Tcp(HostPort { host: host.into(), port }));
        assert_eq!(SyslogAddress::parse("tcp://log.example.org:514"), tcp("log.example.org", 514));
        assert_eq!(SyslogAddress::parse("tcp://[::1]:601"), tcp("::1", 601));
        let to = HostPort { host: "192.0.2.7".into(), port: 6514 };
        assert_eq!(SyslogAddress::parse("tls://192.0.2.7:6514"), Ok(SyslogAddress::Tls { to, ca_file: None }));
        assert_eq!(SyslogAddress::parse("unix:/dev/log"), Ok(SyslogAddress::Unix("/dev/log".into())));
        for wrong in
            ["", "udp://a:1", "tcp://a", "tcp://:1", "tcp://a:0", "tcp://a b:1", "tcp://::1:2", "unix:log", "a:514"]
        {
            assert!(SyslogAddress::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(HostPort { host: "::1".into(), port: 1 }.to_string(), "[::1]:1");
    }

    #[test]
    fn the_name_of_a_collector_holds_no_credential() {
        let url = |text: &str| CollectorUrl::parse(&Secret::new(text.into()));
        let collector = url("https://anna:geheim@logs.example.org:8443/v1/in?token=geheim#geheim").unwrap();
        assert_eq!(
            (collector.name.as_str(), collector.host.as_str()),
            ("https://logs.example.org:8443/…", "logs.example.org:8443")
        );
        assert!(!format!("{collector:?}").contains("geheim"));
        // What many webhooks have instead of a token.
        let hook = url("https://hooks.example.org/services/T0/B0/geheim").unwrap();
        assert_eq!(hook.name, "https://hooks.example.org/…");
        for root in ["http://c", "http://c/", "http://c:80/?k=geheim", "http://c/#geheim"] {
            assert_eq!(url(root).unwrap().name, "http://c/", "{root}");
        }
        assert_eq!(url("http://[::1]:8080/a").unwrap().name, "http://[::1]:8080/…");
        for wrong in ["", "ftp://a/", "https://", "logs.example.org/geheim"] {
            assert!(!url(wrong).unwrap_err().contains("geheim"), "{wrong}");
        }
    }

    #[test]
    fn headers_are_judged_without_showing_them() {
        let header = |name: &str, value: &str| CollectorHeader::parse(name, &Secret::new(value.into()));
        assert!(!format!("{:?}", header("Authorization", "Bearer geheim").unwrap()).contains("geheim"));
        for (name, value) in [("a b", "c"), ("", "c"), ("a", "geheim\nb: c"), ("Content-Length", "7")] {
            assert!(!header(name, value).unwrap_err().contains("geheim"), "{name}");
        }
    }

    #[test]
    fn facilities_stand_at_their_numbers() {
        let number = |name| FACILITIES.iter().position(|facility| *facility == name);
        assert_eq!((number("auth"), number("authpriv"), number("local7")), (Some(4), Some(10), Some(23)));
    }
}
