//! `examples/webhooks/receiver.py` as its README says, against a gateway that is killed at work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Place;
use crate::support::process::{LIMIT, Running, kill_group, tool, until};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=";

/// The program, and what it prints. Ends with this.
struct Program {
    child: Child,
    printed: Receiver<Value>,
}

impl Program {
    fn start(port: u16, seen: &Path) -> Program {
        use std::os::unix::process::CommandExt;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/webhooks/receiver.py");
        let mut python = Command::new(tool("receivers/bin/python"));
        python.arg("-B").arg(script).args(["--port", &port.to_string(), "--seen"]).arg(seen);
        python.env("WEBHOOK_SECRET", SECRET).stdout(Stdio::piped()).process_group(0);
        let mut child = python.spawn().expect("Python");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let (send, printed) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Program { child, printed }
    }

    fn next(&self) -> Value {
        self.printed.recv_timeout(LIMIT).expect("a line of the receiver")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        kill_group(&self.child, Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn each_file_arrives_once_over_deaths_of_the_gateway_and_of_the_receiver() {
    let mut place = Place::new();
    place.setup.local_store("disk");
    place.setup.config["users"][0]["home"] = json!([{ "entry": "/", "target": "disk:/" }]);
    let seen = place.setup.folder().join("seen.sqlite");
    let first = Program::start(0, &seen);
    let port = u16::try_from(first.next()["port"].as_u64().expect("a port")).unwrap();
    place.sinks(json!([{
        "sink": "http", "url": format!("http://127.0.0.1:{port}/"), "format": "cloudevents", "signing": { "secret": SECRET },
        "filter": { "operations": ["upload"], "status": ["success"] }, "spool": place.setup.folder().join("spool"),
    }]));
    let file = place.setup.folder().join("some.csv");
    fs::write(&file, "a,b\n").unwrap();
    for round in 0..3_u64 {
        let gateway = place.setup.start();
        let script: String = (0..60)
            .map(|n| format!("put {} /{round}-{n}.part\nrename /{round}-{n}.part /{round}-{n}\n", file.display()))
            .collect();
        let mut running = Running::start(&mut gateway.client("alice", &place.key).sftp_command());
        running.feed(script.as_bytes());
        until("work under way", LIMIT, || (!gateway.events.of_type("RENAME").is_empty()).then_some(()));
        std::thread::sleep(Duration::from_millis(200 + round * 150));
        gateway.kill();
        running.close_input();
        running.finish(LIMIT);
    }
    // The receiver ends, too, while nothing comes, and goes on where it was.
    let mut printed: Vec<Value> = Vec::new();
    std::thread::sleep(Duration::from_millis(300));
    printed.extend(first.printed.try_iter());
    drop(first);
    let second = Program::start(port, &seen);
    assert_eq!(second.next()["port"], port);
    let gateway = place.setup.start();
    gateway.client("alice", &place.key).sftp(&format!("put {} /last\n", file.display())).succeeded();
    loop {
        printed.push(second.next());
        if printed.last().is_some_and(|event| event["key"] == "last") {
            break;
        }
    }
    gateway.stop();
    let mut times = BTreeMap::new();
    for event in &printed {
        assert_eq!((&event["bucket"], &event["type"]), (&json!("disk"), &json!("lockgate.file.upload.completed")));
        *times.entry(event["key"].as_str().unwrap()).or_insert(0) += 1;
    }
    assert!(times.values().all(|count| *count == 1), "{times:?}");
    assert!(times.len() > 3 && times.keys().all(|key| !key.ends_with(".part")), "{times:?}");
}
