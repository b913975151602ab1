//! The events: the schema as types.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use super::jump::Jump;
use super::person::Person;
use super::reason::AuthFailureReason;

/// Which protocol a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SFTP, over the `sftp` subsystem.
    Sftp,
    /// SCP, over `exec scp -t` or `scp -f`.
    Scp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 2] = [Protocol::Sftp, Protocol::Scp];

    /// The `protocol` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Sftp => "sftp",
            Protocol::Scp => "scp",
        }
    }
}

/// What every event of one connection carries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Origin {
    /// 20 hex digits, one per connection.
    pub session_id: Arc<str>,
    /// The client's address (the real one, behind a balancer that tells).
    pub source_ip: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The user, once known: the name that the client gave, also for a failed attempt.
    pub user: Option<Arc<str>>,
    /// The protocol, once known.
    pub protocol: Option<Protocol>,
    /// The client's version line (`SSH-2.0-OpenSSH_9.2p1`), once known.
    pub client: Option<Arc<str>>,
    /// Who is behind the user's name, once logged in.
    pub person: Option<Arc<Person>>,
    /// Where it leads, if it came through another session.
    pub jump: Option<Arc<Jump>>,
}

impl Origin {
    /// The gateway itself: what happens in no session, to `user` if to anybody.
    pub fn of_gateway(user: Option<Arc<str>>) -> Origin {
        let source_ip = IpAddr::from([0, 0, 0, 0]);
        Origin {
            session_id: Arc::from(""),
            source_ip,
            source_port: 0,
            user,
            protocol: None,
            client: None,
            person: None,
            jump: None,
        }
    }

    /// Whether there is a client at all.
    pub(super) fn has_client(&self) -> bool {
        !self.session_id.is_empty()
    }
}

/// The algorithms that a connection negotiated. Pairs are client-to-server and server-to-client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithms {
    /// Key exchange method.
    pub kex: String,
    /// `ciphers`: both directions, joined by a comma in the event.
    pub ciphers: (String, String),
    /// `macs`: both directions; `<implicit>` for an AEAD cipher.
    pub macs: (String, String),
    /// Host key algorithm.
    pub host_key: String,
    /// Compression, both directions.
    pub compression: (String, String),
    /// The HASSH fingerprint of the client's lists (MD5 hex of kex;ciphers;macs;compression, client to server).
    pub hassh: String,
}

/// A public key as events show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIdentity {
    /// The algorithm name of the key (`ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`).
    pub key_type: String,
    /// `SHA256:` and base64 without padding.
    pub fingerprint: String,
    /// The key's blob in base64 (the second field of an `authorized_keys` line).
    pub blob: String,
    /// The comment in the configuration, if any.
    pub comment: Option<String>,
    /// The certificate that the key came in.
    pub certificate: Option<CertificateIdentity>,
}

impl KeyIdentity {
    /// The fingerprint of what the user's access hangs on: the key, or the authority of the certificate that it came in.
    pub fn credential(&self) -> &str {
        self.certificate.as_ref().map_or(&self.fingerprint, |certificate| &certificate.authority)
    }
}

/// A user certificate as events show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// The number that the authority gave it.
    pub serial: u64,
    /// The name that the authority gave it.
    pub key_id: String,
    /// The authority's key: `SHA256:` and base64 without padding.
    pub authority: String,
    /// The authority's key in base64, as [`KeyIdentity::blob`]; in no event. A list of what is revoked may know it by another hash.
    pub authority_blob: String,
}

