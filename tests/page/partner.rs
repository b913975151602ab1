//! A partner: what has come from there lately, and for how long nothing has.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::old::{event, place_with};

#[test]
fn the_files_of_the_last_days_are_shown_and_silence_too() {
    let now = Utc::now();
    let file = |user: &str, hours: i64, activity: &str, path: &str| {
        let status = if activity == "CLOSE" { "success" } else { "failure" };
        let more = json!({
            "user": user, "session-id": "0049cd844c7536c06a89", "logical-path": path, "operation": "write", "status": status, "bytes-in": "2048",
        });
        event(now - TimeDelta::hours(hours), 1, activity, more)
    };
    let events: Vec<Value> = vec![
        file("acme", 24 * 9, "CLOSE", "/too-old.csv"),
        file("globex", 24 * 8, "CLOSE", "/last-of-globex.csv"),
        file("acme", 24 * 6, "CLOSE", "/six-days.csv"),
        file("initech", 24 * 2, "PARTIAL_CLOSE", "/half.csv"),
        file("acme", 3, "CLOSE", "/new.csv"),
        file("acme", 2, "PARTIAL_CLOSE", "/cut-off.csv"),
    ];
    let place = place_with(&events);
    let browser = place.browser();
    let files = |user: &str| {
        place.open(&browser, &format!("/partners/{user}"));
        browser.await_text(".partner section", "Files of the last 7 days")
    };
    let shown = files("acme");
    assert!(shown.contains("The last file was 3 h ago."), "{shown}");
    for path in ["Uploaded /six-days.csv", "Uploaded /new.csv", "Cut off /cut-off.csv"] {
        assert!(shown.contains(path), "{path} is not in {shown}");
    }
    assert!(!shown.contains("/too-old.csv"), "{shown}");
    let order = ["/cut-off.csv", "/new.csv", "/six-days.csv"].map(|path| shown.find(path));
    assert!(order.is_sorted(), "the newest first: {shown}");
    // When exactly is shown on hover, in UTC.
    let title = browser.await_value("time", "document.querySelector('.partner p.soft time')?.title");
    let at = events[4]["timestamp"].as_str().unwrap();
    assert_eq!(title, format!("{} UTC", at.replace('T', " ").replace('Z', "")));
    let links = "[...document.querySelectorAll('.file-list a')].every((link) => link.pathname === '/sessions/0049cd844c7536c06a89')";
    assert_eq!(browser.script(&format!("return {links}")), true);
    // Nothing came; or nothing that is whole.
    let shown = files("globex");
    assert!(shown.contains("No file in the last 7 days.") && !shown.contains("last-of-globex"), "{shown}");
    let shown = files("initech");
    assert!(shown.contains("No file in the last 7 days.") && shown.contains("Cut off /half.csv"), "{shown}");
    place.assert_clean(&browser);
}
