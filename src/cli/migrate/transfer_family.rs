//! The users of AWS Transfer Family, as `aws transfer describe-user` and `list-users` print them.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::draft::{Draft, DraftEntry, DraftUser, Rights};
use super::stores::Store;

/// What of `User` becomes part of the configuration, is reported below, or says nothing to a server.
const KNOWN: [&str; 10] = [
    "Arn",
    "HomeDirectory",
    "HomeDirectoryMappings",
    "HomeDirectoryType",
    "Policy",
    "PosixProfile",
    "Role",
    "SshPublicKeys",
    "Tags",
    "UserName",
];

/// Makes a draft of the documents.
///
/// # Errors
/// A document that is none of the two, or no described user at all.
pub(super) fn convert(documents: &[Value]) -> anyhow::Result<Draft> {
    let mut draft = Draft::default();
    let (mut listed, mut described) = (BTreeSet::new(), BTreeSet::new());
    for document in documents {
        for user in users_of(document, &mut listed)? {
            let name = user["UserName"].as_str().ok_or_else(|| anyhow!("a user has no UserName"))?;
            // The same output twice, as in a glob that finds a copy.
            if described.insert(name.to_owned()) {
                convert_user(name, user, &mut draft);
            }
        }
    }
    if described.is_empty() {
        bail!("there is no output of `aws transfer describe-user` in it; list-users has neither keys nor mappings");
    }
    for name in listed.difference(&described) {
        draft
            .report
            .leave_out(name, "it is in the list of users, and its output of `aws transfer describe-user` is missing");
    }
    draft.report.general(
        "what a role allowed is not in this data: each entry has all permissions. Restrict `permissions` where a role was narrower.",
    );
    draft.report.general(
        "clients know the host key of the old server. Transfer Family does not give a key out that it made itself: announce the new \
         one, or copy the key that was imported there into `host_keys`.",
    );
    Ok(draft)
}

/// The described users of a document; the names of a list of users go to `listed`.
fn users_of<'a>(document: &'a Value, listed: &mut BTreeSet<String>) -> anyhow::Result<Vec<&'a Value>> {
    if let Some(list) = document.as_array() {
        let mut all = Vec::new();
        for document in list {
            all.extend(users_of(document, listed)?);
        }
        return Ok(all);
    }
    if let Some(users) = document["Users"].as_array() {
        listed.extend(users.iter().filter_map(|user| user["UserName"].as_str()).map(str::to_owned));
        return Ok(Vec::new());
    }
    match &document["User"] {
        user @ Value::Object(_) => Ok(vec![user]),
        _ => bail!(
            "a document is neither of `aws transfer describe-user` (User) nor of `aws transfer list-users` (Users)"
        ),
    }
}

fn convert_user(name: &str, user: &Value, draft: &mut Draft) {
    let bodies = user["SshPublicKeys"].as_array().into_iter().flatten();
    let bodies: Vec<String> =
        bodies.filter_map(|key| key["SshPublicKeyBody"].as_str()).map(|body| body.trim().to_owned()).collect();
    let mut made = DraftUser {
        name: name.to_owned(),
        role: user["Role"].as_str().map(str::to_owned),
        keys: draft.keys(name, bodies),
        auth: "public_key",
        home: home(name, user, draft),
        ..DraftUser::default()
    };
    if user["Policy"].as_str().is_some_and(|policy| !policy.trim().is_empty()) {
        made.is_disabled = true;
        draft.report.note(
            name,
            "disabled: a session policy (Policy) cannot be evaluated. Set `permissions`, then `enabled: true`",
        );
    }
    if user["PosixProfile"].is_object() {
        draft.report.note(name, "PosixProfile: the user and group of files on EFS");
    }
    if user["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) {
        draft.report.note(name, "Tags");
    }
    for key in user.as_object().into_iter().flat_map(|user| user.keys()) {
        if !KNOWN.contains(&key.as_str()) {
            draft.report.note(name, format!("{key}: not known to this program"));
        }
    }
    if made.keys.is_empty() {
        draft.report.leave_out(name, "there is no key that can be used");
    } else if made.home.is_empty() {
        draft.report.leave_out(name, "nothing of the home has a counterpart");
    } else {
        draft.users.push(made);
    }
}

fn home(name: &str, user: &Value, draft: &mut Draft) -> Vec<DraftEntry> {
    let region = user["Arn"].as_str().and_then(|arn| arn.split(':').nth(3)).unwrap_or_default().to_owned();
    let directory = user["HomeDirectory"].as_str().unwrap_or_default();
    if user["HomeDirectoryType"].as_str() != Some("LOGICAL") {
        draft.report.note(
            name,
            "a home of type PATH becomes the user's `/`: paths that name the bucket, and folders beside the home, are gone",
        );
        return target(name, directory, &region, draft)
            .map(|target| DraftEntry { entry: "/".into(), target, rights: Rights::All })
            .into_iter()
            .collect();
    }
    if !directory.is_empty() && directory != "/" {
        draft.report.note(name, "HomeDirectory: a session begins in `/`, not in the folder where it began");
    }
    let mut home = Vec::new();
    for mapping in user["HomeDirectoryMappings"].as_array().into_iter().flatten() {
        let entry = mapping["Entry"].as_str().unwrap_or("/");
        if mapping["Type"].as_str() == Some("FILE") {
            draft.report.note(name, format!("the mapping of {entry} is one of a single file (FILE)"));
            continue;
        }
        let entry = match entry.trim_end_matches('/') {
            "" => "/",
            entry => entry,
        };
        if let Some(target) = target(name, mapping["Target"].as_str().unwrap_or_default(), &region, draft) {
            home.push(DraftEntry { entry: entry.to_owned(), target, rights: Rights::All });
        }
    }
    home
}

/// `/bucket/key` as the target of a store of that bucket.
fn target(name: &str, path: &str, region: &str, draft: &mut Draft) -> Option<String> {
    let inner = path.strip_prefix('/').map(|inner| inner.trim_end_matches('/')).filter(|inner| !inner.is_empty());
    let Some(inner) = inner else {
        draft.report.note(name, format!("the target {path:?} names no bucket"));
        return None;
    };
    let (bucket, key) = inner.split_once('/').unwrap_or((inner, ""));
    if bucket.strip_prefix("fs-").is_some_and(|id| id.len() >= 8 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
        draft
            .report
            .note(name, format!("{bucket} is a file system of EFS: mount it, and add a store `file:///…` for it"));
        return None;
    }
    let options = if region.is_empty() { Vec::new() } else { vec![("aws_region", region.to_owned())] };
    let store = draft.stores.name_of(Store { url: format!("s3://{bucket}"), options, wanted: Vec::new() }, bucket);
    let key = key.replace("${transfer:UserName}", "${user}");
    Some(format!("{store}:/{key}"))
}
