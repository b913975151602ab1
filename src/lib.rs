//! Lockgate: an SSH server that speaks only SFTP and SCP, serves each user's logical home from object stores, and records
//! every attempt to log in and every file operation.
//!
//! A byte travels: socket → [`ssh`] → [`sftp`] or [`scp`] (codecs) → [`session`] (the door) → [`vfs`] → a store. A module
//! imports only from the layers above it in this list (`tests/tidy.rs` holds the table):
//!
//! | Layer | Modules |
//! |---|---|
//! | 0 words | [`path`], [`secret`], [`metrics`], [`backoff`], [`in_place`], [`together`], [`regular_file`], [`descriptors`], [`inherited`] |
//! | 1 rules | [`policy`], [`audit`] |
//! | 2 sources | [`stores`], [`vfs`], [`users`] |
//! | 3 door | [`session`] |
//! | 4 codecs | [`sftp`], [`scp`], [`fleet`] |
//! | 5 doors | [`ssh`], [`admin`] |
//! | 6 root | [`config`], [`gateway`] |
//! | 7 shell | [`cli`] |

pub mod backoff;
pub mod descriptors;
pub mod in_place;
pub mod inherited;
pub mod metrics;
pub mod path;
pub mod regular_file;
pub mod secret;
pub mod together;

pub mod audit;
pub mod policy;

pub mod stores;
pub mod users;
pub mod vfs;

pub mod session;

pub mod fleet;
pub mod scp;
pub mod sftp;

pub mod admin;
pub mod ssh;

pub mod config;
pub mod gateway;

pub mod cli;
