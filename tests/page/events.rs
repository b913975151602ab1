//! Events: filtered, shared by their address, followed live, exported.

use std::fs;

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
    assert!(table.starts_with("timestamp,activity-type,"), "{table}");
    assert!(table.contains("\"/=1+1,\"\"x\"\".csv\""), "{table}");
    // The API gives the same table.
    let query = "return fetch('/api/v1/events?activity=open,close&format=csv').then((answer) => answer.text())";
    assert_eq!(browser.script(query), table);
}
