//! OpenSSH's clients, kept away from the settings, keys and agents of whoever runs the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Finished, LIMIT, program, run_with};

const ASKPASS: &str = "#!/bin/sh\n\
    case \"$1\" in\n\
    *'Verification code: ') printf '%s\\n' \"$LOCKGATE_TEST_CODE\" ;;\n\
    *) printf '%s\\n' \"$LOCKGATE_TEST_PASSWORD\" ;;\n\
    esac\n";

/// How one user connects.
#[derive(Debug, Clone)]
pub struct Client {
    pub port: u16,
    pub user: String,
    known_hosts: PathBuf,
    identities: Vec<PathBuf>,
    password: Option<String>,
    code: Option<String>,
    options: Vec<String>,
    limit: Duration,
}

impl Client {
    pub fn new(port: u16, known_hosts: &Path, user: &str) -> Client {
        Client {
            port,
            user: user.into(),
            known_hosts: known_hosts.into(),
            identities: Vec::new(),
            password: None,
            code: None,
            options: Vec::new(),
            limit: LIMIT,
        }
    }

    /// Offers this key too.
    pub fn identity(mut self, private: &Path) -> Client {
        self.identities.push(private.into());
        self
    }

    /// Answers the question for a password.
    pub fn password(mut self, password: &str) -> Client {
        self.password = Some(password.into());
        self
    }

    /// Answers the question for a one-time code; needs a password as well, if only to be asked anything.
    pub fn code(mut self, code: &str) -> Client {
        self.code = Some(code.into());
        self
    }

    /// An option of ssh_config(5): `Ciphers=aes128-ctr`.
    pub fn with(mut self, option: &str) -> Client {
        self.options.push(option.into());
        self
    }

    /// Connects to this port; the host keys are still those of the gateway's own.
    pub fn through(mut self, port: u16) -> Client {
        self.options.push(format!("HostKeyAlias=[127.0.0.1]:{}", self.port));
        self.port = port;
        self
    }

    /// Jumps through `outer` to `address`, as OpenSSH does for `ProxyJump`. The host key there is the gateway's own.
    pub fn jumping(self, outer: &Client, address: &str) -> Client {
        let mut command = outer.command("ssh");
        command.args(["-W", address]).arg(outer.host());
        let words =
            [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_str().expect("UTF-8"));
        let words: Vec<&str> = words.collect();
        self.with(&format!("ProxyCommand={}", words.join(" ")))
    }

    /// How long a command may take.
    pub fn within(mut self, limit: Duration) -> Client {
        self.limit = limit;
        self
    }

    /// `user@127.0.0.1`
    pub fn host(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// `user@127.0.0.1:path`, as scp writes it.
    pub fn remote(&self, path: &str) -> String {
        format!("{}:{path}", self.host())
    }

    /// A program of OpenSSH's with all options, up to where its own arguments begin.
    pub fn command(&self, name: &str) -> Command {
        let mut command = program(name);
        command.args(["-F", "none", if name == "ssh" { "-p" } else { "-P" }, &self.port.to_string()]);
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.args(["-o", &format!("UserKnownHostsFile={}", self.known_hosts.display())]);
        for option in [
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "NumberOfPasswordPrompts=1",
            "ConnectTimeout=600",
        ] {
            command.args(["-o", option]);
        }
        for identity in &self.identities {
            command.arg("-i").arg(identity);
        }
        if self.identities.is_empty() {
            command.args(["-o", "PubkeyAuthentication=no"]);
        }
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        match &self.password {
            None => command.args(["-o", "BatchMode=yes"]),
            Some(password) => {
                let ask = self.askpass();
                command.args(["-o", "BatchMode=no"]).env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force");
                command.env("LOCKGATE_TEST_CODE", self.code.as_deref().unwrap_or_default());
                command.env("LOCKGATE_TEST_PASSWORD", password)
            }
        };
        command
    }

    /// A program that prints the password, or the code where that is asked for, as SSH_ASKPASS wants it.
    fn askpass(&self) -> PathBuf {
        let path = self.known_hosts.with_file_name("askpass");
        if !path.exists() {
            // Written beside and renamed: another thread may be about to run it.
            let fresh = path.with_extension(format!("{:?}", std::thread::current().id()));
            fs::write(&fresh, ASKPASS).expect("room for a file");
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700)).expect("a file of ours");
            fs::rename(&fresh, &path).expect("a file of ours");
        }
        path
    }

    /// `sftp -b -`, ready for the script on its input. The first command that fails ends it.
    pub fn sftp_command(&self) -> Command {
        let mut command = self.command("sftp");
        command.args(["-b", "-"]).arg(self.host());
        command
    }

    /// Runs an sftp script.
    #[track_caller]
    pub fn sftp(&self, script: &str) -> Finished {
        run_with(&mut self.sftp_command(), script.as_bytes(), self.limit)
    }

    /// Runs scp with these arguments.
    #[track_caller]
    pub fn scp<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        run_with(self.command("scp").args(arguments), b"", self.limit)
    }

    /// Runs ssh with these flags before the host, and these words after it.
    #[track_caller]
    pub fn ssh(&self, flags: &[&str], words: &[&str]) -> Finished {
        run_with(self.command("ssh").args(flags).arg(self.host()).args(words), b"", self.limit)
    }
}

/// A path in an sftp script: quoted, and with nothing left that sftp would expand.
pub fn quoted(path: &str) -> String {
    let mut text = String::from("\"");
    for c in path.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}
