//! From a `direct-tcpip` request to a connection of ours that serves the target.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::{Notify, watch};

use super::super::auth::{Attempts, Examiner};
use super::super::channels::{ChannelTasks, hang_up};
use super::super::handler::ONLY_FILES;
use super::super::jump::{JumpStream, Jumped, Jumps};
use super::super::stream::{Line, WatchedStream};
use super::super::targets::inherits;
use super::super::{Homes, MAX_CHANNELS, Phase, Shared};
use super::{SHUTTING_DOWN, Slots, Visit, Way};
use crate::audit::{Jump, KeyIdentity, Origin};
use crate::session::Protocol;
use crate::users::{AccountDirectory, Attempt, Target, User};

/// What a client is told that asks for a target which is not there, or not for its user: the same.
const NO_TARGET: &str = "there is no target of this address for this user";

/// Why a client may not jump.
pub(in crate::ssh) struct Refused {
    /// What the client is told.
    pub(in crate::ssh) message: &'static str,
    /// The target that it asked for, if there is one; for events.
    pub(in crate::ssh) target: Option<Arc<str>>,
}

impl Refused {
    /// The connection has as many channels as it may have.
    pub(in crate::ssh) fn too_many_channels(target: &Target) -> Refused {
        Refused { message: "too many channels on one connection", target: Some(target.name.clone()) }
    }

    fn because(message: &'static str) -> Refused {
        Refused { message, target: None }
    }
}

impl Visit {
    /// Whether the user may jump to the target that is asked for, by the configuration that holds now.
    pub(in crate::ssh) async fn may_jump(&self, host: &str, port: u32) -> Result<Jumped, Refused> {
        let Some(login) = self.login().filter(|_| matches!(self.way, Way::Socket(_))) else {
            return Err(Refused::because(ONLY_FILES));
        };
        let homes = self.shared.homes();
        let person = self.person_now(login.user(), &homes).await;
        if person.targets.is_empty() {
            return Err(Refused::because(ONLY_FILES));
        }
        let target = homes.targets.targets().at(host, port);
        let Some(target) = target.filter(|target| target.admits(&person.targets)) else {
            return Err(Refused { message: NO_TARGET, target: target.map(|target| target.name.clone()) });
        };
        let refused = |message| Refused { message, target: Some(target.name.clone()) };
        if *self.phase.borrow() != Phase::Running {
            return Err(refused(SHUTTING_DOWN));
        }
        if self.open_channels() >= MAX_CHANNELS as usize {
            return Err(Refused::too_many_channels(target));
        }
        let session_id = self.attempts().await.origin().session_id;
        // It is there as long as the session is.
        let key = self.shared.registry.get(&session_id).and_then(|live| live.key);
        Ok(Jumped {
            config: homes.targets.config(target, &self.shared.config),
            target: target.clone(),
            person,
            session_id,
            key,
            only_sftp: !login.serves(Protocol::Scp),
            homes: homes.clone(),
            parting: self.jumps.parting(),
        })
    }

    /// Channels of this connection, those that lead to targets among them.
    pub(in crate::ssh) fn open_channels(&self) -> usize {
        self.channels.open() + self.jumps.open()
    }

    /// Serves a target over a channel of this connection.
    pub(in crate::ssh) fn jump(&self, jumped: Jumped, stream: JumpStream, write: ChannelWriteHalf<Msg>) {
        let (stream, line) = WatchedStream::new(stream, &[]);
        let origin = Origin {
            user: Some(jumped.person.name.clone()),
            jump: Some(Jump::new(jumped.target.name.clone(), None, jumped.session_id.clone())),
            ..super::super::origin_of(self.source)
        };
        let visit = Arc::new(Visit::inside(self, origin, jumped, line));
        self.jumps.start(&visit, serve_jump(visit.clone(), stream, write));
    }

    /// What was shown on the connection that this one came through, where that is proof enough here: the key, and whether its
    /// certificate allows SFTP and nothing else.
    pub(in crate::ssh) fn inherited_proof(&self) -> Option<(Option<KeyIdentity>, bool)> {
        match &self.way {
            Way::Jump(jumped) if inherits(&jumped.target) => Some((jumped.key.clone(), jumped.only_sftp)),
            Way::Jump(_) | Way::Socket(_) => None,
        }
    }

    /// Whether anything runs for the client, here or at a target.
    pub(super) fn is_busy(&self) -> bool {
        self.login().is_some_and(|login| login.is_busy()) || self.jumps.are_busy()
    }

    /// The user as the directory knows it now; as of the login, where it cannot be asked without a password.
    async fn person_now(&self, person: &Arc<User>, homes: &Homes) -> Arc<User> {
        let attempt = Attempt { source_ip: self.source.ip() };
        match homes.directory.find(&person.name, &attempt).await {
            Ok(Some(now)) if now.source == person.source => now,
            _ => person.clone(),
        }
    }

    /// A connection inside `outer`.
    fn inside(outer: &Visit, origin: Origin, jumped: Jumped, line: Arc<Line>) -> Visit {
        let shared: Arc<Shared> = outer.shared.clone();
        let homes = jumped.homes.clone();
        let directory = Arc::new(AccountDirectory::new(jumped.person.clone(), jumped.target.clone()));
        let attempts = Attempts::new(Examiner::new(&shared, &homes, directory), origin, line.clone());
        Visit {
            waiting: attempts.waiting(),
            attempts: tokio::sync::Mutex::new(attempts),
            shared,
            homes,
            line,
            source: outer.source,
            proxy_header: None,
            way: Way::Jump(Box::new(jumped)),
            phase: outer.phase.clone(),
            login: OnceLock::new(),
            let_in: watch::Sender::new(false),
            unrecorded: Notify::new(),
            channels: ChannelTasks::default(),
            jumps: Jumps::default(),
            slots: Mutex::new(Slots { unauthenticated: None, session: None, is_over: false }),
        }
    }
}

/// Serves a connection inside another one to its end. Of a type that names nothing: a connection that serves connections
/// would have to know its own.
fn serve_jump(
    visit: Arc<Visit>,
    stream: WatchedStream<JumpStream>,
    write: ChannelWriteHalf<Msg>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let started = Instant::now();
        let ending = visit.run(stream, visit.phase.clone()).await;
        hang_up(&write).await;
        visit.finish(ending, started, false).await;
    })
}
