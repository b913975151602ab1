//! When users last logged in and uploaded, before this process began: the trail says it, so that an alarm on silence outlives a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use super::reads::GivesUp;
use super::state::State;
use crate::audit::read::newest::{GivenUp, Page, newest};
use crate::audit::read::within::{Since, time_of};
use crate::audit::read::{Event, ReadError, Span};
use crate::metrics::{Numbers, Users};

/// How far back it is looked: somebody silent for longer has been missed by now.
const DAYS: TimeDelta = TimeDelta::days(8);

/// How long it may take, in a thread that may wait for a disk.
const WITHIN: Duration = Duration::from_secs(30);

/// What stands in the lines that are wanted.
const WANTED: [&str; 2] = [r#""activity-type":"CONNECTED""#, r#""activity-type":"CLOSE""#];

/// Looks once, in the background; until it is dropped.
pub(super) async fn run(state: Arc<State>) {
    let Some(path) = state.around.trail.clone() else { return };
    let gives_up = GivesUp(GivenUp::default());
    let given_up = gives_up.0.clone();
    let looking = tokio::task::spawn_blocking(move || recall(&path, &state.around.metrics.users, WITHIN, given_up));
    match looking.await {
        Ok(Ok(None)) | Err(_) => {}
        Ok(Ok(Some(reached))) => {
            let back_to = time_of(&reached);
            tracing::info!(
                back_to,
                "the last logins and uploads of users before the start are known back to this time"
            );
        }
        Ok(Err(error)) => tracing::warn!(%error, "the last logins and uploads of users before the start are not known"),
    }
}

/// Notes them; where the look ended, if that is before it came far enough.
fn recall(path: &Path, users: &Users, within: Duration, given_up: GivenUp) -> Result<Option<String>, ReadError> {
    let span = Span { since: Utc::now().checked_sub_signed(DAYS), until: None };
    let since = span.since;
    let page = Page { given_up, ..Page::newest(usize::MAX, within) };
    let note = |line: &[u8]| -> Option<()> {
        let text = std::str::from_utf8(line).ok()?;
        if WANTED.iter().any(|wanted| text.contains(wanted)) {
            take(&Event::parse(line)?, users, since);
        }
        None
    };
    Ok(newest(path, &page, Since::of(span, note))?.next)
}

/// Newer ones came before, and those of this process are newer than all.
fn take(event: &Event, users: &Users, since: Option<DateTime<Utc>>) {
    let (user, Some(at)) = (event.text("user"), event.time()) else { return };
    // The search ends behind the first that is older.
    if since.is_some_and(|since| at < since) {
        return;
    }
    let at = SystemTime::from(at);
    let is_upload = event.text("operation") == "write"
        && event.text("status") == "success"
        && event.truth("unchanged") != Some(true);
    let note: fn(&mut Numbers, SystemTime) = match event.activity() {
        "CONNECTED" => |numbers, at| _ = numbers.last_login.get_or_insert(at),
        "CLOSE" if is_upload => |numbers, at| _ = numbers.last_upload.get_or_insert(at),
        _ => return,
    };
    if !user.is_empty() {
        users.recall(user, |numbers| note(numbers, at));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::SecondsFormat;

    use super::*;
    use crate::metrics::Metrics;

    fn line(at: DateTime<Utc>, user: &str, activity: &str, more: &str) -> String {
        let (ms, at) = (at.timestamp_millis(), at.to_rfc3339_opts(SecondsFormat::Millis, true));
        format!(
            "{{\"activity-type\":\"{activity}\",\"timestamp\":\"{at}\",\"event-id\":\"{:08x}-{:04x}-7000-8000-000000000000\",\"user\":\"{user}\"{more}}}\n",
            ms >> 16,
            ms & 0xffff
        )
    }

    #[test]
    fn the_newest_login_and_upload_of_the_last_days_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        let ago = |hours: i64| DateTime::from_timestamp(Utc::now().timestamp() - 3600 * hours, 0).unwrap();
        let (upload, download) =
            (r#","operation":"write","status":"success""#, r#","operation":"read","status":"success""#);
        let lines = [
            line(ago(300), "old", "CLOSE", upload),
            line(ago(90), "ann", "CONNECTED", ""),
            line(ago(80), "ann", "CLOSE", upload),
            line(ago(70), "ann", "CLOSE", upload),
            line(ago(60), "ann", "CLOSE", r#","operation":"write","status":"success","unchanged":true"#),
            line(ago(50), "ann", "CLOSE", download),
            line(ago(40), "ann", "PARTIAL_CLOSE", upload),
            line(ago(30), "ben", "CONNECTED", ""),
            line(ago(20), "carl", "AUTH_FAILURE", ""),
        ];
        std::fs::write(&path, lines.concat()).unwrap();
        let metrics = Metrics::default();
        // Somebody who has come back since.
        let now = SystemTime::now();
        metrics.users.count(&"ben".into(), |numbers| numbers.last_login = Some(now));
        assert_eq!(recall(&path, &metrics.users, WITHIN, GivenUp::default()).unwrap(), None);
        let text = metrics.render(true);
        let value = |family: &str, user: &str| {
            let start = format!("lockgate_{family}_timestamp_seconds{{user=\"{user}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<f64>().ok())
        };
        let seconds = |hours| Some(ago(hours).timestamp() as f64);
        assert!((value("last_upload", "ann").unwrap() - seconds(70).unwrap()).abs() < 60.0, "{text}");
        assert!((value("last_login", "ann").unwrap() - seconds(90).unwrap()).abs() < 60.0, "{text}");
        assert!(value("last_login", "ben") > seconds(1), "{text}");
        assert_eq!([value("last_upload", "ben"), value("last_upload", "old"), value("last_login", "carl")], [None; 3]);
        assert!(!text.contains("\"old\"") && !text.contains("\"carl\""), "{text}");
        // Without time for it, it says so.
        assert!(recall(&path, &metrics.users, Duration::ZERO, GivenUp::default()).unwrap().is_some());
    }
}
