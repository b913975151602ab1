//! Files and trees there and back: every OpenSSH client against every kind of store, bytes compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::support::client::{Client, quoted};
use crate::support::data::{
    EDGES, GIB, assert_same_bytes, assert_same_tree, noise, write_edges, write_noise, write_tree,
};
use crate::support::gateway::Gateway;
use crate::support::process::{LIMIT, Running, run_with};
use crate::support::s3::S3Store;
use crate::support::setup::{Setup, User};

#[derive(Debug, Clone, Copy)]
enum Tool {
    /// `sftp -b`
    Sftp,
    /// `scp`, which speaks SFTP since OpenSSH 9
    Scp,
    /// `scp -O`, the SCP protocol
    OldScp,
}

/// A store of each kind, and how to look into it without the gateway.
enum Behind {
    Local(PathBuf),
    Memory,
    S3(S3Store),
}

impl Behind {
    /// Compares an object with what was uploaded, past the gateway.
    #[track_caller]
    fn assert_holds(&self, name: &str, expected: &Path, scratch: &Path) {
        match self {
            Behind::Local(root) => assert_same_bytes(&root.join(name), expected),
            Behind::S3(store) => {
                let copy = scratch.join("fetched");
                store.fetch(name, &copy);
                assert_same_bytes(&copy, expected);
            }
            // Nobody but the gateway sees its memory.
            Behind::Memory => {}
        }
    }
}

/// A gateway with one user whose home is the whole of one store.
struct Bench {
    setup: Setup,
    gateway: Gateway,
    client: Client,
    behind: Behind,
}

fn bench(store: &str) -> Bench {
    let mut setup = Setup::new();
    let behind = match store {
        "local" => Behind::Local(setup.local_store("main")),
        "memory" => {
            setup.memory_store("main");
            Behind::Memory
        }
        "s3" => Behind::S3(setup.s3_store("main")),
        other => panic!("no store {other}"),
    };
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "main:/"));
    let gateway = setup.start();
    let client = gateway.client("alice", &key).within(LIMIT);
    Bench { setup, gateway, client, behind }
}

impl Tool {
    fn upload(self, client: &Client, files: &[PathBuf], folder: &str) {
        match self {
            Tool::Sftp => {
                let puts: Vec<String> =
                    files.iter().map(|f| format!("put {} {}\n", quoted(f.to_str().unwrap()), quoted(folder))).collect();
                client.sftp(&puts.concat()).succeeded();
            }
            Tool::Scp | Tool::OldScp => {
                let mut arguments = self.flags();
                arguments.extend(files.iter().map(|f| f.to_str().unwrap().to_string()));
                arguments.push(client.remote(folder));
                client.scp(arguments).succeeded();
            }
        }
    }

    fn download(self, client: &Client, names: &[String], into: &Path) {
        match self {
            Tool::Sftp => {
                let gets: Vec<String> =
                    names.iter().map(|n| format!("get {} {}\n", quoted(n), quoted(into.to_str().unwrap()))).collect();
                client.sftp(&gets.concat()).succeeded();
            }
            Tool::Scp | Tool::OldScp => {
                let mut arguments = self.flags();
                arguments.extend(names.iter().map(|n| client.remote(n)));
                arguments.push(into.to_str().unwrap().into());
                client.scp(arguments).succeeded();
            }
        }
    }

    /// The content of `folder` becomes the directory `remote`, which is not there yet (its parent is).
    fn upload_tree(self, client: &Client, folder: &Path, remote: &str) {
        match self {
            Tool::Sftp => {
                let put = format!("mkdir {0}\nput -r {1}/. {0}\n", quoted(remote), folder.to_str().unwrap());
                client.sftp(&put).succeeded();
            }
            Tool::Scp | Tool::OldScp => {
                let mut arguments = self.flags();
                arguments.extend(["-r".into(), folder.to_str().unwrap().into(), client.remote(remote)]);
                client.scp(arguments).succeeded();
            }
        }
    }

    /// The directory `remote` becomes the folder `into`, which is not there yet.
    fn download_tree(self, client: &Client, remote: &str, into: &Path) {
        match self {
            Tool::Sftp => {
                let get = format!("get -r {} {}\n", quoted(remote), quoted(into.to_str().unwrap()));
                client.sftp(&get).succeeded();
            }
            Tool::Scp | Tool::OldScp => {
                let mut arguments = self.flags();
                arguments.extend(["-r".into(), client.remote(remote), into.to_str().unwrap().into()]);
                client.scp(arguments).succeeded();
            }
        }
    }

    fn flags(self) -> Vec<String> {
        match self {
            Tool::OldScp => vec!["-q".into(), "-O".into()],
            _ => vec!["-q".into()],
        }
    }
}

