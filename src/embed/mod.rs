//! The interface of the library: what a program that embeds the gateway builds, brings along and holds.
//!
//! Everything public stands here and is re-exported by `lib.rs`; `docs/api.txt` lists it. Types of the gateway's own modules appear in no
//! signature, so that those modules can change.

mod builder;
mod configuration;
mod events;
mod gate;
mod handle;
mod host_key;
mod running;
mod user;
mod user_directory;

pub use builder::{Builder, StartError};
pub use configuration::{Configuration, ConfigurationError, Problem, Settings};
pub use events::{Event, EventSink, event_schema};
pub use gate::{Decision, LoginGate, ProvenLogin};
pub use handle::{Handle, ReloadError, Reloaded, Session};
pub use host_key::make_host_key;
pub use running::Gateway;
pub use user::{Access, Auth, Home, InvalidUser, User};
pub use user_directory::{DirectoryError, LoginAttempt, PasswordAnswer, UserDirectory};
