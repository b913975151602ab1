//! The shape of `targets`, and of a user's `targets`.

use super::problem::Problems;
use super::raw::{choice, each};
use super::raw_users::{HomeEntry, read_home_with, read_permissions};
use super::reader::{At, Item, Section};
use crate::policy::Permissions;
use crate::users::InnerLogin;

/// `targets[i]`
#[derive(Debug)]
pub(super) struct Target {
    pub name: Option<At<String>>,
    pub addresses: Vec<At<String>>,
    pub groups: Vec<At<String>>,
    pub accounts: Vec<Account>,
    pub inner_login: InnerLogin,
    pub host_keys: Option<Vec<At<String>>>,
}

/// `targets[i].accounts[j]`
#[derive(Debug)]
pub(super) struct Account {
    pub name: Option<At<String>>,
    pub home: Option<At<Vec<HomeEntry>>>,
}

/// `users[i].targets[j]`
#[derive(Debug)]
pub(super) struct Grant {
    pub at: At<()>,
    pub target: Option<At<String>>,
    pub group: Option<At<String>>,
    pub accounts: Vec<At<String>>,
}

/// Reads one target.
pub(super) fn read_target(_: &Item<'_>, mut section: Section<'_>, problems: &mut Problems) -> Target {
    let name = section.need("name", "write the target's name, as events show it", problems);
    let addresses = section.need(
        "addresses",
        "write the addresses by which clients request it, as in [\"192.168.1.10:22\"]",
        problems,
    );
    let accounts = section.need("accounts", "write the accounts there, as in [{ name: deploy, home: … }]", problems);
    let target = Target {
        name: name.and_then(|item| item.placed_text(problems)),
        addresses: addresses
            .map(|item| filled_texts(&item, "write at least one address", problems))
            .unwrap_or_default(),
        groups: section.take("groups").and_then(|item| item.texts(problems)).unwrap_or_default(),
        accounts: accounts
            .map(|item| {
                item.filled("write at least one account", problems);
                each(Some(item), problems, read_account)
            })
            .unwrap_or_default(),
        inner_login: choice(
            section.take("inner_login"),
            &[("inherited", InnerLogin::Inherited), ("proof", InnerLogin::Proof)],
            problems,
        ),
        host_keys: section.take("host_keys").map(|item| {
            filled_texts(&item, "write at least one key file, or leave it out for the gateway's own", problems)
        }),
    };
    section.close(problems);
    target
}

fn read_account(_: &Item<'_>, mut section: Section<'_>, problems: &mut Problems) -> Account {
    let name = section.need("name", "write the name with which clients log in there", problems);
    let home = section.need(
        "home",
        "write the folders that the account sees, as in [{ entry: /, target: \"STORE:/FOLDER\" }]",
        problems,
    );
    let permissions = section.take("permissions");
    let permissions = permissions.map_or(Permissions::READ_WRITE, |item| read_permissions(&item, problems));
    let account = Account {
        name: name.and_then(|item| item.placed_text(problems)),
        home: home.map(|item| read_home_with(&item, permissions, problems)),
    };
    section.close(problems);
    account
}

/// Reads where a user may jump to.
pub(super) fn read_grants(item: Option<Item<'_>>, problems: &mut Problems) -> Vec<Grant> {
    each(item, problems, |item, mut section, problems| {
        let accounts = section.need("accounts", "write accounts there, as in [deploy], or [\"*\"] for all", problems);
        let mut text = |key| section.take(key).and_then(|item| item.placed_text(problems));
        let (target, group) = (text("target"), text("group"));
        let grant = Grant {
            at: item.at(()),
            target,
            group,
            accounts: accounts
                .map(|item| filled_texts(&item, "write at least one account, or [\"*\"] for all", problems))
                .unwrap_or_default(),
        };
        section.close(problems);
        grant
    })
}

fn filled_texts(item: &Item<'_>, otherwise: &'static str, problems: &mut Problems) -> Vec<At<String>> {
    item.filled(otherwise, problems);
    item.texts(problems).unwrap_or_default()
}
