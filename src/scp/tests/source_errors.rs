//! `scp -f`, when something is wrong.

use std::time::{Duration, Instant};

use super::faulty::Faults;
use super::home::{Home, content};

#[tokio::test]
async fn what_cannot_be_sent_is_warned_of_and_the_next_source_is_sent() {
    let home = Home::new().await;
    home.put("/a", "x").await;
    home.put("/drop/secret", "x").await;
    let mut scp = home.run("scp -f missing drop/secret drop/* a/b 'a\tb' a");
    scp.say("\0", "\x01scp: missing: No such file or directory\n").await;
    scp.hear("\x01scp: drop/secret: Permission denied\n").await;
    scp.hear("\x01scp: /drop: Permission denied\n").await;
    let line = scp.client.line().await;
    assert!(line.starts_with("\x01scp: a/b: "), "{line:?}");
    scp.hear("\x01scp: a?b: the name contains the control character 0x09\n").await;
    scp.hear("C0644 1 a\n").await;
    scp.say("\0", "x\0").await;
    scp.client.send("\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
    let expected =
        ["OPEN /missing", "OPEN /drop/secret", "LIST /drop", "OPEN /a/b", "OPEN a\tb", "OPEN /a", "CLOSE /a"];
    assert_eq!(home.history(), expected, "each attempt is recorded");
}

#[tokio::test]
async fn a_read_that_fails_is_filled_up_and_reported_in_step() {
    let home = Home::new().await;
    let length = 3_000_000;
    let bytes = content(length);
    home.put("/a", bytes.clone()).await;
    home.put("/b", "b").await;
    for fails_at in [0, 1_500_000] {
        home.faults(Faults { reads_fail_at: Some(fails_at as u64), ..Faults::default() });
        let mut scp = home.run("scp -f a b");
        scp.client.send("\0").await;
        let first = scp.client.line().await;
        if first == format!("C0644 {length} a\n") {
            scp.client.send("\0").await;
            let sent = scp.client.read(length).await;
            assert_eq!(sent.len(), length);
            let good = sent.iter().zip(&bytes).take_while(|(sent, byte)| sent == byte).count();
            assert!(good <= fails_at + 16 && sent[good + 16..].iter().all(|byte| *byte == 0), "{good}");
            scp.hear("\x01scp: a: the store does not answer; try again later\n").await;
            home.faults(Faults::default());
            scp.client.send("\0").await;
        } else {
            assert_eq!((first.as_str(), fails_at), ("\x01scp: a: the store does not answer; try again later\n", 0));
            home.faults(Faults::default());
        }
        scp.hear("C0644 1 b\n").await;
        scp.say("\0", "b\0").await;
        scp.client.send("\0").await;
        assert_eq!(scp.end().await, (1, vec![]));
        let ends: Vec<_> = home.history().into_iter().filter(|event| event.contains("CLOSE")).collect();
        assert_eq!(ends.last().unwrap(), "CLOSE /b");
        assert!(!ends.contains(&"CLOSE /a".into()), "{ends:?}");
    }
}

#[tokio::test]
async fn a_file_that_the_client_does_not_want_is_left_out() {
    let home = Home::new().await;
    home.put("/a", "x").await;
    home.put("/b", "x").await;
    home.put("/d/c", "x").await;
    let mut scp = home.run("scp -r -f a d b");
    scp.say("\0", "C0644 1 a\n").await;
    scp.say("\x01no room\n", "D0755 0 d\n").await;
    scp.say("\x01no directories\n", "C0644 1 b\n").await;
    scp.say("\0", "x\0").await;
    scp.client.send("\x01cannot write\n").await;
    assert_eq!(scp.end().await, (1, vec![]));
    // A listing that is given up is recorded in the background.
    home.events.wait_for("LIST", 1, Duration::from_secs(10)).await;
    let mut events = home.history();
    events.sort();
    assert_eq!(events, ["LIST /d", "OPEN /a", "OPEN /b", "PARTIAL_CLOSE /a", "PARTIAL_CLOSE /b"]);
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_answer_ends_it() {
    let home = Home::new().await;
    home.put("/d/a", content(600_000)).await;
    // To the start, the times, the record, the file. Whoever ends instead of the last one has all bytes, as libssh2 does it.
    for answers in 0..=5 {
        let mut scp = home.run("scp -r -p -f d/a");
        scp.client.send(vec![0; answers]).await;
        let (status, _) = scp.end().await;
        assert_eq!(status, u32::from(answers < 3), "{answers}");
        let events = home.history();
        let count = |activity: &str| events.iter().filter(|event| event.starts_with(activity)).count();
        assert_eq!(count("OPEN"), usize::from(answers > 0), "{answers}");
        assert_eq!(count("PARTIAL_CLOSE"), usize::from((1..3).contains(&answers)), "{answers}");
        assert_eq!(count("CLOSE"), usize::from(answers >= 3), "{answers}");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_at_any_answer_leaves_no_whole_download() {
    let home = Home::new().await;
    home.put("/d/a", content(600_000)).await;
    home.put("/d/b", content(600_000)).await;
    for answers in 1..=3 {
        let mut scp = home.run("scp -p -f d/a d/b");
        scp.client.send(vec![0; answers]).await;
        scp.client.lose();
        assert_eq!(scp.end().await.0, 1, "{answers}");
        assert_eq!(home.history(), ["OPEN /d/a", "PARTIAL_CLOSE /d/a"], "{answers}");
    }
    // What was confirmed is whole.
    let mut scp = home.run("scp -p -f d/a d/b");
    scp.client.send(vec![0; 4]).await;
    scp.client.lose();
    assert_eq!(scp.end().await.0, 1);
    assert_eq!(home.history(), ["OPEN /d/a", "CLOSE /d/a", "OPEN /d/b", "PARTIAL_CLOSE /d/b"]);
}

#[tokio::test]
async fn a_client_that_stops_reading_and_goes_away_ends_it() {
    let home = Home::new().await;
    home.put("/a", content(5_000_000)).await;
    let mut scp = home.run("scp -f a");
    scp.say("\0", "C0644 5000000 a\n").await;
    scp.client.send("\0").await;
    scp.client.read(1000).await;
    let (status, events) = (scp.abandon().await, home.history());
    assert_eq!((status, events), (1, vec!["OPEN /a".into(), "PARTIAL_CLOSE /a".into()]));
}

#[tokio::test]
async fn a_client_that_floods_while_a_file_is_sent_is_ended() {
    let home = Home::new().await;
    home.put("/a", content(5_000_000)).await;
    let mut scp = home.run("scp -f a");
    scp.say("\0", "C0644 5000000 a\n").await;
    let flood = async {
        for _ in 0..10_000 {
            scp.client.send(vec![0; 32 * 1024]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flood).await.expect("the flood is drained or the server has ended");
    let why = "scp: the client sent more than answers while files were sent to it\n";
    assert_eq!(scp.client.wait_for_errors().await, why);
    assert!(scp.flooded().await);
    assert_eq!(home.history(), ["OPEN /a", "PARTIAL_CLOSE /a"]);
}

#[tokio::test]
async fn answers_that_are_none_end_it() {
    let home = Home::new().await;
    home.put("/a", "x").await;
    let mut scp = home.run("scp -f a");
    scp.say("x", "\x02scp: protocol error: expected an answer\n").await;
    assert_eq!(scp.end().await, (1, vec![]));
    for bytes in ["", "\x02stop\n", "\0\x02stop\n", "\x01no end"] {
        let mut scp = home.run("scp -f a");
        scp.client.send(bytes).await;
        assert_eq!(scp.end().await.0, 1, "{bytes:?}");
    }
    let mut scp = home.run("scp -f a");
    scp.client.send(format!("\0\x01{}", "x".repeat(10_000))).await;
    assert_eq!(scp.end().await.0, 1);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_sent() {
    let home = Home::new().await;
    home.put("/a", "x").await;
    home.events.fail("full");
    let mut scp = home.run("scp -f a");
    scp.say("\0", "\x02scp: a: refused: it cannot be recorded at present; ask the operator\n").await;
    assert_eq!(scp.end().await, (1, vec![]));
}

#[tokio::test]
async fn a_file_that_became_shorter_is_filled_up_and_reported() {
    let home = Home::new().await;
    home.put("/a", content(100_000)).await;
    home.put("/b", "b").await;
    home.faults(Faults { shrunk_by: 5_000, ..Faults::default() });
    let mut scp = home.run("scp -f a b");
    scp.say("\0", "C0644 105000 a\n").await;
    scp.client.send("\0").await;
    let sent = scp.client.read(105_000).await;
    let good = sent.iter().zip(content(100_000)).take_while(|(sent, byte)| **sent == *byte).count();
    assert!(sent.len() == 105_000 && sent[good..].iter().all(|byte| *byte == 0), "{good}");
    scp.hear("\x01scp: a: the file was replaced meanwhile; start again\n").await;
    home.faults(Faults::default());
    scp.say("\0", "C0644 1 b\n").await;
    scp.say("\0", "b\0").await;
    scp.client.send("\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
    let why = home.message_of("PARTIAL_CLOSE");
    assert!(why.starts_with("it could not be read to its end: "), "{why}");
}

#[tokio::test]
async fn names_that_cannot_be_sent_are_warned_of() {
    let home = Home::new().await;
    home.put("/d/a", "x").await;
    home.faults(Faults { left_out: 3, ..Faults::default() });
    let mut scp = home.run("scp -r -f d");
    scp.say("\0", "D0755 0 d\n").await;
    scp.say("\0", "C0644 1 a\n").await;
    scp.say("\0", "x\0").await;
    scp.say("\0", "\x01scp: /d: 3 names cannot be sent and were left out\n").await;
    scp.hear("E\n").await;
    scp.client.send("\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
}

#[tokio::test]
async fn a_refusal_in_any_place_leaves_out_what_is_refused_and_a_fatal_error_ends_it() {
    let home = Home::new().await;
    let mtime = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    for path in ["/d/a", "/e"] {
        home.put_with_time(path, "x", Some(mtime)).await;
    }
    let times = "T1500000000 0 1500000000 0\n";
    // What is sent when everything is accepted, and from where it goes on when that is refused.
    let parts = [
        ("", 1),
        ("D0755 0 d\n", 6),
        (times, 5),
        ("C0644 1 a\n", 5),
        ("x\0", 5),
        ("E\n", 6),
        (times, 9),
        ("C0644 1 e\n", 9),
        ("x\0", 9),
    ];
    for refused in 0..parts.len() {
        let mut scp = home.run("scp -r -p -f d e");
        let mut next = 0;
        while let Some((part, beyond)) = parts.get(next) {
            scp.hear(part).await;
            scp.client.send(if next == refused { "\x01no\n" } else { "\0" }).await;
            next = if next == refused { *beyond } else { next + 1 };
        }
        assert_eq!(scp.end().await, (1, vec![]), "part {refused} is refused");

        let mut scp = home.run("scp -r -p -f d e");
        for (part, _) in &parts[..refused] {
            scp.hear(part).await;
            scp.client.send("\0").await;
        }
        scp.hear(parts[refused].0).await;
        scp.client.send("\x02no\n").await;
        assert_eq!(scp.end().await, (1, vec![]), "a fatal error after part {refused}");
    }
}

#[tokio::test]
async fn a_pattern_is_not_followed_for_a_client_that_has_gone() {
    let home = Home::new().await;
    for i in 0..40 {
        home.make_directory(&format!("/{i}")).await;
    }
    // More listings than can be made in the time that a hang is given.
    for bytes in [&b"\0"[..], &[0; 20_000]] {
        let mut scp = home.run("scp -f */../*/../*/../*/../*/../*/../*/../nowhere");
        scp.client.send(bytes.to_vec()).await;
        let started = Instant::now();
        assert_eq!(scp.end().await.0, 1);
        assert!(started.elapsed() < Duration::from_secs(600));
    }
}
