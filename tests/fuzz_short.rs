//! The fuzzer's targets for a few seconds each, without the fuzzer: the seeds, and what random changes make of them.
//!
//! The changes are the same in every run, so a failure can be repeated; it prints the input. `tests/run long` runs the real fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most inputs of one target.
const INPUTS: usize = 200_000;

/// How long one target runs, when enough was tried by then.
const TIME: Duration = Duration::from_secs(3);

/// So many inputs are tried whatever that takes.
const ENOUGH: usize = 20;

/// The longest input that is made.
const LONGEST: usize = 4096;

/// The events of all bodies go to one place, so one runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Random numbers that are the same in every run (xorshift64*, Marsaglia and Vigna).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 12] = [0, 1, 2, 3, 0x7f, 0x80, 0xff, b'/', b'.', b'\n', b'1', b'\''];
        match self.next() >> 62 {
            0 => TELLING[self.below(TELLING.len())],
            _ => u8::try_from(self.next() >> 56).unwrap(),
        }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Changes an input in one place.
    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let count = 1 + self.below(8);
        match self.below(6) {
            0 => input.truncate(at),
            1 => {
                let end = (at + count).min(input.len());
                input.drain(at..end);
            }
            2 => {
                let new = self.bytes(count);
                input.splice(at..at, new);
            }
            3 => {
                let other = &seeds[self.below(seeds.len())];
                let (start, length) = (self.below(other.len() + 1), self.below(64));
                let piece = &other[start..(start + length).min(other.len())];
                input.splice(at..at, piece.iter().copied());
            }
            _ => {
                let end = (at + count).min(input.len());
                input[at..end].iter_mut().for_each(|byte| *byte = self.byte());
            }
        }
        input.truncate(LONGEST);
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("a folder of seeds").map(|e| e.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

/// Runs one input; prints it when the body panics.
fn run(body: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        eprintln!("the input is {:?}", input.escape_ascii().to_string());
        resume_unwind(panic);
    }
}

fn campaign(target: &str, body: fn(&[u8])) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| run(body, seed));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let started = Instant::now();
    let mut inputs = 0;
    while inputs < INPUTS && (inputs < ENOUGH || started.elapsed() < TIME) {
        let mut input = match random.below(16) {
            0 => {
                let length = random.below(256);
                random.bytes(length)
            }
            _ => seeds[random.below(seeds.len())].clone(),
        };
        for _ in 0..1 + random.below(6) {
            random.change(&mut input, &seeds);
        }
        run(body, &input);
        inputs += 1;
    }
    println!("{target}: {inputs} inputs in {:?}", started.elapsed());
}

#[test]
fn sftp_frames() {
    campaign("sftp_frames", bodies::sftp_frames);
}

#[test]
fn sftp_channel() {
    campaign("sftp_channel", bodies::sftp_channel);
}

#[test]
fn scp_records() {
    campaign("scp_records", bodies::scp_records);
}

#[test]
fn scp_commands() {
    campaign("scp_commands", bodies::scp_commands);
}

#[test]
fn scp_channel() {
    campaign("scp_channel", bodies::scp_channel);
}

#[test]
fn kexinit() {
    campaign("kexinit", bodies::kexinit);
}

#[test]
fn revoked_keys() {
    campaign("revoked_keys", bodies::revoked_keys);
}

#[test]
fn proxy_headers() {
    campaign("proxy_headers", bodies::proxy_headers);
}

#[test]
fn paths() {
    campaign("paths", bodies::paths);
}

#[test]
fn events() {
    campaign("events", bodies::events);
}

#[test]
fn jump_channel() {
    campaign("jump_channel", bodies::jump_channel);
}

#[test]
fn target_addresses() {
    campaign("target_addresses", bodies::target_addresses);
}
