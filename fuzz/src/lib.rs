//! What is fuzzed: each function takes any bytes, gives them to a reader of the gateway, and panics when a promise is broken.
//!
//! The fuzzer's targets call these; so does `tests/fuzz_short.rs` of the gateway, which includes this file.

mod channel;
mod cursor;
mod events;
mod jump_channel;
mod readers;
mod scp_channel;
mod sftp_channel;

pub use events::events;
pub use jump_channel::{jump_channel, target_addresses};
pub use readers::{kexinit, paths, proxy_headers, revoked_keys, scp_commands, scp_records, sftp_frames};
pub use scp_channel::scp_channel;
pub use sftp_channel::sftp_channel;
