//! Targets: hosts that users reach by jumping through the gateway (`ProxyJump`). Each is declared, with the addresses by which
//! clients may ask for it and the accounts that it has; no address of a client is ever connected to.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Attempt, AuthMode, Directory, DirectoryError, HomeEntry, Totp, User};

/// Stands in an account's home for the name of the person who jumps.
const PERSON: &str = "${user}";

/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// A host and a port, as a client asks for them in `direct-tcpip` (RFC 4254 section 7.2). Host names are compared without
/// regard to case and to a dot at the end, IP addresses by value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetAddress {
    host: Box<str>,
    port: u16,
}

impl TargetAddress {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn parse(text: &str) -> Result<TargetAddress, String> {
        let example = "write HOST:PORT, as in \"192.168.1.10:22\", \"files.internal:22\" or \"[2001:db8::7]:22\"";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("the port is missing; {example}"))?;
        let port =
            port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{port:?} is not a port; {example}"))?;
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if in_brackets.is_none() && host.contains(':') {
            return Err(format!("write an IPv6 address in brackets; {example}"));
        }
        let host = in_brackets.unwrap_or(host);
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
        let is_host =
            host.parse::<IpAddr>().is_ok() || labels.all(|label| !label.is_empty() && label.bytes().all(is_name));
        if !is_host || host.len() > MAX_HOST || (in_brackets.is_some() && host.parse::<IpAddr>().is_err()) {
            return Err(format!("{host:?} is not a host; {example}"));
        }
        Ok(TargetAddress::of(host, port))
    }

    /// What a client asks for.
    fn of(host: &str, port: u16) -> TargetAddress {
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
        };
        TargetAddress { host: host.into(), port }
    }

    /// The host, as it is compared.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What a login at a target has to show, beside that the gateway let its person in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InnerLogin {
    /// Nothing: the connection that the client jumped through has proven who it is.
    #[default]
    Inherited,
    /// One of the person's keys again.
    Proof,
}

/// An account of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name with which clients log in at the target.
    pub name: Arc<str>,
    /// What it sees; `${user}` in a target stands for the name of the person who jumps.
    pub home: Vec<HomeEntry>,
}

/// A host that users reach by jumping through the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the configuration and in events.
    pub name: Arc<str>,
    /// By which clients ask for it.
    pub addresses: Vec<TargetAddress>,
    /// The groups that it belongs to.
    pub groups: Vec<Arc<str>>,
    /// Its accounts; the names are unique.
    pub accounts: Vec<Account>,
    /// What a login there has to show.
    pub inner_login: InnerLogin,
    /// Host key files in OpenSSH's format; the gateway's own where empty.
    pub host_keys: Vec<PathBuf>,
}

/// Which targets a user may jump to, and as which accounts; an element of `targets` of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGrant {
    /// Which targets.
    pub to: Granted,
    /// Which of their accounts.
    pub accounts: GrantedAccounts,
}

/// Which targets a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// The one of this name.
    Target(Arc<str>),
    /// All of this group.
    Group(Arc<str>),
}

/// Which accounts a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantedAccounts {
    /// Every account of the target (`"*"`).
    All,
    /// Those of these names.
    Named(Vec<Arc<str>>),
}

impl fmt::Display for TargetGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.accounts {
            GrantedAccounts::All => write!(f, "every account")?,
            GrantedAccounts::Named(names) => write!(f, "{}", names.join(", "))?,
        }
        match &self.to {
            Granted::Target(name) => write!(f, " on {name}"),
            Granted::Group(group) => write!(f, " on the targets of {group}"),
        }
    }
}

impl Account {
    /// What the account sees when the person of this name uses it.
    pub fn home_of(&self, person: &str) -> Vec<HomeEntry> {
        let fill = |entry: &HomeEntry| HomeEntry { target: entry.target.replace(PERSON, person), ..entry.clone() };
        self.home.iter().map(fill).collect()
    }
}

