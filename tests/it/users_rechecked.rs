//! Users of an identity provider whose sessions live are asked about again, and end when they would not be let in any more.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, until};
use crate::support::provider::{Provider, Question, Reply};
use crate::support::setup::Setup;

/// A gateway that asks `provider`, every second again.
fn setup(provider: &Provider, recheck: &str) -> Setup {
    let mut setup = Setup::new();
    setup.local_store("lake");
    setup.config["users_from"] =
        json!({ "http": { "url": provider.url(), "cache": "0s", "recheck": recheck, "retries": 0 } });
    setup
}

fn answer(keys: &[&Key]) -> Value {
    let keys: Vec<&str> = keys.iter().map(|key| key.public.as_str()).collect();
    json!({ "Role": "r", "HomeDirectory": "/lake/home", "PublicKeys": keys })
}

/// A session of `client` that stays until its input is closed.
fn session(gateway: &Gateway, client: &Client) -> Running {
    let before = gateway.events.of_type("CONNECTED").len();
    let mut running = Running::start(client.command("sftp").args(["-b", "-"]).arg(client.host()));
    running.feed(b"pwd\n");
    until("a login", LIMIT, || (gateway.events.of_type("CONNECTED").len() > before).then_some(()));
    running
}

#[track_caller]
fn ended(gateway: &Gateway, user: &str, reason: &str) -> Value {
    gateway.events.await_event("DISCONNECTED", |event| field(event, "user") == user && field(event, "reason") == reason)
}

fn is_about(question: &Question, user: &str) -> bool {
    question.target.contains(&format!("/users/{user}/"))
}

#[test]
fn who_is_not_known_any_more_or_lost_the_key_is_ended() {
    let folder = Setup::new();
    let (key, other) = (folder.key("one"), folder.key("other"));
    let all = answer(&[&key, &other]);
    let provider = Provider::start(move |_| Reply::Json(all.clone()));
    let gateway = setup(&provider, "1s").start();
    let ann = session(&gateway, &gateway.client("ann", &key));
    let ben = session(&gateway, &gateway.client("ben", &key));
    let mut carl = session(&gateway, &gateway.client("carl", &other));
    let (all, only_other) = (answer(&[&key, &other]), answer(&[&other]));
    provider.answer(move |question| match () {
        () if is_about(question, "ann") => Reply::Json(json!({})),
        () if is_about(question, "ben") => Reply::Json(only_other.clone()),
        () => Reply::Json(all.clone()),
    });
    assert_eq!(field(&ended(&gateway, "ann", "user-removed"), "message"), "the user was removed");
    ended(&gateway, "ben", "key-removed");
    for (mut session, said) in [(ann, "the user was removed"), (ben, "the key of this session was removed")] {
        session.close_input();
        session.finish(LIMIT).says(said);
    }
    // Who is known goes on, however often it is asked.
    provider.questions();
    until("two more questions", LIMIT, || {
        (provider.state_of(|questions| questions.iter().filter(|q| is_about(q, "carl")).count()) >= 2).then_some(())
    });
    carl.feed(b"mkdir /here\n");
    carl.close_input();
    carl.finish(LIMIT).succeeded();
    assert!(
        gateway
            .events
            .of_type("DISCONNECTED")
            .iter()
            .filter(|end| field(end, "user") == "carl")
            .all(|end| field(end, "reason") == "client")
    );
    gateway.stop();
}

#[test]
fn a_provider_without_a_usable_answer_ends_nobody_and_that_is_told_once() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let known = answer(&[&key]);
    let good = known.clone();
    let provider = Provider::start(move |_| Reply::Json(good.clone()));
    let gateway = setup(&provider, "1s").start();
    let mut ann = session(&gateway, &gateway.client("ann", &key));
    for (reply, said) in [
        (Reply::Raw(503, String::new(), Vec::new()), "its status is 503"),
        (Reply::Json(json!({ "Role": 7 })), "Role: is a number"),
    ] {
        provider.answer(move |_| reply.clone());
        provider.questions();
        until("three more questions", LIMIT, || (provider.state_of(|questions| questions.len()) >= 3).then_some(()));
        let told = gateway.events.until("an ERROR", |events| {
            let told: Vec<_> = events
                .iter()
                .filter(|event| field(event, "activity-type") == "ERROR" && field(event, "message").contains(said))
                .cloned()
                .collect();
            (!told.is_empty()).then_some(told)
        });
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(gateway.log().lines().filter(|line| line.contains(said)).count(), 1, "{}", gateway.log());
        assert!(gateway.events.of_type("DISCONNECTED").is_empty());
    }
    provider.answer(|_| Reply::Json(json!({})));
    ended(&gateway, "ann", "user-removed");
    until("a word that it answers", LIMIT, || {
        gateway.log().contains("the identity provider answers again").then_some(())
    });
    ann.close_input();
    ann.finish(LIMIT).says("the user was removed");
    gateway.stop();
}

#[test]
fn a_reload_asks_immediately_and_ends_who_comes_from_a_wrong_address() {
    let folder = Setup::new();
    let key = folder.key("ann");
    let known = answer(&[&key]);
    let provider = Provider::start(move |_| Reply::Json(known.clone()));
    let mut setup = setup(&provider, "1d");
    let gateway = setup.start();
    let mut ann = session(&gateway, &gateway.client("ann", &key));
    provider.answer(|_| Reply::Json(json!({})));
    gateway.signal(Signal::HUP);
    ended(&gateway, "ann", "user-removed");
    ann.close_input();
    ann.finish(LIMIT).says("the user was removed");

    let known = answer(&[&key]);
    provider.answer(move |_| Reply::Json(known.clone()));
    let mut ben = session(&gateway, &gateway.client("ben", &key));
    setup.config["users_from"]["allow_from"] = json!(["192.0.2.0/24"]);
    setup.write_config();
    gateway.signal(Signal::HUP);
    ended(&gateway, "ben", "address-not-allowed");
    ben.close_input();
    ben.finish(LIMIT).says("may no longer log in from this address");
    gateway.stop();
}

#[test]
fn a_refusal_without_the_password_means_nothing_where_it_always_was_one() {
    let provider = Provider::start(|question| match (question.password(), is_about(question, "ann")) {
        (Some(_), _) | (None, true) => Reply::Json(answer(&[])),
        (None, false) => Reply::Json(json!({})),
    });
    let gateway = setup(&provider, "1s").start();
    let by_password = |user: &str| gateway.keyless(user).password("battery").with("PreferredAuthentications=password");
    let mut ann = session(&gateway, &by_password("ann"));
    let mut ben = session(&gateway, &by_password("ben"));
    until("what becomes of ben", LIMIT, || {
        gateway.log().contains("does not know this user without a password").then_some(())
    });
    until("a question about ann", LIMIT, || {
        (provider.state_of(|questions| questions.iter().any(|q| is_about(q, "ann") && q.password().is_none())))
            .then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert!(gateway.events.of_type("DISCONNECTED").is_empty());
    // Where it was told once that the user is there, the refusal counts.
    provider.answer(|_| Reply::Json(json!({})));
    ended(&gateway, "ann", "user-removed");
    ann.close_input();
    ann.finish(LIMIT).says("the user was removed");
    ben.feed(b"mkdir /still\n");
    ben.close_input();
    ben.finish(LIMIT).succeeded();
    gateway.stop();
}
