//! Many, large and long: the gateway's memory stays within its budget and a stated constant, and nothing stands still.

mod large;
mod listings;
mod many;

use crate::support::campaign::report;
use crate::support::data::MIB;
use crate::support::gateway::Gateway;

/// What the gateway may need besides its budget, as `docs/SEMANTICS.md` says: the program; for each busy session what SSH and
/// SFTP hold while bytes pass; and what the allocator cannot use again at once of memory that came and went.
fn allowance(budget: u64, sessions: u64) -> u64 {
    (64 + 4 * sessions) * MIB + budget / 2
}

/// Fails unless the gateway has kept within `budget` bytes and the allowance.
#[track_caller]
fn assert_memory(what: &str, gateway: &Gateway, budget: u64, sessions: u64) {
    let peak = gateway.peak_memory();
    let most = budget + allowance(budget, sessions);
    let [in_mib, budget, limit] = [peak, budget, most].map(|bytes| bytes / MIB);
    report(&format!("{what}: at most {in_mib} MiB of memory with a budget of {budget}; {limit} are allowed"));
    assert!(peak <= most, "{what}: {peak} bytes are more than {most}");
}

/// Megabytes a second.
fn speed(bytes: u64, seconds: f64) -> String {
    format!("{:.0} s, {:.0} MB/s", seconds, bytes as f64 / seconds / 1e6)
}
