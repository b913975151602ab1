//! Listening sockets that the test keeps open and passes to the gateways that it starts, as a service manager does.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::gateway::Gateway;
use super::setup::Setup;

/// Sockets that stay open until this is dropped, whoever accepts connections.
pub struct Sockets {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
    /// Where gateways are given them.
    desk: PathBuf,
    listening: UnixListener,
}

impl Sockets {
    /// None yet. `folder` is for a socket of its own.
    pub fn in_folder(folder: &Path) -> Sockets {
        let desk = folder.join("desk.sock");
        let listening = UnixListener::bind(&desk).expect("a folder of ours");
        Sockets { tcp: Vec::new(), unix: Vec::new(), desk, listening }
    }

    /// Opens one on a free port; its address.
    pub fn open_tcp(&mut self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().unwrap();
        self.tcp.push(listener);
        address
    }

    /// Opens one at a path.
    pub fn open_unix(&mut self, path: &Path) {
        self.unix.push(UnixListener::bind(path).expect("a folder of ours"));
    }

    /// Starts a gateway with all of them.
    #[track_caller]
    pub fn start(&self, setup: &Setup) -> Gateway {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/with_sockets.py");
        let (script, desk) = (script.display().to_string(), self.desk.display().to_string());
        thread::scope(|scope| {
            scope.spawn(|| self.hand_out());
            Gateway::start_under(&["python3", "-B", &script, &desk], setup)
        })
    }

    fn hand_out(&self) {
        let (mut stream, _) = self.listening.accept().expect("a gateway");
        let tcp = self.tcp.iter().map(AsFd::as_fd);
        let all: Vec<BorrowedFd<'_>> = tcp.chain(self.unix.iter().map(AsFd::as_fd)).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        assert!(passed.push(SendAncillaryMessage::ScmRights(&all)), "too many sockets");
        sendmsg(&stream, &[IoSlice::new(b"x")], &mut passed, SendFlags::empty()).expect("a gateway that waits");
        let _ = stream.flush();
    }
}
