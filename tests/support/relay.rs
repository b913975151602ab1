//! A TCP relay between a client and a server, which cuts the connection where a test wants it, or holds it up.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::process::LIMIT;

/// How a connection ends for the server.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// FIN, as when the client's process ends.
    Closed,
    /// RST, as when the client's machine forgot the connection.
    Reset,
}

/// Judges what a client sends before it is passed on.
type Watch = dyn Fn(&[u8]) + Send + Sync;

/// The relay; its connections end with it.
pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: u16,
    /// The client's bytes after which the connection is cut.
    limit: u64,
    how: Cut,
    sent: AtomicU64,
    ended: AtomicBool,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
    watch: Box<Watch>,
}

impl Relay {
    /// Passes everything on until [`Relay::cut`].
    pub fn to(server: u16, how: Cut) -> Relay {
        Relay::start(server, u64::MAX, how, Box::new(|_| {}))
    }

    /// Passes on only so many of the client's bytes, then cuts.
    pub fn cutting_after(server: u16, bytes: u64, how: Cut) -> Relay {
        Relay::start(server, bytes, how, Box::new(|_| {}))
    }

    /// Shows `watch` what the clients send, piece by piece; the piece goes on when it returns.
    pub fn watching(server: u16, watch: impl Fn(&[u8]) + Send + Sync + 'static) -> Relay {
        Relay::start(server, u64::MAX, Cut::Closed, Box::new(watch))
    }

    fn start(server: u16, limit: u64, how: Cut, watch: Box<Watch>) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (sent, ended, open) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { server, limit, how, sent, ended, open, watch });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Acquire) || accepting.serve(client).is_err() {
                    break;
                }
            }
        });
        Relay { port, shared }
    }

    /// How many of the clients' bytes went through.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        if matches!(self.how, Cut::Reset) {
            rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO))?;
        }
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        self.open.lock().unwrap().push((client.try_clone()?, server.try_clone()?));
        let shared = self.clone();
        thread::spawn(move || shared.pass_up(client, server));
        thread::spawn(move || pass_down(from_server, to_client));
        if self.limit == 0 {
            self.cut();
        }
        Ok(())
    }

    fn pass_up(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            (self.watch)(&buffer[..length]);
            let room = self.limit - self.sent.load(Ordering::Acquire);
            let passed = length.min(usize::try_from(room).unwrap_or(usize::MAX));
            if server.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if self.sent.fetch_add(passed as u64, Ordering::AcqRel) + passed as u64 == self.limit {
                return self.cut();
            }
        }
        let _ = server.shutdown(Shutdown::Write);
    }

    fn cut(&self) {
        for (client, server) in self.open.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            // A reset is sent when the last of us lets go of the socket; closing the reading side only wakes who reads.
            let _ = server.shutdown(match self.how {
                Cut::Closed => Shutdown::Both,
                Cut::Reset => Shutdown::Read,
            });
        }
    }
}

fn pass_down(mut server: TcpStream, mut client: TcpStream) {
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Write);
}

/// A gate that is shut until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open, at most two minutes.
    pub fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        let _ = self.0.1.wait_timeout_while(shut, LIMIT, |open| !*open).unwrap();
    }
}
