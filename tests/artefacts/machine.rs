//! A machine: a systemd of its own over this machine's programs (`machine.sh`). It ends, with all that it has, when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::process::{Finished, LIMIT, Running, program, run, until};
use crate::support::server::Server;

/// A machine that runs.
pub struct Machine {
    pid: String,
    server: Server,
    folder: TempDir,
}

/// A program as root, with `sudo` where this process is not.
pub fn as_root(name: &str) -> Command {
    match rustix::process::geteuid().is_root() {
        true => program(name),
        false => {
            let mut command = program("sudo");
            command.args(["--non-interactive", "--"]).arg(program(name).get_program());
            command
        }
    }
}

impl Machine {
    /// Boots.
    #[track_caller]
    pub fn boot() -> Machine {
        let folder = tempfile::Builder::new().prefix("lockgate-test-machine-").tempdir().unwrap();
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = as_root("sh");
        command.arg(project.join("tests/artefacts/machine.sh")).arg(folder.path()).arg(project);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut server = Server::start(&mut command, Some(folder.path().to_path_buf()));
        let pid = until("process of the machine", LIMIT, || {
            assert!(!server.has_ended(), "{}", fs::read_to_string(folder.path().join("log")).unwrap());
            fs::read_to_string(folder.path().join("pid")).ok()
        });
        let machine = Machine { pid: pid.trim().to_owned(), server, folder };
        until("systemd", LIMIT, || {
            let state = run(&mut machine.command(&["systemctl", "is-system-running"])).stdout;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        machine
    }

    /// A command in it, as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = as_root("nsenter");
        command.args(["--target", &self.pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
        command.args(["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").args(words);
        command
    }

    /// Runs it to its end, and expects success.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Finished {
        run(&mut self.command(words)).succeeded()
    }

    /// Runs a line of shell.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Finished {
        self.run(&["sh", "-euc", line])
    }

    /// Starts it.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::start(&mut self.command(words))
    }

    /// Puts a file there.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let mut writing = self.start(&["sh", "-euc", "mkdir -p \"$(dirname \"$1\")\"; cat >\"$1\"", "sh", path]);
        writing.feed(text.as_bytes());
        writing.close_input();
        writing.finish(LIMIT).succeeded();
    }

    /// The text of a file there.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.run(&["cat", path]).stdout
    }

    /// Puts a file of this machine there.
    #[track_caller]
    pub fn copy(&self, from: &Path, to: &str) {
        let mut copying = self.start(&["sh", "-euc", "cat >\"$1\"", "sh", to]);
        copying.feed(&fs::read(from).unwrap());
        copying.close_input();
        copying.finish(LIMIT).succeeded();
    }

    fn group(&self) -> Option<PathBuf> {
        fs::read_to_string(self.folder.path().join("group")).ok().map(|path| PathBuf::from(path.trim()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let group = self.group();
        let _ = run(as_root("kill").args(["-KILL", &self.pid]));
        self.server.ended(LIMIT);
        // The groups inside go before the one around them.
        if let Some(group) = group {
            let removing = || {
                run(as_root("find").arg(&group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]));
                (!group.exists()).then_some(())
            };
            if !std::thread::panicking() {
                until("end of the control group", LIMIT, removing);
            }
        }
    }
}
