//! A partner: what has come from there lately, and for how long nothing has.

use std::fs;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::old::{event, place_with};
use crate::place::Place;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, run};
use crate::support::setup::User;
use crate::support::sftp::Sftp;

/// The files of the partner who is shown, when the search for them has ended.
#[track_caller]
fn files_of(browser: &Browser) -> String {
    let all = "[...document.querySelectorAll('.partner section')].map((one) => one.innerText).join('\\n')";
    let found = format!(
        "((all) => all.includes('Files of the last 7 days') && !all.includes('Searching the trail') ? all : null)({all})"
    );
    browser.await_value("files of the last days", &found).as_str().unwrap_or_default().to_owned()
}

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
        files_of(&browser)
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

/// Who has two keys, one of them revoked, can log in with the other one only.
#[test]
fn a_revoked_key_and_a_second_factor_are_shown() {
    let place = Place::start_with(|setup| {
        let second = setup.key("second");
        setup.config["users"][0]["public_keys"].as_array_mut().unwrap().push(json!(second.public));
        setup.user(User::new("coded").key(&second).home("/", "main:/").set("totp", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"));
        fs::write(setup.folder().join("revoked"), "# nobody yet\n").unwrap();
        setup.config["revoked_keys"] = json!([setup.folder().join("revoked")]);
    });
    drop(Sftp::connect(&place.alice, LIMIT));
    place.gateway.events.await_disconnected(1);
    let browser = place.browser();
    place.open(&browser, "/partners/alice");
    browser.await_text(".verdict.good", "alice can log in.");
    let first = place.setup.config["users"][0]["public_keys"][0].as_str().unwrap();
    fs::write(place.setup.folder().join("revoked"), format!("{first}\n")).unwrap();
    let config = place.setup.folder().join("config.yaml");
    run(lockgate().args(["reload", "--config"]).arg(config)).succeeded();
    place.open(&browser, "/partners/alice");
    let said = browser.await_text(".verdict.waits", "alice can log in, but not with every key.");
    assert!(said.contains("is revoked (revoked_keys); it was the key of the last login."), "{said}");
    let keys = browser.await_text(".keys", "revoked");
    assert_eq!(keys.matches("⊘ revoked").count(), 1, "{keys}");
    let facts = browser.await_text("dl", "Second factor");
    assert!(facts.contains("Second factor\nnone"), "{facts}");
    place.open(&browser, "/partners/coded");
    browser.await_text("dl", "one-time code (TOTP)");
    place.assert_clean(&browser);
}

/// One call searches for five seconds, and may find nothing although there is something further back.
#[test]
fn an_empty_page_is_no_silence() {
    let more = json!({
        "user": "acme", "session-id": "0049cd844c7536c06a89", "logical-path": "/far-back.csv", "operation": "write", "status": "success",
        "bytes-in": "2048",
    });
    let place = place_with(&[event(Utc::now() - TimeDelta::hours(30), 1, "CLOSE", more)]);
    let browser = place.browser();
    place.open(&browser, "/partners");
    browser.await_text("main", "Look up");
    // The first answer is that of a search that ended before it found anything.
    browser.script(
        "const [real, asked] = [window.fetch, []];
         window.asked = asked;
         window.fetch = (address, options) => {
           if (!String(address).includes('/events?')) return real(address, options);
           asked.push(String(address));
           if (asked.length > 1) return real(address, options);
           const next = '<?before=ffffffff-ffff-7fff-8000-000000000000>; rel=\"next\"';
           return Promise.resolve(new Response('', { headers: { Link: next } }));
         };",
    );
    browser.fill("main input[type=search]", "acme");
    browser.click("main form button");
    let shown = files_of(&browser);
    assert!(shown.contains("The last file was 30 h ago.") || shown.contains("/far-back.csv"), "{shown}");
    assert!(!shown.contains("No file in the last 7 days."), "{shown}");
    let asked = browser.script("return window.asked");
    assert_eq!(asked.as_array().unwrap().len(), 2, "{asked}");
    assert!(asked[1].as_str().unwrap().contains("before=ffffffff-ffff"), "{asked}");
    place.assert_clean(&browser);
}
