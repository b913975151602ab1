//! The shapes, and what a kill leaves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::{Value, json};

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/EVENTS.md");

fn notifier(folder: &Path, format: Format) -> Notifier {
    Notifier::open(&Shape { format, ..Shape::default() }, folder, true).unwrap().unwrap()
}

/// The documented line of an activity, at its nth place.
fn documented(activity: &str, nth: usize) -> Value {
    let named = format!("\"activity-type\":\"{activity}\"");
    let line = DOCUMENT.lines().filter(|line| line.starts_with("{\"") && line.contains(&named)).nth(nth);
    serde_json::from_str(line.expect("it is documented")).unwrap()
}

fn batch(lines: &[Value]) -> Bytes {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into()
}

fn told(format: Format, lines: &[Value]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let told = notifier(folder.path(), format).take(&batch(lines));
    told.into_iter().map(|told| String::from_utf8(told.line).unwrap()).collect()
}

/// Byte for byte: the words, the order of the fields, and no further ones.
#[test]
fn eventbridge_is_as_published() {
    let mut download = documented("CLOSE", 1);
    download["resource-arn"] = "arn:aws:transfer:eu-west-1:123456789012:server/s-0123456789abcdef0".into();
    let lines = [
        documented("CLOSE", 0),
        download,
        documented("PARTIAL_CLOSE", 0),
        documented("MKDIR", 0),
        documented("DELETE", 0),
    ];
    let told = told(Format::EventBridge, &lines);
    let wanted = [
        r#"{"version":"0","id":"019fb73e-4bf2-7b3d-8f21-4a6c0e97d00b","detail-type":"SFTP Server File Upload Completed","source":"aws.transfer","account":"000000000000","time":"2026-07-31T08:15:41Z","region":"local","resources":["lockgate:server/edge-1"],"detail":{"status-code":"COMPLETED","protocol":"SFTP","bytes":121,"client-ip":"192.0.2.1","end-timestamp":"2026-07-31T08:15:41.042000000Z","etag":"098f6bcd4621d373cade4e832627b4f6","file-path":"/lake/in/user0001/data.csv","server-id":"edge-1","username":"user0001","session-id":"0049cd844c7536c06a89","start-timestamp":"2026-07-31T08:15:40.994000000Z"}}"#,
        r#"{"version":"0","id":"019fb73e-4fda-7b3d-8f21-4a6c0e97d00c","detail-type":"SFTP Server File Download Completed","source":"aws.transfer","account":"123456789012","time":"2026-07-31T08:15:42Z","region":"eu-west-1","resources":["arn:aws:transfer:eu-west-1:123456789012:server/s-0123456789abcdef0"],"detail":{"status-code":"COMPLETED","protocol":"SFTP","bytes":29238420042,"client-ip":"192.0.2.1","end-timestamp":"2026-07-31T08:15:42.042000000Z","etag":"098f6bcd4621d373cade4e832627b4f6","file-path":"/lake/reports/2026/july.csv","server-id":"s-0123456789abcdef0","username":"user0001","session-id":"0049cd844c7536c06a89","start-timestamp":"2026-07-31T08:15:41.994000000Z"}}"#,
        r#"{"version":"0","id":"019fb73e-57aa-7b3d-8f21-4a6c0e97d00e","detail-type":"SFTP Server File Upload Failed","source":"aws.transfer","account":"000000000000","time":"2026-07-31T08:15:44Z","region":"local","resources":["lockgate:server/edge-1"],"detail":{"failure-code":"PARTIAL_UPLOAD","status-code":"FAILED","protocol":"SFTP","bytes":65536,"client-ip":"192.0.2.1","failure-message":"File was partially uploaded.","end-timestamp":"2026-07-31T08:15:44.042000000Z","file-path":"/lake/in/user0001/data.csv","server-id":"edge-1","username":"user0001","session-id":"0049cd844c7536c06a89","start-timestamp":"2026-07-31T08:15:43.994000000Z"}}"#,
        r#"{"version":"0","id":"019fb73e-6362-7b3d-8f21-4a6c0e97d011","detail-type":"SFTP Server Directory Create Completed","source":"aws.transfer","account":"000000000000","time":"2026-07-31T08:15:47Z","region":"local","resources":["lockgate:server/edge-1"],"detail":{"status-code":"COMPLETED","protocol":"SFTP","client-ip":"192.0.2.1","end-timestamp":"2026-07-31T08:15:47.042000000Z","directory-path":"/lake/in/user0001/2026","server-id":"edge-1","username":"user0001","session-id":"0049cd844c7536c06a89","start-timestamp":"2026-07-31T08:15:47.030000000Z"}}"#,
        r#"{"version":"0","id":"019fb73e-5b92-7b3d-8f21-4a6c0e97d00f","detail-type":"SFTP Server File Delete Failed","source":"aws.transfer","account":"000000000000","time":"2026-07-31T08:15:45Z","region":"local","resources":["lockgate:server/edge-1"],"detail":{"failure-code":"UNKNOWN_ERROR","status-code":"FAILED","protocol":"SFTP","client-ip":"192.0.2.1","failure-message":"delete is not permitted here","end-timestamp":"2026-07-31T08:15:45.042000000Z","file-path":"/lake/in/user0001/old.csv","server-id":"edge-1","username":"user0001","session-id":"0049cd844c7536c06a89","start-timestamp":"2026-07-31T08:15:45.030000000Z"}}"#,
    ];
    assert_eq!(told, wanted);
}

