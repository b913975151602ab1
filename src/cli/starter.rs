//! The files of a new gateway: keys, a store, a commented configuration, and for a demo a user. What is there already stays.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::demo::shell_word;
use crate::admin;
use crate::audit::SigningKey;
use crate::ssh::{self, KeyKind};

/// The configuration.
pub(super) const CONFIG: &str = "config.yaml";

/// The server's key.
const HOST_KEY: &str = "ssh_host_ed25519_key";

/// The server's other key, for clients that have no Ed25519.
const OTHER_HOST_KEY: &str = "ssh_host_ecdsa_key";

/// The key of the user `demo`.
pub(super) const CLIENT_KEY: &str = "demo_ed25519";

/// The key of the demo's target.
const TARGET_KEY: &str = "target_ed25519_key";

/// The name of the demo's target, its address and the account there.
pub(super) const TARGET: &str = "target-host-A";
const TARGET_HOST: &str = "192.168.1.10";
pub(super) const ACCOUNT: &str = "deploy";

/// The client's configuration for a jump.
pub(super) const SSH_CONFIG: &str = "ssh_config";

/// The server's key as clients keep it.
pub(super) const KNOWN_HOSTS: &str = "known_hosts";

/// A small file to upload.
pub(super) const SAMPLE: &str = "hello.txt";

/// The name of the user.
pub(super) const USER: &str = "demo";

/// The folder of the audit trail's key and state.
const AUDIT: &str = "audit";

/// The folder of the events.
const EVENTS: &str = "events";

/// The admin door's socket.
const SOCKET: &str = "admin.sock";

/// Where the configuration listens.
pub(super) const LISTEN: &str = "127.0.0.1:2022";

/// The text of the configuration.
const CONFIG_TEXT: &str = include_str!("starter.yaml");

/// The user of a demo, as `starter.yaml` has it, and what stands in its place in a gateway of somebody's own.
const DEMO_USER: &str = "users:\n  - name: demo\n    # Lines in authorized_keys format; this one is read from a file.\n    \
                         public_keys: [\"${file:demo_ed25519.pub}\"]\n    home:\n      - { entry: /, target: \"local:/home/${user}\" }\n";
const NO_USERS: &str = "# Nobody can log in yet. A user, for example:\n#   - name: ann\n#     # Lines in authorized_keys format; \
                        \"${file:ann.pub}\" reads one from a file.\n#     public_keys: [\"ssh-ed25519 AAAA... ann@laptop\"]\n#     home:\n#       - \
                        { entry: /, target: \"local:/home/${user}\" }\n#       # A folder of another store, read-only:\n#       # - \
                        { entry: /reports, target: \"lake:/reports\", permissions: read_only }\nusers: []\n";

/// A folder with the files of a gateway.
#[derive(Debug)]
pub(super) struct Starter {
    /// The folder; absolute.
    pub folder: PathBuf,
    /// What was made just now: the name, and what it is.
    pub made: Vec<(String, &'static str)>,
}

impl Starter {
    /// Makes what is missing of a demo: it has a user, whose key lies beside the configuration. Modes are right under any umask.
    pub fn make(folder: &Path) -> anyhow::Result<Starter> {
        let mut starter = Starter::make_gateway(folder, |text| text)?;
        starter.make_client()?;
        Ok(starter)
    }

    /// As [`Starter::make`], with a target that is reached through a jump. A configuration that is there already stays as it is.
    pub fn make_bastion(folder: &Path) -> anyhow::Result<Starter> {
        let mut starter = Starter::make_gateway(folder, with_target)?;
        starter.make_client()?;
        starter.key_pair(KeyKind::Ed25519, TARGET_KEY, "target", "the target's key")?;
        Ok(starter)
    }

    /// Makes what is missing of a gateway without users: nobody can log in before the operator says who.
    pub fn make_without_users(folder: &Path) -> anyhow::Result<Starter> {
        Starter::make_gateway(folder, without_users)
    }

