//! What stands in a line, to the letter: one golden line for each sample, the anchor's types and order, and the documentation.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use uuid::Uuid;

use super::samples;
use crate::audit::chain::{Hash, Position, signed_bytes};
use crate::audit::checkpoint::{self, Reason};
use crate::audit::encode::{Identity, encode};
use crate::audit::line::Draft;
use crate::audit::signer::Signer;
use crate::audit::signing::SigningKey;
use crate::audit::stamp::Stamp;
use crate::audit::{Activity, AuthFailureReason, KeyIdentity, Origin};

const GOLDEN: &str = include_str!("golden.ndjson");
const DOCUMENT: &str = include_str!("../../../docs/EVENTS.md");

/// The field orders that AWS Transfer Family publishes (user guide, "Example CloudWatch log entries", and field reports).
const PUBLISHED: &[(&str, &[&str])] = &[
    (
        "CONNECTED",
        &[
            "role",
            "activity-type",
            "macs",
            "ciphers",
            "client",
            "source-ip",
            "resource-arn",
            "home-dir",
            "user",
            "kex",
            "session-id",
        ],
    ),
    (
        "CONNECTED",
        &[
            "role",
            "activity-type",
            "ciphers",
            "client",
            "source-ip",
            "resource-arn",
            "home-dir",
            "ssh-public-key",
            "ssh-public-key-fingerprint",
            "ssh-public-key-type",
            "user",
            "kex",
            "session-id",
        ],
    ),
    ("AUTH_FAILURE", &["method", "activity-type", "source-ip", "resource-arn", "message", "user"]),
    ("OPEN", &["mode", "path", "activity-type", "resource-arn", "session-id"]),
    ("CLOSE", &["path", "activity-type", "resource-arn", "bytes-in", "session-id"]),
    ("DISCONNECTED", &["activity-type", "resource-arn", "session-id"]),
    ("KEX_FAILURE", &["activity-type", "source-ip", "resource-arn", "message", "kex"]),
];

/// What has no session: made by the gateway itself.
const WITHOUT_SESSION: &[&str] = &[
    "USER_ADDED",
    "USER_CHANGED",
    "USER_REMOVED",
    "CHECKPOINT",
    "ADMIN_CALL",
    "TRAIL_VERIFIED",
    "FLEET_ALONE",
    "FLEET_JOINED",
];

/// The published record that is closest to one that is not published.
const CLOSEST: &[(&str, &str)] = &[
    ("PARTIAL_CLOSE", "CLOSE"),
    ("DELETE", "OPEN"),
    ("RENAME", "OPEN"),
    ("MKDIR", "OPEN"),
    ("RMDIR", "OPEN"),
    ("SETSTAT", "OPEN"),
    ("CREATE_SYMLINK", "OPEN"),
    ("LIST", "OPEN"),
    ("ERROR", "OPEN"),
    ("EXIT_REASON", "DISCONNECTED"),
    ("REQUEST_DENIED", "DISCONNECTED"),
    ("CONNECTION_REJECTED", "KEX_FAILURE"),
    ("USER_ADDED", "CONNECTED"),
    ("USER_CHANGED", "CONNECTED"),
    ("USER_REMOVED", "CONNECTED"),
    ("CHECKPOINT", "DISCONNECTED"),
    ("ADMIN_CALL", "DISCONNECTED"),
    ("TRAIL_VERIFIED", "DISCONNECTED"),
    ("FLEET_ALONE", "DISCONNECTED"),
    ("FLEET_JOINED", "DISCONNECTED"),
];

/// The anchor's record as its documentation has it: every field a string.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
struct AnchorRecord {
    activity_type: String,
    resource_arn: String,
    bytes_in: Option<String>,
    bytes_out: Option<String>,
    ciphers: Option<String>,
    client: Option<String>,
    home_dir: Option<String>,
    kex: Option<String>,
    message: Option<String>,
    method: Option<String>,
    mode: Option<String>,
    operation: Option<String>,
    path: Option<String>,
    proxy_protocol_v2_header: Option<String>,
    ssh_public_key: Option<String>,
    ssh_public_key_fingerprint: Option<String>,
    ssh_public_key_type: Option<String>,
    role: Option<String>,
    session_id: Option<String>,
    source_ip: Option<String>,
    user: Option<String>,
    user_policy: Option<String>,
}

