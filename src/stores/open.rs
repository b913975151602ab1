//! Settings → a store: the URL's scheme, the options' names, the builders of `object_store`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{ClientOptions, HttpConnector, ReqwestConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, RetryConfig};
use percent_encoding::percent_decode_str;

use super::azure::AzureExtras;
use super::local::LocalStore;
use super::object::{MtimeForm, ObjectBacked, describe};
use super::s3::{BucketClient, BucketExtras, Dialect, Endpoint, Headers, LARGEST_COPY, MultipartBackend, Signing};
use super::{Key, PartLimits, Settings, Store, StoreResult, memory};

/// The schemes of URLs, for messages.
const SCHEMES: &str = "file:///PATH, memory:///, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";

/// The options that are wanted most, for messages. All names: the documentation of `object_store` 0.14.
const S3_OPTIONS: &str = "aws_access_key_id, aws_secret_access_key, aws_session_token, aws_region, aws_endpoint, \
                          aws_allow_http, aws_virtual_hosted_style_request, aws_server_side_encryption, \
                          copy_limit, timeout";
const GOOGLE_OPTIONS: &str = "google_service_account, google_service_account_key, google_application_credentials, \
                              google_bearer_token, google_base_url, timeout";
const AZURE_OPTIONS: &str = "azure_storage_account_name, azure_storage_account_key, azure_storage_sas_key, \
                             azure_client_id, azure_client_secret, azure_tenant_id, azure_storage_endpoint, timeout";

/// The smallest part of an upload or a copy that is not the last, in bytes.
const SMALLEST_PART: u64 = 5 << 20;

/// A store whose settings were found right.
pub(super) enum Plan {
    /// A folder; opening it may fail.
    Local {
        /// The name in the configuration.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// Whether uploads reach the disk before they are published.
        fsync: bool,
    },
    /// A store of objects, which is not reached before it is used.
    Objects(ObjectBacked),
}

impl Plan {
    /// Reads settings.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub(super) fn read(settings: &Settings) -> Result<Self, String> {
        let wrong = || format!("the URL of store \"{}\" must be {SCHEMES}", settings.name);
        let (scheme, rest) = settings.url.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "file" => local(settings, rest),
            "memory" => {
                only_options(settings, &[])?;
                if !(rest.is_empty() || rest.starts_with('/')) {
                    return Err(format!("the URL of store \"{}\" must be memory:///", settings.name));
                }
                Ok(Plan::Objects(memory::open(&settings.name, prefix(settings, rest)?)))
            }
            "s3" | "s3a" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                s3(settings, bucket, path).map(Plan::Objects)
            }
            "gs" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                google(settings, bucket, path).map(Plan::Objects)
            }
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                let (container, path) = rest.split_once('/').unwrap_or((rest, ""));
                azure(settings, scheme, container, path).map(Plan::Objects)
            }
            _ => Err(wrong()),
        }
    }

    /// Makes the store.
    pub(super) fn open(self) -> StoreResult<Arc<dyn Store>> {
        Ok(match self {
            Plan::Local { name, folder, fsync } => Arc::new(LocalStore::open(&name, &folder, fsync)?),
            Plan::Objects(store) => Arc::new(store),
        })
    }
}

fn local(settings: &Settings, rest: &str) -> Result<Plan, String> {
    let name = &settings.name;
    only_options(settings, &["fsync"])?;
    if !rest.starts_with('/') {
        return Err(format!("the URL of store \"{name}\" must name an absolute path: file:///PATH"));
    }
    let folder =
        percent_decode_str(rest).decode_utf8().map_err(|_| format!("the path of store \"{name}\" is not UTF-8"))?;
    let mut fsync = true;
    for (_, value) in &settings.options {
        fsync = match value.expose() {
            "true" => true,
            "false" => false,
            _ => return Err(format!("the option \"fsync\" of store \"{name}\" must be true or false")),
        };
    }
    Ok(Plan::Local { name: name.clone(), folder: PathBuf::from(folder.as_ref()), fsync })
}

fn only_options(settings: &Settings, known: &[&str]) -> Result<(), String> {
    for (option, _) in &settings.options {
        if !known.contains(&option.as_str()) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!(
                "store \"{}\" has the option \"{option}\", which its kind does not know (known: {known})",
                settings.name
            ));
        }
    }
    Ok(())
}

