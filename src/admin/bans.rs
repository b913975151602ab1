//! The list of bans, and lifting them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Asked, Problem};
use super::state::{State, time};
use crate::session::gate::{Ban, Source};

/// The most bans of one answer, and how many there are if nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// A ban that is in force
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BanShown {
    /// The address; of IPv6 the network that is counted as one address
    address: String,
    /// Until when
    until: String,
    /// For how many seconds still
    seconds_left: u64,
    /// How many bans the address has had without a long quiet time in between, this one included; each is twice as long
    number: u32,
}

impl BanShown {
    fn of(ban: &Ban) -> BanShown {
        BanShown {
            address: ban.source.to_string(),
            until: time(SystemTime::now() + ban.left),
            seconds_left: ban.left.as_secs(),
            number: ban.number,
        }
    }
}

/// Which bans.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many, 100 if left out
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Those that follow this address: the `next` of the page before
    after: Option<String>,
}

/// The bans that are in force, in the order of their addresses
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Bans {
    bans: Vec<BanShown>,
    /// How many there are in all pages
    total: usize,
    /// What `after` is for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The bans that are in force
#[utoipa::path(get, path = "/bans", tag = "bans", params(Which), responses(
    (status = 200, description = "A page of them", body = Bans),
    (status = 400, description = "A wrong parameter", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(Shared(state): Shared<Arc<State>>, Asked(which): Asked<Which>) -> Result<Json<Bans>, Problem> {
    let limit = which.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::wrong(format!("limit must be from 1 to {MOST}")));
    }
    let after = which.after.as_deref().map(source).transpose()?;
    let bans = state.around.gate.bans();
    let rest = bans.iter().filter(|ban| after.is_none_or(|after| ban.source > after));
    let mut page: Vec<&Ban> = rest.take(limit + 1).collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|ban| ban.source.to_string());
    Ok(Json(Bans { bans: page.into_iter().map(BanShown::of).collect(), total: bans.len(), next }))
}

/// Lifts a ban: the address may come again immediately, and what it did before counts no more
#[utoipa::path(delete, path = "/bans/{address}", tag = "bans", params(("address" = String, Path, description = "The address; of IPv6 any address of the banned network, or the network")), responses(
    (status = 200, description = "It is lifted", body = Lifted),
    (status = 400, description = "This is no address", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "The address is not banned", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn lift(
    Shared(state): Shared<Arc<State>>,
    Path(address): Path<String>,
) -> Result<Json<Lifted>, Problem> {
    let source = source(&address)?;
    let was_banned = state.around.gate.lift(source.address());
    // The others may know of one that is not known here.
    let only_here = state.around.peers.lift(source).await.err();
    if !was_banned {
        return Err(Problem::not_found(format!("{source} is not banned")));
    }
    tracing::info!(address = %source, "an administrator lifted a ban");
    Ok(Json(Lifted { lifted: source.to_string(), only_here }))
}

/// A ban that was lifted
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lifted {
    /// The address that may connect again
    lifted: String,
    /// Why the other gateways of the fleet may still ban it; absent when they lift the ban as well
    #[serde(skip_serializing_if = "Option::is_none")]
    only_here: Option<String>,
}

/// The address that a caller means, also as it is shown: `2001:db8::/64`.
fn source(text: &str) -> Result<Source, Problem> {
    let address = text.strip_suffix("/64").filter(|address| address.contains(':')).unwrap_or(text);
    let address: Result<IpAddr, _> = address.parse();
    address.map(Source::of).map_err(|_| Problem::wrong(format!("{text:.64?} is no IP address")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_they_are_shown() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
        ] {
            assert_eq!(source(text).unwrap().to_string(), shown);
        }
        for odd in ["", "nobody", "192.0.2.1/64", "192.0.2.0/24", "2001:db8::/48", "1.2.3.4.5"] {
            assert_eq!(source(odd).unwrap_err().status(), 400, "{odd}");
        }
    }
}
