//! `lockgate admin token`: makes a token, and the entry that lets it in.

use chrono::{Days, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::print;
use crate::admin::{self, Role, TokenHash};
use crate::cli::Failure;

/// The arguments of `token`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    /// Name of the caller, as shown in the events
    name: String,
    /// Role of the token
    #[arg(long, value_enum)]
    role: RoleName,
    /// Days until the token expires
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36500))]
    days: Option<u64>,
    /// Print the token and its configuration entry as JSON
    #[arg(long)]
    json: bool,
}

/// The roles as arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleName {
    /// See sessions, health, metrics, stores and users
    Viewer,
    /// Also see events, recordings and the trail
    Auditor,
    /// Also end sessions, lift bans, reload and drain
    Operator,
}

impl RoleName {
    pub(super) fn role(self) -> Role {
        match self {
            RoleName::Viewer => Role::Viewer,
            RoleName::Auditor => Role::Auditor,
            RoleName::Operator => Role::Operator,
        }
    }
}

/// Prints the token on standard output, and what to do with it on standard error; as JSON both on standard output.
pub(super) fn make(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.name.is_empty() || arguments.name.len() > 100 || arguments.name.chars().any(char::is_control) {
        return Err(Failure::Arguments("a name has 1 to 100 bytes and no control characters".into()));
    }
    let token = admin::make_token().map_err(anyhow::Error::msg)?;
    let hash = TokenHash::of(token.expose());
    let expires = arguments.days.and_then(|days| Utc::now().checked_add_days(Days::new(days)));
    let expires = expires.map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    let role = arguments.role.role().as_str();
    if arguments.json {
        let mut entry = json!({ "name": arguments.name, "role": role, "hash": hash.to_string() });
        if let Some(expires) = expires {
            entry["expires"] = expires.into();
        }
        let made = json!({ "token": token.expose(), "entry": entry });
        return Ok(print(&made.to_string())?);
    }
    let expires = expires.map(|time| format!(", expires: {time:?}"));
    eprintln!(
        "The token is on standard output. It is not shown again. Its entry for admin.tokens in the configuration:\n"
    );
    eprintln!(
        "  - {{ name: {}, role: {}, hash: \"{hash}\"{} }}\n",
        Value::from(arguments.name.as_str()),
        role,
        expires.unwrap_or_default()
    );
    eprintln!("Then run `lockgate reload` (or send SIGHUP); no restart is needed.");
    Ok(print(token.expose())?)
}
