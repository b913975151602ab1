//! The player of a session's timeline: its own timing, speeds, pauses and jumps, by a clock that the test moves.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::browser::Browser;
use crate::old::{event, place_with};

const SESSION: &str = "0049cd844c7536c06a89";

/// Time passes only as far as `pass` says.
const CLOCK: &str = "
    window.moment = 1000; window.due = new Map(); window.last = 0;
    performance.now = () => window.moment;
    window.requestAnimationFrame = (act) => { window.last += 1; window.due.set(window.last, act); return window.last; };
    window.cancelAnimationFrame = (number) => window.due.delete(number);
    window.pass = (ms) => {
      window.moment += ms;
      const acts = [...window.due.values()];
      window.due.clear();
      for (const act of acts) act(window.moment);
    };
    window.seek = (ms) => {
      const slider = document.querySelector('.player input[type=range]');
      slider.value = String(ms);
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    };";

/// Where it is, and which event is the last that has happened.
#[track_caller]
fn assert_at(browser: &Browser, position: &str, index: usize) {
    // What is drawn with the next frame is drawn.
    browser.script("window.pass(0)");
    let shown = browser.script(
        "return [document.querySelector('.player .position').innerText, document.querySelector('.row.current')?.dataset.index,
           document.querySelectorAll('.row.later').length]",
    );
    assert_eq!(shown, json!([format!("{position} / 1:10.500"), index.to_string(), 4 - index]));
}

fn pass(browser: &Browser, ms: u32) {
    browser.script(&format!("window.pass({ms})"));
}

#[test]
fn it_plays_with_its_own_timing_at_each_speed_pauses_and_jumps() {
    let began: DateTime<Utc> = "2026-01-01T08:00:00Z".parse().unwrap();
    let step = |ms: i64, activity: &str, mut more: serde_json::Value| {
        for (name, value) in [("session-id", SESSION), ("user", "old"), ("source-ip", "192.0.2.7")] {
            more[name] = json!(value);
        }
        event(began + TimeDelta::milliseconds(ms), ms as usize, activity, more)
    };
    let place = place_with(&[
        step(0, "CONNECTED", json!({ "method": "publickey" })),
        step(2000, "OPEN", json!({ "logical-path": "/a", "operation": "write", "status": "success" })),
        step(
            10_000,
            "CLOSE",
            json!({ "logical-path": "/a", "operation": "write", "status": "success", "bytes-in": "7" }),
        ),
        step(70_000, "LIST", json!({ "logical-path": "/", "status": "success" })),
        step(70_500, "DISCONNECTED", json!({ "reason": "client", "duration-ms": 70_500 })),
    ]);
    let browser = place.browser();
    place.open(&browser, &format!("/sessions/{SESSION}"));
    browser.await_text(".player .position", "1:10.500 / 1:10.500");
    browser.script(CLOCK);
    let play = || browser.click(".player .play");
    let says =
        |word: &str| assert_eq!(browser.script("return document.querySelector('.player .play').innerText"), word);
    let speed = |times: u32| {
        browser.script(&format!(
            "const speed = document.querySelector('.player select'); speed.value = '{times}';
             speed.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ));
    };

    // As fast as it was.
    browser.script("window.seek(0)");
    browser.click(".player .short input");
    play();
    says("Pause");
    pass(&browser, 1999);
    assert_at(&browser, "0:01.999", 0);
    pass(&browser, 1);
    assert_at(&browser, "0:02.000", 1);
    // It rests.
    play();
    says("Play");
    pass(&browser, 60_000);
    assert_at(&browser, "0:02.000", 1);
    // Eight times as fast; other speeds hold from the moment on.
    speed(8);
    play();
    pass(&browser, 999);
    assert_at(&browser, "0:09.992", 1);
    pass(&browser, 1);
    assert_at(&browser, "0:10.000", 2);
    speed(2);
    pass(&browser, 1000);
    assert_at(&browser, "0:12.000", 2);
    // A jump while it plays: it goes on from there; back as well.
    browser.script("window.seek(69000)");
    assert_at(&browser, "1:09.000", 2);
    pass(&browser, 500);
    assert_at(&browser, "1:10.000", 3);
    browser.script("window.seek(2500)");
    assert_at(&browser, "0:02.500", 1);
    says("Pause");
    // A long pause takes a second, and a short one as long as it was.
    speed(1);
    browser.click(".player .short input");
    browser.script("window.seek(10000)");
    pass(&browser, 500);
    assert_at(&browser, "0:40.000", 2);
    pass(&browser, 500);
    assert_at(&browser, "1:10.000", 3);
    pass(&browser, 499);
    assert_at(&browser, "1:10.499", 3);
    pass(&browser, 1);
    assert_at(&browser, "1:10.500", 4);
    says("Play");
    // From the end it begins anew; a step holds it.
    play();
    assert_at(&browser, "0:00.000", 0);
    browser.click(".player button[aria-label='One event on']");
    assert_at(&browser, "0:02.000", 1);
    says("Play");
    pass(&browser, 5000);
    assert_at(&browser, "0:02.000", 1);
    browser.click(".player button[aria-label='One event back']");
    assert_at(&browser, "0:00.000", 0);
    place.assert_clean(&browser);
}
