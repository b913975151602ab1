//! What a provider answers: Transfer Family's fields, and the user that they make.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::super::{AuthorizedKey, HomeEntry, MAX_KEYS, User};
use super::{OnPolicy, ProviderSettings, TargetRule};
use crate::path::LogicalPath;

/// As many mappings as Transfer Family takes for one user.
const MAX_ENTRIES: usize = 2000;

/// The longest `Role`, in bytes.
const MAX_ROLE: usize = 2048;

/// What Transfer Family replaces by the user's name in a target.
const USER_NAME: &str = "${transfer:UserName}";

/// An answer that names a user: it has a `Role`. Fields that are not listed here are of no meaning.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    public_keys: Option<Vec<String>>,
    #[serde(default)]
    policy: Option<Value>,
    #[serde(default)]
    home_directory_type: Option<String>,
    /// A list, or a list as a string.
    #[serde(default)]
    home_directory_details: Option<Value>,
    #[serde(default)]
    home_directory: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mapping {
    entry: String,
    target: String,
    #[serde(default)]
    r#type: Option<String>,
}

/// Reads an answer. `None` is a refusal: nothing, `null`, or an object without a `Role`.
pub(super) fn read(body: &[u8]) -> Result<Option<Answer>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    // Without a word of the answer, which does not belong into a log.
    let unreadable = "its answer is not what was asked for";
    let answer: Option<Answer> = match serde_json::from_slice(body).map_err(|_| unreadable)? {
        Value::Null => None,
        object @ Value::Object(_) => serde_json::from_value(object).map_err(|_| unreadable)?,
        _ => return Err(unreadable.into()),
    };
    Ok(answer.filter(|answer| answer.role.as_ref().is_some_and(|role| !role.trim().is_empty())))
}

impl Answer {
    /// The user of that name. Fails for what cannot be done as it says.
    pub(super) fn into_user(self, name: &str, settings: &ProviderSettings) -> Result<User, String> {
        let has_policy = self.policy.as_ref().is_some_and(|policy| !matches!(policy, Value::Null) && policy != "");
        if has_policy && settings.policy == OnPolicy::Refuse {
            return Err("its answer has a Policy, which cannot be evaluated here; `policy: ignore` lets it be".into());
        }
        let role = self.role.clone().unwrap_or_default();
        if role.len() > MAX_ROLE || role.chars().any(char::is_control) {
            return Err(format!("the Role is longer than {MAX_ROLE} bytes or holds a control character"));
        }
        let home = self.home(name, settings)?;
        Ok(User {
            name: name.into(),
            role: Some(role),
            keys: keys(self.public_keys.unwrap_or_default())?,
            principals: Vec::new(),
            password: None,
            auth: settings.auth,
            enabled: true,
            bounds: settings.bounds.clone(),
            home,
            source: settings.source(),
        })
    }

    fn home(&self, name: &str, settings: &ProviderSettings) -> Result<Vec<HomeEntry>, String> {
        let make = |entry: LogicalPath, target: &str| -> Result<HomeEntry, String> {
            let (store, target) = find_target(&target.replace(USER_NAME, name), &settings.targets)?;
            Ok(HomeEntry { entry, store, target, permissions: settings.permissions })
        };
        match self.home_directory_type.as_deref() {
            None | Some("" | "PATH") => {
                let home = self.home_directory.as_deref().filter(|home| !home.is_empty());
                Ok(vec![make(LogicalPath::root(), home.ok_or("its answer has no HomeDirectory")?)?])
            }
            Some("LOGICAL") => {
                let mut taken = HashSet::new();
                let mut entries = Vec::new();
                for mapping in self.mappings()? {
                    if mapping.r#type.as_deref().is_some_and(|kind| kind != "DIRECTORY") {
                        return Err("a mapping has another Type than DIRECTORY, which is not served".into());
                    }
                    let entry = LogicalPath::parse_str(&mapping.entry).ok();
                    let entry = entry.filter(|entry| mapping.entry.starts_with('/') && taken.insert(entry.clone()));
                    entries.push(make(entry.ok_or("an Entry is no path, or stands twice")?, &mapping.target)?);
                }
                Ok(entries)
            }
            Some(_) => Err("its HomeDirectoryType is neither PATH nor LOGICAL".into()),
        }
    }

    fn mappings(&self) -> Result<Vec<Mapping>, String> {
        let unreadable = "its HomeDirectoryDetails are not a list of Entry and Target";
        let mappings: Vec<Mapping> = match &self.home_directory_details {
            Some(Value::String(text)) => serde_json::from_str(text).map_err(|_| unreadable)?,
            Some(list @ Value::Array(_)) => Vec::deserialize(list).map_err(|_| unreadable)?,
            _ => return Err(unreadable.into()),
        };
        match mappings.len() {
            0 => Err("its HomeDirectoryDetails are empty".into()),
            1..=MAX_ENTRIES => Ok(mappings),
            more => Err(format!("its HomeDirectoryDetails have {more} entries; a home has at most {MAX_ENTRIES}")),
        }
    }
}

/// A key that cannot be read, or is too weak, is passed over: it lets nobody in.
fn keys(lines: Vec<String>) -> Result<Vec<AuthorizedKey>, String> {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if lines.len() > MAX_KEYS {
        return Err(format!("its answer has {} PublicKeys; a user has at most {MAX_KEYS}", lines.len()));
    }
    let read = |line: &str| {
        AuthorizedKey::parse(line)
            .inspect_err(|what| tracing::warn!(what, "a key of an identity provider is passed over"))
    };
    Ok(lines.into_iter().filter_map(|line| read(line).ok()).collect())
}

/// The store and the key of `/bucket/key`, by the rule with the longest prefix.
fn find_target(target: &str, rules: &[TargetRule]) -> Result<(String, String), String> {
    let shown = target.escape_debug();
    let plain = target.strip_suffix('/').filter(|plain| !plain.is_empty()).unwrap_or(target);
    let path = LogicalPath::parse_str(plain).ok().filter(|path| path.as_str() == plain);
    let path = path.ok_or_else(|| format!("the target {shown} is no path in its plain form"))?;
    let fitting = rules.iter().filter(|rule| path.is_at_or_below(&rule.prefix));
    let rule = fitting.max_by_key(|rule| rule.prefix.components().count());
    let rule = rule.ok_or_else(|| format!("the target {shown} is in none of the stores"))?;
    let below = path.below(&rule.prefix).unwrap_or_default();
    let key = match (rule.folder.is_empty(), below.is_empty()) {
        (_, true) => rule.folder.clone(),
        (true, false) => below.to_owned(),
        (false, false) => format!("{}/{below}", rule.folder),
    };
    Ok((rule.store.clone(), key))
}
