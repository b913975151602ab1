//! The gateways are replaced one after the other under load: no login fails, and no transfer is cut that is shorter than the drain.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::load::Round;
use super::service::Service;
use crate::support::campaign::{alone, report, short_or_long};
use crate::support::content::{Content, recognize};
use crate::support::events::field;
use crate::support::process::{LIMIT, run_with};

/// A transfer of so many bytes at [`RATE`] needs five seconds.
const LONG: u64 = 5_000_000;

/// In kbit/s, as OpenSSH's programs have it.
const RATE: &str = "8000";

/// How many programs run at once: those that upload a little, of which some are always about to log in, and those that need longer.
const SHORT_AT_ONCE: u64 = 6;
const LONG_AT_ONCE: u64 = 2;

#[test]
fn replacing_the_gateways_one_after_the_other_fails_no_login_and_cuts_no_transfer() {
    let _alone = alone();
    let started = Instant::now();
    let service = Service::start("60s");
    let (round, next) = (Round::default(), AtomicU64::new(0));
    let (service, round, next) = (&service, &round, &next);
    let replaced = short_or_long(1, 10);
    let uploads: Vec<(String, Content)> = thread::scope(|scope| {
        let short = (0..SHORT_AT_ONCE).map(|_| scope.spawn(move || upload(service, round, next, 20_000, &[])));
        let long = (0..LONG_AT_ONCE).map(|_| scope.spawn(move || upload(service, round, next, LONG, &["-l", RATE])));
        let clients: Vec<_> = short.chain(long).collect();
        let ending = Ending(round);
        for member in (0..replaced).flat_map(|_| &service.members) {
            thread::sleep(Duration::from_secs(1));
            member.stop();
            member.start();
            service.until_balanced(member);
        }
        drop(ending);
        clients.into_iter().flat_map(|client| client.join().expect("a client whose uploads all succeed")).collect()
    });
    let trails = service.end();
    for (path, content) in &uploads {
        assert_eq!(service.store.read(&path[1..], |object| recognize(object)), Ok(*content), "{path}");
    }
    let all = || trails.iter().flat_map(|(_, events)| events);
    let count = |kind: &str| all().filter(|event| field(event, "activity-type") == kind).count();
    assert_eq!(count("PARTIAL_CLOSE"), 0, "a transfer was cut");
    assert_eq!(count("AUTH_FAILURE"), 0);
    let long = uploads.iter().filter(|(_, content)| content.length == LONG).count();
    report(&format!(
        "{} gateways replaced under load: {} logins, {} uploads in a session each, {long} of them of five seconds, none failed; {} s",
        replaced * service.members.len(),
        count("CONNECTED"),
        uploads.len(),
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

/// One program of OpenSSH after the other, each of which logs in, uploads one file, and has to succeed.
fn upload(service: &Service, round: &Round, next: &AtomicU64, length: u64, flags: &[&str]) -> Vec<(String, Content)> {
    let client = service.client("alice");
    let mut done = Vec::new();
    while !round.is_over() {
        let content = Content::new(next.fetch_add(1, Ordering::Relaxed) + 1, length);
        let (local, path) = (service.folder().join(format!("local-{}", content.id)), format!("/r-{}", content.id));
        std::fs::write(&local, content.bytes()).expect("room for a file");
        let mut command = client.command("sftp");
        command.args(flags).args(["-b", "-"]).arg(client.host());
        run_with(&mut command, format!("put {} {path}\n", local.display()).as_bytes(), LIMIT).succeeded();
        std::fs::remove_file(&local).expect("a file of ours");
        done.push((path, content));
    }
    done
}
