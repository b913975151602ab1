//! Listening sockets that were open before the process started: those of a service manager (systemd's socket activation, sd_listen_fds(3)).
//! They stay open while one gateway ends and the next one starts. Connections wait meanwhile and are not refused.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::sockopt;

/// The sockets that nobody has asked for yet. Each is found by its address, whatever it is called (`LISTEN_FDNAMES`).
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// Takes the sockets that `LISTEN_FDS` counts, if `LISTEN_PID` is this process. Call this once, and before there are other threads:
    /// it removes both from the environment.
    ///
    /// # Errors
    /// A sentence about the first descriptor that is no listening socket.
    pub fn take() -> Result<Inherited, String> {
        let mut inherited = Inherited::default();
        // Without a process id, the variable may be meant for somebody else, and the descriptors may be in use.
        let is_ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        if !is_ours {
            return Ok(inherited);
        }
        let mut passed = ListenFd::from_env();
        for index in 0..passed.len() {
            let taken = match passed.take_tcp_listener(index) {
                Ok(listener) => listener.map_or(Ok(()), |listener| inherited.add_tcp(listener)),
                Err(_) => match passed.take_unix_listener(index) {
                    Ok(listener) => listener.map_or(Ok(()), |listener| inherited.add_unix(listener)),
                    Err(error) => Err(error.to_string()),
                },
            };
            let descriptor = index + 3;
            taken.map_err(|what| {
                format!("descriptor {descriptor}, which the service manager passed, cannot be used: {what}")
            })?;
        }
        Ok(inherited)
    }

    fn add_tcp(&mut self, listener: TcpListener) -> Result<(), String> {
        // A socket that is connected (`Accept=yes`) is of the same type.
        if !sockopt::socket_acceptconn(&listener).map_err(|error| error.to_string())? {
            return Err("it does not listen; a socket unit needs Accept=no".to_owned());
        }
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        self.tcp.push((address, listener));
        Ok(())
    }

    fn add_unix(&mut self, listener: UnixListener) -> Result<(), String> {
        if !sockopt::socket_acceptconn(&listener).map_err(|error| error.to_string())? {
            return Err("it does not listen; a socket unit needs Accept=no".to_owned());
        }
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let path = address.as_pathname().ok_or("the Unix socket has no path")?.to_owned();
        listener.set_nonblocking(true).map_err(|error| error.to_string())?;
        self.unix.push((path, listener));
        Ok(())
    }

    /// The socket that listens on this address and port. It does not block.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        // Of an IPv6 address, neither the flow nor the scope says where it listens.
        let is_it = |own: &SocketAddr| (own.ip(), own.port()) == (address.ip(), address.port());
        let found = self.tcp.iter().position(|(own, _)| is_it(own))?;
        Some(self.tcp.swap_remove(found).1)
    }

    /// The Unix socket at this path. It does not block, and its file belongs to whoever made it.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let wanted = real(path);
        let found = self.unix.iter().position(|(own, _)| real(own) == wanted)?;
        Some(self.unix.swap_remove(found).1)
    }

    /// Call this when everybody has asked. A socket that is left would accept connections that nobody serves.
    ///
    /// # Errors
    /// A sentence that names the sockets that nobody asked for, and says what to do.
    pub fn finish(self) -> Result<(), String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let left: Vec<String> = tcp.chain(self.unix.iter().map(|(path, _)| path.display().to_string())).collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the service manager passed sockets that listen on {}, but server.listen, admin.listen, admin.health and admin.socket name \
             other addresses; write the same addresses in both places",
            left.join(", ")
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn each_socket_is_found_by_its_address_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let mut inherited = Inherited::default();
        let [one, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [&one, &other].map(|listener| listener.local_addr().unwrap());
        inherited.add_tcp(one).unwrap();
        inherited.add_tcp(other).unwrap();
        inherited.add_unix(UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!(inherited.tcp(addresses[1]).unwrap().local_addr().unwrap(), addresses[1]);
        assert!(inherited.tcp(addresses[1]).is_none() && inherited.unix(folder.path()).is_none());
        // Another way to the same file.
        let link = folder.path().join("run");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(inherited.unix(&link.join("admin.sock")).is_some());
        let left = inherited.finish().unwrap_err();
        assert!(left.contains(&addresses[0].to_string()) && !left.contains(&addresses[1].to_string()), "{left}");
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let wrong = TcpListener::from(std::os::fd::OwnedFd::from(stream));
        let what = Inherited::default().add_tcp(wrong).unwrap_err();
        assert!(what.contains("Accept=no"), "{what}");
        Inherited::default().finish().unwrap();
    }
}
