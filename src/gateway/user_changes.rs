//! Changes of the users of folders, for the trail. In a fleet, one of the gateways tells of each of them.
//!
//! Which one it is, the fleet says (`Peers::who_tells`). A change that is another gateway's to tell waits, round after round, until that one
//! has told of it, and for a limited time: no trail of a fleet goes without a change because somebody says that another one has it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::roster::{Roster, activity_of};
use crate::session::{Teller, UserState, WhoTells};
use crate::users::{Change, KeysDirectory};

/// How often it is tried to tell of folders that are gone.
const RETIRED_EVERY: Duration = Duration::from_secs(60);

/// Of how many changes it is asked at once who tells of them. Few are asked for one by one: a gateway that is killed meanwhile has told of
/// one that the others do not know to be told.
const AT_ONCE: usize = 100;
const FEW: usize = 16;

/// How many changes that this gateway told of are made known again, for how many rounds, and at least for how long: a shared state that was
/// emptied has them again before the others look for changes.
const KNOWN_AGAIN: usize = 100;
const ROUNDS: u32 = 3;
const LEAST: Duration = Duration::from_secs(60);

/// What one source shares with the other gateways.
#[derive(Debug)]
pub(super) struct Shared {
    every: Duration,
    /// What this gateway told of lately, and when.
    recent: VecDeque<(Instant, UserState)>,
    /// What was told of since the others were asked last.
    untold: usize,
    /// Whether it may be this gateway that tells in this round.
    may_tell: bool,
    /// Since when changes wait for another gateway.
    waiting_since: Option<Instant>,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// This gateway tells of it.
    Tell,
    /// Another one has told of it.
    Told,
    /// Another one is to tell of it.
    Wait,
}

impl Shared {
    /// Nothing yet, for a source that is read that often.
    pub(super) fn new(every: Duration) -> Shared {
        Shared { every, recent: VecDeque::new(), untold: 0, may_tell: false, waiting_since: None }
    }

    fn told(&mut self, change: &Change) {
        if self.recent.len() >= KNOWN_AGAIN {
            self.recent.pop_front();
        }
        self.recent.push_back((Instant::now(), state_of(change)));
        self.untold += 1;
    }

    fn forget(&mut self) {
        let for_so_long = (self.every * ROUNDS).max(LEAST);
        self.recent.retain(|(when, _)| when.elapsed() < for_so_long);
    }

    /// Whether what waits has waited for so long.
    fn is_late(&self, hold_back: Duration) -> bool {
        self.waiting_since.is_some_and(|since| since.elapsed() >= hold_back)
    }

    fn verdicts(&self, who: WhoTells, changes: usize) -> Vec<Verdict> {
        let (own, told, hold_back) = match who {
            WhoTells::Own => (true, Vec::new(), Duration::ZERO),
            WhoTells::Unknown { hold_back } => (false, Vec::new(), hold_back),
            WhoTells::Asked { teller, told, hold_back } => (teller == Teller::Own && self.may_tell, told, hold_back),
        };
        let tells = own || self.is_late(hold_back);
        let told = told.into_iter().chain(std::iter::repeat(false)).take(changes);
        told.map(|is_told| match (is_told, tells) {
            (true, _) => Verdict::Told,
            (false, true) => Verdict::Tell,
            (false, false) => Verdict::Wait,
        })
        .collect()
    }

    /// A round is over.
    fn waits(&mut self, waits: bool) {
        self.waiting_since = waits.then(|| self.waiting_since.unwrap_or_else(Instant::now));
    }
}

fn state_of(change: &Change) -> UserState {
    UserState { user: change.user.clone(), state: change.state().to_owned() }
}

impl Roster {
    /// Who tells of these changes; what this gateway told of lately is made known to the others.
    async fn ask(&self, source: &str, changes: &[Change], shared: &mut Shared) -> WhoTells {
        shared.forget();
        let told: Vec<UserState> = shared.recent.iter().map(|(_, told)| told.clone()).collect();
        let asked: Vec<UserState> = changes.iter().map(state_of).collect();
        shared.untold = 0;
        self.peers.who_tells(source, shared.every, &told, &asked).await
    }

    /// Keeps what this gateway is to the others, round after round. One that is to tell from now on does with the next round: until then, the
    /// one before it has said once more what it has told.
    async fn begin_round(&self, source: &str, shared: &mut Shared) {
        let who = self.ask(source, &[], shared).await;
        shared.may_tell = matches!(who, WhoTells::Asked { teller: Teller::Own, .. });
    }

