//! URLs and options of the stores in the clouds.

use super::{bucket_of, refused};
use crate::stores::{Key, Store};

const KEYS: [(&str, &str); 2] = [("aws_access_key_id", "k"), ("aws_secret_access_key", "hunter2")];

#[test]
fn urls_are_read() {
    let store = bucket_of("s3://bucket.name/a/b%20c/", &KEYS);
    assert_eq!((store.bucket.as_str(), store.prefix.as_str()), ("bucket.name", "a/b c/"));
    assert_eq!(store.event_path(&Key::parse("x").unwrap()), "/bucket.name/a/b c/x");
    assert_eq!(bucket_of("s3://bucket", &KEYS).prefix, "");
    assert_eq!(bucket_of("gs://bucket/p", &[("google_skip_signature", "true")]).prefix, "p/");
    let account = [("azure_storage_account_name", "acc"), ("azure_storage_account_key", "aHVudGVyMg==")];
    assert_eq!(bucket_of("az://container/p", &account).bucket, "container");
    assert_eq!(bucket_of("abfss://fs@acc.dfs.core.windows.net/p", &account[1..]).bucket, "fs");
    for wrong in ["s3:///p", "s3://b/../c", "s3://b/a//c"] {
        refused(wrong, &[]);
    }
}

#[test]
fn unknown_options_are_named() {
    assert!(refused("s3://b", &[("aws_regoin", "x")]).contains("aws_regoin"));
    refused("gs://b", &[("aws_region", "x")]);
    refused("az://c", &[("google_base_url", "x")]);
    refused("s3://b", &[("aws_bucket", "other")]);
    refused("s3://b", &[("copy_limit", "1")]);
    refused("s3://b", &[("listing_times", "true")]);
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
        ("listing_times", "stored"),
    ]);
    bucket_of("s3://b", &options);
}