/// What stands before all keys: the URL's path and a slash, or nothing.
fn prefix(settings: &Settings, path: &str) -> Result<String, String> {
    let wrong =
        |why: &str| format!("the path in the URL of store \"{}\" cannot be part of a key: {why}", settings.name);
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| wrong("it is not UTF-8"))?;
    Key::parse(&decoded).map(|key| key.as_prefix()).map_err(|error| wrong(&error.to_string()))
}

fn bucket_name<'b>(settings: &Settings, bucket: &'b str, what: &str) -> Result<&'b str, String> {
    let fine = !bucket.is_empty() && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if fine { Ok(bucket) } else { Err(format!("the URL of store \"{}\" must name a {what}", settings.name)) }
}

/// Defaults that fit large parts on slow links: no limit on the whole request, one on silence. The read timeout also bounds
/// the sending of a part, since it runs until the answer begins.
fn client_defaults() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(Duration::from_secs(180))
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(180) }
}

fn cloud_limits(equal_parts: bool) -> PartLimits {
    PartLimits {
        smallest_part: SMALLEST_PART,
        largest_part: 5 << 30,
        most_parts: 10_000,
        largest_object: 5 << 40,
        equal_parts,
    }
}

fn unknown(settings: &Settings, option: &str, kind: &str, usual: &str) -> String {
    format!(
        "store \"{}\" has the option \"{option}\", which {kind} stores do not know; the usual ones are {usual}",
        settings.name
    )
}

fn s3(settings: &Settings, bucket: &str, path: &str) -> Result<ObjectBacked, String> {
    let bucket = bucket_name(settings, bucket, "bucket: s3://BUCKET/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = from_environment(settings);
    let mut creation_headers = Headers::new();
    let mut largest_copy = LARGEST_COPY;
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        let value = value.expose();
        if option == "copy_limit" {
            largest_copy = copy_limit(settings, value)?;
            continue;
        }
        match option.strip_prefix("aws_").unwrap_or(&option) {
            "bucket" | "bucket_name" | "sse_customer_key_base64" | "s3_express" => {
                return Err(format!("the option \"{option}\" of store \"{}\" is not supported", settings.name));
            }
            "server_side_encryption" => {
                let header = "x-amz-server-side-encryption".to_owned();
                creation_headers.push((header, value.to_owned()));
            }
            "sse_kms_key_id" => {
                let header = "x-amz-server-side-encryption-aws-kms-key-id".to_owned();
                creation_headers.push((header, value.to_owned()));
            }
            "sse_bucket_key_enabled" => {
                let header = "x-amz-server-side-encryption-bucket-key-enabled".to_owned();
                creation_headers.push((header, value.to_owned()));
            }
            _ => {}
        }
        match option.parse::<AmazonS3ConfigKey>() {
            Ok(AmazonS3ConfigKey::Client(key)) => client = client.with_config(key, value),
            Ok(key) => builder = builder.with_config(key, value),
            Err(_) => return Err(unknown(settings, &option, "S3", S3_OPTIONS)),
        }
    }
    let builder = builder.with_bucket_name(bucket).with_client_options(client.clone()).with_retry(retries());
    let address = s3_address(settings, &builder, &client, bucket)?;
    let equal_parts = address.contains(".r2.cloudflarestorage.com");
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let says = |key| builder.get_config_value(&key).is_some_and(|value| value == "true");
    let (unsigned, requester_pays) = (says(AmazonS3ConfigKey::SkipSignature), says(AmazonS3ConfigKey::RequestPayer));
    let objects: AmazonS3 = builder.build().map_err(|error| cannot_open(settings, &error))?;
    let signing = match unsigned {
        true => Signing::None,
        false => Signing::Aws { credentials: Arc::clone(objects.credentials()), region, requester_pays },
    };
    let objects = Arc::new(objects);
    let client = BucketClient {
        http: ReqwestConnector::default().connect(&client).map_err(|error| cannot_open(settings, &error))?,
        endpoint: Endpoint { address, bucket: bucket.to_owned() },
        signing,
        dialect: Dialect::S3,
        creation_headers,
    };
    let multipart = Some(MultipartBackend(Arc::clone(&objects) as _));
    Ok(ObjectBacked {
        name: settings.name.clone(),
        bucket: bucket.to_owned(),
        prefix,
        extras: Arc::new(BucketExtras { client, largest_copy, multipart }),
        objects,
        limits: cloud_limits(equal_parts),
        mtime_form: MtimeForm::Seconds,
    })
}

