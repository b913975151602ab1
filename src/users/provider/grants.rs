//! `Targets` in an answer: where the user may jump to, and as whom. Not one of Transfer Family's fields.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::{Granted, GrantedAccounts, TargetGrant};
use super::Flaw;
use super::answer::kind_of;

/// The field.
pub(super) const TARGETS: &str = "Targets";

/// The most grants of one user, and the most accounts of one grant.
const MOST: usize = 100;

/// The longest name of a target, a group or an account, in bytes.
const MAX_NAME: usize = 253;

/// Every account.
const ALL: &str = "*";

/// Reads `Targets`: a list, or a list as text. A target, group or account that the configuration does not have grants nothing: a
/// provider may answer several gateways.
pub(super) fn read(given: &Value) -> Result<Vec<TargetGrant>, Flaw> {
    let of_text;
    let list = match given {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Value::Array(list) => list,
        Value::String(text) => {
            of_text = serde_json::from_str::<Vec<Value>>(text)
                .map_err(|_| Flaw::new(TARGETS, "is text, and no list in JSON"))?;
            &of_text
        }
        other => return Err(Flaw::new(TARGETS, format!("is {}; a list is needed", kind_of(other)))),
    };
    if list.len() > MOST {
        return Err(Flaw::new(TARGETS, format!("has {} entries; a user has at most {MOST}", list.len())));
    }
    list.iter().enumerate().map(|(place, item)| grant(item).map_err(|what| flaw(place, &what))).collect()
}

fn flaw(place: usize, what: &str) -> Flaw {
    Flaw::new(TARGETS, format!("number {} {what}", place + 1))
}

fn grant(item: &Value) -> Result<TargetGrant, String> {
    let object = item.as_object().ok_or("is no object")?;
    let to = match (name(object, "Target")?, name(object, "Group")?) {
        (Some(target), None) => Granted::Target(target),
        (None, Some(group)) => Granted::Group(group),
        (Some(_), Some(_)) => return Err("has a Target and a Group; each needs an entry of its own".into()),
        (None, None) => return Err("has neither a Target nor a Group that is text".into()),
    };
    let accounts = object.get("Accounts").and_then(Value::as_array).filter(|accounts| !accounts.is_empty());
    let accounts =
        accounts.ok_or("has no Accounts that are a list of names, as in [\"deploy\"], or [\"*\"] for all")?;
    if accounts.len() > MOST {
        return Err(format!("has {} accounts; an entry has at most {MOST}", accounts.len()));
    }
    let names: Option<Vec<Arc<str>>> = accounts.iter().map(|account| account.as_str().and_then(plain)).collect();
    let names = names.ok_or("has an account that is no name")?;
    let accounts = match names.iter().any(|name| **name == *ALL) {
        true => GrantedAccounts::All,
        false => GrantedAccounts::Named(names),
    };
    Ok(TargetGrant { to, accounts })
}

/// A name that may be missing, but not be something else.
fn name(object: &Map<String, Value>, key: &str) -> Result<Option<Arc<str>>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().and_then(plain) {
            Some(name) => Ok(Some(name)),
            None => Err(format!("has a {key} that is no name")),
        },
    }
}

fn plain(text: &str) -> Option<Arc<str>> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    fits.then(|| text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn grants_are_read_from_a_list_or_from_its_text() {
        let list = json!([
            { "Group": "web", "Accounts": ["deploy", "logs"], "Note": "passed over" },
            { "Target": "db-1", "Accounts": ["x", "*"], "Group": null },
        ]);
        let named = GrantedAccounts::Named(vec!["deploy".into(), "logs".into()]);
        let expected = [
            TargetGrant { to: Granted::Group("web".into()), accounts: named },
            TargetGrant { to: Granted::Target("db-1".into()), accounts: GrantedAccounts::All },
        ];
        assert_eq!(read(&list).unwrap(), expected);
        assert_eq!(read(&Value::String(list.to_string())).unwrap(), expected);
        for nothing in [Value::Null, json!(""), json!([]), json!("[]")] {
            assert_eq!(read(&nothing).unwrap(), []);
        }
    }

    #[test]
    fn what_is_no_grant_is_refused_without_a_word_of_it() {
        let one = |item: Value| json!([item]);
        let accounts = json!(["deploy"]);
        for (given, what) in [
            (json!({}), "is an object; a list is needed"),
            (json!(7), "is a number; a list is needed"),
            (json!("web"), "is text, and no list in JSON"),
            (json!("{}"), "is text, and no list in JSON"),
            (json!(["web"]), "number 1 is no object"),
            (json!(vec![json!({ "Group": "web", "Accounts": accounts }); 101]), "has 101 entries"),
            (json!([{ "Group": "web", "Accounts": accounts }, {}]), "number 2 has neither"),
            (one(json!({ "Target": "a", "Group": "b", "Accounts": accounts })), "has a Target and a Group"),
            (one(json!({ "Target": 7, "Accounts": accounts })), "has a Target that is no name"),
            (one(json!({ "Group": "", "Accounts": accounts })), "has a Group that is no name"),
            (one(json!({ "Group": "a\nb", "Accounts": accounts })), "has a Group that is no name"),
            (one(json!({ "Group": "a".repeat(254), "Accounts": accounts })), "has a Group that is no name"),
            (one(json!({ "Group": "web" })), "has no Accounts"),
            (one(json!({ "Group": "web", "Accounts": [] })), "has no Accounts"),
            (one(json!({ "Group": "web", "Accounts": "deploy" })), "has no Accounts"),
            (one(json!({ "Group": "web", "Accounts": [7] })), "has an account that is no name"),
            (one(json!({ "Group": "web", "Accounts": vec!["a"; 101] })), "has 101 accounts"),
        ] {
            let flaw = read(&given).unwrap_err();
            assert!(flaw.field == TARGETS && flaw.what.contains(what), "{given}: {flaw:?}");
        }
    }
}
