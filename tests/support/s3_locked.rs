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

/// The versions of the keys that begin with a prefix, as key and version.
pub fn versions(prefix: &str) -> Vec<(String, String)> {
    let prefix = prefix.replace('/', "%2F");
    let answer = run(curl().arg(format!("{}/{BUCKET}?prefix={prefix}&versions=", endpoint()))).succeeded().stdout;
    let between = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    answer
        .split("<Version>")
        .skip(1)
        .map(|one| (between(one, "Key"), between(one, "VersionId")))
        .map(|(key, version)| (key.expect("a key"), version.expect("a version")))
        .collect()
}

/// The retention of a version, as S3 says it.
pub fn retention(key: &str, version: &str) -> String {
    run(curl().arg(format!("{}?retention=&versionId={version}", place(key)))).succeeded().stdout
}

/// What S3 says to whoever deletes a version for good, with the right to get round what a governor may get round.
pub fn destroy(key: &str, version: &str) -> String {
    let place = format!("{}?versionId={version}", place(key));
    let mut command = curl();
    command.args(["-X", "DELETE", "-H", "x-amz-bypass-governance-retention: true", "-w", "%{http_code}", &place]);
    run(&mut command).stdout
}

/// The URL of a key, as it is signed.
fn place(key: &str) -> String {
    format!("{}/{BUCKET}/{}", endpoint(), key.replace('=', "%3D"))
}
