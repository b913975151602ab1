//! `lockgate sessions`: lists live sessions, and ends them.

use serde_json::{Value, json};

use super::Where;
use super::status::{address_of, amount, text};
use crate::admin::client::method::{DELETE, GET};
use crate::audit::table::{Column, Table};
use crate::cli::Failure;

/// Whom a login name stands for has a column where somebody says it, and the gateway in a fleet.
const COLUMNS: &[Column] = &[
    Column::text("SESSION", 20),
    Column::text("USER", 16),
    Column::text(GATEWAY, 16),
    Column::text(PERSON, 20).from(160),
    Column::text("ADDRESS", 21).from(100),
    Column::text("SINCE", 19).from(120),
    Column::number("IN", 9).from(140),
    Column::number("OUT", 9).from(140),
    Column::number("SPEED", 11),
];
const PERSON: &str = "PERSON";
const GATEWAY: &str = "GATEWAY";

pub(super) fn list(place: &Where, user: Option<&str>) -> Result<(), Failure> {
    let answer = place.call(async |client| {
        let of_user: Vec<_> = user.map(|user| ("user", user.to_owned())).into_iter().collect();
        let (all, incomplete) = client.all_with(&["api", "v1", "sessions"], "sessions", &of_user, "incomplete").await?;
        let mut answer = json!({ "total": all.len(), "sessions": all });
        if let Some(what) = incomplete {
            answer["incomplete"] = what;
        }
        Ok(answer)
    })?;
    place.print(&answer, |answer| {
        let sessions = answer["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let listed = if sessions.is_empty() { "nobody is connected".to_owned() } else { table(sessions) };
        match text(answer, "incomplete") {
            what if what.is_empty() => listed,
            what => format!("{listed}\nsessions of other gateways may be missing: {what}"),
        }
    })
}

fn table(sessions: &[Value]) -> String {
    let has_persons = sessions.iter().any(|session| session.get("identity").is_some());
    let table = Table::with(COLUMNS, "DOES");
    let table = if has_persons { table } else { table.without(PERSON) };
    let has_gateways = sessions.iter().any(|session| session.get("gateway").is_some());
    let table = if has_gateways { table } else { table.without(GATEWAY) };
    let mut rows = vec![table.head()];
    for session in sessions {
        let speed = session["speed_in"].as_u64().unwrap_or(0) + session["speed_out"].as_u64().unwrap_or(0);
        let since = text(session, "since").replace('T', " ");
        let cells = [
            text(session, "id").into(),
            user_of(session).into(),
            text(session, "gateway").into(),
            text(session, "identity").into(),
            address_of(session).into(),
            since.get(..19).unwrap_or(&since).into(),
            amount(session["bytes_in"].as_u64().unwrap_or(0)).into(),
            amount(session["bytes_out"].as_u64().unwrap_or(0)).into(),
            if speed == 0 { "".into() } else { format!("{}/s", amount(speed)).into() },
        ];
        rows.push(table.lay_out(&cells, &does(session)));
    }
    rows.join("\n")
}

/// The user, and where a jump led.
fn user_of(session: &Value) -> String {
    match at_target(session) {
        place if place.is_empty() => text(session, "user"),
        place => format!("{} → {place}", text(session, "user")),
    }
}

/// The account at the target of a jump; empty where there is none.
fn at_target(session: &Value) -> String {
    match text(session, "target") {
        target if target.is_empty() => target,
        target => format!("{}@{target}", text(session, "account")),
    }
}

/// What a session does now, in a few words.
fn does(session: &Value) -> String {
    if let Some(ending) = session.get("ending") {
        return format!("ends: {}", text(ending, "reason"));
    }
    let files = session["open_files"].as_array().map(Vec::as_slice).unwrap_or_default();
    match files {
        [] => format!("idle for {} s", session["idle_seconds"]),
        [file] => file_line(file),
        [file, rest @ ..] => format!("{} and {} more", file_line(file), rest.len()),
    }
}

fn file_line(file: &Value) -> String {
    let verb = if file["operation"] == "write" { "receives" } else { "sends" };
    let bytes = file["bytes"].as_u64().unwrap_or(0);
    let part =
        file["size"].as_u64().filter(|size| *size > 0).map(|size| format!(", {} %", bytes.saturating_mul(100) / size));
    format!("{verb} {} ({}{})", text(file, "path"), amount(bytes), part.unwrap_or_default())
}

pub(super) fn show(place: &Where, id: &str) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(GET, &["api", "v1", "sessions", id], &[], None).await)?;
    place.print(&answer, describe)
}

pub(super) fn end(place: &Where, id: &str, reason: &str) -> Result<(), Failure> {
    let body = json!({ "reason": reason });
    let answer =
        place.call(async |client| client.call(DELETE, &["api", "v1", "sessions", id], &[], Some(&body)).await)?;
    place.print(&answer, |answer| {
        format!("the session {} of {} from {} ends", text(answer, "id"), text(answer, "user"), address_of(answer))
    })
}

fn describe(session: &Value) -> String {
    let mut lines = vec![
        ("session", text(session, "id")),
        ("gateway", text(session, "gateway")),
        ("user", format!("{} ({})", text(session, "user"), text(session, "source"))),
        ("target", at_target(session)),
        ("through", text(session, "jump_session")),
        ("person", text(session, "identity")),
        ("from", address_of(session)),
        ("client", text(session, "client")),
        ("by", text(session, "method")),
    ];
    if let Some(key) = session.get("key") {
        lines.push((
            "key",
            [text(key, "type"), text(key, "fingerprint"), text(key, "comment")].join(" ").trim().to_owned(),
        ));
    }
    let number = |name: &str| session[name].as_u64().unwrap_or(0);
    lines.push(("since", format!("{}, idle for {} s", text(session, "since"), number("idle_seconds"))));
    lines.push(("received", format!("{} in {} files", amount(number("bytes_in")), number("files_in"))));
    lines.push(("sent", format!("{} in {} files", amount(number("bytes_out")), number("files_out"))));
    if let Some(ending) = session.get("ending") {
        lines.push(("ends", format!("{}: {}", text(ending, "reason"), text(ending, "message"))));
    }
    for file in session["open_files"].as_array().into_iter().flatten() {
        let speed = amount(file["speed"].as_u64().unwrap_or(0));
        lines.push(("file", format!("{}, {speed}/s", file_line(file))));
    }
    lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:<9} {value}\n")).collect()
}
