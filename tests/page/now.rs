//! Now: who is here, what moves, what fails, and how a session is ended.

use std::fs;

use crate::place::Place;
use crate::support::events::field;
use crate::support::process::{LIMIT, Running, until};
use crate::support::sftp::Sftp;

#[test]
fn a_transfer_moves_and_an_administrator_ends_a_session_with_a_reason() {
    let place = Place::start();
    let browser = place.browser();
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    let handle = alice.create("/orders-2026-11.csv");
    alice.write(&handle, 0, &[7; 100_000]).unwrap();
    browser.await_text(".file", "receives");
    browser.await_text(".file", "/orders-2026-11.csv");
    browser.await_text(".file", "97.7 KiB");
    browser.script("window.same = document.querySelector('.session')");
    alice.write(&handle, 100_000, &[7; 2_000_000]).unwrap();
    browser.await_text(".file", "2.0 MiB");
    assert_eq!(browser.script("return window.same.isConnected"), true, "rows stay, so that focus and selection do");
    alice.close(&handle).unwrap();
    drop(alice);
    browser.await_text("main", "Nobody is connected");
    // A person who waits at a prompt.
    let mut command = place.alice.command("ssh");
    let waiting = Running::start(command.arg("-s").arg(place.alice.host()).arg("sftp"));
    browser.click(".session button.danger");
    browser.await_text("dialog", "End the session of alice?");
    browser.fill("dialog input", "key reported stolen");
    browser.click("dialog button.danger");
    browser.await_text("#toasts", "The session of alice ends.");
    waiting.finish(LIMIT).failed().says("ended by an administrator: key reported stolen");
    browser.await_text("main", "Nobody is connected");
    let ended = place.gateway.events.await_event("DISCONNECTED", |event| field(event, "reason") == "administrator");
    assert_eq!(field(&ended, "message"), "key reported stolen");
    place.assert_clean(&browser);
}

#[test]
fn what_fails_stands_on_top_until_it_works_again() {
    let place = Place::start();
    let browser = place.browser();
    browser.await_text(".parts", "e.ndjson");
    assert_eq!(browser.count(".trouble"), 0);
    // Where the file was there is a folder now: nothing can be written.
    let file = place.trail();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let _ = crate::support::process::run(place.alice.command("sftp").arg(place.alice.host()));
    browser.await_text(".trouble", "The sink");
    browser.await_text(".trouble", "Operations are refused until it writes again.");
    browser.await_text("#bar .ready", "Not ready");
    browser.await_text(".parts", "fails");
    browser.picture(&crate::place::pictures().join("failing-1600-light.png"));
    fs::remove_dir(&file).unwrap();
    until("page without trouble", LIMIT, || (browser.count(".trouble") == 0).then_some(()));
    browser.await_text("#bar .ready", "Ready");
    place.assert_clean(&browser);
}
