//! What a provider answers: Transfer Family's fields, and the user that they make.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{AuthorizedKey, HomeEntry, MAX_KEYS, TargetGrant, Totp, TotpSecret, User};
use super::grants::{self, TARGETS};
use super::{Flaw, OnPolicy, ProviderSettings, TargetRule};
use crate::path::LogicalPath;
use crate::secret::Secret;

/// As many mappings as Transfer Family takes for one user.
const MAX_ENTRIES: usize = 2000;

/// The longest `Role`, in bytes.
const MAX_ROLE: usize = 2048;

/// The longest `Identity`, in bytes.
const MAX_IDENTITY: usize = 1024;

/// What Transfer Family replaces by the user's name in a target.
const USER_NAME: &str = "${transfer:UserName}";

/// An answer that names a user: it has a `Role`. Fields that are not listed here are of no meaning.
#[derive(Debug)]
pub(super) struct Answer {
    role: String,
    /// The person behind the user's name; not one of Transfer Family's fields.
    identity: Option<String>,
    /// The secret of the user's one-time codes; not one of Transfer Family's fields either.
    totp: Option<Secret>,
    /// Where the user may jump to; not one of them either.
    targets: Vec<TargetGrant>,
    public_keys: Vec<String>,
    policy: Value,
    home_directory_type: Option<String>,
    /// A list, or a list as a string.
    home_directory_details: Value,
    home_directory: Option<String>,
}

/// One of `HomeDirectoryDetails`.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    entry: String,
    target: String,
}

/// Reads an answer. `None` is a refusal: nothing, `null`, or an object without a `Role`.
pub(super) fn read(body: &[u8]) -> Result<Option<Answer>, Flaw> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    // Without a word of the answer, which does not belong into a log.
    let mut object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(Value::Null) => return Ok(None),
        Ok(other) => return Err(Flaw::new("body", format!("is {}; an object is needed", kind_of(&other)))),
        Err(_) => return Err(Flaw::new("body", "is no JSON")),
    };
    let role = text(&object, "Role")?.filter(|role| !role.trim().is_empty());
    let public_keys = match object.remove("PublicKeys") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => Vec::deserialize(&list)
            .map_err(|_| Flaw::new("PublicKeys", format!("is {}; a list of texts is needed", kind_of(&list))))?,
    };
    let Some(role) = role else { return Ok(None) };
    Ok(Some(Answer {
        role,
        identity: text(&object, IDENTITY)?.filter(|identity| !identity.trim().is_empty()),
        totp: text(&object, TOTP)?.map(Secret::new).filter(|secret| !secret.expose().trim().is_empty()),
        targets: grants::read(object.get(TARGETS).unwrap_or(&Value::Null))?,
        public_keys,
        policy: object.remove("Policy").unwrap_or_default(),
        home_directory_type: text(&object, HOME_TYPE)?,
        home_directory: text(&object, HOME)?,
        home_directory_details: object.remove(HOME_DETAILS).unwrap_or_default(),
    }))
}

const IDENTITY: &str = "Identity";
const TOTP: &str = "TotpSecret";
const HOME: &str = "HomeDirectory";
const HOME_TYPE: &str = "HomeDirectoryType";
const HOME_DETAILS: &str = "HomeDirectoryDetails";

