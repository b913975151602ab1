//! The thin russh handler: hands attempts to `auth`, channels to the codecs, and refuses everything else at once.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::keys::Certificate;
use russh::server::{
    Auth, AuthRefusal, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session as SshSession,
    UnknownRequest, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Pty, Sig};
use tokio::sync::oneshot;

use super::channels::Purpose;
use super::connection::{Opening, Refused, Visit};
use super::exchanges::Rekeys;
use super::keys;
use super::pace::Pace;
use super::proof::{Accepted, Factor, PasswordMethod, Question, Verdict};
use super::{MAX_CHANNELS, MAX_HALF_CLOSED, WINDOW};
use crate::audit::{Activity, Denied};
use crate::scp;
use crate::secret::Secret;
use crate::session::{Login, Protocol};

/// What a person reads who asks for anything else.
pub(super) const ONLY_FILES: &str = "This server serves only SFTP and SCP.";

/// So many refused requests of a connection are answered one after the other; then the client waits for each, so that it cannot
/// fill the trail.
const DENIALS: u32 = 50;
const DENIALS_PAUSE: Duration = Duration::from_millis(100);

/// So many jumps of a connection begin one after the other; then each waits for its time: it costs an exchange of keys.
const JUMPS: u32 = 50;
const JUMPS_PAUSE: Duration = Duration::from_millis(100);

/// One connection's handler.
pub(super) struct Door {
    visit: Arc<Visit>,
    /// Channels that the client has not closed.
    open: HashSet<ChannelId>,
    starters: HashMap<ChannelId, oneshot::Sender<Purpose>>,
    rekeys: Rekeys,
    denials: Pace,
    jumps: Pace,
    /// The client was sent the banner, if there is one.
    has_banner: bool,
    /// What a security key says of the signature that is judged next.
    flags: Option<u8>,
}

impl Door {
    pub(super) fn new(visit: Arc<Visit>) -> Self {
        let rekeys = Rekeys::new(visit.line().clone());
        Door {
            visit,
            open: HashSet::new(),
            starters: HashMap::new(),
            rekeys,
            denials: Pace::new(DENIALS, DENIALS_PAUSE),
            jumps: Pace::new(JUMPS, JUMPS_PAUSE),
            has_banner: false,
            flags: None,
        }
    }

    fn login(&self) -> Option<&Arc<Login>> {
        self.visit.login()
    }

    /// Records a refusal, and waits until it is written: the client can cause one at a time.
    async fn deny(&mut self, request: String, message: &str) {
        self.deny_at(request, message, None).await;
    }

    /// As [`Door::deny`], of a request that names a target.
    async fn deny_at(&mut self, request: String, message: &str, target: Option<&str>) {
        aside(async move {
            let target = target.map(str::to_owned);
            let denied = Denied { request: cut(request), message: message.to_owned(), target };
            let denied = Activity::RequestDenied(denied);
            let origin = self.visit.origin().await;
            // Before anything that the client's going away could cut off.
            let recorded = self.visit.recorder().record_late(&origin, &denied).sent();
            self.denials.next().await;
            if let Err(error) = recorded.await {
                tracing::error!(%error, "a REQUEST_DENIED event is not in all sinks");
            }
        })
        .await
    }

    /// Refuses a channel that is not a session.
    async fn refuse(&mut self, request: String, reply: ChannelOpenHandle) -> Result<(), russh::Error> {
        self.deny(request, ONLY_FILES).await;
        reply.reject(prohibited(ONLY_FILES)).await;
        Ok(())
    }

    /// Where the login of the connection that was jumped through is proof enough, what becomes of a request to be let in.
    async fn inherited(&mut self, user: &str, method: &'static str) -> Option<Verdict> {
        let proof = self.visit.inherited_proof()?;
        Some(self.visit.attempts().await.inherited(user, method, proof).await)
    }

    /// A refusal. Who owes a second proof hears which.
    async fn rejected(&self) -> Auth {
        let owed = self.visit.attempts().await.owed();
        let methods = owed.map_or_else(|| self.visit.methods(), proving);
        Auth::Reject { proceed_with_methods: Some(methods), partial_success: false }
    }

