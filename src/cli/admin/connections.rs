//! `lockgate connections`: who was here and who is.

use clap::Args;
use serde_json::Value;

use super::Where;
use super::status::{address_of, amount, text};
use crate::admin::client::method::GET;
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
}

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
    let mut query: Vec<_> = parts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    query.push(("limit", which.limit.to_string()));
    let answer = place.call(async |client| client.call(GET, &["api", "v1", "connections"], &query, None).await)?;
    place.print(&answer, |answer| {
        let connections = answer["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        if connections.is_empty() {
            return "nobody was connected".to_owned();
        }
        let table = Table::with(COLUMNS, "ENDED BY");
        let rows = connections.iter().map(|connection| row(&table, connection));
        std::iter::once(table.head()).chain(rows).collect::<Vec<_>>().join("\n")
    })
}

fn row(table: &Table, connection: &Value) -> String {
    let moment = |name: &str| {
        let shown = text(connection, name).replace('T', " ");
        shown.get(..19).unwrap_or(&shown).to_owned()
    };
    let is_open = connection["status"] == "open";
    let cells = [
        text(connection, "id"),
        text(connection, "user"),
        address_of(connection),
        moment("start"),
        if is_open { "open".to_owned() } else { moment("end") },
        amount(connection["bytes_in"].as_u64().unwrap_or(0)),
        amount(connection["bytes_out"].as_u64().unwrap_or(0)),
    ];
    let by = match connection["ended_by"].as_str() {
        Some(_) => format!("{}: {}", text(connection, "ended_by"), text(connection, "message")),
        None => text(connection, "reason"),
    };
    table.lay_out(&cells.map(Into::into), &by)
}
