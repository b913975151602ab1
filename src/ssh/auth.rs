//! Attempts to log in: who is asked, what is answered, and what is recorded of each.
//!
//! Only a verified key or a password that matches lets anybody in. An unknown user and a wrong key get the same answer.

use std::sync::Arc;

use crate::audit::{Activity, AuthFailure, AuthFailureReason, KeyIdentity, Origin, Recorder};
use crate::secret::Secret;
use crate::users::{Attempt, AuthMode, AuthorizedKey, Directory, PasswordVerifier, User};

use super::stream::Line;

/// The longest user name that is looked up or shown, in bytes.
const MAX_USER_NAME: usize = 255;

/// A key as a client offers it.
pub(super) struct OfferedKey {
    /// In SSH wire form.
    pub(super) blob: Vec<u8>,
    /// As events show it.
    pub(super) identity: KeyIdentity,
    /// Whether it would sign with SHA-1.
    pub(super) uses_sha1: bool,
}

/// What becomes of an attempt.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Let in.
    Accept(Accepted),
    /// The key is proven; the password is still needed.
    Continue,
    /// Refused.
    Reject,
}

/// Who is let in, and how.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) user: Arc<User>,
    /// `publickey`, `password`, `publickey,password`.
    pub(super) method: &'static str,
    pub(super) key: Option<KeyIdentity>,
}

/// Where users and answers come from.
#[derive(Debug, Clone)]
pub(super) struct Examiner {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) verifier: Arc<PasswordVerifier>,
    pub(super) recorder: Recorder,
}

/// The attempts of one connection.
#[derive(Debug)]
pub(super) struct Attempts {
    examiner: Examiner,
    origin: Origin,
    line: Arc<Line>,
    count: u32,
    /// A key whose offer was accepted; the signature has not come yet.
    unproven: Option<(Arc<str>, KeyIdentity)>,
    /// A key that was proven and needs a password too.
    proven: Option<(Arc<str>, KeyIdentity)>,
    let_in: bool,
}

impl Attempts {
    pub(super) fn new(examiner: Examiner, origin: Origin, line: Arc<Line>) -> Self {
        Attempts { examiner, origin, line, count: 0, unproven: None, proven: None, let_in: false }
    }

    /// The origin with what is known by now.
    pub(super) fn origin(&self) -> Origin {
        let mut origin = self.origin.clone();
        origin.client = self.line.client_version();
        origin
    }

    /// Each request names a user; what was proven for another one is forgotten.
    fn name_user(&mut self, user: &str) {
        let name: Arc<str> = Arc::from(shortened(user));
        if self.origin.user.as_ref() != Some(&name) {
            self.proven = None;
        }
        self.origin.user = Some(name);
    }

    /// How many attempts have failed.
    pub(super) fn failed(&self) -> u32 {
        self.count
    }

    /// The method `none`: every OpenSSH client begins with it, to hear which methods there are. Not an attempt.
    pub(super) fn asked_for_methods(&mut self, user: &str) {
        self.name_user(user);
    }

    /// A key is offered, not proven. True if a signature with it would be accepted.
    pub(super) async fn offered(&mut self, user: &str, key: &OfferedKey) -> bool {
        self.settle_unproven().await;
        self.name_user(user);
        match self.judge_key(user, key).await {
            Ok(_) => {
                self.unproven = Some((Arc::from(shortened(user)), key.identity.clone()));
                true
            }
            Err(reason) => {
                self.fail("publickey", reason, Some(key.identity.clone())).await;
                false
            }
        }
    }

    /// A key was proven: the signature is good.
    pub(super) async fn proven(&mut self, user: &str, key: &OfferedKey) -> Verdict {
        self.unproven = None;
        self.name_user(user);
        match self.judge_key(user, key).await {
            Ok((user, identity)) if user.auth == AuthMode::PublicKeyAndPassword => {
                self.proven = Some((user.name.clone(), identity));
                Verdict::Continue
            }
            Ok((user, identity)) => Verdict::Accept(Accepted { user, method: "publickey", key: Some(identity) }),
            Err(reason) => {
                self.fail("publickey", reason, Some(key.identity.clone())).await;
                Verdict::Reject
            }
        }
    }

    /// A certificate was offered and its signature is good. Certificates are not accepted.
    pub(super) async fn certificate(&mut self, user: &str, key: &OfferedKey) {
        self.unproven = None;
        self.name_user(user);
        self.fail("publickey", AuthFailureReason::KeyNotAuthorized, Some(key.identity.clone())).await;
    }

