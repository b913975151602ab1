//! The program of the example comes to the same verdict as `lockgate audit verify`, without anything of ours.

use std::fs;
use std::io::Write;
use std::path::Path;

use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::GzEncoder;

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

/// Lines as bytes.
fn bytes(lines: &[String]) -> Vec<u8> {
    text(lines).into_bytes()
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A chain of events that nobody signed, as long as it takes.
fn forged(lines: usize) -> Vec<String> {
    let mut chain = ChainMaker::start("edge-1", None);
    (0..lines).for_each(|number| chain.close(&format!("/forged-{number}")));
    chain.lines
}

/// What files contain, and whether it is in order with a key and without one.
fn odd_files() -> Vec<(&'static str, Vec<u8>, bool, bool)> {
    let lines = trail().lines;
    let whole = bytes(&lines);
    let with = |end: &[u8]| [whole.as_slice(), end].concat();
    let each = |end: &str| text(&lines).replace('\n', end).into_bytes();
    let mut unsigned_start = forged(4);
    unsigned_start.remove(0);
    let mut early = trail();
    early.pass(TimeDelta::minutes(-5));
    early.close("/early");
    let mut late = trail();
    (0..3).for_each(|number| {
        late.close(&format!("/late-{number}"));
        late.pass(TimeDelta::minutes(3));
    });
    let mut soon = trail();
    (0..3).for_each(|number| soon.close(&format!("/soon-{number}")));
    let (broken_off, next) = (&lines[9][..lines[9].len() / 2], 9);
    let mut again = lines.clone();
    again.insert(next, broken_off.to_owned());
    let mut torn = lines.clone();
    torn.insert(next + 1, broken_off.to_owned());
    let many = std::iter::repeat_n(broken_off.to_owned(), 40).collect::<Vec<_>>();
    let mut other_time = lines.clone();
    other_time.last_mut().unwrap().insert_str(1, "\"timestamp\":\"yesterday\",");
    vec![
        ("nothing", Vec::new(), false, false),
        ("nothing, packed", packed(b""), false, false),
        ("a blank line", b"\n".to_vec(), false, false),
        ("text", b"root:x:0:0:root:/root:/bin/sh\nbin:x:1:1::/:\n".to_vec(), false, false),
        ("one word", b"{".to_vec(), false, false),
        ("a space at each end", each(" \n"), false, false),
        ("CRLF", each("\r\n"), false, false),
        ("a chain without signatures", bytes(&forged(2_000)), false, true),
        ("a piece without a start, of a moment", bytes(&unsigned_start), true, true),
        ("JSON of others at the end", with(b"{\"activity-type\":\"CLOSE\",\"user\":\"alice\"}\n"), false, false),
        ("a blank line at the end", with(b"\n"), false, false),
        ("zeros at the end", with(&[0; 4096]), false, false),
        ("a line that breaks off at the end", with(broken_off.as_bytes()), true, true),
        ("as many as no kill leaves", with(&bytes(&many)), false, false),
        ("a line that breaks off in the middle", bytes(&torn), false, false),
        ("a line that breaks off and is there again", bytes(&again), true, true),
        ("packed", packed(&whole), true, true),
        ("packed in two parts", [packed(&whole[..999]), packed(&whole[999..])].concat(), true, true),
        ("zeros after the packed part", [packed(&whole), vec![0; 512]].concat(), false, false),
        ("packed and cut off", packed(&whole)[..400].to_vec(), false, false),
        ("lines long after the last signature", bytes(&late.lines), false, true),
        ("lines soon after the last signature", bytes(&soon.lines), true, true),
        ("a line with an earlier time after the last signature", bytes(&early.lines), false, true),
        ("a line without a time", bytes(&other_time), false, false),
        ("the same twice", with(&whole), false, false),
    ]
}

#[test]
fn both_judge_files_that_prove_nothing_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("events.ndjson"), folder.path().join("key.pub"));
    fs::write(&key, trail().public_pem().unwrap()).unwrap();
    for (what, content, with_key, without_key) in odd_files() {
        fs::write(&file, content).unwrap();
        let theirs = by_hand(&[Path::new("--key"), &key, &file]);
        let ours = run(lockgate().args(["audit", "verify"]).arg(&file).arg("--key").arg(&key));
        assert_eq!(ours.status.success(), with_key, "{what}: {ours:?}");
        assert_eq!(theirs.status.success(), with_key, "{what}: {theirs:?}");
        let theirs_without = by_hand(&[&file]);
        let ours_without = run(lockgate().args(["audit", "verify"]).arg(&file));
        assert_eq!(ours_without.status.success(), without_key, "{what}, without a key: {ours_without:?}");
        assert_eq!(theirs_without.status.success(), without_key, "{what}, without a key: {theirs_without:?}");
        for done in [&theirs, &theirs_without] {
            assert_eq!(done.status.code(), Some(i32::from(!done.status.success())), "{what}: {done:?}");
            assert_eq!(done.stdout.contains("INTACT"), done.status.success(), "{what}: {done:?}");
            assert!(!done.stderr.contains("Traceback"), "{what}: {done:?}");
        }
    }
    let missing = by_hand(&[&folder.path().join("none")]).failed();
    assert!(missing.stdout.contains("none, line 1: it cannot be read") && missing.stderr.is_empty(), "{missing}");
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
    // Out of their order, they are two pieces, as for `audit verify`.
    let done = by_hand(&[&second, &packed]).succeeded();
    assert!(done.stdout.contains("begins in the middle, with sequence 10"), "{done}");
    let long = folder.path().join("long.ndjson");
    let mut chain = ChainMaker::start("edge-1", None);
    (0..50_000).for_each(|number| chain.close(&format!("/{number}")));
    fs::write(&long, text(&chain.lines)).unwrap();
    let done = by_hand(&[&long]).succeeded();
    assert!(done.stdout.contains("INTACT: 50001 lines, 0 findings"), "{done}");
    by_hand(&[&folder.path().join("none")]).failed();
}
