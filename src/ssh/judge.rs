//! The decision of somebody outside the gateway on a login whose proofs are all good.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::proof::Accepted;
use crate::audit::Origin;

/// How long the decision may take; later ones count as refusals. Clients give up after half a minute or so.
const DECIDED_WITHIN: Duration = Duration::from_secs(10);

/// A login whose proofs are all good.
#[derive(Debug, Clone)]
pub struct ProvenLogin {
    /// 20 hex digits, as in the events.
    pub session_id: String,
    /// The login name.
    pub user: String,
    /// Where the user comes from, as events name it.
    pub source: String,
    /// The client's address.
    pub source_ip: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The client's version line, if it is known.
    pub client: Option<String>,
    /// `publickey`, `password` and so on.
    pub method: &'static str,
    /// Whether a one-time code was among the proofs.
    pub has_second_factor: bool,
    /// The fingerprint of the key that was proven.
    pub key: Option<String>,
    /// The target, if the user comes through another connection of the gateway.
    pub target: Option<String>,
}

/// Decides on logins.
#[async_trait]
pub trait LoginJudge: Send + Sync + fmt::Debug {
    /// Whether this login goes on.
    ///
    /// # Errors
    /// Why not, for operators. The client does not learn it.
    async fn judge(&self, login: &ProvenLogin) -> Result<(), String>;
}

/// Asks the judge. Where it does not answer, or panics, nobody gets in.
pub(super) async fn judge(judge: &dyn LoginJudge, origin: &Origin, accepted: &Accepted) -> Result<(), String> {
    let login = ProvenLogin {
        session_id: origin.session_id.to_string(),
        user: accepted.user.name.to_string(),
        source: accepted.user.source.to_string(),
        source_ip: origin.source_ip,
        source_port: origin.source_port,
        client: origin.client.as_deref().map(str::to_owned),
        method: accepted.method,
        has_second_factor: accepted.second_factor.is_some(),
        key: accepted.key.as_ref().map(|key| key.fingerprint.clone()),
        target: origin.jump.as_ref().map(|jump| jump.target().to_string()),
    };
    let late = || format!("there was no decision within {} s", DECIDED_WITHIN.as_secs());
    timeout(DECIDED_WITHIN, judge.judge(&login)).await.unwrap_or_else(|_| Err(late()))
}
