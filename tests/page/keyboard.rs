//! The keyboard alone is enough.

use crate::browser::{Browser, DOWN, ENTER, ESCAPE, HOME, RIGHT, TAB};
use crate::place::Place;
use crate::support::events::field;
use crate::support::process::{LIMIT, Running};
use crate::support::sftp::Sftp;

/// Walks on until the focus is at an element that fits, which shows that it is there.
#[track_caller]
fn walk_to(browser: &Browser, css: &str) {
    let mut way = Vec::new();
    for _ in 0..60 {
        let script = format!(
            "return document.activeElement.matches({css:?}) && document.activeElement.matches(':focus-visible')"
        );
        if browser.script(&script) == true {
            return;
        }
        way.push(browser.script("return document.activeElement.outerHTML.slice(0, 60)"));
        browser.keys(TAB);
    }
    panic!("no way leads to {css}, but through {way:#?}");
}

#[test]
fn the_keyboard_alone_logs_in_reads_and_ends_a_session() {
    let place = Place::start();
    let mut command = place.alice.command("ssh");
    let waiting = Running::start(command.arg("-s").arg(place.alice.host()).arg("sftp"));
    place.gateway.events.await_event("CONNECTED", |_| true);
    let browser = Browser::start();
    place.open(&browser, "/");
    browser.await_text("main", "Log in with a token");
    browser.keys(&place.tokens[2]);
    browser.keys(ENTER);
    browser.await_text(".session", "alice");
    walk_to(&browser, "#bar nav a[href='/events']");
    browser.keys(ENTER);
    browser.await_text(".list.events", "Logged in");
    walk_to(&browser, ".list.events");
    browser.keys(&format!("{DOWN}{DOWN}"));
    browser.await_value("active row", "document.querySelector('.row.active')?.dataset.index === '1'");
    let named = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.classList.contains('active')";
    browser.await_value("row that a screen reader is told of", named);
    browser.keys(ENTER);
    browser.await_text(".details", "event-id");
    browser.keys(ESCAPE);
    browser.await_value("list again", "document.activeElement.matches('.list.events')");
    walk_to(&browser, "#bar .ready, #bar .brand");
    browser.keys(ENTER);
    browser.await_text(".session", "alice");
    walk_to(&browser, ".session button.danger");
    browser.keys(ENTER);
    browser.await_text("dialog", "End the session of alice?");
    browser.keys("told by keyboard");
    browser.keys(ENTER);
    waiting.finish(LIMIT).failed().says("told by keyboard");
    let ended = place.gateway.events.await_event("DISCONNECTED", |event| field(event, "reason") == "administrator");
    assert_eq!(field(&ended, "ended-by"), "operator");
    place.assert_clean(&browser);
}

