//! Golden events of OCSF, and what its classes demand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use super::*;
use crate::audit::sink::filter::ACTIVITIES;
use crate::audit::sink::heading::Heading;

/// One line of each activity, some twice, and beside each the line that it becomes.
const SAMPLES: &str = include_str!("samples.ndjson");
const GOLDEN: &str = include_str!("golden.ndjson");

const DOCUMENT: &str = include_str!("../../../../docs/EVENTS.md");

/// Of each class, as OCSF 1.4 has it: the activities that have a number, what it demands beside the base event's fields, and
/// what of a group must be there.
#[allow(clippy::type_complexity)]
const CLASSES: &[(u64, &[u64], &[&str], &[&str])] = &[
    (0, &[], &[], &[]),
    (1008, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &["actor", "device"], &["log_name", "log_provider"]),
    (3001, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &["user"], &[]),
    (3002, &[1, 2, 3, 4, 5, 6], &["user"], &["service", "dst_endpoint"]),
    (4007, &[1, 2, 3, 4, 5, 6, 7], &[], &["src_endpoint", "dst_endpoint"]),
    (6003, &[1, 2, 3, 4], &["actor", "api", "src_endpoint"], &[]),
    (6006, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], &["actor", "file", "src_endpoint"], &[]),
    (6008, &[1, 2], &["message"], &[]),
];

/// What objects demand, and what of a group must be there.
const OBJECTS: &[(&str, &[&str], &[&str])] = &[
    ("api", &["operation"], &[]),
    ("metadata", &["product", "version"], &[]),
    ("product", &["vendor_name"], &["name", "uid"]),
    ("user", &[], &["name", "uid", "account"]),
    ("actor", &[], &["process", "user", "session", "app_name"]),
    ("file", &["name", "type_id"], &[]),
    ("file_result", &["name", "type_id"], &[]),
    ("src_endpoint", &[], &["ip", "name", "hostname"]),
    ("dst_endpoint", &[], &["ip", "name", "hostname"]),
    ("device", &["type_id"], &["ip", "name", "hostname"]),
    ("connection_info", &["direction_id"], &[]),
    ("certificate", &["issuer", "serial_number"], &[]),
    ("client_hassh", &["fingerprint"], &[]),
    ("fingerprint", &["algorithm_id", "value"], &[]),
    ("service", &[], &["name", "uid"]),
];

fn translated(line: &str) -> Value {
    serde_json::from_slice(&translate(line.as_bytes(), OcsfVersion::V1_4)).unwrap()
}

fn judge(event: &Value) {
    let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{name} is not a number: {event}"));
    let (class, activity) = (number("class_uid"), number("activity_id"));
    let (_, activities, demanded, group) =
        CLASSES.iter().find(|(uid, ..)| *uid == class).expect("a class of the table");
    assert!(activities.contains(&activity) || [0, 99].contains(&activity), "{event}");
    assert_eq!(number("type_uid"), class * 100 + activity, "{event}");
    assert_eq!(number("category_uid"), class / 1000, "{event}");
    assert!((1..=6).contains(&number("severity_id")), "{event}");
    assert!(event["time"].is_u64() || event["time"].is_i64(), "{event}");
    assert!(demanded.iter().all(|name| !event[*name].is_null()), "{event}");
    assert!(group.is_empty() || group.iter().any(|name| !event[*name].is_null()), "{event}");
    judge_objects(event, true);
}

fn judge_objects(value: &Value, top: bool) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        assert!(!inner.is_null(), "{name} is null in {value}");
        if top && name == "unmapped" {
            continue;
        }
        if let (true, Some((_, demanded, group))) =
            (inner.is_object(), OBJECTS.iter().find(|(object, ..)| object == name))
        {
            assert!(demanded.iter().all(|field| !inner[*field].is_null()), "{name}: {value}");
            assert!(group.is_empty() || group.iter().any(|field| !inner[*field].is_null()), "{name}: {value}");
        }
        judge_objects(inner, false);
    }
}

#[test]
fn each_activity_is_golden() {
    let (samples, golden): (Vec<_>, Vec<_>) = (SAMPLES.lines().collect(), GOLDEN.lines().collect());
    // The golden lines are of no particular version of Lockgate.
    let version = |version: &str| format!("\"vendor_name\":\"Lockgate\",\"version\":\"{version}\"");
    let made = samples.iter().map(|line| String::from_utf8(translate(line.as_bytes(), OcsfVersion::V1_4)).unwrap());
    let made: Vec<String> = made.map(|line| line.replace(&version(env!("CARGO_PKG_VERSION")), &version("X"))).collect();
    for (index, made) in made.iter().enumerate() {
        assert_eq!(Some(&made.as_str()), golden.get(index), "of {}", samples[index]);
        judge(&serde_json::from_str(made).unwrap());
    }
    assert_eq!(samples.len(), golden.len());
    let sampled: BTreeSet<String> = samples.iter().filter_map(|line| Heading::of(line.as_bytes()).activity).collect();
    assert_eq!(sampled, ACTIVITIES.iter().map(|&name| name.to_owned()).collect());
}

#[test]
fn every_documented_event_has_a_class_and_loses_nothing() {
    let lines: Vec<_> =
        DOCUMENT.lines().filter(|line| line.starts_with("{\"") && line.contains("activity-type")).collect();
    assert!(lines.len() > 20);
    for line in lines {
        let (event, original) = (translated(line), serde_json::from_str::<Value>(line).unwrap());
        judge(&event);
        assert_ne!(event["class_uid"], 0, "{line}");
        let text = event.to_string();
        for (name, value) in original.as_object().unwrap() {
            // A few words became numbers: of the status, the kind of the address is all there is.
            let kept = text.contains(value.to_string().trim_matches('"')) || name == "status";
            assert!(kept, "{name} is lost: {line}\n{text}");
        }
        assert_eq!(Heading::of(text.as_bytes()).event_id.as_deref(), original["event-id"].as_str());
    }
}

