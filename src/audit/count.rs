//! What the events tell the counters: counted in one place, so that no event can be forgotten there.

use std::sync::Arc;
use std::time::SystemTime;

use super::AuthFailureReason as Why;
use super::{Activity, Origin, Outcome, Rejected, TransferEnd};
use crate::metrics::{Metrics, Numbers, Users};

/// Counts one event that was queued.
pub(super) fn count(metrics: &Metrics, origin: &Origin, activity: &Activity) {
    if let Some(user) = &origin.user {
        count_of_user(&metrics.users, user, activity);
    }
    match activity {
        Activity::Connected(_) => metrics.logins.add(1),
        Activity::AuthFailure(failure) => metrics.auth_failures.add(&[failure.reason.as_str()], 1),
        Activity::KexFailure(_) => metrics.connections_refused.add(&["kex"], 1),
        // Calls over HTTP, summed up: no connections of this door.
        Activity::ConnectionRejected(rejected) if rejected.reason == Rejected::ADMIN_CALLS => {}
        Activity::ConnectionRejected(rejected) => {
            metrics.connections_refused.add(&["rejected"], rejected.connections.unwrap_or(1));
        }
        Activity::RequestDenied(_) => operation(metrics, activity, "denied"),
        Activity::Disconnected(_) => metrics.disconnections.add(1),
        Activity::Error(_) | Activity::ExitReason(_) | Activity::FleetAlone(_) => {
            operation(metrics, activity, "failure");
        }
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
        Activity::UserAdded(_)
        | Activity::UserChanged(_)
        | Activity::UserRemoved(_)
        | Activity::TrailVerified(_)
        | Activity::FleetJoined(_) => {
            operation(metrics, activity, "success");
        }
        Activity::AdminCall(call) => operation(metrics, activity, call.outcome.status()),
    }
}

fn count_of_user(users: &Users, user: &Arc<str>, activity: &Activity) {
    match activity {
        Activity::Connected(_) => users.count(user, |numbers| {
            numbers.logins += 1;
            numbers.last_login = Some(SystemTime::now());
        }),
        Activity::AuthFailure(failure) => match failure.reason {
            Why::UnknownUser => {}
            reason if reason.proves_a_user() => users.count(user, |numbers| numbers.failures += 1),
            // Whether there is such a user is not known.
            _ => users.count_if_known(user, |numbers| numbers.failures += 1),
        },
        Activity::Close(end) => users.count(user, |numbers| add(numbers, end, true)),
        Activity::PartialClose(end) | Activity::CloseFailed(end) => {
            users.count(user, |numbers| add(numbers, end, false))
        }
        _ => {}
    }
}

/// Whether a file was transferred; one that was closed as it had been opened was not.
fn is_a_whole_file(end: &TransferEnd, closed: bool) -> bool {
    closed && !end.unchanged && matches!(end.outcome, Outcome::Success | Outcome::SuccessBut(_))
}

fn add(numbers: &mut Numbers, end: &TransferEnd, closed: bool) {
    numbers.bytes_in = numbers.bytes_in.saturating_add(end.bytes_in.unwrap_or_default());
    numbers.bytes_out = numbers.bytes_out.saturating_add(end.bytes_out.unwrap_or_default());
    if is_a_whole_file(end, closed) {
        if end.write {
            numbers.files_in += 1;
            numbers.last_upload = Some(SystemTime::now());
        } else if !end.is_copy() {
            numbers.files_out += 1;
        }
    }
}

fn operation(metrics: &Metrics, activity: &Activity, status: &'static str) {
    metrics.operations.add(&[activity.name(), status], 1);
}

fn transfer(metrics: &Metrics, end: &TransferEnd, closed: bool) {
    metrics.bytes_in.add(end.bytes_in.unwrap_or_default());
    metrics.bytes_out.add(end.bytes_out.unwrap_or_default());
    if is_a_whole_file(end, closed) {
        if end.write {
            metrics.files_in.add(1);
        } else if !end.is_copy() {
            metrics.files_out.add(1);
        }
    }
}
