//! What the events tell the counters: counted in one place, so that no event can be forgotten there.

use super::{Activity, Outcome, TransferEnd};
use crate::metrics::Metrics;

/// Counts one event that was queued.
pub(super) fn count(metrics: &Metrics, activity: &Activity) {
    match activity {
        Activity::Connected(_) => metrics.logins.add(1),
        Activity::AuthFailure(failure) => metrics.auth_failures.add(&[failure.reason.as_str()], 1),
        Activity::KexFailure(_) => metrics.connections_refused.add(&["kex"], 1),
        Activity::ConnectionRejected(rejected) => {
            metrics.connections_refused.add(&["rejected"], rejected.connections.unwrap_or(1));
        }
        Activity::RequestDenied(_) => operation(metrics, activity, "denied"),
        Activity::Disconnected(_) => metrics.disconnections.add(1),
        Activity::Error(_) | Activity::ExitReason(_) => operation(metrics, activity, "failure"),
        Activity::Open(open) => operation(metrics, activity, open.outcome.status()),
        Activity::Close(end) => {
            operation(metrics, activity, end.outcome.status());
            transfer(metrics, end, true);
        }
        Activity::PartialClose(end) | Activity::CloseFailed(end) => {
            operation(metrics, activity, end.outcome.status());
            transfer(metrics, end, false);
        }
        Activity::Delete(file)
        | Activity::Mkdir(file)
        | Activity::Rmdir(file)
        | Activity::Setstat(file)
        | Activity::List(file) => operation(metrics, activity, file.outcome.status()),
        Activity::Rename(names) | Activity::CreateSymlink(names) => {
            operation(metrics, activity, names.outcome.status());
        }
        Activity::UserAdded(_) | Activity::UserChanged(_) | Activity::UserRemoved(_) => {
            operation(metrics, activity, "success");
        }
        Activity::AdminCall(call) => operation(metrics, activity, call.outcome.status()),
    }
}

fn operation(metrics: &Metrics, activity: &Activity, status: &'static str) {
    metrics.operations.add(&[activity.name(), status], 1);
}

fn transfer(metrics: &Metrics, end: &TransferEnd, closed: bool) {
    metrics.bytes_in.add(end.bytes_in.unwrap_or_default());
    metrics.bytes_out.add(end.bytes_out.unwrap_or_default());
    if closed && matches!(end.outcome, Outcome::Success | Outcome::SuccessBut(_)) {
        if end.write {
            metrics.files_in.add(1);
        } else if !end.is_copy() {
            metrics.files_out.add(1);
        }
    }
}
