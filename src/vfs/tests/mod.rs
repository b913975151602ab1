//! The file system over stores that are slow, fail and count as a test wishes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod aliases;
mod copies;
mod faults;
mod holes;
mod home;
mod links;
mod memory;
mod model;
mod names;
mod overwrite;
mod reads;
mod real;
mod renames;
pub(super) mod store;
mod versions;
mod writes;
