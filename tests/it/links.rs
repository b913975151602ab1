//! Transfers over lines that are slow, and over connections that change their keys all the time.

use std::time::Duration;

use crate::door::Door;
use crate::support::client::Client;
use crate::support::data::{MIB, assert_same_bytes, write_noise};
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, run_with};

fn door() -> Door {
    let door = crate::door::door();
    Door { client: door.client.within(LIMIT), ..door }
}

impl Door {
    /// Uploads and downloads a file with each program; what the clients said.
    #[track_caller]
    fn there_and_back(&self, client: &Client, length: u64) -> Vec<String> {
        let file = self.setup.folder().join("file");
        write_noise(&file, length, 1);
        let back = self.setup.folder().join("back");
        let mut said = Vec::new();
        let script = format!("put {} /sftp\nget /sftp {}\n", file.display(), back.display());
        let mut sftp = client.command("sftp");
        sftp.args(["-v", "-b", "-"]).arg(client.host());
        said.push(run_with(&mut sftp, script.as_bytes(), LIMIT).succeeded().stderr);
        assert_same_bytes(&self.root.join("sftp"), &file);
        assert_same_bytes(&back, &file);
        for protocol in ["-O", "-s"] {
            let (here, there) = (file.to_str().unwrap(), client.remote("/scp"));
            said.push(client.scp(["-v", protocol, here, &there]).succeeded().stderr);
            assert_same_bytes(&self.root.join("scp"), &file);
            said.push(client.scp(["-v", protocol, &there, back.to_str().unwrap()]).succeeded().stderr);
            assert_same_bytes(&back, &file);
        }
        self.gateway.events.await_disconnected(5);
        let ends = self.gateway.events.of_type("DISCONNECTED");
        assert!(ends.iter().all(|end| field(end, "reason") == "client"), "{ends:#?}");
        assert!(self.gateway.events.of_type("PARTIAL_CLOSE").is_empty());
        said
    }
}

#[test]
fn keys_change_in_the_middle_of_transfers() {
    let door = door();
    for said in door.there_and_back(&door.client.clone().with("RekeyLimit=1M"), 64 * MIB) {
        // One that was sent and one that came.
        let changes = said.matches("KEXINIT").count() / 2;
        assert!(changes >= 20, "{changes} changes of keys in 64 MiB: {said}");
    }
    door.gateway.stop();
}

#[test]
fn a_slow_line_carries_files_both_ways() {
    let door = door();
    // 100 ms there and back, 10 Mbit/s.
    let link = Link::to(door.gateway.port, Duration::from_millis(50), 10_000_000 / 8);
    door.there_and_back(&door.client.clone().through(link.port), 3 * MIB);
    door.gateway.stop();
}
