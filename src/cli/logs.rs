//! Logs: lines for people or JSON, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::audit::table::is_coloured;

/// Without `RUST_LOG`: what Lockgate itself says, and of the libraries only what is amiss. The last module warns of every request that
/// it does not know, as PuTTY and WinSCP send one with each channel, and else of what is an event.
const DEFAULT_FILTER: &str = "warn,lockgate=info,russh=off";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging; a filter in `RUST_LOG` that cannot be read is reported and not used.
pub(super) fn start(format: Format) {
    let asked = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let filter = asked.as_deref().map(EnvFilter::try_new);
    let wrong = filter.as_ref().and_then(|filter| filter.as_ref().err()).map(ToString::to_string);
    let filter = filter.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when logging was started before, which is as good.
    let _ = match format {
        Format::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal() && is_coloured()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(tell_panic));
    if let Some(what) = wrong {
        tracing::warn!("RUST_LOG is not a filter ({what}); using {DEFAULT_FILTER:?}");
    }
}

/// Says where a task panicked. What was panicked with is said only where the code has it as it is: a text that was put together may
/// quote what a caller sent, secrets too.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let what = panic.payload().downcast_ref::<&'static str>().unwrap_or(&"(not shown, for it may quote a caller)");
    tracing::error!(place, what, "this is a fault of Lockgate: a task panicked");
    // With RUST_BACKTRACE=1 only.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!("{trace}");
    }
}
