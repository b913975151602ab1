//! `scp -f`, when all is well.

use std::time::{Duration, SystemTime};

use super::home::{Home, Running, content};
use crate::scp::Record;

#[tokio::test]
async fn a_file_is_sent_with_its_size_and_waits_for_each_answer() {
    let home = Home::new().await;
    home.put("/d/a b.txt", "hello").await;
    for source in ["'d/a b.txt'", "/d/a\\ b.txt", "~/d/'a b'.txt", "./d/../d//\"a b.txt\""] {
        let mut scp = home.run(&format!("scp -f {source}"));
        scp.say("\0", "C0644 5 a b.txt\n").await;
        scp.say("\0", "hello\0").await;
        scp.client.send("\0").await;
        assert_eq!(scp.end().await, (0, vec![]), "{source}");
        assert_eq!(home.history(), ["OPEN /d/a b.txt", "CLOSE /d/a b.txt"]);
    }
}

#[tokio::test]
async fn content_leaves_as_it_is() {
    let home = Home::new().await;
    for length in [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 5 * 1024 * 1024 + 1, 20_000_000] {
        let bytes = content(length);
        home.put("/file", bytes.clone()).await;
        let mut scp = home.run("scp -f file");
        scp.say("\0", format!("C0644 {length} file\n")).await;
        scp.client.send("\0").await;
        assert!(scp.client.read(length).await == bytes, "{length}");
        scp.hear("\0").await;
        scp.client.send("\0").await;
        assert_eq!(scp.end().await, (0, vec![]));
    }
}

#[tokio::test]
async fn what_may_only_be_read_shows_it_in_its_mode() {
    let home = Home::new().await;
    home.put("/public/a", "x").await;
    let mut scp = home.run("scp -f public/a");
    scp.say("\0", "C0444 1 a\n").await;
    drop(scp);
}

#[tokio::test]
async fn times_are_sent_when_they_are_asked_for() {
    let home = Home::new().await;
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    home.put_with_time("/a", "x", Some(mtime)).await;
    let mut scp = home.run("scp -p -f a");
    scp.say("\0", "T1500000000 0 1500000000 0\n").await;
    scp.say("\0", "C0644 1 a\n").await;
    scp.say("\0", "x\0").await;
    scp.client.send("\0").await;
    assert_eq!(scp.end().await, (0, vec![]));
}

/// Plays a client that takes everything: the records by their path, and the server's errors.
async fn take_all(mut scp: Running) -> (u32, Vec<String>, Vec<String>) {
    let (mut taken, mut errors) = (Vec::new(), Vec::new());
    let mut path = Vec::new();
    scp.client.send("\0").await;
    loop {
        let line = scp.client.line().await;
        let Some(line) = line.strip_suffix('\n') else { break };
        match Record::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error}")) {
            Record::File { size, name, .. } => {
                scp.client.send("\0").await;
                let content = scp.client.read(size as usize).await;
                scp.hear("\0").await;
                let name = String::from_utf8(name.to_vec()).unwrap();
                let name = [path.clone(), vec![name]].concat().join("/");
                taken.push(format!("{name}={}", String::from_utf8(content).unwrap()));
            }
            Record::Directory { name, .. } => {
                path.push(String::from_utf8(name.to_vec()).unwrap());
                taken.push(format!("{}/", path.join("/")));
            }
            Record::End => {
                path.pop().unwrap();
            }
            Record::Times { .. } => {}
            Record::Warning(text) | Record::Fatal(text) => {
                errors.push(String::from_utf8(text.to_vec()).unwrap());
                continue;
            }
        }
        scp.client.send("\0").await;
    }
    assert!(path.is_empty(), "{path:?}");
    taken.sort();
    (scp.end().await.0, taken, errors)
}

async fn tree() -> Home {
    let home = Home::new().await;
    for path in
        ["/t/a.txt", "/t/b.txt", "/t/.hidden", "/t/sub/c.txt", "/t/sub/deep/d.csv", "/t/[x]", "/t/*", "/u/a.txt"]
    {
        home.put(path, path.rsplit('/').next().unwrap().to_uppercase()).await;
    }
    home.make_directory("/t/empty").await;
    home
}

#[tokio::test]
async fn a_tree_is_sent_whole() {
    let home = tree().await;
    let expected = [
        "t/",
        "t/*=*",
        "t/.hidden=.HIDDEN",
        "t/[x]=[X]",
        "t/a.txt=A.TXT",
        "t/b.txt=B.TXT",
        "t/empty/",
        "t/sub/",
        "t/sub/c.txt=C.TXT",
        "t/sub/deep/",
        "t/sub/deep/d.csv=D.CSV",
    ];
    for command in ["scp -r -f t", "scp -rp -f t/", "scp -r -f ./t/."] {
        assert_eq!(take_all(home.run(command)).await, (0, expected.map(String::from).into(), vec![]), "{command}");
    }
    home.history();
    take_all(home.run("scp -r -f u")).await;
    assert_eq!(home.history(), ["OPEN /u/a.txt", "CLOSE /u/a.txt", "LIST /u"]);
}

#[tokio::test]
async fn the_home_itself_goes_by_its_user_s_name() {
    let home = Home::new().await;
    home.put("/x", "x").await;
    for source in [".", "~", "/", "''", "a/.."] {
        let (status, taken, errors) = take_all(home.run(&format!("scp -r -f {source}"))).await;
        assert!(taken.contains(&"ann/".into()) && taken.contains(&"ann/x=x".into()), "{source}: {taken:?}");
        assert_eq!(errors, ["scp: /drop: Permission denied", "scp: /hidden: Permission denied"], "{source}");
        assert_eq!(status, 1, "{source}");
    }
}

