//! One event of each activity, as a session could give it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::{
    Activity, AdminCall, Algorithms, AuthFailure, AuthFailureReason, Connected, Denied, Disconnected, FileOperation,
    KeyIdentity, Note, Origin, Outcome, Person, Protocol, Recorder, Rejected, RenameOperation, TransferEnd,
    TransferStart, Unrecorded, UserChange,
};

/// Records an event, and returns when it is written; as what the gateway itself has to tell.
pub(super) async fn record(recorder: &Recorder, origin: &Origin, activity: &Activity) -> Result<(), Unrecorded> {
    recorder.reserve_for_gateway().await?.fill(origin, activity).await
}

/// A connection of which the address alone is known.
pub(super) fn stranger() -> Origin {
    Origin {
        session_id: Arc::from("0049cd844c7536c06a89"),
        source_ip: "192.0.2.1".parse().unwrap(),
        source_port: 50022,
        user: None,
        protocol: None,
        client: None,
        person: None,
        jump: None,
    }
}

/// A connection that has named a user.
pub(super) fn caller() -> Origin {
    Origin { user: Some(Arc::from("user0001")), client: Some(Arc::from("SSH-2.0-OpenSSH_9.2p1")), ..stranger() }
}

/// A connection that has logged in.
pub(super) fn member() -> Origin {
    Origin { person: Some(Person::of(Some(&key()), None)), ..caller() }
}

/// A connection that speaks SFTP.
pub(super) fn worker() -> Origin {
    Origin { protocol: Some(Protocol::Sftp), ..member() }
}

pub(super) fn algorithms() -> Algorithms {
    Algorithms {
        kex: "curve25519-sha256".into(),
        ciphers: ("aes256-gcm@openssh.com".into(), "aes256-gcm@openssh.com".into()),
        macs: ("<implicit>".into(), "<implicit>".into()),
        host_key: "ssh-ed25519".into(),
        compression: ("none".into(), "none".into()),
        hassh: "78c05d999799066a2b4554ce7b1585a6".into(),
    }
}

pub(super) fn key() -> KeyIdentity {
    KeyIdentity {
        key_type: "ssh-ed25519".into(),
        fingerprint: "SHA256:BY3gNMHwTfjd4n2VuT4pTyLOk82zWZj4KEYEu7y4r/0".into(),
        blob: "AAAAC3NzaC1lZDI1NTE5AAAAIA9OY0qV6XYVHaaOiWAcj2spDJVbgjrqDPY4pxd6GnHl".into(),
        comment: Some("laptop".into()),
        certificate: None,
    }
}

pub(super) fn failure(method: &'static str, reason: AuthFailureReason, key: Option<KeyIdentity>) -> Activity {
    let cause = None;
    let algorithms = Some(algorithms());
    Activity::AuthFailure(Box::new(AuthFailure { method, reason, cause, key, attempt: 1, algorithms }))
}

pub(super) fn file(name: &str, outcome: Outcome) -> FileOperation {
    FileOperation {
        path: Some(format!("/lake/in/user0001/{name}")),
        logical_path: format!("/incoming/{name}"),
        size: None,
        outcome,
        duration_ms: 12,
    }
}

/// One of each, in the order of the documentation; AUTH_FAILURE with each of its messages.
pub(in crate::audit) fn all() -> Vec<(Origin, Activity)> {
    let mut all = connections();
    for activity in operations() {
        // What is refused never gets to speak a protocol.
        let origin = if matches!(activity, Activity::RequestDenied(_)) { member() } else { worker() };
        all.push((origin, activity));
    }
    all.extend(users());
    all.extend(admin_calls());
    all.push((Origin::of_gateway(None), verified()));
    all.extend(fleet().map(|activity| (Origin::of_gateway(None), activity)));
    all
}

/// What a self-check found.
fn verified() -> Activity {
    let message = "the trail is whole: 4711 lines of 2 files, 2210035 bytes";
    Activity::TrailVerified(Note { message: message.into(), operation: None, path: None, logical_path: None })
}

/// How a gateway stands to its fleet.
fn fleet() -> [Activity; 2] {
    let note = |message: &str| Note { message: message.into(), operation: None, path: None, logical_path: None };
    let away =
        "the shared state of the fleet prod cannot be reached at rediss://cache.example.org:6379: no answer within 2 s";
    let back = "the shared state of the fleet prod is reached again at rediss://cache.example.org:6379";
    [Activity::FleetAlone(note(away)), Activity::FleetJoined(note(back))]
}