    fn make_gateway(folder: &Path, change: fn(String) -> String) -> anyhow::Result<Starter> {
        let folder = std::path::absolute(folder).context("the folder's name cannot be used")?;
        let mut starter = Starter { folder, made: Vec::new() };
        let missing: Vec<PathBuf> =
            starter.folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        for folder in missing.iter().rev() {
            make_folder(folder)?;
        }
        starter.key_pair(KeyKind::Ed25519, HOST_KEY, "lockgate", "the server's key")?;
        starter.key_pair(KeyKind::EcdsaP256, OTHER_HOST_KEY, "lockgate", "a key for clients without Ed25519")?;
        starter.folder("data", "the local store")?;
        starter.folder("staging", "uploads that are written out of order")?;
        starter.folder(AUDIT, "the key and the state of the audit trail")?;
        starter.folder(EVENTS, "what happened, a line each")?;
        starter.signing_key()?;
        starter.file(CONFIG, 0o600, change(config_text(&starter.folder)).as_bytes(), "the configuration")?;
        Ok(starter)
    }

    /// What the client of a demo needs.
    fn make_client(&mut self) -> anyhow::Result<()> {
        self.key_pair(KeyKind::Ed25519, CLIENT_KEY, USER, "the key of the user demo")?;
        self.file(SAMPLE, 0o644, b"Hello from Lockgate.\n", "a file to upload")?;
        if !self.has(KNOWN_HOSTS)? {
            let listen = LISTEN.parse().context("the default address")?;
            self.write_known_hosts(&[listen], &[self.folder.join(HOST_KEY)])?;
            self.made.push((KNOWN_HOSTS.into(), "the server's key, as clients keep it"));
        }
        Ok(())
    }

