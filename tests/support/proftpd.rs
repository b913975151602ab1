//! ProFTPD with mod_sftp as an upstream server: an ordinary process of the tests' own on a free port, which lets in whoever runs the tests.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::keys::Key;
use super::process::{LIMIT, program, run, tool, until};
use super::server::{Server, folder, free_port};

/// A server.
#[derive(Debug)]
pub struct Proftpd {
    pub port: u16,
    /// Who is let in.
    user: String,
    host_key: Key,
    user_key: Key,
    _server: Server,
    // Removed last.
    _folder: TempDir,
}

/// The server that all tests of this process share. It is never dropped: its guard ends it. Fails where ProFTPD is missing; `None` when
/// tests with servers are to be skipped.
pub fn shared() -> Option<&'static Proftpd> {
    static SHARED: OnceLock<Option<Proftpd>> = OnceLock::new();
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let may_skip = get("LOCKGATE_TEST_SKIP_SERVERS").is_some_and(|value| value == "1") && get("CI").is_none();
    SHARED.get_or_init(|| if may_skip { None } else { Some(Proftpd::start()) }).as_ref()
}

fn id(flags: &str) -> String {
    run(program("id").arg(flags)).succeeded().stdout.trim().to_owned()
}

impl Proftpd {
    #[track_caller]
    fn start() -> Proftpd {
        let unpacked = tool("proftpd");
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        let host_key = Key::make(folder.path(), "host", "ed25519");
        let user_key = Key::make(folder.path(), "user", "ed25519");
        let public = user_key.private.with_extension("pub");
        let keys = run(program("ssh-keygen").args(["-e", "-m", "RFC4716", "-f"]).arg(&public)).succeeded().stdout;
        fs::write(at("keys"), keys).expect("room for a file");
        let (user, group, port) = (id("-un"), id("-gn"), free_port());
        let (uid, gid) = (id("-u"), id("-g"));
        fs::write(at("users"), format!("{user}:*:{uid}:{gid}::/:/bin/sh\n")).expect("room for a file");
        // It takes no users from a file that others may read.
        fs::set_permissions(at("users"), fs::Permissions::from_mode(0o600)).expect("our own file");
        let lines = [
            format!("ModulePath {}", unpacked.join("usr/lib/proftpd").display()),
            "LoadModule mod_sftp.c".to_owned(),
            "ServerName upstream".to_owned(),
            "ServerType standalone".to_owned(),
            "DefaultServer on".to_owned(),
            "UseIPv6 off".to_owned(),
            "DefaultAddress 127.0.0.1".to_owned(),
            format!("Port {port}"),
            format!("User {user}"),
            format!("Group {group}"),
            "AuthOrder mod_auth_file.c".to_owned(),
            format!("AuthUserFile {}", at("users").display()),
            "RequireValidShell off".to_owned(),
            "RootLogin on".to_owned(),
            "AllowOverwrite on".to_owned(),
            "AllowStoreRestart on".to_owned(),
            "MaxInstances none".to_owned(),
            "UseReverseDNS off".to_owned(),
            "TimeoutIdle 36000".to_owned(),
            "TimeoutNoTransfer 36000".to_owned(),
            "WtmpLog off".to_owned(),
            "TransferLog none".to_owned(),
            format!("SystemLog {}", at("log").display()),
            format!("PidFile {}", at("pid").display()),
            format!("ScoreboardFile {}", at("scoreboard").display()),
            "DelayEngine off".to_owned(),
            "SFTPEngine on".to_owned(),
            format!("SFTPHostKey {}", host_key.private.display()),
            "SFTPAuthMethods publickey".to_owned(),
            format!("SFTPAuthorizedUserKeys file:{}", at("keys").display()),
            "SFTPCompression off".to_owned(),
        ];
        fs::write(at("proftpd.conf"), lines.join("\n") + "\n").expect("room for a file");
        let mut command = Command::new(unpacked.join("usr/sbin/proftpd"));
        command.arg("-n").arg("-c").arg(at("proftpd.conf")).env("LD_LIBRARY_PATH", libraries(&unpacked));
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(folder.path());
        command.stderr(fs::File::create(at("complaints")).expect("room for a file"));
        let mut server = Server::start(&mut command, None);
        until("greeting of proftpd", LIMIT, || {
            let complaints = || fs::read_to_string(at("complaints")).unwrap_or_default();
            assert!(!server.has_ended(), "proftpd ended: {}", complaints());
            let mut greeting = [0; 4];
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            socket.read_exact(&mut greeting).ok().filter(|()| greeting == *b"SSH-")
        });
        Proftpd { port, user, host_key, user_key, _server: server, _folder: folder }
    }

    /// A store's URL for a folder of this machine.
    pub fn url(&self, folder: &Path) -> String {
        format!("sftp://{}@127.0.0.1:{}{}", self.user, self.port, folder.display())
    }

    /// A store's options.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let key = fs::read_to_string(&self.user_key.private).expect("the key");
        vec![("private_key", key), ("host_key", self.host_key.public.clone())]
    }
}

/// The folders of the libraries that were unpacked with it.
fn libraries(unpacked: &Path) -> String {
    let folders = fs::read_dir(unpacked.join("usr/lib")).expect("libraries").flatten().map(|entry| entry.path());
    let has_libraries = |folder: &PathBuf| {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        names.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".so"))
    };
    folders.filter(has_libraries).map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}
