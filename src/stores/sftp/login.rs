//! How the account logs in to an upstream server: by key or certificate, then by password, or by the one question that asks for it.
//!
//! Nobody is there to answer any other question, so one that is asked is named in the error.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Signer;
use russh::client::KeyboardInteractiveAuthResponse;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg};

use super::connection::{ConnectError, Session};
use super::settings::Upstream;

/// Logs in with what the options have.
///
/// # Errors
/// Final ones where the server lets the account not in; of the connection.
pub(super) async fn log_in(session: &mut Session, upstream: &Upstream) -> Result<(), ConnectError> {
    if let Some(key) = &upstream.private_key
        && by_key(session, upstream, key).await?
    {
        return Ok(());
    }
    let mut asked = None;
    if let Some(password) = &upstream.password {
        let by_password = session.authenticate_password(&upstream.user, password.expose()).await?;
        if by_password.success() {
            return Ok(());
        }
        match answer_questions(session, upstream, password.expose()).await? {
            Asked::LetIn => return Ok(()),
            Asked::Refused => {}
            Asked::More(question) => asked = Some(question),
        }
    }
    let mut message = format!("the server refuses the account {:?} with the credentials in the options", upstream.user);
    if let Some(question) = asked {
        message +=
            &format!("; it asks {question:?}, but the password answers only one question whose answer is hidden");
    }
    if let Some(when) = upstream.certificate.as_ref().and_then(|certificate| untimely(certificate, SystemTime::now())) {
        message += &format!("; the certificate {when}");
    }
    Err(ConnectError { message, is_final: true, denied: true })
}

async fn by_key(session: &mut Session, upstream: &Upstream, key: &Arc<PrivateKey>) -> Result<bool, ConnectError> {
    // Never SHA-1: a server that says nothing has at least SHA-2 (RFC 8332) or is too old.
    let hash = match key.algorithm().is_rsa() {
        true => session.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha256)),
        false => None,
    };
    let result = match &upstream.certificate {
        Some(certificate) => {
            // The library's own way for a key in memory signs with SHA-1 where the key is RSA.
            let mut signer = InMemory(Arc::clone(key));
            session.authenticate_certificate_with(&upstream.user, certificate.clone(), hash, &mut signer).await?
        }
        None => {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            session.authenticate_publickey(&upstream.user, key).await?
        }
    };
    Ok(result.success())
}

/// Signs with a key as an agent would.
struct InMemory(Arc<PrivateKey>);

impl Signer for InMemory {
    type Error = ConnectError;

    /// What is to be signed, with the signature behind it (RFC 4252 section 7).
    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, ConnectError> {
        let failed = || ConnectError::for_now("the private key cannot sign");
        let signature = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&to_sign),
            pair => pair.try_sign(&to_sign),
        };
        let signature: Signature = signature.map_err(|_| failed())?;
        let encoded = Vec::try_from(signature).map_err(|_| failed())?;
        to_sign.extend(u32::try_from(encoded.len()).map_err(|_| failed())?.to_be_bytes());
        to_sign.extend(encoded);
        Ok(to_sign)
    }
}

/// Why a certificate is good for nobody at this time.
fn untimely(certificate: &Certificate, now: SystemTime) -> Option<&'static str> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match (certificate.valid_after(), certificate.valid_before()) {
        (after, _) if now < after => Some("is not valid yet"),
        (_, before) if now >= before => Some("has expired"),
        _ => None,
    }
}

/// How questions ended.
enum Asked {
    LetIn,
    Refused,
    /// This one is not for a password.
    More(String),
}

/// The longest question that an error repeats, in characters.
const LONGEST_QUESTION: usize = 100;

/// Answers one question whose answer does not show with the password: how many servers ask for passwords.
async fn answer_questions(session: &mut Session, upstream: &Upstream, password: &str) -> Result<Asked, ConnectError> {
    let mut step = session.authenticate_keyboard_interactive_start(&upstream.user, None).await?;
    for _ in 0..3 {
        step = match step {
            KeyboardInteractiveAuthResponse::Success => return Ok(Asked::LetIn),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(Asked::Refused),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = match prompts.as_slice() {
                    [] => Vec::new(),
                    [question] if !question.echo => vec![password.to_owned()],
                    [.., last] => {
                        return Ok(Asked::More(last.prompt.trim().chars().take(LONGEST_QUESTION).collect()));
                    }
                };
                session.authenticate_keyboard_interactive_respond(answers).await?
            }
        };
    }
    Ok(Asked::Refused)
}
