//! Logging in and out.

use crate::browser::Browser;
use crate::place::Place;

#[test]
fn a_link_logs_in_once() {
    let place = Place::start();
    let link = place.link("operator");
    let browser = Browser::start();
    browser.open(&link);
    browser.await_text("#bar", "operator");
    browser.await_text("main", "Nobody is connected");
    assert_eq!(browser.address(), format!("{}/", place.page), "the code is not in the history");
    assert_eq!(browser.script("return document.cookie"), "", "no script reads the cookie");
    browser.click("#bar button.quiet");
    browser.await_text("main", "Log in with a token");
    place.open(&browser, "/events");
    browser.await_text("main", "Log in with a token");
    browser.open("about:blank");
    browser.open(&link);
    browser.await_text(".error", "this link was used already");
}

#[test]
fn a_token_logs_in_and_shows_what_its_role_may() {
    let place = Place::start();
    let browser = Browser::start();
    place.open(&browser, "/events?user=alice");
    browser.fill("input[name=token]", "lgt_nonsense");
    browser.click("button.primary");
    browser.await_text(".error", "This token is not known.");
    browser.fill("input[name=token]", &place.tokens[0]);
    browser.click("button.primary");
    browser.await_text("main", "This view is for the role auditor; you are viewer.");
    browser.click("#bar nav a[href='/partners']");
    browser.await_text("main", "alice");
    browser.click("#bar button.quiet");
    place.open(&browser, "/events?user=alice");
    browser.fill("input[name=token]", &place.tokens[1]);
    browser.click("button.primary");
    browser.await_text("main", "No event fits.");
    assert_eq!(browser.script("return JSON.stringify([localStorage, sessionStorage])"), "[{},{}]", "nothing is kept");
}
