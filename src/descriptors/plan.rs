//! What the descriptors of the process are for: a plan that is made once, at the start.

use rustix::process::{Resource, getrlimit};

/// Descriptors beside those that are planned: the runtime, name resolution, a configuration that is read again.
const SPARE: u64 = 32;

/// What each local store and each sink may have open of its own.
const EACH_STORE: u64 = 4;
const EACH_SINK: u64 = 8;

/// What one call of a local store has open for a moment, at most: folders on the way to a name, and the file.
const EACH_CALL: u64 = 4;

/// Calls of one local store at once: more than the threads that make them are of no use.
const MOST_CALLS: u64 = 512;

/// Listings of one local store that stay open between two pages.
const MOST_LISTINGS: u64 = 128;

/// Requests to one object store at once: as many as keep it busy.
const MOST_REQUESTS: u64 = 256;

/// Connections to an object store for each request at once: two kinds of requests keep idle connections of their own.
const EACH_REQUEST: u64 = 2;

/// A connection that made room for another keeps its descriptor for a moment: so many of these for each place.
const LEAVING: u64 = 4;

/// What the configuration asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Logged-in connections (`limits.sessions`).
    pub sessions: usize,
    /// Connections that have not logged in (`limits.unauthenticated`).
    pub unauthenticated: usize,
    /// Local stores.
    pub local_stores: usize,
    /// Stores on a server.
    pub servers: usize,
    /// Sinks of events.
    pub sinks: usize,
}

/// How the descriptors are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How many the process may have.
    pub limit: u64,
    /// Logged-in connections at once: no more than were asked for.
    pub sessions: usize,
    /// Connections that have not logged in: no more than were asked for.
    pub unauthenticated: usize,
    /// For files that stay open: read, uploaded, staged.
    pub files: usize,
    /// Calls of one local store at once.
    pub calls: usize,
    /// Listings of one local store that stay open between two pages.
    pub listings: usize,
    /// Requests to one object store at once.
    pub requests: usize,
}

impl Plan {
    /// Divides `limit` descriptors, of which `in_use` are taken already. Connections get up to half of what is left.
    pub fn of(limit: u64, in_use: u64, wanted: &Wanted) -> Plan {
        let stores = wanted.local_stores.max(1) as u64;
        let reserved = in_use + SPARE + EACH_STORE * stores + EACH_SINK * wanted.sinks as u64;
        let left = limit.saturating_sub(reserved);
        let (sessions, unauthenticated) = (wanted.sessions as u64, wanted.unauthenticated as u64);
        let all = sessions.saturating_add(unauthenticated.saturating_mul(1 + LEAVING));
        let connections = all.min(left / 2);
        let (sessions, unauthenticated) = if all <= connections {
            (sessions, unauthenticated)
        } else {
            let unauthenticated = unauthenticated.min(connections / 2 / (1 + LEAVING)).max(1);
            let rest = connections.saturating_sub(unauthenticated * (1 + LEAVING));
            (sessions.min(rest.max(1)), unauthenticated)
        };
        let for_files = left - connections;
        let calls = (for_files / 4 / EACH_CALL / stores).clamp(1, MOST_CALLS);
        let listings = (for_files / 8 / stores).clamp(1, MOST_LISTINGS);
        let servers = wanted.servers as u64;
        let requests = (for_files / 4 / EACH_REQUEST / servers.max(1)).clamp(1, MOST_REQUESTS);
        let taken = (calls * EACH_CALL + listings) * stores + requests * EACH_REQUEST * servers;
        let files = for_files.saturating_sub(taken).max(1);
        Plan {
            limit,
            sessions: number(sessions),
            unauthenticated: number(unauthenticated),
            files: number(files),
            calls: number(calls),
            listings: number(listings),
            requests: number(requests),
        }
    }

    /// Whether connections get all that was asked for.
    pub fn fits(&self, wanted: &Wanted) -> bool {
        self.sessions == wanted.sessions && self.unauthenticated == wanted.unauthenticated
    }
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// How many descriptors the process may have: the soft limit.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors the process has now, as far as the system says.
pub fn in_use() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { sessions: 10_000, unauthenticated: 100, local_stores: 2, servers: 1, sinks: 1 };

    /// All that the plan allows at once.
    fn all(plan: &Plan, wanted: &Wanted, in_use: u64) -> u64 {
        let connections = plan.sessions + plan.unauthenticated * (1 + LEAVING as usize);
        let stores = wanted.local_stores * (plan.calls * EACH_CALL as usize + plan.listings);
        let servers = wanted.servers * plan.requests * EACH_REQUEST as usize;
        (connections + stores + servers + plan.files) as u64 + in_use + SPARE
    }

    #[test]
    fn what_is_planned_never_exceeds_the_limit() {
        for limit in [200, 256, 1_024, 4_096, 20_000, 1 << 20, u64::MAX / 4] {
            let plan = Plan::of(limit, 20, &WANTED);
            assert!(all(&plan, &WANTED, 20) <= limit, "{limit}: {plan:?}");
            assert!(plan.files >= 16 && plan.sessions >= 8 && plan.unauthenticated >= 2, "{limit}: {plan:?}");
        }
    }

    #[test]
    fn connections_get_what_was_asked_for_where_it_fits() {
        let plan = Plan::of(1 << 20, 20, &WANTED);
        assert!(plan.fits(&WANTED));
        assert_eq!((plan.calls, plan.listings, plan.requests), (512, 128, 256));
        let plan = Plan::of(1_024, 20, &WANTED);
        assert!(!plan.fits(&WANTED) && plan.sessions < 500, "{plan:?}");
    }

    #[test]
    fn a_limit_that_is_far_too_low_leaves_one_of_each() {
        let plan = Plan::of(10, 20, &WANTED);
        assert_eq!((plan.sessions, plan.unauthenticated, plan.files, plan.calls), (1, 1, 1, 1));
    }

    #[test]
    fn the_system_says_how_many_there_are() {
        assert!(limit() > 0 && in_use() > 0);
    }
}
