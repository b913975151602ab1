//! The tests' own promise: a test process that dies leaves no server and no folder behind.

use std::fs;

use crate::support::process::{LIMIT, program, until};
use crate::support::server::{Server, folder};

#[test]
fn a_guard_ends_what_a_dead_test_left() {
    let place = folder().keep();
    fs::write(place.join("file"), "x").unwrap();
    let mut server = Server::start(program("sleep").arg("1000"), Some(place.clone()));
    server.abandon();
    let status = server.ended(LIMIT).expect("the guard kills the server");
    assert!(!status.success());
    until("removal of the folder", LIMIT, || (!place.exists()).then_some(()));
}
