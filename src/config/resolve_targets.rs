//! What `targets` means, and who may jump to which.

use std::collections::HashMap;
use std::sync::Arc;

use super::problem::{Problems, near, quoted};
use super::raw;
use super::raw_targets::{Account as RawAccount, Grant, Target as RawTarget};
use super::reader::At;
use super::resolve::{Surroundings, is_plain, resolve_host_keys};
use super::resolve_users::{is_name, resolve_home, resolve_template};
use crate::users::{Account, Granted, GrantedAccounts, InnerLogin, Target, TargetAddress, TargetGrant};

/// The longest name of a target or a group, in bytes.
const MAX_NAME: usize = 253;

/// Every account.
const ALL: &str = "*";

/// Resolves the targets; what is wrong in one is left out of it.
pub(super) fn resolve_targets(config: &raw::Config, around: &Surroundings, problems: &mut Problems) -> Vec<Target> {
    let mut names: HashMap<&str, u64> = HashMap::new();
    let mut addresses: HashMap<TargetAddress, String> = HashMap::new();
    let mut targets = Vec::new();
    for raw in &config.targets {
        let accounts = resolve_accounts(&raw.accounts, &config.stores, problems);
        let taken = resolve_addresses(raw, &mut addresses, problems);
        let groups = raw.groups.iter().filter(|group| judge_name(group, "a group", problems));
        let groups = groups.map(|group| Arc::from(group.value.as_str())).collect();
        let host_keys = raw.host_keys.as_deref().map(|keys| resolve_host_keys(keys, around, problems));
        let Some(name) = raw.name.as_ref().filter(|name| judge_name(name, "a target", problems)) else { continue };
        if let Some(first) = names.insert(&name.value, name.line) {
            name.problem(problems, format!("a target of this name is already in line {first}; names must be unique"));
        }
        targets.push(Target {
            name: name.value.as_str().into(),
            addresses: taken,
            groups,
            accounts,
            inner_login: raw.inner_login,
            host_keys: host_keys.unwrap_or_default(),
        });
    }
    targets
}

/// Where a user may jump to, among `targets`.
pub(super) fn resolve_grants(raw: &[Grant], targets: &[RawTarget], problems: &mut Problems) -> Vec<TargetGrant> {
    raw.iter().filter_map(|grant| resolve_grant(grant, targets, problems)).collect()
}

/// A user who has neither a key nor a certificate could not log in at a target that wants one again.
pub(super) fn judge_proofs(raw: &[Grant], targets: &[RawTarget], problems: &mut Problems) {
    for grant in raw {
        let wanting = targets.iter().find(|target| target.inner_login == InnerLogin::Proof && grant.is_for(target));
        let Some(name) = wanting.and_then(|target| target.name.as_ref()) else { continue };
        let what = format!(
            "{:?} has `inner_login: proof`, which requires a key or a certificate, and this user has neither; add public_keys to the \
             user, or write `inner_login: inherited` at the target",
            name.value
        );
        grant.at.problem(problems, what);
    }
}

impl Grant {
    fn is_for(&self, target: &RawTarget) -> bool {
        let is_named = |named: &At<String>| target.name.as_ref().is_some_and(|name| name.value == named.value);
        let is_in = |group: &At<String>| target.groups.iter().any(|name| name.value == group.value);
        self.target.as_ref().is_some_and(is_named) || self.group.as_ref().is_some_and(is_in)
    }
}

fn resolve_grant(raw: &Grant, targets: &[RawTarget], problems: &mut Problems) -> Option<TargetGrant> {
    let meant: Vec<_> = targets.iter().filter(|target| raw.is_for(target)).collect();
    let (named, to) = match (&raw.target, &raw.group) {
        (Some(target), None) => {
            let names = || targets.iter().filter_map(|known| Some(known.name.as_ref()?.value.as_str()));
            judge_known(target, "target", names, problems);
            (target, Granted::Target(target.value.as_str().into()))
        }
        (None, Some(group)) => {
            let names = || targets.iter().flat_map(|known| &known.groups).map(|group| group.value.as_str());
            judge_known(group, "group", names, problems);
            (group, Granted::Group(group.value.as_str().into()))
        }
        (Some(_), Some(group)) => {
            group.problem(problems, "each element has a `target` or a `group`, not both; write two elements");
            return None;
        }
        (None, None) => {
            raw.at.problem(problems, "the target is missing; write `target: NAME` or `group: NAME`");
            return None;
        }
    };
    if raw.accounts.iter().any(|account| account.value == ALL) {
        return Some(TargetGrant { to, accounts: GrantedAccounts::All });
    }
    let known = || meant.iter().flat_map(|target| &target.accounts).filter_map(|account| account.name.as_ref());
    for account in raw.accounts.iter().filter(|_| !meant.is_empty()) {
        if !known().any(|name| name.value == account.value) {
            let names = || known().map(|name| name.value.as_str());
            let meant = near(&account.value, names()).map(|meant| format!("; did you mean {meant:?}?"));
            let meant = meant.unwrap_or_default();
            account.problem(problems, format!("{:?} has no account of this name{meant}", named.value));
        }
    }
    let accounts = raw.accounts.iter().map(|account| Arc::from(account.value.as_str())).collect();
    Some(TargetGrant { to, accounts: GrantedAccounts::Named(accounts) })
}

fn judge_known<'a, I: Iterator<Item = &'a str>>(
    name: &At<String>,
    what: &str,
    known: impl Fn() -> I,
    problems: &mut Problems,
) {
    if known().any(|known| known == name.value) {
        return;
    }
    let hint = match (near(&name.value, known()), known().next()) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, Some(_)) => format!("there are {}", quoted(known())),
        (None, None) => "there are no `targets`".to_owned(),
    };
    name.problem(problems, format!("no {what} of this name; {hint}"));
}

fn judge_name(name: &At<String>, what: &str, problems: &mut Problems) -> bool {
    let is_right = !name.value.is_empty() && name.value.len() <= MAX_NAME && is_plain(&name.value);
    if !is_right {
        name.problem(problems, format!("{what} has a name of 1 to {MAX_NAME} letters, digits, '-', '_' and '.'"));
    }
    is_right
}

fn resolve_addresses(
    raw: &RawTarget,
    taken: &mut HashMap<TargetAddress, String>,
    problems: &mut Problems,
) -> Vec<TargetAddress> {
    let mut addresses = Vec::new();
    let name = raw.name.as_ref().map_or("another target", |name| &name.value);
    for text in &raw.addresses {
        match TargetAddress::parse(&text.value) {
            Ok(address) => match taken.insert(address.clone(), name.to_owned()) {
                Some(first) => text.problem(problems, format!("{first:?} already has this address")),
                None => addresses.push(address),
            },
            Err(what) => text.problem(problems, what),
        }
    }
    addresses
}

fn resolve_accounts(raw: &[RawAccount], stores: &[raw::Store], problems: &mut Problems) -> Vec<Account> {
    let mut accounts: Vec<Account> = Vec::new();
    for account in raw {
        let home = resolve_home(account.home.as_ref(), |target| resolve_template(target, stores), problems);
        let Some(name) = &account.name else { continue };
        if !is_name(&name.value) {
            name.problem(problems, "an account has a name like a user's: letters, digits, '_', '@', '.' and '-'");
        } else if accounts.iter().any(|known| *known.name == *name.value) {
            name.problem(problems, "this target already has an account of this name");
        } else {
            accounts.push(Account { name: name.value.as_str().into(), home });
        }
    }
    accounts
}
