//! `lockgate bans`: lists bans, and lifts them.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Where;
use super::status::{column, text};
use crate::admin::client::method::DELETE;
use crate::cli::Failure;

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
        let row = |ban: &Value| {
            let (address, until) = (column(&text(ban, "address"), 40), column(&text(ban, "until"), 24));
            format!("{address} {until} {:>6}\n", ban["number"])
        };
        let head = format!("{} {} NUMBER\n", column("ADDRESS", 40), column("UNTIL (UTC)", 24));
        head + &bans.iter().map(row).collect::<String>()
    })
}

pub(super) fn lift(place: &Where, address: IpAddr) -> Result<(), Failure> {
    let address = address.to_string();
    let answer = place.call(async |client| client.call(DELETE, &["api", "v1", "bans", &address], &[], None).await)?;
    place.print(&answer, |answer| format!("{} may come again", text(answer, "lifted")))
}
