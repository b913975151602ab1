//! Which of several servers is used: the first that can be written, whoever knows where it is.

use super::calls::{Calls, Failed};
use super::dial::{Connected, ask_sentinel, dial};
use super::keys::Keys;
use super::settings::{Address, Settings};

/// How often a cluster may say that the keys are elsewhere.
const MOST_MOVES: usize = 3;

/// Connects to the first server that can be written, as the gateway of this id.
///
/// # Errors
/// A sentence, with what is wrong with each of them.
pub(super) async fn connect(settings: &Settings, id: &str) -> Result<Connected, String> {
    let mut failures = Vec::new();
    for address in &settings.addresses {
        let found = match &settings.sentinel {
            Some(_) => ask_sentinel(settings, address).await,
            None => Ok(address.clone()),
        };
        let connected = match found {
            Ok(address) => connect_at(settings, id, address).await,
            Err(failed) => Err(failed),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(failed) => failures.push(failed.what),
        }
    }
    Err(failures.join("; "))
}

/// Connects to a server, or to where in a cluster it says that the keys are.
async fn connect_at(settings: &Settings, id: &str, mut address: Address) -> Result<Connected, Failed> {
    for moves in 0.. {
        let connected = dial(settings, &address).await?;
        let (keys, lease) = (Keys::of(&settings.name), settings.lease);
        let calls = Calls { connection: connected.connection(), keys, id: id.to_owned(), lease };
        match calls.probe().await {
            Ok(()) => return Ok(connected),
            Err(Failed { moved: Some((host, port)), .. }) if moves < MOST_MOVES => {
                // A node that does not know by which name it is called leaves that out.
                let host = if host.is_empty() { address.host } else { host };
                address = Address { host, port, ..address };
            }
            Err(failed) => return Err(failed.at(&address)),
        }
    }
    Err(Failed::of("the keys are nowhere".to_owned()))
}

/// Whether the shared state can be reached and written; nothing is left there.
///
/// # Errors
/// A sentence.
pub async fn reach(settings: &Settings) -> Result<(), String> {
    let id = format!("check.{}", uuid::Uuid::now_v7().simple());
    let reached = connect(settings, &id).await.map(drop);
    reached.map_err(|what| format!("the shared state of the fleet {:?} cannot be used: {what}", settings.name.as_str()))
}
