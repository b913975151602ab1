//! Conversations over an in-memory pipe, in front of a whole session with a store in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faulty;
mod home;
mod permissions;
pub(in crate::scp) mod pipe;
mod sink;
mod sink_errors;
mod source;
mod source_errors;
