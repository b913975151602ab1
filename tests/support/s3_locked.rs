//! A bucket with Object Lock on the S3 server of this test process.

use std::sync::OnceLock;

use super::process::run;
use super::s3::{curl, endpoint};

/// The bucket.
const BUCKET: &str = "lockgate-locked";

/// The URL of a prefix in it, which nothing else has.
pub fn url(prefix: &str) -> String {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let bucket = format!("{}/{BUCKET}", endpoint());
        run(curl().args(["-X", "PUT", "-H", "x-amz-bucket-object-lock-enabled: true", &bucket])).succeeded();
    });
    format!("s3://{BUCKET}/{prefix}")
}

/// The keys that begin with a prefix and are shown.
pub fn keys(prefix: &str) -> Vec<String> {
    let prefix = prefix.replace('/', "%2F");
    let answer = run(curl().arg(format!("{}/{BUCKET}?list-type=2&prefix={prefix}", endpoint()))).succeeded().stdout;
    let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    keys.map(|(key, _)| key.to_owned()).collect()
}

/// Deletes a key, as everybody may who may delete: its versions stay.
pub fn delete(key: &str) {
    run(curl().args(["-X", "DELETE", &format!("{}/{BUCKET}/{key}", endpoint())])).succeeded();
}
