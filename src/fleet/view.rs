//! What the other gateways have, as it stands in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;

use super::calls::Found;
use super::described::{self, read_session};
use super::member::Member;
use crate::session::{Distant, Elsewhere, Gateway};

/// How long a look serves all who want one.
const SERVES_FOR: Duration = Duration::from_millis(700);

/// How long a look may take; what is not there by then is missing.
const SEEN_WITHIN: Duration = Duration::from_secs(4);

/// The most sessions of others that are listed.
const MOST: usize = 20_000;

/// The last look.
#[derive(Debug)]
pub(super) struct Seen {
    when: Instant,
    pub(super) elsewhere: Arc<Elsewhere>,
}

impl Seen {
    pub(super) fn now(elsewhere: Arc<Elsewhere>) -> Seen {
        Seen { when: Instant::now(), elsewhere }
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.when.elapsed() < SERVES_FOR
    }
}

/// The gateways, in the order of their names; this one is among them.
pub(super) async fn gateways(member: &Member) -> Result<Vec<Gateway>, String> {
    let calls = member.reachable()?;
    let (found, tampered) = calls.gateways().await.map_err(|error| error.to_string())?;
    member.note_tampering(tampered, "the list of gateways");
    let mut gateways = shown_all(member, found);
    gateways.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(gateways)
}

/// The same, as Redis gave them.
pub(super) fn shown_all(member: &Member, found: Vec<Found>) -> Vec<Gateway> {
    found.into_iter().map(|found| shown(member, found)).collect()
}

fn shown(member: &Member, found: Found) -> Gateway {
    let lease = member.settings.lease;
    let heard = lease.saturating_sub(found.left);
    let own = found.id == member.id;
    let said = found.said;
    Gateway {
        name: said.as_ref().map_or_else(|| name_of(&found.id), |said| said.name.clone()),
        version: said.as_ref().map(|said| said.version.clone()).unwrap_or_default(),
        since: said.as_ref().map(|said| described::time(said.since)),
        draining: said.is_some_and(|said| said.draining),
        sessions: if own { member.registry.list().len() as u64 } else { found.sessions },
        silent: heard > lease / 2,
        heard,
        own,
        id: found.id,
    }
}

/// The name in an id, which has the digits of a process behind it.
pub(super) fn name_of(id: &str) -> String {
    id.rsplit_once('.').map_or(id, |(name, _)| name).to_owned()
}

/// The sessions of the other gateways.
pub(super) async fn elsewhere(member: &Member) -> Elsewhere {
    let mut elsewhere = Elsewhere::default();
    match timeout(SEEN_WITHIN, collect(member, &mut elsewhere)).await {
        Ok(Ok(())) => {}
        Ok(Err(what)) => elsewhere.incomplete = Some(what),
        Err(_) => {
            elsewhere.incomplete = Some(format!("not all sessions were found within {} s", SEEN_WITHIN.as_secs()))
        }
    }
    elsewhere.sessions.sort_by(|a, b| a.session.session_id.cmp(&b.session.session_id));
    // Somebody may have written one into the hash of another gateway as well.
    elsewhere.sessions.dedup_by(|a, b| a.session.session_id == b.session.session_id);
    elsewhere.total = elsewhere.total.max(elsewhere.sessions.len());
    elsewhere
}

async fn collect(member: &Member, into: &mut Elsewhere) -> Result<(), String> {
    let gateways = gateways(member).await?;
    let calls = member.reachable()?;
    let now = SystemTime::now();
    for gateway in gateways.into_iter().filter(|gateway| !gateway.own) {
        let (before, mut odd, mut cursor) = (into.sessions.len(), 0, Some(0));
        while let Some(from) = cursor {
            if into.sessions.len() >= MOST {
                into.incomplete = Some(format!("no more than {MOST} sessions of other gateways are listed"));
                break;
            }
            let page = calls.sessions(&gateway.id, from).await.map_err(|error| error.to_string())?;
            odd += page.left_out;
            for text in page.sessions {
                match read_session(&text, now).filter(|(session, _)| member.registry.get(&session.session_id).is_none())
                {
                    Some((session, progress)) => {
                        let (gateway, server) = (gateway.id.clone(), gateway.name.clone());
                        into.sessions.push(Distant { gateway, server, session, progress });
                    }
                    None => odd += 1,
                }
            }
            cursor = page.next;
        }
        member.note_tampering(odd, "the sessions of another gateway");
        let has = usize::try_from(gateway.sessions).unwrap_or(usize::MAX).min(MOST_BELIEVED);
        into.total += has.max(into.sessions.len() - before);
    }
    Ok(())
}

/// How many sessions one gateway is believed to have.
const MOST_BELIEVED: usize = 1_000_000;
