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
        None => text(ended, "verdict"),
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
    }
    lines.join("\n")
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
