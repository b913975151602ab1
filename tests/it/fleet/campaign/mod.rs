//! Gateways, the S3 server, Redis, its replica and HAProxy die at random moments under mixed load: what was acknowledged is whole and on
//! record, no change of users is on record twice, no session is left over, and a limit of sessions holds wherever the gateways could ask
//! each other.

mod chaos;
mod checks;
mod desk;
mod tampered;

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chaos::{Chaos, Deaths};
use checks::{Figures, LEFT_AT_MOST, LIMITED, Left, Outcome, untold};
use desk::{Users, changes};

use super::load::{Known, Program, Round, packets, programs, sits};
use super::service::Service;
use crate::support::campaign::{alone, report, seed, short_or_long};
use crate::support::keys::Key;

/// A gateway that has lost Redis asks again at least that often, and then tells what it has.
const RECONNECTS: Duration = Duration::from_secs(5);

/// How long a change of users may wait for a gateway that is gone, on a machine that has other things to do.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// From one moment to another.
type Span = (SystemTime, SystemTime);

#[test]
fn nothing_acknowledged_is_lost_when_any_part_of_the_service_is_killed() {
    let _alone = alone();
    let (seed, started) = (seed(), Instant::now());
    let time = short_or_long(Duration::from_secs(25), Duration::from_secs(30 * 60));
    report(&format!("fleet campaign with LOCKGATE_SEED={seed}"));
    let service = Service::start("10s");
    let (known, users, sessions, deaths) = load(&service, seed, time);
    let left = until_nobody_is_left(&service);
    until_told(&service, &users);
    let trails = service.end();
    let outcome = Outcome { known, stored: service.stored(), trails, users, left, deaths };
    let deaths = &outcome.deaths;
    let all_died =
        [deaths.gateways.len() as u64, deaths.redis + deaths.fail_overs, deaths.s3.len() as u64, deaths.balancers];
    assert!(!all_died.contains(&0), "something never died: {deaths:?}");
    let figures = outcome.judge().unwrap_or_else(|faults| panic!("{}\n{deaths:?}", faults.join("\n")));
    assert!(figures.judged > 0 && figures.changes > 0, "hardly anything happened: {figures:?}");
    print(&outcome, &figures, sessions, started);
}

/// Clients in loops, while everything dies; what they know, what is in the folder of keys, and how many sessions the user with a limit had.
fn load(service: &Service, seed: u64, time: Duration) -> (Vec<Known>, Users, u64, Deaths) {
    let round = &Round::default();
    let (alice, limited) = (&service.client("alice"), &service.client(LIMITED));
    let keys = ["first", "second"].map(|name| Key::make(service.folder(), name, "ed25519"));
    thread::scope(|scope| {
        let mut clients: Vec<_> =
            (0..3).map(|number| scope.spawn(move || packets(alice, number, seed, round))).collect();
        for (number, which) in [(3, Program::Sftp), (4, Program::Scp)] {
            clients.push(scope.spawn(move || programs(which, alice, number, seed, round, service.folder())));
        }
        let sitting = [1, 2].map(|number| scope.spawn(move || sits(limited, seed ^ number, round)));
        let desk = scope.spawn(|| changes(&service.desk, &keys, seed, round));
        let ending = Ending(round);
        let deaths = Chaos::new(service, seed).run(time);
        drop(ending);
        let known = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        let sessions = sitting.into_iter().map(|client| client.join().expect("a client")).sum();
        (known, desk.join().expect("the changes of users"), sessions, deaths)
    })
}

/// The clients end with this, also when a check fails before.
struct Ending<'a>(&'a Round);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Waits until no gateway lists a session any more, and each lists all gateways, for as long as that may take.
#[track_caller]
fn until_nobody_is_left(service: &Service) -> Left {
    let began = Instant::now();
    loop {
        let mut left = Left::default();
        for member in &service.members {
            let listed = |path, list: &str, name: &str| -> Vec<String> {
                let answer = member.socket.get(path).ok();
                let all = answer[list].as_array().cloned().unwrap_or_default();
                all.iter().map(|one| one[name].as_str().unwrap_or_default().to_owned()).collect()
            };
            left.sessions.extend(listed("/api/v1/sessions", "sessions", "id"));
            let mut gateways = listed("/api/v1/fleet", "gateways", "name");
            gateways.sort_unstable();
            left.gateways.push(gateways);
        }
        left.took = began.elapsed();
        let is_over = left.sessions.is_empty() && left.gateways.iter().all(|all| all.len() == service.members.len());
        if is_over || left.took >= LEFT_AT_MOST {
            return left;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the trails have what is in the folder of keys, for as long as that may take: whether they do, a check says.
#[track_caller]
fn until_told(service: &Service, users: &Users) {
    let began = Instant::now();
    while began.elapsed() < TOLD_WITHIN {
        let events: Vec<_> = service.members.iter().flat_map(|member| member.recorded()).collect();
        if untold(events.iter(), users).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn print(outcome: &Outcome, figures: &Figures, sessions: u64, started: Instant) {
    let Outcome { known, trails, users, left, deaths, .. } = outcome;
    let count = |number: &dyn Fn(&Known) -> usize| known.iter().map(number).sum::<usize>();
    report(&format!(
        "killed with SIGKILL: {} gateways ({} while there was no S3 server or no HAProxy), {} S3 servers, {} HAProxy, {} Redis, {} with a \
         fail-over, {} replicas",
        deaths.gateways.len(),
        deaths.within,
        deaths.s3.len(),
        deaths.balancers,
        deaths.redis,
        deaths.fail_overs,
        deaths.replicas,
    ));
    report(&format!(
        "{} uploads and {} removals acknowledged, {} files compared in the store, {} read back; {} sessions cut or not opened, {} operations \
         refused without a store; {} event lines, {} sessions; {} users, {} changes on record, {} of them twice after a death",
        count(&|known| known.uploads.len()),
        count(&|known| known.removed.len()),
        figures.files,
        count(&|known| known.read as usize),
        count(&|known| known.cut as usize),
        count(&|known| known.refused.len()),
        trails.iter().map(|(_, events)| events.len()).sum::<usize>(),
        figures.sessions,
        users.len(),
        figures.changes,
        figures.twice,
    ));
    report(&format!(
        "{sessions} sessions of a user with a limit of one, {} on record, {} of them while the gateways could ask each other, {} of the \
         others above the limit; nobody left {:?} after the last client; {} s",
        figures.logins,
        figures.judged,
        figures.above,
        left.took,
        started.elapsed().as_secs()
    ));
}
