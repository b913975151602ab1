//! Not an interface: what the tests, the benchmarks and the fuzzers of this package use, and its own program.
//!
//! Nothing here is stable or documented for others, and any version may change or remove all of it. A program that embeds the gateway
//! uses what stands at the root of the crate. Something that is missing there is worth an issue.

pub mod descriptors {
    pub use crate::descriptors::*;
}
pub mod in_place {
    pub use crate::in_place::*;
}
pub mod inherited {
    pub use crate::inherited::*;
}
pub mod metrics {
    pub use crate::metrics::*;
}
pub mod path {
    pub use crate::path::*;
}
pub mod regular_file {
    pub use crate::regular_file::*;
}
pub mod secret {
    pub use crate::secret::*;
}
pub mod together {
    pub use crate::together::*;
}
pub mod audit {
    pub use crate::audit::*;
}
pub mod policy {
    pub use crate::policy::*;
}
pub mod stores {
    pub use crate::stores::*;
}
pub mod users {
    pub use crate::users::*;
}
pub mod vfs {
    pub use crate::vfs::*;
}
pub mod session {
    pub use crate::session::*;
}
pub mod fleet {
    pub use crate::fleet::*;
}
pub mod scp {
    pub use crate::scp::*;
}
pub mod sftp {
    pub use crate::sftp::*;
}
pub mod admin {
    pub use crate::admin::*;
}
pub mod ssh {
    pub use crate::ssh::*;
}
pub mod config {
    pub use crate::config::*;
}
pub mod gateway {
    pub use crate::gateway::*;
}
#[cfg(feature = "cli")]
pub mod cli {
    pub use crate::cli::*;
}
