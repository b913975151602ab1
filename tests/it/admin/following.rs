//! Whoever follows the events goes on where they were when the connection was lost, whether an event has fitted yet or not.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use super::Administered;
use super::events::with_trail;
use crate::support::gateway::lockgate;
use crate::support::process::{LIMIT, Running, until};
use crate::support::sftp::Sftp;

/// The first lines of a stream, up to the one that `enough` says.
fn lines(administered: &Administered, question: &str, enough: impl Fn(&str) -> bool) -> Vec<String> {
    let mut stream = administered.socket.connect();
    write!(stream, "GET /api/v1/events/stream{question} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        lines.push(line.unwrap());
        if enough(lines.last().unwrap()) {
            return lines;
        }
    }
    panic!("the stream has ended: {lines:?}");
}

#[test]
fn a_stream_says_first_where_it_begins_whether_anything_fits_or_not() {
    let administered = with_trail();
    Sftp::connect(&administered.door.client, LIMIT).make_directory("/before").unwrap();
    administered.door.gateway.events.await_disconnected(1);
    let greeting = lines(&administered, "?user=nobody", |line| line.starts_with("id: "));
    let begins = greeting.last().unwrap().trim_start_matches("id: ").to_owned();
    let events = administered.door.gateway.events.all();
    assert!(events.iter().any(|event| event["event-id"] == begins.as_str()), "{greeting:?}");
    // What came meanwhile is what a stream that goes on there shows.
    Sftp::connect(&administered.door.client, LIMIT).make_directory("/meanwhile").unwrap();
    let shown = lines(&administered, &format!("?activity=MKDIR&after={begins}"), |line| line.starts_with("data: "));
    assert!(shown.last().unwrap().contains("/meanwhile"), "{shown:?}");
}

#[test]
fn an_id_from_the_future_is_a_gap_and_the_stream_begins_now() {
    let administered = with_trail();
    let asked = "?activity=MKDIR&after=ffffffff-ffff-7fff-bfff-ffffffffffff";
    let (begun, has_begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let following = scope.spawn(|| {
            lines(&administered, asked, |line| {
                if line.starts_with("event: gap") {
                    begun.send(()).unwrap();
                }
                line.contains("/made")
            })
        });
        has_begun.recv_timeout(LIMIT).expect("a gap");
        Sftp::connect(&administered.door.client, LIMIT).make_directory("/made").unwrap();
        following.join().unwrap();
    });
}

#[test]
fn the_command_goes_on_where_it_was_although_it_has_shown_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "lgt_x").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = lockgate();
    command.args(["events", "follow", "--user", "nobody", "--url", &url, "--token-file"]).arg(&token);
    let _following = Running::start(&mut command);
    // The head of a request, and its connection.
    let next = || {
        let (stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        (head.to_ascii_lowercase(), stream)
    };
    let answer = |words: &str| {
        let (head, mut stream) = next();
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{answer}{words}").as_bytes()).unwrap();
        head
    };
    let (first, second) = ("019fb73e-0000-7000-8000-000000000001", "019fb73e-0000-7000-8000-000000000002");
    let head = answer(&format!(": the events follow\nid: {first}\n\n"));
    assert!(!head.contains("last-event-id"), "{head}");
    let head = answer(&format!(": the events follow\nid: {first}\n\n: nothing happens\nid: {second}\n\n"));
    assert!(head.contains(&format!("last-event-id: {first}\r\n")), "{head}");
    let head = until("another call", LIMIT, || Some(answer(": the events follow\n\n")));
    assert!(head.contains(&format!("last-event-id: {second}\r\n")), "{head}");
}
