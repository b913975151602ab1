//! Where the shared state of a fleet is.

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use crate::secret::Secret;

/// How long what a gateway says of itself holds, if nothing is said.
pub const USUAL_LEASE: Duration = Duration::from_secs(15);

/// The port of Redis where the URL has none.
const PORT: u16 = 6379;

/// The longest name of a fleet, in bytes.
const LONGEST_NAME: usize = 63;

/// The fleet that a gateway belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where Redis, or Valkey, is: one server, several of which one can be written, or nodes of a cluster. With `sentinel`, where the
    /// sentinels are. They are tried in their order.
    pub addresses: Vec<Address>,
    /// Who knows which server can be written.
    pub sentinel: Option<Sentinel>,
    /// The fleet's name: gateways of one name share what they know.
    pub name: FleetName,
    /// How long what a gateway says of itself holds; it says it again three times as often.
    pub lease: Duration,
    /// Who calls.
    pub credentials: Credentials,
    /// The authorities that may have signed the server's certificate; the system's without it.
    pub ca_file: Option<PathBuf>,
}

/// Sentinels, which watch over a server and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinel {
    /// The name that they know the server by.
    pub master: String,
    /// Who calls them.
    pub credentials: Credentials,
}

/// Who calls Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user, with an access list of Redis.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// A server of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The number of the database.
    pub database: u32,
}

/// What a URL says: where the server is, and who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Where it is.
    pub address: Address,
    /// Who calls.
    pub credentials: Credentials,
}

/// The name of a fleet, as it stands in keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetName(String);

impl FleetName {
    /// Checks a name.
    ///
    /// # Errors
    /// What a name has to be.
    pub fn parse(text: &str) -> Result<FleetName, String> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if text.is_empty() || text.len() > LONGEST_NAME || !is_plain {
            return Err(format!("a fleet's name consists of 1 to {LONGEST_NAME} letters, digits, '-', '_' and '.'"));
        }
        Ok(FleetName(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Parsed {
    /// Reads `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, with `rediss` for TLS.
    ///
    /// # Errors
    /// A sentence, which does not repeat the URL: it may have a password.
    pub fn of_url(text: &str) -> Result<Parsed, String> {
        let right = "write redis://HOST:PORT, or rediss://HOST:PORT for TLS";
        let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); {right}"))?;
        let tls = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(format!("is not a URL of Redis; {right}")),
        };
        let host = match url.host().ok_or_else(|| format!("names no host; {right}"))? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("must name a server and at most a database; {right}"));
        }
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| "has no database number after the host; write one, or nothing")?,
        };
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let wrong = |_| "has a user or a password that is not UTF-8".to_owned();
        let username = Some(url.username()).filter(|name| !name.is_empty()).map(decoded).transpose().map_err(wrong)?;
        let password = url.password().map(decoded).transpose().map_err(wrong)?.map(Secret::new);
        let address = Address { host, port: url.port().unwrap_or(PORT), tls, database };
        Ok(Parsed { address, credentials: Credentials { username, password } })
    }
}

impl Settings {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        let all: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match &self.sentinel {
            Some(sentinel) => format!("{} (sentinels of {})", all.join(", "), sentinel.master),
            None => all.join(", "),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_the_server_is_and_who_calls() {
        for (text, shown, database, user, password) in [
            ("redis://cache", "redis://cache:6379", 0, None, None),
            ("rediss://cache.example.org:6380/3", "rediss://cache.example.org:6380", 3, None, None),
            ("redis://:p%40ss@127.0.0.1", "redis://127.0.0.1:6379", 0, None, Some("p@ss")),
            ("valkeys://gw:x@[::1]:7000/", "rediss://[::1]:7000", 0, Some("gw"), Some("x")),
        ] {
            let parsed = Parsed::of_url(text).unwrap();
            assert_eq!((parsed.address.to_string().as_str(), parsed.address.database), (shown, database), "{text}");
            let password = password.map(|text| Secret::new(text.to_owned()));
            let Credentials { username, password: given } = parsed.credentials;
            assert_eq!((username.as_deref(), given), (user, password), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_redis_is_refused_without_repeating_it() {
        for text in
            ["", "cache:6379", "http://hunter2@cache", "redis://", "redis://hunter2@cache/x", "redis://c/0?a=hunter2"]
        {
            let error = Parsed::of_url(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
        for name in ["", "a b", "a{b", "ä", &"x".repeat(64)] {
            assert!(FleetName::parse(name).is_err(), "{name}");
        }
        assert_eq!(FleetName::parse("prod-eu.1").unwrap().as_str(), "prod-eu.1");
    }
}
