//! Identity providers are asked again about the users whose sessions live, every `recheck` and after a reload: whoever would not be let
//! in any more is ended. A provider that does not answer, or not in a way that can be used, ends nobody.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;

use super::roster::{Roster, farewell, lapse_at_target, lapse_of};
use crate::session::LiveSession;
use crate::ssh::TargetDoors;
use crate::users::{Attempt, AuthorizedKey, DirectoryError, ProviderDirectory, User};

/// Questions under way at once, for one provider: few, so that logins have theirs.
const AT_ONCE: usize = 8;

/// So many questions in a row without an answer, and the rest waits for the next round.
const GIVES_UP_AFTER: usize = 8;

/// When the provider is asked first about a session that was let in by a password alone, if `recheck` is not shorter.
const FIRST_AFTER_PASSWORD: Duration = Duration::from_secs(10);

/// Of sessions that were let in by a password alone: whether their provider knows the user without the password, which nobody keeps.
/// Many do not, and then their refusal means nothing. Outlives a reload.
#[derive(Debug, Default)]
pub(super) struct Rechecked(Mutex<HashMap<Arc<str>, bool>>);

impl Rechecked {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what the answers about live sessions are judged, besides themselves.
struct Beside {
    /// Authorities of all users.
    trusted: Vec<AuthorizedKey>,
    /// Where users may jump to.
    targets: Arc<TargetDoors>,
}

/// Asks one provider about its live sessions until it is dropped. `trusted` are the authorities of all users.
pub(super) async fn follow(
    roster: Arc<Roster>,
    provider: Arc<ProviderDirectory>,
    trusted: Vec<AuthorizedKey>,
    targets: Arc<TargetDoors>,
) {
    let beside = Beside { trusted, targets };
    let every = provider.recheck();
    let look_every = (every / 4).clamp(Duration::from_millis(250), Duration::from_secs(5));
    let mut plan = Plan { every, next: None };
    let mut outages = Outages::default();
    loop {
        let live = roster.registry.list();
        let due = plan.due(&live, &provider.source(), &roster.rechecked, Instant::now());
        ask_about(&roster, &provider, due, &beside, &mut outages).await;
        tokio::time::sleep(look_every).await;
    }
}

/// When each session is asked about next.
struct Plan {
    every: Duration,
    /// `None` before the first look: then all that live are due.
    next: Option<HashMap<Arc<str>, Instant>>,
}

impl Plan {
    /// The sessions of `source` that are due, by their users and addresses.
    fn due(&mut self, live: &[LiveSession], source: &str, rechecked: &Rechecked, now: Instant) -> Due {
        let is_first = self.next.is_none();
        let next = self.next.get_or_insert_default();
        let alive: HashSet<&Arc<str>> = live.iter().map(|live| &live.session_id).collect();
        next.retain(|id, _| alive.contains(id));
        let mut tellable = rechecked.lock();
        tellable.retain(|id, _| alive.contains(id));
        let mut due = Due::new();
        for live in live.iter().filter(|live| *live.source == *source) {
            if tellable.get(&live.session_id) == Some(&false) {
                continue;
            }
            let first = match live.credential {
                _ if is_first => now,
                Some(_) => now + self.every,
                None => now + self.every.min(FIRST_AFTER_PASSWORD),
            };
            let at = next.entry(live.session_id.clone()).or_insert(first);
            if *at <= now {
                *at = now + self.every;
                due.entry((live.user.clone(), live.source_ip)).or_default().push(live.clone());
            }
        }
        due
    }
}

/// Sessions by user and address: one question answers for all of them.
type Due = BTreeMap<(Arc<str>, IpAddr), Vec<LiveSession>>;

async fn ask_about(
    roster: &Roster,
    provider: &Arc<ProviderDirectory>,
    due: Due,
    beside: &Beside,
    outages: &mut Outages,
) {
    // After a silence the next round begins where that one stopped, so that nobody's turn is always lost.
    let mut due: Vec<_> = due.into_iter().collect();
    let next = outages.stopped_at.take().map_or(0, |last| due.partition_point(|(about, _)| *about <= last));
    due.rotate_left(next);
    let questions = due.into_iter().map(|((user, source_ip), sessions)| {
        let provider = provider.clone();
        async move { (provider.find_again(&user, &Attempt { source_ip }).await, user, source_ip, sessions) }
    });
    let mut answers = stream::iter(questions).buffer_unordered(AT_ONCE);
    let mut silent_in_a_row = 0;
    while let Some((answer, user, source_ip, sessions)) = answers.next().await {
        outages.tell(roster, &user, answer.as_ref().err()).await;
        match answer {
            Ok(found) => {
                silent_in_a_row = 0;
                let ended = settle(roster, found.as_ref(), &sessions, beside);
                if ended > 0 {
                    let source = provider.source();
                    tracing::info!(%source, %user, ended, "ended the sessions of a user whom the identity provider does not let in any more");
                }
            }
            Err(DirectoryError::Unusable { .. }) => silent_in_a_row = 0,
            Err(DirectoryError::Silent { .. }) => silent_in_a_row += 1,
        }
        if silent_in_a_row >= GIVES_UP_AFTER {
            outages.stopped_at = Some((user, source_ip));
            return;
        }
    }
}

/// Ends those of the sessions that may not go on; how many. Only these, and those at targets that came through them: who has logged in
/// after the question was judged by a later answer, but who jumped meanwhile by the answer before.
fn settle(roster: &Roster, found: Option<&Arc<User>>, sessions: &[LiveSession], beside: &Beside) -> usize {
    let outer: HashSet<&Arc<str>> =
        sessions.iter().map(|live| live.jump.as_ref().map_or(&live.session_id, |jump| jump.through())).collect();
    let user = found.map(|user| &**user);
    if let Some(user) = found {
        // Before any session ends: jumps are judged by it from now on.
        roster.registry.describe(outer.iter().copied(), user);
    }
    let mut judged: HashMap<&str, _> = HashMap::new();
    {
        let mut tellable = roster.rechecked.lock();
        for live in sessions {
            if live.credential.is_none() {
                match (found, tellable.get(&live.session_id)) {
                    (Some(_), _) => {
                        tellable.insert(live.session_id.clone(), true);
                    }
                    (None, Some(true)) => {}
                    (None, _) => {
                        tellable.insert(live.session_id.clone(), false);
                        tracing::info!(
                            source = %live.source, user = %live.user, address = %live.source_ip, session = %live.session_id,
                            "the identity provider does not know this user without a password: it is not asked again about the session"
                        );
                        continue;
                    }
                }
            }
            if let Some(lapse) = lapse_of(live, user, &beside.trusted) {
                judged.insert(&live.session_id, farewell(lapse));
            }
        }
    }
    roster.registry.end(|live| {
        let came_through = live.jump.as_ref().is_some_and(|jump| outer.contains(jump.through()));
        let at_target = || lapse_at_target(live, user, beside.targets.targets()).filter(|_| came_through).map(farewell);
        judged.remove(&*live.session_id).or_else(at_target)
    })
}

/// What the log and the trail were told of a provider: each outage, and each user's unusable answer, once.
#[derive(Debug, Default)]
struct Outages {
    /// The last question of a round that was given up.
    stopped_at: Option<(Arc<str>, IpAddr)>,
    silent_since: Option<Instant>,
    /// The users whose answers could not be used.
    unusable: HashSet<Arc<str>>,
}

/// The most users whose answers are told one by one.
const MOST_UNUSABLE: usize = 1000;

impl Outages {
    async fn tell(&mut self, roster: &Roster, user: &Arc<str>, error: Option<&DirectoryError>) {
        match error {
            Some(error @ DirectoryError::Silent { .. }) if self.silent_since.is_none() => {
                self.silent_since = Some(Instant::now());
                tracing::error!(%error, "users cannot be asked about again; their sessions go on");
                roster.note(format!("the sessions of its users go on: {error}")).await;
            }
            Some(error @ DirectoryError::Unusable { .. }) if self.unusable.len() < MOST_UNUSABLE => {
                if self.unusable.insert(user.clone()) {
                    tracing::error!(%user, %error, "a user cannot be asked about again; the sessions go on");
                    roster.note(format!("the sessions of {user} go on: {error}")).await;
                }
            }
            Some(error) => tracing::debug!(%user, %error, "a user still cannot be asked about again"),
            None => {
                self.unusable.remove(user);
            }
        }
        if !matches!(error, Some(DirectoryError::Silent { .. }))
            && let Some(since) = self.silent_since.take()
        {
            let seconds = since.elapsed().as_secs();
            tracing::info!(seconds, "the identity provider answers again");
            roster.note(format!("an identity provider answers again, after {seconds} s")).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn live(id: &str, source: &str, by_key: bool) -> LiveSession {
        LiveSession {
            session_id: id.into(),
            user: "ann".into(),
            identity: None,
            source_ip: [192, 0, 2, 1].into(),
            source_port: 50022,
            client: None,
            method: if by_key { "publickey" } else { "password" }.into(),
            key: None,
            since: SystemTime::UNIX_EPOCH,
            source: source.into(),
            credential: by_key.then(|| "SHA256:x".into()),
            jump: None,
            proof_ends: None,
        }
    }

    #[test]
    fn each_session_is_due_every_so_often_and_all_after_a_reload() {
        let (rechecked, start) = (Rechecked::default(), Instant::now());
        let mut plan = Plan { every: Duration::from_secs(300), next: None };
        let mut due = |live: &[LiveSession], seconds: u64| -> Vec<String> {
            let due = plan.due(live, "http:idp", &rechecked, start + Duration::from_secs(seconds));
            due.into_values().flatten().map(|live| live.session_id.to_string()).collect()
        };
        let (key, password, other) = (live("1", "http:idp", true), live("2", "http:idp", false), live("3", "x", true));
        assert_eq!(due(std::slice::from_ref(&key), 0), ["1"], "who lives at the first look");
        let all = [key, password, other];
        assert_eq!(due(&all, 5), [""; 0]);
        assert_eq!(due(&all, 15), ["2"], "whether a password's user can be asked about is found out soon");
        assert_eq!(due(&all, 300), ["1"]);
        assert_eq!(due(&all, 316), ["2"]);
        rechecked.lock().insert("2".into(), false);
        assert_eq!(due(&all, 900), ["1"], "nobody asks where the answer means nothing");
        due(&all[..1], 901);
        assert!(rechecked.lock().is_empty(), "an end is forgotten");
    }
}
