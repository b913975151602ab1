//! Commands that call the admin door of a running gateway: over its socket, or over the network with a token.

mod bans;
mod connections;
mod events;
mod fleet;
mod link;
mod sessions;
mod status;
mod token;
mod trail;
mod users;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::wrap::wrapped;
use super::{Failure, block_on, environment};
use crate::admin::client::{CallError, Client, Target};
use crate::audit::read::shown_json;
use crate::config;
use crate::secret::Secret;

pub(super) use connections::{Which, connections};
pub(super) use fleet::fleet;
pub(super) use status::{amount, drain, reload, status};

/// Where the socket is when nothing is said.
const USUAL_SOCKET: &str = "/run/lockgate/admin.sock";

/// Which gateway.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Where {
    /// Configuration of the gateway, which contains the path of its socket [env: LOCKGATE_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Path of the socket (default: /run/lockgate/admin.sock)
    #[arg(long, value_name = "PATH", conflicts_with = "config", global = true)]
    socket: Option<PathBuf>,
    /// URL of a gateway's admin door (https://…); requires a token
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "socket"], requires = "token_file", global = true)]
    url: Option<String>,
    /// File with the token for --url
    #[arg(long, value_name = "FILE", requires = "url", global = true)]
    token_file: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// What is asked of the live sessions.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Sessions {
    /// List live sessions and their activity
    List {
        /// Only this user
        #[arg(long)]
        user: Option<String>,
    },
    /// Show one session with its open files
    Show {
        /// Session id, or at least its first 8 digits
        id: String,
    },
    /// End a session; its client receives the reason
    End {
        /// Session id, or at least its first 8 digits
        id: String,
        /// The reason, for the client and the events
        #[arg(long)]
        reason: String,
    },
}

/// What is asked of the events.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Events {
    /// Show events live; reconnects after a lost connection
    Follow(Box<events::Filters>),
}

/// What is asked of the bans.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Bans {
    /// List banned addresses, and when each ban ends
    List,
    /// Lift the ban of an address
    Lift {
        /// The address; for IPv6, any address in the banned network
        address: std::net::IpAddr,
    },
}

/// What is asked of the trail.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Trail {
    /// Show the chain, its last checkpoint, and how far each sink is behind
    Show,
    /// Verify the trail in the gateway and wait for the result; exit code 1 if it is not whole
    Verify,
}

/// What is asked of the users.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Users {
    /// List the users of the configuration and of folders of keys
    List,
    /// Show one user: the last logins, and what prevents the next one
    Show {
        /// Login name
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// The client address to check
        #[arg(long)]
        address: Option<std::net::IpAddr>,
    },
}

/// What is asked of the admin door itself.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Door {
    /// Create a token for calls over the network; prints it and its configuration entry
    Token(token::Arguments),
    /// Print a link that logs one browser in to the web page; valid once, for 15 minutes
    Link(link::Arguments),
    /// Print the API description (OpenAPI 3.1)
    Openapi,
}

/// Answers about sessions.
pub(super) fn sessions(place: &Where, question: &Sessions) -> Result<(), Failure> {
    match question {
        Sessions::List { user } => sessions::list(place, user.as_deref()),
        Sessions::Show { id } => sessions::show(place, id),
        Sessions::End { id, reason } => sessions::end(place, id, reason),
    }
}

/// Answers about events.
pub(super) fn events(place: &Where, question: &Events) -> Result<(), Failure> {
    match question {
        Events::Follow(filters) => events::follow(place, filters),
    }
}

/// Answers about bans.
pub(super) fn bans(place: &Where, question: &Bans) -> Result<(), Failure> {
    match question {
        Bans::List => bans::list(place),
        Bans::Lift { address } => bans::lift(place, *address),
    }
}

/// Answers about the trail.
pub(super) fn trail(place: &Where, question: &Trail) -> Result<(), Failure> {
    match question {
        Trail::Show => trail::show(place),
        Trail::Verify => trail::verify(place),
    }
}

/// Answers about users.
pub(super) fn users(place: &Where, question: &Users) -> Result<(), Failure> {
    match question {
        Users::List => users::list(place),
        Users::Show { name, address } => users::show(place, name, address.map(|ip| ip.to_string()).as_deref()),
    }
}

/// What is about the door itself.
pub(super) fn door(question: &Door) -> Result<(), Failure> {
    match question {
        Door::Token(arguments) => token::make(arguments),
        Door::Link(arguments) => link::make(arguments),
        Door::Openapi => Ok(print(&crate::admin::description())?),
    }
}

impl Where {
    fn client(&self) -> Result<Client, Failure> {
        let target = self.target()?;
        Client::new(&target).map_err(|error| Failure::Arguments(error.to_string()))
    }

    fn target(&self) -> Result<Target, Failure> {
        if let (Some(url), Some(file)) = (&self.url, &self.token_file) {
            let token = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            return Ok(Target::Url(url.clone(), Secret::new(token.trim().to_owned())));
        }
        if let Some(socket) = &self.socket {
            return Ok(Target::Socket(socket.clone()));
        }
        let Some(file) = environment::config(self.config.as_deref()) else {
            return Ok(Target::Socket(USUAL_SOCKET.into()));
        };
        let settings = config::consult(&file)?;
        let socket = settings.admin.doors.socket.ok_or_else(|| {
            let what = format!("{} has no admin.socket; add one, or use --url with --token-file", file.display());
            Failure::Arguments(what)
        })?;
        Ok(Target::Socket(socket))
    }

    /// Makes a call and gives its answer.
    fn call<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, CallError>) -> Result<T, Failure> {
        let client = self.client()?;
        Ok(block_on(async { work(&client).await.map_err(anyhow::Error::from) })?)
    }

    /// The answer as JSON, or as `show` lays it out.
    fn print(&self, answer: &Value, show: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        if self.json {
            return Ok(print(shown_json(answer).trim_end())?);
        }
        Ok(print(&wrapped(show(answer).trim_end()))?)
    }
}

/// Prints a text and a newline. A reader that has seen enough, as `head`, is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("standard output cannot be written"),
    }
}
