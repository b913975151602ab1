//! `scp -t`, when something is wrong.

use std::time::{Duration, Instant};

use super::faulty::Faults;
use super::home::{Home, content};

/// Sends `bytes` in one go; the exit status and everything that the server sent.
async fn blast(home: &Home, command: &str, bytes: impl Into<bytes::Bytes>) -> (u32, String) {
    let mut scp = home.run(command);
    scp.client.send(bytes).await;
    let (status, answers) = scp.end().await;
    (status, String::from_utf8_lossy(&answers).into_owned())
}

#[tokio::test]
async fn targets_that_cannot_be_are_refused_at_once() {
    let home = Home::new().await;
    home.put("/file", "x").await;
    for (command, answer) in [
        ("scp -d -t nowhere", "\x02scp: nowhere: No such file or directory\n"),
        ("scp -d -t file", "\x02scp: file: Not a directory\n"),
        ("scp -t file/", "\x02scp: file/: Not a directory\n"),
        ("scp -t file/.", "\x02scp: file/.: Not a directory\n"),
        ("scp -t 'a\tb'", "\x02scp: a?b: the name contains the control character 0x09\n"),
    ] {
        assert_eq!(blast(&home, command, "").await, (1, answer.into()), "{command}");
    }
    home.faults(Faults { stats_fail: true, ..Faults::default() });
    let (status, answer) = blast(&home, "scp -t in", "C0644 1 a\nx\0").await;
    assert_eq!((status, answer.as_str()), (1, "\x02scp: in: the store does not answer; try again later\n"));
}

#[tokio::test]
async fn after_a_fatal_error_the_client_has_a_moment_to_end_first() {
    let home = Home::new().await;
    let mut scp = home.run("scp -d -t nowhere");
    scp.hear("\x02scp: nowhere: No such file or directory\n").await;
    let told = Instant::now();
    scp.client.send(vec![0; 1000]).await;
    // The server's end comes although the client does not.
    assert_eq!(scp.client.read_all().await, b"");
    let taken = told.elapsed();
    assert!(taken >= Duration::from_millis(1500), "{taken:?}");
    assert_eq!(scp.end().await.0, 1);

    // A machine that has other things to do may need as long by itself, though not every time.
    for attempt in 1.. {
        let mut scp = home.run("scp -d -t nowhere");
        scp.hear("\x02scp: nowhere: No such file or directory\n").await;
        let told = Instant::now();
        assert_eq!(scp.end().await.0, 1);
        if told.elapsed() < Duration::from_millis(1500) {
            break;
        }
        assert!(attempt < 10, "it has ended: nobody is waited for");
    }
}

#[tokio::test]
async fn a_file_cannot_take_a_name_with_a_slash_at_its_end() {
    let home = Home::new().await;
    let (status, answers) = blast(&home, "scp -r -t new/", "C0644 1 a\n").await;
    assert_eq!((status, answers.as_str()), (1, "\0\x01scp: /new/: Is a directory\n"));
    let (status, answers) = blast(&home, "scp -t new/.", "C0644 1 a\n").await;
    assert_eq!((status, answers.as_str()), (1, "\0\x01scp: /new/: Is a directory\n"));
    assert_eq!(blast(&home, "scp -r -t new/", "D0755 0 a\nE\n").await, (0, "\0\0\0".into()));
    assert!(home.stat("/new").await.is_some());
}

#[tokio::test]
async fn malformed_records_end_the_conversation_and_store_nothing() {
    let home = Home::new().await;
    let long = format!("C0644 1 {}\n", "n".repeat(5000));
    let endless = "x".repeat(100_000);
    for (bytes, answer) in [
        ("X\n", "\x02scp: protocol error: expected control record\n"),
        ("\n", "\x02scp: protocol error: unexpected <newline>\n"),
        ("\0\0\n", "\x02scp: protocol error: expected control record\n"),
        ("C0644 x a\n", "\x02scp: protocol error: size out of range\n"),
        ("C0644 99999999999999999999 a\n", "\x02scp: protocol error: size out of range\n"),
        ("C0644 1 ../a\n", "\x02scp: error: unexpected filename: ../a\n"),
        ("C0644 1 ..\n", "\x02scp: error: unexpected filename: ..\n"),
        ("C0644 1 /etc/passwd\n", "\x02scp: error: unexpected filename: /etc/passwd\n"),
        ("C0644 9223372036854775808 a\n", "\x02scp: protocol error: size out of range\n"),
        ("C0644 -1 a\n", "\x02scp: protocol error: size out of range\n"),
        ("C0864 1 a\n", "\x02scp: protocol error: bad mode\n"),
        ("Cx 1 a\n", "\x02scp: protocol error: bad mode\n"),
        ("T1 0\n", "\x02scp: protocol error: atime.sec not delimited\n"),
        ("D0755 0 a\n", "\x02scp: protocol error: received directory without -r\n"),
        (long.as_str(), "\x02scp: protocol error: the record is too long\n"),
        (endless.as_str(), "\x02scp: protocol error: the record is too long\n"),
    ] {
        let (status, answers) = blast(&home, "scp -t .", bytes.to_owned()).await;
        assert_eq!((status, answers), (1, format!("\0{answer}")));
    }
    assert_eq!(home.history(), [""; 0]);
}

