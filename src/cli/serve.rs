//! `lockgate serve`: runs a gateway until a signal ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Failure, block_on, notify};
use crate::admin::{Found, Unread, Wish};
use crate::config;
use crate::gateway::{Control, Fixed, Gateway, Settings, Told, fixed_parts};
use crate::inherited::Inherited;
use crate::users::SourceSettings;

/// Serves the configuration of `file`.
pub(super) fn serve(file: &Path) -> Result<(), Failure> {
    let settings = config::load(file)?;
    // Before the runtime starts its threads.
    let inherited = Inherited::take().map_err(anyhow::Error::msg)?;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    block_on(run(settings, inherited, Hangup::Reload(file), |_| Ok(())))?;
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

/// Runs a gateway until a signal ends it. `inherited` has the sockets of the service manager. `listening` is shown the gateway once it listens, before the first connection is taken.
pub(super) async fn run(
    settings: Settings,
    inherited: Inherited,
    hangup: Hangup,
    listening: impl FnOnce(&Gateway) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    let (fixed, in_force) = (settings.fixed(), config::InForce::of(&settings));
    let (summary, drain) = (Summary::of(&settings, &hangup), settings.ssh.limits.drain);
    let Some(gateway) = Gateway::start(settings, inherited, signals.end()).await? else { return Ok(()) };
    if let Err(error) = listening(&gateway) {
        gateway.close().await;
        return Err(error);
    }
    summary.tell(&gateway.sinks());
    for address in gateway.addresses() {
        tracing::info!("listening on {address}");
    }
    for address in gateway.admin_addresses() {
        tracing::info!("the admin door listens on {address}");
    }
    if let Some(address) = gateway.health_address() {
        tracing::info!("health and metrics are shown on {address}");
    }
    let (controls, received) = mpsc::channel(4);
    let (wishes, wished) = mpsc::channel(4);
    let forwarding = tokio::spawn(forward(Impulses { signals, wished, drain }, hangup, (fixed, in_force), controls));
    notify::ready();
    gateway.run(received, wishes).await;
    forwarding.abort();
    tracing::info!("ended");
    Ok(())
}

/// What a start says of itself.
#[derive(Debug)]
struct Summary {
    configuration: String,
    server: String,
    users: usize,
    sources: Vec<String>,
    stores: Vec<String>,
}

impl Summary {
    fn of(settings: &Settings, hangup: &Hangup) -> Summary {
        let source = |source: &SourceSettings| source.source().to_string();
        Summary {
            configuration: match hangup {
                Hangup::Reload(file) => file.display().to_string(),
                Hangup::Drain => "the demo's".into(),
            },
            server: settings.audit.server.clone(),
            users: settings.users.len(),
            sources: settings.users_from.iter().map(source).collect(),
            stores: settings.stores.iter().map(|store| store.name.clone()).collect(),
        }
    }

    fn tell(&self, sinks: &[String]) {
        let (sources, stores, sinks) = (self.sources.join(", "), self.stores.join(", "), sinks.join(", "));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            configuration = self.configuration,
            server = self.server,
            users = self.users,
            users_from = sources,
            stores,
            sinks,
            "started"
        );
    }
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

/// What makes a gateway change or end: signals, and callers of the admin door.
#[derive(Debug)]
struct Impulses {
    signals: Signals,
    wished: mpsc::Receiver<Wish>,
    /// How long a drain waits for transfers.
    drain: Duration,
}

/// What is wanted.
#[derive(Debug)]
enum Impulse {
    /// Reload; somebody may want to know how that went.
    Reload(Option<Told>),
    /// SIGHUP, whatever it means.
    Hangup,
    /// Read the configuration and change nothing.
    Read(oneshot::Sender<Result<Found, Unread>>),
    /// Drain.
    Drain,
    /// SIGTERM or SIGINT: drain, or at the second one, stop.
    End,
}

impl Impulses {
    async fn next(&mut self) -> Impulse {
        tokio::select! {
            _ = self.signals.terminate.recv() => Impulse::End,
            _ = self.signals.interrupt.recv() => Impulse::End,
            _ = self.signals.hangup.recv() => Impulse::Hangup,
            Some(wish) = self.wished.recv() => match wish {
                Wish::Reload(told) => Impulse::Reload(Some(told)),
                Wish::Read(told) => Impulse::Read(told),
                Wish::Drain => Impulse::Drain,
            },
        }
    }
}

/// Turns signals and wishes into controls until the gateway is to stop at once, or has ended.
async fn forward(
    mut impulses: Impulses,
    hangup: Hangup,
    started: (Fixed, config::InForce),
    controls: mpsc::Sender<Control>,
) {
    // Whoever drains over the admin door and then stops the service means the same thing twice: only a second signal cuts transfers.
    let (mut draining, mut signalled) = (false, false);
    let started = Arc::new(started);
    let [reload_turns, read_turns] = [(); 2].map(|()| Arc::new(Semaphore::new(1)));
    let mut reloading = JoinSet::new();
    loop {
        let impulse = match (impulses.next().await, &hangup) {
            (Impulse::Hangup, Hangup::Reload(_)) => Impulse::Reload(None),
            (Impulse::Hangup, Hangup::Drain) => Impulse::End,
            (other, _) => other,
        };
        let control = match (impulse, &hangup) {
            (Impulse::Reload(told), Hangup::Drain) => {
                tell(told, Err("a demo does not reload; start it again".into()));
                continue;
            }
            // Apart, both: a disk that does not answer does not hold up a signal.
            (Impulse::Reload(told), Hangup::Reload(file)) => {
                // A later one replaces one that is still being read.
                reloading.abort_all();
                // What has ended is kept until it is joined.
                while reloading.try_join_next().is_some() {}
                let read = read_to_reload(file.clone(), started.clone(), reload_turns.clone());
                reloading.spawn(change_to(read, controls.clone(), told));
                continue;
            }
            (Impulse::Read(told), Hangup::Drain) => {
                let _ = told.send(Err(Unread::NoFile));
                continue;
            }
            (Impulse::Read(told), Hangup::Reload(file)) => {
                tokio::spawn(read(file.clone(), started.clone(), read_turns.clone(), told));
                continue;
            }
            (Impulse::Drain, _) if draining => continue,
            (Impulse::End, _) if signalled => Control::Stop,
            (Impulse::End, _) if draining => {
                signalled = true;
                tracing::info!("it drains already; the next SIGTERM or SIGINT stops it immediately");
                continue;
            }
            (Impulse::End, _) => {
                signalled = true;
                tracing::info!("a drain begins; the next SIGTERM or SIGINT stops the gateway immediately");
                Control::Drain
            }
            (Impulse::Drain, _) => {
                tracing::info!(
                    "a drain begins, which an administrator wants; the first SIGTERM or SIGINT lets transfers finish as well, the second one stops \
                     the gateway immediately"
                );
                Control::Drain
            }
            // Each of its meanings is above.
            (Impulse::Hangup, _) => continue,
        };
        match &control {
            // A reload goes on: it may take something away from those who are still connected.
            Control::Drain => {
                draining = true;
                notify::stopping(impulses.drain);
            }
            Control::Stop => tracing::info!("stopping immediately"),
            Control::Reload { .. } => {}
        }
        let last = matches!(control, Control::Stop);
        if controls.send(control).await.is_err() || last {
            return;
        }
    }
}

/// Tells what stands in the configuration now, once those before have been told: a disk that does not answer holds up one thread.
async fn read(
    file: PathBuf,
    started: Arc<(Fixed, config::InForce)>,
    turns: Arc<Semaphore>,
    mut told: oneshot::Sender<Result<Found, Unread>>,
) {
    let reading = in_turn(turns, move || {
        let (fixed, in_force) = &*started;
        let settings = config::reload(&file, in_force.clone()).map_err(|problems| problems.to_string())?;
        let waits_for_restart = fixed.unlike(&settings.fixed()).into_iter().map(str::to_owned).collect();
        Ok(Found { written: settings.admin.written, waits_for_restart })
    });
    let found = tokio::select! {
        found = reading => found.unwrap_or_else(Err),
        () = told.closed() => return,
    };
    let _ = told.send(found.map_err(Unread::Wrong));
}

/// Does what may wait for a disk in a thread of its own, when those before have done theirs. The thread has its turn until it has ended,
/// also when nobody waits for it any more: logins need such threads too, and a disk that does not answer gets one.
///
/// # Errors
/// A sentence, when the thread failed.
async fn in_turn<T: Send + 'static>(
    turns: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let turn = turns.acquire_owned().await.map_err(|error| error.to_string())?;
    let working = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    working.await.map_err(|error| error.to_string())
}

