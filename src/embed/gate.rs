//! A decision on each login that the program brings along.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::ssh::{self, LoginJudge};

/// Decides on each login after its proofs were found good, and before the session begins: by the time of day, by an agreement that was
/// signed, by what another system says.
///
/// A refused login is recorded as AUTH_FAILURE with the reason `login-refused`, and bans nobody. The client learns nothing of the reason. A
/// gate that does not decide within ten seconds refuses.
///
/// ```
/// use lockgate::{Decision, LoginGate, ProvenLogin, async_trait};
///
/// #[derive(Debug)]
/// struct OnlyFromInside;
///
/// #[async_trait]
/// impl LoginGate for OnlyFromInside {
///     async fn decide(&self, login: &ProvenLogin) -> Decision {
///         if login.source_ip.is_loopback() { Decision::Allow } else { Decision::refuse("not from this network") }
///     }
/// }
/// ```
#[async_trait]
pub trait LoginGate: Send + Sync + fmt::Debug + 'static {
    /// Whether this login goes on.
    async fn decide(&self, login: &ProvenLogin) -> Decision;
}

/// What a gate decides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The session begins.
    Allow,
    /// It does not. Why not is recorded in the event (`cause`).
    Refuse(String),
}

impl Decision {
    /// [`Decision::Refuse`] for this reason.
    pub fn refuse(why: impl Into<String>) -> Decision {
        Decision::Refuse(why.into())
    }
}

/// A login whose proofs are all good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProvenLogin {
    /// The id of the session that would begin: 20 hex digits, as in the events.
    pub session_id: String,
    /// The login name.
    pub user: String,
    /// Where the user comes from: `configuration`, or the label of a directory.
    pub source: String,
    /// The client's address.
    pub source_ip: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// What the client calls itself.
    pub client: Option<String>,
    /// `publickey`, `password` and so on.
    pub method: String,
    /// Whether a one-time code was among the proofs.
    pub has_second_factor: bool,
    /// The fingerprint of the key that was proven.
    pub key: Option<String>,
    /// The target, if the user comes through another connection of the gateway.
    pub target: Option<String>,
}

/// The gate as the SSH door asks it.
#[derive(Debug)]
pub(super) struct Judge(pub(super) Arc<dyn LoginGate>);

#[async_trait]
impl LoginJudge for Judge {
    async fn judge(&self, login: &ssh::ProvenLogin) -> Result<(), String> {
        let login = login.clone();
        let login = ProvenLogin {
            session_id: login.session_id,
            user: login.user,
            source: login.source,
            source_ip: login.source_ip,
            source_port: login.source_port,
            client: login.client,
            method: login.method.to_owned(),
            has_second_factor: login.has_second_factor,
            key: login.key,
            target: login.target,
        };
        match self.0.decide(&login).await {
            Decision::Allow => Ok(()),
            Decision::Refuse(why) => Err(why),
        }
    }
}
