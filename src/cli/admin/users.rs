//! `lockgate users`: who there is, and why one of them cannot log in.

use serde_json::{Value, json};

use super::Where;
use super::status::text;
use crate::admin::client::method::GET;
use crate::audit::read::shown;
use crate::audit::table::{Column, Table};
use crate::cli::Failure;

const COLUMNS: &[Column] = &[
    Column::text("USER", 24),
    Column::text("SOURCE", 28).from(100),
    Column::number("KEYS", 4),
    Column::number("SESSIONS", 8),
    Column::text("LAST LOGIN", 20),
];

pub(super) fn list(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| {
        let query = [("last_login", "true".to_owned())];
        let (all, trail) = client.all_with(&["api", "v1", "users"], "users", &query, "trail").await?;
        let mut answer = json!({ "total": all.len(), "users": all });
        if let Some(trail) = trail {
            answer["trail"] = trail;
        }
        Ok(answer)
    })?;
    place.print(&answer, |answer| {
        let table = Table::with(COLUMNS, "STATE");
        let mut rows = vec![table.head()];
        for user in answer["users"].as_array().into_iter().flatten() {
            let state = match (user["enabled"] == true, user["expires"].as_str()) {
                (false, _) => "disabled".to_owned(),
                (true, Some(expires)) => format!("until {expires}"),
                (true, None) => "enabled".to_owned(),
            };
            let cells = [
                text(user, "name").into(),
                text(user, "source").into(),
                user["keys"].to_string().into(),
                user["sessions"].to_string().into(),
                user["last_login"].as_str().map_or("-".to_owned(), to_the_second).into(),
            ];
            rows.push(table.lay_out(&cells, &state));
        }
        rows.extend(answer["trail"].as_str().map(|why| format!("LAST LOGIN: {}", shown(why))));
        rows.join("\n")
    })
}

/// `2026-07-31T08:15:30Z` of a time with milliseconds.
fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => shown(&format!("{seconds}Z")).into_owned(),
        None => shown(time).into_owned(),
    }
}

pub(super) fn show(place: &Where, name: &str, address: Option<&str>) -> Result<(), Failure> {
    let mut query: Vec<_> = address.map(|address| ("address", address.to_owned())).into_iter().collect();
    // In the path of a call they are folders, and the call would be another one.
    let path: &[&str] =
        if [".", ".."].contains(&name) { &["api", "v1", "user"] } else { &["api", "v1", "users", name] };
    if path.len() == 3 {
        query.push(("name", name.to_owned()));
    }
    let answer = place.call(async |client| client.call(GET, path, &query, None).await)?;
    place.print(&answer, describe)
}

fn describe(user: &Value) -> String {
    let mut lines: Vec<(&str, String)> = vec![("user", text(user, "name"))];
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(|text| shown(text).into_owned()).collect()
    };
    let obstacles = list(&user["obstacles"]);
    match obstacles.as_slice() {
        [] => lines.push(("can", "nothing configured stands in the way of a login".into())),
        all => lines.extend(all.iter().map(|obstacle| ("cannot", obstacle.clone()))),
    }
    lines.extend(list(&user["cautions"]).into_iter().map(|caution| ("but", caution)));
    if let Some(configured) = user.get("configured") {
        lines.push(("source", text(configured, "source")));
        lines.push(("auth", text(configured, "auth")));
        lines.push(("and", text(configured, "second_factor")));
        lines.push(("until", text(configured, "expires")));
        lines.push(("from", list(&configured["allow_from"]).join(", ")));
        for key in configured["keys"].as_array().into_iter().flatten() {
            let over = match (key["revoked"] == true, key["expired"] == true, key["certificates_revoked"] == true) {
                (true, ..) => "(revoked)",
                (false, true, _) => "(expired)",
                (false, false, true) => "(some certificates revoked)",
                (false, false, false) => "",
            };
            let parts = [text(key, "type"), text(key, "fingerprint"), text(key, "comment"), over.to_owned()];
            let kind = if key["authority"] == true { "authority" } else { "key" };
            lines.push((kind, parts.join(" ").trim().to_owned()));
        }
        for entry in configured["home"].as_array().into_iter().flatten() {
            let (entry, target) = (entry, text(entry, "target"));
            lines.push(("home", format!("{} → {target} ({})", text(entry, "entry"), text(entry, "permissions"))));
        }
    }
    for grant in user["configured"]["targets"].as_array().into_iter().flatten() {
        lines.push(("jumps as", grant.as_str().unwrap_or_default().to_owned()));
    }
    lines.push(("sessions", user["sessions"].to_string()));
    match user.get("last_success") {
        Some(success) => lines.push(("last", attempt(success))),
        None if user.get("trail").is_none() => lines.push(("last", "no successful login is on record".into())),
        None => {}
    }
    lines.extend(user["failures"].as_array().into_iter().flatten().map(|failure| ("failed", attempt(failure))));
    lines.push(("trail", text(user, "trail")));
    lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}

fn attempt(attempt: &Value) -> String {
    let parts = ["time", "address", "method", "reason", "fingerprint"].map(|name| text(attempt, name));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_no_key_of_the_user() {
        let user = json!({ "name": "ann", "found": true, "sessions": 0, "configured": { "source": "configuration", "keys": [
            { "type": "ssh-ed25519", "fingerprint": "SHA256:own", "comment": "laptop", "authority": false },
            { "type": "ssh-ed25519", "fingerprint": "SHA256:ca", "authority": true, "certificates_revoked": true },
        ] } });
        let shown = describe(&user);
        assert!(shown.contains("\nkey       ssh-ed25519 SHA256:own laptop\n"), "{shown}");
        assert!(shown.contains("\nauthority ssh-ed25519 SHA256:ca"), "{shown}");
        assert!(shown.contains("(some certificates revoked)\n"), "{shown}");
    }
}