/// Files of every edge size, then a tree, up and down.
fn round_trip(store: &str, tool: Tool) {
    let Bench { setup, gateway, client, behind } = bench(store);
    let source = setup.subfolder("source");
    let files = write_edges(&source);
    tool.upload(&client, &files, "/");
    for file in &files {
        behind.assert_holds(file.file_name().unwrap().to_str().unwrap(), file, setup.folder());
    }
    let names: Vec<String> = EDGES.iter().map(|size| format!("/{size}.bin")).collect();
    let back = setup.subfolder("back");
    tool.download(&client, &names, &back);
    assert_same_tree(&back, &source);

    // A shorter file over a longer one: no old byte stays.
    let shorter = setup.folder().join("5242881.bin");
    fs::write(&shorter, "short").unwrap();
    tool.upload(&client, std::slice::from_ref(&shorter), "/");
    behind.assert_holds("5242881.bin", &shorter, setup.folder());
    tool.download(&client, &["/5242881.bin".into()], &back);
    assert_same_bytes(&back.join("5242881.bin"), &shorter);

    let tree = setup.subfolder("tree");
    write_tree(&tree);
    tool.upload_tree(&client, &tree, "/tree");
    if let Behind::Local(root) = &behind {
        assert_same_tree(&root.join("tree"), &tree);
    }
    let tree_back = setup.folder().join("tree-back");
    tool.download_tree(&client, "/tree", &tree_back);
    assert_same_tree(&tree_back, &tree);
    gateway.stop();
}

/// 1 GiB with every tool, over the same name: each upload replaces the last.
fn one_gib(store: &str) {
    let Bench { setup, gateway, client, behind } = bench(store);
    let source = setup.subfolder("source").join("big");
    let back = setup.subfolder("back");
    for (seed, tool) in [(1, Tool::Sftp), (2, Tool::Scp), (3, Tool::OldScp)] {
        write_noise(&source, GIB, seed);
        tool.upload(&client, std::slice::from_ref(&source), "/");
        behind.assert_holds("big", &source, setup.folder());
        tool.download(&client, &["/big".into()], &back);
        assert_same_bytes(&back.join("big"), &source);
        fs::remove_file(back.join("big")).unwrap();
    }
    gateway.stop();
}

#[test]
fn sftp_against_a_local_store() {
    round_trip("local", Tool::Sftp);
}

#[test]
fn sftp_against_a_memory_store() {
    round_trip("memory", Tool::Sftp);
}

#[test]
fn sftp_against_s3() {
    round_trip("s3", Tool::Sftp);
}

#[test]
fn scp_against_a_local_store() {
    round_trip("local", Tool::Scp);
}

#[test]
fn scp_against_a_memory_store() {
    round_trip("memory", Tool::Scp);
}

#[test]
fn scp_against_s3() {
    round_trip("s3", Tool::Scp);
}

#[test]
fn the_scp_protocol_against_a_local_store() {
    round_trip("local", Tool::OldScp);
}

#[test]
fn the_scp_protocol_against_a_memory_store() {
    round_trip("memory", Tool::OldScp);
}

#[test]
fn the_scp_protocol_against_s3() {
    round_trip("s3", Tool::OldScp);
}

#[test]
fn one_gib_through_every_tool_against_a_local_store() {
    one_gib("local");
}

#[test]
fn one_gib_through_every_tool_against_a_memory_store() {
    one_gib("memory");
}

#[test]
fn one_gib_through_every_tool_against_s3() {
    one_gib("s3");
}

/// What a person types into `sftp` without `-b`, on each store.
fn a_session_by_hand(store: &str) {
    let Bench { setup, gateway, client, .. } = bench(store);
    let file = setup.folder().join("note.txt");
    fs::write(&file, "a note\n").unwrap();
    let copy = setup.folder().join("copy.txt");
    let script = format!(
        "version\npwd\nmkdir inbox\ncd inbox\npwd\nput {0} a.txt\nls -l\nrename a.txt b.txt\nls\n\
         chmod 600 b.txt\nget b.txt {1}\nput -p {0} c.txt\nrm c.txt\nls -1\nrm b.txt\ncd ..\nrmdir inbox\nls -la\nbye\n",
        file.display(),
        copy.display()
    );
    let mut command = client.command("sftp");
    let done = run_with(command.arg(client.host()), script.as_bytes(), LIMIT).succeeded();
    assert!(done.stdout.lines().any(|l| l.ends_with(" /inbox")), "{done}");
    assert!(done.stdout.lines().any(|l| l.starts_with("-rw") && l.ends_with(" a.txt")), "{done}");
    assert!(done.stdout.lines().any(|l| l.trim() == "b.txt"), "{done}");
    for failure in ["Couldn't", "couldn't", "Failure", "denied", "No such file", "not found"] {
        assert!(!done.stderr.contains(failure) && !done.stdout.contains(failure), "{failure}: {done}");
    }
    assert_same_bytes(&copy, &file);
    client.sftp("ls /inbox\n").failed();
    gateway.stop();
}

#[test]
fn sftp_by_hand_against_a_local_store() {
    a_session_by_hand("local");
}

#[test]
fn sftp_by_hand_against_a_memory_store() {
    a_session_by_hand("memory");
}

#[test]
fn sftp_by_hand_against_s3() {
    a_session_by_hand("s3");
}

