//! URL and options of an upstream store → what is needed to reach it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};

use crate::secret::Secret;
use crate::stores::{Key, Settings};

/// The options, for messages.
pub(in crate::stores) const OPTIONS: [&str; 8] =
    ["certificate", "connect_timeout", "connections", "fsync", "host_key", "password", "private_key", "timeout"];

/// How many connections are held at most if nothing is said.
const CONNECTIONS: usize = 4;

/// The most connections that may be asked for: servers let in ten strangers at once by default (`MaxStartups`).
const MOST_CONNECTIONS: usize = 16;

/// An upstream server and what to show it.
#[derive(Clone)]
pub(in crate::stores) struct Upstream {
    /// The store's name in the configuration.
    pub(super) name: String,
    /// The account.
    pub(super) user: String,
    /// Its name or address; an IPv6 address without brackets.
    pub(in crate::stores) host: String,
    /// Its port.
    pub(in crate::stores) port: u16,
    /// The root's path there, without a slash at its end: empty for `/`, `.` for the account's own folder.
    pub(in crate::stores) base: String,
    /// The keys that it may have.
    pub(super) host_keys: Vec<PublicKey>,
    /// How the account logs in: by key if there is one, and then by password.
    pub(super) private_key: Option<Arc<PrivateKey>>,
    /// The key's certificate.
    pub(super) certificate: Option<Certificate>,
    /// The password.
    pub(super) password: Option<Secret>,
    /// The most connections.
    pub(super) connections: usize,
    /// Whether uploads are on its disk before they are published, where it knows `fsync@openssh.com`.
    pub(super) fsync: bool,
    /// How long a request waits for a connection.
    pub(super) connect_timeout: Duration,
    /// How long the server may be silent while requests wait for their answers.
    pub(super) timeout: Duration,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.address())
    }
}

impl Upstream {
    /// Reads settings; `rest` is the URL without its scheme.
    ///
    /// # Errors
    /// A sentence for each problem, joined; none repeats a secret.
    pub(in crate::stores) fn read(settings: &Settings, rest: &str) -> Result<Self, String> {
        let store = &settings.name;
        let (user, host, port, base) = read_url(rest).map_err(|why| format!("the URL of store \"{store}\" {why}"))?;
        let mut upstream = Upstream {
            name: store.clone(),
            user,
            host,
            port,
            base,
            host_keys: Vec::new(),
            private_key: None,
            certificate: None,
            password: None,
            connections: CONNECTIONS,
            fsync: true,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(180),
        };
        let mut problems = Vec::new();
        for (option, value) in &settings.options {
            if let Err(why) = upstream.set(option, value) {
                problems.push(format!("the option \"{option}\" of store \"{store}\" {why}"));
            }
        }
        problems.extend(upstream.missing().into_iter().map(|what| format!("store \"{store}\" needs {what}")));
        if problems.is_empty() { Ok(upstream) } else { Err(problems.join("; ")) }
    }

    fn set(&mut self, option: &str, value: &Secret) -> Result<(), String> {
        let text = value.expose();
        match option {
            "host_key" => self.host_keys = host_keys(text)?,
            "private_key" => self.private_key = Some(Arc::new(private_key(text)?)),
            "certificate" => {
                let certificate = Certificate::from_openssh(text.trim());
                let wrong = "must be a certificate as ssh-keygen -s writes it: ssh-…-cert-v01@openssh.com AAAA…";
                self.certificate = Some(certificate.map_err(|_| wrong.to_owned())?);
            }
            "password" => self.password = Some(value.clone()),
            "connections" => {
                let number = text.parse().ok().filter(|number| (1..=MOST_CONNECTIONS).contains(number));
                self.connections = number.ok_or_else(|| format!("must be a number from 1 to {MOST_CONNECTIONS}"))?;
            }
            "fsync" => self.fsync = text.parse().map_err(|_| "must be true or false".to_owned())?,
            "timeout" => self.timeout = duration(text)?,
            "connect_timeout" => self.connect_timeout = duration(text)?,
            _ => return Err(format!("is not an option of stores of this kind (known: {})", OPTIONS.join(", "))),
        }
        Ok(())
    }

    fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.host_keys.is_empty() {
            missing.push(
                "the option \"host_key\", the public key of the server (`ssh-keyscan HOST` prints the key that it shows now: compare that \
                 with what its operator says)",
            );
        }
        if self.private_key.is_none() && self.password.is_none() {
            missing.push("the option \"private_key\" or \"password\"");
        }
        if let Some(certificate) = &self.certificate {
            match &self.private_key {
                None => missing.push("the option \"private_key\" beside \"certificate\""),
                Some(key) if key.public_key().key_data() != certificate.public_key() => {
                    missing.push("a certificate for its private key; this one is for another key");
                }
                Some(_) if certificate.cert_type().is_host() => {
                    missing.push("a user certificate; this one is a host certificate");
                }
                Some(_) => {}
            }
        }
        missing
    }

    /// `user@host:port`, for messages and the journal.
    pub(super) fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("{}@[{}]:{}", self.user, self.host, self.port),
            false => format!("{}@{}:{}", self.user, self.host, self.port),
        }
    }

    /// The path of names below the root.
    pub(super) fn path<S: AsRef<str>>(&self, names: &[S]) -> String {
        if names.is_empty() {
            return if self.base.is_empty() { "/".to_owned() } else { self.base.clone() };
        }
        names.iter().fold(self.base.clone(), |path, name| path + "/" + name.as_ref())
    }
}