impl TargetGrant {
    fn covers(&self, target: &Target) -> bool {
        match &self.to {
            Granted::Target(name) => *name == target.name,
            Granted::Group(group) => target.groups.contains(group),
        }
    }

    fn covers_account(&self, account: &str) -> bool {
        match &self.accounts {
            GrantedAccounts::All => true,
            GrantedAccounts::Named(names) => names.iter().any(|name| **name == *account),
        }
    }
}

impl Target {
    /// Whether somebody with these grants may use any account of it.
    pub fn admits(&self, grants: &[TargetGrant]) -> bool {
        self.accounts_for(grants).next().is_some()
    }

    /// The accounts that somebody with these grants may use.
    pub fn accounts_for(&self, grants: &[TargetGrant]) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|account| self.account_for(grants, &account.name).is_some())
    }

    /// The account of this name, if it is there and somebody with these grants may use it.
    pub fn account_for(&self, grants: &[TargetGrant], account: &str) -> Option<&Account> {
        let is_granted = grants.iter().any(|grant| grant.covers(self) && grant.covers_account(account));
        self.accounts.iter().find(|known| *known.name == *account).filter(|_| is_granted)
    }
}

/// The targets of a configuration.
#[derive(Debug, Default)]
pub struct Targets {
    targets: Vec<Arc<Target>>,
    by_address: HashMap<TargetAddress, Arc<Target>>,
}

impl Targets {
    /// These targets. Of two with one address the first has it.
    pub fn new(targets: Vec<Target>) -> Targets {
        let targets: Vec<Arc<Target>> = targets.into_iter().map(Arc::new).collect();
        let mut by_address = HashMap::new();
        for target in &targets {
            for address in &target.addresses {
                by_address.entry(address.clone()).or_insert_with(|| target.clone());
            }
        }
        Targets { targets, by_address }
    }