    /// Writes the known-hosts file anew, for these addresses and host keys.
    pub fn write_known_hosts(&self, addresses: &[SocketAddr], host_keys: &[PathBuf]) -> anyhow::Result<()> {
        let mut text = String::new();
        for key in host_keys {
            let public = ssh::read_host_key_public(key).map_err(anyhow::Error::msg)?;
            for address in addresses {
                text.push_str(&known_hosts_line(*address, &public));
            }
        }
        // A client that reads the file now sees the old one or the new one.
        let (path, new) = (self.folder.join(KNOWN_HOSTS), self.folder.join(".known_hosts.new"));
        let written = remove_if_there(&new)
            .and_then(|()| write_new(&new, 0o644, text.as_bytes()))
            .and_then(|()| std::fs::rename(&new, &path));
        written.with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Writes the client's configuration anew: a jump through the gateway at `address` to the target. Adds the target's key to the
    /// known-hosts file, so that nothing is asked.
    pub fn write_ssh_config(&self, address: SocketAddr) -> anyhow::Result<String> {
        let public = ssh::read_host_key_public(&self.folder.join(TARGET_KEY)).map_err(anyhow::Error::msg)?;
        let known = self.folder.join(KNOWN_HOSTS);
        let key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let added =
            OpenOptions::new().append(true).open(&known).and_then(|mut file| writeln!(file, "{TARGET_HOST} {key}"));
        added.with_context(|| format!("{} cannot be written", known.display()))?;
        let value = |name: &str| quoted_value(&self.folder.join(name).to_string_lossy());
        let path = self.folder.join(SSH_CONFIG);
        // What OpenSSH makes of ProxyJump hands the file's name to a shell without quotes.
        let jump = match path.to_str().filter(|path| is_plain(path) && !path.contains('%')) {
            Some(_) => "ProxyJump bastion".to_owned(),
            None => {
                let file = shell_word(&path.to_string_lossy()).replace('%', "%%");
                format!("ProxyCommand ssh -F {file} -W [%h]:%p bastion")
            }
        };
        let text = format!(
            "Host bastion\n    HostName {}\n    Port {}\n    User {USER}\n\
             Host {TARGET}\n    HostName {TARGET_HOST}\n    User {ACCOUNT}\n    {jump}\n\
             Host *\n    IdentityFile {}\n    IdentitiesOnly yes\n    UserKnownHostsFile {}\n    StrictHostKeyChecking yes\n",
            address.ip(),
            address.port(),
            value(CLIENT_KEY),
            value(KNOWN_HOSTS),
        );
        let written = remove_if_there(&path).and_then(|()| write_new(&path, 0o644, text.as_bytes()));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(text)
    }

    fn key_pair(&mut self, kind: KeyKind, name: &str, comment: &str, what: &'static str) -> anyhow::Result<()> {
        let public_name = format!("{name}.pub");
        let public = if self.has(name)? {
            if self.has(&public_name)? {
                return Ok(());
            }
            let key = ssh::read_host_key_public(&self.folder.join(name)).map_err(anyhow::Error::msg)?;
            format!("{} {comment}", key.trim())
        } else {
            if self.has(&public_name)? {
                bail!("{0} holds {name}.pub without {name}; move {name}.pub away", self.folder.display());
            }
            let key = ssh::make_key(kind, comment).map_err(anyhow::Error::msg)?;
            self.file(name, 0o600, key.private.expose().as_bytes(), what)?;
            key.public
        };
        self.file(&public_name, 0o644, format!("{}\n", public.trim()).as_bytes(), "its public half")
    }

    /// The key that signs the audit trail's checkpoints.
    fn signing_key(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.join(AUDIT);
        let (private, public) = (SigningKey::private_in(Path::new(AUDIT)), SigningKey::public_in(Path::new(AUDIT)));
        let (private, public) = (private.to_string_lossy(), public.to_string_lossy());
        if !self.has(&private)? {
            if self.has(&public)? {
                bail!("{0} holds {public} without {private}; move {public} away", self.folder.display());
            }
            let key = SigningKey::make().map_err(anyhow::Error::msg)?;
            self.file(&private, 0o600, key.private.as_bytes(), "the key that signs the audit trail")?;
        }
        if !self.has(&public)? {
            let key = SigningKey::read(&folder).map_err(anyhow::Error::msg)?;
            self.file(&public, 0o644, key.public().as_bytes(), "its public half, for those who verify")?;
        }
        Ok(())
    }

    fn folder(&mut self, name: &'static str, what: &'static str) -> anyhow::Result<()> {
        if make_folder(&self.folder.join(name))? {
            self.made.push((format!("{name}/"), what));
        }
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8], what: &'static str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        match write_new(&path, mode, content) {
            Ok(()) => self.made.push((name.to_owned(), what)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be created", path.display())),
        }
        Ok(())
    }

