//! What `users_from` means.

use std::collections::{BTreeMap, HashSet};

use super::out_of_reach::Own;
use super::problem::Problems;
use super::raw_users_from::{Http, Keys, Target, UsersFrom};
use super::resolve_targets::resolve_grants;
use super::resolve_users::{judge_role, resolve_bounds, resolve_home, resolve_target, resolve_template, resolve_totp};
use super::{raw, reader::At};
use crate::path::LogicalPath;
use crate::users::{
    Header, KeysSettings, ProviderSettings, ProviderUrl, SourceSettings, TargetRule, Template, TotpSecret,
    is_name_of_file,
};

/// Resolves the sources of users; `server` is the server's name. One with a problem is left out.
pub(super) fn resolve_users_from(config: &raw::Config, server: &str, problems: &mut Problems) -> Vec<SourceSettings> {
    let mut taken = HashSet::new();
    let mut sources = Vec::new();
    for source in &config.users_from {
        match source {
            UsersFrom::Keys(keys) => {
                let Some(settings) = resolve_keys(keys, config, problems) else { continue };
                if let Some(at) = keys.folder.as_ref().filter(|_| !taken.insert(settings.source())) {
                    at.problem(problems, "this folder appears twice");
                }
                sources.push(SourceSettings::Keys(Box::new(settings)));
            }
            UsersFrom::Http(http) => {
                let Some(settings) = resolve_http(http, config, server, problems) else { continue };
                if let Some(at) = http.url.as_ref().filter(|_| !taken.insert(settings.source())) {
                    at.problem(problems, "this provider appears twice");
                }
                sources.push(SourceSettings::Provider(Box::new(settings)));
            }
        }
    }
    sources
}

fn resolve_keys(raw: &Keys, config: &raw::Config, problems: &mut Problems) -> Option<KeysSettings> {
    let stores = &config.stores;
    judge_role(raw.role.as_ref(), problems);
    let template = Template {
        role: raw.role.as_ref().map(|role| role.value.clone()),
        bounds: resolve_bounds(&raw.bounds, problems),
        home: resolve_home(raw.home.as_ref(), |target| resolve_template(target, stores), problems),
        totp: resolve_secrets(raw, problems),
        require_totp: raw.require_totp,
        targets: resolve_grants(&raw.targets, &config.targets, problems),
    };
    let at = raw.folder.as_ref()?;
    if at.value.contains("${") {
        at.problem(
            problems,
            "one folder contains the keys of all users, in one file NAME.pub for each; write it without ${user}",
        );
        return None;
    }
    let (store, key) = resolve_target(&at.value, None, stores).map_err(|what| at.problem(problems, what)).ok()?;
    // Anybody who can write a file there can log in as any user.
    problems.note_own(Own::folder(at, &store, &key, ", and so let anybody log in"));
    Some(KeysSettings { folder: format!("{store}:/{key}"), store, key, every: raw.every, template })
}

fn resolve_secrets(raw: &Keys, problems: &mut Problems) -> BTreeMap<String, TotpSecret> {
    let mut secrets = BTreeMap::new();
    for (name, secret) in &raw.totp {
        if !is_name_of_file(&name.value) {
            name.problem(problems, "no file NAME.pub can have this user name; names consist of a-z, 0-9, '-' and '_', and begin with a letter");
        }
        secrets.extend(resolve_totp(secret, problems).map(|secret| (name.value.clone(), secret)));
    }
    secrets
}

