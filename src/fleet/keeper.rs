//! Keeps the connection: connects, serves in turns, and after a failure tries again, later and later.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::dial::Connected;
use super::member::Member;
use super::servers::connect;
use super::standing::Change;
use super::turn::Turns;
use crate::audit::{Activity, Note, Origin};
use crate::backoff::Backoff;
use crate::session::gate::Gate;

/// How often a gateway hears and says what is new. With a call's time, a ban holds everywhere within a second.
const EVERY: Duration = Duration::from_millis(400);

/// How long after a change it is told at the earliest: several changes go in one call.
const TOLD_AFTER: Duration = Duration::from_millis(20);

/// How long a gateway waits until it tries to connect again: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A connection that held for so long was a good one.
const HELD_WELL: Duration = Duration::from_secs(10);

/// Runs until it is stopped.
pub(super) async fn keep(
    member: Arc<Member>,
    gate: Arc<Gate>,
    mut draining: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let began = Instant::now();
        let outcome = serve(&member, &gate, &mut draining, &mut stopped).await;
        member.use_connection(None);
        match outcome {
            Ok(()) => return,
            Err(Failure::Connecting(why)) => tell(&member, &member.standing.failed(&why), &why),
            Err(Failure::Serving(why)) => {
                member.standing.lost(&why);
                tracing::warn!(
                    fleet = member.settings.name.as_str(),
                    why,
                    "the connection to the shared state of the fleet is lost"
                );
                if began.elapsed() >= HELD_WELL {
                    backoff.reset();
                }
            }
        }
        tokio::select! {
            () = sleep(backoff.wait()) => {}
            () = ended(&mut stopped) => return,
        }
    }
}

/// Why a connection is not used any more.
enum Failure {
    /// It never could be.
    Connecting(String),
    /// It was, until now.
    Serving(String),
}

async fn ended(stopped: &mut watch::Receiver<bool>) {
    // Whoever drops the other end wants it to end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// One connection, from its beginning to its end; without an error when the gateway ends.
async fn serve(
    member: &Arc<Member>,
    gate: &Arc<Gate>,
    draining: &mut watch::Receiver<bool>,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), Failure> {
    let entered = tokio::select! {
        entered = enter(member, gate, draining) => entered,
        () = ended(stopped) => return Ok(()),
    };
    // It ends when it is dropped.
    let (connected, mut turns) = entered.map_err(Failure::Connecting)?;
    member.use_connection(Some(connected.connection()));
    let change = member.standing.joined();
    tell(member, &change, "");
    let mut changes = member.registry.changes();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut with_news = false;
        tokio::select! {
            _ = ticks.tick() => with_news = true,
            _ = changes.changed() => sleep(TOLD_AFTER).await,
            () = gate.has_ban_to_tell() => {}
            Ok(()) = draining.changed() => turns.say_soon(),
            () = ended(stopped) => {
                turns.leave().await;
                return Ok(());
            }
        }
        changes.mark_unchanged();
        turns.turn(with_news).await.map_err(|failed| Failure::Serving(failed.what))?;
    }
}

/// Connects, and says and hears everything.
async fn enter(
    member: &Arc<Member>,
    gate: &Arc<Gate>,
    draining: &watch::Receiver<bool>,
) -> Result<(Connected, Turns), String> {
    let connected = connect(&member.settings, &member.id).await?;
    let calls = member.calls_over(connected.connection());
    let mut turns = Turns::begin(member.clone(), gate.clone(), calls, draining.clone());
    turns.enter().await.map_err(|failed| failed.what)?;
    Ok((connected, turns))
}

/// Tells the log, and the trail, how the gateway stands now.
fn tell(member: &Member, change: &Change, why: &str) {
    let fleet = member.settings.name.as_str();
    let address = member.settings.place();
    let activity = match change {
        Change::None => return,
        Change::Together => {
            tracing::info!(fleet, id = member.id, address, "this gateway is together with its fleet");
            return;
        }
        Change::Alone => {
            tracing::error!(
                fleet,
                address,
                why,
                "this gateway is alone: the shared state of its fleet cannot be reached"
            );
            let message = format!("the shared state of the fleet {fleet} cannot be reached at {address}: {why}");
            Activity::FleetAlone(note(message))
        }
        Change::TogetherAgain => {
            tracing::info!(fleet, id = member.id, address, "this gateway is together with its fleet again");
            Activity::FleetJoined(note(format!("the shared state of the fleet {fleet} is reached again at {address}")))
        }
    };
    // It is in the log as well, and nobody could do anything about a sink that fails just now.
    drop(member.recorder.record_late(&Origin::of_gateway(None), &activity));
}

fn note(message: String) -> Note {
    Note { message, operation: None, path: None, logical_path: None }
}
