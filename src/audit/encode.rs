//! An event as a line: the fields of AWS Transfer Family first, in the order in which it publishes them, then ours.
//!
//! Where no example is published, the order is the one that all published records share: they keep one order of fields over
//! all activities, so the place of `bytes-out`, `message` and `operation` in a record that is not published is inferred.

use super::event::{
    Activity, AdminCall, Algorithms, AuthFailure, Connected, Disconnected, FileOperation, KeyIdentity, Note, Origin,
    Outcome, Rejected, RenameOperation, TransferEnd, TransferStart, UserChange,
};
use super::line::{Draft, LineWriter, MAX_CLIENT, MAX_KEY, MAX_LIST, MAX_PATH};
use super::reason::AuthFailureReason;
use super::stamp::rfc3339;

/// Who records: the same in every event of a process.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// The `server` field.
    pub(super) server: String,
    /// The `resource-arn` field.
    pub(super) resource_arn: String,
}

/// The line of an event, without its time and id.
pub(super) fn encode(identity: &Identity, origin: &Origin, activity: &Activity) -> Draft {
    let mut event = Encoder { line: LineWriter::new(), identity, origin, name: activity.name() };
    event.transfer_family(activity);
    event.line.stamp();
    event.every();
    event.own(activity);
    event.line.finish()
}

struct Encoder<'a> {
    line: LineWriter,
    identity: &'a Identity,
    origin: &'a Origin,
    name: &'static str,
}

