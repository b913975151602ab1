//! The shape of AWS Transfer Family's events on EventBridge: its envelope, its words, its order of fields, and no further ones.

use chrono::SecondsFormat;

use super::fact::{Deed, Failure, Notice};
use super::object::Object;

/// The notification as a line without its newline.
pub(super) fn line(notice: &Notice) -> Vec<u8> {
    let arn = Arn::of(&notice.fact.resource_arn);
    let mut envelope = Object::default();
    envelope.put("version", "0");
    envelope.put("id", notice.id.as_str());
    envelope.put("detail-type", detail_type(notice));
    envelope.put("source", "aws.transfer");
    envelope.put("account", arn.account);
    envelope.put("time", notice.ended().to_rfc3339_opts(SecondsFormat::Secs, true));
    envelope.put("region", arn.region);
    envelope.put("resources", vec![notice.fact.resource_arn.clone()]);
    envelope.nest("detail", detail(notice));
    envelope.line()
}

/// `detail`, which CloudEvents carry as well.
pub(super) fn detail(notice: &Notice) -> Object {
    let (fact, failure) = (&notice.fact, notice.fact.failure());
    let mut detail = Object::default();
    detail.maybe("failure-code", failure.map(Failure::code));
    detail.put("status-code", if failure.is_some() { "FAILED" } else { "COMPLETED" });
    detail.put("protocol", fact.protocol.as_deref().unwrap_or("sftp").to_ascii_uppercase());
    detail.maybe("bytes", bytes(notice));
    detail.put("client-ip", fact.source_ip.as_str());
    detail.maybe("failure-message", failure.map(|failure| failure_message(notice, failure)));
    detail.put("end-timestamp", notice.end_timestamp());
    detail.maybe("etag", fact.etag.as_deref());
    match fact.deed() {
        Deed::Rename => {
            detail.put("original-file-path", fact.path.as_str());
            detail.maybe("renamed-file-path", fact.new_path.as_deref());
        }
        Deed::DirectoryCreate | Deed::DirectoryDelete => detail.put("directory-path", fact.path.as_str()),
        Deed::Upload | Deed::Download | Deed::Delete => detail.put("file-path", fact.path.as_str()),
    }
    detail.put("server-id", Arn::of(&fact.resource_arn).server);
    detail.put("username", fact.user.as_str());
    detail.put("session-id", fact.session_id.as_str());
    detail.put("start-timestamp", notice.start_timestamp());
    detail
}

fn detail_type(notice: &Notice) -> String {
    let deed = match notice.fact.deed() {
        Deed::Upload => "File Upload",
        Deed::Download => "File Download",
        Deed::Delete => "File Delete",
        Deed::Rename => "File Rename",
        Deed::DirectoryCreate => "Directory Create",
        Deed::DirectoryDelete => "Directory Delete",
    };
    let end = if notice.fact.failure().is_some() { "Failed" } else { "Completed" };
    format!("SFTP Server {deed} {end}")
}

fn bytes(notice: &Notice) -> Option<u64> {
    let bytes = match notice.fact.deed() {
        Deed::Upload => &notice.fact.bytes_in,
        Deed::Download => &notice.fact.bytes_out,
        _ => return None,
    };
    Some(bytes.as_deref().and_then(|bytes| bytes.parse().ok()).unwrap_or_default())
}

fn failure_message(notice: &Notice, failure: Failure) -> String {
    match failure {
        Failure::PartialUpload => "File was partially uploaded.".to_owned(),
        Failure::PartialDownload => "File was partially downloaded.".to_owned(),
        Failure::Unknown => notice.fact.message.clone().unwrap_or_else(|| "The operation failed.".to_owned()),
    }
}

/// What the envelope takes from the server's ARN. Another text than an ARN of AWS has neither account nor region.
struct Arn<'a> {
    account: &'a str,
    region: &'a str,
    server: &'a str,
}

impl Arn<'_> {
    fn of(text: &str) -> Arn<'_> {
        let server = text.rsplit(['/', ':']).next().unwrap_or(text);
        let mut parts = text.split(':');
        match (parts.next(), parts.nth(1), parts.next(), parts.next()) {
            (Some("arn"), Some("transfer"), Some(region), Some(account)) => Arn { account, region, server },
            _ => Arn { account: "000000000000", region: "local", server },
        }
    }
}
