//! The newest events of a trail that is much larger than memory: what a page costs does not depend on what is behind it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::{Administered, administered_with};
use crate::support::campaign::{alone, is_long, report, short_or_long};
use crate::support::data::{GIB, MIB};
use crate::support::events::field;
use crate::support::http::answer;
use crate::support::process::{LIMIT, until};
use crate::support::sftp::Sftp;

/// What one page may read of the trail, and of everything else, in bytes.
const READ_FOR_A_PAGE: u64 = 4 * MIB;

/// What all pages may add to the most memory that the gateway ever had, in bytes.
const MEMORY: u64 = 32 * MIB;

/// How soon a page comes in the long form.
const PAGE_WITHIN: Duration = Duration::from_millis(100);

/// Pages that are looked at.
const PAGES: u64 = 20;

/// The time of an event, in milliseconds since 1970: one a minute, so that the longest trail ends before now.
fn milliseconds(number: u64) -> u64 {
    86_400_000 + number * 60_000
}

/// The same as RFC 3339.
fn time(number: u64) -> String {
    let time = i64::try_from(milliseconds(number)).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    time.unwrap().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Writes events with ascending ids until the file has this length; the number of the next one.
fn write_events(path: &Path, length: u64, mut number: u64) -> u64 {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut written = 0;
    while written < length {
        let line = format!(
            "{{\"activity-type\":\"CLOSE\",\"logical-path\":\"/incoming/orders-{number}.csv\",\"path\":\"/main/alice/incoming/orders-{number}.csv\",\
             \"timestamp\":\"{}\",\"event-id\":\"{:08x}-{:04x}-7000-8000-{number:012x}\",\"user\":\"old\",\"status\":\"success\",\
             \"bytes-in\":\"4096\",\"bytes-out\":\"0\",\"session-id\":\"0049cd844c7536c06a89\",\"source-ip\":\"192.0.2.7\",\"server\":\"edge-1\"}}\n",
            time(number),
            milliseconds(number) >> 16,
            milliseconds(number) & 0xffff,
        );
        file.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        number += 1;
    }
    file.flush().unwrap();
    number
}

/// Bytes that the gateway has read until now, of files and of connections.
fn bytes_read(administered: &Administered) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", administered.door.gateway.pid())).unwrap();
    let count = io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
    count.expect("rchar")
}

#[test]
fn the_newest_events_of_a_vast_trail_cost_as_little_as_of_a_short_one() {
    let _alone = alone();
    let (rotated, each, live) = short_or_long((4_u64, 25 * MIB, 100 * MIB), (8, GIB, 2 * GIB));
    look_at_pages(rotated, each, live, false);
}

/// The live file is short, as after a rotation, so that most pages are in the file that was packed last.
#[test]
fn the_newest_events_of_packed_files_cost_as_little() {
    let _alone = alone();
    let (rotated, each) = short_or_long((3_u64, 25 * MIB), (8, GIB));
    look_at_pages(rotated, each, MIB / 4, true);
}