    async fn answer(&mut self, verdict: Verdict) -> Auth {
        match verdict {
            Verdict::Accept(accepted) => self.accept(*accepted).await,
            Verdict::Continue(factor) => {
                Auth::Reject { proceed_with_methods: Some(proving(factor)), partial_success: true }
            }
            Verdict::Reject => self.rejected().await,
        }
    }

    async fn accept(&mut self, accepted: Accepted) -> Auth {
        if !self.visit.let_in(accepted).await {
            return self.rejected().await;
        }
        self.visit.line().note_login();
        Auth::Accept
    }

    /// Starts a channel that was waiting for its purpose; false when there is none.
    fn start(&mut self, channel: ChannelId, purpose: Purpose) -> bool {
        self.starters.remove(&channel).is_some_and(|starter| starter.send(purpose).is_ok())
    }
}

/// What happens once in a connection, on the heap while it is under way: otherwise the connection's task would keep room for all of it
/// as long as it lasts.
fn aside<F: Future>(work: F) -> Pin<Box<F>> {
    Box::pin(work)
}

/// Variables of the environment that OpenSSH's clients send by themselves as Debian and others set them up. They mean nothing here.
fn is_harmless(name: &str) -> bool {
    matches!(name, "LANG" | "LANGUAGE" | "TERM" | "COLORTERM" | "NO_COLOR" | "TZ") || name.starts_with("LC_")
}

/// Requests that clients make by the way and that need no answer: keepalives, and what OpenSSH and PuTTY say of themselves.
fn is_by_the_way(request: UnknownRequest<'_>) -> bool {
    match request {
        UnknownRequest::Global(name) => {
            name.starts_with("keepalive@")
                || matches!(name, "no-more-sessions@openssh.com" | "hostkeys-prove-00@openssh.com")
        }
        UnknownRequest::Channel(name) => {
            name.starts_with("keepalive@")
                || matches!(
                    name,
                    "eow@openssh.com" | "winadj@putty.projects.tartarus.org" | "simple@putty.projects.tartarus.org"
                )
        }
        _ => false,
    }
}

/// The methods by which a proof can be given.
fn proving(factor: Factor) -> MethodSet {
    MethodSet::from(match factor {
        Factor::Key => &[MethodKind::PublicKey][..],
        Factor::Password => &[MethodKind::Password, MethodKind::KeyboardInteractive][..],
        Factor::Code => &[MethodKind::KeyboardInteractive][..],
    })
}

/// A refusal of a channel that clients show with this sentence.
fn prohibited(message: &str) -> ChannelOpenFailure {
    // SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254 section 5.1), with our own words.
    ChannelOpenFailure::Other { code: 1, reason: message.to_owned() }
}

