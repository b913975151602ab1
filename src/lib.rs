//! Lockgate: an SSH server that speaks only SFTP and SCP, serves each user's logical home from object stores, and records
//! every login attempt and every file operation.
//!
//! A program embeds it with a [`Configuration`] and a [`Gateway`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockgate::{Gateway, Home, Settings, User};
//!
//! lockgate::make_host_key("host_key")?;
//! let ann = User::new("ann").key("ssh-ed25519 AAAA... ann@laptop")?.home(Home::new("/", "files", "ann")?);
//! let settings = Settings::new().listen("127.0.0.1:2022".parse()?).host_key("host_key").store("files", "memory:///").user(ann);
//! let gateway = Gateway::builder(settings).start().await?;
//! println!("listening on {:?}", gateway.addresses());
//! gateway.ended().await;
//! # Ok(())
//! # }
//! ```
//!
//! | A program brings along | by |
//! |---|---|
//! | a configuration file, or settings in code | [`Configuration`], [`Settings`] |
//! | a directory of users | [`UserDirectory`] |
//! | a store | [`object_store::ObjectStore`] |
//! | a sink of events | [`EventSink`] |
//! | a decision on each login | [`LoginGate`] |
//!
//! A running gateway is controlled by its [`Handle`]: sessions, metrics, reload, drain. `docs/EMBEDDING.md` says more.
//!
//! The command line is the feature `cli`, fleets are the feature `fleet`, and stores in clouds are the features `s3`, `gcs` and `azure`. A program that
//! embeds the gateway chooses what it needs after `default-features = false`.

// Inside, a byte travels: socket → ssh → sftp or scp (codecs) → session (the door) → vfs → a store. A module imports only from the
// layers above it in this list (`tests/tidy.rs` holds the table, docs/ARCHITECTURE.md explains it).

mod backoff;
mod descriptors;
mod in_place;
mod inherited;
mod metrics;
mod path;
mod regular_file;
mod secret;
mod together;

mod audit;
mod policy;

mod stores;
mod users;
mod vfs;

mod session;

#[cfg_attr(not(feature = "fleet"), path = "fleet/absent.rs")]
mod fleet;
mod scp;
mod sftp;

mod admin;
mod ssh;

mod config;
mod gateway;

#[cfg(feature = "cli")]
mod cli;

mod embed;

#[doc(hidden)]
pub mod internals;

pub use async_trait::async_trait;
pub use object_store;

pub use embed::{
    Access, Auth, Builder, Configuration, ConfigurationError, Decision, DirectoryError, Event, EventSink, Gateway,
    Handle, Home, InvalidUser, LoginAttempt, LoginGate, PasswordAnswer, Problem, ProvenLogin, ReloadError, Reloaded,
    Session, Settings, StartError, User, UserDirectory, event_schema, make_host_key,
};
