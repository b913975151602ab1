//! `lockgate trail`: how the trail of a running gateway is, and whether it is whole.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Where;
use super::status::{amount, text};
use crate::admin::client::method::{GET, POST};
use crate::admin::client::{CallError, Client};
use crate::audit::read::shown;
use crate::cli::Failure;
use crate::cli::progress::{Measure, line};

/// How long to wait before it is asked how far a verification is: a tenth of the time that it has taken, between these. Each call is an event
/// of the trail that is being verified.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How many findings, and stretches that no signature covers, are shown one by one.
const FINDINGS: usize = 20;

const TRAIL: [&str; 3] = ["api", "v1", "trail"];

pub(super) fn show(place: &Where) -> Result<(), Failure> {
    let answer = place.call(async |client| client.call(GET, &TRAIL, &[], None).await)?;
    place.print(&answer, describe)
}

/// Begins a verification and waits for its end; a failure when the trail is not whole.
pub(super) fn verify(place: &Where) -> Result<(), Failure> {
    let ended = place.call(async |client| watch(client).await)?;
    let lost = "the verification is gone: others have begun since, or the gateway was restarted. Run the command again";
    let ended = ended.ok_or_else(|| anyhow::anyhow!(lost))?;
    place.print(&ended, |ended| match ended["failure"].as_str() {
        Some(why) => format!("could not be verified: {}", shown(why)),
        None => findings(&ended["report"]).into_iter().chain([text(ended, "verdict")]).collect::<Vec<_>>().join("\n"),
    })?;
    if ended["whole"] == true { Ok(()) } else { Err(Failure::Told) }
}

/// Begins a verification; how it ended. `None` when the gateway does not know it any more.
async fn watch(client: &Client) -> Result<Option<Value>, CallError> {
    let (is_watched, asked) = (std::io::stderr().is_terminal(), Instant::now());
    let show = |text: &str| {
        if is_watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    };
    let path = [&TRAIL[..], &["verify"]].concat();
    let mut verification = client.call(POST, &path, &[], None).await?;
    while verification.get("finished").is_none() {
        tokio::time::sleep(pause(asked.elapsed())).await;
        let trail = client.call(GET, &TRAIL, &[], None).await?;
        // Another one may have begun as soon as it had ended.
        let shown = [&trail["verification"], &trail["previous_verification"]];
        let Some(ours) = shown.into_iter().find(|one| one["started"] == verification["started"]) else {
            show("");
            return Ok(None);
        };
        verification = ours.clone();
        let number = |name: &str| verification[name].as_u64().unwrap_or(0);
        let far = Measure { done: number("bytes_read"), total: Some(number("bytes_total")) };
        show(&line(far, asked.elapsed()));
    }
    show("");
    Ok(Some(verification))
}

fn pause(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(PAUSES.0, PAUSES.1)
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
            (None, Some(why)) => format!("failed: {}", shown(why)),
            (None, None) => format!("in progress: {}", percent(verification)),
        };
        lines.push(format!("verification  {} ({}): {state}", text(verification, "started"), text(verification, "by")));
        lines.extend(findings(&verification["report"]).into_iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// How far a verification is.
fn percent(verification: &Value) -> String {
    let number = |name: &str| verification[name].as_u64().unwrap_or(0);
    let (read, total) = (number("bytes_read"), number("bytes_total").max(1));
    let (files, files_total) = (&verification["files"], &verification["files_total"]);
    format!("{} %, file {files} of {files_total}", read.min(total) * 100 / total)
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
        parts.push(format!("no delivery succeeds: {}", shown(trouble)));
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
    fn a_long_verification_is_asked_about_seldom() {
        let (mut elapsed, mut calls) = (Duration::ZERO, 0);
        while elapsed < Duration::from_secs(3600) {
            elapsed += pause(elapsed);
            calls += 1;
        }
        assert!(calls < 500, "{calls}");
        assert_eq!(pause(Duration::ZERO), Duration::from_millis(500));
    }

    #[test]
    fn a_verification_says_how_far_it_is_by_its_bytes() {
        let far = |read: u64, total: u64| {
            percent(&json!({ "bytes_read": read, "bytes_total": total, "files": 1, "files_total": 1 }))
        };
        assert_eq!(far(5_000_000_000, 10_000_000_000), "50 %, file 1 of 1");
        assert_eq!(far(11, 10), "100 %, file 1 of 1", "it has grown");
        assert_eq!(far(0, 0), "0 %, file 1 of 1");
    }

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
