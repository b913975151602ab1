//! Gateways and Redis die at random moments under mixed load: what was acknowledged is whole and on record, no session is left over, and
//! a limit of sessions holds wherever the gateways could ask each other.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::LEASE;
use super::load::{Known, Program, Round, packets, programs, sits};
use super::service::{GATEWAYS, Service};
use crate::support::campaign::{Dice, alone, report, seed, short_or_long};
use crate::support::content::{Content, recognize};
use crate::support::events::field;
use crate::support::process::{LIMIT, until};

/// Between two gateways that hand over a place: the new session may be on record before the end of the old one.
const CLOCK: Duration = Duration::from_secs(2);

/// A gateway that has lost Redis asks again at least that often, and then tells what it has.
const RECONNECTS: Duration = Duration::from_secs(5);

/// Of so many deaths, one is that of the Redis that is written, and which.
const REDIS_EVERY: u64 = 8;
const FIRST_OF_REDIS: u64 = 2;

/// A time in which gateways could not ask each other.
type Span = (SystemTime, SystemTime);

/// What died, and when.
#[derive(Debug, Default)]
struct Deaths {
    gateways: Vec<(usize, SystemTime)>,
    redis: u64,
    fail_overs: u64,
    replicas: u64,
    apart: Vec<Span>,
}

/// Kills and starts again, until the time is over.
struct Chaos<'a> {
    service: &'a Service,
    dice: Dice,
    /// Which server of Redis is written.
    primary: usize,
    deaths: Deaths,
}

