//! What is recorded of a connection at its end, and whose fault it was.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::super::ending::{Cause, Ending};
use super::super::listener::Rejection;
use super::{FAREWELL, Visit, Way, note};
use crate::audit::{Activity, AuthFailureReason, Disconnected};

/// Who says nothing for so long holds a place; a health check is gone before.
const HELD: Duration = Duration::from_secs(5);

impl Visit {
    /// Everything after the socket: waits for the transfers' ends, then records what is left to record. `counts`: whether the client
    /// can be blamed for anything.
    pub(super) async fn finish(self: Arc<Self>, ending: Ending, started: Instant, counts: bool) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.jumps.ended().await;
        let limit = self.shared.settings.limits.drain;
        // An administrator who ends a session does not wait for a store that takes its time.
        let patience = if ending.by.is_some() { FAREWELL } else { limit };
        if timeout(patience, self.channels.ended()).await.is_err() {
            self.channels.abort();
        }
        if let Some(login) = self.login()
            && !login.transfers_ended_within(limit).await
        {
            tracing::error!(user = login.user_name(), "transfers of an ended connection are still open");
            // Their ends are recorded before DISCONNECTED, and before the last line of the trail.
            login.cut_ends_short();
            login.transfers_ended_within(FAREWELL).await;
        }
        if self.login().is_some() {
            self.metrics().sessions.sub(1);
        } else {
            if counts {
                self.blame(&ending, started).await;
            }
            if self.ended_untried(&ending).await {
                return;
            }
        }
        self.record_login_outcome(&ending).await;
        let login = self.login();
        let count = |pick: fn(&crate::session::Totals) -> &std::sync::atomic::AtomicU64| {
            login.map_or(0, |login| pick(login.totals()).load(Ordering::Relaxed))
        };
        let disconnected = Disconnected {
            reason: ending.reason.into_owned(),
            ended_by: ending.by,
            message: ending.message,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in: count(|totals| &totals.bytes_in),
            bytes_out: count(|totals| &totals.bytes_out),
            files_in: count(|totals| &totals.files_in),
            files_out: count(|totals| &totals.files_out),
        };
        self.record(Activity::Disconnected(disconnected)).await;
    }

    /// Counts what a connection that did not log in is to blame for, besides its attempts.
    async fn blame(&self, ending: &Ending, started: Instant) {
        let held = (self.line.bytes_in() == 0).then(|| started.elapsed() >= HELD);
        let fault = self.attempts().await.blame().of_end(ending.cause, held);
        if let Some(fault) = fault {
            self.shared.gate.blame(self.source.ip(), fault);
        }
    }

    /// Whether the connection ended before the client named a user, in a way that has no DISCONNECTED: as a health check, or because
    /// it was turned away, which is told together with others.
    async fn ended_untried(&self, ending: &Ending) -> bool {
        let Way::Socket(_) = &self.way else { return false };
        let named = self.attempts().await.origin().user.is_some();
        let silent = self.line.bytes_in() == 0;
        match ending.cause {
            Cause::Evicted(why) if !named => Rejection::of_evicted(self.source, why).record(&self.shared),
            Cause::Grace if silent => {
                let message = format!("nothing came within {} s", self.shared.settings.limits.login_grace.as_secs());
                Rejection { source: self.source, reason: "login-grace", message }.record(&self.shared);
            }
            _ if silent => self.metrics().health_checks.add(1),
            _ => return false,
        }
        true
    }

    /// KEX_FAILURE, the attempts that were left open, or EXIT_REASON.
    async fn record_login_outcome(&self, ending: &Ending) {
        if self.login().is_some() {
            if ending.reason == "error" {
                let message = ending.message.clone().unwrap_or_else(|| "the session failed".into());
                self.record(Activity::ExitReason(note(message))).await;
            }
            return;
        }
        if let Some(failure) = self.line.kex_failure() {
            self.record(Activity::KexFailure(failure)).await;
        } else if self.line.client_version().is_some() && (ending.is_of_client() || self.waiting.is_late()) {
            let why = match ending.cause {
                Cause::Grace => AuthFailureReason::LoginGraceExceeded,
                _ => AuthFailureReason::NoCredentialsOffered,
            };
            self.attempts().await.ended(why);
        }
    }
}