/// What the admin door was asked for: over the network, over the socket, and by nobody known.
fn admin_calls() -> Vec<(Origin, Activity)> {
    let end = AdminCall {
        caller: Some("night-shift".into()),
        role: Some("operator"),
        method: "DELETE".into(),
        path: "/api/v1/sessions/0049cd844c7536c06a89".into(),
        http_status: 200,
        reason: Some("key reported stolen".into()),
        outcome: Outcome::Success,
        source: Some("192.0.2.9:50100".parse().unwrap()),
        duration_ms: 2,
    };
    let list = AdminCall {
        caller: Some("root".into()),
        method: "GET".into(),
        path: "/api/v1/sessions".into(),
        reason: None,
        source: None,
        duration_ms: 1,
        ..end.clone()
    };
    let refused = AdminCall {
        caller: None,
        role: None,
        http_status: 401,
        outcome: Outcome::Denied("no valid token".into()),
        source: end.source,
        ..list.clone()
    };
    let ended = Disconnected {
        reason: "administrator".into(),
        ended_by: end.caller.clone(),
        message: end.reason.clone(),
        duration_ms: 61_250,
        bytes_in: 121,
        bytes_out: 0,
        files_in: 1,
        files_out: 0,
    };
    let call = |call| (Origin::of_gateway(None), Activity::AdminCall(Box::new(call)));
    vec![call(end), (worker(), Activity::Disconnected(ended)), call(list), call(refused)]
}

/// What a source of users tells; there is no session.
fn users() -> Vec<(Origin, Activity)> {
    let (old, new) = (key().fingerprint, "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".to_owned());
    let added = UserChange {
        source: "keys:lake:/public-keys".into(),
        keys: vec![old.clone()],
        added: Vec::new(),
        removed: Vec::new(),
        message: None,
    };
    let changed = UserChange { keys: vec![new.clone()], added: vec![new.clone()], removed: vec![old], ..added.clone() };
    let removed =
        UserChange { keys: vec![new], message: Some("user0001.pub is no longer there".into()), ..added.clone() };
    let origin = || Origin::of_gateway(Some(Arc::from("user0001")));
    vec![
        (origin(), Activity::UserAdded(added)),
        (origin(), Activity::UserChanged(changed)),
        (origin(), Activity::UserRemoved(removed)),
    ]
}

/// So many milliseconds after 08:15 on 31 July 2026.
fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_785_485_700_000 + milliseconds)
}

fn connections() -> Vec<(Origin, Activity)> {
    use AuthFailureReason::{BadPassword, KeyNotAuthorized, NoCredentialsOffered, UnknownUser};
    let rejected_key = KeyIdentity { comment: None, ..key() };
    let rejected = Rejected {
        reason: "no-common-host-key".into(),
        message: "no matching host key type found".into(),
        unmatched: Some("ssh-dss".into()),
        client_kex: Some("curve25519-sha256,ext-info-c".into()),
        client_host_keys: Some("ssh-dss".into()),
        client_ciphers: Some("aes128-ctr,aes256-ctr".into()),
        client_macs: Some("hmac-sha1".into()),
        ..Rejected::default()
    };
    let over_limit = Rejected {
        reason: "too-many-unauthenticated".into(),
        message: "the limit of 100 connections that have not logged in is reached".into(),
        ..Rejected::default()
    };
    let many = Rejected {
        reason: "too-many-refusals".into(),
        message: "8120 connections were refused and are not recorded one by one".into(),
        connections: Some(8120),
        source_ips: Some("192.0.2.1=6044,2001:db8::/64=2076".into()),
        span: Some((at(22_042), at(36_904))),
        ..Rejected::default()
    };
    let connected = Connected {
        role: Some("partners".into()),
        method: "publickey",
        second_factor: None,
        algorithms: Some(algorithms()),
        key: Some(key()),
        proxy_header: Some("applied"),
    };
    let disconnected = Disconnected {
        reason: "client".into(),
        ended_by: None,
        message: None,
        duration_ms: 61_250,
        bytes_in: 121,
        bytes_out: 0,
        files_in: 1,
        files_out: 0,
    };
    let nobody = Origin { user: Some(Arc::from("user9999")), ..caller() };
    vec![
        (member(), Activity::Connected(Box::new(connected))),
        (caller(), failure("publickey", KeyNotAuthorized, Some(rejected_key.clone()))),
        (nobody, failure("publickey", UnknownUser, Some(rejected_key))),
        (caller(), failure("password", BadPassword, None)),
        (caller(), failure("none", NoCredentialsOffered, None)),
        (Origin { user: None, ..caller() }, Activity::KexFailure(rejected)),
        (stranger(), Activity::ConnectionRejected(over_limit)),
        (Origin::of_gateway(None), Activity::ConnectionRejected(many)),
        (worker(), Activity::Disconnected(disconnected)),
    ]
}