#[tokio::test]
async fn several_sources_and_patterns_are_sent_in_one_go() {
    let home = tree().await;
    for (sources, expected) in [
        ("t/a.txt u/a.txt", vec!["a.txt=A.TXT", "a.txt=A.TXT"]),
        ("t/*.txt", vec!["a.txt=A.TXT", "b.txt=B.TXT"]),
        ("/t/[ab].txt", vec!["a.txt=A.TXT", "b.txt=B.TXT"]),
        ("?/a.txt", vec!["a.txt=A.TXT", "a.txt=A.TXT"]),
        ("*/sub/*", vec!["c.txt=C.TXT", "deep/", "deep/d.csv=D.CSV"]),
        ("t/*/*/d*", vec!["d.csv=D.CSV"]),
        ("t/.*", vec![".hidden=.HIDDEN"]),
        ("t/'*'", vec!["*=*"]),
        ("t/\\[x\\]", vec!["[x]=[X]"]),
        ("t/[[]x]", vec!["[x]=[X]"]),
        ("t/[*]", vec!["*=*"]),
        ("t/[!a]*.txt", vec!["b.txt=B.TXT"]),
        ("t/s*/../b.txt", vec!["b.txt=B.TXT"]),
        ("u/*/ u/a*", vec!["a.txt=A.TXT"]),
        ("t/e*/", vec!["empty/"]),
    ] {
        let (status, taken, errors) = take_all(home.run(&format!("scp -r -f {sources}"))).await;
        assert_eq!(taken, expected, "{sources}");
        let none =
            if sources.contains("u/*/") { vec!["scp: u/*/: No such file or directory".to_string()] } else { vec![] };
        assert_eq!((status, errors), (none.len() as u32, none), "{sources}");
    }
}

#[tokio::test]
async fn a_client_that_ends_after_its_last_answer_has_all_that_a_pattern_stands_for() {
    let home = tree().await;
    for _ in 0..20 {
        let mut scp = home.run("scp -f t/*.txt");
        scp.client.send(vec![0; 5]).await;
        let (status, sent) = scp.end().await;
        assert_eq!(status, 0);
        assert_eq!(sent.iter().filter(|byte| **byte == b'C').count(), 2);
    }
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_is_a_name() {
    let home = tree().await;
    for (source, error) in [
        ("t/*.nope", "scp: t/*.nope: No such file or directory"),
        ("nowhere/*", "scp: nowhere/*: No such file or directory"),
        ("t/a.txt/*", "scp: t/a.txt/*: "),
        ("t/*/nope", "scp: t/*/nope: No such file or directory"),
    ] {
        let (status, taken, errors) = take_all(home.run(&format!("scp -f {source}"))).await;
        assert_eq!((status, taken), (1, vec![]), "{source}");
        assert!(errors.len() == 1 && errors[0].starts_with(error), "{source}: {errors:?}");
    }
    home.put("/odd/[1-0]", "x").await;
    let (status, taken, _) = take_all(home.run("scp -f odd/[1-0]")).await;
    assert_eq!((status, taken), (0, vec!["[1-0]=x".into()]));
}

#[tokio::test]
async fn a_directory_is_sent_only_when_asked_for() {
    let home = tree().await;
    for (sources, errors) in [
        ("t", vec!["scp: t: not a regular file"]),
        ("t/a* t", vec!["scp: t: not a regular file"]),
        ("t/e*", vec!["scp: /t/empty: not a regular file"]),
        ("/", vec!["scp: /: not a regular file"]),
    ] {
        let (status, _, seen) = take_all(home.run(&format!("scp -f {sources}"))).await;
        assert_eq!((status, seen), (1, errors.into_iter().map(String::from).collect()), "{sources}");
    }
}

#[tokio::test]
async fn a_directory_of_many_files_is_sent_whole() {
    let home = Home::new().await;
    for file in 0..2500 {
        home.put(&format!("/many/{file:04}"), "").await;
    }
    let (status, taken, errors) = take_all(home.run("scp -r -f many")).await;
    assert_eq!((status, taken.len(), errors.len()), (0, 2501, 0));
    let (status, taken, _) = take_all(home.run("scp -f many/*7")).await;
    assert_eq!((status, taken.len()), (0, 250));
}

#[tokio::test]
async fn one_s_own_name_is_the_home_and_options_of_an_upload_are_harmless() {
    let home = Home::new().await;
    home.put("/x", "x").await;
    for command in ["scp -f ~ann/x", "scp -f ~/x", "scp -d -f x", "scp -v -d -q -f x", "scp -dvf -- x"] {
        assert_eq!(take_all(home.run(command)).await, (0, vec!["x=x".into()], vec![]), "{command}");
    }
    let (status, _, errors) = take_all(home.run("scp -f ~bob/x")).await;
    assert_eq!((status, errors), (1, vec!["scp: ~bob/x: No such file or directory".into()]));
}

#[tokio::test]
async fn a_deep_tree_is_sent_and_what_is_too_deep_is_warned_of() {
    let home = Home::new().await;
    let depth = crate::scp::MAX_DEPTH;
    home.put(&format!("{}/f", "/d".repeat(depth)), "x").await;
    let (status, taken, errors) = take_all(home.run("scp -r -f d")).await;
    assert_eq!((status, taken.len(), errors.len()), (0, depth + 1, 0));
    home.put(&format!("{}/g", "/d".repeat(depth + 1)), "x").await;
    let (status, taken, errors) = take_all(home.run("scp -r -f d")).await;
    assert_eq!((status, taken.len()), (1, depth + 1));
    assert!(errors.len() == 1 && errors[0].ends_with(": more than 256 directories below each other"), "{errors:?}");
}
