//! Logging in with an identity provider.

use std::fs;

use crate::browser::Browser;
use crate::looks::look;
use crate::place::Place;
use crate::support::oidc::{Oidc, settings};
use crate::support::process::tool;
use crate::support::server::free_port;

#[test]
fn a_person_logs_in_with_the_provider_and_is_back_where_he_wanted_to_be() {
    let port = free_port();
    let place = Place::start_with(|setup| setup.config["admin"]["oidc"] = settings(port));
    let _oidc = Oidc::start(port, "k1", &[format!("{}/login/callback", place.page)]);
    let browser = Browser::start();
    let begin = |path: &str| {
        place.open(&browser, path);
        browser.await_text(".provider button", "Log in with 127.0.0.1");
        browser.click(".provider button");
        browser.await_value("the provider's page", "document.title === 'Provider'");
    };
    begin("/events?user=alice");
    browser.fill("input[name=name]", "ann-auditors");
    browser.click("button");
    browser.await_text("#bar", "oidc:ann-auditors");
    browser.await_text("main", "No event fits.");
    assert_eq!(browser.address(), format!("{}/events?user=alice", place.page), "the code is not in the history");
    assert_eq!(browser.script("return JSON.stringify([localStorage, sessionStorage])"), "[{},{}]", "nothing is kept");
    let names: Vec<String> =
        browser.cookies().iter().map(|cookie| cookie["name"].as_str().unwrap().to_owned()).collect();
    let port_of_page = place.page.rsplit_once(':').unwrap().1;
    assert!(names.contains(&format!("lockgate-{port_of_page}")), "{names:?}");
    assert!(!names.contains(&format!("lockgate-login-{port_of_page}")), "the way there is over: {names:?}");
    browser.click("#bar button.quiet");
    browser.await_text("main", "Log in with a token");
    // The provider remembers ann: another browser is somebody else.
    let browser = Browser::start();
    place.open(&browser, "/");
    browser.await_text(".provider button", "Log in with 127.0.0.1");
    let axe = fs::read_to_string(tool("axe/node_modules/axe-core/axe.min.js")).unwrap();
    let ready = |browser: &Browser| _ = browser.await_text(".provider button", "Log in with 127.0.0.1");
    let wrong = look(&browser, &axe, "login-provider", &ready);
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.click(".provider button");
    browser.await_value("the provider's page", "document.title === 'Provider'");
    browser.fill("input[name=name]", "eve-strangers");
    browser.click("button");
    browser.await_text(".error", "No value of oidc:eve-strangers's claim");
    // A link cannot put words of its own into the page.
    place.open(&browser, "/login/callback?error=access_denied&error_description=call+0900");
    browser.await_text(".error", "The identity provider did not log you in (access_denied).");
    place.open(&browser, "/login/callback?error=Call%20Eve&code=x");
    let said = browser.await_text(".error", "The identity provider did not log you in.");
    assert!(!said.contains("Eve"), "{said}");
    place.open(&browser, "/login/callback?code=x&state=y");
    browser.await_text(".error", "This login was not begun in this browser");
}
