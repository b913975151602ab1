//! A slow line: a proxy on loopback that delays what passes, passes only so much a second, and can stop altogether.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What one read takes at most.
const PIECE: usize = 4 * 1024;

/// How many pieces wait on the line.
const QUEUE: usize = 64;

/// The line. Its connections are cut when this is dropped.
#[derive(Debug)]
pub struct Link {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: u16,
    /// One way.
    delay: Duration,
    bytes_per_second: f64,
    is_stopped: AtomicBool,
    has_ended: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A line to a port on loopback.
    pub fn to(port: u16, delay: Duration, bytes_per_second: u32) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let shared = Arc::new(Shared {
            to: port,
            delay,
            bytes_per_second: bytes_per_second.into(),
            is_stopped: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let link = Link { port: listener.local_addr().expect("an address").port(), shared: shared.clone() };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if shared.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                shared.join(near);
            }
        });
        link
    }

    /// From now on nothing passes.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }

    /// It passes again.
    pub fn go_on(&self) {
        self.shared.is_stopped.store(false, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        // The listener wakes up and ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    /// Carries one connection, both ways.
    fn join(self: &Arc<Self>, near: TcpStream) {
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to)) else { return };
        for socket in [&near, &far] {
            let _ = socket.set_nodelay(true);
            self.sockets.lock().unwrap().push(socket.try_clone().expect("a socket"));
        }
        let (near_end, far_end) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
        self.carry(near, far_end);
        self.carry(far, near_end);
    }

    fn carry(self: &Arc<Self>, mut from: TcpStream, to: TcpStream) {
        let (sender, pieces) = sync_channel(QUEUE);
        let shared = self.clone();
        thread::spawn(move || shared.take(&mut from, &sender));
        let shared = self.clone();
        thread::spawn(move || shared.give(&pieces, to));
    }

    fn take(&self, from: &mut TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>) {
        let mut buffer = [0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + self.delay, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }

    fn give(&self, pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
        let mut line_is_free = Instant::now();
        while let Ok((due, piece)) = pieces.recv() {
            let start = due.max(line_is_free);
            line_is_free = start + Duration::from_secs_f64(piece.len() as f64 / self.bytes_per_second);
            thread::sleep(line_is_free.saturating_duration_since(Instant::now()));
            while self.is_stopped.load(Ordering::Relaxed) && !self.has_ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
