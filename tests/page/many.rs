//! A hundred thousand events in one list.

use std::fs;

use crate::browser::END;
use crate::place::Place;
use crate::support::process::{LIMIT, until};

const EVENTS: usize = 100_000;

/// The most rows that may exist at once, at this height.
const ROWS: u64 = 120;

#[test]
fn a_hundred_thousand_events_are_windowed() {
    let place = Place::start_with(|setup| {
        // A trail that was there before.
        let line = |number: usize| {
            let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
            format!(
                "{{\"logical-path\":\"/f-{number}\",\"path\":\"/main/f-{number}\",\"activity-type\":\"DELETE\",\"timestamp\":\"2026-01-{:02}T{hour:02}:{minute:02}:{second:02}.000Z\",\"event-id\":\"019b0000-{:04x}-7000-8000-{number:012x}\",\"user\":\"old\",\"status\":\"success\"}}\n",
                number / 86_400 + 1,
                number >> 8,
            )
        };
        let all: String = (0..EVENTS).map(line).collect();
        fs::write(setup.folder().join("events/e.ndjson"), all).unwrap();
        setup.config.as_object_mut().unwrap().remove("audit");
    });
    let browser = place.browser();
    place.open(&browser, "/events?user=old");
    let rows = ".list.events .rows .row";
    browser.await_text(rows, &format!("/f-{}", EVENTS - 1));
    browser.script("document.querySelector('.list.events').focus()");
    until("last event", LIMIT, || {
        browser.keys(END);
        assert!(browser.count(rows) <= ROWS);
        (browser.script("return document.querySelector('.tools [role=status]').textContent") == "All 100,000")
            .then_some(())
    });
    browser.keys(END);
    browser.await_text(rows, "/f-0");
    assert!(browser.count(rows) <= ROWS && browser.count("main *") < 2000);
    // Through all of it: each time the rows in sight are there.
    for part in 0..50 {
        let script = format!(
            "const list = document.querySelector('.list.events');
             list.scrollTop = list.scrollHeight * {part} / 50;
             return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {{
               const box = list.getBoundingClientRect();
               done(document.elementFromPoint(box.left + 60, box.top + box.height / 2).closest('.row')?.dataset.index ?? null);
             }})))"
        );
        let shown = browser.script(&script);
        assert!(shown.is_string(), "nothing is in sight at {part}/50");
        assert!(browser.count(rows) <= ROWS);
    }
    place.assert_clean(&browser);
}
