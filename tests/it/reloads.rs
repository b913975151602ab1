//! Many reloads: what they open they close again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::door::{Door, door_with};
use crate::support::campaign::{report, short_or_long};
use crate::support::data::MIB;
use crate::support::process::until;
use crate::support::sftp::Sftp;

const LIMIT: Duration = Duration::from_secs(60);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// Bytes.
    memory: u64,
}

impl Door {
    fn holds(&self) -> Held {
        let count =
            |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.gateway.pid())).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024;
        Held { descriptors: count("fd"), threads: count("task"), memory }
    }

    /// Reloads once, and waits until that is done.
    fn reload(&self) {
        let reloads = || self.gateway.log().matches("reloaded: users").count();
        let before = reloads();
        self.gateway.signal(Signal::HUP);
        let deadline = std::time::Instant::now() + LIMIT;
        while reloads() == before {
            assert!(std::time::Instant::now() < deadline, "no reload: {}", self.gateway.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Uploads and downloads with a new connection each, until told to stop; how many.
    fn work(&self, stop: &AtomicBool) -> usize {
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut session = Sftp::connect(&self.client, LIMIT);
            session.put("/file", b"content");
            assert_eq!(session.get("/file"), b"content");
            assert_eq!(session.names("/"), ["file", "second/"]);
            rounds += 1;
        }
        rounds
    }
}

#[test]
fn many_reloads_leave_descriptors_threads_and_memory_as_they_were() {
    let door = door_with(|setup, alice| {
        setup.local_store("second");
        alice.home("/second", "second:/")
    });
    let count = short_or_long(200, 10_000);
    // What the first ones take is kept for those that follow.
    reload_at_work(&door, 50);
    let before = door.holds();
    reload_at_work(&door, count);
    // The last connections and their tasks end on their own.
    until("end of what the reloads have opened", LIMIT, || {
        (door.holds().descriptors <= before.descriptors + 8).then_some(())
    });
    let after = door.holds();
    // Threads of the blocking pool wait for more work before they end.
    assert!(after.threads <= before.threads + 64, "{before:?}, {after:?}");
    report(&format!("{count} reloads: {before:?}, {after:?}"));
    assert!(after.memory <= before.memory + 24 * MIB, "{before:?}, {after:?}");
}

/// Reloads so often while a client works.
fn reload_at_work(door: &Door, count: usize) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let working = scope.spawn(|| door.work(&stop));
        for _ in 0..count {
            door.reload();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(working.join().unwrap() > 0, "nobody worked meanwhile");
    });
}
