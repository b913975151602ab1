//! OpenSSH's sshd as an upstream server: an ordinary process of the tests' own on a free port, which lets in whoever runs the tests.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::keys::Key;
use super::process::{LIMIT, program, run, until};
use super::server::{Server, folder, free_port};

/// A server, which can be killed and started again on its port.
#[derive(Debug)]
pub struct Sshd {
    pub port: u16,
    /// Who is let in.
    pub user: String,
    /// The server's key.
    pub host_key: Key,
    /// The key that is let in.
    pub user_key: Key,
    config: PathBuf,
    server: Mutex<Option<Server>>,
    // Removed last.
    _folder: TempDir,
}

/// The server that all tests of this process share. It is never dropped: its guard ends it.
pub fn shared() -> &'static Sshd {
    static SHARED: OnceLock<Sshd> = OnceLock::new();
    SHARED.get_or_init(|| Sshd::start(&[]))
}

impl Sshd {
    /// Starts a server with further lines of sshd_config(5).
    #[track_caller]
    pub fn start(further: &[&str]) -> Sshd {
        let folder = folder();
        let host_key = Key::make(folder.path(), "host", "ed25519");
        let user_key = Key::make(folder.path(), "user", "ed25519");
        let keys = folder.path().join("authorized_keys");
        fs::write(&keys, format!("{}\n", user_key.public)).expect("room for a file");
        // As root it wants an empty folder for the processes that see strangers.
        let _ = fs::create_dir_all("/run/sshd");
        let user = run(program("id").arg("-un")).succeeded().stdout.trim().to_owned();
        let port = free_port();
        let mut lines: Vec<String> = further.iter().map(|line| (*line).to_owned()).collect();
        lines.extend([
            format!("Port {port}"),
            "ListenAddress 127.0.0.1".to_owned(),
            format!("HostKey {}", host_key.private.display()),
            format!("AuthorizedKeysFile {}", keys.display()),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PermitRootLogin yes".to_owned(),
            "PidFile none".to_owned(),
            "LogLevel ERROR".to_owned(),
            "MaxStartups 500".to_owned(),
            // Otherwise bash takes the session's command for the first shell of a user, and reads the user's ~/.bashrc: what a test
            // kills there may leave locks behind.
            "SetEnv SHLVL=9".to_owned(),
        ]);
        // A second line of this kind is an error; of others the first counts.
        if !further.iter().any(|line| line.starts_with("Subsystem ")) {
            lines.push("Subsystem sftp internal-sftp".to_owned());
        }
        let config = folder.path().join("sshd_config");
        fs::write(&config, lines.join("\n") + "\n").expect("room for a file");
        let sshd = Sshd { port, user, host_key, user_key, config, server: Mutex::default(), _folder: folder };
        sshd.start_again();
        sshd
    }

    /// Starts it on the same port, after [`Sshd::kill`].
    #[track_caller]
    pub fn start_again(&self) {
        let mut command = Command::new(daemon());
        command.arg("-D").arg("-e").arg("-f").arg(&self.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Server::start(&mut command, None);
        until("greeting of sshd", LIMIT, || {
            assert!(!server.has_ended(), "sshd ended: is its port taken?");
            let mut greeting = [0; 4];
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
            socket.read_exact(&mut greeting).ok().filter(|()| greeting == *b"SSH-")
        });
        *self.server.lock().unwrap() = Some(server);
    }

    /// The same with another host key from now on.
    #[track_caller]
    pub fn start_again_with(&self, host_key: &Key) {
        let kept = self.host_key.private.with_extension("kept");
        if !kept.exists() {
            fs::copy(&self.host_key.private, kept).expect("room for a file");
        }
        fs::copy(&host_key.private, &self.host_key.private).expect("room for a file");
        self.start_again();
    }

    /// The same with its own host key again.
    #[track_caller]
    pub fn start_again_as_itself(&self) {
        fs::rename(self.host_key.private.with_extension("kept"), &self.host_key.private).expect("its own key");
        self.start_again();
    }

    /// Kills it with all its sessions.
    pub fn kill(&self) {
        let mut server = self.server.lock().unwrap();
        // Stopped first, so that it starts no further process.
        signal_all(&server, Signal::STOP);
        signal_all(&server, Signal::KILL);
        *server = None;
    }

    /// Sends a signal to it and to all its sessions, which have sessions of the system's own.
    pub fn signal(&self, signal: Signal) {
        signal_all(&self.server.lock().unwrap(), signal);
    }

    /// How many processes serve its sessions.
    pub fn sessions(&self) -> usize {
        sessions(&self.server.lock().unwrap()).len()
    }

    /// Kills its sessions alone.
    pub fn cut_sessions(&self) {
        for process in sessions(&self.server.lock().unwrap()) {
            let _ = kill_process(process, Signal::KILL);
        }
    }

    /// A store's URL for a folder of this machine, reached through a port.
    pub fn url_through(&self, port: u16, folder: &Path) -> String {
        format!("sftp://{}@127.0.0.1:{port}{}", self.user, folder.display())
    }

    /// A store's URL for a folder of this machine.
    pub fn url(&self, folder: &Path) -> String {
        self.url_through(self.port, folder)
    }

    /// A store's options.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let key = fs::read_to_string(&self.user_key.private).expect("the key");
        vec![("private_key", key), ("host_key", self.host_key.public.clone())]
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// sshd wants to be called by its whole path.
fn daemon() -> PathBuf {
    let found =
        ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from).into_iter().find(|p| p.exists());
    found.unwrap_or_else(|| panic!("sshd is missing: install openssh-server"))
}

fn signal_all(server: &Option<Server>, signal: Signal) {
    for process in sessions(server) {
        let _ = kill_process(process, signal);
    }
    if let Some(server) = server {
        let _ = kill_process(Pid::from_child(&server.child), signal);
    }
}

/// All processes that descend from the server.
fn sessions(server: &Option<Server>) -> Vec<Pid> {
    let Some(server) = server else { return Vec::new() };
    let all = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    });
    let all: Vec<(i32, i32)> = all.collect();
    let mut found = vec![Pid::from_child(&server.child).as_raw_nonzero().get()];
    let mut next = 0;
    while next < found.len() {
        let above = found[next];
        found.extend(all.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}