/// The fields of a line in their order.
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn of(line: &str) -> Fields {
        serde_json::from_str(line).unwrap()
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn activity(&self) -> &str {
        self.0.iter().find(|(name, _)| name == "activity-type").unwrap().1.as_str().unwrap()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn identity() -> Identity {
    Identity { server: "edge-1".into(), resource_arn: "lockgate:server/edge-1".into() }
}

fn line(origin: &Origin, activity: &Activity) -> String {
    let mut bytes = Vec::new();
    encode(&identity(), origin, activity).seal_into(&mut bytes, &stamp(0), Position::START);
    String::from_utf8(bytes).unwrap()
}

fn stamp(number: u32) -> Stamp {
    let time = Duration::from_millis(1_785_485_730_042) + Duration::from_secs(number.into());
    let id = Uuid::from_u128((time.as_millis() << 80) + 0x7b3d_8f21_4a6c_0e97_d000 + u128::from(number));
    Stamp::new(SystemTime::UNIX_EPOCH + time, id)
}

/// The lines of all samples, as one chain.
fn lines() -> String {
    let mut drafts: Vec<Draft> =
        samples::all().iter().map(|(origin, activity)| encode(&identity(), origin, activity)).collect();
    // Before the newer samples, so that each keeps its number, by which the documentation is written anew.
    let newest = drafts.split_off(drafts.len() - 2);
    let newer = drafts.pop();
    let mut checkpoints = checkpoints().collect::<Vec<_>>();
    let newest_checkpoint = checkpoints.pop();
    drafts.extend(checkpoints);
    drafts.extend(newer);
    drafts.extend(newest_checkpoint);
    drafts.extend(newest);
    let (mut lines, mut last) = (Vec::new(), Position::START);
    for (number, draft) in (0..).zip(drafts) {
        last = draft.seal_into(&mut lines, &stamp(number), last);
    }
    String::from_utf8(lines).unwrap()
}

fn checkpoints() -> impl Iterator<Item = Draft> {
    let chain = Uuid::from_u128(0x019f_b73e_0000_7b3d_8f21_4a6c_0e97_d000);
    let acknowledged = Position { sequence: 20, hash: Hash::of_line(b"{}") };
    let reasons = [
        Reason::Start { clean: false, acknowledged, lost: None },
        Reason::Interval,
        Reason::Rotation,
        Reason::Shutdown,
        Reason::KeyChange,
    ];
    reasons.into_iter().map(move |reason| checkpoint::encode(&identity(), chain, reason, &Signer::of_tests(), None))
}

fn message_of(activity: &Activity) -> String {
    let event: Value = serde_json::from_str(&line(&samples::caller(), activity)).unwrap();
    event["message"].as_str().unwrap().to_owned()
}

#[test]
fn every_line_is_the_golden_one() {
    let lines = lines();
    if std::env::var_os("LOCKGATE_WRITE_GOLDEN").is_some() {
        write_golden(&lines);
        return;
    }
    for (line, golden) in lines.lines().zip(GOLDEN.lines()) {
        assert_eq!(line, golden);
    }
    assert_eq!(lines, GOLDEN);
}

/// After the schema was changed on purpose: the golden lines, and those that the documentation shows, are written anew.
fn write_golden(lines: &str) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let id = |line: &str| line.split_once("\"event-id\":\"").map(|(_, rest)| rest[..36].to_owned());
    let document = DOCUMENT.lines().map(|shown| match id(shown).filter(|_| shown.starts_with('{')) {
        Some(known) => lines.lines().find(|line| id(line).as_ref() == Some(&known)).unwrap_or(shown),
        None => shown,
    });
    let document = document.map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(root.join("src/audit/tests/golden.ndjson"), lines).unwrap();
    std::fs::write(root.join("docs/EVENTS.md"), document).unwrap();
}

#[test]
fn the_golden_lines_are_a_chain_and_their_checkpoints_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = Position::START;
    let mut signed = 0;
    for line in GOLDEN.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["sequence"], last.sequence + 1, "{line}");
        assert_eq!(event["previous"], last.hash.to_string(), "{line}");
        last = Position { sequence: last.sequence + 1, hash: Hash::of_line(line.as_bytes()) };
        let Some(signature) = event["signature"].as_str() else { continue };
        // By somebody else's hand: openssl.
        let file = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        file("key.pub", SigningKey::of_tests().public().as_bytes());
        file("text", &signed_bytes(line.as_bytes()).unwrap());
        file("signature", &STANDARD.decode(signature).unwrap());
        let words = "pkeyutl -verify -pubin -inkey key.pub -rawin -in text -sigfile signature".split(' ');
        let openssl = std::process::Command::new("openssl").args(words).current_dir(folder.path()).output().unwrap();
        assert!(openssl.status.success(), "{line}: {openssl:?}");
        signed += 1;
    }
    assert_eq!(signed, checkpoints().count());
}

