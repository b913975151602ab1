//! The keyboard alone is enough.

use crate::browser::{Browser, DOWN, ENTER, ESCAPE, TAB};
use crate::place::Place;
use crate::support::events::field;
use crate::support::process::{LIMIT, Running};

/// Walks on until the focus is at an element that fits, which shows that it is there.
#[track_caller]
fn walk_to(browser: &Browser, css: &str) {
    for _ in 0..60 {
        let script = format!(
            "return document.activeElement.matches({css:?}) && document.activeElement.matches(':focus-visible')"
        );
        if browser.script(&script) == true {
            return;
        }
        browser.keys(TAB);
    }
    panic!("no way leads to {css}");
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
