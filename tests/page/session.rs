//! A session and its recording; a partner; the trail.

use crate::browser::{DOWN, ENTER};
use crate::place::Place;
use crate::support::events::field;
use crate::support::process::{LIMIT, run};
use crate::support::setup::User;
use crate::support::sftp::Sftp;

#[test]
fn a_session_is_opened_and_played() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/orders.csv", &[7; 5000]);
    alice.rename("/orders.csv", "/done.csv").unwrap();
    let _ = alice.remove("/nothing").unwrap_err();
    drop(alice);
    place.gateway.events.await_disconnected(1);
    let browser = place.browser();
    place.open(&browser, "/events?view=logins");
    browser.click(".list.events .rows .row");
    browser.click(".details a[href^='/sessions/']");
    browser.await_text("h1", "Session of alice");
    browser.await_text(".file-list", "/orders.csv");
    browser.await_text(".file-list", "sha256");
    let steps = place.gateway.events.all();
    let steps = steps.iter().filter(|event| field(event, "session-id") == field(&steps[1], "session-id")).count();
    assert!(steps >= 5, "{steps}");
    assert_eq!(browser.count(".steps .rows .row"), steps as u64);
    assert_eq!(browser.count(".steps .row.later"), 0, "all of it has happened");
    // A jump to the first event; the others are to come.
    browser.click(".steps .rows .row");
    browser.await_value(
        "other events to come",
        &format!("document.querySelectorAll('.row.later').length === {}", steps - 1),
    );
    browser.click(".player button[aria-label='One event on']");
    browser.await_value("one event less", &format!("document.querySelectorAll('.row.later').length === {}", steps - 2));
    // It plays to its end by itself.
    browser.click(".player .play");
    browser.await_value("end", "document.querySelectorAll('.row.later').length === 0");
    browser.await_text(".player .play", "Play");
    // The keyboard jumps too.
    browser.script("document.querySelector('.list.steps').focus()");
    browser.keys("\u{e011}");
    browser.keys(DOWN);
    browser.keys(ENTER);
    browser.await_value("second event", "document.querySelector('.row.current')?.dataset.index === '1'");
    for (format, start) in [("asciicast", "{\"version\":2"), ("json", "{\"session\"")] {
        let address = browser.script(&format!(
            "return fetch(document.querySelector(\"a[href$='format={format}']\").href).then((answer) => answer.text())"
        ));
        let flat = address.as_str().unwrap().replace(' ', "");
        assert!(flat.contains("version\":2") || flat.starts_with(start), "{flat:.200}");
    }
    place.assert_clean(&browser);
}

#[test]
fn a_live_session_goes_on_while_one_looks() {
    let place = Place::start();
    let browser = place.browser();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    browser.click(".session .acts a");
    browser.await_text("main", "● Live");
    browser.await_text(".steps", "Logged in");
    alice.put("/orders.csv", &[7; 5000]);
    browser.await_text(".steps .row.current", "/orders.csv");
    browser.await_text(".file-list", "/orders.csv");
    // Who has gone back stays there.
    browser.click(".steps .rows .row");
    alice.put("/more.csv", &[7; 5000]);
    browser.await_text(".steps .row.later", "/more.csv");
    assert_eq!(browser.script("return document.querySelector('.row.current').dataset.index"), "0");
    drop(alice);
    browser.await_text("dl", "client");
    browser.await_text(".steps", "Disconnected");
    browser.await_value("session that lives no more", "document.querySelector('section[aria-label=Now]').hidden");
    place.assert_clean(&browser);
}

