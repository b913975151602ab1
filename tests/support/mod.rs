//! What black-box tests share: programs with a time limit, servers that cannot be left behind, the gateway under test, its
//! clients, servers of object stores, and test data.
//!
//! Whatever is missing makes a test fail with a sentence; no test passes because it could not run.

// Each test binary uses its own part.
#![allow(dead_code)]

pub mod azure;
pub mod campaign;
pub mod chain;
pub mod client;
pub mod content;
pub mod data;
pub mod event_files;
pub mod events;
pub mod files;
pub mod gateway;
pub mod gcs;
mod gcs_http;
mod gcs_parts;
pub mod gcs_shim;
pub mod http;
pub mod keys;
pub mod link;
pub mod oidc;
pub mod permission_table;
pub mod plain_proxy;
pub mod process;
pub mod proftpd;
pub mod provider;
pub mod proxy;
pub mod raw_sftp;
pub mod redis;
pub mod relay;
pub mod s3;
pub mod s3_locked;
pub mod schema;
pub mod server;
pub mod setup;
pub mod sftp;
pub mod sockets;
pub mod sshd;
pub mod terminal;
pub mod trail;