    /// The one that a client asks for by this host and port.
    pub fn at(&self, host: &str, port: u32) -> Option<&Arc<Target>> {
        let port = u16::try_from(port).ok()?;
        if host.len() > MAX_HOST + 1 {
            return None;
        }
        self.by_address.get(&TargetAddress::of(host, port))
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Target>> {
        self.targets.iter().find(|target| *target.name == *name)
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Target>] {
        &self.targets
    }
}

/// Who may log in at one target, for one person who jumps to it: the accounts that the person may use.
#[derive(Debug)]
pub struct AccountDirectory {
    person: Arc<User>,
    target: Arc<Target>,
}

impl AccountDirectory {
    /// The accounts of `target` that `person` may use.
    pub fn new(person: Arc<User>, target: Arc<Target>) -> AccountDirectory {
        AccountDirectory { person, target }
    }
}

#[async_trait]
impl Directory for AccountDirectory {
    /// The person with the home of the account of this name.
    async fn find(&self, name: &str, _: &Attempt) -> Result<Option<Arc<User>>, DirectoryError> {
        let Some(account) = self.target.account_for(&self.person.targets, name) else { return Ok(None) };
        // What a person has to prove was proven before the jump; here it is a key or nothing.
        let (auth, totp) = (AuthMode::PublicKey, Totp::default());
        let home = account.home_of(&self.person.name);
        Ok(Some(Arc::new(User { home, auth, totp, ..(*self.person).clone() })))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::path::LogicalPath;
    use crate::policy::Permissions;
    use crate::users::testing::user;

    fn account(name: &str, target: &str) -> Account {
        let (entry, store) = (LogicalPath::root(), "web".to_owned());
        let permissions = Permissions::READ_ONLY;
        Account { name: name.into(), home: vec![HomeEntry { entry, store, target: target.into(), permissions }] }
    }

    fn target(name: &str, addresses: &[&str], groups: &[&str], accounts: Vec<Account>) -> Target {
        Target {
            name: name.into(),
            addresses: addresses.iter().map(|text| TargetAddress::parse(text).unwrap()).collect(),
            groups: groups.iter().map(|group| Arc::from(*group)).collect(),
            accounts,
            inner_login: InnerLogin::default(),
            host_keys: Vec::new(),
        }
    }

    fn grant(to: Granted, accounts: &[&str]) -> TargetGrant {
        let names = accounts.iter().map(|name| Arc::from(*name)).collect();
        let accounts = if accounts == ["*"] { GrantedAccounts::All } else { GrantedAccounts::Named(names) };
        TargetGrant { to, accounts }
    }

    #[test]
    fn an_address_is_found_however_a_client_writes_it() {
        let addresses = ["192.168.1.10:22", "Files.Internal:2222", "[2001:db8::7]:22"];
        let targets = Targets::new(vec![target("a", &addresses, &[], vec![])]);
        for (host, port) in [
            ("192.168.1.10", 22),
            ("::ffff:192.168.1.10", 22),
            ("files.internal", 2222),
            ("FILES.internal.", 2222),
            ("2001:0db8:0::7", 22),
        ] {
            assert_eq!(targets.at(host, port).map(|found| &*found.name), Some("a"), "{host}");
        }
        for (host, port) in
            [("192.168.1.10", 23), ("192.168.1.11", 22), ("files.internal..", 2222), ("", 22), ("192.168.1.10", 65558)]
        {
            assert!(targets.at(host, port).is_none(), "{host}:{port}");
        }
        assert!(targets.at(&"a".repeat(1 << 20), 22).is_none());
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "::1:22",
            "[::1]",
            "[host]:22",
            "a b:22",
            ":22",
            ".:22",
            "a..b:22",
            "a..:22",
        ] {
            let what = TargetAddress::parse(text).unwrap_err();
            assert!(what.contains("192.168.1.10:22"), "{text}: {what}");
        }
        for text in ["192.168.1.10:22", "files.internal:2222", "[2001:db8::7]:22"] {
            assert_eq!(TargetAddress::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_account_is_for_those_to_whom_it_is_granted_by_target_or_by_group() {
        let accounts = vec![account("deploy", ""), account("root", "")];
        let web = target("web-1", &["web-1:22"], &["web"], accounts);
        for (grants, deploy, root) in [
            (vec![], false, false),
            (vec![grant(Granted::Group("web".into()), &["deploy"])], true, false),
            (vec![grant(Granted::Target("web-1".into()), &["*"])], true, true),
            (vec![grant(Granted::Target("web".into()), &["*"])], false, false),
            (vec![grant(Granted::Group("web-1".into()), &["*"])], false, false),
            (
                vec![grant(Granted::Group("db".into()), &["*"]), grant(Granted::Group("web".into()), &["root"])],
                false,
                true,
            ),
            (vec![grant(Granted::Group("web".into()), &["nobody"])], false, false),
        ] {
            assert_eq!(web.account_for(&grants, "deploy").is_some(), deploy, "{grants:?}");
            assert_eq!(web.account_for(&grants, "root").is_some(), root, "{grants:?}");
            assert!(web.account_for(&grants, "nobody").is_none() && web.account_for(&grants, "*").is_none());
            assert_eq!(web.admits(&grants), deploy || root, "{grants:?}");
        }
    }

    #[tokio::test]
    async fn who_logs_in_at_a_target_is_the_person_with_the_home_of_the_account() {
        let web = Arc::new(target("web-1", &["web-1:22"], &[], vec![account("deploy", "web/${user}")]));
        let targets = vec![grant(Granted::Target("web-1".into()), &["deploy"])];
        let auth = AuthMode::PublicKeyAndPassword;
        let directory = AccountDirectory::new(Arc::new(User { targets, auth, ..user("alice") }), web);
        let attempt = Attempt { source_ip: [192, 0, 2, 1].into() };
        let found = directory.find("deploy", &attempt).await.unwrap().unwrap();
        assert_eq!((&*found.name, &*found.home[0].target), ("alice", "web/alice"));
        assert_eq!(found.auth, AuthMode::PublicKey);
        assert!(directory.find("alice", &attempt).await.unwrap().is_none());
    }
}
