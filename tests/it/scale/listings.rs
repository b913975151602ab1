//! Directories with very many names.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::campaign::{alone, report, short_or_long};
use crate::support::client::Client;
use crate::support::data::MIB;
use crate::support::files::Files;
use crate::support::gateway::Gateway;
use crate::support::relay::{Gate, Relay};
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};

const LIMIT: Duration = Duration::from_secs(3000);

/// What a listing may add to the memory that the gateway has used before it, however many names there are.
const FLAT: u64 = 16 * MIB;

fn start(setup: &mut Setup) -> (Gateway, Client) {
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let gateway = setup.start();
    let client = gateway.client("alice", &key).within(LIMIT);
    (gateway, client)
}

fn names(count: usize) -> BTreeSet<String> {
    (1..=count).map(|number| format!("name-{number:06}")).collect()
}

/// Lists with OpenSSH's client, unsorted, and compares every name.
#[track_caller]
fn list_with_openssh(client: &Client, expected: &BTreeSet<String>) {
    let started = Instant::now();
    let listed = client.sftp("ls -1f /big\n").succeeded().stdout;
    let lines =
        listed.lines().filter(|line| !line.starts_with("sftp>")).map(|line| line.trim().trim_start_matches("/big/"));
    let mut seen = BTreeSet::new();
    for name in lines {
        let is_itself = name == "." || name == "..";
        assert!(is_itself || seen.insert(name.to_string()), "{name} is listed twice");
    }
    assert_same(&seen, expected);
    report(&format!("ls -1f of {} names: {:.1} s", expected.len(), started.elapsed().as_secs_f64()));
}

#[track_caller]
fn assert_same(seen: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let lost: Vec<_> = expected.difference(seen).take(5).collect();
    let invented: Vec<_> = seen.difference(expected).take(5).collect();
    assert!(lost.is_empty() && invented.is_empty(), "lost: {lost:?}; invented: {invented:?}");
}

/// The memory that the gateway has used before a listing: it has served a session and a small directory.
fn warm_up(gateway: &Gateway, client: &Client) -> u64 {
    client.sftp("mkdir /small\nls -1f /small\n").succeeded();
    gateway.peak_memory()
}

#[track_caller]
fn assert_flat(what: &str, gateway: &Gateway, before: u64) {
    let more = gateway.peak_memory() - before;
    report(&format!("{what}: {} KiB of memory more than before", more / 1024));
    assert!(more <= FLAT, "{what}: {more} bytes more");
}

#[test]
fn a_hundred_thousand_names_of_a_local_store() {
    let _alone = alone();
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    let expected = names(100_000);
    std::fs::create_dir(root.join("big")).unwrap();
    for name in &expected {
        File::create(root.join("big").join(name)).unwrap();
    }
    let (gateway, client) = start(&mut setup);
    let before = warm_up(&gateway, &client);
    list_with_openssh(&client, &expected);
    assert_flat("100,000 names of a local store", &gateway, before);
    gateway.stop();
}

/// A relay to the S3 server that lets the first page through and holds the second up until the gate is open.
fn holding_the_second_page(s3: &S3Store) -> (Relay, Gate, Arc<AtomicUsize>) {
    let (gate, pages) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (shut, count) = (gate.clone(), pages.clone());
    let relay = Relay::watching(s3.port(), move |bytes| {
        // The directory's own look-up asks for one key only.
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(2048)]).lines().next().unwrap_or("").to_string();
        if line.contains("list-type=2") && line.contains("continuation-token=") {
            count.fetch_add(1, Ordering::AcqRel);
            shut.pass();
        }
    });
    (relay, gate, pages)
}

#[test]
fn the_first_names_come_after_the_first_page_of_s3() {
    let _alone = alone();
    let (count, range) = short_or_long((3_500, "[000001-003500]"), (100_000, "[000001-100000]"));
    let mut setup = Setup::new();
    let s3 = setup.s3_store("main");
    let started = Instant::now();
    s3.make_many("big/name-", range);
    report(&format!("{count} objects made in {:.0} s", started.elapsed().as_secs_f64()));
    let (relay, gate, pages) = holding_the_second_page(&s3);
    setup.store(
        "main",
        json!({ "url": s3.url(), "options": s3.options_through(&format!("http://127.0.0.1:{}", relay.port)) }),
    );
    let (gateway, client) = start(&mut setup);
    let before = warm_up(&gateway, &client);

    let mut session = Files::connect(&client, LIMIT);
    let handle = session.open_directory("/big").unwrap();
    // The second page is held up, so these names are of the first.
    let mut seen: Vec<String> = session.read_directory(&handle).unwrap();
    assert!(!seen.is_empty() && seen.len() < 1000, "{} names", seen.len());
    gate.open();
    loop {
        let more = session.read_directory(&handle).unwrap();
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    session.close(&handle).unwrap();
    let expected = names(count);
    let listed = seen.len();
    let unique: BTreeSet<String> = seen.into_iter().filter(|name| name != "." && name != "..").collect();
    assert_same(&unique, &expected);
    assert!(listed <= expected.len() + 2, "{listed} names, some of them twice");
    assert!(pages.load(Ordering::Acquire) >= count / 1000 - 1, "the server gave pages of a thousand");
    list_with_openssh(&client, &expected);
    assert_flat(&format!("{count} names of S3"), &gateway, before);
    drop(session);
    gateway.stop();
}