/// What a client asked for, short enough for an event.
fn cut(mut text: String) -> String {
    const LONGEST: usize = 256;
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

impl Handler for Door {
    type Error = russh::Error;

    /// The banner goes before the answer to the first request, which names the user; as OpenSSH's server sends it.
    async fn authentication_requested(&mut self, user: &str) -> Result<Option<String>, Self::Error> {
        if std::mem::replace(&mut self.has_banner, true) {
            return Ok(None);
        }
        aside(async move { Ok(self.visit.banner(user).await) }).await
    }

    async fn auth_refused(&mut self, user: &str, method: &str, refusal: AuthRefusal<'_>) -> Result<(), Self::Error> {
        self.visit.attempts().await.refused(user, keys::refused(method, refusal));
        Ok(())
    }

    async fn compute(&mut self, computation: Box<dyn FnOnce() + Send>) {
        aside(async move {
            // Whoever waits for a turn reads nothing, and so would not learn that the connection has ended.
            tokio::select! {
                () = self.visit.computations().run(self.visit.is_known(), computation) => {}
                () = self.visit.line().killed() => {}
            }
        })
        .await
    }

    async fn rekey_requested(&mut self) -> Result<(), Self::Error> {
        self.rekeys.next().await;
        Ok(())
    }

    async fn unknown_request(&mut self, request: UnknownRequest<'_>) -> Result<(), Self::Error> {
        if is_by_the_way(request) {
            return Ok(());
        }
        let request = match request {
            UnknownRequest::ChannelOpen(kind) => format!("channel: {kind}"),
            UnknownRequest::Channel(kind) => format!("channel-request: {kind}"),
            UnknownRequest::Global(kind) => format!("global-request: {kind}"),
            _ => "unknown".to_owned(),
        };
        self.deny(request, ONLY_FILES).await;
        Ok(())
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "none").await {
                return Ok(self.answer(verdict).await);
            }
            self.visit.attempts().await.asked_for_methods(user);
            Ok(self.rejected().await)
        })
        .await
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "publickey").await {
                return Ok(if matches!(verdict, Verdict::Accept(_)) { Auth::Accept } else { self.rejected().await });
            }
            let key = keys::offered(offer.public_key, offer.algorithm, offer.certificate);
            let wanted = self.visit.attempts().await.offered(user, &key).await;
            Ok(if wanted { Auth::Accept } else { self.rejected().await })
        })
        .await
    }

    fn signature_verified(&mut self, flags: Option<u8>) {
        self.flags = flags;
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "publickey").await {
                return Ok(self.answer(verdict).await);
            }
            let key = keys::offered(key.public_key, key.algorithm, None);
            let verdict = self.visit.attempts().await.proven(user, &key, self.flags.take()).await;
            Ok(self.answer(verdict).await)
        })
        .await
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "publickey").await {
                return Ok(self.answer(verdict).await);
            }
            let (identity, certificate) = keys::presented(certificate);
            let verdict =
                self.visit.attempts().await.certificate(user, identity, &certificate, self.flags.take()).await;
            Ok(self.answer(verdict).await)
        })
        .await
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "password").await {
                return Ok(self.answer(verdict).await);
            }
            let password = Secret::new(password.to_owned());
            let verdict = self.visit.attempts().await.password(user, password, PasswordMethod::Plain).await;
            Ok(self.answer(verdict).await)
        })
        .await
    }

    /// One question, and the password or the code is its answer. `Auth::UnsupportedMethod` would end the connection.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        aside(async move {
            if let Some(verdict) = self.inherited(user, "keyboard-interactive").await {
                return Ok(self.answer(verdict).await);
            }
            let Some(mut answers) = response else {
                let question = self.visit.attempts().await.ask(user, self.visit.takes_passwords()).await;
                let Some((prompt, echo)) = question.map(Question::prompt) else { return Ok(self.rejected().await) };
                let prompts = vec![(prompt.into(), echo)];
                return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() });
            };
            let text = |bytes: Option<bytes::Bytes>| Some(Secret::new(String::from_utf8(bytes?.to_vec()).ok()?));
            let (first, second) = (answers.next(), answers.next());
            let answer = if second.is_none() { text(first) } else { None };
            let verdict = self.visit.attempts().await.answered(user, answer).await;
            Ok(self.answer(verdict).await)
        })
        .await
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut SshSession,
    ) -> Result<(), Self::Error> {
        aside(async move {
            if self.login().is_none() {
                reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            } else if self.visit.open_channels() >= MAX_CHANNELS as usize || self.open.len() >= MAX_HALF_CLOSED {
                self.deny("session".into(), "too many channels on one connection").await;
                reply.reject(ChannelOpenFailure::ResourceShortage).await;
            } else {
                let id = channel.id();
                self.open.insert(id);
                let starter = self.visit.channels().start(channel);
                self.starters.insert(id, starter);
                reply.accept().await;
            }
            Ok(())
        })
        .await
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        WINDOW
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut SshSession) -> Result<(), Self::Error> {
        self.open.remove(&channel);
        self.starters.remove(&channel);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        aside(async move {
            let Some(login) = self.login().cloned() else { return session.channel_failure(channel) };
            if name == "sftp" && self.starters.contains_key(&channel) {
                session.channel_success(channel)?;
                self.start(channel, Purpose::Sftp(login.session(Protocol::Sftp)));
                return Ok(());
            }
            self.deny(format!("subsystem: {name}"), ONLY_FILES).await;
            session.channel_failure(channel)?;
            self.start(channel, Purpose::Refused(format!("{ONLY_FILES}\n")));
            Ok(())
        })
        .await
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        aside(async move {
            let Some(login) = self.login().cloned() else { return session.channel_failure(channel) };
            let refusal = match scp::Command::parse(command) {
                Ok(_) if !login.serves(Protocol::Scp) => "the certificate allows SFTP only".to_owned(),
                Ok(command) if self.starters.contains_key(&channel) => {
                    session.channel_success(channel)?;
                    self.start(channel, Purpose::Scp(login.session(Protocol::Scp), command));
                    return Ok(());
                }
                Ok(_) => "a channel runs one command".to_owned(),
                Err(scp::CommandError::NotScp) => ONLY_FILES.to_owned(),
                Err(scp::CommandError::Invalid(sentence)) => sentence,
            };
            self.deny(format!("exec: {}", String::from_utf8_lossy(command)), &refusal).await;
            // Success, so that the client shows the sentence and the exit status.
            session.channel_success(channel)?;
            self.start(channel, Purpose::Refused(format!("{refusal}\n")));
            Ok(())
        })
        .await
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut SshSession) -> Result<(), Self::Error> {
        self.deny("shell".into(), ONLY_FILES).await;
        session.channel_success(channel)?;
        self.start(channel, Purpose::Refused(format!("{ONLY_FILES}\n")));
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.deny("pty-req".into(), ONLY_FILES).await;
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.deny("x11-req".into(), ONLY_FILES).await;
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        _value: &str,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        if is_harmless(name) {
            self.visit.metrics().ignored_environment.add(1);
        } else {
            self.deny(format!("env: {name}"), "environment variables are not accepted").await;
        }
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut SshSession) -> Result<bool, Self::Error> {
        self.deny("auth-agent-req".into(), ONLY_FILES).await;
        Ok(false)
    }

    async fn signal(&mut self, _: ChannelId, _: Sig, _: &mut SshSession) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        originator: &str,
        port: u32,
        reply: ChannelOpenHandle,
        _: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse(format!("x11: {originator}:{port}"), reply).await
    }

    /// A jump. No socket is opened: what is asked for is a declared target, or nothing.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut SshSession,
    ) -> Result<(), Self::Error> {
        aside(async move {
            let may_jump = match self.visit.may_jump(host, port).await {
                Ok(jumped) if self.open.len() >= MAX_HALF_CLOSED => Err(Refused::too_many_channels(&jumped.target)),
                judged => judged,
            };
            match may_jump {
                Ok(jumped) => {
                    self.open.insert(channel.id());
                    // It is waited for there: others are at targets over this connection.
                    let pause = self.jumps.wait(Instant::now());
                    self.visit.jump(jumped, channel, Opening { reply, pause });
                }
                Err(Refused { message, target }) => {
                    self.deny_at(format!("direct-tcpip: {host}:{port}"), message, target.as_deref()).await;
                    reply.reject(prohibited(message)).await;
                }
            }
            Ok(())
        })
        .await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse(format!("forwarded-tcpip: {host}:{port}"), reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse(format!("direct-streamlocal: {path}"), reply).await
    }

    async fn tcpip_forward(&mut self, host: &str, port: &mut u32, _: &mut SshSession) -> Result<bool, Self::Error> {
        self.deny(format!("tcpip-forward: {host}:{port}"), ONLY_FILES).await;
        Ok(false)
    }

    async fn streamlocal_forward(&mut self, path: &str, _: &mut SshSession) -> Result<bool, Self::Error> {
        self.deny(format!("streamlocal-forward: {path}"), ONLY_FILES).await;
        Ok(false)
    }

    async fn cancel_tcpip_forward(&mut self, host: &str, port: u32, _: &mut SshSession) -> Result<bool, Self::Error> {
        self.deny(format!("cancel-tcpip-forward: {host}:{port}"), ONLY_FILES).await;
        Ok(false)
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _: &mut SshSession) -> Result<bool, Self::Error> {
        self.deny(format!("cancel-streamlocal-forward: {path}"), ONLY_FILES).await;
        Ok(false)
    }
}
