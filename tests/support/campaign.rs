//! Tests with a short form, which always runs, and a long one, which `tests/run long` asks for.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether the long forms are wanted.
pub fn is_long() -> bool {
    std::env::var_os("LOCKGATE_LONG").is_some_and(|value| !value.is_empty())
}

/// One of two values.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Keeps tests apart that need much of the machine's memory, disk or time.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line of figures. It is seen also of tests that pass.
pub fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "== {line}");
}

/// A seed that is new in each run, or the one of LOCKGATE_SEED.
pub fn seed() -> u64 {
    let given = std::env::var("LOCKGATE_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    })
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // The first numbers of neighbouring seeds are alike.
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