/// What happened, with the fields of its own.
#[derive(Debug, Clone)]
pub enum Activity {
    /// `CONNECTED`: an attempt to log in succeeded.
    Connected(Box<Connected>),
    /// `AUTH_FAILURE`: an attempt to log in failed.
    AuthFailure(Box<AuthFailure>),
    /// `KEX_FAILURE`: no common algorithm.
    KexFailure(Rejected),
    /// `CONNECTION_REJECTED`: over a limit, banned, no PROXY header.
    ConnectionRejected(Rejected),
    /// `DISCONNECTED`: the end of a connection.
    Disconnected(Disconnected),
    /// `OPEN`: a transfer starts, or could not.
    Open(TransferStart),
    /// `CLOSE`: a transfer ended as the client wished.
    Close(TransferEnd),
    /// `ERROR` with the `operation` `CLOSE`: the client closed an upload that could not be published.
    CloseFailed(TransferEnd),
    /// `PARTIAL_CLOSE`: a transfer ended with the file still open.
    PartialClose(TransferEnd),
    /// `DELETE`.
    Delete(FileOperation),
    /// `RENAME`.
    Rename(RenameOperation),
    /// `MKDIR`.
    Mkdir(FileOperation),
    /// `RMDIR`.
    Rmdir(FileOperation),
    /// `SETSTAT`.
    Setstat(FileOperation),
    /// `CREATE_SYMLINK`: always refused. `new_path` is the link, `path` what it would lead to.
    CreateSymlink(RenameOperation),
    /// `LIST`: a directory was listed, once for a listing.
    List(FileOperation),
    /// `REQUEST_DENIED`: shell, another command, forwarding, another subsystem.
    RequestDenied(Denied),
    /// `ERROR`.
    Error(Note),
    /// `EXIT_REASON`: an unexpected error ended the session.
    ExitReason(Note),
    /// `USER_ADDED`: a source of users has a new one.
    UserAdded(UserChange),
    /// `USER_CHANGED`: a source of users has other keys of a user.
    UserChanged(UserChange),
    /// `USER_REMOVED`: a source of users has a user no more.
    UserRemoved(UserChange),
    /// `ADMIN_CALL`: somebody asked the admin door for something.
    AdminCall(Box<AdminCall>),
    /// `TRAIL_VERIFIED`: a self-check read the trail to its end and found it whole.
    TrailVerified(Note),
    /// `FLEET_ALONE`: the shared state of the fleet cannot be reached.
    FleetAlone(Note),
    /// `FLEET_JOINED`: it can be reached again.
    FleetJoined(Note),
}

impl Activity {
    /// The `activity-type` field.
    pub fn name(&self) -> &'static str {
        match self {
            Activity::Connected(_) => "CONNECTED",
            Activity::AuthFailure(_) => "AUTH_FAILURE",
            Activity::KexFailure(_) => "KEX_FAILURE",
            Activity::ConnectionRejected(_) => "CONNECTION_REJECTED",
            Activity::Disconnected(_) => "DISCONNECTED",
            Activity::Open(_) => "OPEN",
            Activity::Close(_) => "CLOSE",
            Activity::PartialClose(_) => "PARTIAL_CLOSE",
            Activity::Delete(_) => "DELETE",
            Activity::Rename(_) => "RENAME",
            Activity::Mkdir(_) => "MKDIR",
            Activity::Rmdir(_) => "RMDIR",
            Activity::Setstat(_) => "SETSTAT",
            Activity::CreateSymlink(_) => "CREATE_SYMLINK",
            Activity::List(_) => "LIST",
            Activity::RequestDenied(_) => "REQUEST_DENIED",
            Activity::CloseFailed(_) | Activity::Error(_) => "ERROR",
            Activity::ExitReason(_) => "EXIT_REASON",
            Activity::UserAdded(_) => "USER_ADDED",
            Activity::UserChanged(_) => "USER_CHANGED",
            Activity::UserRemoved(_) => "USER_REMOVED",
            Activity::AdminCall(_) => "ADMIN_CALL",
            Activity::TrailVerified(_) => "TRAIL_VERIFIED",
            Activity::FleetAlone(_) => "FLEET_ALONE",
            Activity::FleetJoined(_) => "FLEET_JOINED",
        }
    }
}

/// The fields of `CONNECTED`.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The user's `role`, free text.
    pub role: Option<String>,
    /// `publickey`, `password`, `keyboard-interactive`, or up to three of them joined by commas.
    pub method: &'static str,
    /// `totp` when the last of them was a one-time code.
    pub second_factor: Option<&'static str>,
    /// What was negotiated.
    pub algorithms: Option<Algorithms>,
    /// The key that was verified; none for a password.
    pub key: Option<KeyIdentity>,
    /// What became of a balancer's PROXY header of version 2, if one came: `applied` or `ignored`.
    pub proxy_header: Option<&'static str>,
}

/// The fields of `AUTH_FAILURE`.
#[derive(Debug, Clone)]
pub struct AuthFailure {
    /// `publickey`, `password`, `keyboard-interactive`, `none`, `unknown`.
    pub method: &'static str,
    /// Why.
    pub reason: AuthFailureReason,
    /// More about it, for operators: what the users' source did, and which part of its answer cannot be used.
    pub cause: Option<String>,
    /// The key that was offered.
    pub key: Option<KeyIdentity>,
    /// The number of the attempt on this connection, from 1.
    pub attempt: u32,
    /// What was negotiated.
    pub algorithms: Option<Algorithms>,
}