#[test]
fn each_kind_of_line_has_its_type() {
    let types = |format| -> Vec<(String, String)> {
        ["RMDIR", "RENAME", "ERROR"]
            .iter()
            .map(|activity| {
                let mut line = documented(activity, 0);
                if *activity == "RENAME" {
                    line["path"] = "/lake/x".into();
                }
                let told: Value = serde_json::from_str(&told(format, &[line])[0]).unwrap();
                let name = if format == Format::EventBridge { "detail-type" } else { "type" };
                let detail = if format == Format::EventBridge { &told["detail"] } else { &told["data"] };
                (told[name].as_str().unwrap().to_owned(), detail["status-code"].as_str().unwrap().to_owned())
            })
            .collect()
    };
    let pairs = |list: [(&str, &str); 3]| list.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
    assert_eq!(
        types(Format::EventBridge),
        pairs([
            ("SFTP Server Directory Delete Failed", "FAILED"),
            ("SFTP Server File Rename Completed", "COMPLETED"),
            ("SFTP Server File Upload Failed", "FAILED"),
        ])
    );
    assert_eq!(
        types(Format::CloudEvents),
        pairs([
            ("lockgate.directory.delete.failed", "FAILED"),
            ("lockgate.file.rename.completed", "COMPLETED"),
            ("lockgate.file.upload.failed", "FAILED"),
        ])
    );
}

/// What AWS's own receivers do with an event: match its type, and take the path apart.
#[test]
fn a_joined_arrival_has_its_final_name_in_every_field() {
    let (mut close, rename) = (documented("CLOSE", 0), documented("RENAME", 0));
    (close["path"], close["logical-path"]) = (rename["path"].clone(), rename["logical-path"].clone());
    let eventbridge: Value =
        serde_json::from_str(&told(Format::EventBridge, &[close.clone(), rename.clone()])[0]).unwrap();
    assert_eq!(eventbridge["detail"]["file-path"], "/lake/in/user0001/data.csv");
    assert_eq!((&eventbridge["id"], &eventbridge["time"]), (&rename["event-id"], &json!("2026-07-31T08:15:46Z")));
    let lines = told(Format::CloudEvents, &[close.clone(), rename]);
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!((&event["specversion"], &event["subject"]), (&json!("1.0"), &json!("/lake/in/user0001/data.csv")));
    assert_eq!(
        (&event["source"], &event["datacontenttype"]),
        (&json!("lockgate:server/edge-1"), &json!("application/json"))
    );
    let data = &event["data"];
    assert_eq!((&data["sha256"], &data["uploaded-as"]), (&close["sha256"], &json!("/lake/in/user0001/data.csv.part")));
    assert_eq!((&data["logical-path"], &data["bytes"]), (&json!("/incoming/data.csv"), &json!(121)));
}

#[test]
fn what_is_no_file_in_a_store_is_not_told() {
    let mut nowhere = documented("DELETE", 0);
    nowhere.as_object_mut().unwrap().remove("path");
    let lines = ["CONNECTED", "OPEN", "LIST", "SETSTAT", "DISCONNECTED", "CHECKPOINT"].map(|name| documented(name, 0));
    assert!(
        told(Format::EventBridge, &[&lines[..], &[nowhere, documented("CLOSE", 2), documented("ERROR", 1)]].concat())
            .is_empty()
    );
}

