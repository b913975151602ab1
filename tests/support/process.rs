//! Running other programs: each has a time limit, and everything that it started ends with it.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// When something hangs: so long that nothing else explains it, on a machine that has other things to do. How fast something
/// is no test judges by the clock; whatever waits for an end, an answer or an event waits this long.
pub const LIMIT: Duration = Duration::from_secs(600);

/// A program from the path.
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()) {
        Some(file) => Command::new(file),
        None => panic!("{name} is missing: run tests/run, it installs what is missing"),
    }
}

/// A file that `tests/run` puts into `target/test-tools`.
pub fn tool(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(name);
    assert!(file.exists(), "{} is missing: run tests/run, it installs what is missing", file.display());
    file
}

/// Python with paramiko and asyncssh, running a script of `tests/clients/`.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(tool("venv/bin/python"));
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
    command: String,
}

impl Finished {
    /// Panics unless the program succeeded.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "failed: {self}");
        self
    }

    /// Panics unless the program failed by itself. OpenSSH's sftp dies of SIGPIPE when its ssh has gone.
    #[track_caller]
    pub fn failed(self) -> Self {
        let crashed = self.status.signal().is_some_and(|signal| signal != Signal::PIPE.as_raw());
        assert!(!self.status.success() && !crashed, "ought to have failed: {self}");
        self
    }

    /// Panics unless the program failed by itself and said something on its error stream. The words are its own: another
    /// version has others.
    #[track_caller]
    pub fn complained(self) -> Self {
        let failed = self.failed();
        assert!(!failed.stderr.trim().is_empty(), "it does not say that it failed: {failed}");
        failed
    }

    /// Panics unless the error stream has `text` somewhere.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "does not say {text:?}: {self}");
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finished { status, stdout, stderr, elapsed, command } = self;
        write!(f, "{command}\n{status} after {elapsed:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

/// Runs a program to its end, without input.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    run_with(command, b"", LIMIT)
}

/// Runs a program to its end. Panics when it takes longer than `limit`.
#[track_caller]
pub fn run_with(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let mut running = Running::start(command);
    running.feed(input);
    running.close_input();
    running.finish(limit)
}

/// A program under way. It ends, with all that it started, when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    started: Instant,
    command: String,
}

impl Running {
    /// Starts a program in a process group of its own.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let text = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{text} does not start: {e}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running { child, stdout, stderr, started: Instant::now(), command: text }
    }

    /// Writes to the program's input. That it has stopped reading is no error here: how it ended tells.
    pub fn feed(&mut self, input: &[u8]) {
        if let Some(stdin) = &mut self.child.stdin {
            let _ = stdin.write_all(input);
            let _ = stdin.flush();
        }
    }

    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Kills the program and all that it started.
    pub fn kill(&mut self) {
        kill_group(&self.child, Signal::KILL);
    }

    /// Stops the program and all that it started where they are.
    pub fn freeze(&self) {
        kill_group(&self.child, Signal::STOP);
    }

    /// Lets a frozen program go on.
    pub fn wake(&self) {
        kill_group(&self.child, Signal::CONT);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits for the end. Panics when it does not come within `limit`, counted from the start.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let status = wait(&mut self.child, limit.saturating_sub(self.started.elapsed()));
        let elapsed = self.started.elapsed();
        self.kill();
        let finished = Finished {
            status: status.unwrap_or_default(),
            stdout: self.stdout.recv_timeout(LIMIT).unwrap_or_default(),
            stderr: self.stderr.recv_timeout(LIMIT).unwrap_or_default(),
            elapsed,
            command: self.command.clone(),
        };
        assert!(status.is_some(), "did not end within {limit:?}: {finished}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Sends a signal to the process group that `child` leads.
pub fn kill_group(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    let _ = kill_process_group(pid, signal);
}

/// Waits for a child; `None` when it has not ended within `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until there is an answer. Panics with `what` after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "within {limit:?} there was no {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
