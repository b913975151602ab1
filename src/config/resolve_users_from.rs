//! What `users_from` means.

use std::collections::HashSet;

use super::problem::Problems;
use super::raw_users_from::{Keys, UsersFrom};
use super::resolve_users::{judge_role, resolve_bounds, resolve_home, resolve_target, resolve_template};
use super::{raw, reader::At};
use crate::users::{KeysSettings, SourceSettings, Template};

/// Resolves the sources of users; one with a problem is left out.
pub(super) fn resolve_users_from(config: &raw::Config, problems: &mut Problems) -> Vec<SourceSettings> {
    let mut taken = HashSet::new();
    let mut sources = Vec::new();
    for source in &config.users_from {
        match source {
            UsersFrom::Keys(keys) => {
                let Some(settings) = resolve_keys(keys, &config.stores, problems) else { continue };
                if let Some(at) = keys.folder.as_ref().filter(|_| !taken.insert(settings.source())) {
                    at.problem(problems, "this folder stands twice");
                }
                sources.push(SourceSettings::Keys(settings));
            }
        }
    }
    sources
}

fn resolve_keys(raw: &Keys, stores: &[raw::Store], problems: &mut Problems) -> Option<KeysSettings> {
    judge_role(raw.role.as_ref(), problems);
    let template = Template {
        role: raw.role.as_ref().map(|role| role.value.clone()),
        bounds: resolve_bounds(&raw.bounds, problems),
        home: resolve_home(raw.home.as_ref(), |target| resolve_template(target, stores), problems),
    };
    let at = raw.folder.as_ref()?;
    let (store, key) = resolve_folder(at, stores, problems)?;
    Some(KeysSettings { folder: format!("{store}:/{key}"), store, key, every: raw.every, template })
}

fn resolve_folder(at: &At<String>, stores: &[raw::Store], problems: &mut Problems) -> Option<(String, String)> {
    if at.value.contains("${") {
        at.problem(
            problems,
            "one folder holds the keys of all users, one file NAME.pub each; write it without ${user}",
        );
        return None;
    }
    resolve_target(&at.value, None, stores).map_err(|what| at.problem(problems, what)).ok()
}
