//! Libraries: for each there is a program in `tests/clients/` that logs in with it and then does one operation a line.
//!
//! A line is the operation and its arguments, with tabs between them. Each line of the answer that begins with a blank is what the
//! operation gives; the last line is `ok`, or `error`, the kind of the error and its words.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::support::process::LIMIT;
use crate::support::server::Server;

/// A program that has logged in.
pub struct Scripted {
    name: String,
    input: Mutex<ChildStdin>,
    answers: Receiver<String>,
    complaints: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
    server: Server,
}

/// What a library has thrown.
#[derive(Debug)]
pub struct Thrown {
    /// The name of the exception, or its code.
    pub kind: String,
    pub message: String,
}

impl Scripted {
    #[track_caller]
    pub fn start(command: &mut Command) -> Scripted {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = Server::start(command, None);
        let child = &mut server.child;
        let (input, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let complaints = Arc::new(Mutex::new(String::new()));
        let (shared, mut stderr) = (complaints.clone(), child.stderr.take().unwrap());
        let listener = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut piece) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Scripted { name: format!("{command:?}"), input: Mutex::new(input), answers, complaints, listener, server }
    }

    /// Does one operation, which succeeds; what it gives.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        match self.attempt(words) {
            Ok(given) => given,
            Err(thrown) => panic!("{words:?}: {thrown:?}\n{}", self.complaints.lock().unwrap()),
        }
    }

    /// Does one operation; whether it succeeds.
    #[track_caller]
    pub fn try_to(&self, words: &[&str]) -> bool {
        self.attempt(words).is_ok()
    }

    /// Does one operation, which fails.
    #[track_caller]
    pub fn fail(&self, words: &[&str]) -> Thrown {
        match self.attempt(words) {
            Ok(given) => panic!("{words:?} ought to have failed, and gave {given:?}"),
            Err(thrown) => thrown,
        }
    }

    #[track_caller]
    fn attempt(&self, words: &[&str]) -> Result<String, Thrown> {
        // That it has ended is seen by its not answering.
        let _ = writeln!(self.input.lock().unwrap(), "{}", words.join("\t"));
        let mut given = String::new();
        loop {
            let Ok(line) = self.answers.recv_timeout(LIMIT) else {
                panic!("{words:?}: no answer from {}\n{}", self.name, self.complaints.lock().unwrap());
            };
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["ok"] => return Ok(given),
                ["error", kind, ref message @ ..] => {
                    return Err(Thrown { kind: kind.to_owned(), message: message.join("\t") });
                }
                _ => {
                    given.push_str(line.strip_prefix(' ').unwrap_or(&line));
                    given.push('\n');
                }
            }
        }
    }

    /// Lets the program end; what it has written to its error stream.
    #[track_caller]
    pub fn finish(self) -> String {
        let Scripted { name, input, complaints, listener, mut server, .. } = self;
        drop(input);
        let status = server.ended(LIMIT).unwrap_or_else(|| panic!("{name} does not end"));
        let _ = listener.join();
        let said = complaints.lock().unwrap().clone();
        assert!(status.success(), "{name}: {status}\n{said}");
        said
    }
}
