//! A connection to a syslog server. It blocks the sink's thread, within time-outs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::audit::sink::authorities::client_config;
use crate::audit::sink::settings::{Framing, HostPort, SyslogAddress, SyslogTarget};

/// Bytes of a server's answers that are thrown away at once; a syslog server answers nothing.
const ANSWER: usize = 4096;

/// An open connection.
pub(super) enum Connection {
    Tcp(TcpStream),
    Tls(Box<ClientConnection>, TcpStream),
    Stream(UnixStream),
    Datagram(UnixDatagram),
}

impl Connection {
    /// Connects; over TLS, also shakes hands.
    pub(super) fn open(target: &SyslogTarget) -> io::Result<Connection> {
        match &target.address {
            SyslogAddress::Tcp(to) => Ok(Connection::Tcp(connect(to, target.timeout)?)),
            SyslogAddress::Tls { to, ca_file } => {
                let config = client_config(ca_file.as_deref()).map_err(io::Error::other)?;
                let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
                let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                let mut stream = connect(to, target.timeout)?;
                let deadline = Instant::now() + target.timeout * 3;
                while tls.is_handshaking() {
                    if Instant::now() > deadline {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    tls.complete_io(&mut stream).map_err(within(target.timeout))?;
                }
                Ok(Connection::Tls(Box::new(tls), stream))
            }
            SyslogAddress::Unix(path) => open_socket(path, target.timeout),
        }
    }

    /// Whether each send is one message.
    pub(super) fn keeps_messages_apart(&self) -> bool {
        matches!(self, Connection::Datagram(_))
    }

    /// The framing that it has by custom, whatever is configured.
    pub(super) fn framing(&self) -> Option<Framing> {
        matches!(self, Connection::Stream(_)).then_some(Framing::Newline)
    }

    /// Gives all of it to the operating system.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.write_all(bytes),
            Connection::Tls(tls, stream) => send_tls(tls, stream, bytes),
            Connection::Stream(stream) => stream.write_all(bytes),
            Connection::Datagram(socket) => socket.send(bytes).map(drop),
        }
    }

    /// Fails when the connection has ended. Does not wait.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.set_nonblocking(true)?;
        let seen = loop {
            match self.read() {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.set_nonblocking(false)?;
        seen
    }

    /// Says that nothing follows, and waits until the server has hung up too: then it has read everything.
    pub(super) fn close(mut self, limit: Duration) -> io::Result<()> {
        match &mut self {
            Connection::Tcp(stream) => stream.shutdown(Shutdown::Write)?,
            Connection::Tls(tls, stream) => {
                tls.send_close_notify();
                send_tls(tls, stream, &[])?;
                stream.shutdown(Shutdown::Write)?;
            }
            Connection::Stream(stream) => stream.shutdown(Shutdown::Write)?,
            Connection::Datagram(_) => return Ok(()),
        }
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.set_read_timeout(left)?;
            if self.read()? == 0 {
                return Ok(());
            }
        }
    }

    /// Reads what a server should not have said; 0 at the end.
    fn read(&mut self) -> io::Result<usize> {
        let mut answer = [0; ANSWER];
        match self {
            Connection::Tcp(stream) => stream.read(&mut answer),
            Connection::Tls(tls, stream) => {
                let read = tls.read_tls(stream)?;
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                if state.plaintext_bytes_to_read() > 0 {
                    let _ = tls.reader().read(&mut answer)?;
                }
                Ok(if state.peer_has_closed() { 0 } else { read })
            }
            Connection::Stream(stream) => stream.read(&mut answer),
            // A datagram socket without a name of its own gets no answers.
            Connection::Datagram(socket) => socket.take_error()?.map_or(Err(io::ErrorKind::WouldBlock.into()), Err),
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) | Connection::Tls(_, stream) => stream.set_nonblocking(nonblocking),
            Connection::Stream(stream) => stream.set_nonblocking(nonblocking),
            Connection::Datagram(_) => Ok(()),
        }
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) | Connection::Tls(_, stream) => stream.set_read_timeout(Some(timeout)),
            Connection::Stream(stream) => stream.set_read_timeout(Some(timeout)),
            Connection::Datagram(_) => Ok(()),
        }
    }
}

fn connect(to: &HostPort, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (to.host.as_str(), to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_read_timeout(Some(timeout))?;
                notice_silence(stream.as_fd(), timeout)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The connection ends when the other side does not confirm what it received within the time-out, or is gone while nothing
/// is sent.
fn notice_silence(socket: std::os::fd::BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, timeout.max(Duration::from_secs(1)))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_user_timeout(socket, u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// `/dev/log` is a datagram socket with most servers, and a stream socket with some.
fn open_socket(path: &Path, timeout: Duration) -> io::Result<Connection> {
    let datagram = UnixDatagram::unbound()?;
    match datagram.connect(path) {
        Ok(()) => {
            datagram.set_write_timeout(Some(timeout))?;
            Ok(Connection::Datagram(datagram))
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(timeout))?;
            stream.set_read_timeout(Some(timeout))?;
            Ok(Connection::Stream(stream))
        }
        Err(error) => Err(error),
    }
}

/// Encrypts and sends all; also what the protocol itself has to say.
fn send_tls(tls: &mut ClientConnection, stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        while tls.wants_write() {
            if tls.write_tls(stream)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let taken = tls.writer().write(bytes)?;
        bytes = bytes.get(taken..).unwrap_or_default();
    }
}

/// A time-out of a socket reads as "would block".
fn within(timeout: Duration) -> impl Fn(io::Error) -> io::Error {
    move |error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", timeout.as_secs()))
        }
        _ => error,
    }
}
