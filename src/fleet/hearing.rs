//! Hears the events of the other gateways, while somebody follows them here.
//!
//! One task reads and checks them for all who follow. What it holds for them is bounded: whoever is slow loses the oldest.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep};

use super::calls::Calls;
use super::lines::Line;
use super::member::Member;
use super::view::name_of;
use crate::session::{Following, Gateway, Tellers, Told};

/// How often the others are heard.
const EVERY: Duration = Duration::from_millis(400);

/// How many of what the others tell wait for whoever follows. With the longest event that is 16 MiB, for all who follow together.
const WAITING: usize = 512;

/// The most pages in one round.
const PAGES: usize = 8;

/// How often it is asked which gateways there are.
const COUNTED_EVERY: Duration = Duration::from_secs(2);

/// A gateway that was not heard for so long does not tell its events: it gives a sign of life every two seconds.
const SILENT_AFTER: Duration = Duration::from_secs(8);

/// The most gateways that are heard; more write only if somebody else invents them.
const MOST: usize = 1000;

/// How many gateways that do not tell their events are named.
const NAMED: usize = 5;

/// Those who follow here, and what they are told.
#[derive(Debug)]
pub(super) struct Hub {
    told: broadcast::Sender<Arc<Told>>,
    tellers: watch::Sender<Option<Tellers>>,
    wanted: Notify,
}

impl Default for Hub {
    fn default() -> Self {
        Hub { told: broadcast::Sender::new(WAITING), tellers: watch::Sender::default(), wanted: Notify::new() }
    }
}

impl Hub {
    /// Somebody follows, until this is dropped.
    pub(super) fn follow(&self) -> Following {
        let following = Following { told: self.told.subscribe(), tellers: self.tellers.subscribe() };
        self.wanted.notify_one();
        following
    }

    fn tell(&self, told: Told) {
        // Whoever followed may have gone meanwhile.
        let _ = self.told.send(Arc::new(told));
    }

    fn say(&self, tellers: Tellers) {
        self.tellers.send_if_modified(|said| {
            let is_new = said.as_ref() != Some(&tellers);
            *said = Some(tellers);
            is_new
        });
    }
}

/// Runs until it is dropped.
pub(super) async fn hear(member: Arc<Member>, hub: Arc<Hub>) {
    loop {
        hub.wanted.notified().await;
        let mut heard = Heard::begin();
        while hub.told.receiver_count() > 0 {
            heard.round(&member, &hub).await;
            sleep(EVERY).await;
        }
        hub.tellers.send_replace(None);
    }
}

/// What was heard since somebody began to follow.
struct Heard {
    /// The last of what was read; `$`: nothing yet.
    last: String,
    tellers: HashMap<String, Teller>,
    /// The other gateways, and since when they are known.
    present: HashMap<String, (String, Instant)>,
    next_count: Instant,
    began: Instant,
}

/// A gateway that tells its events.
struct Teller {
    /// The number of its last line.
    number: u64,
    heard: Instant,
}

impl Heard {
    fn begin() -> Heard {
        let now = Instant::now();
        let (tellers, present) = (HashMap::new(), HashMap::new());
        Heard { last: "$".to_owned(), tellers, present, next_count: now, began: now }
    }

    async fn round(&mut self, member: &Member, hub: &Hub) {
        let heard = match member.reachable() {
            Ok(calls) => self.ask(&calls, member, hub).await,
            Err(why) => Err(why),
        };
        let incomplete = heard.err().or_else(|| self.silent());
        hub.say(Tellers { gateways: self.names(), incomplete });
    }

    async fn ask(&mut self, calls: &Calls, member: &Member, hub: &Hub) -> Result<(), String> {
        for _ in 0..PAGES {
            let ((told, last), tampered) = calls.follow(&self.last).await.map_err(|error| error.to_string())?;
            let is_first = std::mem::replace(&mut self.last, last) == "$";
            let odd: u64 = told.iter().map(|text| u64::from(!self.take(text, member, hub))).sum();
            member.note_tampering(tampered + odd, "the live events of other gateways");
            if told.is_empty() || is_first {
                break;
            }
        }
        if Instant::now() >= self.next_count {
            self.next_count = Instant::now() + COUNTED_EVERY;
            let (found, tampered) = calls.gateways().await.map_err(|error| error.to_string())?;
            member.note_tampering(tampered, "the list of gateways");
            self.count(super::view::shown_all(member, found));
        }
        Ok(())
    }

    /// Takes what somebody told; false when it makes no sense.
    fn take(&mut self, text: &[u8], member: &Member, hub: &Hub) -> bool {
        let Some(line) = Line::read(text) else { return false };
        if line.gateway == member.id {
            return true;
        }
        let Some(is_missed) = self.note(&line) else { return false };
        let gateway = name_of(&line.gateway);
        if is_missed {
            hub.tell(Told::Gap { gateway: gateway.clone() });
        }
        if let Some(line) = line.event {
            hub.tell(Told::Event { gateway, line });
        }
        true
    }

