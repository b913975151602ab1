//! Jumps: a client asks for a declared target and gets, over that channel, a second connection of ours that serves the target.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use russh::server::Msg;
use russh::{Channel, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Homes;
use super::ahead::{Ahead, Budget};
use super::channels::{CLOSE_WAIT, ChannelIncoming};
use super::connection::Visit;
use super::ending::Ending;
use super::intake::Intake;
use crate::audit::KeyIdentity;
use crate::session::Login;
use crate::session::channel::Incoming;
use crate::users::{Target, User};

/// What a connection to a target has from the one that its client jumped through.
#[derive(Clone)]
pub(super) struct Jumped {
    /// Where to.
    pub(super) target: Arc<Target>,
    /// Who jumps.
    pub(super) person: Arc<User>,
    /// The session that was jumped through.
    pub(super) session_id: Arc<str>,
    /// The key that was proven there.
    pub(super) key: Option<KeyIdentity>,
    /// Whether its certificate allows SFTP and nothing else.
    pub(super) only_sftp: bool,
    /// Whom the door lets in, as of the jump.
    pub(super) homes: Arc<Homes>,
    /// What the library needs to serve the target.
    pub(super) config: Arc<russh::server::Config>,
    /// Becomes something when the connection that was jumped through ends by itself.
    pub(super) parting: watch::Receiver<Option<Ending>>,
}

/// The connections to targets that came through one connection.
pub(super) struct Jumps {
    visits: Mutex<Inner>,
    parting: watch::Sender<Option<Ending>>,
    /// Once there was one.
    ahead: OnceLock<Budget>,
}

#[derive(Default)]
struct Inner {
    tasks: JoinSet<()>,
    visits: Vec<Weak<Visit>>,
}

impl Default for Jumps {
    fn default() -> Self {
        Jumps { visits: Mutex::default(), parting: watch::Sender::new(None), ahead: OnceLock::new() }
    }
}

impl Jumps {
    /// What tells those who jump why the connection ends under them.
    pub(super) fn parting(&self) -> watch::Receiver<Option<Ending>> {
        self.parting.subscribe()
    }

    /// What one of them may keep of what its client sends while it takes no answers.
    pub(super) fn ahead(&self) -> Ahead {
        Ahead::new(self.ahead.get_or_init(Budget::default).clone())
    }

    /// Serves a connection to a target to its end.
    pub(super) fn start(&self, visit: &Arc<Visit>, serving: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        inner.visits.retain(|visit| visit.strong_count() > 0);
        inner.visits.push(Arc::downgrade(visit));
        inner.tasks.spawn(serving);
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        let mut inner = self.lock();
        while inner.tasks.try_join_next().is_some() {}
        inner.tasks.len()
    }

    /// Whether anybody does anything at a target.
    pub(super) fn are_busy(&self) -> bool {
        let visits: Vec<_> = self.lock().visits.iter().filter_map(Weak::upgrade).collect();
        visits.iter().any(|visit| visit.login().is_some_and(|login| is_busy(login)))
    }

    /// Tells all why they end. Each is over soon after, and on record.
    pub(super) fn part(&self, why: Ending) {
        self.parting.send_if_modified(|parting| {
            let is_first = parting.is_none();
            if is_first {
                *parting = Some(why);
            }
            is_first
        });
    }

    /// Waits until all are over and on record; each bounds the time that it needs. Whoever calls this has seen the connection end,
    /// so no new ones come.
    pub(super) async fn ended(&self) {
        // The tasks stay here: to drop the set would cut them off.
        poll_fn(|cx| {
            let mut inner = self.lock();
            loop {
                match ready!(inner.tasks.poll_join_next(cx)) {
                    Some(_) => {}
                    None => return Poll::Ready(()),
                }
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_busy(login: &Login) -> bool {
    login.is_busy() || login.open_transfers() > 0
}

/// A channel as the socket of another connection.
pub(super) struct JumpStream {
    incoming: ChannelIncoming,
    /// What came and was not given yet.
    rest: Bytes,
    outgoing: Pin<Box<dyn AsyncWrite + Send>>,
    /// The connection under the channel is gone; the client has not closed the channel.
    is_cut: Arc<AtomicBool>,
    has_said_eof: Arc<AtomicBool>,
}

/// The channel under a [`JumpStream`], to be closed at the end.
pub(super) struct Carried {
    write: ChannelWriteHalf<Msg>,
    has_said_eof: Arc<AtomicBool>,
}

impl Carried {
    /// Closes the channel. There is one EOF (RFC 4254 section 5.3): asyncssh ends the whole connection for a second one.
    pub(super) async fn hang_up(self) {
        let told = async {
            if !self.has_said_eof.load(Ordering::Acquire) {
                let _ = self.write.eof().await;
            }
            let _ = self.write.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, told).await;
    }
}

impl JumpStream {
    /// The channel's both directions. `intake` hears for how long what came is not taken.
    pub(super) fn new(channel: Channel<Msg>, intake: Arc<Intake>) -> (JumpStream, Carried) {
        let outgoing = Box::pin(channel.make_writer());
        let (read, write) = channel.split();
        let (incoming, _) = ChannelIncoming::new(read, intake);
        let (is_cut, has_said_eof) = (Arc::default(), Arc::<AtomicBool>::default());
        let carried = Carried { write, has_said_eof: has_said_eof.clone() };
        (JumpStream { incoming, rest: Bytes::new(), outgoing, is_cut, has_said_eof }, carried)
    }

    /// Becomes true when the connection under the channel is gone before the client closed the channel.
    pub(super) fn is_cut(&self) -> Arc<AtomicBool> {
        self.is_cut.clone()
    }
}

impl AsyncRead for JumpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            // Nothing is lost when this waits and is asked again.
            let Some(data) = ready!(pin!(this.incoming.next()).poll(cx)) else {
                this.is_cut.store(this.incoming.is_cut(), Ordering::Release);
                return Poll::Ready(Ok(()));
            };
            this.rest = data;
        }
        let given = wanted.remaining().min(this.rest.len());
        wanted.put_slice(&this.rest[..given]);
        this.rest.advance(given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for JumpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.as_mut().poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = ready!(self.outgoing.as_mut().poll_shutdown(cx));
        self.has_said_eof.store(true, Ordering::Release);
        Poll::Ready(said)
    }
}
