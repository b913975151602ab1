//! A program on a terminal of its own (`script`), which somebody watches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::process::{LIMIT, Running, program, until};
use super::server::folder;

/// A program under way. It is killed when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    script: Running,
    pid: Pid,
    shown: PathBuf,
    folder: tempfile::TempDir,
}

impl Terminal {
    /// Starts the command on a terminal of 140 columns; what it writes to standard output goes to `out` instead, if that is given.
    #[track_caller]
    pub fn start(command: &Command, out: Option<&Path>) -> Terminal {
        let folder = folder();
        let (pid, shown) = (folder.path().join("pid"), folder.path().join("shown"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| quoted(word.to_str().expect("a text"))).collect();
        let out = out.map_or(String::new(), |out| format!(" > {}", quoted(out.to_str().expect("a text"))));
        let line = format!(
            "stty cols 140 rows 40; echo $$ > {}; exec {}{out}",
            quoted(pid.to_str().unwrap()),
            words.join(" ")
        );
        let mut script = program("script");
        script.args(["-q", "-e", "-f", "-c", &line]).arg(&shown).env_remove("NO_COLOR").env_remove("RUST_LOG");
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("SHELL", "/bin/sh");
        if let Some(place) = command.get_current_dir() {
            script.current_dir(place);
        }
        let script = Running::start(&mut script);
        let pid = until("number of the process", LIMIT, || {
            let number = fs::read_to_string(&pid).ok()?;
            Pid::from_raw(number.strip_suffix('\n')?.parse().ok()?)
        });
        Terminal { script, pid, shown, folder }
    }

    /// All that was shown so far, escapes and all.
    pub fn raw(&self) -> String {
        let shown = fs::read(&self.shown).unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
        // The first line is of `script`, and has the command.
        shown.split_once('\n').map_or_else(String::new, |(_, shown)| shown.to_owned())
    }

    /// What was shown so far, without colours.
    pub fn text(&self) -> String {
        without_colours(&self.raw())
    }

    /// Waits until a line without its colours has all of these words; the line as it was shown.
    #[track_caller]
    pub fn line_with(&self, words: &[&str]) -> String {
        until(&format!("line with {words:?}"), LIMIT, || {
            let shown = self.raw();
            let fits = |line: &&str| {
                let plain = without_colours(line);
                words.iter().all(|word| plain.contains(word))
            };
            shown.lines().find(fits).map(str::to_owned)
        })
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
        // `script` stops itself when its program is stopped.
        if signal == Signal::CONT {
            self.script.wake();
        }
    }

    /// Waits for the program's end; what was shown in all.
    #[track_caller]
    pub fn ended(&self) -> String {
        let proc = PathBuf::from(format!("/proc/{}", self.pid.as_raw_nonzero()));
        until("end of the program", LIMIT, || (!proc.exists()).then_some(()));
        // Then `script` writes its last line.
        until("end of what is shown", LIMIT, || self.raw().contains("\nScript done on ").then_some(()));
        let shown = self.raw();
        shown.rsplit_once("\nScript done on ").map_or(shown.clone(), |(before, _)| before.to_owned())
    }

    /// A folder that is removed with this.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has a session of its own: the end of `script` would only hang up on it. Once it has ended, its number may be another's.
        let is_ours = fs::read_link(format!("/proc/{}/exe", self.pid.as_raw_nonzero()));
        if is_ours.is_ok_and(|file| file == Path::new(env!("CARGO_BIN_EXE_lockgate"))) {
            self.signal(Signal::KILL);
        }
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A text without the escapes that change colours.
pub fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let digits = escape.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = match digits.strip_prefix('m') {
            Some(behind) => behind,
            None => {
                plain.push_str("\u{1b}[");
                escape
            }
        };
    }
    plain + rest
}
