//! What key exchanges cost: those that compute long go on beside everything else, and nobody has new keys all the time.

use std::time::{Duration, Instant};

use crate::support::campaign::{alone, is_long, report, short_or_long};
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, python, run};
use crate::support::raw_sftp::{RawSftp, STAT, string};
use crate::support::setup::{Setup, User};

fn gateway() -> (Setup, Gateway, Key) {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("key");
    let user = User::new("alice").home("/", "main:/").key(&key).password("staple");
    setup.user(user.set("auth", "public_key_or_password"));
    let gateway = setup.start();
    (setup, gateway, key)
}

#[test]
fn every_finite_field_group_logs_in_and_changes_keys() {
    let (setup, gateway, key) = gateway();
    let file = setup.folder().join("file");
    std::fs::write(&file, vec![7; 3_000_000]).expect("a file");
    for group in ["group16-sha512", "group18-sha512", "group-exchange-sha256"] {
        let client = gateway.client("alice", &key).with(&format!("KexAlgorithms=diffie-hellman-{group}"));
        client.with("RekeyLimit=1M").sftp(&format!("put {} /file\n", file.display())).succeeded();
    }
    gateway.stop();
}

#[test]
fn an_rsa_host_key_signs() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let (key, host) = (setup.key("key"), Key::make(setup.folder(), "host", "rsa"));
    setup.user(User::new("alice").home("/", "main:/").key(&key));
    setup.config["server"]["host_keys"] = serde_json::json!([host.private]);
    let gateway = setup.start();
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let client = gateway.client("alice", &key).with(&format!("HostKeyAlgorithms={algorithm}"));
        client.with("StrictHostKeyChecking=no").with("UserKnownHostsFile=/dev/null").sftp("pwd\n").succeeded();
    }
    gateway.stop();
}

/// It waits now and then, and is served.
#[test]
fn a_client_that_changes_keys_all_the_time_goes_on() {
    let (_setup, gateway, _) = gateway();
    let mut client = python("several_attempts.py");
    run(client.args(["exchange-often", &gateway.port.to_string(), "alice", "staple", "100"])).succeeded();
    gateway.stop();
}

/// Strangers who exchange keys in the largest group that is served, as fast as they can: the gateway spends a quarter of a core on all of
/// them together, a session that is logged in does not feel it, and others log in.
#[test]
fn siege_of_key_exchanges_in_the_largest_group() {
    let _alone = alone();
    let (_setup, gateway, key) = gateway();
    let client = gateway.client("alice", &key);
    let mut sftp = RawSftp::connect(&client, LIMIT);
    let count = short_or_long(500, 5000);
    let quiet = slowest_of_hundred(&mut sftp, count);

    let seconds = short_or_long(4, 20);
    let siege = |seconds: u64| {
        let addresses = (1..=20).map(|n| format!("127.0.1.{n}"));
        let mut strangers = python("stranger.py");
        strangers.args([&gateway.port.to_string(), &seconds.to_string(), "diffie-hellman-group18-sha512", "2"]);
        Running::start(strangers.args(addresses))
    };
    let (before, began) = (gateway.cpu_time(), Instant::now());
    siege(seconds).finish(LIMIT).succeeded();
    let share = (gateway.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    // A loaded machine makes it smaller, never larger.
    assert!(share < 0.25, "{share:.2} of a core for strangers");

    let mut strangers = siege(seconds);
    let mut besieged = Duration::ZERO;
    let mut logins = 0;
    while !strangers.has_ended() {
        besieged = besieged.max(slowest_of_hundred(&mut sftp, count / 5));
        client.sftp("pwd\n").succeeded();
        logins += 1;
    }
    let said = strangers.finish(LIMIT).succeeded().stdout;
    report(&format!(
        "key exchanges of strangers in group 18: {share:.2} of a core; p99 of STAT {quiet:?} quiet, {besieged:?} besieged; \
         {logins} logins of others; answered and refused: {}",
        said.trim()
    ));
    if is_long() {
        assert!(besieged < Duration::from_millis(10), "p99 of STAT: {besieged:?}");
    }
    gateway.stop();
}

/// The time within which ninety-nine of a hundred STATs are answered.
fn slowest_of_hundred(sftp: &mut RawSftp, count: u32) -> Duration {
    let mut times: Vec<Duration> = (0..count)
        .map(|id| {
            let began = Instant::now();
            sftp.call(STAT, id, &[&string(b"/")]);
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}
