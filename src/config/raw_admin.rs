//! The shape of `admin`.

use super::problem::Problems;
use super::raw::{each, text};
use super::reader::{At, Item, Section};
use crate::admin::Role;
use crate::secret::Secret;

/// `admin`
#[derive(Debug, Default)]
pub(super) struct Admin {
    pub socket: Option<At<String>>,
    pub listen: Option<At<Vec<At<String>>>>,
    pub health: Option<At<String>>,
    pub health_users: Option<At<bool>>,
    pub hosts: Option<At<Vec<At<String>>>>,
    pub tls: Option<At<Tls>>,
    /// `plain_http: behind-a-proxy`
    pub plain_http: Option<At<()>>,
    pub tokens: Vec<Token>,
    pub oidc: Option<At<Oidc>>,
}

/// `admin.oidc`
#[derive(Debug)]
pub(super) struct Oidc {
    pub issuer: Option<At<String>>,
    pub client_id: Option<At<String>>,
    pub client_secret: Option<At<Secret>>,
    pub scopes: Vec<At<String>>,
    pub audience: Option<At<String>>,
    pub name: Option<At<String>>,
    pub roles: Option<At<Roles>>,
}

/// `admin.oidc.roles`
#[derive(Debug)]
pub(super) struct Roles {
    pub claim: Option<At<String>>,
    /// Values of the claim, with their roles; `None` where a role cannot be read.
    pub map: Vec<(At<String>, Option<Role>)>,
}

/// `admin.tls`
#[derive(Debug)]
pub(super) struct Tls {
    pub certificate: Option<At<String>>,
    pub key: Option<At<String>>,
}

/// `admin.tokens[i]`
#[derive(Debug)]
pub(super) struct Token {
    pub name: Option<At<String>>,
    pub role: Option<Role>,
    pub hash: Option<At<String>>,
    pub expires: Option<At<String>>,
}

/// Reads `admin`.
pub(super) fn read_admin(item: &Item<'_>, problems: &mut Problems) -> Option<Admin> {
    let mut section = item.section(problems)?;
    let mut list = |key: &'static str, right: &str, problems: &mut Problems| {
        let item = section.take(key)?;
        item.filled(right, problems);
        Some(item.at(item.texts(problems).unwrap_or_default()))
    };
    let listen = list("listen", "write at least one address, as in [\"127.0.0.1:8022\"]", problems);
    let hosts = list("hosts", "write at least one name, or leave it out", problems);
    let admin = Admin {
        socket: text(&mut section, "socket", problems),
        listen,
        health: text(&mut section, "health", problems),
        health_users: section.take("health_users").and_then(|item| Some(item.at(item.boolean(problems)?))),
        hosts,
        tls: section.take("tls").and_then(|item| Some(item.at(read_tls(&item, problems)?))),
        plain_http: section
            .take("plain_http")
            .and_then(|item| Some(item.at(item.choice(&[("behind-a-proxy", ())], problems)?))),
        tokens: each(section.take("tokens"), problems, read_token),
        oidc: section.take("oidc").and_then(|item| Some(item.at(read_oidc(&item, problems)?))),
    };
    section.close(problems);
    Some(admin)
}

fn read_tls(item: &Item<'_>, problems: &mut Problems) -> Option<Tls> {
    let mut section = item.section(problems)?;
    let certificate = section.need("certificate", "a PEM file", problems);
    let key = section.need("key", "write the PEM file of the certificate's private key", problems);
    let tls = Tls {
        certificate: certificate.and_then(|item| item.placed_text(problems)),
        key: key.and_then(|item| item.placed_text(problems)),
    };
    section.close(problems);
    Some(tls)
}

fn read_oidc(item: &Item<'_>, problems: &mut Problems) -> Option<Oidc> {
    let mut section = item.section(problems)?;
    let issuer = section.need("issuer", "write the provider's URL, exactly as its tokens contain it", problems);
    let client_id = section.need("client_id", "write the id that the gateway has at the provider", problems);
    let client_secret = section.need("client_secret", "write it as in ${file:/run/secrets/lockgate-oidc}", problems);
    let roles = section.need("roles", "write them as in { claim: groups, map: { sftp-admins: operator } }", problems);
    let oidc = Oidc {
        issuer: issuer.and_then(|item| item.placed_text(problems)),
        client_id: client_id.and_then(|item| item.placed_text(problems)),
        client_secret: client_secret.and_then(|item| Some(item.at(item.credential(problems)?))),
        scopes: section.take("scopes").and_then(|item| item.texts(problems)).unwrap_or_default(),
        audience: text(&mut section, "audience", problems),
        name: text(&mut section, "name", problems),
        roles: roles.and_then(|item| Some(item.at(read_roles(&item, problems)?))),
    };
    section.close(problems);
    Some(oidc)
}

fn read_roles(item: &Item<'_>, problems: &mut Problems) -> Option<Roles> {
    let mut section = item.section(problems)?;
    let claim = section.need("claim", "write the claim that determines the role, as in groups", problems);
    let map =
        section.need("map", "write values of the claim and their roles, as in { sftp-admins: operator }", problems);
    let mut pairs = Vec::new();
    for (value, role) in map.and_then(|item| item.pairs(problems)).unwrap_or_default() {
        let role = role.choice(&Role::ALL.map(|role| (role.as_str(), role)), problems);
        pairs.push((value, role));
    }
    let roles = Roles { claim: claim.and_then(|item| item.placed_text(problems)), map: pairs };
    section.close(problems);
    Some(roles)
}

fn read_token(_: &Item<'_>, mut section: Section<'_>, problems: &mut Problems) -> Token {
    let right = "`lockgate admin token NAME --role viewer` prints a complete entry";
    let name = section.need("name", right, problems);
    let role = section.need("role", right, problems);
    let hash = section.need("hash", right, problems);
    let token = Token {
        name: name.and_then(|item| item.placed_text(problems)),
        role: role.and_then(|item| item.choice(&Role::ALL.map(|role| (role.as_str(), role)), problems)),
        hash: hash.and_then(|item| item.placed_text(problems)),
        expires: text(&mut section, "expires", problems),
    };
    section.close(problems);
    token
}
