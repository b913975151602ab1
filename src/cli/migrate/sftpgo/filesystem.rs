//! Where files are: SFTPGo's filesystems as stores.

use serde_json::Value;

use super::super::draft::Draft;
use super::super::stores::Store;
use super::is_set;

/// A folder: its filesystem, and its path on this machine if it is a local one.
pub(super) struct Folder<'a> {
    pub filesystem: &'a Value,
    pub path: &'a str,
}

/// What of an object store's settings is converted; the rest is reported.
const CONVERTED: [&str; 16] = [
    "bucket",
    "container",
    "key_prefix",
    "region",
    "endpoint",
    "access_key",
    "access_secret",
    "automatic_credentials",
    "credentials",
    "account_name",
    "account_key",
    "sas_url",
    "force_path_style",
    "use_emulator",
    "session_token",
    "role_arn",
];

/// How transfers are cut into parts, which the gateway decides by itself.
const OWN_CHOICE: [&str; 6] = [
    "upload_part_size",
    "upload_concurrency",
    "upload_part_max_time",
    "download_part_size",
    "download_concurrency",
    "download_part_max_time",
];

/// The target of a folder; `None` when it has no counterpart, which is reported.
pub(super) fn target(name: &str, folder: &Folder<'_>, draft: &mut Draft) -> Option<String> {
    let filesystem = folder.filesystem;
    let of_kind = match filesystem["provider"].as_u64().unwrap_or(0) {
        0 => {
            let target = draft.stores.local(folder.path);
            if target.is_none() {
                draft.report.note(name, format!("{:?} is not an absolute path of this machine", folder.path));
            }
            return target;
        }
        1 => s3(name, &filesystem["s3config"], draft),
        2 => google(name, &filesystem["gcsconfig"], draft),
        3 => azure(name, &filesystem["azblobconfig"], draft),
        4 => Err("an encrypted local folder: its files could not be read"),
        5 => Err(
            "a folder on another SFTP server: the backup has fingerprints of its host key and not the key, which a store \
             `sftp://` needs",
        ),
        6 => Err("a folder behind an HTTP service"),
        _ => Err("a folder on a filesystem that this program does not know"),
    };
    match of_kind {
        Ok((store, wish, prefix)) => {
            let store = draft.stores.name_of(store, &wish);
            Some(format!("{store}:/{}", prefix.trim_matches('/')))
        }
        Err(what) => {
            draft.report.note(name, what);
            None
        }
    }
}

/// The text of a secret that is not encrypted.
pub(super) fn plain(secret: &Value) -> Option<&str> {
    let is_plain = secret["status"].as_str().is_some_and(|status| status.eq_ignore_ascii_case("plain"));
    secret["payload"].as_str().filter(|payload| is_plain && !payload.is_empty())
}

/// The store, the name that it is to have, and the folder in it.
type Found = Result<(Store, String, String), &'static str>;

fn s3(name: &str, config: &Value, draft: &mut Draft) -> Found {
    let bucket = text(config, "bucket").ok_or("a folder in S3 without a bucket")?;
    let mut store = Store { url: format!("s3://{bucket}"), ..Store::default() };
    option(&mut store, "aws_region", text(config, "region"));
    let endpoint = text(config, "endpoint");
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        store.options.push(("aws_allow_http", "true".to_owned()));
    }
    if endpoint.is_some() && config["force_path_style"] != true {
        store.options.push(("aws_virtual_hosted_style_request", "true".to_owned()));
    }
    option(&mut store, "aws_endpoint", endpoint);
    if let Some(access_key) = text(config, "access_key") {
        match plain(&config["access_secret"]) {
            Some(secret) => {
                store.options.push(("aws_access_key_id", access_key.to_owned()));
                store.options.push(("aws_secret_access_key", secret.to_owned()));
            }
            None => {
                store.wanted.push(("aws_access_key_id", access_key.to_owned()));
                wanted(&mut store, "aws_secret_access_key", bucket, draft);
            }
        }
    }
    for key in ["session_token", "role_arn"] {
        if is_set(&config[key]) {
            draft.report.general(format!(
                "the bucket {bucket}: {key} is not used; credentials come from the options or the machine."
            ));
        }
    }
    note_rest(name, "s3config", config, draft);
    Ok((store, bucket.to_owned(), text(config, "key_prefix").unwrap_or_default().to_owned()))
}

fn google(name: &str, config: &Value, draft: &mut Draft) -> Found {
    let bucket = text(config, "bucket").ok_or("a folder in Google Cloud Storage without a bucket")?;
    let mut store = Store { url: format!("gs://{bucket}"), ..Store::default() };
    if config["automatic_credentials"].as_u64() != Some(1) {
        match plain(&config["credentials"]) {
            Some(credentials) => store.options.push(("google_service_account_key", credentials.to_owned())),
            None => wanted(&mut store, "google_service_account_key", bucket, draft),
        }
    }
    note_rest(name, "gcsconfig", config, draft);
    Ok((store, bucket.to_owned(), text(config, "key_prefix").unwrap_or_default().to_owned()))
}

fn azure(name: &str, config: &Value, draft: &mut Draft) -> Found {
    // Without an account, a signed URL says where the container is, and what it says is encrypted.
    let container = text(config, "container").ok_or("a container of Azure that only a signed URL (sas_url) names")?;
    let account =
        text(config, "account_name").ok_or("a container of Azure whose account only a signed URL (sas_url) names")?;
    let mut store = Store { url: format!("az://{container}"), ..Store::default() };
    store.options.push(("azure_storage_account_name", account.to_owned()));
    if let Some(endpoint) = text(config, "endpoint").filter(|endpoint| endpoint.contains("://")) {
        // An emulator has the account in its path.
        let path = if config["use_emulator"] == true { format!("/{account}") } else { String::new() };
        store.options.push(("azure_endpoint", format!("{}{path}", endpoint.trim_end_matches('/'))));
        if endpoint.starts_with("http://") {
            store.options.push(("azure_allow_http", "true".to_owned()));
        }
    }
    match plain(&config["account_key"]) {
        Some(key) => store.options.push(("azure_storage_account_key", key.to_owned())),
        None => wanted(&mut store, "azure_storage_account_key", container, draft),
    }
    note_rest(name, "azblobconfig", config, draft);
    Ok((store, container.to_owned(), text(config, "key_prefix").unwrap_or_default().to_owned()))
}

fn text<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    config[key].as_str().filter(|text| !text.is_empty())
}

fn option(store: &mut Store, key: &'static str, value: Option<&str>) {
    store.options.extend(value.map(|value| (key, value.to_owned())));
}

/// The operator has to say it again.
fn wanted(store: &mut Store, key: &'static str, bucket: &str, draft: &mut Draft) {
    store.wanted.push((key, format!("${{file:/etc/lockgate/{key}}}")));
    draft.report.general(format!(
        "the credentials of {bucket} are encrypted in the backup: complete the commented option {key}, or leave it to the machine's own."
    ));
}

/// Settings of a store that have no counterpart.
fn note_rest(name: &str, kind: &str, config: &Value, draft: &mut Draft) {
    for (key, value) in config.as_object().into_iter().flatten() {
        let key = key.as_str();
        if !CONVERTED.contains(&key) && !OWN_CHOICE.contains(&key) && is_set(value) {
            draft.report.note(name, format!("{kind}.{key}"));
        }
    }
}
