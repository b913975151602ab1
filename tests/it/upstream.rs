//! A home on somebody else's SFTP server: OpenSSH's clients, the gateway, and OpenSSH's server behind it, which is killed now and then.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::campaign;
use crate::support::client::Client;
use crate::support::content::{Content, recognize};
use crate::support::data::{KIB, MIB, assert_same_bytes, assert_same_tree, write_noise, write_tree};
use crate::support::events::field;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::keys::Key;
use crate::support::process::{LIMIT, Running, run, until};
use crate::support::setup::{Setup, User};
use crate::support::sshd::Sshd;

struct Bench {
    setup: Setup,
    gateway: Gateway,
    client: Client,
    key: Key,
    sshd: Sshd,
    /// What the server serves.
    root: PathBuf,
}

pub fn configured(sshd: &Sshd, further: &[(&str, &str)]) -> (Setup, Key, PathBuf) {
    let mut setup = Setup::new();
    let root = setup.subfolder("upstream");
    let mut store = json!({ "url": sshd.url(&root), "options": {} });
    for (option, value) in sshd.options() {
        store["options"][option] = value.into();
    }
    for (option, value) in further {
        store["options"][*option] = (*value).into();
    }
    setup.store("up", store);
    let key = setup.key("alice");
    setup.user(User::new("alice").key(&key).home("/", "up:/"));
    (setup, key, root)
}

fn bench() -> Bench {
    let sshd = Sshd::start(&[]);
    let (setup, key, root) = configured(&sshd, &[]);
    let gateway = setup.start();
    let client = gateway.client("alice", &key);
    Bench { setup, gateway, client, key, sshd, root }
}

/// The hidden names of unfinished uploads.
pub fn unfinished(root: &Path) -> usize {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".lockgate-upload-")).count()
}

