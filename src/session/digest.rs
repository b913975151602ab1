//! SHA-256 of what a transfer moves. The first bytes are digested where they pass, for small files are over before anybody else has
//! woken; what follows is left to threads of its own, so that it does not hold up the one transfer where a core is free.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};
use base16ct::lower::encode_string;
use bytes::Bytes;

/// So many bytes of each transfer are digested where they pass.
const AT_FIRST: u64 = 256 << 10;

/// From so many bytes on it pays to wake a thread.
const WORTH_WAKING: usize = 128 << 10;

/// What a piece of bytes takes beside them, in bytes: small ones take more than they hold.
const EACH_PIECE: usize = 128;

/// The most bytes that wait of one transfer, and of all together, with what each piece takes. Beyond that they are digested where
/// they pass.
const MOST_WAITING: usize = 1 << 20;
const MOST_OF_ALL: usize = 16 << 20;

/// The most threads.
const MOST_THREADS: usize = 4;

/// The digest of bytes that come in order.
pub(super) struct Digest {
    shared: Arc<Shared>,
    /// How many bytes came.
    length: u64,
}

/// What a thread may work on.
#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    /// The context is back.
    is_back: Condvar,
}

struct Work {
    /// `None` while a thread works on it.
    context: Option<Context>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Whether a thread will come to it.
    is_queued: bool,
}

impl Default for Work {
    fn default() -> Work {
        Work { context: Some(Context::new(&SHA256)), waiting: VecDeque::new(), waiting_bytes: 0, is_queued: false }
    }
}

/// The threads, and what waits for one.
struct Pool {
    queue: Mutex<VecDeque<Arc<Shared>>>,
    has_work: Condvar,
    waiting_bytes: AtomicUsize,
    threads: usize,
}

impl Digest {
    /// Of no bytes yet.
    pub(super) fn new() -> Digest {
        Digest { shared: Arc::default(), length: 0 }
    }

    /// How many bytes it has, which is where the next ones begin.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes.
    pub(super) fn add(&mut self, data: &Bytes) {
        self.length += data.len() as u64;
        let pool = pool();
        let mut work = self.shared.lock();
        let passes_here = self.length <= AT_FIRST || pool.threads == 0;
        if let (true, true, Some(context)) = (passes_here, work.waiting.is_empty(), &mut work.context) {
            context.update(data);
            return;
        }
        let size = data.len() + EACH_PIECE;
        work.waiting.push_back(data.clone());
        work.waiting_bytes += size;
        let of_all = pool.waiting_bytes.fetch_add(size, Ordering::Relaxed) + size;
        if work.waiting_bytes > MOST_WAITING || of_all > MOST_OF_ALL {
            drop(self.shared.catch_up(work));
        } else if !work.is_queued && work.waiting_bytes >= WORTH_WAKING {
            work.is_queued = true;
            drop(work);
            pool.queue(Arc::clone(&self.shared));
        }
    }

    /// The digest, in hex digits.
    pub(super) fn finish(self) -> String {
        let mut work = self.shared.catch_up(self.shared.lock());
        let context = work.context.take().unwrap_or_else(|| Context::new(&SHA256));
        encode_string(context.finish().as_ref())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        // Nobody wants to know any more; a thread that comes to it finds nothing.
        self.shared.lock().take_waiting();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Digests here all that waits, when the thread that works on it has done its part.
    fn catch_up<'a>(&self, mut work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        while work.context.is_none() {
            work = self.is_back.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        let waiting = work.take_waiting();
        if let Some(context) = &mut work.context {
            waiting.iter().for_each(|data| context.update(data));
        }
        work
    }

    /// What a thread does: digests what waits, without keeping others from adding to it. Whether more has come meanwhile; then it is
    /// the turn of others first.
    fn work_off(&self) -> bool {
        let mut work = self.lock();
        if let Some(mut context) = work.context.take() {
            let waiting = work.take_waiting();
            drop(work);
            waiting.iter().for_each(|data| context.update(data));
            drop(waiting);
            work = self.lock();
            work.context = Some(context);
            self.is_back.notify_all();
        }
        work.is_queued = work.waiting_bytes >= WORTH_WAKING;
        work.is_queued
    }
}

impl Work {
    fn take_waiting(&mut self) -> VecDeque<Bytes> {
        let bytes = std::mem::take(&mut self.waiting_bytes);
        pool().waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        std::mem::take(&mut self.waiting)
    }
}

impl Pool {
    fn queue(&self, shared: Arc<Shared>) {
        self.lock().push_back(shared);
        self.has_work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Shared>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Arc<Shared> {
        let mut queue = self.lock();
        loop {
            match queue.pop_front() {
                Some(shared) => return shared,
                None => queue = self.has_work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The threads of the process; none where there is one core, or where they cannot be started.
fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let wanted = thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).min(MOST_THREADS);
        let start = |number: &usize| {
            let named = thread::Builder::new().name(format!("digest-{number}"));
            named.spawn(|| {
                loop {
                    let shared = pool().next();
                    if shared.work_off() {
                        pool().queue(shared);
                    }
                }
            })
        };
        let threads = (0..wanted).map(|number| start(&number)).take_while(Result::is_ok).count();
        Pool { queue: Mutex::default(), has_work: Condvar::new(), waiting_bytes: AtomicUsize::new(0), threads }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plain(data: &[u8]) -> String {
        let digest = aws_lc_rs::digest::digest(&SHA256, data);
        encode_string(digest.as_ref())
    }

    #[test]
    fn pieces_of_any_size_come_to_the_digest_of_the_whole() {
        let data: Bytes = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for size in [1_000, 4_096, 32 << 10, 255 << 10, 3 << 20] {
            let mut digest = Digest::new();
            let mut from = 0;
            while from < data.len() {
                let to = data.len().min(from + size);
                digest.add(&data.slice(from..to));
                from = to;
            }
            assert_eq!(digest.length(), data.len() as u64);
            assert_eq!(digest.finish(), plain(&data), "{size}");
        }
        assert_eq!(Digest::new().finish(), plain(b""));
    }

    #[test]
    fn small_pieces_wait_no_longer_than_large_ones() {
        let (mut digest, piece) = (Digest::new(), Bytes::from_static(b"x"));
        digest.add(&Bytes::from(vec![0; AT_FIRST as usize]));
        let mut most = 0;
        for _ in 0..100_000 {
            digest.add(&piece);
            most = most.max(digest.shared.lock().waiting.len());
        }
        assert!(most <= MOST_WAITING / EACH_PIECE, "{most} pieces");
        let whole = [vec![0; AT_FIRST as usize], vec![b'x'; 100_000]].concat();
        assert_eq!(digest.finish(), plain(&whole));
    }

    #[test]
    fn many_at_once_are_kept_apart_and_within_bounds() {
        let transfers: Vec<_> = (0..40_u8)
            .map(|n| {
                thread::spawn(move || {
                    let data = Bytes::from(vec![n; 64 << 10]);
                    let mut digest = Digest::new();
                    let mut most = 0;
                    for _ in 0..100 {
                        digest.add(&data);
                        most = most.max(digest.shared.lock().waiting_bytes);
                    }
                    assert!(most <= MOST_WAITING, "{most}");
                    // One in four is given up half-way.
                    if n % 4 == 0 {
                        return;
                    }
                    assert_eq!(digest.finish(), plain(&vec![n; 6_400 << 10]));
                })
            })
            .collect();
        transfers.into_iter().for_each(|transfer| transfer.join().unwrap());
    }
}