/// The largest object that the server copies in one request, in bytes.
fn copy_limit(settings: &Settings, text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes @ SMALLEST_PART..=LARGEST_COPY) => Ok(bytes),
        _ => Err(format!(
            "the option \"copy_limit\" of store \"{}\" must be a number of bytes from {SMALLEST_PART} to {LARGEST_COPY}",
            settings.name
        )),
    }
}

/// Where the process itself runs on AWS, its environment says how to get credentials. What the options say goes before;
/// options with a key of their own are not mixed with the environment's.
fn from_environment(settings: &Settings) -> AmazonS3Builder {
    let own_key = settings.options.iter().any(|(option, _)| {
        let option = option.to_ascii_lowercase();
        matches!(option.strip_prefix("aws_").unwrap_or(&option), "access_key_id" | "skip_signature")
    });
    let mut builder = AmazonS3Builder::new();
    for (name, value) in std::env::vars() {
        let name = name.to_ascii_lowercase();
        let credential = matches!(
            name.as_str(),
            "aws_access_key_id"
                | "aws_secret_access_key"
                | "aws_session_token"
                | "aws_web_identity_token_file"
                | "aws_role_arn"
                | "aws_role_session_name"
                | "aws_container_credentials_relative_uri"
                | "aws_container_credentials_full_uri"
                | "aws_container_authorization_token_file"
        );
        let place = matches!(name.as_str(), "aws_region" | "aws_default_region" | "aws_endpoint_url_sts");
        if ((credential && !own_key) || place)
            && let Ok(key) = name.parse::<AmazonS3ConfigKey>()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// The bucket's address, as `object_store` makes it.
fn s3_address(
    settings: &Settings,
    builder: &AmazonS3Builder,
    client: &ClientOptions,
    bucket: &str,
) -> Result<String, String> {
    let value = |key| builder.get_config_value(&key);
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
    let virtual_hosted = value(AmazonS3ConfigKey::VirtualHostedStyleRequest).is_some_and(|text| text == "true");
    let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let address = match (endpoint, virtual_hosted) {
        (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    };
    check_address(settings, &address, client, "aws_endpoint", "aws_allow_http")?;
    Ok(address)
}

fn check_address(
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

fn cannot_open(settings: &Settings, error: &object_store::Error) -> String {
    format!("the options of store \"{}\" do not fit together: {}", settings.name, describe(error))
}

fn google(settings: &Settings, bucket: &str, path: &str) -> Result<ObjectBacked, String> {
    let bucket = bucket_name(settings, bucket, "bucket: gs://BUCKET/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        match option.parse::<GoogleConfigKey>() {
            Ok(GoogleConfigKey::Bucket) | Err(_) => return Err(unknown(settings, &option, "Google", GOOGLE_OPTIONS)),
            Ok(GoogleConfigKey::Client(key)) => client = client.with_config(key, value.expose()),
            Ok(key) => builder = builder.with_config(key, value.expose()),
        }
    }
    let builder = builder.with_bucket_name(bucket).with_client_options(client.clone()).with_retry(retries());
    let base = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let base = base.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let address = format!("{}/{bucket}", base.trim_end_matches('/'));
    check_address(settings, &address, &client, "google_base_url", "allow_http")?;
    let unsigned = builder.get_config_value(&GoogleConfigKey::SkipSignature).is_some_and(|value| value == "true");
    let objects = Arc::new(builder.build().map_err(|error| cannot_open(settings, &error))?);
    let signing = if unsigned { Signing::None } else { Signing::Google(Arc::clone(objects.credentials())) };
    let client = BucketClient {
        http: ReqwestConnector::default().connect(&client).map_err(|error| cannot_open(settings, &error))?,
        endpoint: Endpoint { address, bucket: bucket.to_owned() },
        signing,
        dialect: Dialect::Google,
        creation_headers: Headers::new(),
    };
    Ok(ObjectBacked {
        name: settings.name.clone(),
        bucket: bucket.to_owned(),
        prefix,
        // A copy of any size is one request to Google.
        extras: Arc::new(BucketExtras { client, largest_copy: u64::MAX, multipart: None }),
        objects,
        limits: cloud_limits(false),
        mtime_form: MtimeForm::Rfc3339,
    })
}

/// `place` is a container, or as Hadoop writes it `CONTAINER@ACCOUNT.dfs.core.windows.net`.
fn azure(settings: &Settings, scheme: &str, place: &str, path: &str) -> Result<ObjectBacked, String> {
    let container = place.split_once('@').map_or(place, |(container, _)| container);
    let container = bucket_name(settings, container, "container: az://CONTAINER/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        match option.parse::<AzureConfigKey>() {
            Ok(AzureConfigKey::ContainerName) | Err(_) => {
                return Err(unknown(settings, &option, "Azure", AZURE_OPTIONS));
            }
            Ok(AzureConfigKey::Client(key)) => client = client.with_config(key, value.expose()),
            Ok(key) => builder = builder.with_config(key, value.expose()),
        }
    }
    let builder = builder.with_url(format!("{scheme}://{place}")).with_client_options(client).with_retry(retries());
    let objects = Arc::new(builder.build().map_err(|error| cannot_open(settings, &error))?);
    Ok(ObjectBacked {
        name: settings.name.clone(),
        bucket: container.to_owned(),
        prefix,
        extras: Arc::new(AzureExtras { objects: Arc::clone(&objects) }),
        objects,
        limits: PartLimits {
            smallest_part: 1,
            largest_part: 4_000 << 20,
            most_parts: 50_000,
            largest_object: 190 << 40,
            equal_parts: false,
        },
        mtime_form: MtimeForm::Rfc3339,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn read(url: &str, options: &[(&str, &str)]) -> Result<Plan, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
        Plan::read(&Settings { name: "lake".to_owned(), url: url.to_owned(), options })
    }

    fn refused(url: &str, options: &[(&str, &str)]) -> String {
        let message = read(url, options).err().unwrap_or_else(|| panic!("{url} {options:?} was taken"));
        assert!(message.contains("\"lake\""), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        message
    }

    fn bucket_of(url: &str, options: &[(&str, &str)]) -> ObjectBacked {
        match read(url, options) {
            Ok(Plan::Objects(store)) => store,
            Ok(Plan::Local { .. }) => panic!("a local store"),
            Err(message) => panic!("{message}"),
        }
    }

    const KEYS: [(&str, &str); 2] = [("aws_access_key_id", "k"), ("aws_secret_access_key", "hunter2")];

    #[test]
    fn urls_are_read() {
        let store = bucket_of("s3://bucket.name/a/b%20c/", &KEYS);
        assert_eq!((store.bucket.as_str(), store.prefix.as_str()), ("bucket.name", "a/b c/"));
        assert_eq!(store.event_path(&Key::parse("x").unwrap()), "/bucket.name/a/b c/x");
        assert_eq!(bucket_of("s3://bucket", &KEYS).prefix, "");
        assert_eq!(bucket_of("memory:///", &[]).prefix, "");
        assert_eq!(bucket_of("gs://bucket/p", &[("google_skip_signature", "true")]).prefix, "p/");
        let account = [("azure_storage_account_name", "acc"), ("azure_storage_account_key", "aHVudGVyMg==")];
        assert_eq!(bucket_of("az://container/p", &account).bucket, "container");
        assert_eq!(bucket_of("abfss://fs@acc.dfs.core.windows.net/p", &account[1..]).bucket, "fs");
        assert!(matches!(read("file:///srv/x%201", &[("fsync", "false")]),
            Ok(Plan::Local { folder, fsync: false, .. }) if folder == std::path::Path::new("/srv/x 1")));
        for wrong in
            ["", "bucket", "ftp://x/y", "file://relative", "s3:///p", "s3://b/../c", "s3://b/a//c", "memory://x"]
        {
            refused(wrong, &[]);
        }
    }

    #[test]
    fn unknown_options_are_named() {
        assert!(refused("s3://b", &[("aws_regoin", "x")]).contains("aws_regoin"));
        assert!(refused("file:///x", &[("sync", "true")]).contains("fsync"));
        refused("file:///x", &[("fsync", "yes")]);
        refused("memory:///", &[("aws_region", "x")]);
        refused("gs://b", &[("aws_region", "x")]);
        refused("az://c", &[("google_base_url", "x")]);
        refused("s3://b", &[("aws_bucket", "other")]);
        refused("s3://b", &[("copy_limit", "1")]);
        refused("s3://b", &[("aws_secret_access_key", "hunter2"), ("aws_virtual_hosted_style_request", "perhaps")]);
        assert!(refused("s3://b", &[KEYS[0], KEYS[1], ("aws_endpoint", "http://h")]).contains("aws_allow_http"));
    }

    #[test]
    fn option_names_are_those_of_object_store_in_any_case() {
        let mut options = KEYS.to_vec();
        options.extend([
            ("AWS_REGION", "eu-west-1"),
            ("region", "eu-west-1"),
            ("timeout", "60s"),
            ("copy_limit", "5368709120"),
        ]);
        bucket_of("s3://b", &options);
    }
}