impl Chaos<'_> {
    fn run(mut self, time: Duration) -> Deaths {
        let over = Instant::now() + time;
        for step in 0.. {
            self.pause(2000);
            if Instant::now() >= over {
                break;
            }
            // Not too often: where the gateways cannot ask each other, no limit is judged.
            match (step % REDIS_EVERY == FIRST_OF_REDIS, self.dice.below(6)) {
                (true, 0..=2) => self.fail_over(),
                (true, _) => self.redis(),
                (false, 0) => self.replica(),
                (false, _) => self.gateway(),
            }
        }
        self.deaths
    }

    fn pause(&mut self, at_most: u64) {
        thread::sleep(Duration::from_millis(self.dice.below(at_most)));
    }

    fn gateway(&mut self) {
        let number = self.dice.below(GATEWAYS as u64) as usize;
        let member = &self.service.members[number];
        member.kill();
        self.deaths.gateways.push((number, SystemTime::now()));
        self.pause(1000);
        let began = SystemTime::now();
        member.start();
        // Until it has found Redis, it counts for itself.
        member.until_together();
        self.deaths.apart.push((began, SystemTime::now()));
    }

    /// The replica becomes the server that is written, without what it had not heard yet; the other one comes back as its replica.
    fn fail_over(&mut self) {
        let began = SystemTime::now();
        let (old, new) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        old.kill();
        new.call(&["REPLICAOF", "NO", "ONE"]);
        self.primary = 1 - self.primary;
        self.deaths.fail_overs += 1;
        self.pause(1500);
        old.start_again();
        old.call(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
        self.together_since(began);
    }

    /// It comes back without anything.
    fn redis(&mut self) {
        let began = SystemTime::now();
        let (primary, replica) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        primary.kill();
        self.deaths.redis += 1;
        self.pause(1500);
        primary.start_again();
        primary.call(&["REPLICAOF", "NO", "ONE"]);
        replica.call(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.together_since(began);
    }

    /// Nobody misses it.
    fn replica(&mut self) {
        let (primary, replica) = (&self.service.redis[self.primary], &self.service.redis[1 - self.primary]);
        replica.kill();
        self.deaths.replicas += 1;
        self.pause(1500);
        replica.start_again();
        replica.call(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    }

    /// What a gateway had told is there again when it has reconnected and renewed its lease.
    fn together_since(&mut self, began: SystemTime) {
        self.deaths.apart.push((began, SystemTime::now() + RECONNECTS + LEASE));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_gateways_and_redis_are_killed() {
    let _alone = alone();
    let (seed, started) = (seed(), Instant::now());
    let time = short_or_long(Duration::from_secs(20), Duration::from_secs(30 * 60));
    report(&format!("fleet campaign with LOCKGATE_SEED={seed}"));
    let service = Service::start("10s");
    let round = Round::default();
    let (alice, bob) = (service.client("alice"), service.client("bob"));
    let (service, round) = (&service, &round);
    let (known, sessions, deaths) = thread::scope(|scope| {
        let mut clients: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn({
                    let alice = &alice;
                    move || packets(alice, number, seed, round)
                })
            })
            .collect();
        for (number, which) in [(3, Program::Sftp), (4, Program::Scp)] {
            let alice = &alice;
            clients.push(scope.spawn(move || programs(which, alice, number, seed, round, service.folder())));
        }
        let sitting = [1, 2].map(|n| {
            scope.spawn({
                let bob = &bob;
                move || sits(bob, seed ^ n, round)
            })
        });
        let ending = Ending(round);
        let deaths = Chaos { service, dice: Dice::new(seed), primary: 0, deaths: Deaths::default() }.run(time);
        drop(ending);
        let known: Vec<Known> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        let sessions: u64 = sitting.into_iter().map(|client| client.join().expect("a client")).sum();
        (known, sessions, deaths)
    });
    let left = until_nobody_is_left(service);
    let trails = service.end();
    let files = check_files(service, &known);
    check_events(&trails, &known);
    let Logins { all, judged, above } = check_limit(&trails, &deaths);
    assert!(!deaths.gateways.is_empty() && deaths.redis + deaths.fail_overs > 0, "hardly anything died: {deaths:?}");
    assert!(judged > 0, "no login was judged");
    let count = |number: &dyn Fn(&Known) -> u64| known.iter().map(number).sum::<u64>();
    report(&format!(
        "killed with SIGKILL: {} gateways, {} Redis, {} with a fail-over, {} replicas; {} uploads and {} removals acknowledged, {files} files \
         compared in the store, {} read back; {} sessions cut or not opened; {} event lines; {sessions} sessions of a user with a limit \
         of one, {all} on record, {judged} of them while the gateways could ask each other, {above} of the others above the limit; nobody left {left:?} after the last client; {} s",
        deaths.gateways.len(),
        deaths.redis,
        deaths.fail_overs,
        deaths.replicas,
        count(&|known| known.uploads.len() as u64),
        count(&|known| known.removed.len() as u64),
        count(&|known| known.read),
        count(&|known| known.cut),
        trails.iter().map(|(_, events)| events.len()).sum::<usize>(),
        started.elapsed().as_secs()
    ));
}

/// The clients end with this, also when a check fails before.
struct Ending<'a>(&'a Round);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// No gateway lists a session any more, and each lists all gateways; how long that took after the last client had ended.
#[track_caller]
fn until_nobody_is_left(service: &Service) -> Duration {
    let began = Instant::now();
    for member in &service.members {
        until("a list of no sessions and of all gateways", LIMIT, || {
            let sessions = member.socket.get("/api/v1/sessions").ok();
            let gateways = member.socket.get("/api/v1/fleet").ok();
            let mut names: Vec<_> =
                gateways["gateways"].as_array()?.iter().map(|one| one["name"].as_str().unwrap_or_default()).collect();
            names.sort_unstable();
            let is_empty = sessions["sessions"].as_array().is_some_and(Vec::is_empty);
            (is_empty && names == ["edge-1", "edge-2", "edge-3"]).then_some(())
        });
    }
    let took = began.elapsed();
    assert!(took < RECONNECTS + 2 * LEASE, "sessions were left over for {took:?}");
    took
}

/// Every acknowledged file is in the store and whole; of the others, each is whole or not there; how many were read.
#[track_caller]
fn check_files(service: &Service, known: &[Known]) -> u64 {
    let objects = service.store.objects();
    let mut expected: BTreeMap<&str, (Content, bool)> = BTreeMap::new();
    for known in known {
        expected.extend(known.files.iter().map(|(path, content)| (&path[1..], (*content, true))));
        expected.extend(known.unknown.iter().map(|(path, content)| (&path[1..], (*content, false))));
    }
    let mut read = 0;
    for (key, (content, is_certain)) in &expected {
        match objects.get(*key) {
            None => assert!(!is_certain, "{key} was acknowledged and is not there"),
            Some(_) => {
                let found = service.store.read(key, |object| recognize(object));
                assert_eq!(found, Ok(*content), "{key}");
                read += 1;
            }
        }
    }
    for key in objects.keys().filter(|key| !key.is_empty() && !key.ends_with('/')) {
        assert!(expected.contains_key(key.as_str()), "{key} appeared out of nothing");
    }
    read
}

/// Every acknowledged change is on record at one gateway, once, and no event is there twice.
#[track_caller]
fn check_events(trails: &[(String, Vec<Value>)], known: &[Known]) {
    let all = || trails.iter().flat_map(|(_, events)| events);
    let ids: BTreeSet<&str> = all().map(|event| field(event, "event-id")).collect();
    assert_eq!(ids.len(), all().count(), "an event is on record twice");
    let mut done: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for event in all().filter(|event| field(event, "status") == "success") {
        let what = match field(event, "activity-type") {
            "CLOSE" if field(event, "operation") == "write" => field(event, "bytes-in"),
            "DELETE" => "",
            _ => continue,
        };
        *done.entry((field(event, "activity-type"), field(event, "logical-path"), what)).or_default() += 1;
    }
    for known in known {
        for (path, content) in &known.uploads {
            let length = content.length.to_string();
            let found = done.get(&("CLOSE", path.as_str(), length.as_str()));
            assert_eq!(found, Some(&1), "the upload of {path} was acknowledged");
        }
        for path in &known.removed {
            assert_eq!(done.get(&("DELETE", path.as_str(), "")), Some(&1), "the removal of {path} was acknowledged");
        }
    }
}

/// Logins of a user with a limit.
#[derive(Debug, Default)]
struct Logins {
    all: usize,
    /// While the gateways could ask each other.
    judged: usize,
    /// Beside another session.
    above: usize,
}

/// Of bob, who may have one session: whoever logged in beside another session of his did so while the gateways could not ask each other.
#[track_caller]
fn check_limit(trails: &[(String, Vec<Value>)], deaths: &Deaths) -> Logins {
    let mut sessions: Vec<Span> = Vec::new();
    for (number, (_, events)) in trails.iter().enumerate() {
        let of_bob = |event: &&Value| field(event, "user") == "bob";
        let ends: BTreeMap<&str, SystemTime> = events
            .iter()
            .filter(|event| field(event, "activity-type") == "DISCONNECTED")
            .map(|event| (field(event, "session-id"), time(event)))
            .collect();
        for event in events.iter().filter(of_bob).filter(|event| field(event, "activity-type") == "CONNECTED") {
            let began = time(event);
            let death = deaths.gateways.iter().find(|(dead, at)| *dead == number && *at >= began).map(|(_, at)| *at);
            let end = ends.get(field(event, "session-id")).copied().or(death);
            sessions.push((began, end.expect("the end of a session, or of its gateway")));
        }
    }
    sessions.sort();
    let is_apart = |at: SystemTime| deaths.apart.iter().any(|(from, to)| *from <= at && at <= *to + CLOCK);
    let mut logins = Logins { all: sessions.len(), ..Logins::default() };
    for (index, (began, _)) in sessions.iter().enumerate() {
        let is_judged = !is_apart(*began);
        logins.judged += usize::from(is_judged);
        let others = &sessions[..index];
        if others.iter().any(|(_, end)| *end > *began + CLOCK) {
            assert!(!is_judged, "bob logged in at {began:?} beside another session: {sessions:?}, {deaths:?}");
            logins.above += 1;
        }
    }
    logins
}

#[track_caller]
fn time(event: &Value) -> SystemTime {
    let text = field(event, "timestamp");
    text.parse::<DateTime<Utc>>().unwrap_or_else(|error| panic!("{error}: {event}")).into()
}