fn look_at_pages(rotated: u64, each: u64, live: u64, is_packed: bool) {
    let mut events = 0;
    let administered = administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        for file in 0..rotated {
            let name = format!("e.ndjson.2026010{}T000000Z-{}", file + 1, file + 1);
            events = write_events(&path.with_file_name(name), each, events);
        }
        events = write_events(&path, live, events);
        let mut file = json!({ "sink": "file", "path": path });
        if is_packed {
            (file["gzip"], file["rotate"]) = (json!(true), json!({ "size": "1GiB" }));
        }
        setup.config["events"] = json!([{ "sink": "stdout" }, file]);
    });
    let folder = administered.door.setup.folder().join("events");
    if is_packed {
        until("packed files", 10 * LIMIT, || {
            let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            let ends = files.map(|file| file.extension().unwrap().to_owned()).collect::<Vec<_>>();
            let packed = ends.iter().filter(|end| *end == "gz").count() as u64;
            (packed == rotated && ends.len() as u64 == rotated + 1).then_some(())
        });
    }
    let (read_before, memory_before) = (bytes_read(&administered), administered.door.gateway.peak_memory());
    let mut times = Vec::new();
    let (mut before, mut expected) = (String::new(), events);
    for _ in 0..PAGES {
        let (read, started) = (bytes_read(&administered), Instant::now());
        let page = administered.socket.get(&format!("/api/v1/events?user=old&limit=100{before}")).ok();
        times.push(started.elapsed());
        let read = bytes_read(&administered) - read;
        assert!(read < READ_FOR_A_PAGE, "{read} bytes were read for a page");
        let paths: Vec<&str> =
            page["events"].as_array().unwrap().iter().map(|event| field(event, "logical-path")).collect();
        let wanted: Vec<String> = (1..=100).map(|back| format!("/incoming/orders-{}.csv", expected - back)).collect();
        assert_eq!(paths, wanted);
        expected -= 100;
        before = format!("&before={}", page["next"].as_str().expect("older ones"));
    }
    look_at_a_time(&administered, events);
    let memory = administered.door.gateway.peak_memory().saturating_sub(memory_before);
    assert!(memory < MEMORY, "{memory} bytes more at the peak");
    let size = (rotated * each + live) / MIB;
    times.sort();
    // Of ten gigabytes, on a machine that has nothing else to do.
    assert!(!is_long() || times[times.len() / 2] < PAGE_WITHIN, "{times:?}");
    report(&format!(
        "the newest {PAGES} times 100 of {events} events ({size} MiB): {} ms a page in the middle, {} ms at most, {} KiB read for each, {} KiB more memory",
        times[times.len() / 2].as_millis(),
        times[times.len() - 1].as_millis(),
        (bytes_read(&administered) - read_before) / PAGES / 1024,
        memory / 1024,
    ));
}

/// A stretch of time costs no more than what is in it, though nothing is found there and wherever it is.
fn look_at_a_time(administered: &Administered, events: u64) {
    let ask = |question: &str| {
        let read = bytes_read(administered);
        let page = administered.socket.get(&format!("/api/v1/events?{question}")).ok();
        let read = bytes_read(administered) - read;
        assert!(read < READ_FOR_A_PAGE, "{read} bytes were read for {question}");
        page
    };
    let page = ask(&format!("user=nobody&since={}", time(events - 100)));
    assert_eq!((&page["events"], page.get("next")), (&json!([]), None));
    let middle = events / 2;
    let page = ask(&format!("user=nobody&since={}&until={}", time(middle - 100), time(middle)));
    assert_eq!((&page["events"], page.get("next")), (&json!([]), None));
    let page = ask(&format!("user=old&limit=1&until={}", time(middle)));
    assert_eq!(field(&page["events"][0], "logical-path"), format!("/incoming/orders-{}.csv", middle - 1));
}

/// Pages in which nothing is found search for seconds. Whoever asks for many of them has a few threads of the process, not all of them.
#[test]
fn many_searches_at_once_keep_neither_logins_nor_the_socket_waiting() {
    let _alone = alone();
    let administered = administered_with(|setup| {
        let path = setup.subfolder("events").join("e.ndjson");
        write_events(&path, 200 * MIB, 0);
        setup.config["events"] = json!([{ "sink": "stdout" }, { "sink": "file", "path": path }]);
    });
    let threads = || fs::read_dir(format!("/proc/{}/task", administered.door.gateway.pid())).unwrap().count();
    let before = threads();
    let head = format!(
        "GET /api/v1/users/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        administered.tokens.viewer
    );
    // Fewer than connections of one address.
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = administered.tcp.connect();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let (told, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !told.load(Ordering::Relaxed) {
                most.fetch_max(threads(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Sftp::connect(&administered.door.client, LIMIT).put("/a", b"content");
        let own = administered.socket.get("/api/v1/users/alice").ok();
        assert!(!own.to_string().contains("many calls"), "the socket has its own turns: {own}");
        let answers: Vec<_> = calls.into_iter().map(answer).collect();
        told.store(true, Ordering::Relaxed);
        assert!(answers.iter().all(|answer| answer.status == 200));
        let refused = answers.iter().filter(|answer| answer.body.contains("many calls read the trail")).count();
        assert!(refused > 0 && refused < 60, "{refused} were told to come later");
    });
    let more = most.into_inner().saturating_sub(before);
    assert!(more < 40, "{more} more threads");
}
