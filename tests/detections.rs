//! `examples/detections/` over the events of real gateways: each rule and query finds the attack that it is for, which was really
//! made, and no other; a day of ordinary work raises none.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "detections/cloudwatch.rs"]
mod cloudwatch;
#[path = "detections/examples.rs"]
mod examples;
#[path = "detections/panther.rs"]
mod panther;
#[path = "detections/place.rs"]
mod place;
#[path = "detections/queries.rs"]
mod queries;
#[path = "detections/sigma.rs"]
mod sigma;
#[path = "support/mod.rs"]
mod support;
