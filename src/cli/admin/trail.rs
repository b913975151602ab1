//! `lockgate trail`: how the trail of a running gateway is, and whether it is whole.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Where;
use super::status::{amount, column, text};
use crate::admin::client::method::{GET, POST};
use crate::audit::read::shown;
use crate::cli::Failure;
use crate::cli::progress::left;

/// How often it is asked how far a verification is.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// How many findings, and stretches that no signature covers, are shown one by one.
const FINDINGS: usize = 20;

const TRAIL: [&str; 3] = ["api", "v1", "trail"];

pub(super) fn show(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(GET, &TRAIL, &[], None).await)?;
    place.print(&answer, describe)
}

/// Begins a verification and waits for its end; a failure when the trail is not whole.
pub(super) fn verify(place: &Where) -> Result<(), Failure> {
    let (is_watched, asked) = (std::io::stderr().is_terminal(), Instant::now());
    let ended = place.call(async |client| {
        let path = [&TRAIL[..], &["verify"]].concat();
        let mut verification = client.call(POST, &path, &[], None).await?;
        let began = verification["started"].clone();
        while verification.get("finished").is_none() {
            tokio::time::sleep(ASKED_EVERY).await;
            let trail = client.call(GET, &TRAIL, &[], None).await?;
            if trail["verification"]["started"] != began {
                break;
            }
            verification = trail["verification"].clone();
            if is_watched {
                let bytes = amount(verification["bytes"].as_u64().unwrap_or(0));
                let (begun, total) = (&verification["files"], &verification["files_total"]);
                let number = |value: &Value| value.as_u64().unwrap_or(0);
                let left = left(number(begun).saturating_sub(1), number(total), asked.elapsed());
                let _ = write!(std::io::stderr(), "\r\x1b[K{} file {begun} of {total} …{left}", column(&bytes, 10));
            }
        }
        if is_watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        Ok(verification)
    })?;
    place.print(&ended, |ended| match ended["failure"].as_str() {
        Some(why) => format!("could not be verified: {}", shown(why)),
        None => findings(&ended["report"]).into_iter().chain([text(ended, "verdict")]).collect::<Vec<_>>().join("\n"),
    })?;
    if ended["whole"] == true { Ok(()) } else { Err(Failure::Told) }
}

fn describe(trail: &Value) -> String {
    let mut lines = vec![
        format!(
            "chain         {}{}",
            text(trail, "chain"),
            if trail["kept"] == true { "" } else { ", which ends with this process" }
        ),
        format!("signed with   {}", trail["key"].as_str().map_or("nothing".into(), shown)),
        format!("events        {}, of which every required sink has {}", trail["sequence"], trail["acknowledged"]),
    ];
    if let Some(checkpoint) = trail.get("checkpoint") {
        lines.push(format!("checkpoint    {} at {}", checkpoint["sequence"], text(checkpoint, "time")));
    }
    if trail.get("file").is_some() {
        lines.push(format!("file          {}", text(trail, "file")));
    }
    for sink in trail["sinks"].as_array().into_iter().flatten() {
        lines.push(format!("sink          {}: {}", text(sink, "name"), state_of(sink)));
    }
    if let Some(verification) = trail.get("verification") {
        let state = match (verification["verdict"].as_str(), verification["failure"].as_str()) {
            (Some(verdict), _) => shown(verdict).into_owned(),
            (None, Some(why)) => format!("could not be done: {}", shown(why)),
            (None, None) => format!("under way: file {} of {}", verification["files"], verification["files_total"]),
        };
        lines.push(format!("verification  {} ({}): {state}", text(verification, "started"), text(verification, "by")));
        lines.extend(findings(&verification["report"]).into_iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// What a report says beside its verdict: what is wrong and where, and what no signature covers.
fn findings(report: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for finding in list(&report["findings"]).iter().take(FINDINGS) {
        let sequence = finding["sequence"].as_u64().map(|sequence| format!(", sequence {sequence}"));
        lines.push(format!("{}, line {}{}", text(finding, "file"), finding["line"], sequence.unwrap_or_default()));
        lines.push(format!("  {}: {}", text(finding, "kind"), text(finding, "what")));
    }
    let more = report["finding-count"].as_u64().unwrap_or(0).saturating_sub(FINDINGS as u64);
    if more > 0 {
        lines.push(format!("and {more} more; `lockgate trail verify --json` has the first thousand"));
    }
    if report["signatures-checked"] == false {
        lines.push("signatures were not checked".to_owned());
    }
    for chain in list(&report["chains"]) {
        let ranges = list(&chain["not-signed"]);
        let named: Vec<_> = ranges.iter().take(FINDINGS).map(|range| format!("{} to {}", range[0], range[1])).collect();
        if !named.is_empty() {
            let more = if ranges.len() > FINDINGS { ", …" } else { "" };
            lines.push(format!("covered by no signature: sequence {}{more}", named.join(", ")));
        }
    }
    lines
}

/// How far a sink is, in a few words.
pub(super) fn state_of(sink: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut parts = vec![sink["failure"].as_str().map_or("writes".to_owned(), |why| format!("fails: {}", shown(why)))];
    let behind = number(&sink["backlog_bytes"]) + number(&sink["owed_bytes"]);
    if behind > 0 {
        parts.push(format!("{} behind", amount(behind)));
    }
    if let Some(spool) = sink.get("spool").filter(|spool| number(&spool["bytes"]) > 0) {
        parts.push(format!(
            "{} of {} wait in the spool",
            amount(number(&spool["bytes"])),
            amount(number(&spool["limit"]))
        ));
    }
    if let Some(trouble) = sink["spool"]["trouble"].as_str() {
        parts.push(format!("nothing is delivered: {}", shown(trouble)));
    }
    let set_aside = number(&sink["spool"]["undelivered"]);
    if set_aside > 0 {
        parts.push(format!("{set_aside} refused deliveries are set aside (`lockgate audit redeliver`)"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn findings_say_where_they_are_and_are_bounded() {
        let finding = |line: u64| json!({ "file": "events\u{1b}", "line": line, "sequence": line + 1, "kind": "changed", "what": "x" });
        let report = json!({
            "findings": (1..=25).map(finding).collect::<Vec<_>>(), "finding-count": 30, "signatures-checked": true,
            "chains": [{ "not-signed": [[7, 9], [12, 12]] }, { "not-signed": [] }],
        });
        let lines = findings(&report);
        assert_eq!(lines.first().map(String::as_str), Some("events\\u{1b}, line 1, sequence 2"));
        assert_eq!(lines.get(1).map(String::as_str), Some("  changed: x"));
        assert!(
            lines.contains(&"and 10 more; `lockgate trail verify --json` has the first thousand".to_owned()),
            "{lines:?}"
        );
        assert_eq!(lines.last().map(String::as_str), Some("covered by no signature: sequence 7 to 9, 12 to 12"));
        assert!(findings(&json!({ "findings": [], "finding-count": 0, "signatures-checked": true })).is_empty());
        assert_eq!(findings(&json!({ "signatures-checked": false })), ["signatures were not checked"]);
    }
}
