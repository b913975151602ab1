//! Logging in and out.

use serde_json::json;

use crate::browser::Browser;
use crate::place::Place;
use crate::support::process::{program, run};

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
    browser.await_text(".error", "This link was used already");
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

#[test]
fn over_tls_the_cookie_is_for_tls_alone() {
    let place = Place::start_with(|setup| {
        let make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=gateway \
                    -addext subjectAltName=IP:127.0.0.1 -keyout admin.key -out admin.pem";
        run(program("openssl").args(make.split_whitespace()).current_dir(setup.folder())).succeeded();
        setup.config["admin"]["tls"] = json!({ "certificate": "admin.pem", "key": "admin.key" });
    });
    let browser = place.browser();
    assert!(browser.address().starts_with("https://127.0.0.1:"), "{}", browser.address());
    let cookies = browser.cookies();
    let [cookie] = &cookies[..] else { panic!("{cookies:?}") };
    assert!(cookie["name"].as_str().unwrap().starts_with("__Host-lockgate-"), "{cookie}");
    assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&json!(true), &json!(true)), "{cookie}");
    assert_eq!((&cookie["sameSite"], &cookie["path"]), (&json!("Strict"), &json!("/")), "{cookie}");
    // It is good for changes too: the page says where it comes from.
    browser.click("#bar button.quiet");
    browser.await_text("main", "Log in with a token");
    assert!(browser.cookies().is_empty(), "it goes with the login");
    place.assert_clean(&browser);
}
