//! Health checks at the SSH door, of the kinds that balancers make: no event, no ban, no place of a login.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use serde_json::json;

use crate::support::process::{LIMIT, until};
use crate::support::setup::{Setup, User};
use crate::support::sftp::Sftp;

/// So many of each kind.
const CHECKS: usize = 10_000;

/// Version 2 with an address, and LOCAL, as a balancer's own checks have it.
fn version_2(is_local: bool) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    match is_local {
        true => [&signature[..], &[0x20, 0, 0, 0]].concat(),
        false => [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 1, 0, 2, 0]].concat(),
    }
}

/// One check: connects, sends a header if there is one, waits for the banner if it is to, and leaves. It is over when the gateway has
/// closed its side as well: a balancer has few under way at once.
fn check(port: u16, header: &[u8], reads: bool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(header).unwrap();
    if reads {
        let mut banner = [0; 8];
        stream.read_exact(&mut banner).unwrap();
        assert_eq!(&banner, b"SSH-2.0-");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    // It may be reset.
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn ten_thousand_checks_of_each_kind_leave_no_event_and_no_ban_and_take_no_place() {
    let mut setup = Setup::new();
    setup.memory_store("main");
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    setup.config["server"]["proxy_protocol"] = json!("optional");
    setup.config["server"]["proxy_from"] = json!(["127.0.0.0/8"]);
    // Faster than any balancer, from one address; whatever counts as a fault leads to a ban.
    for (limit, value) in
        [("connections_per_second", 100_000), ("unauthenticated", 30), ("unauthenticated_per_address", 20)]
    {
        setup.config["limits"][limit] = json!(value);
    }
    setup.config["defender"] = json!({ "points": 100, "allow": [] });
    setup.config["admin"] = json!({ "socket": "admin.sock" });
    let gateway = setup.start();
    let port = gateway.port;
    let headers = [Vec::new(), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), version_2(false), version_2(true)];
    let client = gateway.client("alice", &key);
    let mut sent = 0;
    for header in headers {
        for reads in [false, true] {
            thread::scope(|scope| {
                for _ in 0..4 {
                    let header = &header;
                    scope.spawn(move || (0..CHECKS / 4).for_each(|_| check(port, header, reads)));
                }
                // Somebody logs in meanwhile.
                let mut alice = Sftp::connect(&client, LIMIT);
                alice.put("/f", b"content");
            });
            sent += CHECKS;
        }
    }
    let place = crate::support::http::Place::unix(&setup.folder().join("admin.sock"));
    let counted = until("count of all", LIMIT, || {
        let text = place.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix("lockgate_health_checks_total "))?;
        line.parse::<usize>().ok().filter(|count| *count >= sent)
    });
    assert_eq!(counted, sent);
    assert_eq!(place.get("/api/v1/bans").ok()["total"], 0);
    gateway.events.await_disconnected(8);
    let mut kinds: Vec<String> = gateway.events.all().iter().map(|event| event["activity-type"].to_string()).collect();
    kinds.sort();
    kinds.dedup();
    let odd = ["AUTH_FAILURE", "CONNECTION_REJECTED", "KEX_FAILURE", "ERROR"];
    assert!(!kinds.iter().any(|kind| odd.iter().any(|odd| kind.contains(odd))), "{kinds:?}");
    assert_eq!(gateway.events.of_type("DISCONNECTED").len(), 8, "alice's only");
    gateway.stop();
}
