//! The program of the example comes to the same verdict as `lockgate audit verify`, without anything of ours.

use std::fs;
use std::path::Path;

use crate::support::gateway::lockgate;
use crate::support::process::{Finished, program, run};
use crate::support::trail::{ChainMaker, SigningKey, text};

/// What is done to the lines of a trail.
type Change = fn(&mut Vec<String>);

fn by_hand(words: &[&Path]) -> Finished {
    let mut command = program("python3");
    command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/verify_trail.py"));
    run(command.args(words))
}

/// A trail with restarts, kills and what a kill may lose.
fn trail() -> ChainMaker {
    let mut chain = ChainMaker::start("edge-1", Some(SigningKey::new(3)));
    (0..20).for_each(|number| chain.close(&format!("/\u{202e}\"sequence\":{number}")));
    chain.restart();
    (0..5).for_each(|number| chain.close(&format!("/{number}")));
    chain.kill(3, chain.last() - 1, true);
    (0..5).for_each(|number| chain.close(&format!("/after-{number}")));
    chain.kill(0, chain.last(), false);
    chain.close("/last");
    chain.checkpoint("shutdown", None);
    chain
}

#[test]
fn both_find_the_same_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key, other) =
        (folder.path().join("events.ndjson"), folder.path().join("key.pub"), folder.path().join("other.pub"));
    let chain = trail();
    fs::write(&key, chain.public_pem().unwrap()).unwrap();
    fs::write(&other, SigningKey::new(4).public_pem()).unwrap();
    let judge = |what: &str, lines: &[String], key: &Path, whole: bool| {
        fs::write(&file, text(lines)).unwrap();
        let theirs = by_hand(&[Path::new("--key"), key, &file]);
        let ours = run(lockgate().args(["audit", "verify"]).arg(&file).arg("--key").arg(key));
        assert_eq!(theirs.status.success(), whole, "{what}: {theirs:?}");
        assert_eq!(ours.status.success(), whole, "{what}: {ours:?}");
    };
    let lines = chain.lines.clone();
    judge("as it is", &lines, &key, true);
    judge("another key", &lines, &other, false);
    let changes: [(&str, Change); 8] = [
        ("changed", |lines| lines[4] = lines[4].replace("121", "122")),
        ("removed", |lines| drop(lines.remove(4))),
        ("added", |lines| lines.insert(4, lines[3].clone())),
        ("moved", |lines| lines.swap(4, 9)),
        ("the checkpoint changed", |lines| {
            let at = lines.iter().position(|line| line.contains("shutdown")).unwrap();
            lines[at] = lines[at].replace("shutdown", "interval");
        }),
        ("unsigned", |lines| {
            let at = lines.len() - 1;
            lines[at] = format!("{}}}", lines[at].split(",\"signature\"").next().unwrap());
        }),
        ("more lost than a kill may", |lines| {
            let at = lines.iter().rposition(|line| line.contains("\"clean\":false")).unwrap();
            drop(lines.remove(at - 1));
        }),
        ("not a line", |lines| lines.insert(6, "{\"a\":1}".into())),
    ];
    for (what, change) in changes {
        let mut lines = lines.clone();
        change(&mut lines);
        judge(what, &lines, &key, false);
    }
}

#[test]
fn it_reads_packed_files_in_their_order_and_says_what_it_did_not_check() {
    let folder = tempfile::tempdir().unwrap();
    let chain = trail();
    let (first, second) = (folder.path().join("events.ndjson.1"), folder.path().join("events.ndjson"));
    let (before, after) = chain.lines.split_at(9);
    fs::write(&first, text(before)).unwrap();
    fs::write(&second, text(after)).unwrap();
    run(program("gzip").arg(&first)).succeeded();
    let packed = folder.path().join("events.ndjson.1.gz");
    let done = by_hand(&[&packed, &second]).succeeded();
    assert!(done.stdout.contains("NOT CHECKED"), "{done}");
    by_hand(&[&second, &packed]).failed();
    let long = folder.path().join("long.ndjson");
    let mut chain = ChainMaker::start("edge-1", None);
    (0..50_000).for_each(|number| chain.close(&format!("/{number}")));
    fs::write(&long, text(&chain.lines)).unwrap();
    let done = by_hand(&[&long]).succeeded();
    assert!(done.stdout.contains("INTACT: 50001 lines, 0 findings"), "{done}");
    by_hand(&[&folder.path().join("none")]).failed();
}
