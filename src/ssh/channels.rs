//! SSH channels as codecs see them, and the tasks that serve them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::intake::{Carrier, Intake, Intakes, tick};
use crate::scp;
use crate::session::Session;
use crate::session::channel::{Closed, Incoming, Outgoing};
use crate::sftp;

/// SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// How long a client may take to close a channel whose end it has been told.
pub(super) const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// What a channel turned out to be for.
pub(super) enum Purpose {
    /// The `sftp` subsystem.
    Sftp(Arc<Session>),
    /// `exec scp …`.
    Scp(Arc<Session>, scp::Command),
    /// Something that is not served: the sentence for the client's error stream and an exit status of 1.
    Refused(String),
}

/// The channel tasks of one connection.
#[derive(Debug, Default)]
pub(super) struct ChannelTasks {
    tasks: Mutex<JoinSet<()>>,
    intakes: Arc<Intakes>,
    /// The channel that carries the connection, if it is inside another one.
    carrier: Option<Carrier>,
    abandoned: Arc<Notify>,
}

impl ChannelTasks {
    /// Those of a connection inside another one.
    pub(super) fn carried(carrier: Carrier) -> ChannelTasks {
        ChannelTasks { carrier: Some(carrier), ..ChannelTasks::default() }
    }

    /// How many channels are open.
    pub(super) fn open(&self) -> usize {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }

    /// Starts to serve a channel; what it is for comes through the sender. Dropping that ends the channel.
    pub(super) fn start(&self, channel: Channel<Msg>) -> oneshot::Sender<Purpose> {
        let (sender, purpose) = oneshot::channel();
        let intake = self.intakes.add(Duration::ZERO);
        self.lock().spawn(serve(channel, purpose, intake, Arc::clone(&self.abandoned)));
        sender
    }

    /// Watches over what a channel is given that carries another connection. That connection sees it as the carrier, and judges itself; it may
    /// be busy for `patience` longer, the time in which it ends.
    pub(super) fn intake_of_connection(&self, patience: Duration) -> (Arc<Intake>, Carrier) {
        let intake = self.intakes.add(patience);
        let carrier = Carrier::new(&intake, &self.intakes);
        (intake, carrier)
    }

    /// Returns when a channel has taken no data for `limit` and holds up others: one of several of this connection, or the one that carries
    /// it.
    pub(super) async fn stalled(&self, limit: Duration) {
        let mut ticks = interval(tick(limit));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let holds_up_others = self.carrier.as_ref().is_some_and(|carrier| carrier.is_stalled(limit));
            if holds_up_others || self.intakes.are_stalled(limit) {
                return;
            }
        }
    }

    /// Returns when a channel was ended for what its client did, and the client has not closed it for [`CLOSE_WAIT`]: a client
    /// that takes no answers does not learn of the end either, and might send without end.
    pub(super) async fn abandoned(&self) {
        self.abandoned.notified().await;
    }

    /// Waits until all have ended. Whoever calls this has seen the connection end, so no new ones come.
    pub(super) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        while tasks.join_next().await.is_some() {}
    }

    /// Ends all at once; open files are cut off.
    pub(super) fn abort(&self) {
        self.lock().abort_all();
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    channel: Channel<Msg>,
    purpose: oneshot::Receiver<Purpose>,
    intake: Arc<Intake>,
    abandoned: Arc<Notify>,
) {
    let (mut read, write) = channel.split();
    let Some(purpose) = await_purpose(&mut read, purpose).await else {
        return;
    };
    let write = Arc::new(write);
    let (incoming, closed) = ChannelIncoming::new(read, intake);
    let outgoing = ChannelOutgoing { write: write.clone(), closed: closed.clone() };
    let ended = match purpose {
        Purpose::Sftp(session) => match sftp::serve(session, incoming, outgoing).await {
            sftp::Ended::ByClient => Ended::Orderly(0),
            sftp::Ended::Protocol(what) => {
                tracing::info!(what, "an SFTP channel is closed for a breach of the protocol");
                Ended::Breach
            }
        },
        // Apart, or each SFTP channel would have room for a copy as well.
        Purpose::Scp(session, command) => match Box::pin(scp::serve(session, command, incoming, outgoing)).await {
            scp::Ended::Complete => Ended::Orderly(0),
            scp::Ended::Incomplete => Ended::Orderly(1),
            scp::Ended::Flooded => Ended::Breach,
        },
        Purpose::Refused(sentence) => {
            drop(incoming);
            let mut outgoing = outgoing;
            // A client that does not read is not waited for.
            let _ = tokio::time::timeout(CLOSE_WAIT, outgoing.send_error(sentence.into())).await;
            Ended::Orderly(1)
        }
    };
    if !end(&write, closed, ended).await {
        abandoned.notify_one();
    }
}