fn operations() -> Vec<Activity> {
    let read = TransferStart {
        path: Some("/lake/reports/2026/july.csv".into()),
        logical_path: "/reports/2026/july.csv".into(),
        mode: "READ".into(),
        write: false,
        outcome: Outcome::Success,
        duration_ms: 9,
    };
    let write = TransferStart {
        path: Some("/lake/in/user0001/data.csv".into()),
        logical_path: "/incoming/data.csv".into(),
        mode: "CREATE|TRUNCATE|WRITE".into(),
        write: true,
        outcome: Outcome::Success,
        duration_ms: 3,
    };
    let upload = TransferEnd {
        path: write.path.clone(),
        logical_path: write.logical_path.clone(),
        write: true,
        bytes_in: Some(121),
        bytes_out: None,
        bytes_copied: None,
        outcome: Outcome::Success,
        duration_ms: 48,
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        etag: Some("098f6bcd4621d373cade4e832627b4f6".into()),
        unchanged: false,
    };
    let download = TransferEnd {
        path: read.path.clone(),
        logical_path: read.logical_path.clone(),
        write: false,
        bytes_in: None,
        bytes_out: Some(29_238_420_042),
        sha256: None,
        ..upload.clone()
    };
    let copied = TransferEnd { bytes_out: Some(0), bytes_copied: Some(48_213), ..download.clone() };
    let cut_off = TransferEnd {
        bytes_in: Some(65_536),
        outcome: Outcome::Failure("the client went away; nothing was published".into()),
        sha256: None,
        etag: None,
        ..upload.clone()
    };
    let rename = RenameOperation {
        path: Some("/lake/in/user0001/data.csv.part".into()),
        new_path: Some("/lake/in/user0001/data.csv".into()),
        logical_path: "/incoming/data.csv.part".into(),
        new_logical_path: "/incoming/data.csv".into(),
        outcome: Outcome::Success,
        duration_ms: 31,
    };
    let link = RenameOperation {
        path: None,
        new_path: Some("/lake/in/user0001/link".into()),
        logical_path: "../../etc/passwd".into(),
        new_logical_path: "/incoming/link".into(),
        outcome: Outcome::Failure("/incoming/link: symbolic links are not supported".into()),
        duration_ms: 0,
    };
    let not_published = TransferEnd {
        outcome: Outcome::Failure("/incoming/data.csv: the store does not answer; try again later".into()),
        sha256: None,
        etag: None,
        ..upload.clone()
    };
    let note = Note {
        message: "3 names cannot be shown and were left out, the first is \"a//b\"".into(),
        operation: Some("LIST".into()),
        path: Some("/lake/reports/2026".into()),
        logical_path: Some("/reports/2026".into()),
    };
    let end = Note { message: "the connection failed".into(), operation: None, path: None, logical_path: None };
    let denied =
        Denied { request: "shell".into(), message: "This server serves only SFTP and SCP.".into(), target: None };
    vec![
        Activity::Open(write),
        Activity::Open(read),
        Activity::Close(upload),
        Activity::Close(download),
        Activity::Close(copied),
        Activity::PartialClose(cut_off),
        Activity::Delete(file("old.csv", Outcome::Denied("delete is not permitted here".into()))),
        Activity::Rename(rename),
        Activity::Mkdir(file("2026", Outcome::Success)),
        Activity::Rmdir(file("2025", Outcome::Failure("the directory is not empty".into()))),
        Activity::Setstat(FileOperation {
            size: Some(0),
            ..file("data.csv", Outcome::SuccessBut("ignored: mode".into()))
        }),
        Activity::CreateSymlink(link),
        Activity::List(file("2026", Outcome::Success)),
        Activity::RequestDenied(denied),
        Activity::CloseFailed(not_published),
        Activity::Error(note),
        Activity::ExitReason(end),
    ]
}
