//! The command line: arguments, log set-up, exit codes.
//!
//! Exit codes: 0 done, 1 a failure at run time or a negative answer, 2 wrong arguments or configuration. Events go to their sinks, on standard
//! output by default; logs and everything that is said to a person while serving go to standard error.

mod admin;
mod audit;
mod check;
mod demo;
mod descriptors;
mod environment;
mod examples;
mod generate;
mod hash_password;
mod init;
mod logs;
mod migrate;
mod notify;
mod progress;
mod serve;
mod starter;
mod totp;
mod version;
mod wrap;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::Problems;

/// How long the program waits at its end for work that cannot be interrupted.
const LAST_WORK: Duration = Duration::from_secs(2);

/// An SSH server that speaks only SFTP and SCP, serves object stores, and records every login attempt and file operation.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version = version::SHORT, long_version = version::LONG, about, max_term_width = 100)]
#[command(after_help = examples::PROGRAM)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Create keys, a user and a store on the first run, serve them, and print commands to try
    #[command(after_help = examples::DEMO)]
    Demo {
        /// Folder for keys, configuration and files
        #[arg(long, value_name = "DIR", default_value = "./lockgate-demo")]
        dir: PathBuf,
        /// Address or port to listen on, instead of the one in the folder's config.yaml; a port alone is one of 127.0.0.1, and port 0
        /// chooses a free one
        #[arg(long, value_name = "ADDR", value_parser = demo::parse_listen)]
        listen: Option<SocketAddr>,
        /// Also create a target that clients reach through a jump (ProxyJump), and a client configuration file for it
        #[arg(long)]
        bastion: bool,
    },
    /// Create the keys, folders and configuration of a gateway that has no users yet; existing files are kept
    #[command(after_help = examples::INIT)]
    Init {
        /// Folder for keys, configuration and files
        #[arg(value_name = "DIR", default_value = "./lockgate")]
        dir: PathBuf,
    },
    /// Run the gateway; SIGHUP reloads the file, SIGTERM and SIGINT drain, a second one stops immediately
    #[command(after_help = examples::SERVE)]
    Serve {
        /// Configuration file
        #[arg(long, value_name = "FILE", env = environment::CONFIG, hide_env_values = true)]
        config: PathBuf,
        /// Format of log lines on standard error
        #[arg(long, value_enum, default_value_t = logs::Format::Text)]
        log_format: logs::Format,
    },
    /// Report every problem in a configuration
    #[command(after_help = examples::CHECK)]
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE", env = environment::CONFIG, hide_env_values = true)]
        config: PathBuf,
        /// Also contact each store and each sink
        #[arg(long)]
        online: bool,
    },
    /// Read the audit trail: verify it, search it, replay a session
    #[command(subcommand)]
    Audit(Box<audit::Question>),
    /// List, show or end the sessions of a running gateway
    #[command(after_help = examples::SESSIONS)]
    Sessions {
        #[command(flatten)]
        place: admin::Where,
        #[command(subcommand)]
        question: admin::Sessions,
    },
    /// List the users of a running gateway, or show why one cannot log in
    #[command(after_help = examples::USERS)]
    Users {
        #[command(flatten)]
        place: admin::Where,
        #[command(subcommand)]
        question: admin::Users,
    },
    /// Follow the events of a running gateway
    #[command(after_help = examples::EVENTS)]
    Events {
        #[command(flatten)]
        place: admin::Where,
        #[command(subcommand)]
        question: admin::Events,
    },
    /// List the gateways of a running gateway's fleet; exit code 1 if the gateway is alone
    Fleet {
        #[command(flatten)]
        place: admin::Where,
    },
    /// List or lift the bans of a running gateway
    Bans {
        #[command(flatten)]
        place: admin::Where,
        #[command(subcommand)]
        question: admin::Bans,
    },
    /// List open and closed connections of a running gateway, and what ended them
    Connections {
        #[command(flatten)]
        place: admin::Where,
        #[command(flatten)]
        which: admin::Which,
    },
    /// Show or verify the audit trail of a running gateway
    Trail {
        #[command(flatten)]
        place: admin::Where,
        #[command(subcommand)]
        question: admin::Trail,
    },
    /// Show the state of a running gateway; exit code 1 if it is not ready
    Status {
        #[command(flatten)]
        place: admin::Where,
    },
    /// Make a running gateway read its configuration again, and print the result
    Reload {
        #[command(flatten)]
        place: admin::Where,
    },
    /// Make a running gateway accept no new connections, let transfers finish, and stop
    Drain {
        #[command(flatten)]
        place: admin::Where,
    },
    /// Create tokens and links for the admin door, or print its API description
    #[command(subcommand)]
    Admin(admin::Door),
    /// Make a configuration of the users of another server, and report what has no counterpart
    #[command(subcommand, after_help = examples::MIGRATE)]
    Migrate(migrate::Origin),
    /// Generate shell completions, man pages, and the schema of the configuration for editors
    #[command(subcommand, after_help = examples::GENERATE)]
    Generate(generate::Question),
    /// Read a password (twice without echo, or one line of standard input) and print its argon2id hash
    HashPassword,
    /// Create a secret for one-time codes (TOTP); prints its link and QR code for an authenticator app, and the line for the configuration
    Totp(totp::Arguments),
}