    fn has(&self, name: &str) -> anyhow::Result<bool> {
        let path = self.folder.join(name);
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}

/// The configuration. Where the folder's name is too long for a socket in it, the admin door stays closed.
fn config_text(folder: &Path) -> String {
    match folder.join(SOCKET).as_os_str().len() <= admin::MAX_SOCKET_PATH {
        true => CONFIG_TEXT.to_owned(),
        false => CONFIG_TEXT.replace("\nadmin:", "\n# The path of this folder is too long for a socket:\n# admin:"),
    }
}

/// The configuration without the demo's user: an example of one in its place.
fn without_users(text: String) -> String {
    text.replacen(DEMO_USER, NO_USERS, 1)
}

/// The configuration of a gateway with these sections `stores` and `users`, as text.
pub(super) fn with_users(sections: &str) -> String {
    let before = CONFIG_TEXT.split_once("stores:\n").map_or(CONFIG_TEXT, |(before, _)| before);
    let after = CONFIG_TEXT.split_once("# Every login").map_or("", |(_, after)| after);
    format!("{before}{sections}# Every login{after}")
}

/// The configuration with a target, a folder of the local store, and the right to jump there.
fn with_target(text: String) -> String {
    let user = "    public_keys: [\"${file:demo_ed25519.pub}\"]\n";
    let grant = format!(
        "{user}    # Where the user may jump to, and as whom.\n    targets: [{{ target: {TARGET}, accounts: [{ACCOUNT}] }}]\n"
    );
    let target = format!(
        "# Reached with ProxyJump; the gateway never connects to the address. docs/BASTION.md describes targets.\n\
         targets:\n  - name: {TARGET}\n    addresses: [\"{TARGET_HOST}:22\"]\n    host_keys: [{TARGET_KEY}]\n    accounts:\n      \
         - name: {ACCOUNT}\n        home: [{{ entry: /, target: \"local:/{TARGET}\" }}]\n\n"
    );
    let text = text.replacen(user, &grant, 1);
    let events = "# Every login and every file operation is one JSON line.\n";
    text.replacen(events, &(target + events), 1)
}

/// A path as a value of ssh_config(5), which splits it at spaces, reads quotes and expands `%`.
pub(super) fn quoted_value(path: &str) -> String {
    let expanded = path.replace('%', "%%");
    match is_plain(path) {
        true => expanded,
        false => format!("\"{}\"", expanded.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Whether a word means itself in a shell.
pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b))
}

/// Makes a folder that only its owner may enter; says whether it was made. One that is there stays as it is.
fn make_folder(path: &Path) -> anyhow::Result<bool> {
    let made = match std::fs::create_dir(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o700)).map(|()| true),
        Err(_) if path.is_dir() => Ok(false),
        Err(error) => Err(error),
    };
    made.with_context(|| format!("the folder {} cannot be made", path.display()))
}

/// Writes a file that does not exist yet; nothing is left of it when that fails.
fn write_new(path: &Path, mode: u32, content: &[u8]) -> std::io::Result<()> {
    // Nobody else may read it, not even before the mode is set.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let fill = |file: &mut File| {
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()
    };
    fill(&mut file).inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The address that a client on this machine connects to: the loopback one where the server listens on all.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// One line of the known-hosts form (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT); `public` is the type and the key.