#[test]
fn there_is_a_golden_line_for_each_activity() {
    let samples = samples::all();
    let seen: BTreeSet<_> = samples.iter().map(|(_, activity)| activity.name()).chain([checkpoint::ACTIVITY]).collect();
    let known: BTreeSet<_> =
        PUBLISHED.iter().map(|(name, _)| *name).chain(CLOSEST.iter().map(|(name, _)| *name)).collect();
    assert_eq!(seen, known);
    assert_eq!(seen.len(), 26);
}

#[test]
fn a_parser_of_the_anchors_records_reads_every_line() {
    for golden in GOLDEN.lines() {
        let record: AnchorRecord = serde_json::from_str(golden).unwrap_or_else(|error| panic!("{error}: {golden}"));
        assert!(!record.activity_type.is_empty());
    }
}

#[test]
fn the_anchors_fields_come_first_and_in_the_published_order() {
    for golden in GOLDEN.lines() {
        let fields = Fields::of(golden);
        let (names, activity) = (fields.names(), fields.activity());
        let stamp = names.iter().position(|name| *name == "timestamp").unwrap();
        let like = CLOSEST.iter().find(|(name, _)| *name == activity).map_or(activity, |(_, like)| like);
        for (_, published) in PUBLISHED.iter().filter(|(name, _)| *name == like) {
            let places: Vec<_> = published.iter().filter_map(|p| names.iter().position(|name| name == p)).collect();
            assert!(places.is_sorted(), "{published:?} is another order than {golden}");
            assert!(places.iter().all(|place| *place < stamp), "{golden}");
        }
        assert_eq!(names[stamp..stamp + 3], ["timestamp", "event-id", "server"]);
    }
}

#[test]
fn fields_are_never_empty_null_or_twice() {
    for golden in GOLDEN.lines() {
        let fields = Fields::of(golden);
        let unique: BTreeSet<_> = fields.names().into_iter().collect();
        assert_eq!(unique.len(), fields.0.len(), "{golden}");
        for (name, value) in &fields.0 {
            let is_plain = value.is_u64() || value.is_boolean() || value.as_str().is_some_and(|text| !text.is_empty());
            assert!(is_plain, "{name} in {golden}");
        }
        let session = ["session-id", "source-ip", "source-port"];
        let in_session = !WITHOUT_SESSION.contains(&fields.activity()) && !unique.contains("connections");
        let session = session.into_iter().filter(|_| in_session);
        for name in
            ["timestamp", "event-id", "server", "resource-arn", "sequence", "previous"].into_iter().chain(session)
        {
            assert!(unique.contains(name), "{name} is missing in {golden}");
        }
        for name in ["session-id", "source-ip", "source-port"] {
            let is_caller = fields.activity() == "ADMIN_CALL" && name != "session-id";
            assert!(is_caller || unique.contains(name) == in_session, "{name} in {golden}");
        }
    }
}

