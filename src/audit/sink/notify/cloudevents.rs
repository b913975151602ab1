//! CloudEvents 1.0 in JSON. `data` is what the EventBridge shape has as `detail`, and what else is known.

use chrono::SecondsFormat;

use super::eventbridge::detail;
use super::fact::Notice;
use super::object::Object;

/// The notification as a line without its newline.
pub(super) fn line(notice: &Notice) -> Vec<u8> {
    let fact = &notice.fact;
    let end = if fact.failure().is_some() { "failed" } else { "completed" };
    let kind = match notice.operation() {
        "mkdir" => "directory.create",
        "rmdir" => "directory.delete",
        "upload" => "file.upload",
        "download" => "file.download",
        "delete" => "file.delete",
        _ => "file.rename",
    };
    let mut event = Object::default();
    event.put("specversion", "1.0");
    event.put("id", notice.id.as_str());
    event.put("source", fact.resource_arn.as_str());
    event.put("type", format!("lockgate.{kind}.{end}"));
    event.put("time", notice.ended().to_rfc3339_opts(SecondsFormat::Millis, true));
    event.put("subject", fact.new_path.as_deref().unwrap_or(&fact.path));
    event.put("datacontenttype", "application/json");
    event.nest("data", data(notice));
    event.line()
}

fn data(notice: &Notice) -> Object {
    let fact = &notice.fact;
    let mut data = detail(notice);
    data.put("server", fact.server.as_str());
    data.put("logical-path", fact.logical_path.as_str());
    data.maybe("new-logical-path", fact.new_logical_path.as_deref());
    data.maybe("uploaded-as", notice.uploaded_as.as_deref());
    data.maybe("identity", fact.identity.as_deref());
    data.maybe("sha256", fact.sha256.as_deref());
    data.maybe("message", fact.message.as_deref());
    data
}
