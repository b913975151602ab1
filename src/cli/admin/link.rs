//! `lockgate admin link`: a link that logs one browser in to the page.

use clap::Args;
use serde_json::json;

use super::Where;
use super::status::text;
use super::token::RoleName;
use crate::admin::client::method::POST;
use crate::cli::Failure;

/// The arguments of `link`.
#[derive(Debug, PartialEq, Eq, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: Where,
    /// Role of the browser login
    #[arg(long, value_enum, default_value = "operator")]
    role: RoleName,
}

/// Prints the link on standard output, and how long it holds on standard error.
pub(super) fn make(arguments: &Arguments) -> Result<(), Failure> {
    let wanted = json!({ "role": arguments.role.role().as_str() });
    let made =
        arguments.place.call(async |client| client.call(POST, &["api", "v1", "links"], &[], Some(&wanted)).await)?;
    arguments.place.print(&made, |made| text(made, "url"))?;
    eprintln!("The first browser that opens it is logged in. Valid until {}.", text(&made, "until"));
    Ok(())
}