fn known_hosts_line(address: SocketAddr, public: &str) -> String {
    let address = reachable(address);
    let key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    match address.port() {
        22 => format!("{} {key}\n", address.ip()),
        port => format!("[{}]:{port} {key}\n", address.ip()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn everything_is_made_once_with_its_mode() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new folder/gateway");
        let starter = Starter::make(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&parent.path().join("new folder"))), (0o700, 0o700));
        for (name, wanted) in [
            (HOST_KEY, 0o600),
            ("ssh_host_ed25519_key.pub", 0o644),
            (OTHER_HOST_KEY, 0o600),
            ("ssh_host_ecdsa_key.pub", 0o644),
            (CLIENT_KEY, 0o600),
            ("demo_ed25519.pub", 0o644),
            (CONFIG, 0o600),
            (KNOWN_HOSTS, 0o644),
            (SAMPLE, 0o644),
            ("data", 0o700),
            ("staging", 0o700),
            ("audit", 0o700),
            ("events", 0o700),
            ("audit/signing_key", 0o600),
            ("audit/signing_key.pub", 0o644),
        ] {
            assert_eq!(mode(&folder.join(name)), wanted, "{name}");
        }
        assert_eq!(starter.made.len(), 15);
        let before = std::fs::read(folder.join(CLIENT_KEY)).unwrap();
        std::fs::write(folder.join(CONFIG), "mine").unwrap();
        std::fs::remove_file(folder.join("demo_ed25519.pub")).unwrap();
        let again = Starter::make(&folder).unwrap();
        assert_eq!(again.made, [("demo_ed25519.pub".to_owned(), "its public half")]);
        assert_eq!(std::fs::read(folder.join(CLIENT_KEY)).unwrap(), before);
        assert_eq!(std::fs::read(folder.join(CONFIG)).unwrap(), b"mine");
        std::fs::remove_file(folder.join(CLIENT_KEY)).unwrap();
        assert!(Starter::make(&folder).unwrap_err().to_string().contains("move demo_ed25519.pub away"));
    }

    #[test]
    fn a_gateway_of_ones_own_has_neither_a_user_nor_a_key_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let starter = Starter::make_without_users(folder.path()).unwrap();
        assert_eq!(starter.made.len(), 11);
        for name in [CLIENT_KEY, "demo_ed25519.pub", SAMPLE, KNOWN_HOSTS] {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        let text = std::fs::read_to_string(folder.path().join(CONFIG)).unwrap();
        assert!(!text.contains("demo"), "{text}");
        let settings = crate::config::check(&folder.path().join(CONFIG)).unwrap_or_else(|error| panic!("{error}"));
        assert!(settings.users.is_empty() && settings.audit.chain.is_some());
        // The example of a user is right when its signs of a comment and the empty list are removed.
        let (before, rest) = text.split_once("# Nobody can log in yet. A user, for example:\n").unwrap();
        let (user, after) = rest.split_once("users: []\n").unwrap();
        let user: String = user.lines().map(|line| line.trim_start_matches('#').to_owned() + "\n").collect();
        let key = std::fs::read_to_string(folder.path().join("ssh_host_ed25519_key.pub")).unwrap();
        let user = user.replace("ssh-ed25519 AAAA... ann@laptop", key.trim());
        std::fs::write(folder.path().join(CONFIG), format!("{before}users:\n{user}{after}")).unwrap();
        let settings = crate::config::check(&folder.path().join(CONFIG)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&*settings.users[0].name, "ann");
    }

    #[test]
    fn the_public_half_of_the_signing_key_is_made_again_and_a_lone_one_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        Starter::make(folder.path()).unwrap();
        let public = folder.path().join("audit/signing_key.pub");
        let before = std::fs::read(&public).unwrap();
        std::fs::remove_file(&public).unwrap();
        assert_eq!(Starter::make(folder.path()).unwrap().made.len(), 1);
        assert_eq!(std::fs::read(&public).unwrap(), before);
        std::fs::remove_file(folder.path().join("audit/signing_key")).unwrap();
        let error = Starter::make(folder.path()).unwrap_err().to_string();
        assert!(error.contains("move audit/signing_key.pub away"), "{error}");
    }

    #[test]
    fn the_configuration_is_right_and_names_the_made_files() {
        let folder = tempfile::tempdir().unwrap();
        Starter::make(folder.path()).unwrap();
        let settings =
            crate::config::check(&folder.path().join(CONFIG)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(settings.ssh.listen, [LISTEN.parse().unwrap()]);
        assert_eq!(settings.ssh.host_keys, [folder.path().join(HOST_KEY)]);
        assert_eq!(settings.audit.chain.unwrap().folder, folder.path().join(AUDIT));
        let public = std::fs::read_to_string(folder.path().join("demo_ed25519.pub")).unwrap();
        assert_eq!(settings.admin.doors.socket, Some(folder.path().join(SOCKET)));
        let deep = folder.path().join("d".repeat(100));
        Starter::make(&deep).unwrap();
        let closed = crate::config::check(&deep.join(CONFIG)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(closed.admin.doors.socket, None);
        let key = &settings.users[0].keys[0];
        assert_eq!(*key, crate::users::AuthorizedKey::parse(&public).unwrap());
        assert_eq!((&*settings.users[0].name, key.comment()), (USER, Some(USER)));
    }

    #[test]
    fn known_hosts_lines_have_the_form_that_clients_look_for() {
        for (address, line) in [
            ("127.0.0.1:2022", "[127.0.0.1]:2022 ssh-ed25519 AAAA\n"),
            ("0.0.0.0:2022", "[127.0.0.1]:2022 ssh-ed25519 AAAA\n"),
            ("[::]:2022", "[::1]:2022 ssh-ed25519 AAAA\n"),
            ("192.0.2.1:22", "192.0.2.1 ssh-ed25519 AAAA\n"),
        ] {
            assert_eq!(known_hosts_line(address.parse().unwrap(), "ssh-ed25519 AAAA lockgate\n"), line);
        }
    }
}
