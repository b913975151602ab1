//! What key exchanges may cost: the long computations run apart from the threads that move data, a few at a time and with
//! rests between them, and a client that asks for new keys all the time waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::pace::Pace;
use super::stream::Line;

/// How long a place rests after a computation, in multiples of the time that it took. A stranger's place works for a fifth of
/// the time, however many strangers there are: with what the rest of their exchanges costs, that is a quarter of a core.
const STRANGERS_REST: u32 = 4;

/// The same for clients that have logged in.
const USERS_REST: u32 = 1;

/// How much less important than the rest of the process the computations are to the system's scheduler.
const NICENESS: i32 = 10;

/// Exchanges that a client may begin one after the other, whatever it moves meanwhile.
const BURST: u32 = 64;

/// After those, one more after so long, or after so many bytes: a client that moves data pays for its own keys.
const PAUSE: Duration = Duration::from_millis(100);
const BYTES: u64 = 16 * 1024;

/// Where the long computations of all key exchanges run: in finite fields, and signatures with RSA host keys.
#[derive(Debug)]
pub(super) struct Computations {
    strangers: Arc<Semaphore>,
    users: Arc<Semaphore>,
}

impl Default for Computations {
    fn default() -> Self {
        Computations { strangers: Arc::new(Semaphore::new(1)), users: Arc::new(Semaphore::new(1)) }
    }
}

impl Computations {
    /// Runs a computation when its turn has come; returns when it is done, or when the system has no thread for it. Whoever does
    /// not wait for the end keeps the place busy all the same.
    pub(super) async fn run(&self, is_user: bool, computation: Box<dyn FnOnce() + Send>) {
        let (places, rest) = if is_user { (&self.users, USERS_REST) } else { (&self.strangers, STRANGERS_REST) };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (done, is_done) = oneshot::channel();
        let begun = std::thread::Builder::new().name("key-exchange".into()).spawn(move || {
            stand_back();
            let started = Instant::now();
            computation();
            let _ = done.send(started.elapsed());
        });
        if let Err(error) = begun {
            tracing::error!(%error, "a key exchange is given up: the system has no thread for it");
            return;
        }
        let (told, is_told) = oneshot::channel();
        tokio::spawn(async move {
            let took = is_done.await.unwrap_or_default();
            let _ = told.send(());
            tokio::time::sleep(took * rest).await;
            drop(place);
        });
        let _ = is_told.await;
    }
}

/// Lets the threads that move data go first.
fn stand_back() {
    // On Linux this is about the calling thread alone.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// How often one client may ask for new keys.
#[derive(Debug)]
pub(super) struct Rekeys {
    line: Arc<Line>,
    pace: Pace,
    /// The bytes that the client has paid with.
    paid: u64,
}

impl Rekeys {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Rekeys { line, pace: Pace::new(BURST, PAUSE), paid: 0 }
    }

    /// Waits until the client may have new keys.
    pub(super) async fn next(&mut self) {
        tokio::time::sleep(self.wait(Instant::now())).await;
    }

    fn wait(&mut self, now: Instant) -> Duration {
        let earned = (self.line.bytes_in() + self.line.bytes_out() - self.paid) / BYTES;
        self.paid += earned * BYTES;
        self.pace.earn(earned);
        self.pace.wait(now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::ssh::stream::WatchedStream;

    #[tokio::test]
    async fn keys_that_are_changed_all_the_time_are_waited_for_and_those_that_move_data_are_not() {
        let (socket, mut client) = tokio::io::duplex(1 << 20);
        let (mut stream, line) = WatchedStream::new(socket, &[]);
        let (mut rekeys, now) = (Rekeys::new(line), Instant::now());
        let waits: Vec<Duration> = (0..BURST + 2).map(|_| rekeys.wait(now)).collect();
        assert_eq!(waits.iter().position(|wait| !wait.is_zero()), Some(BURST as usize));
        assert_eq!(waits[BURST as usize + 1], PAUSE * 2);
        let mut data = vec![0; usize::try_from(BYTES).unwrap()];
        for n in 0..BURST * 2 {
            client.write_all(&data).await.unwrap();
            stream.read_exact(&mut data).await.unwrap();
            assert_eq!(rekeys.wait(now), Duration::ZERO, "{n}");
        }
    }

    #[tokio::test]
    async fn strangers_compute_one_at_a_time_and_rest_and_users_do_not_wait_for_them() {
        let computations = Arc::new(Computations::default());
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let started: Vec<_> = (0..3)
            .map(|_| {
                let (computations, running, most, held) =
                    (computations.clone(), running.clone(), most.clone(), held.clone());
                tokio::spawn(async move {
                    let computation = move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        held.lock().unwrap().recv().unwrap();
                        running.fetch_sub(1, Ordering::SeqCst);
                    };
                    computations.run(false, Box::new(computation)).await;
                })
            })
            .collect();
        // While a stranger computes, a user does.
        computations.run(true, Box::new(|| {})).await;
        for _ in 0..3 {
            release.send(()).unwrap();
        }
        for stranger in started {
            stranger.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_computation_that_nobody_waits_for_keeps_its_place_to_its_end() {
        let computations = Computations::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let computation = Box::new(move || held.recv().unwrap());
        let dropped = tokio::time::timeout(Duration::from_millis(50), computations.run(false, computation)).await;
        assert!(dropped.is_err());
        assert_eq!(computations.strangers.available_permits(), 0);
        release.send(()).unwrap();
        computations.run(false, Box::new(|| {})).await;
    }
}
