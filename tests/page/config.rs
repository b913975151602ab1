//! The configuration: what is in force, what waits, and a reload.

use std::fs;

use serde_json::json;

use crate::place::Place;
use crate::place::pictures;

#[test]
fn the_page_shows_what_is_in_force_and_what_waits_and_reloads() {
    let mut place = Place::start();
    let browser = place.browser();
    place.open(&browser, "/config");
    browser.await_text(".config-said", "The file is in force");
    let shown = browser.await_text(".config", "public_keys");
    assert!(shown.contains("(masked)") && !shown.contains("sha256:"), "{shown}");
    place.setup.config["stores"]["spare"] = json!({ "url": "memory:///" });
    place.setup.config["limits"]["sessions"] = json!(7);
    place.setup.write_config();
    browser.click(".tools button:not(.primary)");
    browser.await_text(".config-said", "A reload changes stores");
    browser.await_text(".config-said", "Only a restart changes limits");
    browser.await_text(".config", "waits for a restart");
    // As large as the others in the README.
    browser.size(1160, 660);
    browser.picture(&pictures().join("config-waits.png"));
    browser.click(".tools button.primary");
    browser.await_text("#toasts", "The configuration was reloaded.");
    browser.await_value(
        "reload that is done",
        "!document.querySelector('.config-said').innerText.includes('A reload changes')",
    );
    browser.await_text(".config", "spare");
    fs::write(place.setup.folder().join("config.yaml"), "server: 7\n").unwrap();
    browser.click(".tools button:not(.primary)");
    browser.await_text(".config-said", "The file cannot be used as it is now");
    place.assert_clean(&browser);
}

/// A stream that is closed while the page asks why it was refused stays closed.
#[test]
fn a_stream_that_is_closed_while_it_is_tried_again_stays_closed() {
    let place = Place::start();
    let browser = place.browser();
    place.open(&browser, "/events");
    browser.await_text("main", "All ");
    // Streams of events that are refused, and a gateway that is slow to say why.
    browser.script(
        "window.streams = 0; window.asked = [];
         window.EventSource = class extends EventTarget {
           constructor(address) { super(); if (address.includes('/events/')) window.streams += 1;
             this.readyState = 1; this.onopen = this.onerror = null;
             setTimeout(() => { this.readyState = 2; this.onerror?.(); }, 0); }
           close() { this.readyState = 2; } };
         window.EventSource.CLOSED = 2;
         const fetched = window.fetch;
         window.fetch = (path, options) => path.endsWith('/me')
           ? new Promise((resolve, reject) => window.asked.push({ resolve, reject })) : fetched(path, options);",
    );
    let stays_closed = |answer: &str| {
        let streams = browser.script("return window.streams");
        browser.script(answer);
        // Longer than the pauses before the next tries.
        browser.script("window.later = false; setTimeout(() => { window.later = true; }, 5000)");
        browser.await_value("moment later", "window.later");
        assert_eq!(browser.script("return [window.streams, window.asked.length]"), json!([streams, 0]), "{answer}");
    };
    // It follows from the start on: not, and again.
    browser.click(".tools .toggle");
    browser.click(".tools .toggle");
    browser.await_value("question why", "window.asked.length > 0");
    assert_eq!(browser.script("return window.streams"), 1);
    // Another view.
    browser.click("#bar nav a[href='/partners']");
    browser.await_text("main", "Login name");
    stays_closed("window.asked.shift().resolve(new Response('{}', { status: 200 }))");
    // Back, where the view follows by itself; and then no more.
    browser.click("#bar nav a[href='/events']");
    browser.await_value("question why", "window.asked.length > 0");
    browser.click(".tools .toggle");
    stays_closed("window.asked.shift().reject(new TypeError('gone'))");
    // An open one is tried again.
    browser.click(".tools .toggle");
    browser.await_value("question why", "window.asked.length > 0");
    let streams = browser.script("return window.streams").as_u64().unwrap();
    browser.script("window.asked.shift().resolve(new Response('{}', { status: 200 }))");
    browser.await_value("another try", &format!("window.streams > {streams}"));
}

/// What has no file that could be read again says so.
#[test]
fn a_gateway_without_a_file_has_nothing_to_reload() {
    let place = Place::start();
    let browser = place.browser();
    place.open(&browser, "/config");
    browser.await_text(".config-said", "The file is in force");
    // As a demo answers.
    browser.script(
        "const fetched = window.fetch;
         window.fetch = async (path, options) => {
           const answer = await fetched(path, options);
           if (!path.endsWith('/config')) return answer;
           return new Response(JSON.stringify({ ...await answer.json(), has_file: false }), { status: 200 });
         };",
    );
    browser.click(".tools button:not(.primary)");
    browser.await_text(".config-said", "reads no file again");
    assert_eq!(browser.script("return document.querySelector('.tools button.primary').checkVisibility()"), false);
    assert!(!browser.await_text(".config", "stores").is_empty(), "what is in force is shown");
    // Not now, is no word about the file.
    browser.script(
        "window.fetch = async () => new Response(JSON.stringify({ detail: 'the configuration takes long to read' }), { status: 503 });",
    );
    browser.click(".tools button:not(.primary)");
    browser.await_text(".config-said", "takes long to read");
    assert!(!browser.await_text("main", "Configuration").contains("cannot be used"));
}

/// A trail that cannot be read is said, and asked for once and not without end.
#[test]
fn a_trail_that_cannot_be_read_stops_the_live_view_and_says_so() {
    let place = Place::start();
    let browser = place.browser();
    place.open(&browser, "/events");
    browser.await_text("main", "All ");
    // As an event stream of the gateway would say it.
    browser.script(
        "window.streams = 0;
         window.EventSource = class extends EventTarget {
           constructor() { super(); window.streams += 1; this.readyState = 1; this.onopen = this.onerror = null;
             setTimeout(() => { this.onopen?.();
               this.dispatchEvent(new MessageEvent('gap', { data: '{\"detail\":\"x\"}' }));
               this.dispatchEvent(new MessageEvent('failed', { data: '{\"detail\":\"the disk is gone\"}' }));
               this.readyState = 0; this.onerror?.(); }, 0); }
           close() { this.readyState = 2; } };",
    );
    browser.click(".tools .toggle");
    browser.click(".tools .toggle");
    browser.await_text(".error", "The trail cannot be read, so live events have stopped: the disk is gone.");
    assert_eq!(browser.script("return document.querySelector('.toggle').getAttribute('aria-pressed')"), "false");
    // Coming back to the page does not begin again by itself; the button does.
    browser.script("document.dispatchEvent(new Event('visibilitychange'))");
    assert_eq!(browser.script("return window.streams"), 1);
    browser.click(".tools .toggle");
    browser.await_value("another try", "window.streams === 2");
}
