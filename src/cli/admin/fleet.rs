//! `lockgate fleet`: the gateways of a fleet.

use serde_json::Value;

use super::Where;
use super::status::text;
use crate::admin::client::method::GET;
use crate::audit::table::{Column, Table};
use crate::cli::Failure;

const COLUMNS: &[Column] = &[
    Column::text("GATEWAY", 24),
    Column::text("VERSION", 12).from(100),
    Column::text("SINCE", 19).from(100),
    Column::number("SESSIONS", 8),
    Column::number("HEARD", 7),
];

/// Lists the gateways; a failure when the one that is asked is alone.
pub(in crate::cli) fn fleet(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(GET, &["api", "v1", "fleet"], &[], None).await)?;
    place.print(&answer, describe)?;
    if answer.get("alone").is_none() { Ok(()) } else { Err(Failure::Told) }
}

fn describe(answer: &Value) -> String {
    let (name, since) = (text(answer, "name"), text(answer, "since"));
    let mut lines = vec![match text(answer, "alone") {
        why if why.is_empty() => format!("fleet {name}: together since {since}"),
        why => format!("fleet {name}: ALONE since {since}: {why}"),
    }];
    let times = answer["tampered"].as_u64().unwrap_or(0);
    if times > 0 {
        lines.push(format!("somebody else changed its shared state {times} times; the log says more"));
    }
    let table = Table::with(COLUMNS, "STATE");
    lines.push(table.head());
    lines.extend(answer["gateways"].as_array().into_iter().flatten().map(|gateway| row(&table, gateway)));
    lines.join("\n")
}

fn row(table: &Table, gateway: &Value) -> String {
    let since = text(gateway, "since").replace('T', " ");
    let cells = [
        text(gateway, "name").into(),
        text(gateway, "version").into(),
        since.get(..19).unwrap_or(&since).to_owned().into(),
        gateway["sessions"].to_string().into(),
        format!("{} s", gateway["heard_seconds"]).into(),
    ];
    let states = [
        (gateway["silent"] == true, "SILENT"),
        (gateway["draining"] == true, "draining"),
        (gateway["own"] == true, "this one"),
    ];
    let states: Vec<&str> = states.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
    table.lay_out(&cells, &states.join(", "))
}
