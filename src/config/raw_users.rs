//! The shape of `users`.

use super::problem::{Problems, near, quoted};
use super::raw::{each, text};
use super::raw_targets::{Grant, read_grants};
use super::reader::{At, Item, Section};
use crate::policy::{Permission, Permissions};
use crate::secret::Secret;
use crate::users::AuthMode;

/// The words of `auth`.
pub(super) const AUTH_MODES: [(&str, AuthMode); 4] = [
    ("public_key", AuthMode::PublicKey),
    ("password", AuthMode::Password),
    ("public_key_or_password", AuthMode::PublicKeyOrPassword),
    ("public_key_and_password", AuthMode::PublicKeyAndPassword),
];

/// `users[i]`
#[derive(Debug)]
pub(super) struct User {
    pub at: At<()>,
    pub name: Option<At<String>>,
    pub role: Option<At<String>>,
    pub public_keys: At<Vec<At<String>>>,
    /// Whether keys stand in the file, right or wrong.
    pub has_keys: bool,
    pub principals: Option<At<Vec<At<String>>>>,
    pub password_hash: Option<At<Secret>>,
    /// Whether a hash stands in the file, right or wrong.
    pub has_password: bool,
    pub auth: Option<AuthMode>,
    pub totp: Option<At<Secret>>,
    pub enabled: bool,
    pub bounds: Bounds,
    pub home: Option<At<Vec<HomeEntry>>>,
    pub targets: Vec<Grant>,
}

/// `expires`, `allow_from` and `sessions` of one user, or of all users of a source.
#[derive(Debug)]
pub(super) struct Bounds {
    pub expires: Option<At<String>>,
    pub allow_from: Option<At<Vec<At<String>>>>,
    pub sessions: Option<u64>,
}

/// `users[i].home[j]`
#[derive(Debug)]
pub(super) struct HomeEntry {
    pub entry: Option<At<String>>,
    pub target: Option<At<String>>,
    pub permissions: Permissions,
}

/// Reads one user.
pub(super) fn read_user(item: &Item<'_>, mut section: Section<'_>, problems: &mut Problems) -> User {
    let name = section.need("name", "write the login name", problems);
    let keys = section.take("public_keys");
    let password = section.take("password_hash");
    let auth = section.take("auth");
    let targets = section.take("targets");
    // Who only jumps needs none.
    let home = match targets {
        Some(_) => section.take("home"),
        None => section.need(
            "home",
            "write the folders that the user sees, as in [{ entry: /, target: \"STORE:/FOLDER\" }]",
            problems,
        ),
    };
    let user = User {
        at: item.at(()),
        name: name.and_then(|item| item.placed_text(problems)),
        role: text(&mut section, "role", problems),
        has_keys: keys.as_ref().is_some_and(Item::is_given) || section.is_broken("public_keys"),
        public_keys: match &keys {
            Some(item) => item.at(item.texts(problems).unwrap_or_default()),
            None => item.at(Vec::new()),
        },
        principals: section.take("principals").map(|item| {
            item.filled("write at least one name, or leave it out for the user's own", problems);
            item.at(item.texts(problems).unwrap_or_default())
        }),
        has_password: password.is_some() || section.is_broken("password_hash"),
        password_hash: password.and_then(|item| Some(item.at(Secret::new(item.text(problems)?.to_owned())))),
        auth: match auth {
            None => Some(AuthMode::default()),
            Some(item) => item.choice(&AUTH_MODES, problems),
        },
        totp: section.take("totp").and_then(|item| Some(item.at(item.credential(problems)?))),
        enabled: section.take("enabled").and_then(|item| item.boolean(problems)).unwrap_or(true),
        bounds: read_bounds(&mut section, problems),
        home: home.map(|item| read_home(&item, problems)),
        targets: read_grants(targets, problems),
    };
    section.close(problems);
    user
}

pub(super) fn read_bounds(section: &mut Section<'_>, problems: &mut Problems) -> Bounds {
    Bounds {
        expires: text(section, "expires", problems),
        allow_from: section.take("allow_from").map(|item| {
            item.filled("write at least one network, or leave it out for every address", problems);
            item.at(item.texts(problems).unwrap_or_default())
        }),
        sessions: section.take("sessions").and_then(|item| item.integer(1..=1_000_000, problems)),
    }
}

pub(super) fn read_home(item: &Item<'_>, problems: &mut Problems) -> At<Vec<HomeEntry>> {
    read_home_with(item, Permissions::READ_WRITE, problems)
}

/// As [`read_home`]; `otherwise` holds where an entry says nothing of permissions.
pub(super) fn read_home_with(item: &Item<'_>, otherwise: Permissions, problems: &mut Problems) -> At<Vec<HomeEntry>> {
    item.filled("write at least one entry, as in [{ entry: /, target: \"STORE:/FOLDER\" }]", problems);
    item.at(each(Some(item.clone()), problems, |_, section, problems| read_home_entry(section, otherwise, problems)))
}

fn read_home_entry(mut section: Section<'_>, otherwise: Permissions, problems: &mut Problems) -> HomeEntry {
    let entry = section.need("entry", "write the path that the user sees, as in /incoming", problems);
    let target = section.need("target", "write the store and the folder behind it, as in lake:/in/${user}", problems);
    let permissions = section.take("permissions");
    let entry = HomeEntry {
        entry: entry.and_then(|item| item.placed_text(problems)),
        target: target.and_then(|item| item.placed_text(problems)),
        permissions: permissions.map_or(otherwise, |item| read_permissions(&item, problems)),
    };
    section.close(problems);
    entry
}

pub(super) fn read_permissions(item: &Item<'_>, problems: &mut Problems) -> Permissions {
    let names = || Permission::ALL.into_iter().map(Permission::name);
    let words = [
        ("read_only", Permissions::READ_ONLY),
        ("read_write", Permissions::READ_WRITE),
        ("write_only", Permissions::WRITE_ONLY),
    ];
    if item.is_text() {
        let word = item.text(problems).unwrap_or_default();
        if Permission::from_name(word).is_some() {
            item.problem(problems, format!("a single permission is written as a list: [{word}]"));
            return Permissions::NONE;
        }
        return item.choice(&words, problems).unwrap_or(Permissions::NONE);
    }
    let texts = item.texts(problems).unwrap_or_default();
    let mut permissions = Permissions::NONE;
    for text in texts {
        match Permission::from_name(&text.value) {
            Some(permission) => permissions = permissions.with(permission),
            None => {
                let right = match near(&text.value, names()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("the permissions are {}", quoted(names())),
                };
                text.problem(problems, format!("no such permission; {right}"));
            }
        }
    }
    permissions
}