#[test]
fn files_and_trees_travel_there_and_back_with_every_client() {
    let Bench { setup, gateway, client, root, sshd: _sshd, .. } = bench();
    let (tree, scratch) = (setup.subfolder("tree"), setup.subfolder("scratch"));
    write_tree(&tree);
    let file = setup.folder().join("file");
    write_noise(&file, 9 * MIB + 77, 1);
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    client.sftp(&format!("put -p {} /by-sftp\nmkdir /t1\nput -r {}/. /t1\n", at(&file), at(&tree))).succeeded();
    client.scp([at(&file), client.remote("/by-scp")]).succeeded();
    client.scp(["-O".to_owned(), "-p".to_owned(), at(&file), client.remote("/by-old-scp")]).succeeded();
    client.scp(["-r".to_owned(), at(&tree), client.remote("/t2")]).succeeded();
    client.scp(["-O".to_owned(), "-r".to_owned(), at(&tree), client.remote("/t3")]).succeeded();
    for name in ["by-sftp", "by-scp", "by-old-scp"] {
        assert_same_bytes(&root.join(name), &file);
    }
    let seconds = |path: &Path| {
        path.metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    assert_eq!(seconds(&root.join("by-sftp")), seconds(&file));
    assert_eq!(seconds(&root.join("by-old-scp")), seconds(&file));
    for (number, name) in ["t1", "t2", "t3"].into_iter().enumerate() {
        assert_same_tree(&root.join(name), &tree);
        let back = scratch.join(name);
        match number {
            0 => client.sftp(&format!("get -r /{name} {}\n", at(&back))).succeeded(),
            1 => client.scp(["-r".to_owned(), client.remote(&format!("/{name}")), at(&back)]).succeeded(),
            _ => client
                .scp(["-O".to_owned(), "-r".to_owned(), client.remote(&format!("/{name}")), at(&back)])
                .succeeded(),
        };
        assert_same_tree(&back, &tree);
    }
    // Half of it is there; the rest is appended, and the other way round fetched.
    let half = fs::read(&file).unwrap()[..4 * MIB as usize].to_vec();
    fs::write(root.join("resumed"), &half).unwrap();
    let back = scratch.join("resumed");
    fs::write(&back, &half).unwrap();
    client.sftp(&format!("reput {} /resumed\nreget /by-sftp {}\n", at(&file), at(&back))).succeeded();
    assert_same_bytes(&root.join("resumed"), &file);
    assert_same_bytes(&back, &file);
    client.sftp("rename /resumed /t1/renamed\nrm /by-scp\ndf -h /\nln -s /t1 /link\n").failed();
    assert_same_bytes(&root.join("t1/renamed"), &file);
    assert!(!root.join("by-scp").exists() && !root.join("link").exists());
    let opened = gateway.events.until("event of an upload", |events| {
        events.iter().find(|event| field(event, "activity-type") == "CLOSE").cloned()
    });
    assert_eq!(field(&opened, "path"), "/up/by-sftp");
    assert_eq!(unfinished(&root), 0);
    gateway.stop();
}

#[test]
fn check_online_says_what_it_found_and_shows_no_secret() {
    let sshd = Sshd::start(&[]);
    let (setup, _, _) = configured(&sshd, &[]);
    let config = setup.write_config();
    let check = |config: &Path| run(lockgate().args(["check", "--online", "--config"]).arg(config));
    let done = check(&config).succeeded().says(&sshd.host_key.fingerprint().0);
    assert!(done.stderr.contains(&format!("{}@127.0.0.1:{}", sshd.user, sshd.port)), "{done}");
    let other = setup.key("other");
    let (setup, _, _) = configured(&sshd, &[("host_key", &other.public)]);
    let done = check(&setup.write_config()).failed().says(&sshd.host_key.fingerprint().0);
    let private = fs::read_to_string(&sshd.user_key.private).unwrap();
    assert!(!private.lines().any(|line| line.len() > 30 && done.stderr.contains(line)), "{done}");
    let (mut setup, _, _) = configured(&sshd, &[]);
    setup.config["stores"]["up"]["options"].as_object_mut().unwrap().remove("host_key");
    run(lockgate().args(["check", "--config"]).arg(setup.write_config())).failed().says("host_key");
}

/// What a killed gateway left on the server is removed by the next one.
#[test]
fn what_a_killed_gateway_left_is_removed_at_its_next_start() {
    let Bench { setup, gateway, client, key, root, sshd: _sshd } = bench();
    let file = setup.folder().join("file");
    write_noise(&file, 64 * MIB, 1);
    // A megabyte a second.
    let mut slow = client.command("scp");
    let mut running = Running::start(slow.args(["-l", "8192"]).arg(&file).arg(client.remote("/slow")));
    until("unfinished upload", LIMIT, || (unfinished(&root) == 1).then_some(()));
    gateway.kill();
    running.kill();
    assert_eq!(unfinished(&root), 1);
    let gateway = setup.start();
    until("removal", LIMIT, || (unfinished(&root) == 0).then_some(()));
    assert!(!root.join("slow").exists());
    gateway.client("alice", &key).sftp(&format!("put {} /slow\n", file.display())).succeeded();
    assert_same_bytes(&root.join("slow"), &file);
    gateway.stop();
}

/// Holds the answers to writes until so many bytes wait for theirs that no single part can be all of them.
const HOLDING: &str = r#"
import os, struct, subprocess, sys, threading
server = next(p for p in (
    '/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server',
    '/usr/libexec/sftp-server') if os.path.exists(p))
child = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
lock, writes, bytes_waiting, held, is_open = threading.Lock(), set(), 0, [], False

def exactly(source, count):
    data = b''
    while len(data) < count:
        piece = source.read(count - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data

def packet(source):
    return exactly(source, struct.unpack('>I', exactly(source, 4))[0])

def answer(data):
    sys.stdout.buffer.write(struct.pack('>I', len(data)) + data)
    sys.stdout.buffer.flush()

def back():
    while True:
        data = packet(child.stdout)
        with lock:
            if data[1:5] in writes and not is_open:
                held.append(data)
            else:
                answer(data)

threading.Thread(target=back, daemon=True).start()
while True:
    data = packet(sys.stdin.buffer)
    with lock:
        if data[0] == 6 and not is_open:
            writes.add(data[1:5])
            bytes_waiting += len(data)
            if bytes_waiting > int(sys.argv[1]):
                is_open = True
                for one in held:
                    answer(one)
    child.stdin.write(struct.pack('>I', len(data)) + data)
    child.stdin.flush()
"#;

/// An upload that waited for each part before it sends the next one would wait for good here.
#[test]
fn more_than_one_part_of_an_upload_is_under_way_at_once() {
    let scripts = Setup::new();
    let shim = scripts.folder().join("holding.py");
    fs::write(&shim, HOLDING).unwrap();
    let sshd = Sshd::start(&[&format!("Subsystem sftp python3 {} {}", shim.display(), 3 * MIB)]);
    let (setup, key, root) = configured(&sshd, &[("timeout", "60s")]);
    let gateway = setup.start();
    let file = setup.folder().join("file");
    write_noise(&file, 40 * MIB + 1, 1);
    gateway.client("alice", &key).sftp(&format!("put {} /file\n", file.display())).succeeded();
    assert_same_bytes(&root.join("file"), &file);
    gateway.stop();
}

/// A file that a link within leads to is appended to as in a local store: the whole of it takes the place of the link.
#[test]
fn what_is_appended_through_a_link_takes_its_place() {
    let Bench { setup, gateway, client, root, sshd: _sshd, .. } = bench();
    fs::write(root.join("real"), "old ").unwrap();
    std::os::unix::fs::symlink("real", root.join("link")).unwrap();
    let file = setup.folder().join("file");
    fs::write(&file, "old and new").unwrap();
    client.sftp(&format!("reput {} /link\n", file.display())).succeeded();
    assert_eq!(fs::read_to_string(root.join("link")).unwrap(), "old and new");
    assert_eq!(fs::read_to_string(root.join("real")).unwrap(), "old ");
    gateway.stop();
}

/// The server dies at random moments, also while it publishes: what was acknowledged is there, whole.
#[test]
fn no_acknowledged_file_is_lost_when_the_server_is_killed() {
    let rounds = if campaign::is_long() { 300 } else { 10 };
    let Bench { setup, gateway, client, sshd, root, .. } = bench();
    let sources = setup.subfolder("sources");
    for id in 0..8 {
        let content = Content::new(id + 1, 100 * KIB + id * 300 * KIB);
        fs::write(sources.join(id.to_string()), content.bytes()).unwrap();
    }
    let mut dice = campaign::Dice::new(campaign::seed());
    let (mut acknowledged, mut refused) = (0, 0);
    for round in 0..rounds {
        // The answers stand in the events: a CLOSE without an error is what the client was told.
        let before = gateway.events.of_type("CLOSE").len();
        let put = |n| format!("-put {}/{} /f{}-{n}-r{round}\n", sources.display(), n % 8, n % 8);
        let puts: Vec<String> = (0..32).map(put).collect();
        let mut running = Running::start(&mut client.sftp_command());
        running.feed(puts.concat().as_bytes());
        running.close_input();
        // Anywhere from before the first file to after the last.
        let expected = before + dice.below(30) as usize;
        let is_time = |running: &mut Running| running.has_ended() || gateway.events.of_type("CLOSE").len() >= expected;
        until("files", LIMIT, || is_time(&mut running).then_some(()));
        std::thread::sleep(Duration::from_millis(dice.below(20)));
        sshd.kill();
        sshd.start_again();
        drop(running.finish(LIMIT));
        let closed: Vec<Value> = gateway.events.of_type("CLOSE").split_off(before);
        refused += 32 - closed.len();
        for event in closed.iter().filter(|event| is_success(event)) {
            let name = field(event, "logical-path").trim_start_matches('/').to_owned();
            let id: u64 = name[1..2].parse().unwrap();
            let file =
                fs::File::open(root.join(&name)).unwrap_or_else(|error| panic!("{name} was acknowledged: {error}"));
            assert_eq!(recognize(file).expect("a whole file").id, id + 1, "{name}");
            acknowledged += 1;
        }
    }
    assert!(acknowledged > 0, "nothing was ever acknowledged");
    // Whatever has a name is whole.
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            recognize(fs::File::open(&path).unwrap()).unwrap_or_else(|what| panic!("{} {what}", path.display()));
        }
    }
    campaign::report(&format!("{acknowledged} files acknowledged and {refused} not in {rounds} kills"));
    gateway.stop();
}

fn is_success(event: &Value) -> bool {
    field(event, "status") == "success"
}
