//! Several channels on one connection (OpenSSH's `ControlMaster`): what one of them does not do must not harm the others.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::door::{Door, Master, door};
use crate::support::campaign::is_long;
use crate::support::data::{KIB, MIB, assert_same_bytes, noise, write_noise};
use crate::support::events::field;
use crate::support::link::Link;
use crate::support::process::{LIMIT, Running};
use crate::support::raw_sftp::{DATA, FOR_READING, FOR_WRITING, RawSftp, STAT, WRITE, string, write_body};
use crate::support::s3;
use crate::support::setup::{Setup, User};

const STALL: Duration = Duration::from_secs(3);

const PIECE: u64 = 255 * KIB;

#[test]
fn one_channel_that_takes_no_answers_does_not_stop_nine_others() {
    let Door { setup, gateway, client, root, .. } = door();
    let bytes = noise(64 * PIECE, 1);
    fs::write(root.join("big"), &bytes).unwrap();
    let master = Master::start(&client, setup.folder().join("mux"));

    let mut stuck = RawSftp::connect(&master.client, LIMIT);
    let handle = stuck.open("/big", FOR_READING);
    for i in 0..64 {
        stuck.ask_to_read(100 + i, &handle, u64::from(i) * PIECE, PIECE as u32);
    }
    let file = setup.folder().join("file");
    write_noise(&file, 8 * MIB, 2);
    let mut others: Vec<(PathBuf, Running)> = Vec::new();
    for i in 0..9 {
        let back = setup.folder().join(format!("back-{i}"));
        let mut session = Running::start(&mut master.client.sftp_command());
        session.feed(format!("put {} /f{i}\nget /f{i} {}\nrm /f{i}\n", file.display(), back.display()).as_bytes());
        session.close_input();
        others.push((back, session));
    }
    for (back, session) in others {
        session.finish(LIMIT).succeeded();
        assert_same_bytes(&back, &file);
    }
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 1, "all on one connection");
    for i in 0..64usize {
        let start = i * usize::try_from(PIECE).unwrap();
        assert!(stuck.receive().string(DATA) == &bytes[start..start + usize::try_from(PIECE).unwrap()], "piece {i}");
    }
    assert_eq!(stuck.close(9, &handle), 0);
    drop((stuck, master));
    gateway.stop();
}

#[test]
fn channels_one_after_the_other_share_a_connection() {
    let Door { setup, gateway, client, .. } = door();
    let master = Master::start(&client, setup.folder().join("mux"));
    let (client, file, back) = (&master.client, setup.folder().join("file"), setup.folder().join("back"));
    write_noise(&file, 100_000, 2);
    let (here, there) = (file.to_str().unwrap(), client.remote("/file"));
    // More of each than may be open at once, and faster than any time-out.
    for _ in 0..11 {
        client.scp(["-O", here, &there]).succeeded();
        client.scp(["-O", &there, back.to_str().unwrap()]).succeeded();
        client.sftp("ls\n").succeeded();
        client.ssh(&["-T"], &["id"]).failed().says("only SFTP and SCP");
    }
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 1, "all on one connection");
    if is_long() {
        let before = gateway.peak_memory();
        for _ in 0..12_000 {
            client.ssh(&["-T"], &["scp -t x"]).succeeded();
        }
        assert_eq!(gateway.events.of_type("CONNECTED").len(), 1, "still on one connection");
        // What is kept of a channel goes when the client closes it too.
        let grown = gateway.peak_memory() - before;
        assert!(grown < 16 * MIB, "{} MiB", grown / MIB);
    }
    drop(master);
    gateway.stop();
}

#[test]
fn commands_that_fail_leave_the_connection_to_the_others() {
    let Door { setup, gateway, client, .. } = door();
    let master = Master::start(&client, setup.folder().join("mux"));
    let client = &master.client;
    let mut other = RawSftp::connect(client, LIMIT);
    client.ssh(&["-T"], &["id"]).failed().says("only SFTP and SCP");
    client.ssh(&["-T"], &[]).failed();
    client.scp(["-O", &client.remote("/missing"), "/nowhere"]).failed().says("No such file or directory");
    // Longer than a client may take that broke the protocol.
    let until = Instant::now() + Duration::from_secs(13);
    while Instant::now() < until {
        assert_eq!(other.call(STAT, 7, &[&string(b"/none")]).status(), 2);
        std::thread::sleep(Duration::from_millis(500));
    }
    client.sftp("ls\n").succeeded();
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 1, "all on one connection");
    drop((other, master));
    gateway.stop();
}

