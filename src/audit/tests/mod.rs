//! Tests of the audit trail as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chained;
mod golden;
mod in_turn;
mod interleaved;
mod key_change;
mod power;
mod recorder;
pub(super) mod samples;