/// Why the program ends without success.
#[derive(Debug)]
enum Failure {
    /// Exit code 2; 1 when only files that the configuration names are amiss.
    Configuration(Problems),
    /// Exit code 2: arguments that do not mean anything.
    Arguments(String),
    /// Exit code 1.
    Run(anyhow::Error),
    /// Exit code 1; what is wrong was told on standard output.
    Told,
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Failure::Configuration(problems)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::Run(error)
    }
}

/// The whole program; wrong arguments end it here with exit code 2.
pub fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(problems)) => {
            eprintln!("{problems}");
            if problems.are_outside() { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
        Err(Failure::Arguments(what)) => {
            eprintln!("lockgate: {what}");
            ExitCode::from(2)
        }
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Run(error)) => {
            eprintln!("lockgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo { dir, listen, bastion } => {
            logs::start(logs::Format::Text);
            descriptors::raise_limit();
            demo::demo(&dir, listen, bastion)
        }
        Command::Init { dir } => Ok(init::init(&dir)?),
        Command::Serve { config, log_format } => {
            logs::start(log_format);
            descriptors::raise_limit();
            serve::serve(&config)
        }
        Command::Check { config, online } => {
            logs::start(logs::Format::Text);
            check::check(&config, online)
        }
        Command::Audit(question) => audit::audit(&question),
        Command::Sessions { place, question } => admin::sessions(&place, &question),
        Command::Users { place, question } => admin::users(&place, &question),
        Command::Events { place, question } => admin::events(&place, &question),
        Command::Fleet { place } => admin::fleet(&place),
        Command::Bans { place, question } => admin::bans(&place, &question),
        Command::Connections { place, which } => admin::connections(&place, &which),
        Command::Trail { place, question } => admin::trail(&place, &question),
        Command::Status { place } => admin::status(&place),
        Command::Reload { place } => admin::reload(&place),
        Command::Drain { place } => admin::drain(&place),
        Command::Admin(question) => admin::door(&question),
        Command::Migrate(origin) => migrate::migrate(&origin),
        Command::Generate(question) => Ok(generate::generate(&question)?),
        Command::HashPassword => Ok(hash_password::hash_password()?),
        Command::Totp(arguments) => Ok(totp::totp(&arguments)?),
    }
}

/// Threads that may wait for a disk: more than the calls that a few disks which hang keep waiting (512 each), so that others go on.
const BLOCKING_THREADS: usize = 2_048;

/// Runs `work` on a runtime of its own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING_THREADS).enable_all().build();
    let runtime = runtime.context("the threads cannot be started")?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WORK);
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_are_read_with_their_defaults() {
        let at = |text: &str| Some(text.parse().unwrap());
        for (line, command) in [
            ("lockgate demo", Command::Demo { dir: "./lockgate-demo".into(), listen: None, bastion: false }),
            (
                "lockgate demo --dir d --listen [::1]:0",
                Command::Demo { dir: "d".into(), listen: at("[::1]:0"), bastion: false },
            ),
            (
                "lockgate demo --listen 2200",
                Command::Demo { dir: "./lockgate-demo".into(), listen: at("127.0.0.1:2200"), bastion: false },
            ),
            ("lockgate init", Command::Init { dir: "./lockgate".into() }),
            ("lockgate init d", Command::Init { dir: "d".into() }),
            ("lockgate serve --config c", Command::Serve { config: "c".into(), log_format: logs::Format::Text }),
            (
                "lockgate serve --config=c --log-format json",
                Command::Serve { config: "c".into(), log_format: logs::Format::Json },
            ),
            ("lockgate check --config c", Command::Check { config: "c".into(), online: false }),
            ("lockgate check --online --config c", Command::Check { config: "c".into(), online: true }),
            ("lockgate hash-password", Command::HashPassword),
        ] {
            assert_eq!(parse(line).unwrap_or_else(|error| panic!("{line}: {error}")), command);
        }
    }

    #[test]
    fn wrong_arguments_end_with_exit_code_2() {
        for line in [
            "lockgate",
            "lockgate fly",
            "lockgate serve",
            "lockgate serve c",
            "lockgate serve --config c --log-format xml",
            "lockgate demo --listen localhost",
            "lockgate demo --listen 65536",
            "lockgate check --online",
            "lockgate hash-password secret",
            "lockgate init a b",
            "lockgate totp",
            "lockgate totp a:b",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
        let meant = parse("lockgate chekc --config c").expect_err("no such command").to_string();
        assert!(meant.contains("'check'"), "{meant}");
        assert_eq!(parse("lockgate --version").unwrap_err().exit_code(), 0);
        assert_eq!(parse("lockgate serve --help").unwrap_err().exit_code(), 0);
    }
}
