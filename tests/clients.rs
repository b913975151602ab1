//! The programs that people really use, each doing what it can: files up and down, trees up and down, names, resuming, times,
//! and failing as its user sees it.
//!
//! Each does so on a local store and on S3. Every result is checked in the store, past the gateway.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "clients/camel.rs"]
mod camel;
#[path = "clients/checks.rs"]
mod checks;
#[path = "clients/compiled.rs"]
mod compiled;
#[path = "clients/curl.rs"]
mod curl;
#[path = "clients/drop_box.rs"]
mod drop_box;
#[path = "clients/errors.rs"]
mod errors;
#[path = "clients/filezilla.rs"]
mod filezilla;
#[path = "clients/fsspec.rs"]
mod fsspec;
#[path = "clients/java.rs"]
mod java;
#[path = "clients/lftp.rs"]
mod lftp;
#[path = "clients/listings.rs"]
mod listings;
#[path = "clients/mount.rs"]
mod mount;
#[path = "clients/node.rs"]
mod node;
#[path = "clients/openssh.rs"]
mod openssh;
#[path = "clients/php.rs"]
mod php;
#[path = "clients/place.rs"]
mod place;
#[path = "clients/putty.rs"]
mod putty;
#[path = "clients/python.rs"]
mod python;
#[path = "clients/rclone.rs"]
mod rclone;
#[path = "clients/rekeying.rs"]
mod rekeying;
#[path = "clients/requests.rs"]
mod requests;
#[path = "clients/restic.rs"]
mod restic;
#[path = "clients/scp_protocol.rs"]
mod scp_protocol;
#[path = "clients/scripted.rs"]
mod scripted;
#[path = "clients/scripting.rs"]
mod scripting;
#[path = "clients/sequences.rs"]
mod sequences;
#[path = "clients/sshfs.rs"]
mod sshfs;
#[path = "clients/sshfs_programs.rs"]
mod sshfs_programs;
#[path = "support/mod.rs"]
mod support;
