//! `scp -t`, when all is well.

use std::time::{Duration, SystemTime};

use super::home::{Home, content};

#[tokio::test]
async fn a_file_goes_under_its_own_name_into_a_directory_and_under_the_target_s_elsewhere() {
    let home = Home::new().await;
    home.make_directory("/in").await;
    for (target, stored) in [
        ("in", "/in/a.txt"),
        (".", "/a.txt"),
        ("~", "/a.txt"),
        ("in/b.txt", "/in/b.txt"),
        ("/new/c", "/new/c"),
        ("'*'", "/*"),
        ("~ann", "/a.txt"),
        ("~ann/in", "/in/a.txt"),
        ("'~ann'", "/~ann"),
    ] {
        let mut scp = home.run(&format!("scp -t {target}"));
        scp.hear("\0").await;
        scp.say("C0644 5 a.txt\n", "\0").await;
        scp.say("hello\0", "\0").await;
        assert_eq!(
            home.content(stored).await.as_deref(),
            Some(b"hello".as_slice()),
            "{target}: before the client's end"
        );
        assert_eq!(scp.end().await, (0, vec![]), "{target}");
    }
}

#[tokio::test]
async fn content_arrives_as_it_was_however_it_was_cut() {
    let home = Home::new().await;
    for length in [0, 1, 2, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 5 * 1024 * 1024 + 1, 20_000_000] {
        let bytes = content(length);
        let mut scp = home.run("scp -t file");
        scp.hear("\0").await;
        scp.say(format!("C0600 {length} x\n"), "\0").await;
        for piece in bytes.chunks(bytes.len() / 7 + 1) {
            scp.client.send(piece.to_vec()).await;
        }
        scp.say("\0", "\0").await;
        assert_eq!(scp.end().await.0, 0);
        assert!(home.content("/file").await.unwrap() == bytes, "{length}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_answers_is_served() {
    let home = Home::new().await;
    let mut scp = home.run("scp -r -t .");
    scp.client.send("D0755 0 d\nC0644 3 a\nabc\0C0644 0 b\n\0E\nC0644 1 c\nx\0").await;
    assert_eq!(scp.end().await, (0, vec![0; 9]));
    assert_eq!(home.content("/d/a").await.unwrap(), b"abc");
    assert_eq!(home.content("/d/b").await.unwrap(), b"");
    assert_eq!(home.content("/c").await.unwrap(), b"x");
}

#[tokio::test]
async fn a_client_that_ends_right_after_the_bytes_has_sent_them_all() {
    let home = Home::new().await;
    let mut scp = home.run("scp -pt '/a b'");
    scp.hear("\0").await;
    // As libssh2 does it.
    scp.say("T1500000000 0 1500000000 0\n", "\0").await;
    scp.say("C0644 3 a b\n", "\0").await;
    scp.client.send("abc").await;
    assert_eq!(scp.end().await, (0, vec![0]));
    assert_eq!(home.content("/a b").await.unwrap(), b"abc");
}

#[tokio::test]
async fn bytes_one_at_a_time_are_the_same_bytes() {
    let home = Home::new().await;
    let mut scp = home.run("scp -p -t .");
    for byte in b"T1700000000 0 1700000000 0\nC0644 3 a\nabc\0" {
        scp.client.send(vec![*byte]).await;
    }
    assert_eq!(scp.end().await, (0, vec![0; 4]));
    assert_eq!(home.content("/a").await.unwrap(), b"abc");
}

#[tokio::test]
async fn a_tree_keeps_its_shape_and_its_times() {
    let home = Home::new().await;
    let mut scp = home.run("scp -r -p -t new");
    scp.hear("\0").await;
    // Onto a target that is not there: the directory takes the target's name.
    for (line, bytes) in [
        ("T1600000000 0 1600000001 0\n", None),
        ("D0755 0 tree\n", None),
        ("T1500000000 0 1500000001 0\n", None),
        ("C0644 1 a\n", Some("a\0")),
        ("D0700 0 sub dir\n", None),
        ("C0644 2 ü\n", Some("bb\0")),
        ("D0755 0 empty\n", None),
        ("E\n", None),
        ("E\n", None),
        ("C0644 1 z\n", Some("z\0")),
        ("E\n", None),
    ] {
        scp.say(line, "\0").await;
        if let Some(bytes) = bytes {
            scp.say(bytes, "\0").await;
        }
    }
    assert_eq!(scp.end().await, (0, vec![]));
    assert_eq!(home.content("/new/a").await.unwrap(), b"a");
    assert_eq!(home.content("/new/sub dir/ü").await.unwrap(), b"bb");
    assert_eq!(home.content("/new/z").await.unwrap(), b"z");
    assert!(home.stat("/new/sub dir/empty").await.is_some());
    let mtime = home.stat("/new/a").await.unwrap().mtime.unwrap();
    assert_eq!(mtime, SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
    // The time was for one file only.
    assert!(home.stat("/new/z").await.unwrap().mtime.unwrap() > mtime + Duration::from_secs(1000));
}

#[tokio::test]
async fn a_tree_goes_into_directories_that_exist() {
    let home = Home::new().await;
    home.put("/in/tree/old", "old").await;
    let mut scp = home.run("scp -r -t in");
    scp.hear("\0").await;
    scp.say("D0755 0 tree\n", "\0").await;
    scp.say("C0644 3 new\n", "\0").await;
    scp.say("new\0", "\0").await;
    scp.say("E\n", "\0").await;
    assert_eq!(scp.end().await, (0, vec![]));
    assert_eq!(home.content("/in/tree/new").await.unwrap(), b"new");
    assert_eq!(home.content("/in/tree/old").await.unwrap(), b"old");
    assert!(!home.history().iter().any(|event| event.starts_with("MKDIR")));
}

#[tokio::test]
async fn several_sources_go_into_one_directory() {
    let home = Home::new().await;
    home.make_directory("/in").await;
    let mut scp = home.run("scp -d -t in");
    scp.hear("\0").await;
    for name in ["a", "b", "with space", "#1", "%41", "*", "-x", "~"] {
        scp.say(format!("C0644 1 {name}\n"), "\0").await;
        scp.say("x\0", "\0").await;
        assert_eq!(home.content(&format!("/in/{name}")).await.unwrap(), b"x", "{name}");
    }
    // WinSCP says that it has finished.
    scp.say("E\n", "\0").await;
    assert_eq!(scp.end().await, (0, vec![]));
}

#[tokio::test]
async fn each_upload_is_one_open_and_one_close() {
    let home = Home::new().await;
    let mut scp = home.run("scp -r -p -t .");
    scp.client.send("T1500000000 0 1500000000 0\nC0644 3 a\nabc\0D0755 0 d\nE\n").await;
    assert_eq!(scp.end().await.0, 0);
    assert_eq!(home.history(), ["OPEN /a", "CLOSE /a", "MKDIR /d"]);
}

#[tokio::test]
async fn a_deep_tree_is_received() {
    let home = Home::new().await;
    let mut scp = home.run("scp -r -t .");
    scp.hear("\0").await;
    for _ in 0..crate::scp::MAX_DEPTH {
        scp.say("D0755 0 d\n", "\0").await;
    }
    scp.say("D0755 0 d\n", "\x01scp: /d/").await;
    let line = scp.client.line().await;
    assert!(line.ends_with(": more than 256 directories below each other\n"), "{line}");
    for _ in 0..crate::scp::MAX_DEPTH {
        scp.say("E\n", "\0").await;
    }
    assert_eq!(scp.end().await, (1, vec![]));
}

#[tokio::test]
async fn a_time_that_cannot_be_kept_is_left_out() {
    let home = Home::new().await;
    let mut scp = home.run("scp -p -t .");
    scp.hear("\0").await;
    scp.say("T253402300800 0 1 0\n", "\0").await;
    scp.say("C0644 1 a\n", "\0").await;
    scp.say("a\0", "\0").await;
    assert_eq!(scp.end().await, (0, vec![]));
    let age = home.stat("/a").await.unwrap().mtime.unwrap().elapsed().unwrap();
    assert!(age < Duration::from_secs(1000), "{age:?}");
}

#[tokio::test]
async fn the_last_of_several_times_counts_and_one_without_a_file_is_nothing() {
    let home = Home::new().await;
    let mut scp = home.run("scp -p -t .");
    scp.hear("\0").await;
    scp.say("T1500000000 0 1 0\n", "\0").await;
    scp.say("T1600000000 0 1 0\n", "\0").await;
    scp.say("C0644 1 a\n", "\0").await;
    scp.say("a\0", "\0").await;
    scp.say("T1 0 1 0\n", "\0").await;
    assert_eq!(scp.end().await, (0, vec![]));
    let mtime = home.stat("/a").await.unwrap().mtime.unwrap();
    assert_eq!(mtime, SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
}
