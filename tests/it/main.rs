//! Black-box tests: the real program, real clients, real stores, and what an operator sees of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod demo;
mod homes;
mod leftovers;
mod lifecycle;
mod logins;
mod negotiation;
mod pipelining;
mod refusals;
mod transfer_events;
mod transfers;