/// The batch comes again with the same ids until it is noted, and then not at all.
#[test]
fn a_batch_that_comes_again_gives_the_same_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut close, rename) = (documented("CLOSE", 0), documented("RENAME", 0));
    (close["path"], close["logical-path"]) = (rename["path"].clone(), rename["logical-path"].clone());
    let (first, second) = (batch(&[close, documented("MKDIR", 0)]), batch(&[rename]));

    let mut before = notifier(folder.path(), Format::CloudEvents);
    let once = before.take(&first);
    assert_eq!(once.len(), 1);
    // Killed before it was noted.
    let mut again = notifier(folder.path(), Format::CloudEvents);
    assert_eq!(again.take(&first), once);
    again.keep().unwrap();
    // Killed after it was noted, before the spool had removed it.
    let mut noted = notifier(folder.path(), Format::CloudEvents);
    assert!(noted.take(&first).is_empty());
    let arrival = noted.take(&second);
    assert_eq!(arrival.len(), 1);
    let mut killed = notifier(folder.path(), Format::CloudEvents);
    assert!(killed.take(&first).is_empty());
    assert_eq!(killed.take(&second), arrival);
    killed.keep().unwrap();
    assert!(notifier(folder.path(), Format::CloudEvents).take(&second).is_empty());
}

/// The gateway starts all the same, and the operator finds what was there.
#[test]
fn a_file_that_cannot_be_read_is_moved_aside() {
    for text in [&b""[..], b"{\"batch\":\"x\"}\n", b"{\"batch\":null}\n{torn", b"\xff\xfe"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pending"), text).unwrap();
        let mut opened = notifier(folder.path(), Format::CloudEvents);
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let names: Vec<_> = names.collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(
            names[0].to_string_lossy().contains("pending.unreadable-") && std::fs::read(&names[0]).unwrap() == text
        );
        // And works from there on.
        let mut close = documented("CLOSE", 0);
        close["logical-path"] = "/a.part".into();
        assert!(opened.take(&batch(&[close])).is_empty());
        opened.keep().unwrap();
        assert!(folder.path().join("pending").is_file());
    }
}

#[test]
fn filters_judge_the_notification() {
    let folder = tempfile::tempdir().unwrap();
    let filter = Filter {
        paths: Some(vec![PathPattern::parse("*.csv").unwrap()]),
        operations: Some(vec!["upload".into()]),
        ..Filter::default()
    };
    let shape = Shape { format: Format::CloudEvents, filter, ..Shape::default() };
    let mut notifier = Notifier::open(&shape, folder.path(), true).unwrap().unwrap();
    let (mut close, rename) = (documented("CLOSE", 0), documented("RENAME", 0));
    (close["path"], close["logical-path"]) = (rename["path"].clone(), rename["logical-path"].clone());
    let told = notifier.take(&batch(&[close, documented("DELETE", 0), rename]));
    let paths = ["/lake/in/user0001/data.csv", "/lake/in/user0001/data.csv.part"];
    assert_eq!(told.iter().map(|told| told.paths.clone()).collect::<Vec<_>>(), [paths]);
}

/// What is told under the temporary name may be refused: the arrival is about that name as well, so that it is not told before.
#[test]
fn an_arrival_is_about_the_names_that_its_file_had() {
    let folder = tempfile::tempdir().unwrap();
    let (mut close, rename) = (documented("CLOSE", 0), documented("RENAME", 0));
    (close["path"], close["logical-path"]) = ("/lake/in/x.part".into(), "/in/x.part".into());
    let renamed = |from: &str, to: &str| {
        let mut rename = rename.clone();
        for (stored, logical, path) in [("path", "logical-path", from), ("new-path", "new-logical-path", to)] {
            (rename[stored], rename[logical]) = (format!("/lake{path}").into(), path.into());
        }
        rename
    };
    let paths = |lines: &[Value]| -> Vec<Vec<String>> {
        let told = notifier(folder.path(), Format::CloudEvents).take(&batch(lines));
        told.into_iter().map(|told| told.paths).collect()
    };
    let twice = [close.clone(), renamed("/in/x.part", "/in/y.part"), renamed("/in/y.part", "/in/y")];
    assert_eq!(paths(&twice), [["/lake/in/y", "/lake/in/x.part", "/lake/in/y.part"]]);
    // Its folder was renamed meanwhile.
    (close["path"], close["logical-path"]) = ("/lake/in.part".into(), "/in.part".into());
    let moved = [close, renamed("/in.part", "/d/x.part"), renamed("/d", "/e"), renamed("/e/x.part", "/e/x")];
    assert_eq!(paths(&moved)[1], ["/lake/e/x", "/lake/in.part", "/lake/e/x.part"]);
}
