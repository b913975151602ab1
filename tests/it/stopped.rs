//! Clients that go on no longer, with one channel: stopped, or gone without a word. They are ended after `idle`, are on record,
//! and hold no more memory than their share.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::data::{MIB, write_noise};
use crate::support::events::field;
use crate::support::gateway::Gateway;
use crate::support::link::Link;
use crate::support::process::Running;
use crate::support::setup::{Setup, User};

const IDLE: Duration = Duration::from_secs(3);

struct Door {
    setup: Setup,
    gateway: Gateway,
    client: Client,
}

fn door() -> Door {
    let mut setup = Setup::new();
    let root = setup.local_store("main");
    write_noise(&root.join("big"), 64 * MIB, 1);
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    setup.limit("idle", format!("{}s", IDLE.as_secs()));
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    Door { setup, gateway, client }
}

impl Door {
    /// A client that has begun a transfer.
    #[track_caller]
    fn begin(&self, client: &Client, script: &str) -> Running {
        let mut running = Running::start(&mut client.sftp_command());
        running.feed(script.as_bytes());
        self.await_transfer();
        running
    }

    /// As [`Door::begin`], of a client that speaks the SCP protocol.
    #[track_caller]
    fn begin_scp(&self, from: &str, to: &str) -> Running {
        let running = Running::start(self.client.command("scp").args(["-O", from, to]));
        self.await_transfer();
        running
    }

    #[track_caller]
    fn await_transfer(&self) {
        self.gateway.events.until("transfer", |events| {
            events.iter().any(|event| field(event, "activity-type") == "OPEN").then_some(())
        });
    }

    /// Waits for the end that comes because nothing happens; the end of the transfer is on record before it.
    #[track_caller]
    fn assert_ended(&self, operation: &str) {
        let of = |kind: &str| -> Vec<Value> { self.gateway.events.of_type(kind) };
        self.gateway.events.await_disconnected(1);
        let end = of("DISCONNECTED").remove(0);
        assert_eq!(field(&end, "reason"), "idle", "{end}");
        let lasted = Duration::from_millis(end["duration-ms"].as_u64().unwrap());
        assert!(lasted >= IDLE, "it lasted {lasted:?}");
        let cut_off = of("PARTIAL_CLOSE");
        assert!(cut_off.len() == 1 && field(&cut_off[0], "operation") == operation, "{cut_off:?}");
        assert!(self.gateway.peak_memory() < 256 * MIB, "{} bytes", self.gateway.peak_memory());
    }
}

#[test]
fn a_stopped_client_that_takes_no_answers_is_ended_after_idle() {
    let door = door();
    let back = door.setup.folder().join("back");
    let client = door.begin(&door.client, &format!("get /big {}\n", back.display()));
    client.freeze();
    door.assert_ended("read");
    drop(client);
    door.gateway.stop();
}

#[test]
fn a_stopped_client_that_sends_no_more_is_ended_after_idle() {
    let door = door();
    let file = door.setup.folder().join("file");
    write_noise(&file, 256 * MIB, 2);
    let client = door.begin(&door.client, &format!("put {} /new\n", file.display()));
    client.freeze();
    door.assert_ended("write");
    assert!(!door.setup.folder().join("store-main/new").exists());
    drop(client);
    door.gateway.stop();
}

#[test]
fn stopped_clients_of_scp_are_ended_after_idle_too() {
    let door = door();
    let back = door.setup.folder().join("back");
    let client = door.begin_scp(&door.client.remote("/big"), back.to_str().unwrap());
    client.freeze();
    door.assert_ended("read");
    drop(client);
    door.gateway.stop();

    let door = self::door();
    let file = door.setup.folder().join("file");
    write_noise(&file, 256 * MIB, 2);
    let client = door.begin_scp(file.to_str().unwrap(), &door.client.remote("/new"));
    client.freeze();
    door.assert_ended("write");
    assert!(!door.setup.folder().join("store-main/new").exists());
    drop(client);
    door.gateway.stop();
}

#[test]
fn a_client_that_vanishes_in_a_download_is_ended_after_idle() {
    let door = door();
    let link = Link::to(door.gateway.port, Duration::ZERO, 8 << 20);
    let back = door.setup.folder().join("back");
    let client = door.begin(&door.client.clone().through(link.port), &format!("get /big {}\n", back.display()));
    // Nothing passes any more, either way, and no end of the connection does.
    link.stop();
    door.assert_ended("read");
    drop((client, link));
    door.gateway.stop();
}