#[test]
fn the_messages_of_failed_attempts_are_the_anchors() {
    use AuthFailureReason as Why;
    let key = |key_type: &str| {
        Some(KeyIdentity {
            key_type: key_type.into(),
            fingerprint: "SHA256:fp".into(),
            comment: None,
            ..samples::key()
        })
    };
    for (method, reason, key, expected) in [
        ("publickey", Why::KeyNotAuthorized, key("ssh-ed25519"), "ED25519 SHA256:fp"),
        ("publickey", Why::BadSignature, key("ssh-rsa"), "RSA SHA256:fp"),
        ("publickey", Why::SourceNotAllowed, key("ecdsa-sha2-nistp384"), "ECDSA SHA256:fp"),
        ("publickey", Why::KeyNotAuthorized, key("sk-ssh-ed25519@openssh.com"), "ED25519-SK SHA256:fp"),
        ("publickey", Why::KeyNotAuthorized, key("sk-ecdsa-sha2-nistp256@openssh.com"), "ECDSA-SK SHA256:fp"),
        ("publickey", Why::UnknownUser, key("ssh-ed25519"), "Authentication failure"),
        ("password", Why::UnknownUser, None, "Authentication failure"),
        ("password", Why::BadPassword, None, "Invalid user name or password"),
        ("keyboard-interactive", Why::BadPassword, None, "Invalid user name or password"),
        ("password", Why::MethodNotAllowed, None, "Authentication failure"),
    ] {
        assert_eq!(message_of(&samples::failure(method, reason, key)), expected);
    }
}

#[test]
fn what_a_client_sends_is_bounded_and_stays_on_its_line() {
    let origin = Origin {
        user: Some("\n{\"user\":\"root\"}\u{1b}[2J".repeat(500).into()),
        client: Some("SSH-2.0-".repeat(500).into()),
        ..samples::caller()
    };
    let text = line(&origin, &samples::failure("none", AuthFailureReason::UnknownUser, None));
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(event["user"].as_str().unwrap().len() <= 1024);
    assert!(event["client"].as_str().unwrap().len() <= 255);
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_shows_as_ipv4() {
    let origin = Origin { source_ip: "::ffff:192.0.2.7".parse().unwrap(), ..samples::stranger() };
    let text = line(&origin, &samples::failure("none", AuthFailureReason::UnknownUser, None));
    assert!(text.contains(r#""source-ip":"192.0.2.7""#), "{text}");
}

#[test]
fn the_documentation_shows_golden_lines_for_every_activity_and_names_every_field() {
    let shown: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with('{')).collect();
    for line in &shown {
        assert!(GOLDEN.lines().any(|golden| golden == *line), "docs/EVENTS.md shows a line that is not true: {line}");
    }
    for golden in GOLDEN.lines() {
        let fields = Fields::of(golden);
        let activity = fields.activity();
        assert!(shown.iter().any(|line| Fields::of(line).activity() == activity), "{activity} has no example");
        assert!(DOCUMENT.contains(&format!("`{activity}`")), "{activity} is not explained");
        for name in fields.names() {
            assert!(DOCUMENT.contains(&format!("`{name}`")), "the field {name} is not explained");
        }
    }
}

#[test]
fn the_documentation_names_every_reason_of_a_failed_attempt() {
    use AuthFailureReason as Why;
    for reason in [
        Why::UnknownUser,
        Why::KeyNotAuthorized,
        Why::KeyRevoked,
        Why::TouchMissing,
        Why::VerificationMissing,
        Why::BadPassword,
        Why::BadSignature,
        Why::OfferedNotSigned,
        Why::MethodNotAllowed,
        Why::UserDisabled,
        Why::SourceNotAllowed,
        Why::NoCredentialsOffered,
        Why::AlgorithmNotAllowed,
        Why::LoginGraceExceeded,
        Why::DirectoryUnavailable,
        Why::DirectoryAnswerUnusable,
        Why::Banned,
        Why::TrailUnavailable,
    ] {
        assert!(DOCUMENT.contains(&format!("`{}`", reason.as_str())), "{} is not explained", reason.as_str());
    }
}

#[test]
fn what_a_source_of_users_tells_is_never_cut() {
    let keys: Vec<String> = (0..50).map(|n| format!("SHA256:{n:043}")).collect();
    let change = crate::audit::UserChange {
        source: "keys:lake:/k".into(),
        keys: keys.clone(),
        added: keys.clone(),
        removed: keys.clone(),
        message: None,
    };
    let text = line(&Origin::of_gateway(Some("ann".into())), &Activity::UserChanged(change));
    let event: Value = serde_json::from_str(&text).unwrap();
    for name in ["ssh-public-key-fingerprint", "ssh-public-key-fingerprint-added", "ssh-public-key-fingerprint-removed"]
    {
        assert_eq!(event[name].as_str().unwrap(), keys.join(","));
    }
}
