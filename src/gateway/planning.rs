//! How the descriptors of the process are divided, and what of the limits does not fit into them.

use super::Settings;
use crate::descriptors::{self, Plan, Wanted};
use crate::ssh;
use crate::stores::{self, AtOnce};

/// Divides what the system gives, and says so in the log.
pub(super) fn plan(settings: &Settings) -> Plan {
    let wanted = Wanted {
        sessions: settings.ssh.limits.sessions,
        unauthenticated: settings.ssh.limits.unauthenticated,
        local_stores: settings.stores.iter().filter(|store| store.url.starts_with("file:")).count(),
        servers: settings.stores.iter().filter(|store| stores::is_on_server(store)).count(),
        sinks: settings.audit.sinks.len(),
    };
    let plan = Plan::of(descriptors::limit(), descriptors::in_use(), &wanted);
    let Plan { limit, sessions, unauthenticated, files, .. } = plan;
    tracing::info!(limit, sessions, unauthenticated, files, "descriptors for connections and open files");
    if !plan.fits(&wanted) {
        tracing::warn!(
            "limits.sessions ({}) and limits.unauthenticated ({}) do not fit into {limit} descriptors: {sessions} and \
             {unauthenticated} hold; raise the hard limit of open files (ulimit -Hn, LimitNOFILE= of systemd) or lower them",
            wanted.sessions,
            wanted.unauthenticated,
        );
    }
    plan
}

/// The SSH door with as many connections as there are descriptors for.
pub(super) fn bounded(ssh: &ssh::Settings, plan: &Plan) -> ssh::Settings {
    let mut bounded = ssh.clone();
    bounded.limits.sessions = plan.sessions;
    bounded.limits.unauthenticated = plan.unauthenticated;
    bounded
}

/// What one store does at once.
pub(super) fn at_once(plan: &Plan) -> AtOnce {
    AtOnce { calls: plan.calls, listings: plan.listings, requests: plan.requests }
}
