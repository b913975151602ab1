//! A gateway that serves inside the program.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::builder::{Builder, Own, StartError};
use super::configuration::Configuration;
use super::handle::{Handle, Started};
use crate::admin::{Unread, Wish};
use crate::config::InForce;
use crate::gateway::{self, Control};
use crate::inherited::Inherited;

/// Orders that may wait for the gateway.
const CONTROLS: usize = 4;

/// A gateway that serves in tasks of the program's runtime, which needs more than one thread: on a single one, a disk or a password that is
/// checked would hold up everybody.
///
/// It catches no signals, writes no logs by itself (it uses `tracing`), and does not raise the limit of open files: that is the program's.
/// Dropped together with all of its [`Handle`]s, it drains in the background.
///
/// ```
/// use lockgate::{Gateway, Settings};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// lockgate::make_host_key(folder.path().join("host_key"))?;
/// let settings = Settings::new().folder(folder.path()).listen("127.0.0.1:0".parse()?).host_key("host_key");
/// let gateway = Gateway::builder(settings.store("files", "memory:///")).start().await?;
/// assert_ne!(gateway.addresses()[0].port(), 0);
/// assert!(gateway.handle().sessions().is_empty());
/// gateway.drain().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    handle: Handle,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// A gateway of a configuration, which has not been started.
    pub fn builder(configuration: impl Into<Configuration>) -> Builder {
        Builder::new(configuration.into())
    }

    pub(super) async fn start(configuration: Configuration, own: Own) -> Result<Gateway, StartError> {
        own.check()?;
        let settings = own.settings(&configuration, InForce::default()).await?;
        let started = Started { fixed: settings.fixed(), in_force: InForce::of(&settings) };
        // In a task of its own: if this future is dropped, the trail that has begun ends in order.
        let (mut give, given) = oneshot::channel();
        tokio::spawn(async move {
            let opened = gateway::Gateway::start(settings, Inherited::default(), give.closed()).await;
            if let Err(Ok(Some(unwanted))) = give.send(opened) {
                unwanted.close().await;
            }
        });
        let opened = given.await.map_err(|_| StartError::Unusable("the start was cut off".into()))?;
        let opened = opened.map_err(|gateway::StartError(what)| StartError::Unusable(what))?;
        let Some(gateway) = opened else { return Err(StartError::Unusable("the start was given up".into())) };
        let (controls, controlled) = mpsc::channel(CONTROLS);
        let (wishes, wished) = mpsc::channel(CONTROLS);
        let addresses = gateway.addresses().to_vec();
        let handle = Handle::new(controls, gateway.sessions(), gateway.metrics(), Arc::new(started), own);
        tokio::spawn(obey(wished, handle.weak(), configuration));
        let serving = tokio::spawn(gateway.run(controlled, wishes));
        Ok(Gateway { addresses, handle, serving })
    }

    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What shows and controls it. It can be cloned, and outlives this.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the gateway has ended, which it does only when somebody wants it to. All events are recorded then.
    pub async fn ended(self) {
        let Gateway { serving, handle, .. } = self;
        let _ = serving.await;
        drop(handle);
    }

    /// Accepts no new connections, lets transfers finish within `limits.drain`, and waits for the end.
    pub async fn drain(self) {
        self.handle.drain().await;
        self.ended().await;
    }

    /// Ends everything immediately: transfers are cut off, and recorded as that.
    pub async fn stop(self) {
        self.handle.stop().await;
        self.ended().await;
    }
}

/// Does what callers of the admin door want of the process, until the gateway has ended.
async fn obey(mut wished: mpsc::Receiver<Wish>, handle: super::handle::Weak, configuration: Configuration) {
    while let Some(wish) = wished.recv().await {
        let Some(handle) = handle.upgrade() else { return };
        match wish {
            Wish::Drain => handle.drain().await,
            Wish::Read(told) => drop(told.send(Err(Unread::NoFile))),
            Wish::Reload(told) if configuration.is_file() => {
                let configuration = configuration.clone();
                // Apart: a disk that does not answer does not hold up a drain.
                tokio::spawn(async move {
                    let outcome = handle.reload(configuration).await;
                    let outcome = outcome.map(|done| done.waits_for_restart).map_err(|error| error.to_string());
                    let _ = told.send(outcome);
                });
            }
            Wish::Reload(told) => {
                drop(
                    told.send(Err("the program that embeds this gateway has no file that could be read again".into())),
                );
            }
        }
    }
}

/// What reaches the gateway as long as somebody else holds it.
pub(super) type Controls = mpsc::Sender<Control>;