/// Has the gateway change to the configuration that is being read.
async fn change_to(
    read: impl Future<Output = Result<(Settings, Vec<String>), String>>,
    controls: mpsc::Sender<Control>,
    told: Option<Told>,
) {
    match read.await {
        Ok((settings, waits_for_restart)) => {
            let settings = Box::new(settings);
            drop(controls.send(Control::Reload { settings, waits_for_restart, told }).await);
        }
        Err(what) => tell(told, Err(what)),
    }
}

/// Tells who asked, if anybody did.
fn tell(told: Option<Told>, outcome: Result<Vec<String>, String>) {
    if let Some(told) = told {
        let _ = told.send(outcome);
    }
}

/// The new settings, and which of their parts wait for a restart; with problems, which are logged and told, the old ones stay.
async fn read_to_reload(
    file: PathBuf,
    started: Arc<(Fixed, config::InForce)>,
    turns: Arc<Semaphore>,
) -> Result<(Settings, Vec<String>), String> {
    let (fixed, in_force) = (&started.0, started.1.clone());
    match in_turn(turns, move || config::reload(&file, in_force)).await {
        Ok(Ok(settings)) => {
            let waiting = fixed.unlike(&settings.fixed());
            if !waiting.is_empty() {
                let parts = waiting.join(", ");
                tracing::warn!(parts, "changes of {} take effect at a restart", fixed_parts());
            }
            let waiting = waiting.into_iter().map(str::to_owned).collect();
            Ok((settings, waiting))
        }
        Ok(Err(problems)) => {
            for problem in problems.list() {
                tracing::error!("{}: {problem}", problems.file().display());
            }
            tracing::error!("the configuration was not reloaded; the old one stays");
            Err(format!("the configuration was not reloaded; the old one stays: {problems}"))
        }
        Err(error) => {
            let what = format!("the configuration was not reloaded; the old one stays: {error}");
            tracing::error!("{what}");
            Err(what)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Each reload replaces the one before, whose thread still waits for the disk.
    #[tokio::test]
    async fn a_disk_that_does_not_answer_holds_up_one_thread_however_often_it_is_asked() {
        let (turns, begun) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)));
        let (answers, disk) = channel::<()>();
        let disk = Arc::new(std::sync::Mutex::new(disk));
        let read = || {
            let (begun, disk) = (begun.clone(), disk.clone());
            in_turn(turns.clone(), move || {
                begun.fetch_add(1, Ordering::SeqCst);
                disk.lock().unwrap().recv().unwrap();
            })
        };
        let mut reloading = JoinSet::new();
        for _ in 0..50 {
            reloading.abort_all();
            reloading.spawn(read());
            while begun.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        // It answers again: the last one has its turn, and those between them have not.
        answers.send(()).unwrap();
        answers.send(()).unwrap();
        let mut done = 0;
        while let Some(outcome) = reloading.join_next().await {
            done += usize::from(outcome.is_ok_and(|read| read.is_ok()));
        }
        assert_eq!((done, begun.load(Ordering::SeqCst)), (1, 2));
    }
}
