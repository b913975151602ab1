//! What of a configuration holds while stores of it are not open.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::config::tests::{KEY, read_text};

/// The settings of a configuration with these stores, by names and URLs, and these users, by names and homes.
fn settings(stores: &[(&str, &str)], users: &[(&str, &str)]) -> Settings {
    let store = |(name, url): &(&str, &str)| format!("  {name}: {{ url: \"{url}\" }}\n");
    let user =
        |(name, home): &(&str, &str)| format!("  - {{ name: {name}, public_keys: [\"{KEY}\"], home: [{home}] }}\n");
    let text = format!(
        "server: {{ listen: [\"127.0.0.1:2022\"], host_keys: [host_key] }}\nstores:\n{}users:\n{}",
        stores.iter().map(store).collect::<String>(),
        users.iter().map(user).collect::<String>(),
    );
    read_text(&text).unwrap()
}

fn entry(path: &str, target: &str) -> String {
    format!("{{ entry: \"{path}\", target: \"{target}\" }}")
}

/// The users that there are, with their homes, what is said of the rest, and the stores by their URLs.
fn shown(partly: &Partly) -> (Vec<String>, Vec<&str>, Vec<&str>) {
    let home = |user: &User| {
        let entries = user.home.iter().map(|entry| format!("{}={}:{}", entry.entry, entry.store, entry.target));
        format!("{} {}", user.name, entries.collect::<Vec<_>>().join(","))
    };
    (
        partly.settings.users.iter().map(home).collect(),
        partly.held_back.iter().map(String::as_str).collect(),
        partly.settings.stores.iter().map(|store| store.url.as_str()).collect(),
    )
}

fn unopened(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn whoever_is_gone_is_gone_and_whoever_needs_a_closed_store_waits() {
    let (a, b) = (("a", "file:///a"), ("b", "s3://b"));
    let running = settings(&[a], &[("ann", &entry("/", "a:/ann")), ("bob", &entry("/", "a:/bob"))]);
    let two = format!("{}, {}", entry("/", "a:/ann"), entry("/b", "b:/"));
    let new = settings(&[a, b], &[("ann", &two), ("cid", &entry("/", "b:/cid")), ("dan", &entry("/", "a:/dan"))]);
    let partly = without(&new, &running, &unopened(&["b"]));
    let users = vec!["ann /=a:ann".to_owned(), "dan /=a:dan".to_owned()];
    let held_back = vec!["the home of ann stays as it was", "cid cannot log in"];
    assert_eq!(shown(&partly), (users, held_back, vec!["file:///a"]));
    let whole = without(&new, &running, &unopened(&[]));
    assert_eq!((whole.settings.users.len(), whole.settings.stores.len(), whole.held_back.len()), (3, 2, 0));
}

#[test]
fn a_store_that_changed_serves_as_before_those_who_had_the_same_there_and_nobody_else() {
    let (before, after) = (("a", "s3://one"), ("a", "s3://two"));
    let running = settings(&[before], &[("ann", &entry("/", "a:/ann")), ("bob", &entry("/", "a:/bob"))]);
    let new = settings(
        &[after],
        &[("ann", &entry("/", "a:/ann")), ("bob", &entry("/", "a:/other")), ("cid", &entry("/", "a:/ann"))],
    );
    let partly = without(&new, &running, &unopened(&["a"]));
    let users = vec!["ann /=a:ann".to_owned(), "bob /=a:bob".to_owned()];
    let held_back = vec!["the home of bob stays as it was", "cid cannot log in"];
    assert_eq!(shown(&partly), (users, held_back, vec!["s3://one"]));
}

#[test]
fn what_is_allowed_in_a_place_that_stays_is_what_is_allowed_now() {
    let (a, b) = (("a", "s3://a"), ("b", "s3://b"));
    let running = settings(&[a], &[("ann", &entry("/", "a:/ann"))]);
    let read_only = "{ entry: \"/\", target: \"a:/ann\", permissions: read_only }";
    let new = settings(&[a, b], &[("ann", &format!("{read_only}, {}", entry("/b", "b:/")))]);
    let partly = without(&new, &running, &unopened(&["b"]));
    let [home] = &*partly.settings.users[0].home else { panic!("{partly:?}") };
    assert_eq!(home.permissions, new.users[0].home[0].permissions);
    assert_ne!(home.permissions, running.users[0].home[0].permissions);
}

#[test]
fn a_store_that_is_gone_serves_whoever_was_to_move_to_one_that_is_not_open_and_one_that_became_another_serves_nobody() {
    let (a, b) = (("a", "s3://a"), ("b", "s3://b"));
    let running = settings(&[a], &[("ann", &entry("/", "a:/ann"))]);
    let moved = settings(&[b], &[("ann", &entry("/", "b:/ann"))]);
    let partly = without(&moved, &running, &unopened(&["b"]));
    assert_eq!(shown(&partly).0, ["ann /=a:ann"]);
    assert_eq!(shown(&partly).2, ["s3://a"]);
    let other = settings(&[("a", "s3://other"), b], &[("ann", &entry("/", "b:/ann"))]);
    let partly = without(&other, &running, &unopened(&["b"]));
    assert_eq!(shown(&partly), (vec![], vec!["ann cannot log in"], vec!["s3://other"]));
}
