//! What the stores in the clouds have in common when they are opened.

use std::time::Duration;

use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::{BackoffConfig, RetryConfig};

use super::NO_OPTION;
use super::turns::Turns;
use crate::stores::object::describe;
use crate::stores::{PartLimits, Settings};

/// The smallest part of an upload or a copy that is not the last, in bytes.
pub(super) const SMALLEST_PART: u64 = 5 << 20;

pub(super) fn bucket_name<'b>(settings: &Settings, bucket: &'b str, what: &str) -> Result<&'b str, String> {
    let fine = !bucket.is_empty() && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if fine { Ok(bucket) } else { Err(format!("the URL of store \"{}\" must name a {what}", settings.name)) }
}

/// Defaults that fit large parts on slow links: no limit on the whole request, one on silence. The read timeout also bounds
/// the sending of a part, since it runs until the answer begins.
pub(super) fn client_defaults() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(Duration::from_secs(180))
}

pub(super) fn retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(180) }
}

pub(super) fn cloud_limits(equal_parts: bool) -> PartLimits {
    PartLimits {
        smallest_part: SMALLEST_PART,
        largest_part: 5 << 30,
        most_parts: 10_000,
        largest_object: 5 << 40,
        equal_parts,
    }
}

pub(super) fn unknown(settings: &Settings, option: &str, kind: &str, usual: &str) -> String {
    format!(
        "store \"{}\" has the option \"{option}\", which {kind} {NO_OPTION}; the usual ones are {usual}",
        settings.name
    )
}

pub(super) fn check_address(
    settings: &Settings,
    address: &str,
    client: &ClientOptions,
    option: &str,
    allow: &str,
) -> Result<(), String> {
    let name = &settings.name;
    let allowed = client.get_config_value(&object_store::ClientConfigKey::AllowHttp).is_some_and(|v| v == "true");
    if address.starts_with("https://") || (address.starts_with("http://") && allowed) {
        return Ok(());
    }
    if address.starts_with("http://") {
        return Err(format!(
            "the option \"{option}\" of store \"{name}\" is not HTTPS; to allow that, set {allow}: \"true\""
        ));
    }
    Err(format!("the option \"{option}\" of store \"{name}\" must be a URL that begins with https:// or http://"))
}

pub(super) fn cannot_open(settings: &Settings, error: &object_store::Error) -> String {
    format!("the options of store \"{}\" do not match: {}", settings.name, describe(error))
}

/// The client that sends our own requests.
pub(super) fn connect(settings: &Settings, turns: &Turns, client: &ClientOptions) -> Result<HttpClient, String> {
    turns.connect(client).map_err(|error| cannot_open(settings, &error))
}
