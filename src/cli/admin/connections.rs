//! `lockgate connections`: who was here and who is.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::Where;
use super::status::{address_of, amount, text};
use crate::admin::client::method::GET;
use crate::admin::client::{CallError, Client};
use crate::audit::read::shown;
use crate::audit::read::within::time_of;
use crate::audit::table::{Column, Table};
use crate::cli::Failure;

/// Which connections.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Which {
    /// Only this user
    #[arg(long)]
    user: Option<String>,
    /// Only this address or network
    #[arg(long)]
    address: Option<String>,
    /// Only open or only closed connections
    #[arg(long, value_parser = ["open", "closed"])]
    status: Option<String>,
    /// Maximum number of each
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Only connections that were closed before this; the command prints the id to continue with
    #[arg(long, value_name = "EVENT-ID")]
    before: Option<String>,
}

/// How long closed connections are searched. One call of the API searches for five seconds.
const SEARCHED_FOR: Duration = Duration::from_secs(30);

const COLUMNS: &[Column] = &[
    Column::text("SESSION", 20).from(140),
    Column::text("USER", 16),
    Column::text("ADDRESS", 21).from(100),
    Column::text("START", 19),
    Column::text("END", 19).from(80),
    Column::number("IN", 9).from(160),
    Column::number("OUT", 9).from(160),
];

/// Lists connections.
pub(in crate::cli) fn connections(place: &Where, which: &Which) -> Result<(), Failure> {
    let parts = [("user", &which.user), ("address", &which.address), ("status", &which.status)];
    let query: Vec<_> = parts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let (limit, before) = (usize::from(which.limit), which.before.clone());
    let answer = place.call(async |client| search(client, &query, limit, before).await)?;
    place.print(&answer, |answer| describe(answer, which.status.as_deref()))
}

/// The pages of an answer as one, until there are so many closed ones, or no more, or the time is over.
async fn search(
    client: &Client,
    query: &[(&'static str, String)],
    limit: usize,
    mut before: Option<String>,
) -> Result<Value, CallError> {
    let began = Instant::now();
    let (mut all, mut closed, mut open) = (Vec::new(), 0, None);
    loop {
        let mut query = query.to_vec();
        query.push(("limit", (limit - closed).to_string()));
        query.extend(before.take().map(|before| ("before", before)));
        let page = client.call(GET, &["api", "v1", "connections"], &query, None).await?;
        let found = page["connections"].as_array().cloned().unwrap_or_default();
        closed += found.iter().filter(|connection| connection["status"] == "closed").count();
        all.extend(found);
        // The open ones are of the first page.
        let open = open.get_or_insert_with(|| page["open"].clone());
        before = page["next"].as_str().map(str::to_owned);
        if before.is_none() || closed >= limit || began.elapsed() >= SEARCHED_FOR {
            let mut answer = json!({ "connections": all, "open": open });
            if let Some(next) = before {
                answer["next"] = json!(next);
            }
            return Ok(answer);
        }
    }
}

fn describe(answer: &Value, asked: Option<&str>) -> String {
    let connections = answer["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if !connections.is_empty() {
        let table = Table::with(COLUMNS, "ENDED BY");
        lines.push(table.head());
        lines.extend(connections.iter().map(|connection| row(&table, connection)));
    }
    match answer["next"].as_str() {
        Some(next) => lines.push(further(&shown(next), connections.is_empty())),
        None if connections.is_empty() => lines.push(nobody(asked).to_owned()),
        None => {}
    }
    lines.join("\n")
}

/// What is said when there is none of what was asked for.
fn nobody(asked: Option<&str>) -> &'static str {
    match asked {
        Some("open") => "nobody is connected",
        Some(_) => "no connection was closed",
        None => "nobody is or was connected",
    }
}

/// How far the search came, and how to continue it.
fn further(next: &str, is_empty: bool) -> String {
    let none = if is_empty { "no connection was found; " } else { "" };
    format!("{none}searched back to {}; continue with --before {next}", time_of(next))
}

fn row(table: &Table, connection: &Value) -> String {
    let moment = |name: &str| {
        let shown = text(connection, name).replace('T', " ");
        shown.get(..19).unwrap_or(&shown).to_owned()
    };
    let end = match connection["end"].as_str() {
        Some(_) => moment("end"),
        None if connection["status"] == "open" => "open".to_owned(),
        None => "-".to_owned(),
    };
    let cells = [
        text(connection, "id"),
        text(connection, "user"),
        address_of(connection),
        moment("start"),
        end,
        amount(connection["bytes_in"].as_u64().unwrap_or(0)),
        amount(connection["bytes_out"].as_u64().unwrap_or(0)),
    ];
    let by = match connection["ended_by"].as_str() {
        Some(_) => format!("{}: {}", text(connection, "ended_by"), text(connection, "message")),
        None => text(connection, "reason"),
    };
    table.lay_out(&cells.map(Into::into), &by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_whose_gateway_was_killed_has_no_end() {
        let killed = json!({ "id": "0049", "status": "closed", "user": "ann", "address": "192.0.2.1", "port": 7, "target": "edge-1",
            "start": "2026-07-31T08:00:00.000Z", "reason": "gateway-killed" });
        let table = Table::of_width(COLUMNS, "ENDED BY", Some(100));
        let row = row(&table, &killed);
        assert!(row.contains(" 2026-07-31 08:00:00 -  ") && row.ends_with(" gateway-killed"), "{row}");
    }

    #[test]
    fn what_is_said_of_nobody_fits_the_question() {
        let none = json!({ "connections": [], "open": 0 });
        for (asked, said) in [
            (None, "nobody is or was connected"),
            (Some("open"), "nobody is connected"),
            (Some("closed"), "no connection was closed"),
        ] {
            assert_eq!(describe(&none, asked), said);
        }
    }
}
