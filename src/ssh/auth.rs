//! Attempts to log in: how each is judged, answered and recorded.
//!
//! Only a verified key, a certificate or a password that matches lets anybody in. An unknown user, a wrong key and a user who
//! may not log in get the same answer.

mod code;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::Utc;

use crate::audit::{Activity, AuthFailure, AuthFailureReason, KeyIdentity, Origin, Recorder};
use crate::secret::Secret;
use crate::session::gate::{Gate, Shown};
use crate::users::{
    Attempt, AuthorizedKey, Certificate, CertificateGrant, Checked, Circumstances, Directory, DirectoryError, Knock,
    PasswordHash, PasswordVerifier, Presence, Revoked, User,
};

use super::codes::Codes;
use super::faults::{Blame, absent_of, facts_of, reason_of};
use super::proof::{Accepted, Factor, Given, OfferedKey, PasswordMethod, Proof, Question, Refused, Verdict};
use super::stream::Line;
use super::waiting::Waiting;
use super::{Homes, Shared};

/// How many keys one connection may ask about with success without signing. Agents hold a few that are the user's.
const MOST_QUERIES: u32 = 20;

/// The `method` of a login whose proof is that of the connection that it came through.
const INHERITED: &str = "inherited";

/// The longest user name that is looked up or shown, in bytes.
const MAX_USER_NAME: usize = 255;

/// Where users and answers come from.
#[derive(Debug, Clone)]
pub(super) struct Examiner {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) verifier: Arc<PasswordVerifier>,
    /// What is checked for whoever has no password.
    pub(super) decoy: PasswordHash,
    pub(super) recorder: Recorder,
    /// Authorities whose certificates are accepted for every user.
    pub(super) authorities: Arc<[AuthorizedKey]>,
    /// Keys and certificates that let nobody in.
    pub(super) revoked: Arc<Revoked>,
    /// Which one-time codes were used, and how many were wrong.
    pub(super) codes: Arc<Codes>,
    /// Who hears of failures.
    pub(super) gate: Arc<Gate>,
}

impl Examiner {
    /// Judges those whom `directory` knows; the rest is as `homes` has it.
    pub(super) fn new(shared: &Shared, homes: &Homes, directory: Arc<dyn Directory>) -> Examiner {
        Examiner {
            directory,
            verifier: shared.verifier.clone(),
            decoy: homes.decoy.clone(),
            recorder: shared.recorder.clone(),
            authorities: homes.authorities.clone(),
            revoked: homes.revoked.clone(),
            codes: shared.codes.clone(),
            gate: shared.gate.clone(),
        }
    }
}

/// A key that was asked for a signature, which has not come yet.
#[derive(Debug)]
struct Unproven {
    user: Arc<str>,
    identity: KeyIdentity,
}

/// A key that is one of the user's.
#[derive(Debug)]
struct Judged {
    user: Arc<User>,
    identity: KeyIdentity,
    /// What its signature has to show.
    presence: Presence,
}

/// An attempt that is being examined.
#[derive(Debug)]
struct Examined {
    method: &'static str,
    key: Option<KeyIdentity>,
    /// What it is refused for if the answer does not come.
    if_late: AuthFailureReason,
}

/// Why an attempt fails.
#[derive(Debug)]
struct Why {
    reason: AuthFailureReason,
    /// More about it, for operators.
    cause: Option<String>,
}

impl From<AuthFailureReason> for Why {
    fn from(reason: AuthFailureReason) -> Why {
        Why { reason, cause: None }
    }
}

/// The attempts of one connection.
#[derive(Debug)]
pub(super) struct Attempts {
    examiner: Examiner,
    origin: Origin,
    /// The name that the client gave last: its user's, or at a target the account's.
    named: Option<Arc<str>>,
    line: Arc<Line>,
    count: u32,
    /// How often the client asked which methods there are.
    questions: u32,
    blame: Blame,
    unproven: Option<Unproven>,
    /// What is being examined; still there when that was cut off.
    examined: Option<Examined>,
    waiting: Arc<Waiting>,
    /// How often a signature was asked for.
    queries: u32,
    /// The keys of which it is on record that they were offered and not signed with, and whose.
    told: HashSet<(Arc<str>, String)>,
    /// Who was asked for what and has not answered.
    asked: Option<(Arc<str>, Question)>,
    /// The proofs of a user who owes another one.
    given: Option<Given>,
    let_in: bool,
}