#[test]
fn an_upload_appears_whole_or_not_at_all() {
    for store in ["local", "memory", "s3"] {
        let Bench { setup, gateway, client, behind } = bench(store);
        let old = setup.folder().join("old");
        fs::write(&old, "the old content").unwrap();
        client.sftp(&format!("put {} /file\n", old.display())).succeeded();

        let new = setup.folder().join("new");
        fs::write(&new, noise(40 << 20, 9)).unwrap();
        // 4 Mbit/s: eighty seconds for the whole, killed long before.
        let mut slow = Running::start(client.command("sftp").args(["-l", "4000", "-b", "-"]).arg(client.host()));
        slow.feed(format!("put {} /file\n", new.display()).as_bytes());
        gateway.events.until("second OPEN", |events| {
            (events.iter().filter(|e| e["activity-type"] == "OPEN").count() == 2).then_some(())
        });
        std::thread::sleep(Duration::from_millis(1500));
        let seen = setup.folder().join("seen");
        client.sftp(&format!("get /file {}\n", seen.display())).succeeded();
        assert_same_bytes(&seen, &old);
        slow.kill();
        gateway.events.await_event("PARTIAL_CLOSE", |_| true);
        gateway.events.until("end of both and of the killed session", |events| {
            (events.iter().filter(|e| e["activity-type"] == "DISCONNECTED").count() == 3).then_some(())
        });
        client.sftp(&format!("get /file {}\n", seen.display())).succeeded();
        assert_same_bytes(&seen, &old);
        match &behind {
            Behind::S3(s3) => assert_eq!((s3.keys(), s3.unfinished_uploads()), (vec!["file".into()], 0)),
            Behind::Local(root) => assert_eq!(names_below(root), ["file"]),
            Behind::Memory => {}
        }
        gateway.stop();
    }
}

#[test]
fn an_upload_is_resumed_from_where_the_file_ends() {
    for store in ["local", "memory", "s3"] {
        let Bench { setup, gateway, client, .. } = bench(store);
        let whole = setup.folder().join("whole");
        write_noise(&whole, 12 << 20, 5);
        let begun = setup.folder().join("begun");
        fs::write(&begun, &fs::read(&whole).unwrap()[..7 << 20]).unwrap();
        client.sftp(&format!("put {} /file\n", begun.display())).succeeded();
        client.sftp(&format!("reput {} /file\n", whole.display())).succeeded();
        let back = setup.folder().join("back");
        client.sftp(&format!("get /file {}\n", back.display())).succeeded();
        assert_same_bytes(&back, &whole);
        let closes = gateway.events.of_type("CLOSE");
        assert_eq!(closes[1]["bytes-in"], (5 << 20).to_string(), "{}: only the rest is sent: {closes:?}", store);

        fs::copy(&begun, &back).unwrap();
        client.sftp(&format!("reget /file {}\n", back.display())).succeeded();
        assert_same_bytes(&back, &whole);
        gateway.stop();
    }
}

#[test]
fn a_file_is_copied_without_its_bytes_passing_the_client() {
    for store in ["local", "memory", "s3"] {
        let Bench { setup, gateway, client, behind } = bench(store);
        let whole = setup.folder().join("whole");
        write_noise(&whole, 12 << 20, 5);
        client.sftp(&format!("put {} /from\n", whole.display())).succeeded();
        client.sftp("cp /from /to\n").succeeded();
        behind.assert_holds("to", &whole, setup.folder());
        let back = setup.folder().join("back");
        client.sftp(&format!("get /to {}\n", back.display())).succeeded();
        assert_same_bytes(&back, &whole);

        let closes = gateway.events.of_type("CLOSE");
        let of = |name: &str, operation: &str| {
            let mut found = closes.iter().filter(|e| e["logical-path"] == name && e["operation"] == operation);
            found.next().unwrap_or_else(|| panic!("no {operation} of {name}: {closes:?}"))
        };
        let (put, read, written) = (of("/from", "write"), of("/from", "copy"), of("/to", "write"));
        assert_eq!((&read["bytes-copied"], &written["bytes-in"]), (&json!(12_582_912), &json!("12582912")));
        assert_eq!(read["bytes-out"], "0", "nothing of it went to the client: {read}");
        let first = gateway.events.await_disconnected(2);
        let end = first.last().unwrap();
        assert_eq!((&end["bytes-out"], &end["files-out"]), (&json!("0"), &json!(0)), "{end}");
        match behind {
            // Its bytes are read and written here, so their digest is known.
            Behind::Local(_) => assert_eq!(written["sha256"], put["sha256"]),
            Behind::Memory | Behind::S3(_) => {
                assert_eq!(written["message"], "a copy of /from", "{written}");
                assert!(written.get("sha256").is_none(), "{written}");
            }
        }
        gateway.stop();
    }
}

/// Everything in a folder, but for what the store keeps for itself under names that begin with a dot.
fn names_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|n| !n.starts_with('.')).collect();
    names.sort();
    names
}