fn resolve_http(raw: &Http, config: &raw::Config, server: &str, problems: &mut Problems) -> Option<ProviderSettings> {
    let mut headers = Vec::new();
    for (name, value) in &raw.headers {
        match Header::parse(&name.value, value) {
            Ok(header) => headers.push(header),
            Err(what) => name.problem(problems, what),
        }
    }
    if let Some(id) = raw.server_id.as_ref().filter(|id| id.value.is_empty() || id.value.chars().any(char::is_control))
    {
        id.problem(problems, "must be text; leave it out for the server's name");
    }
    let targets = match &raw.targets {
        Some(targets) => resolve_targets(targets, &config.stores, problems),
        None => targets_of_stores(&config.stores),
    };
    let bounds = resolve_bounds(&raw.bounds, problems);
    let at = raw.url.as_ref()?;
    let url = ProviderUrl::parse(at.value.expose(), raw.allow_http).map_err(|what| at.problem(problems, what)).ok()?;
    Some(ProviderSettings {
        url,
        method: raw.method,
        server_id: raw.server_id.as_ref().map_or(server, |id| &id.value).to_owned(),
        headers,
        timeout: raw.timeout,
        retries: u32::try_from(raw.retries).unwrap_or(u32::MAX),
        cache: raw.cache,
        recheck: raw.recheck,
        auth: raw.auth,
        require_totp: raw.require_totp,
        bounds,
        permissions: raw.permissions,
        targets,
        policy: raw.policy,
    })
}

/// `targets`: where what a provider calls `/bucket/folder` is.
fn resolve_targets(raw: &At<Vec<Target>>, stores: &[raw::Store], problems: &mut Problems) -> Vec<TargetRule> {
    if raw.value.is_empty() {
        raw.problem(problems, "is empty; leave it out for the buckets and names of all stores");
    }
    let mut rules = Vec::new();
    for Target { prefix, folder } in &raw.value {
        let path = LogicalPath::parse_str(&prefix.value).ok().filter(|path| path.as_str() == prefix.value);
        if path.is_none() {
            prefix.problem(problems, "write how the provider's targets begin, as in /bucket or /bucket/folder");
        }
        let place = match folder.value.contains("${") {
            true => Err("the provider's own targets contain the user; write a folder without ${user}".to_owned()),
            false => resolve_target(&folder.value, None, stores),
        };
        let place = place.map_err(|what| folder.problem(problems, what)).ok();
        if let (Some(prefix), Some((store, key))) = (path, place) {
            rules.push(TargetRule { prefix, store, folder: key });
        }
    }
    rules
}

/// Without `targets`: `/BUCKET/PREFIX` of each store's URL, and each store's name. A bucket goes before a name, and of two
/// stores with one bucket and prefix the first counts.
fn targets_of_stores(stores: &[raw::Store]) -> Vec<TargetRule> {
    let bucket = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        ["s3", "gs", "az"].contains(&scheme).then(|| format!("/{rest}"))
    };
    let of_urls = stores.iter().filter_map(|store| Some((store, bucket(store.url.as_ref()?.value.expose())?)));
    let of_names = stores.iter().map(|store| (store, format!("/{}", store.name.value)));
    let mut rules: Vec<TargetRule> = Vec::new();
    for (store, prefix) in of_urls.chain(of_names) {
        let Ok(prefix) = LogicalPath::parse_str(&prefix) else { continue };
        if !prefix.is_root() && !rules.iter().any(|rule| rule.prefix == prefix) {
            rules.push(TargetRule { prefix, store: store.name.value.clone(), folder: String::new() });
        }
    }
    rules
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::reader::Place;
    use crate::secret::Secret;

    #[test]
    fn buckets_and_names_of_stores_lead_to_them() {
        let at = |text: &str| At { value: text.to_owned(), place: Place::root(), line: 1 };
        let store = |name: &str, url: &str| raw::Store {
            name: at(name),
            url: Some(At { value: Secret::new(url.into()), place: Place::root(), line: 1 }),
            options: None,
            is_own: false,
        };
        let stores = [
            store("lake", "s3://bucket/in/x/"),
            store("again", "s3://bucket/in/x"),
            store("local", "file:///srv/data"),
            store("bucket", "memory:///"),
            store("lake2", "gs://lake"),
        ];
        let rules: Vec<String> =
            targets_of_stores(&stores).iter().map(|rule| format!("{} {}", rule.prefix.as_str(), rule.store)).collect();
        let expected =
            ["/bucket/in/x lake", "/lake lake2", "/again again", "/local local", "/bucket bucket", "/lake2 lake2"];
        assert_eq!(rules, expected);
    }
}
