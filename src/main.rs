//! The `lockgate` program.

use std::process::ExitCode;

/// With a thread of its own that gives memory back to the system some seconds after it was freed: what many connections took does not
/// stay when they have gone.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    lockgate::internals::cli::main()
}
