//! `lockgate bans`: lists bans, and lifts them.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Where;
use super::status::text;
use crate::admin::client::method::DELETE;
use crate::audit::table::{Column, Table};
use crate::cli::Failure;

const COLUMNS: &[Column] = &[Column::text("ADDRESS", 34), Column::text("UNTIL (UTC)", 24)];

pub(super) fn list(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| {
        let bans = client.all(&["api", "v1", "bans"], "bans", &[]).await?;
        Ok(json!({ "total": bans.len(), "bans": bans }))
    })?;
    place.print(&answer, |answer| {
        let bans = answer["bans"].as_array().map(Vec::as_slice).unwrap_or_default();
        if bans.is_empty() {
            return "nobody is banned".to_owned();
        }
        let table = Table::with(COLUMNS, "NUMBER");
        let row = |ban: &Value| {
            let cells = [text(ban, "address").into(), text(ban, "until").into()];
            table.lay_out(&cells, &ban["number"].to_string())
        };
        std::iter::once(table.head()).chain(bans.iter().map(row)).collect::<Vec<_>>().join("\n")
    })
}

pub(super) fn lift(place: &Where, address: IpAddr) -> Result<(), Failure> {
    let address = address.to_string();
    let answer = place.call(async |client| client.call(DELETE, &["api", "v1", "bans", &address], &[], None).await)?;
    place.print(&answer, |answer| {
        let lifted = format!("{} may connect again", text(answer, "lifted"));
        match text(answer, "only_here") {
            why if why.is_empty() => lifted,
            why => format!("{lifted} to this gateway; other gateways of the fleet may still ban it: {why}"),
        }
    })
}