    /// Tells changes until one cannot be told; the rest comes again with the next round, and so does what waits for another gateway.
    pub(super) async fn tell_changes(
        &self,
        folder: &KeysDirectory,
        source: &Arc<str>,
        changes: &[Change],
        shared: &mut Shared,
    ) {
        self.begin_round(source, shared).await;
        let (mut noted, mut waits) = (false, false);
        let at_once = if changes.len() <= FEW { 1 } else { AT_ONCE };
        'all: for part in changes.chunks(at_once) {
            let who = self.ask(source, part, shared).await;
            let verdicts = shared.verdicts(who, part.len());
            for (change, verdict) in part.iter().zip(verdicts) {
                match verdict {
                    Verdict::Wait => {
                        waits = true;
                        continue;
                    }
                    Verdict::Told => {
                        tracing::info!(
                            %source, user = %change.user, change = ?change.kind,
                            "users changed; another gateway of the fleet has it in its trail"
                        );
                    }
                    Verdict::Tell => {
                        if !self.record(Some(change.user.clone()), activity_of(source, change)).await {
                            tracing::error!(%source, "a change of users could not be recorded; it is told with the next round");
                            break 'all;
                        }
                        shared.told(change);
                        tracing::info!(%source, user = %change.user, change = ?change.kind, "users changed");
                    }
                }
                folder.was_told(change).await;
                noted = true;
            }
        }
        shared.waits(waits);
        if shared.untold > 0 {
            self.ask(source, &[], shared).await;
        }
        if noted {
            self.memory.keep(source, Some(folder.told().await)).await;
        }
    }

    /// Tells of the users of folders that the configuration does not name any more, since a reload or since an earlier process.
    pub(super) async fn retire_all_but(self: Arc<Self>, sources: Vec<Arc<str>>) {
        while self.retire_now(&sources).await.is_none() {
            tokio::time::sleep(RETIRED_EVERY).await;
        }
    }

    /// `None` when something could not be told. Each gateway tells of it: they do not get their configurations at the same time.
    async fn retire_now(&self, sources: &[Arc<str>]) -> Option<()> {
        for (source, told) in self.memory.all().await {
            if sources.iter().any(|named| **named == *source) {
                continue;
            }
            let mut left = told.clone();
            let mut complete = true;
            for change in told.all_removed("the configuration does not name this folder any more") {
                complete = self.record(Some(change.user.clone()), activity_of(&source, &change)).await;
                if !complete {
                    tracing::error!(%source, "a change of users could not be recorded; it is told later");
                    break;
                }
                left.note(&change);
            }
            self.memory.keep(&source, (!complete).then_some(left)).await;
            complete.then_some(())?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Tell, Told, Wait};
    use super::*;

    #[test]
    fn what_another_gateway_is_to_tell_waits_for_a_limited_time() {
        let hold_back = Duration::from_millis(50);
        let asked = |own, told: &[bool]| {
            let teller = if own { Teller::Own } else { Teller::Other };
            WhoTells::Asked { teller, told: told.to_vec(), hold_back }
        };
        let mut shared = Shared::new(Duration::from_secs(1));
        assert_eq!(shared.verdicts(WhoTells::Own, 2), [Tell, Tell]);
        assert_eq!(shared.verdicts(asked(true, &[true, false]), 2), [Told, Wait], "it tells from the next round on");
        shared.may_tell = true;
        assert_eq!(shared.verdicts(asked(true, &[true, false]), 2), [Told, Tell]);
        assert_eq!(shared.verdicts(asked(false, &[true, false]), 2), [Told, Wait]);
        assert_eq!(shared.verdicts(WhoTells::Unknown { hold_back }, 1), [Wait]);
        assert_eq!(shared.verdicts(asked(false, &[]), 2), [Wait, Wait], "an answer that is too short says nothing");
        shared.waits(true);
        std::thread::sleep(hold_back);
        shared.waits(true);
        assert_eq!(shared.verdicts(asked(false, &[true, false]), 2), [Told, Tell]);
        assert_eq!(shared.verdicts(WhoTells::Unknown { hold_back }, 1), [Tell]);
        shared.waits(false);
        assert_eq!(shared.verdicts(WhoTells::Unknown { hold_back }, 1), [Wait]);
    }
}
