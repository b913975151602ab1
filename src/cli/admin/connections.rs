//! `lockgate connections`: who was here and who is.

use clap::Args;
use serde_json::Value;

use super::Where;
use super::status::{address_of, amount, column, text};
use crate::admin::client::method::GET;
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

/// The widths of the columns, and their heads.
const HEADS: [(&str, usize); 7] =
    [("SESSION", 20), ("USER", 16), ("ADDRESS", 21), ("START", 19), ("END", 19), ("IN", 9), ("OUT", 9)];

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
        let head = HEADS.map(|(head, width)| column(head, width)).join(" ") + " ENDED BY\n";
        head + &connections.iter().map(row).collect::<String>()
    })
}

fn row(connection: &Value) -> String {
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
    let row: Vec<String> = cells.iter().zip(HEADS).map(|(cell, (_, width))| column(cell, width)).collect();
    let by = match connection["ended_by"].as_str() {
        Some(_) => format!("{}: {}", text(connection, "ended_by"), text(connection, "message")),
        None => text(connection, "reason"),
    };
    format!("{} {by}\n", row.join(" "))
}
