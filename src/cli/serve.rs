//! `lockgate serve`: runs a gateway until a signal ends it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Failure, block_on};
use crate::config;
use crate::gateway::{Control, Fixed, Gateway, Settings};

/// Serves the configuration of `file`.
pub(super) fn serve(file: &Path) -> Result<(), Failure> {
    let settings = config::load(file)?;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    block_on(run(settings, Hangup::Reload(file), |_| Ok(())))?;
    Ok(())
}

/// What SIGHUP does.
#[derive(Debug)]
pub(super) enum Hangup {
    /// Read this file again.
    Reload(PathBuf),
    /// End as SIGTERM does: the terminal was closed.
    Drain,
}

/// Runs a gateway until a signal ends it. `listening` is told where it listens, before the first connection is taken.
pub(super) async fn run(
    settings: Settings,
    hangup: Hangup,
    listening: impl FnOnce(&[SocketAddr]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    let fixed = settings.fixed();
    let Some(gateway) = Gateway::start(settings, signals.end()).await? else { return Ok(()) };
    if let Err(error) = listening(gateway.addresses()) {
        gateway.close().await;
        return Err(error);
    }
    for address in gateway.addresses() {
        tracing::info!("listening on {address}");
    }
    let (controls, received) = mpsc::channel(4);
    let forwarding = tokio::spawn(forward(signals, hangup, fixed, controls));
    gateway.run(received).await;
    forwarding.abort();
    tracing::info!("ended");
    Ok(())
}

/// The signals that a gateway answers.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Turns signals into controls until the gateway is to stop at once, or has ended.
async fn forward(mut signals: Signals, hangup: Hangup, fixed: Fixed, controls: mpsc::Sender<Control>) {
    let mut draining = false;
    loop {
        let hung_up = tokio::select! {
            _ = signals.terminate.recv() => false,
            _ = signals.interrupt.recv() => false,
            _ = signals.hangup.recv() => true,
        };
        let control = match &hangup {
            Hangup::Reload(_) if hung_up && draining => continue,
            Hangup::Reload(file) if hung_up => match reload(file.clone(), &fixed).await {
                Some(settings) => Control::Reload(Box::new(settings)),
                None => continue,
            },
            _ if draining => Control::Stop,
            _ => Control::Drain,
        };
        match &control {
            Control::Drain => {
                draining = true;
                tracing::info!(
                    "draining: no new connections; transfers may finish; the same signal again stops at once"
                );
            }
            Control::Stop => tracing::info!("stopping at once"),
            Control::Reload(_) => {}
        }
        let last = matches!(control, Control::Stop);
        if controls.send(control).await.is_err() || last {
            return;
        }
    }
}

/// The new settings; with problems, which are logged, the old ones stay.
async fn reload(file: PathBuf, fixed: &Fixed) -> Option<Settings> {
    match tokio::task::spawn_blocking(move || config::load(&file)).await {
        Ok(Ok(settings)) => {
            if settings.fixed() != *fixed {
                tracing::warn!(
                    "changes of `server`, `events`, `audit`, `limits` and `partial_uploads` take effect at a restart"
                );
            }
            Some(settings)
        }
        Ok(Err(problems)) => {
            for problem in problems.list() {
                tracing::error!("{}: {problem}", problems.file().display());
            }
            tracing::error!("the configuration was not reloaded; the old one stays");
            None
        }
        Err(error) => {
            tracing::error!("the configuration was not reloaded; the old one stays: {error}");
            None
        }
    }
}
