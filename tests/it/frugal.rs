//! What a request and an idle session cost, in what does not depend on how busy the machine is.

use std::fs;

use crate::support::campaign::report;
use crate::support::client::Client;
use crate::support::data::KIB;
use crate::support::gateway::Gateway;
use crate::support::process::LIMIT;
use crate::support::raw_sftp::{RawSftp, STAT, string};
use crate::support::setup::{Setup, User};

const NO_SUCH_FILE: u32 = 2;

/// A gateway on a memory store: no disk has a say in what is done where.
fn start() -> (Gateway, Client) {
    let mut setup = Setup::new();
    setup.memory_store("memory");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "memory:/"));
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    (gateway, client)
}

/// How often threads of the gateway have gone to sleep.
fn sleeps(gateway: &Gateway) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    // A thread may end meanwhile.
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    threads.filter_map(of_thread).sum()
}

/// Bytes of its own that the gateway has in memory.
fn memory(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * KIB
}

#[test]
fn a_request_wakes_one_thread() {
    const REQUESTS: u32 = 3_000;
    let (gateway, client) = start();
    let mut session = RawSftp::connect(&client, LIMIT);
    let mut ask = |id| assert_eq!(session.call(STAT, id, &[&string(b"/none")]).status(), NO_SUCH_FILE);
    (0..100).for_each(&mut ask);
    let before = sleeps(&gateway);
    (0..REQUESTS).for_each(&mut ask);
    let slept = sleeps(&gateway) - before;
    report(&format!("{slept} waits of threads for {REQUESTS} requests"));
    // With two tasks more on the way it is two for each.
    assert!(slept < u64::from(REQUESTS) * 3 / 2, "{slept} for {REQUESTS} requests");
    drop(session);
    gateway.stop();
}

#[test]
fn an_idle_session_takes_little_memory() {
    const SESSIONS: u64 = 96;
    /// Of one. Builds for tests take more than released ones.
    const MOST: u64 = 48 * KIB;
    let (gateway, client) = start();
    let connect = |count: u64| (0..count).map(|_| RawSftp::connect(&client, LIMIT)).collect::<Vec<_>>();
    let first = connect(4);
    let before = memory(&gateway);
    let idle = connect(SESSIONS);
    let each = memory(&gateway).saturating_sub(before) / SESSIONS;
    report(&format!("{} KiB for each idle session", each / KIB));
    assert!(each <= MOST, "{each} bytes for each idle session");
    drop((first, idle));
    gateway.stop();
}
