//! Framing, reconnecting, and lines in doubt.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use super::*;
use crate::audit::sink::settings::{Framing, HostPort};

/// A hang.
const LIMIT: Duration = Duration::from_secs(60);

fn sink(address: SyslogAddress, framing: Framing) -> SyslogSink {
    let timeout = LIMIT;
    let target = SyslogTarget { address, framing, facility: 4, app_name: "lockgate".into(), timeout };
    SyslogSink::new(&target, &Around { server: "edge-1".into(), ..Around::default() })
}

fn tcp(listener: &TcpListener, framing: Framing) -> SyslogSink {
    let port = listener.local_addr().unwrap().port();
    sink(SyslogAddress::Tcp(HostPort { host: "127.0.0.1".into(), port }), framing)
}

fn write(sink: &mut SyslogSink, line: &str) {
    sink.prepare(false).unwrap();
    assert_eq!(sink.write(line.as_bytes()).unwrap(), line.len());
}

/// The next message of a stream with octet counting.
fn counted(stream: &mut BufReader<TcpStream>) -> String {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).unwrap();
    let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().unwrap();
    let mut message = vec![0; length];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    BufReader::new(stream)
}

#[test]
fn messages_have_their_lengths_before_them_or_a_newline_behind() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sink = tcp(&listener, Framing::OctetCounting);
    write(&mut sink, "{\"a\":\"é\"}\n{\"b\":2}\n");
    let mut stream = accept(&listener);
    assert!(counted(&mut stream).ends_with(" - {\"a\":\"é\"}"));
    assert!(counted(&mut stream).ends_with(" - {\"b\":2}"));
    let mut sink = tcp(&listener, Framing::Newline);
    write(&mut sink, "{\"a\":1}\n{\"b\":2}\n");
    let lines: Vec<String> = accept(&listener).lines().take(2).map(Result::unwrap).collect();
    assert!(lines[0].ends_with(" - {\"a\":1}") && lines[1].ends_with(" - {\"b\":2}"), "{lines:?}");
}

#[test]
fn what_a_server_may_not_have_read_is_sent_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sink = tcp(&listener, Framing::OctetCounting);
    write(&mut sink, "{\"a\":1}\n");
    // It dies with the line unread.
    drop(accept(&listener));
    std::thread::sleep(Duration::from_millis(50));
    write(&mut sink, "{\"b\":2}\n");
    let mut stream = accept(&listener);
    assert!(counted(&mut stream).ends_with("{\"a\":1}"));
    assert!(counted(&mut stream).ends_with("{\"b\":2}"));
    assert!(sink.looks_again().is_some());
}

#[test]
fn lines_are_in_doubt_for_a_while_and_within_a_bound() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sink = tcp(&listener, Framing::Newline);
    write(&mut sink, "{\"a\":1}\n");
    sink.target.timeout = Duration::from_millis(50);
    std::thread::sleep(Duration::from_millis(120));
    sink.prepare(false).unwrap();
    assert_eq!((sink.doubtful.len(), sink.doubtful_bytes, sink.looks_again()), (0, 0, None));
    for _ in 0..3 {
        sink.keep_in_doubt(&vec![b'x'; MAX_DOUBTFUL / 2]);
    }
    assert_eq!((sink.doubtful.len(), sink.doubtful_bytes), (2, MAX_DOUBTFUL));
}

#[test]
fn a_server_that_is_away_is_an_error_that_costs_no_time() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut sink = sink(SyslogAddress::Tcp(HostPort { host: "127.0.0.1".into(), port }), Framing::Newline);
    let (first, second) = (sink.prepare(true).unwrap_err(), sink.prepare(true).unwrap_err());
    assert_eq!((first.kind(), second.kind()), (io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionRefused));
    assert!(sink.write(b"{}\n").is_err());
    assert!(sink.looks_again().is_none());
}

#[test]
fn a_stream_socket_of_the_file_system_takes_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let mut sink = sink(SyslogAddress::Unix(path), Framing::OctetCounting);
    write(&mut sink, "{\"a\":1}\n");
    let line = BufReader::new(listener.accept().unwrap().0).lines().next().unwrap().unwrap();
    assert!(line.starts_with("<38>1 - edge-1 lockgate ") && line.ends_with("{\"a\":1}"), "{line}");
}

#[test]
fn a_batch_is_sent_in_pieces_of_whole_lines() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sink = tcp(&listener, Framing::Newline);
    let long = format!("{{\"x\":\"{}\"}}\n", "x".repeat(100_000));
    sink.prepare(false).unwrap();
    let both = format!("{{}}\n{long}");
    assert_eq!(sink.write(both.as_bytes()).unwrap(), 3);
    let reader = std::thread::spawn(move || accept(&listener).lines().nth(1).unwrap().unwrap());
    assert_eq!(sink.write(long.as_bytes()).unwrap(), long.len());
    assert!(reader.join().unwrap().len() > 100_000);
}
