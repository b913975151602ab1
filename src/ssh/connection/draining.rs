//! What a drain means for one connection: a client that has just connected may log in and do what it came for, transfers may finish, and
//! then the connection ends.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{SETTLE, Visit};
use crate::ssh::Phase;

/// How long a drain waits for the logins of clients that were connected when it began, and for how long after its login a session may open
/// files during a drain. Without this time, a restart would fail logins that are under way, and the first transfers of sessions that
/// have just begun.
pub(in crate::ssh) const NEWCOMERS: Duration = Duration::from_secs(5);

impl Visit {
    /// Returns when the gateway drains and a client that has not logged in is not waited for any more.
    pub(super) async fn is_too_late(&self, phase: &mut watch::Receiver<Phase>) {
        let began = self.drain_begins(phase).await;
        let patience = NEWCOMERS.min(self.shared.settings.limits.drain);
        tokio::select! {
            () = sleep_until(began + patience) => {}
            () = is_stopped(phase) => {}
        }
    }

    /// Returns when the gateway drains and this connection has no file open any more, or the time for that is over.
    pub(super) async fn drained(&self, phase: &mut watch::Receiver<Phase>) {
        let over = self.drain_begins(phase).await + self.shared.settings.limits.drain;
        if self.login().is_none() {
            let mut let_in = self.let_in.subscribe();
            tokio::select! {
                _ = async { let_in.wait_for(|let_in| *let_in).await.is_ok() } => {}
                () = self.is_too_late(phase) => {}
            }
        }
        let Some(login) = self.login() else { return };
        let finished = async {
            sleep_until(Instant::from_std(login.began()) + NEWCOMERS).await;
            login.drain();
            loop {
                self.jumps.ended().await;
                login.transfers_ended().await;
                sleep(SETTLE).await;
                if login.open_transfers() == 0 && !login.is_busy() && self.jumps.open() == 0 {
                    return;
                }
            }
        };
        let cut_because = tokio::select! {
            () = finished => return,
            () = sleep_until(over) => "the time of the drain is over",
            () = is_stopped(phase) => "the gateway stops",
        };
        login.drain();
        login.tell_cut(cut_because);
    }

    /// Returns when the gateway drains, or stops; when this connection noticed that.
    async fn drain_begins(&self, phase: &mut watch::Receiver<Phase>) -> Instant {
        leaves_running(phase).await;
        *self.drain_began.get_or_init(Instant::now)
    }
}

/// Returns when the gateway drains, or stops.
pub(in crate::ssh) async fn leaves_running(phase: &mut watch::Receiver<Phase>) {
    // An error means that the gateway is gone, which is a shutdown too.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

/// Returns when the gateway stops.
pub(in crate::ssh) async fn is_stopped(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
}