#[tokio::test]
async fn names_that_cannot_be_are_warned_of_and_the_next_file_is_taken() {
    let home = Home::new().await;
    home.make_directory("/in").await;
    let mut scp = home.run("scp -r -t in");
    scp.hear("\0").await;
    scp.say(b"C0644 1 a\xff\n", "\x01scp: a\u{fffd}: the name is not valid UTF-8\n").await;
    scp.say(b"D0755 0 \xff\n", "\x01scp: \u{fffd}: the name is not valid UTF-8\n").await;
    scp.say("C0644 1 a\x1b[31m\n", "\x01scp: a?[31m: the name contains the control character 0x1b\n").await;
    let long = "n".repeat(256);
    scp.say(
        format!("C0644 1 {long}\n"),
        format!("\x01scp: {long}: a component of the name is longer than 255 bytes\n"),
    )
    .await;
    scp.say("C0644 1 good\n", "\0").await;
    scp.say("x\0", "\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
    assert_eq!(home.content("/in/good").await.unwrap(), b"x");
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_recorded_and_the_next_file_is_taken() {
    let home = Home::new().await;
    home.put("/drop/taken", "old").await;
    let mut scp = home.run("scp -r -t .");
    scp.hear("\0").await;
    scp.say("D0755 0 public\n", "\0").await;
    scp.say("C0644 3 new\n", "\x01scp: /public/new: Permission denied\n").await;
    scp.say("D0755 0 new\n", "\x01scp: /public/new: Permission denied\n").await;
    scp.say("E\n", "\0").await;
    scp.say("D0755 0 drop\n", "\0").await;
    scp.say("C0644 3 new\n", "\0").await;
    scp.say("new\0", "\0").await;
    scp.say("E\n", "\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
    assert_eq!(home.history(), ["OPEN /public/new", "MKDIR /public/new", "OPEN /drop/new", "CLOSE /drop/new"]);
    assert_eq!(home.content("/drop/new").await.unwrap(), b"new");
    let mut scp = home.run("scp -t drop");
    scp.hear("\0").await;
    // Whether it is noticed at the start or at the end, the old file stays.
    scp.client.send("C0644 3 taken\n").await;
    if scp.client.read(1).await == b"\0" {
        scp.client.send("new\0").await;
        assert_eq!(scp.client.read(1).await, b"\x01");
    }
    assert_eq!(scp.client.line().await, "scp: /drop/taken: Permission denied\n");
    assert_eq!(scp.end().await, (1, vec![]));
    assert_eq!(home.content("/drop/taken").await.unwrap(), b"old");
}

#[tokio::test]
async fn files_and_directories_do_not_take_each_other_s_places() {
    let home = Home::new().await;
    home.put("/d/x", "x").await;
    home.put("/f", "f").await;
    let mut scp = home.run("scp -r -t .");
    scp.hear("\0").await;
    scp.say("D0755 0 f\n", "\x01scp: /f: Not a directory\n").await;
    scp.client.send("C0644 1 d\n").await;
    if scp.client.read(1).await == b"\0" {
        scp.client.send("x\0").await;
        assert_eq!(scp.client.read(1).await, b"\x01");
    }
    assert_eq!(scp.client.line().await, "scp: /d: Is a directory\n");
    assert_eq!(scp.end().await, (1, vec![]));
    assert_eq!(home.content("/f").await.unwrap(), b"f");
    assert_eq!(home.content("/d/x").await.unwrap(), b"x");
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_is_reported_in_step() {
    let home = Home::new().await;
    home.put("/small", "old").await;
    home.faults(Faults { writes_fail: true, ..Faults::default() });
    for length in [3, 40_000_000] {
        let bytes = content(length);
        let mut scp = home.run("scp -t .");
        scp.hear("\0").await;
        scp.say(format!("C0644 {length} small\n"), "\0").await;
        for piece in bytes.chunks(100_000) {
            scp.client.send(piece.to_vec()).await;
        }
        scp.say("\0", "\x01scp: /small: No space left on device; try again later\n").await;
        home.faults(Faults::default());
        scp.say("C0644 4 next\n", "\0").await;
        scp.say("next\0", "\0").await;
        assert_eq!(scp.end().await, (1, vec![]));
        assert_eq!(home.content("/next").await.unwrap(), b"next");
        assert_eq!(home.content("/small").await.unwrap(), b"old");
        home.faults(Faults { writes_fail: true, ..Faults::default() });
    }
}

#[tokio::test]
async fn what_the_sender_could_not_read_is_not_published() {
    let home = Home::new().await;
    let mut scp = home.run("scp -t .");
    scp.hear("\0").await;
    scp.say("C0644 3 a\n", "\0").await;
    scp.say("a\0\0\x01scp: a: Input/output error\n", "\x01scp: /a: not stored: the sender could not read all of it\n")
        .await;
    scp.client.send("\x01scp: b: No such file or directory\n").await;
    scp.say("C0644 1 c\n", "\0").await;
    scp.say("c\0", "\0").await;
    assert_eq!(scp.end().await, (1, vec![]));
    assert_eq!(home.history(), ["OPEN /a", "PARTIAL_CLOSE /a", "OPEN /c", "CLOSE /c"]);
    assert_eq!(home.content("/a").await, None);
}

#[tokio::test]
async fn a_file_longer_than_it_says_is_not_published() {
    let home = Home::new().await;
    let (status, answers) = blast(&home, "scp -t .", "C0644 3 a\nabcd\0").await;
    let error = "\x02scp: protocol error: the file is longer than its record says\n";
    assert_eq!((status, answers), (1, format!("\0\0{error}")));
    assert_eq!(home.content("/a").await, None);
}

#[tokio::test]
async fn a_sender_that_gives_up_ends_it() {
    let home = Home::new().await;
    assert_eq!(blast(&home, "scp -t .", "\x02lost\nC0644 1 a\nx\0").await, (1, "\0".into()));
    assert_eq!(blast(&home, "scp -t .", "C0644 1 a\nx\x02lost\nC0644 1 a\nx\0").await, (1, "\0\0".into()));
    assert_eq!(home.content("/a").await, None);
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_byte_leaves_nothing_half_done() {
    let home = Home::new().await;
    home.put("/a", "old").await;
    let bytes = b"T1700000000 0 1700000000 0\nC0644 10 a\n0123456789\0D0755 0 d\nC0644 1 b\nx\0E\n";
    let stored = bytes.windows(11).position(|window| window == b"0123456789\0").unwrap() + 11;
    // All bytes and no status are a whole file.
    let between = [0, 27, stored - 1, stored, bytes.len()];
    for end in 0..=bytes.len() {
        home.put("/a", "old").await;
        let (status, _) = blast(&home, "scp -r -p -t .", bytes[..end].to_vec()).await;
        assert_eq!(status, u32::from(!between.contains(&end)), "after {end} bytes");
        let expected: &[u8] = if end >= stored - 1 { b"0123456789" } else { b"old" };
        let events = home.history();
        assert_eq!(home.content("/a").await.unwrap(), expected, "after {end} bytes");
        let count = |activity: &str| events.iter().filter(|event| event.starts_with(activity)).count();
        assert_eq!(count("OPEN"), count("CLOSE") + count("PARTIAL_CLOSE"), "after {end} bytes: {events:?}");
        home.events.take();
    }
}

#[tokio::test]
async fn a_client_that_vanishes_at_any_byte_leaves_nothing_half_done() {
    let home = Home::new().await;
    let bytes = b"T1700000000 0 1700000000 0\nC0644 10 a\n0123456789\0D0755 0 d\nC0644 10 b\n0123456789\0E\n";
    for end in 0..=bytes.len() {
        home.put("/a", "old").await;
        home.put("/d/b", "old").await;
        let mut scp = home.run("scp -r -p -t .");
        for piece in bytes[..end].chunks(3) {
            scp.client.send(piece.to_vec()).await;
        }
        scp.abandon().await;
        // A file that is dropped has its end recorded in the background.
        let opened = home.events.of("OPEN").len();
        let closed = home.events.of("CLOSE").len();
        home.events.wait_for("PARTIAL_CLOSE", opened - closed, Duration::from_secs(10)).await;
        let events = home.history();
        let count = |activity: &str| events.iter().filter(|event| event.starts_with(activity)).count();
        assert_eq!(count("OPEN"), count("CLOSE") + count("PARTIAL_CLOSE"), "after {end} bytes: {events:?}");
        for path in ["/a", "/d/b"] {
            let content = home.content(path).await.unwrap();
            assert!(content == b"old" || content == b"0123456789", "{path} after {end} bytes: {content:?}");
        }
        home.events.take();
    }
}

/// The records of an upload, each with its answer; the bytes of a file are one with their status.
const CONVERSATION: [(&str, &str); 7] = [
    ("T1700000000 0 1700000000 0\n", "\0"),
    ("D0755 0 d\n", "\0"),
    ("C0644 3 a\n", "\0"),
    ("abc\0", "\0"),
    ("E\n", "\0"),
    ("C0644 3 b\n", "\0"),
    ("abc\0", "\0"),
];

/// Whether something other than a file's bytes may stand before this part.
fn is_between_records(part: &str) -> bool {
    part.ends_with('\n')
}

#[tokio::test]
async fn a_warning_before_any_record_is_counted_and_not_answered() {
    for at in (0..CONVERSATION.len()).filter(|at| is_between_records(CONVERSATION[*at].0)) {
        let home = Home::new().await;
        let mut scp = home.run("scp -r -p -t .");
        scp.hear("\0").await;
        for (i, (part, answer)) in CONVERSATION.into_iter().enumerate() {
            if i == at {
                scp.client.send("\x01scp: x: No such file or directory\n").await;
            }
            scp.say(part, answer).await;
        }
        assert_eq!(scp.end().await, (1, vec![]), "before part {at}");
        assert_eq!(home.content("/d/a").await.unwrap(), b"abc");
        assert_eq!(home.content("/b").await.unwrap(), b"abc");
    }
}

#[tokio::test]
async fn a_fatal_error_before_any_part_ends_it_without_an_answer() {
    for at in 0..CONVERSATION.len() {
        let home = Home::new().await;
        let mut scp = home.run("scp -r -p -t .");
        scp.hear("\0").await;
        for (part, answer) in &CONVERSATION[..at] {
            scp.say(part, answer).await;
        }
        let (part, _) = CONVERSATION[at];
        let inside = if is_between_records(part) { "" } else { &part[..3] };
        scp.client.send(format!("{inside}\x02scp: lost\n{part}")).await;
        assert_eq!(scp.end().await, (1, vec![]), "before part {at}");
        let stored = (home.content("/d/a").await, home.content("/b").await);
        assert_eq!((stored.0.is_some(), stored.1.is_some()), (at > 3, false), "before part {at}");
    }
}

#[tokio::test]
async fn an_end_too_many_ends_it_and_nothing_after_it_counts() {
    let home = Home::new().await;
    for bytes in ["E\nC0644 1 a\nx\0", "D0755 0 d\nE\nE\nE\nC0644 1 a\nx\0"] {
        let (status, answers) = blast(&home, "scp -r -t .", bytes).await;
        assert_eq!((status, answers.trim_end_matches('\0')), (0, ""), "{bytes:?}");
        assert_eq!(home.content("/a").await, None, "{bytes:?}");
    }
}

#[tokio::test]
async fn the_event_of_a_cut_off_upload_says_why() {
    let home = Home::new().await;
    for (bytes, why) in [
        ("C0644 3 a\nab", "the client went away before the end of the file"),
        ("C0644 3 a\nabcd", "the file is longer than its record says"),
        ("C0644 3 a\nabc\x01scp: a: gone", "the client went away before the end of the file"),
        ("C0644 3 a\nabc\x01scp: a: gone\n", "the client could not read its file: scp: a: gone"),
        ("C0644 3 a\nabc\x02scp: a: lost\n", "the client gave up"),
    ] {
        blast(&home, "scp -t .", bytes).await;
        assert_eq!(home.message_of("PARTIAL_CLOSE"), format!("{why}; nothing was published"), "{bytes:?}");
    }
    home.faults(Faults { writes_fail: true, ..Faults::default() });
    let length = 40_000_000;
    let mut scp = home.run("scp -t .");
    scp.client.send(format!("C0644 {length} a\n")).await;
    for piece in content(length).chunks(100_000) {
        scp.client.send(piece.to_vec()).await;
    }
    assert_eq!(scp.end().await.0, 1);
    let why = home.message_of("PARTIAL_CLOSE");
    assert!(why.starts_with("a write failed: ") && why.contains("full, says the test"), "{why}");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_ended() {
    let home = Home::new().await;
    let mut scp = home.run("scp -t .");
    let sent = tokio::time::timeout(Duration::from_secs(60), async {
        for _ in 0..2000 {
            scp.client.send("T1 0 1 0\n").await;
        }
    });
    sent.await.expect("the server takes or refuses what is sent");
    assert!(scp.flooded().await);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let home = Home::new().await;
    home.events.fail("full");
    let mut scp = home.run("scp -t .");
    scp.hear("\0").await;
    scp.say("C0644 1 a\n", "\x02scp: /a: refused: it cannot be recorded at present; ask the operator\n").await;
    assert_eq!(scp.end().await, (1, vec![]));
}