    /// Whether lines of the gateway are missing before this one; `None` when there are too many gateways.
    fn note(&mut self, line: &Line) -> Option<bool> {
        let teller = Teller { number: line.number, heard: Instant::now() };
        if self.tellers.len() >= MOST && !self.tellers.contains_key(&line.gateway) {
            self.tellers.retain(|_, teller| teller.heard.elapsed() < SILENT_AFTER);
            if self.tellers.len() >= MOST {
                return None;
            }
        }
        let before = self.tellers.insert(line.gateway.clone(), teller);
        let step = u64::from(line.event.is_some());
        Some(before.is_some_and(|before| before.number.checked_add(step) != Some(line.number)))
    }

    /// These are the gateways now.
    fn count(&mut self, gateways: Vec<Gateway>) {
        let before = std::mem::take(&mut self.present);
        let others = gateways.into_iter().filter(|gateway| !gateway.own);
        self.present = others
            .map(|gateway| {
                let since = before.get(&gateway.id).map_or_else(Instant::now, |(_, since)| *since);
                (gateway.id, (gateway.name, since))
            })
            .collect();
    }

    fn is_heard(&self, id: &str) -> bool {
        self.tellers.get(id).is_some_and(|teller| teller.heard.elapsed() < SILENT_AFTER)
    }

    /// The names of the gateways that tell their events.
    fn names(&self) -> Vec<String> {
        let heard = self.present.iter().filter(|(id, _)| self.is_heard(id));
        heard.map(|(_, (name, _))| name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Says which gateways do not tell their events, though they had time to begin.
    fn silent(&self) -> Option<String> {
        let had_time = |since: &Instant| since.max(&self.began).elapsed() >= SILENT_AFTER / 2;
        let silent = self.present.iter().filter(|(id, (_, since))| had_time(since) && !self.is_heard(id));
        let names: BTreeSet<&str> = silent.map(|(_, (name, _))| name.as_str()).collect();
        let more = names.len().saturating_sub(NAMED);
        let named = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!named.is_empty()).then(|| format!("no events arrive from {named}{more}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(number: u64, is_event: bool) -> Line {
        Line { gateway: "edge-2.01".to_owned(), number, event: is_event.then(String::new) }
    }

    #[test]
    fn missing_lines_are_noticed_and_no_number_silences_a_gateway() {
        let mut heard = Heard::begin();
        for (number, is_event, is_missed) in [
            (5, false, false),
            (6, true, false),
            (7, true, false),
            (7, false, false),
            (9, true, true),
            (10, false, true),
            (u64::MAX, true, true),
            (11, true, true),
            (12, true, false),
        ] {
            assert_eq!(heard.note(&line(number, is_event)), Some(is_missed), "{number}");
        }
    }

    #[test]
    fn invented_gateways_are_bounded() {
        let mut heard = Heard::begin();
        let noted = (0..MOST + 10).filter(|number| {
            let line = Line { gateway: format!("edge-{number}.01"), number: 1, event: None };
            heard.note(&line).is_some()
        });
        assert_eq!(noted.count(), MOST);
    }

    #[test]
    fn who_does_not_tell_is_named_after_a_while() {
        let mut heard = Heard::begin();
        // As if all that was noted had been noted earlier.
        let pass = |heard: &mut Heard, time: Duration| {
            heard.began = heard.began.checked_sub(time).unwrap();
            heard.present.values_mut().for_each(|(_, since)| *since = since.checked_sub(time).unwrap());
            heard.tellers.values_mut().for_each(|teller| teller.heard = teller.heard.checked_sub(time).unwrap());
        };
        let gateway = |number: u32, own| Gateway {
            id: format!("edge-{number}.01"),
            name: format!("edge-{number}"),
            version: String::new(),
            since: None,
            draining: false,
            sessions: 0,
            heard: Duration::ZERO,
            silent: false,
            own,
        };
        heard.count(vec![gateway(1, true), gateway(2, false), gateway(3, false)]);
        assert_eq!((heard.silent(), heard.names().len()), (None, 0));
        pass(&mut heard, SILENT_AFTER / 2);
        heard.note(&line(1, false));
        assert_eq!(heard.silent().as_deref(), Some("no events arrive from edge-3"));
        assert_eq!(heard.names(), ["edge-2"]);
        heard.count((1..10).map(|number| gateway(number, number == 1)).collect());
        pass(&mut heard, SILENT_AFTER);
        let expected = "no events arrive from edge-2, edge-3, edge-4, edge-5, edge-6 and 3 more";
        assert_eq!(heard.silent().as_deref(), Some(expected));
        assert!(heard.names().is_empty());
    }
}