/// How a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With this exit status.
    Orderly(u32),
    /// The client broke the protocol.
    Breach,
}

/// Keeps the channel drained until its purpose is known: what is not read stalls the whole connection.
async fn await_purpose(read: &mut ChannelReadHalf, mut purpose: oneshot::Receiver<Purpose>) -> Option<Purpose> {
    loop {
        tokio::select! {
            // The purpose comes before any data for it.
            biased;
            purpose = &mut purpose => return purpose.ok(),
            message = read.wait() => match message {
                None | Some(ChannelMsg::Close) => return None,
                Some(_) => {}
            },
        }
    }
}

/// Ends a channel in the order that clients expect: exit status, EOF, close. False when the client broke the protocol and does not
/// close the channel.
async fn end(write: &ChannelWriteHalf<Msg>, mut closed: watch::Receiver<bool>, ended: Ended) -> bool {
    let status = match ended {
        Ended::Orderly(status) => status,
        Ended::Breach => 1,
    };
    let told = async {
        let _ = write.exit_status(status).await;
        let _ = write.eof().await;
        let _ = write.close().await;
    };
    let _ = tokio::time::timeout(CLOSE_WAIT, told).await;
    let closes = tokio::time::timeout(CLOSE_WAIT, closed.wait_for(|closed| *closed));
    ended != Ended::Breach || closes.await.is_ok()
}

/// The reading half. When it is dropped before the client closed the channel, a task goes on draining it to the channel's end.
pub(super) struct ChannelIncoming {
    read: Option<ChannelReadHalf>,
    closed: watch::Sender<bool>,
    intake: Arc<Intake>,
    is_cut: bool,
}

impl ChannelIncoming {
    /// What comes over a channel, and whether the client has closed it. `intake` hears for how long what came is not taken.
    pub(super) fn new(read: ChannelReadHalf, intake: Arc<Intake>) -> (ChannelIncoming, watch::Receiver<bool>) {
        let (sender, closed) = watch::channel(false);
        (ChannelIncoming { read: Some(read), closed: sender, intake, is_cut: false }, closed)
    }
}

impl Incoming for ChannelIncoming {
    async fn next(&mut self) -> Option<Bytes> {
        let read = self.read.as_mut()?;
        self.intake.set(None);
        loop {
            match read.wait().await {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => {
                    self.intake.set(Some(Instant::now()));
                    return Some(data);
                }
                Some(ChannelMsg::Eof) => return None,
                message @ (Some(ChannelMsg::Close) | None) => {
                    self.is_cut = message.is_none();
                    self.read = None;
                    self.closed.send_replace(true);
                    return None;
                }
                Some(_) => {}
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl Drop for ChannelIncoming {
    fn drop(&mut self) {
        let Some(mut read) = self.read.take() else { return };
        let closed = self.closed.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let drained = async {
                    while let Some(message) = read.wait().await {
                        if matches!(message, ChannelMsg::Close) {
                            break;
                        }
                    }
                    closed.send_replace(true);
                };
                tokio::select! {
                    () = drained => {}
                    // Nobody serves the channel any more.
                    () = closed.closed() => {}
                }
            });
        }
    }
}

/// The writing half. A send that waits for the client's window ends when the channel is closed: the library would not wake
/// it.
struct ChannelOutgoing {
    write: Arc<ChannelWriteHalf<Msg>>,
    closed: watch::Receiver<bool>,
}

impl ChannelOutgoing {
    async fn unless_closed(
        closed: &mut watch::Receiver<bool>,
        sending: impl Future<Output = Result<(), russh::Error>>,
    ) -> Result<(), Closed> {
        tokio::select! {
            biased;
            sent = sending => sent.map_err(|_| Closed),
            _ = closed.wait_for(|closed| *closed) => Err(Closed),
        }
    }
}

impl Outgoing for ChannelOutgoing {
    async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
        Self::unless_closed(&mut self.closed, self.write.data_bytes(data)).await
    }

    async fn send_error(&mut self, data: Bytes) -> Result<(), Closed> {
        Self::unless_closed(&mut self.closed, self.write.extended_data_bytes(STDERR, data)).await
    }
}