#[test]
fn the_keyboard_alone_opens_a_session_plays_it_and_ends_it() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/orders.csv", &[7; 5000]);
    // The slider counts milliseconds: each of its steps is to be some.
    std::thread::sleep(std::time::Duration::from_secs(1));
    alice.rename("/orders.csv", "/done.csv").unwrap();
    let handle = alice.create("/half-way.csv");
    alice.write(&handle, 0, &[7; 5000]).unwrap();
    let browser = Browser::start();
    place.open(&browser, "/events?view=logins");
    browser.await_text("main", "Log in with a token");
    walk_to(&browser, "input");
    browser.keys(&place.tokens[2]);
    browser.keys(ENTER);
    browser.await_text(".list.events", "Logged in");
    walk_to(&browser, ".list.events");
    browser.keys(&format!("{DOWN}{ENTER}"));
    browser.await_text(".details", "event-id");
    walk_to(&browser, ".details a[href^='/sessions/']");
    browser.keys(ENTER);
    browser.await_text("h1", "Session of alice");
    browser.await_text(".steps", "/half-way.csv");
    let current = |index: usize| {
        let is_there = format!("document.querySelector('.row.current')?.dataset.index === '{index}'");
        browser.await_value(&format!("event {index}"), &is_there);
    };
    // The list: to the first event, and on.
    walk_to(&browser, ".list.steps");
    browser.keys(&format!("{HOME}{ENTER}"));
    current(0);
    walk_to(&browser, ".player button[aria-label='One event on']");
    browser.keys(ENTER);
    current(1);
    // The slider: to the beginning, and on by arrows, in steps that lead somewhere.
    walk_to(&browser, ".player input[type=range]");
    browser.keys(HOME);
    current(0);
    let slider = "document.querySelector('.player input[type=range]')";
    browser.keys(RIGHT);
    browser.await_value("a step of the slider", &format!("{slider}.value > 0"));
    let part = browser.script(&format!("return {slider}.value / {slider}.max")).as_f64().unwrap();
    assert!((0.01..0.04).contains(&part), "{part}");
    browser.keys(&RIGHT.repeat(60));
    current(4);
    walk_to(&browser, ".player select");
    browser.keys(DOWN);
    browser.await_value("double speed", "document.querySelector('.player select').value === '2'");
    walk_to(&browser, ".player input[type=checkbox]");
    browser.keys(" ");
    browser.await_value("pauses as they were", "!document.querySelector('.player input[type=checkbox]').checked");
    browser.keys(" ");
    // From the beginning to the end by itself.
    walk_to(&browser, ".player .play");
    browser.keys(ENTER);
    browser.await_value("end", "document.querySelector('.player .play').innerText === 'Play' && document.querySelectorAll('.row.later').length === 0");
    for format in ["json", "asciicast", "text"] {
        walk_to(&browser, &format!("a[href$='format={format}']"));
    }
    walk_to(&browser, "section[aria-label=Now] button.danger");
    browser.keys(ENTER);
    browser.await_text("dialog", "End the session of alice?");
    browser.keys("told by keyboard");
    browser.keys(ENTER);
    let ended = place.gateway.events.await_event("DISCONNECTED", |event| field(event, "reason") == "administrator");
    assert_eq!((field(&ended, "ended-by"), field(&ended, "message")), ("operator", "told by keyboard"));
    browser.await_text(".steps", "Cut off");
    place.assert_clean(&browser);
}

#[test]
fn the_keyboard_alone_filters_follows_exports_and_verifies() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/orders.csv", b"content");
    alice.put("/notes.txt", b"content");
    let browser = Browser::start();
    place.open(&browser, "/events?view=files");
    browser.await_text("main", "Log in with a token");
    walk_to(&browser, "input");
    browser.keys(&place.tokens[2]);
    browser.keys(ENTER);
    browser.await_text(".list.events", "/notes.txt");
    // Filters: a text, and a choice.
    walk_to(&browser, "input[name=path]");
    browser.keys("/*.csv");
    browser.keys(ENTER);
    browser.await_text(".tools", "All 2");
    walk_to(&browser, "select[name=activity]");
    browser.keys("CLOSE");
    browser.await_text(".tools", "All 1");
    assert!(browser.address().ends_with("/events?view=files&activity=CLOSE&path=%2F*.csv"), "{}", browser.address());
    // The tail: not while it is off, and all that came meanwhile when it is on again.
    walk_to(&browser, "button.toggle");
    browser.keys(" ");
    browser.await_value("tail that is off", "document.querySelector('.toggle').ariaPressed === 'false'");
    alice.put("/meanwhile.csv", b"content");
    place.gateway.events.await_event("CLOSE", |event| field(event, "logical-path") == "/meanwhile.csv");
    assert!(!browser.await_text(".list.events", "/orders.csv").contains("/meanwhile.csv"));
    browser.keys(" ");
    browser.await_text(".list.events", "/meanwhile.csv");
    alice.put("/live.csv", b"content");
    browser.await_text(".list.events", "/live.csv");
    // What is filtered, as a file.
    walk_to(&browser, "button[aria-label='Export as CSV']");
    browser.keys(ENTER);
    let exported = std::fs::read_to_string(browser.download(".csv")).unwrap();
    let has = |path: &str| exported.contains(path);
    assert!(has("/orders.csv") && has("/live.csv") && !has("/notes.txt"), "{exported}");
    // The trail.
    walk_to(&browser, "#bar nav a[href='/trail']");
    browser.keys(ENTER);
    browser.await_text(".verify", "Verify now");
    walk_to(&browser, ".verify button");
    browser.keys(ENTER);
    browser.await_text(".verdict.good", "The trail is whole.");
    place.assert_clean(&browser);
}
