//! Black-box tests: the real program, real clients, real stores, and what an operator sees of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod activity;
mod admin;
mod arrivals;
mod audit_anchor;
mod audit_chain;
mod audit_cli;
mod audit_kills;
mod audit_schema;
mod audit_verify;
mod certificates;
mod comparison;
mod configuration;
mod crash;
mod cut_off;
mod demo;
mod door;
mod errors_stream;
mod exchanges;
mod frugal;
mod generate;
mod homes;
mod hostile;
mod keys;
mod leftovers;
mod lifecycle;
mod links;
mod log_lines;
mod logins;
mod multiplexing;
mod negotiation;
mod odd_attempts;
mod people;
mod permissions_on_servers;
mod pipelining;
mod progress;
mod proofs;
mod provenance;
mod refusals;
mod reloads;
mod reports;
mod scale;
mod scp;
mod several_attempts;
mod siege;
mod stalled_trail;
mod stopped;
mod transfer_events;
mod transfers;
mod users_from_http;
mod users_from_keys;
mod users_rechecked;
