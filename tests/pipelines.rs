//! `examples/pipelines/`: Lockgate's events through the programs that ship logs.
//!
//! A real gateway writes a file of events while people transfer files; the shipper runs with the example's own
//! configuration, of which only the folders are changed; what comes out at its end is compared with the gateway's file.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "pipelines/backend.rs"]
mod backend;
#[path = "pipelines/examples.rs"]
mod examples;
#[path = "pipelines/otel_collector.rs"]
mod otel_collector;
#[path = "pipelines/place.rs"]
mod place;
#[path = "support/mod.rs"]
mod support;