/// The fields of `KEX_FAILURE` and `CONNECTION_REJECTED`.
#[derive(Debug, Clone, Default)]
pub struct Rejected {
    /// A word for machines (`no-common-kex`, `too-many-sessions`).
    pub reason: String,
    /// A sentence for people, Transfer Family's where it has one (`no matching host key type found`).
    pub message: String,
    /// The client's list that did not match, as it sent it; Transfer Family's `kex`.
    pub unmatched: Option<String>,
    /// The client's key exchange list.
    pub client_kex: Option<String>,
    /// The client's host key list.
    pub client_host_keys: Option<String>,
    /// The client's cipher lists, client-to-server.
    pub client_ciphers: Option<String>,
    /// The client's MAC lists, client-to-server.
    pub client_macs: Option<String>,
    /// How many connections it stands for, when it is not about one.
    pub connections: Option<u64>,
    /// Where most of those came from: `192.0.2.1=500,2001:db8::/64=20`.
    pub source_ips: Option<String>,
    /// When the first and the last of those came.
    pub span: Option<(SystemTime, SystemTime)>,
}

impl Rejected {
    /// The reason of calls of the admin door that are summed up.
    pub const ADMIN_CALLS: &str = "admin-calls";
}

/// The fields of `DISCONNECTED`.
#[derive(Debug, Clone)]
pub struct Disconnected {
    /// What ended it: `client`, `server`, `idle`, `login-grace`, `administrator`, `error`.
    pub reason: String,
    /// The administrator who ended it.
    pub ended_by: Option<String>,
    /// More about it, for people; the reason that an administrator gave.
    pub message: Option<String>,
    /// How long the connection lasted, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of files received.
    pub bytes_in: u64,
    /// Bytes of files sent.
    pub bytes_out: u64,
    /// Uploads that succeeded.
    pub files_in: u64,
    /// Downloads that ended.
    pub files_out: u64,
}

/// Whether an operation succeeded; the `status` field, and `message` when not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `success`
    Success,
    /// `success`, with something to say (`ignored`: an attribute that is not kept).
    SuccessBut(String),
    /// `denied`: the policy forbids it.
    Denied(String),
    /// `failure`
    Failure(String),
}

impl Outcome {
    /// The `status` field.
    pub fn status(&self) -> &'static str {
        match self {
            Outcome::Success | Outcome::SuccessBut(_) => "success",
            Outcome::Denied(_) => "denied",
            Outcome::Failure(_) => "failure",
        }
    }

    /// The `message` field, when there is something to say.
    pub fn message(&self) -> Option<&str> {
        match self {
            Outcome::Success => None,
            Outcome::SuccessBut(message) | Outcome::Denied(message) | Outcome::Failure(message) => Some(message),
        }
    }
}