#[test]
fn what_was_done_at_a_target_says_where() {
    let mut seen = BTreeSet::new();
    for line in SAMPLES.lines().filter(|line| line.contains("\"session-id\"")) {
        let mut event: Value = serde_json::from_str(line).unwrap();
        for (name, value) in [("target", "web-1"), ("account", "deploy-7"), ("jump-session-id", "77112233445566778899")]
        {
            event[name] = value.into();
        }
        let event = translated(&event.to_string());
        judge(&event);
        let text = event.to_string();
        assert!(["web-1", "deploy-7", "77112233445566778899"].iter().all(|value| text.contains(value)), "{text}");
        if [3002, 4007, 6006].iter().any(|class| event["class_uid"] == *class) {
            assert_eq!(event["dst_endpoint"]["name"], "web-1", "{event}");
            seen.insert(event["class_uid"].to_string());
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn what_has_no_class_is_a_base_event() {
    let event =
        translated(r#"{"activity-type":"MOON_LANDING","timestamp":"2026-07-31T08:15:30.042Z","craft":"eagle"}"#);
    judge(&event);
    assert_eq!((&event["class_uid"], &event["activity_name"]), (&json!(0), &json!("MOON_LANDING")));
    assert_eq!((&event["time"], &event["unmapped"]), (&json!(1_785_485_730_042_u64), &json!({ "craft": "eagle" })));
    // A class that demands what is not there is not claimed.
    let nowhere = translated(r#"{"activity-type":"OPEN","path":"/a","user":"anna"}"#);
    judge(&nowhere);
    assert_eq!((&nowhere["class_uid"], &nowhere["unmapped"]["path"]), (&json!(0), &json!("/a")));
    for line in ["{torn", "[1]", "", "\u{202e}"] {
        let event = translated(line);
        judge(&event);
        assert_eq!(event["raw_data"], line);
    }
}

#[test]
fn a_line_stays_a_line() {
    let treacherous = translate("{\"activity-type\":\"X\",\"a\":\"\\u202e\\n\\u007f\"}".as_bytes(), OcsfVersion::V1_8);
    let text = String::from_utf8(treacherous).unwrap();
    assert!(text.contains("\\u202e\\n\\u007f") && !text.contains('\n'), "{text}");
}

#[test]
fn a_close_that_changed_nothing_is_no_upload() {
    let close = r#"{"activity-type":"CLOSE","operation":"write","status":"success","unchanged":true,"path":"/lake/b","source-ip":"192.0.2.1","user":"ann"}"#;
    for version in [OcsfVersion::V1_4, OcsfVersion::V1_8] {
        let event: Value = serde_json::from_slice(&translate(close.as_bytes(), version)).unwrap();
        assert_eq!((&event["activity_id"], &event["activity_name"]), (&json!(99), &json!("Close")));
        assert_eq!(event["unmapped"]["unchanged"], true);
    }
}

/// Only what the newer version says beyond differs.
#[test]
fn version_1_8_says_which_proofs_there_were_and_what_was_copied() {
    let newer =
        |line: &str| -> Value { serde_json::from_slice(&translate(line.as_bytes(), OcsfVersion::V1_8)).unwrap() };
    for line in SAMPLES.lines().chain(DOCUMENT.lines().filter(|line| line.starts_with("{\"activity"))) {
        let (mut old, mut new) = (translated(line), newer(line));
        judge(&new);
        assert_eq!((&old["metadata"]["version"], &new["metadata"]["version"]), (&json!("1.4.0"), &json!("1.8.0")));
        old["metadata"]["version"] = "1.8.0".into();
        new.as_object_mut().unwrap().remove("auth_factors");
        assert_eq!(old, new);
    }
    let both = r#"{"activity-type":"CONNECTED","user":"ann","server":"s","method":"publickey,password","ssh-public-key-type":"ssh-ed25519"}"#;
    let factors = json!([{ "factor_type_id": 99, "factor_type": "Public Key" }, { "factor_type_id": 11, "factor_type": "Password" }]);
    assert_eq!((&newer(both)["auth_factors"], &newer(both)["is_mfa"]), (&factors, &json!(true)));
    assert_eq!(
        newer(&both.replace("ssh-ed25519", "sk-ssh-ed25519@openssh.com"))["auth_factors"][0]["factor_type_id"],
        9
    );
    let coded = both.replace("password", "keyboard-interactive").replace('}', ",\"second-factor\":\"totp\"}");
    let otp = json!({ "factor_type_id": 7, "factor_type": "OTP" });
    assert_eq!((&newer(&coded)["auth_factors"][1], &translated(&coded)["is_mfa"]), (&otp, &json!(true)));
    assert!(
        newer(&both.replace(",password", ""))["auth_factors"].is_null() && translated(both)["auth_factors"].is_null()
    );
    let copy = r#"{"activity-type":"CLOSE","operation":"write","status":"success","message":"a copy of /a","path":"/lake/b","source-ip":"192.0.2.1","user":"ann"}"#;
    assert_eq!((&newer(copy)["activity_id"], &newer(copy)["type_uid"]), (&json!(6), &json!(600_606)));
    assert_eq!(translated(copy)["activity_id"], 1);
}