    /// A password is given. It is checked, or a decoy is, whoever the user is: all refusals take the same time.
    pub(super) async fn password(&mut self, user: &str, password: Secret) -> Verdict {
        self.settle_unproven().await;
        self.name_user(user);
        let found = self.find(user).await;
        let hash = found.as_ref().ok().and_then(|user| user.password.as_ref());
        let matches = self.examiner.verifier.verify(hash, password).await;
        match found.and_then(|user| self.judge_password(user, matches)) {
            Ok(accepted) => Verdict::Accept(accepted),
            Err(reason) => {
                self.fail("password", reason, None).await;
                Verdict::Reject
            }
        }
    }

    /// Lets the connection in; nothing is recorded as a failure any more.
    pub(super) fn succeeded(&mut self) {
        self.let_in = true;
        self.unproven = None;
        self.proven = None;
    }

    /// The connection is over. Records what the client left open: a key that it was asked to prove and did not, or that it
    /// never offered anything. `why` is for a client that ran out of time.
    pub(super) async fn ended(&mut self, why: AuthFailureReason) {
        if self.let_in {
            return;
        }
        self.settle_unproven().await;
        if self.count == 0 && self.proven.is_none() {
            self.fail("none", why, None).await;
        }
    }

    /// The client was told that a key would do, and went on with something else: the signature was wrong or never came.
    /// The library does not tell which.
    async fn settle_unproven(&mut self) {
        if let Some((user, identity)) = self.unproven.take() {
            let now = self.origin.user.replace(user);
            self.fail("publickey", AuthFailureReason::BadSignature, Some(identity)).await;
            self.origin.user = now;
        }
    }

    async fn find(&self, name: &str) -> Result<Arc<User>, AuthFailureReason> {
        let attempt = Attempt { source_ip: self.origin.source_ip };
        match self.examiner.directory.find(name, &attempt).await {
            Ok(Some(user)) if user.enabled => Ok(user),
            Ok(Some(_)) => Err(AuthFailureReason::UserDisabled),
            Ok(None) => Err(AuthFailureReason::UnknownUser),
            Err(error) => {
                tracing::error!(%error, "a login is refused");
                Err(AuthFailureReason::DirectoryUnavailable)
            }
        }
    }

    async fn judge_key(&self, user: &str, key: &OfferedKey) -> Result<(Arc<User>, KeyIdentity), AuthFailureReason> {
        let user = self.find(user).await?;
        if key.uses_sha1 {
            return Err(AuthFailureReason::AlgorithmNotAllowed);
        }
        if !user.auth.takes_key() {
            return Err(AuthFailureReason::MethodNotAllowed);
        }
        let matches = |known: &&AuthorizedKey| !key.blob.is_empty() && known.blob() == key.blob;
        let known = user.keys.iter().find(matches).ok_or(AuthFailureReason::KeyNotAuthorized)?;
        let identity = KeyIdentity { comment: known.comment().map(str::to_owned), ..key.identity.clone() };
        Ok((user, identity))
    }

    fn judge_password(&mut self, user: Arc<User>, matches: bool) -> Result<Accepted, AuthFailureReason> {
        let proven = self.proven.as_ref().filter(|(name, _)| *name == user.name).map(|(_, key)| key.clone());
        match user.auth {
            AuthMode::PublicKey => Err(AuthFailureReason::MethodNotAllowed),
            AuthMode::PublicKeyAndPassword if proven.is_none() => Err(AuthFailureReason::MethodNotAllowed),
            _ if !matches => Err(AuthFailureReason::BadPassword),
            AuthMode::PublicKeyAndPassword => Ok(Accepted { user, method: "publickey,password", key: proven }),
            AuthMode::Password | AuthMode::PublicKeyOrPassword => Ok(Accepted { user, method: "password", key: None }),
        }
    }

    async fn fail(&mut self, method: &'static str, reason: AuthFailureReason, key: Option<KeyIdentity>) {
        self.count += 1;
        let algorithms = self.line.algorithms();
        let failure = AuthFailure { method, reason, key, attempt: self.count, algorithms };
        let activity = Activity::AuthFailure(Box::new(failure));
        if let Err(error) = self.examiner.recorder.record(&self.origin(), activity).await {
            // The attempt is refused all the same: nothing happened that the trail would miss but the attempt itself.
            tracing::error!(%error, "an AUTH_FAILURE event was lost");
        }
    }
}

/// A user name cut to [`MAX_USER_NAME`] bytes at a character's end. A longer name is no user's.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(MAX_USER_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
