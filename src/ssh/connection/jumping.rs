//! From a `direct-tcpip` request to a connection of ours that serves the target.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use russh::Channel;
use russh::server::{ChannelOpenHandle, Msg};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::super::auth::{Attempts, Examiner};
use super::super::channels::ChannelTasks;
use super::super::handler::ONLY_FILES;
use super::super::intake::{Carrier, tick};
use super::super::jump::{Carried, JumpStream, Jumped, Jumps};
use super::super::stream::{Line, WatchedStream};
use super::super::targets::inherits;
use super::super::{Homes, MAX_CHANNELS, Phase, Shared};
use super::{FAREWELL, SHUTTING_DOWN, Slots, Visit, Way};
use crate::audit::{Jump, KeyIdentity, Origin};
use crate::session::{LiveSession, Protocol};
use crate::users::{AccountDirectory, CONFIGURATION, Circumstances, Target, User};

/// What a client is told that asks for a target which is not there, or not for its user: the same.
const NO_TARGET: &str = "there is no target of this address for this user";

/// What a client is told whose user, key or certificate would not let it in any more.
const LOGIN_IS_OVER: &str = "the login of this connection is not valid any more; log in again";

/// What a client is told while nothing can be recorded.
const UNRECORDABLE: &str = "events cannot be recorded now";

/// How long a connection at a target may take to end when it holds up others: it is told, its stream is cut, its codecs are dropped.
const ENDING: Duration = FAREWELL.saturating_mul(3);

/// A jump that may be made, and that the client still waits for.
pub(in crate::ssh) struct Opening {
    /// How the client hears that it is made.
    pub(in crate::ssh) reply: ChannelOpenHandle,
    /// How long it has to wait.
    pub(in crate::ssh) pause: Duration,
}

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
        let session_id = self.attempts().await.origin().session_id;
        let person = self.person_now(login.user(), &session_id, &homes);
        let Some(person) = person.filter(|person| !person.targets.is_empty()) else {
            return Err(Refused::because(ONLY_FILES));
        };
        let target = homes.targets.targets().at(host, port);
        let Some(target) = target.filter(|target| target.admits(&person.targets)) else {
            return Err(Refused { message: NO_TARGET, target: target.map(|target| target.name.clone()) });
        };
        let refused = |message| Refused { message, target: Some(target.name.clone()) };
        if login.is_draining() || *self.phase.borrow() == Phase::Stopped {
            return Err(refused(SHUTTING_DOWN));
        }
        if self.open_channels() >= MAX_CHANNELS as usize {
            return Err(Refused::too_many_channels(target));
        }
        if !self.recorder().has_room_for_strangers() {
            return Err(refused(UNRECORDABLE));
        }
        // It is there as long as the session is.
        let Some(live) = self.shared.registry.get(&session_id) else { return Err(refused(SHUTTING_DOWN)) };
        if !still_proves(&live, &person) {
            return Err(refused(LOGIN_IS_OVER));
        }
        Ok(Jumped {
            config: homes.targets.config(target, &self.shared.config),
            target: target.clone(),
            person,
            session_id,
            key: live.key,
            only_sftp: !login.serves(Protocol::Scp),
            homes: homes.clone(),
            parting: self.jumps.parting(),
        })
    }

    /// The user as the configuration or a folder of keys has it now, or as an identity provider described it when it was asked last about
    /// the session of this id; nobody where another source has the name by now.
    fn person_now(&self, person: &User, session_id: &str, homes: &Homes) -> Option<Arc<User>> {
        match homes.directory.known_as(&person.name) {
            Some(known) if known.source == person.source => Some(known),
            // Users of the configuration go before all others.
            Some(known) if *known.source == *CONFIGURATION => None,
            _ if homes.directory.is_asked_about(&person.source) => self.shared.registry.user_of(session_id),
            _ => None,
        }
    }

    /// Whether a login at a target is still granted, by what holds now; for a connection that came through no other one it is. To be
    /// asked once the session is in the registry: from then on, whoever takes the grant back ends it there.
    pub(super) fn is_still_granted(&self, account: &str) -> bool {
        let Way::Jump(jumped) = &self.way else { return true };
        let homes = self.shared.homes();
        let Some(person) = self.person_now(&jumped.person, &jumped.session_id, &homes) else { return false };
        let target = homes.targets.targets().named(&jumped.target.name);
        target.is_some_and(|target| target.account_for(&person.targets, account).is_some())
    }

    /// Channels of this connection, those that lead to targets among them.
    pub(in crate::ssh) fn open_channels(&self) -> usize {
        self.channels.open() + self.jumps.open()
    }

    /// Serves a target over a channel of this connection.
    pub(in crate::ssh) fn jump(&self, jumped: Jumped, channel: Channel<Msg>, opening: Opening) {
        let patience = 2 * tick(self.shared.settings.limits.stall) + ENDING;
        let (intake, carrier) = self.channels.intake_of_connection(patience);
        let (stream, carried) = JumpStream::new(channel, intake);
        let is_cut = stream.is_cut();
        let (stream, line) = WatchedStream::new(stream, &[]);
        let stream = stream.reading_ahead(self.jumps.ahead());
        let origin = Origin {
            user: Some(jumped.person.name.clone()),
            jump: Some(Jump::new(jumped.target.name.clone(), None, jumped.session_id.clone())),
            person: self.login().and_then(|login| login.person().cloned()),
            ..super::super::origin_of(self.source)
        };
        let visit = Arc::new(Visit::inside(self, origin, jumped, (line, carrier)));
        self.jumps.start(&visit, serve_jump(visit.clone(), opening, (stream, carried), is_cut));
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

    /// A connection inside `outer`.
    fn inside(outer: &Visit, origin: Origin, jumped: Jumped, (line, carrier): (Arc<Line>, Carrier)) -> Visit {
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
            drain_began: OnceLock::new(),
            unrecorded: Notify::new(),
            channels: ChannelTasks::carried(carrier),
            jumps: Jumps::default(),
            slots: Mutex::new(Slots { unauthenticated: None, session: None, is_over: false }),
        }
    }
}

/// Whether what was proven at the login would let `person`, as the user is now, in again.
fn still_proves(live: &LiveSession, person: &User) -> bool {
    let at = Circumstances { now: Utc::now(), source: live.source_ip };
    let Some(key) = &live.key else { return person.admits(at).is_ok() };
    match &key.certificate {
        Some(_) => person.admits(at).is_ok() && live.proof_ends.is_none_or(|ends| at.now < ends),
        None => STANDARD.decode(&key.blob).is_ok_and(|blob| person.authorize_key(&blob, at).is_ok()),
    }
}

/// Serves a connection inside another one to its end. Of a type that names nothing: a connection that serves connections
/// would have to know its own.
fn serve_jump(
    visit: Arc<Visit>,
    opening: Opening,
    (stream, carried): (WatchedStream<JumpStream>, Carried),
    is_cut: Arc<AtomicBool>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        tokio::select! {
            () = sleep(opening.pause) => opening.reply.accept().await,
            // Nothing has begun, and the library refuses it.
            _ = visit.parted() => return,
        }
        let started = Instant::now();
        let mut ending = visit.run(stream, visit.phase.clone()).await;
        if ending.is_of_client() && is_cut.load(Ordering::Acquire) {
            // The connection under it ended first, and is about to say why.
            ending = timeout(FAREWELL, visit.parted()).await.unwrap_or(ending);
        }
        carried.hang_up().await;
        visit.finish(ending, started, false).await;
    })
}
