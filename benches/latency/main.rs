//! What latency of the store costs: `sftp` gets and puts of one large file through the gateway to an S3 server, with and
//! without a delay before every request.
//!
//!     cargo bench --bench latency
//!
//! Runs alternate; the table has the medians of whole commands, login included, and the command fails when a ratio is below
//! 0.8. Settings, as variables: SIZE_MIB=1024 RUNS=3 LATENCY_MS=50. The S3 server and the files are on tmpfs where there is
//! room: about four times the size.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use support::client::{Client, quoted};
use support::data::{assert_same_bytes, write_noise};
use support::gateway::Gateway;
use support::proxy::Proxy;
use support::s3;
use support::setup::{Setup, User};

#[path = "../../tests/support/mod.rs"]
mod support;

/// What is left of the speed at least.
const LEAST: f64 = 0.8;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this file as well.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run it with: cargo bench --bench latency");
        return ExitCode::SUCCESS;
    }
    let (size_mib, runs) = (setting("SIZE_MIB", 1024), setting("RUNS", 3));
    let latency = Duration::from_millis(setting("LATENCY_MS", 50));
    let bench = Bench::start(size_mib);
    println!("{size_mib} MiB, {runs} runs, {latency:?} before every request\n");
    println!("| | MB/s without | MB/s with | ratio | requests |\n|---|---|---|---|---|");
    let mut enough = true;
    for direction in [Direction::Get, Direction::Put] {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut requests = String::new();
        // The first round warms up and compares the bytes; it is not timed.
        for round in 0..=runs {
            for (delay, times) in [(Duration::ZERO, &mut without), (latency, &mut with)] {
                bench.proxy.delay(delay);
                bench.proxy.counts();
                let time = bench.transfer(direction, round == 0);
                requests = bench.proxy.counts();
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let speed = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            size_mib as f64 * 1.048_576 / times[times.len() / 2]
        };
        let (without, with) = (speed(&mut without), speed(&mut with));
        println!("| {direction:?} | {without:.0} | {with:.0} | {:.2} | {requests} |", with / without);
        enough &= with >= LEAST * without;
    }
    if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Get,
    Put,
}

/// A gateway before an S3 server, with a proxy between them.
struct Bench {
    client: Client,
    proxy: Proxy,
    payload: PathBuf,
    got: PathBuf,
    _gateway: Gateway,
    _setup: Setup,
}

impl Bench {
    fn start(size_mib: u64) -> Bench {
        let (store, proxy) = (s3::new_store(), Proxy::start(&s3::endpoint()));
        let mut setup = Setup::new();
        setup.store("main", json!({ "url": store.url(), "options": store.options_through(&proxy.endpoint()) }));
        let key = setup.key("bench");
        setup.user(User::new("bench").key(&key).home("/", "main:/"));
        let gateway = setup.start();
        let client =
            gateway.client("bench", &key).within(Duration::from_secs(600)).with("Ciphers=aes128-gcm@openssh.com");
        let (payload, got) = (setup.folder().join("payload"), setup.folder().join("got"));
        write_noise(&payload, size_mib << 20, 7);
        let bench = Bench { client, proxy, payload, got, _gateway: gateway, _setup: setup };
        bench.run("put", &bench.payload, "source");
        bench
    }

    /// One transfer; its time in seconds.
    fn transfer(&self, direction: Direction, compare: bool) -> f64 {
        let time = match direction {
            Direction::Get => self.run("get", "source".as_ref(), self.got.to_str().unwrap()),
            Direction::Put => self.run("put", &self.payload, "target"),
        };
        if compare {
            if direction == Direction::Put {
                self.run("get", "target".as_ref(), self.got.to_str().unwrap());
            }
            assert_same_bytes(&self.got, &self.payload);
        }
        let _ = fs::remove_file(&self.got);
        time
    }

    fn run(&self, command: &str, from: &std::path::Path, to: &str) -> f64 {
        let started = Instant::now();
        self.client.sftp(&format!("{command} {} {}\n", quoted(from.to_str().unwrap()), quoted(to))).succeeded();
        started.elapsed().as_secs_f64()
    }
}