impl Encoder<'_> {
    /// The fields that Transfer Family has in this activity.
    fn transfer_family(&mut self, activity: &Activity) {
        match activity {
            Activity::Connected(connected) => self.anchor_connected(connected),
            Activity::AuthFailure(failure) => {
                self.line.text("method", failure.method);
                self.activity();
                self.source_ip();
                self.resource_arn();
                self.line.text("message", &auth_failure_message(failure));
                self.user();
            }
            Activity::KexFailure(rejected) | Activity::ConnectionRejected(rejected) => {
                self.activity();
                self.source_ip();
                self.resource_arn();
                self.line.text("message", &rejected.message);
                self.line.bounded("kex", rejected.unmatched.as_deref().unwrap_or_default(), MAX_LIST);
            }
            Activity::Disconnected(_) | Activity::RequestDenied(_) => self.anchor_file(None),
            Activity::Open(open) => {
                self.line.text("mode", &open.mode);
                self.anchor_file(open.path.as_deref());
            }
            Activity::Close(end) | Activity::PartialClose(end) => self.anchor_close(end),
            Activity::CloseFailed(end) => self.anchor_close_failed(end),
            Activity::Delete(file)
            | Activity::Mkdir(file)
            | Activity::Rmdir(file)
            | Activity::Setstat(file)
            | Activity::List(file) => self.anchor_file(file.path.as_deref()),
            Activity::Rename(names) | Activity::CreateSymlink(names) => self.anchor_file(names.path.as_deref()),
            Activity::Error(note)
            | Activity::ExitReason(note)
            | Activity::TrailVerified(note)
            | Activity::FleetAlone(note)
            | Activity::FleetJoined(note) => self.anchor_note(note),
            Activity::UserAdded(change) | Activity::UserChanged(change) | Activity::UserRemoved(change) => {
                self.activity();
                self.resource_arn();
                self.line.bounded("ssh-public-key-fingerprint", &change.keys.join(","), MAX_KEY);
                self.user();
            }
            Activity::AdminCall(_) => {
                self.activity();
                self.resource_arn();
            }
        }
    }

    fn anchor_connected(&mut self, connected: &Connected) {
        self.line.maybe("role", connected.role.as_deref());
        self.activity();
        if let Some(algorithms) = &connected.algorithms {
            self.line.pair("macs", &algorithms.macs);
            self.line.pair("ciphers", &algorithms.ciphers);
        }
        self.client();
        self.source_ip();
        self.resource_arn();
        self.line.text("home-dir", "LOGICAL");
        if let Some(key) = &connected.key {
            self.line.bounded("ssh-public-key", &key.blob, MAX_KEY);
            self.line.text("ssh-public-key-fingerprint", &key.fingerprint);
            self.line.text("ssh-public-key-type", &key.key_type);
        }
        self.user();
        if let Some(algorithms) = &connected.algorithms {
            self.line.text("kex", &algorithms.kex);
        }
        self.line.maybe("proxy-protocol-v2-header", connected.proxy_header);
        self.session_id();
    }

    fn anchor_file(&mut self, path: Option<&str>) {
        self.path("path", path);
        self.activity();
        self.resource_arn();
        self.session_id();
    }

    fn anchor_close(&mut self, end: &TransferEnd) {
        self.path("path", end.path.as_deref());
        self.activity();
        self.resource_arn();
        self.bytes(end);
        self.session_id();
    }

    fn anchor_close_failed(&mut self, end: &TransferEnd) {
        self.path("path", end.path.as_deref());
        self.activity();
        self.resource_arn();
        self.bytes(end);
        self.line.maybe("message", end.outcome.message());
        self.line.text("operation", "CLOSE");
        self.session_id();
    }

    fn bytes(&mut self, end: &TransferEnd) {
        for (name, bytes) in [("bytes-out", end.bytes_out), ("bytes-in", end.bytes_in)] {
            self.line.maybe(name, bytes.map(|bytes| bytes.to_string()).as_deref());
        }
    }

    fn anchor_note(&mut self, note: &Note) {
        self.path("path", note.path.as_deref());
        self.activity();
        self.resource_arn();
        self.line.text("message", &note.message);
        self.line.maybe("operation", note.operation.as_deref());
        self.session_id();
    }

    /// What every event carries, unless Transfer Family has it in a place of its own.
    fn every(&mut self) {
        self.line.text("server", &self.identity.server);
        self.session_id();
        self.user();
        self.source_ip();
        if self.origin.has_client() {
            self.line.number("source-port", u64::from(self.origin.source_port));
        }
        self.line.maybe("protocol", self.origin.protocol.map(|protocol| protocol.as_str()));
        self.client();
        if let Some(person) = &self.origin.person {
            self.line.ready("identity", person.identity_field.as_ref());
            // A failed attempt says which key it was about, which need not be the one that the person showed before.
            let key = person.key_field.as_ref().filter(|_| self.name != "AUTH_FAILURE");
            self.line.ready("ssh-public-key-fingerprint", key);
        }
        if let Some(jump) = &self.origin.jump {
            self.line.ready("account", jump.account_field.as_ref());
            self.line.ready("target", jump.target_field.as_ref());
            self.line.ready("jump-session-id", jump.session_field.as_ref());
        }
    }

    /// What only we have.
    fn own(&mut self, activity: &Activity) {
        match activity {
            Activity::Connected(connected) => {
                self.line.text("method", connected.method);
                self.line.maybe("second-factor", connected.second_factor);
                self.credentials(connected.algorithms.as_ref(), connected.key.as_ref());
            }
            Activity::AuthFailure(failure) => {
                self.credentials(failure.algorithms.as_ref(), failure.key.as_ref());
                self.line.text("reason", failure.reason.as_str());
                self.line.maybe("cause", failure.cause.as_deref());
                self.line.number("attempt", u64::from(failure.attempt));
            }
            Activity::KexFailure(rejected) | Activity::ConnectionRejected(rejected) => self.own_rejected(rejected),
            Activity::Disconnected(end) => self.own_disconnected(end),
            Activity::Open(open) => self.own_open(open),
            // The operation of a failed close stands before, and so does its message.
            Activity::Close(end) | Activity::PartialClose(end) | Activity::CloseFailed(end) => self.own_close(end),
            Activity::Delete(file)
            | Activity::Mkdir(file)
            | Activity::Rmdir(file)
            | Activity::Setstat(file)
            | Activity::List(file) => self.own_file(file),
            Activity::Rename(names) | Activity::CreateSymlink(names) => self.own_rename(names),
            Activity::RequestDenied(denied) => {
                self.line.text("request", &denied.request);
                self.line.text("message", &denied.message);
                self.line.maybe("target", denied.target.as_deref());
            }
            Activity::Error(note)
            | Activity::ExitReason(note)
            | Activity::TrailVerified(note)
            | Activity::FleetAlone(note)
            | Activity::FleetJoined(note) => {
                self.path("logical-path", note.logical_path.as_deref());
            }
            Activity::UserAdded(change) | Activity::UserChanged(change) | Activity::UserRemoved(change) => {
                self.own_user_change(change);
            }
            Activity::AdminCall(call) => self.own_admin_call(call),
        }
    }

    fn own_user_change(&mut self, change: &UserChange) {
        self.line.text("source", &change.source);
        self.line.bounded("ssh-public-key-fingerprint-added", &change.added.join(","), MAX_KEY);
        self.line.bounded("ssh-public-key-fingerprint-removed", &change.removed.join(","), MAX_KEY);
        self.line.maybe("message", change.message.as_deref());
    }

    fn own_admin_call(&mut self, call: &AdminCall) {
        if let Some(source) = call.source {
            self.line.text("source-ip", &source.ip().to_canonical().to_string());
            self.line.number("source-port", u64::from(source.port()));
        }
        self.line.maybe("caller", call.caller.as_deref());
        self.line.maybe("role", call.role);
        self.line.text("method", &call.method);
        self.line.bounded("path", &call.path, MAX_PATH);
        self.line.number("http-status", u64::from(call.http_status));
        self.line.maybe("reason", call.reason.as_deref());
        self.outcome(&call.outcome, call.duration_ms);
    }

    fn own_rejected(&mut self, rejected: &Rejected) {
        self.line.text("reason", &rejected.reason);
        if let Some(connections) = rejected.connections {
            self.line.number("connections", connections);
        }
        self.line.maybe("source-ips", rejected.source_ips.as_deref());
        if let Some((first, last)) = rejected.span {
            self.line.text("first-timestamp", &rfc3339(first));
            self.line.text("last-timestamp", &rfc3339(last));
        }
        let lists = [
            ("client-kex-algorithms", &rejected.client_kex),
            ("client-host-key-algorithms", &rejected.client_host_keys),
            ("client-ciphers", &rejected.client_ciphers),
            ("client-macs", &rejected.client_macs),
        ];
        for (name, list) in lists {
            self.line.bounded(name, list.as_deref().unwrap_or_default(), MAX_LIST);
        }
    }

    fn own_disconnected(&mut self, end: &Disconnected) {
        self.line.text("reason", &end.reason);
        self.line.maybe("ended-by", end.ended_by.as_deref());
        self.line.maybe("message", end.message.as_deref());
        self.line.number("duration-ms", end.duration_ms);
        self.line.text("bytes-in", &end.bytes_in.to_string());
        self.line.text("bytes-out", &end.bytes_out.to_string());
        self.line.number("files-in", end.files_in);
        self.line.number("files-out", end.files_out);
    }

    fn own_open(&mut self, open: &TransferStart) {
        self.path("logical-path", Some(&open.logical_path));
        self.operation(open.write);
        self.outcome(&open.outcome, open.duration_ms);
    }

    fn own_close(&mut self, end: &TransferEnd) {
        self.path("logical-path", Some(&end.logical_path));
        match end.is_copy() {
            true => self.line.text("operation", "copy"),
            false => self.operation(end.write),
        }
        if let Some(bytes) = end.bytes_copied {
            self.line.number("bytes-copied", bytes);
        }
        self.outcome(&end.outcome, end.duration_ms);
        self.line.maybe("sha256", end.sha256.as_deref());
        self.line.maybe("etag", end.etag.as_deref());
        if end.unchanged {
            self.line.boolean("unchanged", true);
        }
    }

    fn own_file(&mut self, file: &FileOperation) {
        self.path("logical-path", Some(&file.logical_path));
        if let Some(size) = file.size {
            self.line.number("size", size);
        }
        self.outcome(&file.outcome, file.duration_ms);
    }

    fn own_rename(&mut self, names: &RenameOperation) {
        self.path("logical-path", Some(&names.logical_path));
        self.path("new-path", names.new_path.as_deref());
        self.path("new-logical-path", Some(&names.new_logical_path));
        self.outcome(&names.outcome, names.duration_ms);
    }

    fn outcome(&mut self, outcome: &Outcome, duration_ms: u64) {
        self.line.text("status", outcome.status());
        self.line.maybe("message", outcome.message());
        self.line.number("duration-ms", duration_ms);
    }

    fn operation(&mut self, write: bool) {
        self.line.text("operation", if write { "write" } else { "read" });
    }

    /// What was negotiated and which key was offered, but for what Transfer Family's part has already. Without the key's blob: a
    /// rejected one would fill the log with what strangers send.
    fn credentials(&mut self, algorithms: Option<&Algorithms>, key: Option<&KeyIdentity>) {
        if let Some(algorithms) = algorithms {
            self.line.text("kex", &algorithms.kex);
            self.line.pair("ciphers", &algorithms.ciphers);
            self.line.pair("macs", &algorithms.macs);
            self.line.text("host-key-algorithm", &algorithms.host_key);
            self.line.pair("compression", &algorithms.compression);
        }
        if let Some(key) = key {
            self.line.text("ssh-public-key-type", &key.key_type);
            self.line.text("ssh-public-key-fingerprint", &key.fingerprint);
            self.line.maybe("ssh-public-key-comment", key.comment.as_deref());
            if let Some(certificate) = &key.certificate {
                self.line.text("ssh-certificate-serial", &certificate.serial.to_string());
                self.line
                    .maybe("ssh-certificate-key-id", Some(certificate.key_id.as_str()).filter(|id| !id.is_empty()));
                self.line.text("ssh-certificate-ca-fingerprint", &certificate.authority);
            }
        }
        self.line.maybe("hassh", algorithms.map(|algorithms| algorithms.hassh.as_str()));
    }

    fn path(&mut self, name: &'static str, path: Option<&str>) {
        self.line.bounded(name, path.unwrap_or_default(), MAX_PATH);
    }

    fn activity(&mut self) {
        self.line.text("activity-type", self.name);
    }

    fn resource_arn(&mut self) {
        self.line.text("resource-arn", &self.identity.resource_arn);
    }

    fn session_id(&mut self) {
        self.line.text("session-id", &self.origin.session_id);
    }

    fn user(&mut self) {
        self.line.maybe("user", self.origin.user.as_deref());
    }

    fn client(&mut self) {
        self.line.bounded("client", self.origin.client.as_deref().unwrap_or_default(), MAX_CLIENT);
    }

    /// An IPv4 client of an IPv6 socket shows as IPv4.
    fn source_ip(&mut self) {
        if self.origin.has_client() {
            self.line.text("source-ip", &self.origin.source_ip.to_canonical().to_string());
        }
    }
}