/// Ended when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_download_of_scp_that_takes_nothing_does_not_stop_nine_others() {
    let Door { setup, gateway, client, root, .. } = door();
    let bytes = noise(64 * MIB, 1);
    fs::write(root.join("big"), &bytes).unwrap();
    let master = Master::start(&client, setup.folder().join("mux"));

    let mut command = master.client.command("ssh");
    command.args(["-T", &master.client.host(), "scp -f big"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut stuck = Killed(command.spawn().expect("ssh starts"));
    let mut answers = stuck.0.stdin.take().unwrap();
    answers.write_all(&[0; 3]).unwrap();
    gateway.events.await_event("OPEN", |event| field(event, "logical-path") == "/big");
    let file = setup.folder().join("file");
    write_noise(&file, 8 * MIB, 2);
    let (file, at) = (file.to_str().unwrap(), |i| master.client.remote(&format!("/f{i}")));
    let all_succeed = |arguments: &dyn Fn(usize) -> [String; 3]| {
        let start = |i| Running::start(master.client.command("scp").args(arguments(i)));
        let others: Vec<Running> = (0..9).map(start).collect();
        others.into_iter().for_each(|other| drop(other.finish(LIMIT).succeeded()));
    };
    all_succeed(&|i| ["-O".into(), file.into(), at(i)]);
    let back = |i| setup.folder().join(format!("back-{i}"));
    all_succeed(&|i| ["-O".into(), at(i), back(i).to_str().unwrap().into()]);
    for i in 0..9 {
        assert_same_bytes(&back(i), Path::new(file));
    }
    assert_eq!(gateway.events.of_type("CONNECTED").len(), 1, "all on one connection");
    // It is served as before when it goes on.
    let mut sent = Vec::new();
    stuck.0.stdout.take().unwrap().read_to_end(&mut sent).unwrap();
    let record = format!("C0644 {} big\n", bytes.len());
    assert!(sent.starts_with(record.as_bytes()) && sent.ends_with(b"\0"));
    assert!(sent[record.len()..sent.len() - 1] == bytes);
    drop((answers, stuck, master));
    gateway.stop();
}

#[test]
fn a_channel_whose_store_hangs_ends_the_connection_that_it_holds_up() {
    let mut setup = Setup::new();
    setup.local_store("main");
    let store = s3::new_store();
    let link = Link::to(store.port(), Duration::ZERO, 1 << 30);
    setup.store(
        "far",
        json!({ "url": store.url(), "options": store.options_through(&format!("http://127.0.0.1:{}", link.port)) }),
    );
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/").home("/far", "far:/"));
    setup.limit("stall", format!("{}s", STALL.as_secs()));
    setup.limit("transfer_memory", "16MiB");
    let gateway = setup.start();
    let master = Master::start(&gateway.client("alice", &key), setup.folder().join("mux"));
    let mut near = RawSftp::connect(&master.client, LIMIT);
    let mut far = RawSftp::connect(&master.client, LIMIT);
    let old = far.open("/far/old", FOR_WRITING);
    let piece = noise(PIECE, 1);
    for n in 0..24 {
        far.send(WRITE, 2, &write_body(&old, n * PIECE, &piece));
        assert_eq!(far.receive().status(), 0);
    }
    assert_eq!(far.close(3, &old), 0);

    // Opened to write in the middle of what is there: the bytes before are fetched first, and they do not come.
    let handle = far.open("/far/old", 2);
    link.stop();
    let stopped = Instant::now();
    let data = noise(255 * KIB, 2);
    let mut sent = 0;
    while sent < 64
        && far.send_raw(&packet(WRITE, 100 + sent, &write_body(&handle, 10 + u64::from(sent) * PIECE, &data)))
    {
        sent += 1;
    }
    near.send_raw(&packet(STAT, 7, &string(b"/")));
    near.read_to_end();
    assert!(stopped.elapsed() >= STALL, "it took {:?}", stopped.elapsed());
    link.go_on();
    let end = gateway.events.await_disconnected(1);
    let end = end.last().unwrap();
    assert_eq!(field(end, "reason"), "server", "{end}");
    assert!(field(end, "message").contains("held up the others"), "{end}");
    drop((near, far, master));
    gateway.stop();
}

fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    string(&[&[kind][..], &id.to_be_bytes(), body].concat())
}