/// A field that is text if it is there.
fn text(object: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Flaw> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(Flaw::new(field, format!("is {}; text is needed", kind_of(other)))),
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Answer {
    /// The user of that name. Fails for what cannot be done as it says.
    pub(super) fn into_user(self, name: &str, settings: &ProviderSettings) -> Result<User, Flaw> {
        let has_policy = !matches!(self.policy, Value::Null) && self.policy != "";
        if has_policy && settings.policy == OnPolicy::Refuse {
            return Err(Flaw::new("Policy", "cannot be evaluated here; `policy: ignore` lets it be"));
        }
        let of_person = self.identity.as_deref().unwrap_or_default();
        for (field, text, longest) in [("Role", self.role.as_str(), MAX_ROLE), (IDENTITY, of_person, MAX_IDENTITY)] {
            if text.len() > longest || text.chars().any(char::is_control) {
                return Err(Flaw::new(field, format!("is longer than {longest} bytes or holds a control character")));
            }
        }
        let home = self.home(name, settings)?;
        let secret = self.totp.as_ref().map(|secret| TotpSecret::parse(secret.expose()));
        let secret = secret.transpose().map_err(|what| Flaw::new(TOTP, what))?;
        Ok(User {
            name: name.into(),
            role: Some(self.role),
            identity: self.identity,
            keys: keys(name, self.public_keys)?,
            principals: Vec::new(),
            password: None,
            auth: settings.auth,
            totp: Totp::of(secret, settings.require_totp),
            enabled: true,
            bounds: settings.bounds.clone(),
            home,
            targets: self.targets,
            source: settings.source(),
        })
    }

    fn home(&self, name: &str, settings: &ProviderSettings) -> Result<Vec<HomeEntry>, Flaw> {
        let make = |field, entry: LogicalPath, target: &str| -> Result<HomeEntry, Flaw> {
            let found = find_target(&target.replace(USER_NAME, name), &settings.targets);
            let (store, target) = found.map_err(|what| Flaw::new(field, what))?;
            Ok(HomeEntry { entry, store, target, permissions: settings.permissions })
        };
        match self.home_directory_type.as_deref() {
            None | Some("" | "PATH") => {
                let home = self.home_directory.as_deref().filter(|home| !home.is_empty());
                if home.is_none() && !self.targets.is_empty() {
                    return Ok(Vec::new());
                }
                Ok(vec![make(HOME, LogicalPath::root(), home.ok_or_else(|| Flaw::new(HOME, "is missing"))?)?])
            }
            Some("LOGICAL") => {
                let mut taken = HashSet::new();
                let mut entries = Vec::new();
                for (place, mapping) in self.mappings()?.into_iter().enumerate() {
                    let entry = LogicalPath::parse_str(&mapping.entry).ok();
                    let entry = entry.filter(|entry| mapping.entry.starts_with('/') && taken.insert(entry.clone()));
                    let odd = || {
                        Flaw::new(
                            HOME_DETAILS,
                            format!("the Entry of number {} is no path, or appears twice", place + 1),
                        )
                    };
                    entries.push(make(HOME_DETAILS, entry.ok_or_else(odd)?, &mapping.target)?);
                }
                Ok(entries)
            }
            Some(_) => Err(Flaw::new(HOME_TYPE, "is neither PATH nor LOGICAL")),
        }
    }

    fn mappings(&self) -> Result<Vec<Mapping>, Flaw> {
        let odd = |what: &str| Flaw::new(HOME_DETAILS, what);
        let list = match &self.home_directory_details {
            Value::Null => return Err(odd("is missing, and HomeDirectoryType is LOGICAL")),
            Value::Array(list) => list.clone(),
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Array(list)) => list,
                _ => return Err(odd("is text, and no list in JSON")),
            },
            other => return Err(Flaw::new(HOME_DETAILS, format!("is {}; a list is needed", kind_of(other)))),
        };
        match list.len() {
            0 => Err(odd("is empty")),
            1..=MAX_ENTRIES => list.iter().enumerate().map(|(place, item)| mapping(place + 1, item)).collect(),
            more => Err(Flaw::new(HOME_DETAILS, format!("has {more} entries; a home has at most {MAX_ENTRIES}"))),
        }
    }
}

/// One mapping, the first of which is number 1.
fn mapping(number: usize, item: &Value) -> Result<Mapping, Flaw> {
    let odd = |what: &str| Flaw::new(HOME_DETAILS, format!("number {number} {what}"));
    let object = item.as_object().ok_or_else(|| odd("is no object"))?;
    let part = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    if !matches!(object.get("Type"), None | Some(Value::Null)) && object["Type"] != "DIRECTORY" {
        return Err(odd("has a Type other than DIRECTORY, which is not supported"));
    }
    let entry = part("Entry").ok_or_else(|| odd("has no Entry that is text"))?;
    Ok(Mapping { entry, target: part("Target").ok_or_else(|| odd("has no Target that is text"))? })
}

/// A key that cannot be read, or is too weak, is passed over: it lets nobody in.
fn keys(user: &str, lines: Vec<String>) -> Result<Vec<AuthorizedKey>, Flaw> {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if lines.len() > MAX_KEYS {
        return Err(Flaw::new("PublicKeys", format!("has {} keys; a user has at most {MAX_KEYS}", lines.len())));
    }
    let read = |line: &str| {
        AuthorizedKey::parse(line)
            .inspect_err(|what| tracing::warn!(user, what, "a key of an identity provider is passed over"))
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
