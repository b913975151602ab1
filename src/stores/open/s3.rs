//! Settings → a store on S3.

use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::client::ClientOptions;

use super::clouds::{
    SMALLEST_PART, bucket_name, cannot_open, check_address, client_defaults, cloud_limits, connect, retries, unknown,
};
use super::prefix;
use super::turns::Turns;
use crate::stores::Settings;
use crate::stores::object::{KeptTimes, MtimeForm, MultipartBackend, ObjectBacked};
use crate::stores::place::Site;
use crate::stores::provenance::{self, Names};
use crate::stores::rest::{Client, Headers, Signing};
use crate::stores::s3::{BucketClient, BucketExtras, LARGEST_COPY};
use crate::stores::unfinished::BucketJournal;

/// The options that are wanted most, for messages. All names: the documentation of `object_store` 0.14.
const OPTIONS: &str = "aws_access_key_id, aws_secret_access_key, aws_session_token, aws_region, aws_endpoint, \
                          aws_allow_http, aws_virtual_hosted_style_request, aws_server_side_encryption, aws_checksum_algorithm, \
                          conditional_deletes, copy_limit, listing_times, object_metadata, timeout";

/// A bucket of S3 or of what speaks like it.
pub(super) fn open(settings: &Settings, bucket: &str, path: &str) -> Result<(ObjectBacked, Turns), String> {
    let bucket = bucket_name(settings, bucket, "bucket: s3://BUCKET/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = from_environment(settings);
    let mut creation_headers = Headers::new();
    let mut largest_copy = LARGEST_COPY;
    let mut listing_times = true;
    let mut conditional_deletes = None;
    let mut checksum = None;
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        let value = value.expose();
        match option.as_str() {
            "copy_limit" => {
                largest_copy = copy_limit(settings, value)?;
                continue;
            }
            "conditional_deletes" => {
                conditional_deletes = Some(knows_conditional_deletes(settings, value)?);
                continue;
            }
            "checksum_algorithm" | "aws_checksum_algorithm" => {
                checksum = Some(checksum_of(settings, value)?);
                continue;
            }
            _ if provenance::is_option(&option) => continue,
            "listing_times" => {
                listing_times = shows_kept_times(settings, value)?;
                continue;
            }
            _ => {}
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
            Err(_) => return Err(unknown(settings, &option, "S3", OPTIONS)),
        }
    }
    let builder = builder.with_bucket_name(bucket).with_client_options(client.clone()).with_retry(retries());
    let turns = Turns::new();
    let builder = builder.with_http_connector(turns.clone());
    let address = s3_address(settings, &builder, &client, bucket)?;
    let equal_parts = address.contains(".r2.cloudflarestorage.com");
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let says = |key| builder.get_config_value(&key).is_some_and(|value| value == "true");
    let site = Site::bucket(bucket, says(AmazonS3ConfigKey::VirtualHostedStyleRequest).then_some(address.as_str()));
    let (unsigned, requester_pays) = (says(AmazonS3ConfigKey::SkipSignature), says(AmazonS3ConfigKey::RequestPayer));
    let copies_parts = !equal_parts;
    // Other servers than AWS's own may refuse what they do not know.
    let checksum = checksum.unwrap_or_else(|| is_of_aws(&address).then_some(Checksum::SHA256));
    let plain = builder.clone();
    let builder = match checksum {
        Some(checksum) => builder.with_checksum_algorithm(checksum),
        None => builder,
    };
    let objects: AmazonS3 = builder.build().map_err(|error| cannot_open(settings, &error))?;
    let plain = match checksum.is_some() && copies_parts {
        true => {
            let plain = plain.with_credentials(Arc::clone(objects.credentials())).build();
            Some(MultipartBackend(Arc::new(plain.map_err(|error| cannot_open(settings, &error))?) as _))
        }
        false => None,
    };
    let signing = match unsigned {
        true => Signing::None,
        false => Signing::Aws { credentials: Arc::clone(objects.credentials()), region, requester_pays },
    };
    let objects = Arc::new(objects);
    let journal = BucketJournal::new(address.clone());
    let conditional_deletes = conditional_deletes.unwrap_or_else(|| is_of_aws(&address));
    let client = BucketClient {
        client: Client { http: connect(settings, &turns, &client)?, address, signing },
        bucket: bucket.to_owned(),
        creation_headers,
        conditional_deletes,
    };
    let multipart = MultipartBackend(Arc::clone(&objects) as _);
    let store = ObjectBacked {
        name: settings.name.clone(),
        bucket: bucket.to_owned(),
        prefix,
        site,
        extras: Arc::new(BucketExtras {
            client,
            largest_copy,
            multipart,
            multipart_plain: plain,
            copies_parts,
            journal,
        }),
        objects,
        limits: cloud_limits(equal_parts),
        mtime_form: MtimeForm::Seconds,
        provenance: provenance::names_of(settings, Names::Dashes)?,
        both: Default::default(),
        kept_times: listing_times.then(KeptTimes::default),
    };
    Ok((store, turns))
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

/// The checksum that each put and each part carries, for the server to verify and to keep.
fn checksum_of(settings: &Settings, text: &str) -> Result<Option<Checksum>, String> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Ok(None),
        "sha256" => Ok(Some(Checksum::SHA256)),
        "crc64nvme" => Ok(Some(Checksum::CRC64NVME)),
        _ => Err(format!(
            "the option \"aws_checksum_algorithm\" of store \"{}\" must be sha256 (on AWS the default), crc64nvme or none",
            settings.name
        )),
    }
}

/// Whether listings show kept modification times.
fn shows_kept_times(settings: &Settings, text: &str) -> Result<bool, String> {
    match text {
        "kept" => Ok(true),
        "stored" => Ok(false),
        _ => Err(format!(
            "the option \"listing_times\" of store \"{}\" must be kept (the times that clients set; one request for each \
             file that is new to the gateway) or stored (when objects were stored; no request)",
            settings.name
        )),
    }
}

/// Whether the server deletes on a condition, as the operator knows it.
fn knows_conditional_deletes(settings: &Settings, text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| {
        format!(
            "the option \"conditional_deletes\" of store \"{}\" must be true (the server honours If-Match on DELETE, as AWS does) \
             or false (it is looked right before instead)",
            settings.name
        )
    })
}

/// Whether an address is one of AWS's own.
fn is_of_aws(address: &str) -> bool {
    let host = address.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next()).unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Whether puts carry no checksum only because nobody said which one the server knows.
pub(super) fn lacks_checksums(settings: &Settings) -> bool {
    let is_checksum = |option: &str| matches!(option, "checksum_algorithm" | "aws_checksum_algorithm");
    let options = || settings.options.iter().map(|(option, value)| (option.to_ascii_lowercase(), value));
    let elsewhere = |(option, value): (String, &crate::secret::Secret)| {
        let is_endpoint = matches!(option.parse(), Ok(AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint));
        is_endpoint && !is_of_aws(value.expose())
    };
    !options().any(|(option, _)| is_checksum(&option)) && options().any(elsewhere)
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