impl Attempts {
    pub(super) fn new(examiner: Examiner, origin: Origin, line: Arc<Line>) -> Self {
        let waiting = Arc::<Waiting>::default();
        Attempts {
            blame: Blame::new(origin.jump.is_some(), waiting.clone()),
            examiner,
            origin,
            named: None,
            line,
            count: 0,
            questions: 0,
            unproven: None,
            examined: None,
            waiting,
            queries: 0,
            told: HashSet::new(),
            asked: None,
            given: None,
            let_in: false,
        }
    }

    /// The origin with what is known by now.
    pub(super) fn origin(&self) -> Origin {
        let mut origin = self.origin.clone();
        origin.client = self.line.client_version();
        origin
    }

    /// Whether the client waits for an answer.
    pub(super) fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }

    /// How many requests were refused, those for the list of methods among them.
    pub(super) fn refusals(&self) -> u32 {
        self.count + self.questions
    }

    /// From now on what goes wrong is not the client's fault.
    pub(super) fn excuse(&mut self) {
        self.blame.excuse();
    }

    /// What the connection is to blame for.
    pub(super) fn blame(&self) -> &Blame {
        &self.blame
    }

    /// The proof that the user still owes, when another one is given.
    pub(super) fn owed(&self) -> Option<Factor> {
        self.given.as_ref().and_then(Given::owed)
    }

    /// The method `none`: every OpenSSH client begins with it, to hear which methods there are. Not an attempt.
    pub(super) fn asked_for_methods(&mut self, user: &str) {
        self.next_request(user);
        self.questions += 1;
    }

    /// A key is offered, by itself or in a certificate, and not proven. True if a signature with it is wanted.
    pub(super) async fn offered(&mut self, user: &str, key: &OfferedKey) -> bool {
        self.next_request(user);
        self.examines("publickey", Some(&key.identity));
        let judged = match &key.certificate {
            Some(certificate) => self.judge_certificate(user, key, certificate).await.map(|_| key.identity.clone()),
            None => self.judge_key(user, key).await.map(|judged| judged.identity),
        };
        let judged = judged.and_then(|identity| match self.queries {
            MOST_QUERIES.. => Err(AuthFailureReason::MethodNotAllowed.into()),
            _ => Ok(identity),
        });
        match judged {
            Ok(identity) => {
                self.queries += 1;
                self.examined = None;
                self.unproven = Some(Unproven { user: Arc::from(shortened(user)), identity });
                true
            }
            Err(reason) => {
                self.fail("publickey", reason, Some(key.identity.clone()));
                false
            }
        }
    }

    /// Somebody asks, by whatever method, to be let in whose earlier login is proof enough, with what was shown there.
    pub(super) async fn inherited(
        &mut self,
        account: &str,
        method: &'static str,
        (key, only_sftp): (Option<KeyIdentity>, bool),
    ) -> Verdict {
        self.next_request(account);
        let found = self.find(account).await;
        match found.and_then(|user| user.admits(self.circumstances()).map(|()| user).map_err(|no| reason_of(no).into()))
        {
            Ok(user) => {
                let (second_factor, proof_ends) = (None, None);
                Verdict::Accept(Box::new(Accepted {
                    user,
                    method: INHERITED,
                    second_factor,
                    key,
                    only_sftp,
                    proof_ends,
                }))
            }
            Err(why) => self.reject(method, why, key),
        }
    }

    /// The SSH library refused a request by itself.
    pub(super) fn refused(&mut self, user: &str, refused: Refused) {
        // A wrong signature is what became of the offer.
        if refused.reason == AuthFailureReason::BadSignature
            && self.unproven.as_ref().is_some_and(|open| {
                *open.user == *shortened(user)
                    && refused.key.as_ref().is_some_and(|key| key.fingerprint == open.identity.fingerprint)
            })
        {
            self.unproven = None;
        }
        self.next_request(user);
        self.fail(refused.method, refused.reason, refused.key);
    }

    /// A key was proven: the signature is good. `flags` is what a security key says of it.
    pub(super) async fn proven(&mut self, user: &str, key: &OfferedKey, flags: Option<u8>) -> Verdict {
        self.unproven = None;
        self.next_request(user);
        self.examines("publickey", Some(&key.identity));
        let judged = self.judge_key(user, key).await;
        match judged
            .and_then(|judged| judged.presence.judge(flags).map(|()| judged).map_err(|absent| absent_of(absent).into()))
        {
            Ok(Judged { user, identity, .. }) => {
                self.one_is_good(user, Proof::Key { identity, only_sftp: false, ends: None })
            }
            Err(reason) => self.reject("publickey", reason, Some(key.identity.clone())),
        }
    }

    /// A certificate was shown and the signature with its key is good.
    pub(super) async fn certificate(
        &mut self,
        user: &str,
        identity: KeyIdentity,
        certificate: &Certificate,
        flags: Option<u8>,
    ) -> Verdict {
        self.unproven = None;
        self.next_request(user);
        self.examines("publickey", Some(&identity));
        let judged = self.authorize(user, &identity, certificate).await;
        let shown = |grant: &CertificateGrant| grant.presence.judge(flags).map_err(|absent| absent_of(absent).into());
        match judged.and_then(|(user, grant)| shown(&grant).map(|()| (user, grant))) {
            Ok((user, CertificateGrant { only_sftp, ends, .. })) => {
                self.one_is_good(user, Proof::Key { identity, only_sftp, ends })
            }
            Err(reason) => self.reject("publickey", reason, Some(identity)),
        }
    }

    /// Something is to be asked for: a code, of whoever owes one, or else a password. `None` where nobody has one.
    pub(super) async fn ask(&mut self, user: &str, with_passwords: bool) -> Option<Question> {
        self.next_request(user);
        let question = match self.owed() {
            Some(Factor::Code) => Question::Code,
            _ if with_passwords => Question::Password,
            _ => {
                self.cannot_ask(user).await;
                return None;
            }
        };
        self.asked = Some((Arc::from(shortened(user)), question));
        Some(question)
    }

    async fn cannot_ask(&mut self, user: &str) {
        self.examines(PasswordMethod::KeyboardInteractive.name(), None);
        let reason = self.find(user).await.err().unwrap_or(AuthFailureReason::MethodNotAllowed.into());
        self.fail(PasswordMethod::KeyboardInteractive.name(), reason, None);
    }

    /// The answer to [`Attempts::ask`]. `None` when it was not one answer.
    pub(super) async fn answered(&mut self, user: &str, answer: Option<Secret>) -> Verdict {
        let asked = self.asked.take().filter(|(asked, _)| **asked == *shortened(user));
        match (answer, asked) {
            (Some(code), Some((_, Question::Code))) => self.code(user, code).await,
            (Some(password), Some(_)) => self.password(user, password, PasswordMethod::KeyboardInteractive).await,
            _ => {
                self.next_request(user);
                self.reject("keyboard-interactive", AuthFailureReason::NotExamined, None)
            }
        }
    }

    /// A password is given. It is checked, or a decoy is, whoever the user is: all refusals take the same time.
    pub(super) async fn password(&mut self, user: &str, password: Secret, method: PasswordMethod) -> Verdict {
        self.next_request(user);
        if self.is_banned() {
            return self.reject(method.name(), AuthFailureReason::Banned, None);
        }
        self.examines(method.name(), None);
        let found = self.find_with_password(user, &password).await;
        if let Some(examined) = &mut self.examined {
            examined.if_late = AuthFailureReason::TooManyPasswordChecks;
        }
        let checked = match &found {
            Ok((_, true)) => Checked::Matches,
            found => {
                let hash = found.as_ref().ok().and_then(|(user, _)| user.password.as_ref());
                self.waiting.during(self.examiner.verifier.verify(hash, &self.examiner.decoy, password)).await
            }
        };
        let judged = found.and_then(|(user, _)| self.judge_password(user, checked));
        // A ban that came meanwhile, by another connection's guesses, leaves this one without an answer.
        let judged = if self.is_banned() { Err(AuthFailureReason::Banned.into()) } else { judged };
        match judged {
            Ok(user) => self.one_is_good(user, Proof::Password(method)),
            Err(reason) => self.reject(method.name(), reason, None),
        }
    }

    /// Who was accepted is turned away all the same.
    pub(super) fn turn_away(&mut self, accepted: Accepted, reason: AuthFailureReason) {
        self.fail(accepted.method, reason, accepted.key);
    }

    /// The same, with more about it for operators.
    pub(super) fn turn_away_because(&mut self, accepted: Accepted, reason: AuthFailureReason, cause: String) {
        self.fail(accepted.method, Why { reason, cause: Some(cause) }, accepted.key);
    }

    /// Lets the connection in; nothing is recorded as a failure any more.
    pub(super) fn succeeded(&mut self) {
        self.let_in = true;
        self.unproven = None;
        self.given = None;
    }

    /// The connection is over. Records what the client left open: a key that it was asked to prove and did not, a second proof
    /// that never came, or that it never offered anything. `why` is for a client that ran out of time.
    pub(super) fn ended(&mut self, why: AuthFailureReason) {
        if self.let_in {
            return;
        }
        if let Some(Examined { method, key, if_late }) = self.examined.take_if(|_| self.waiting.is_late()) {
            self.fail(method, if_late, key);
        }
        self.settle();
        self.drop_given();
        if self.count == 0 && !self.blame.is_excused() {
            self.fail("none", why, None);
        }
    }

    /// An attempt is examined from now on, until it fails or succeeds.
    fn examines(&mut self, method: &'static str, key: Option<&KeyIdentity>) {
        let if_late = AuthFailureReason::DirectoryUnavailable;
        self.examined = Some(Examined { method, key: key.cloned(), if_late });
    }

    /// Each request names a user; what was proven for another one is forgotten.
    fn next_request(&mut self, user: &str) {
        self.examined = None;
        self.line.shows(Shown::Attempt);
        self.settle();
        let name: Arc<str> = Arc::from(shortened(user));
        if self.named.as_ref() != Some(&name) {
            self.drop_given();
            self.asked = None;
            self.name(Some(name));
        }
    }

    /// From now on events name this one; who was named before.
    fn name(&mut self, name: Option<Arc<str>>) -> Option<Arc<str>> {
        match (&self.origin.jump, &name) {
            (Some(jump), Some(account)) => self.origin.jump = Some(jump.as_account(account.clone())),
            (Some(_), None) => {}
            (None, _) => self.origin.user.clone_from(&name),
        }
        std::mem::replace(&mut self.named, name)
    }

    /// Records, once, a key that was asked for a signature which did not come.
    fn settle(&mut self) {
        let Some(open) = self.unproven.take() else { return };
        if !self.told.insert((open.user.clone(), open.identity.fingerprint.clone())) {
            return;
        }
        let named = self.name(Some(open.user));
        self.fail("publickey", AuthFailureReason::OfferedNotSigned, Some(open.identity));
        self.name(named);
    }

    fn drop_given(&mut self) {
        let Some(given) = self.given.take() else { return };
        let named = self.name(Some(given.user().name.clone()));
        self.fail(given.method(), AuthFailureReason::SecondFactorMissing, given.key().cloned());
        self.name(named);
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances { now: Utc::now(), source: self.origin.source_ip }
    }

    async fn find(&self, name: &str) -> Result<Arc<User>, Why> {
        let attempt = Attempt { source_ip: self.origin.source_ip };
        let found = self.waiting.during(self.examiner.directory.find(name, &attempt)).await;
        found.map_err(|error| self.unavailable(&error))?.ok_or(self.unknown().into())
    }

    /// Why nobody of the name that was given may log in.
    fn unknown(&self) -> AuthFailureReason {
        match self.origin.jump {
            Some(_) => AuthFailureReason::AccountNotAllowed,
            None => AuthFailureReason::UnknownUser,
        }
    }

    /// The users' source does not do its part.
    fn unavailable(&self, error: &DirectoryError) -> Why {
        let Origin { session_id, source_ip, user, .. } = &self.origin;
        let user = user.as_deref().unwrap_or_default();
        tracing::error!(%error, user, address = %source_ip.to_canonical(), session = %session_id, "a login is refused");
        let reason = match error {
            DirectoryError::Silent { .. } => AuthFailureReason::DirectoryUnavailable,
            DirectoryError::Unusable { .. } => AuthFailureReason::DirectoryAnswerUnusable,
        };
        Why { reason, cause: Some(error.to_string()) }
    }

    /// The user, and whether the users' source says by itself that the password is right.
    async fn find_with_password(&self, name: &str, password: &Secret) -> Result<(Arc<User>, bool), Why> {
        let attempt = Attempt { source_ip: self.origin.source_ip };
        let found = self.examiner.directory.find_with_password(name, password, &attempt);
        match self.waiting.during(found).await.map_err(|error| self.unavailable(&error))? {
            Knock::Known(user) => Ok((user, false)),
            Knock::Proven(user) => Ok((user, true)),
            Knock::Refused => Err(AuthFailureReason::BadPassword.into()),
            Knock::Unknown => Err(self.unknown().into()),
        }
    }

    async fn judge_key(&self, user: &str, key: &OfferedKey) -> Result<Judged, Why> {
        let user = self.find(user).await?;
        if key.uses_sha1 {
            return Err(AuthFailureReason::AlgorithmNotAllowed.into());
        }
        let known = user.authorize_key(&key.blob, self.circumstances()).map_err(reason_of)?;
        if self.examiner.revoked.revokes(&key.blob, None) {
            return Err(AuthFailureReason::KeyRevoked.into());
        }
        let identity = KeyIdentity { comment: known.comment().map(str::to_owned), ..key.identity.clone() };
        let presence = known.presence();
        Ok(Judged { user, identity, presence })
    }

    async fn judge_certificate(&self, user: &str, key: &OfferedKey, certificate: &Certificate) -> Result<(), Why> {
        let granted = self.authorize(user, &key.identity, certificate).await;
        if key.uses_sha1 { Err(AuthFailureReason::AlgorithmNotAllowed.into()) } else { granted.map(|_| ()) }
    }

    async fn authorize(
        &self,
        user: &str,
        identity: &KeyIdentity,
        certificate: &Certificate,
    ) -> Result<(Arc<User>, CertificateGrant), Why> {
        let user = self.find(user).await?;
        let granted = user.authorize_certificate(certificate, &self.examiner.authorities, self.circumstances());
        let granted = granted.map_err(reason_of)?;
        let revoked = &self.examiner.revoked;
        if revoked.revokes(&certificate.key, facts_of(identity)) || revoked.revokes_authority(&certificate.authority) {
            return Err(AuthFailureReason::KeyRevoked.into());
        }
        Ok((user, granted))
    }

    fn judge_password(&self, user: Arc<User>, checked: Checked) -> Result<Arc<User>, Why> {
        user.admits(self.circumstances()).map_err(reason_of)?;
        if !user.auth.takes_password() {
            return Err(AuthFailureReason::MethodNotAllowed.into());
        }
        match checked {
            Checked::Matches => Ok(user),
            Checked::Differs => Err(AuthFailureReason::BadPassword.into()),
            Checked::TooMany => Err(AuthFailureReason::TooManyPasswordChecks.into()),
        }
    }

    /// Lets the user in when nothing else is needed; remembers the proof when another one is.
    fn one_is_good(&mut self, user: Arc<User>, proof: Proof) -> Verdict {
        self.examined = None;
        let given = Given::with(self.given.take(), user, proof);
        match given.owed() {
            None => Verdict::Accept(Box::new(given.accepted())),
            Some(owed) => {
                self.given = Some(given);
                Verdict::Continue(owed)
            }
        }
    }

    fn reject(&mut self, method: &'static str, why: impl Into<Why>, key: Option<KeyIdentity>) -> Verdict {
        self.fail(method, why, key);
        Verdict::Reject
    }

    /// Counts a failure against the client's address, at the moment when it happens. False when the address was banned before.
    fn counts(&mut self, method: &str, reason: AuthFailureReason) -> bool {
        let fault = self.blame.of_attempt(method, reason);
        fault.is_none_or(|fault| self.examiner.gate.blame(self.origin.source_ip, fault))
    }

    fn is_banned(&self) -> bool {
        self.origin.jump.is_none() && self.examiner.gate.banned_for(self.origin.source_ip).is_some()
    }

    fn fail(&mut self, method: &'static str, why: impl Into<Why>, key: Option<KeyIdentity>) {
        let Why { reason, cause } = why.into();
        self.examined = None;
        self.count += 1;
        let reason = if self.counts(method, reason) { reason } else { AuthFailureReason::Banned };
        let algorithms = self.line.algorithms();
        let failure = AuthFailure { method, reason, cause, key, attempt: self.count, algorithms };
        let activity = Activity::AuthFailure(Box::new(failure));
        // The attempt is refused whatever becomes of its event, so nobody waits for that.
        drop(self.examiner.recorder.record_stranger(&self.origin(), &activity));
    }
}

/// A user name cut to [`MAX_USER_NAME`] bytes at a character's end. A longer name is no user's.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_USER_NAME)]
}