/// User, host, port and root of `user@host:22/path`.
fn read_url(rest: &str) -> Result<(String, String, u16, String), String> {
    let form = || "must be sftp://USER@HOST:PORT/PATH".to_owned();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').ok_or_else(form)?;
    if user.contains(':') {
        return Err("must not contain a password: use the option \"password\"".to_owned());
    }
    let user = decoded(user)?;
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let port = if port.is_empty() { 22 } else { port.parse().ok().filter(|port| *port > 0).ok_or_else(form)? };
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:%".contains(&b));
    if user.is_empty() || !is_host {
        return Err(form());
    }
    let path = decoded(path)?;
    let (own, path) = match path.strip_prefix("/~") {
        Some(path) if path.is_empty() || path.starts_with('/') => (".", path),
        _ => ("", path.as_str()),
    };
    let key = Key::parse(path).map_err(|error| format!("has an invalid path: {error}"))?;
    let base = if key.is_root() { own.to_owned() } else { format!("{own}/{key}") };
    Ok((user, host.to_ascii_lowercase(), port, base))
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "is not UTF-8".to_owned())?;
    Ok(decoded.into_owned())
}

/// One public key a line, as in `.pub` files, or as `ssh-keyscan` prints them, with the host before.
fn host_keys(text: &str) -> Result<Vec<PublicKey>, String> {
    if text.lines().any(|line| line.trim_start().starts_with("@cert-authority")) {
        return Err(
            "has a line @cert-authority, but host certificates are not supported: give the server's own public key"
                .to_owned(),
        );
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let without_host = line.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim());
        PublicKey::from_openssh(line).or_else(|_| PublicKey::from_openssh(without_host)).ok()
    };
    let keys: Option<Vec<PublicKey>> = lines.map(read).collect();
    let keys = keys.filter(|keys| !keys.is_empty());
    keys.ok_or_else(|| "must contain public keys, one per line, as in ssh-ed25519 AAAA…".to_owned())
}

fn private_key(text: &str) -> Result<PrivateKey, String> {
    match decode_secret_key(text, None) {
        Ok(key) if !key.is_encrypted() => Ok(key),
        Ok(_) => Err("is encrypted with a passphrase; give a key without one".to_owned()),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            Err("is encrypted with a passphrase; give a key without one".to_owned())
        }
        // The library's words may repeat parts of the text.
        Err(_) => Err("must be the text of a private key, as in ${file:keys/upstream}".to_owned()),
    }
}

/// A time such as 500ms, 30s or 2m.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| "must be a time, as in 30s".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ comment";

    fn read(rest: &str, options: &[(&str, &str)]) -> Result<Upstream, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
        let settings = Settings { name: "up".to_owned(), url: format!("sftp://{rest}"), options };
        Upstream::read(&settings, rest)
    }

    #[test]
    fn urls_are_read() {
        let options = [("host_key", HOST_KEY), ("password", "x")];
        let found =
            |rest: &str| read(rest, &options).map(|up| (up.address(), up.path(&["a", "b"]), up.path::<&str>(&[])));
        let expect =
            |address: &str, below: &str, root: &str| Ok((address.to_owned(), below.to_owned(), root.to_owned()));
        assert_eq!(found("u@Host.example"), expect("u@host.example:22", "/a/b", "/"));
        assert_eq!(found("u@host:2222/"), expect("u@host:2222", "/a/b", "/"));
        assert_eq!(found("u%40x@h/data/in/"), expect("u@x@h:22", "/data/in/a/b", "/data/in"));
        assert_eq!(found("u@h/~"), expect("u@h:22", "./a/b", "."));
        assert_eq!(found("u@h/~/in"), expect("u@h:22", "./in/a/b", "./in"));
        assert_eq!(found("u@[::1]:99/x"), expect("u@[::1]:99", "/x/a/b", "/x"));
        for wrong in ["host/x", "@h/x", "u@/x", "u@h:0/x", "u@h:port/x", "u:secret@h/x", "u@h/a/../b", "u@h x/"] {
            let why = found(wrong).unwrap_err();
            assert!(why.starts_with("the URL of store \"up\" ") && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn every_problem_is_named_and_no_secret_is() {
        let why = read("u@h/", &[]).unwrap_err();
        assert!(why.contains("host_key") && why.contains("\"private_key\" or \"password\""), "{why}");
        let options = [
            ("host_key", "ssh-ed25519 nonsense"),
            ("private_key", "hunter2"),
            ("certificate", "hunter3"),
            ("connections", "0"),
            ("fsync", "perhaps"),
            ("timeout", "30"),
            ("bogus", "hunter4"),
        ];
        let why = read("u@h/", &options).unwrap_err();
        for (option, _) in options {
            assert!(why.contains(&format!("\"{option}\"")), "{option}: {why}");
        }
        assert!(!why.contains("hunter"), "{why}");
    }

    #[test]
    fn host_keys_come_one_a_line_as_the_tools_print_them() {
        let keyscan = format!("# host:22 SSH-2.0\n[host]:2222 {HOST_KEY}\n\n{HOST_KEY}\n");
        assert_eq!(read("u@h/", &[("host_key", &keyscan), ("password", "x")]).unwrap().host_keys.len(), 2);
        let half = format!("{HOST_KEY}\nhost ssh-ed25519 AAAA\n");
        assert!(read("u@h/", &[("host_key", &half), ("password", "x")]).is_err());
    }

    #[test]
    fn what_prints_holds_no_secret() {
        let up = read("u@h/", &[("host_key", HOST_KEY), ("password", "hunter2")]).unwrap();
        assert!(!format!("{up:?}").contains("hunter2"));
    }
}