/// The fields of an operation on one path.
#[derive(Debug, Clone)]
pub struct FileOperation {
    /// `/<bucket or store name>/<key>`; absent when no entry covers the path.
    pub path: Option<String>,
    /// What the client named.
    pub logical_path: String,
    /// The length, in bytes, that a published file was given or may have been given; SETSTAT only.
    pub size: Option<u64>,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The fields of an operation on two paths.
#[derive(Debug, Clone)]
pub struct RenameOperation {
    /// The old name's storage path.
    pub path: Option<String>,
    /// The new name's storage path; the `new-path` field.
    pub new_path: Option<String>,
    /// What the client named.
    pub logical_path: String,
    /// The new name that the client gave; the `new-logical-path` field.
    pub new_logical_path: String,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The fields of `OPEN`.
#[derive(Debug, Clone)]
pub struct TransferStart {
    /// The storage path.
    pub path: Option<String>,
    /// What the client named.
    pub logical_path: String,
    /// `READ`, `CREATE|TRUNCATE|WRITE`, …
    pub mode: String,
    /// Whether it writes.
    pub write: bool,
    /// How it went.
    pub outcome: Outcome,
    /// How long opening took, in milliseconds.
    pub duration_ms: u64,
}

/// How the `message` of an upload ends that failed and left its name as it was.
pub const NOTHING_WAS_PUBLISHED: &str = "nothing was published";

/// How the `message` of an upload ends that was cut off and published as far as it had arrived.
pub const WHAT_ARRIVED_WAS_PUBLISHED: &str = "what had arrived was published";

/// How the `message` of an operation ends that was cut off before the store had answered, and that of a RENAME that failed in a way
/// that does not say what the store has done.
pub const NOT_KNOWN: &str = "whether it was done is not known";

/// How the `message` of a RENAME ends that failed and left everything under the names that it had.
pub const NOTHING_WAS_RENAMED: &str = "nothing was renamed";

/// How the `message` of a RENAME ends that failed when everything had been copied to the new name; some of it may have the old one
/// still.
pub const THE_NEW_NAME_IS_WHOLE: &str = "the new name has all of it";

/// The fields of `CLOSE` and `PARTIAL_CLOSE`, and of the `ERROR` of a failed close.
#[derive(Debug, Clone)]
pub struct TransferEnd {
    /// The storage path.
    pub path: Option<String>,
    /// What the client named.
    pub logical_path: String,
    /// Whether it wrote.
    pub write: bool,
    /// Bytes received; `None` when the file was not open for writing.
    pub bytes_in: Option<u64>,
    /// Bytes sent; `None` when the file was not open for reading.
    pub bytes_out: Option<u64>,
    /// Bytes that went into other files, and not to the client, if any did.
    pub bytes_copied: Option<u64>,
    /// How it went.
    pub outcome: Outcome,
    /// From OPEN to the end, in milliseconds.
    pub duration_ms: u64,
    /// Hex SHA-256 of an upload that was written in order from its start.
    pub sha256: Option<String>,
    /// The store's entity tag of an upload that was published, or of the version that was read.
    pub etag: Option<String>,
    /// Whether the file is as it was: it was opened to be written, and nothing was.
    pub unchanged: bool,
}

impl TransferEnd {
    /// Whether the file was opened to be read, and all that was read went into other files.
    pub(super) fn is_copy(&self) -> bool {
        !self.write && self.bytes_copied.is_some() && self.bytes_out.unwrap_or_default() == 0
    }
}

/// The fields of `REQUEST_DENIED`.
#[derive(Debug, Clone)]
pub struct Denied {
    /// What was asked: `shell`, `exec: <command>`, `subsystem: <name>`, `pty-req`, `env: <name>`, `x11-req`, `auth-agent-req`,
    /// `direct-tcpip: <host>:<port>`, `tcpip-forward: …`, `streamlocal-forward: …`; at most 256 bytes.
    pub request: String,
    /// What the client was told.
    pub message: String,
    /// The target that was asked for, where the request names a declared one.
    pub target: Option<String>,
}

/// The fields of `ERROR` and `EXIT_REASON`; the message is all of `TRAIL_VERIFIED`, `FLEET_ALONE` and `FLEET_JOINED`.
#[derive(Debug, Clone)]
pub struct Note {
    /// What happened.
    pub message: String,
    /// The operation that it happened to (`CLOSE`, `LIST`).
    pub operation: Option<String>,
    /// The storage path that it happened to.
    pub path: Option<String>,
    /// What the client named.
    pub logical_path: Option<String>,
}

/// The fields of `USER_ADDED`, `USER_CHANGED` and `USER_REMOVED`. The user is the origin's.
#[derive(Debug, Clone)]
pub struct UserChange {
    /// Where users of this kind come from (`keys:lake:/public-keys`).
    pub source: String,
    /// The fingerprints of the keys that the user has now; of those that went with a removed user.
    pub keys: Vec<String>,
    /// Of the keys that a changed user did not have before.
    pub added: Vec<String>,
    /// Of the keys that a changed user has no more.
    pub removed: Vec<String>,
    /// More about it, for people.
    pub message: Option<String>,
}

/// The fields of `ADMIN_CALL`.
#[derive(Debug, Clone)]
pub struct AdminCall {
    /// Who called: the name of a token, or of a user of this machine; `None` when nobody was recognised.
    pub caller: Option<String>,
    /// As what: `viewer`, `auditor`, `operator`.
    pub role: Option<&'static str>,
    /// The method of HTTP.
    pub method: String,
    /// The path with its query. Holds no token.
    pub path: String,
    /// The status of HTTP that was answered.
    pub http_status: u16,
    /// The reason that the caller gave.
    pub reason: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// Where it came from; `None` over the Unix socket.
    pub source: Option<SocketAddr>,
    /// How long it took, in milliseconds; of an answer that streams, until it began.
    pub duration_ms: u64,
}
