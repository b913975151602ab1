//! The shape of `admin`.

use super::problem::Problems;
use super::raw::{each, text};
use super::reader::{At, Item, Section};
use crate::admin::Role;

/// `admin`
#[derive(Debug, Default)]
pub(super) struct Admin {
    pub socket: Option<At<String>>,
    pub listen: Option<At<Vec<At<String>>>>,
    pub health: Option<At<String>>,
    pub hosts: Option<At<Vec<At<String>>>>,
    pub tls: Option<At<Tls>>,
    /// `plain_http: behind-a-proxy`
    pub plain_http: Option<At<()>>,
    pub tokens: Vec<Token>,
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
        hosts,
        tls: section.take("tls").and_then(|item| Some(item.at(read_tls(&item, problems)?))),
        plain_http: section
            .take("plain_http")
            .and_then(|item| Some(item.at(item.choice(&[("behind-a-proxy", ())], problems)?))),
        tokens: each(section.take("tokens"), problems, read_token),
    };
    section.close(problems);
    Some(admin)
}

fn read_tls(item: &Item<'_>, problems: &mut Problems) -> Option<Tls> {
    let mut section = item.section(problems)?;
    let certificate = section.need("certificate", "a PEM file", problems);
    let key = section.need("key", "the PEM file of its private key", problems);
    let tls = Tls {
        certificate: certificate.and_then(|item| item.placed_text(problems)),
        key: key.and_then(|item| item.placed_text(problems)),
    };
    section.close(problems);
    Some(tls)
}

fn read_token(_: &Item<'_>, mut section: Section<'_>, problems: &mut Problems) -> Token {
    let right = "`lockgate admin token NAME --role viewer` prints a whole entry";
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