/// The `message` of AUTH_FAILURE: Transfer Family's texts where it has one.
fn auth_failure_message(failure: &AuthFailure) -> String {
    match (failure.reason, &failure.key) {
        (AuthFailureReason::UnknownUser, _) => "Authentication failure".into(),
        (AuthFailureReason::NoCredentialsOffered, _) => "The client went away without offering a credential".into(),
        (AuthFailureReason::LoginGraceExceeded, _) => "The time to log in was over".into(),
        (AuthFailureReason::DirectoryUnavailable, _) => "The directory of users does not answer".into(),
        (AuthFailureReason::DirectoryAnswerUnusable, _) => "The answer of the directory of users cannot be used".into(),
        (AuthFailureReason::Banned, _) => "The address failed to log in too often".into(),
        (AuthFailureReason::TrailUnavailable, _) => "The session could not be recorded".into(),
        (_, Some(key)) => format!("{} {}", family(&key.key_type), key.fingerprint),
        (AuthFailureReason::BadPassword, None) => "Invalid user name or password".into(),
        (_, None) => "Authentication failure".into(),
    }
}

/// The family of a key type, as OpenSSH's tools write it (`ssh-keygen -l`); an unknown type as it is.
fn family(key_type: &str) -> &str {
    let is_certificate = key_type.contains("-cert-v0");
    let (plain, certificate) = match key_type {
        t if t.starts_with("ssh-ed25519") => ("ED25519", "ED25519-CERT"),
        t if t.starts_with("sk-ssh-ed25519") => ("ED25519-SK", "ED25519-SK-CERT"),
        t if t.starts_with("ecdsa-sha2-") => ("ECDSA", "ECDSA-CERT"),
        t if t.starts_with("sk-ecdsa-sha2-") => ("ECDSA-SK", "ECDSA-SK-CERT"),
        t if t.starts_with("ssh-rsa") || t.starts_with("rsa-sha2-") => ("RSA", "RSA-CERT"),
        t if t.starts_with("ssh-dss") => ("DSA", "DSA-CERT"),
        other => (other, other),
    };
    if is_certificate { certificate } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_families_are_those_of_ssh_keygen() {
        for (key_type, expected) in [
            ("ssh-ed25519", "ED25519"),
            ("ssh-rsa", "RSA"),
            ("rsa-sha2-512", "RSA"),
            ("ecdsa-sha2-nistp521", "ECDSA"),
            ("sk-ssh-ed25519@openssh.com", "ED25519-SK"),
            ("sk-ecdsa-sha2-nistp256@openssh.com", "ECDSA-SK"),
            ("ssh-ed25519-cert-v01@openssh.com", "ED25519-CERT"),
            ("webauthn-x", "webauthn-x"),
        ] {
            assert_eq!(family(key_type), expected);
        }
    }
}