#[test]
fn a_partner_view_says_why_somebody_cannot_log_in() {
    let mut other = None;
    let place = Place::start_with(|setup| {
        let key = setup.key("bob");
        setup.user(User::new("bob").key(&key).home("/", "main:/bob").set("enabled", false));
        other = Some(key);
    });
    let bob = place.gateway.client("bob", &other.unwrap());
    run(bob.command("sftp").arg(bob.host())).failed();
    drop(Sftp::connect(&place.alice, LIMIT));
    let browser = place.browser();
    browser.click("#bar nav a[href='/partners']");
    browser.fill("input[type=search]", "bo");
    browser.await_text(".partners", "disabled");
    browser.click(".partners a");
    browser.await_text(".verdict", "bob cannot log in.");
    browser.await_text(".verdict", "The user is disabled");
    browser.await_text(".attempts", "user-disabled");
    place.open(&browser, "/partners/alice");
    browser.await_text(".verdict", "alice can log in.");
    browser.await_text(".attempts", "Logged in");
    place.open(&browser, "/partners/nobody%2Fhere");
    browser.await_text(".verdict", "nobody/here cannot log in.");
    browser.await_text(".verdict", "No source has a user of this name.");
    place.assert_clean(&browser);
}

/// Whoever watches a verification does not fill the trail with calls.
#[test]
fn a_verification_moves_on_without_a_call() {
    let place = Place::start();
    let browser = place.browser();
    // The trail and the state of the gateway as during a long verification.
    browser.script(
        "const real = window.fetch;
         window.asked = 0;
         window.far = { started: '2100-01-01T00:00:00.000Z', bytes_read: 25e8, bytes_total: 1e10, files: 1, files_total: 1 };
         window.fetch = async (address, options) => {
           const answer = await real(address, options);
           if (!String(address).endsWith('/api/v1/trail')) return answer;
           window.asked += 1;
           const trail = await answer.json();
           trail.verification = { by: 'ann', bytes: 0, signatures: true, ...window.far };
           return Response.json(trail);
         };
         window.EventSource = class extends EventSource {
           addEventListener(kind, act) {
             const changed = (event) => act({ lastEventId: '', data: JSON.stringify({ ...JSON.parse(event.data), verification: window.far }) });
             super.addEventListener(kind, kind === 'now' ? changed : act);
           }
         };
         for (const hidden of [true, false]) {
           Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
           document.dispatchEvent(new Event('visibilitychange'));
         }",
    );
    browser.click("#bar nav a[href='/trail']");
    browser.await_text(".verify", "Verifying…");
    browser.await_value("a quarter", "document.querySelector('.verify + progress')?.value === 0.25");
    browser.script("window.far.bytes_read = 75e8");
    browser.await_value("three quarters", "document.querySelector('.verify + progress')?.value === 0.75");
    assert_eq!(browser.script("return window.asked"), 1);
    browser.script("Object.assign(window.far, { finished: '2100-01-01T01:00:00.000Z', whole: true })");
    browser.await_text(".verdict.good", "The trail is whole.");
    assert_eq!(browser.script("return window.asked"), 2);
    place.assert_clean(&browser);
}

#[test]
fn the_trail_is_verified_and_a_changed_line_shows() {
    let place = Place::start();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.put("/orders.csv", &[7; 5000]);
    drop(alice);
    place.gateway.events.await_disconnected(1);
    let browser = place.browser();
    browser.click("#bar nav a[href='/trail']");
    browser.await_text("main", "✓ signed");
    browser.await_text(".parts", "e.ndjson");
    browser.await_text("dl", "Newest event");
    browser.click(".verify button");
    browser.await_text(".verdict.good", "The trail is whole.");
    browser.await_text(".verdict.good", "Signatures were checked.");
    browser.picture(&crate::place::pictures().join("verified-1600-light.png"));
    // Somebody makes another file of what was uploaded.
    let trail = place.trail();
    let text = std::fs::read_to_string(&trail).unwrap();
    std::fs::write(&trail, text.replacen("/orders.csv", "/0rders.csv", 1)).unwrap();
    browser.click(".verify button");
    browser.await_text(".verdict.bad", "The trail is not whole");
    let event = place.gateway.events.await_event("ADMIN_CALL", |event| field(event, "path") == "/api/v1/trail/verify");
    assert_eq!(field(&event, "caller"), field(&place.gateway.events.of_type("ADMIN_CALL")[0], "caller"));
    browser.picture(&crate::place::pictures().join("not-whole-1600-light.png"));
    place.assert_clean(&browser);
}
