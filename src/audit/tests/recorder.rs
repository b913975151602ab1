//! The promises of the recorder: nothing dropped, order kept, failures told, recovery by itself.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::samples;
use crate::audit::encode::Identity;
use crate::audit::queue::{MAX_BYTES, MAX_EVENTS};
use crate::audit::sink::{Sink, Target};
use crate::audit::{
    Activity, FileOptions, MemorySink, OnFailure, Outcome, Recorder, Settings, SinkSettings, SinkTarget,
};
use crate::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);

fn settings(sinks: impl IntoIterator<Item = (SinkTarget, OnFailure)>) -> Settings {
    Settings {
        server: "edge-1".into(),
        resource_arn: "lockgate:server/edge-1".into(),
        sinks: sinks.into_iter().map(|(target, on_failure)| SinkSettings::of(target, on_failure)).collect(),
        chain: None,
    }
}

async fn to_memory(on_failure: OnFailure) -> (Recorder, Arc<MemorySink>, Arc<Metrics>) {
    let (memory, metrics) = (MemorySink::new(), Arc::<Metrics>::default());
    let settings = settings([(SinkTarget::Memory(Arc::clone(&memory)), on_failure)]);
    (Recorder::start_with(settings, Arc::clone(&metrics)).await.unwrap(), memory, metrics)
}

fn mkdir(name: &str) -> Activity {
    Activity::Mkdir(samples::file(name, Outcome::Success))
}

async fn record(recorder: &Recorder, name: &str) -> Result<(), crate::audit::Unrecorded> {
    samples::record(recorder, &samples::worker(), &mkdir(name)).await
}

/// Waits for a condition that something else brings about, at most three seconds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..300 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test]
async fn a_recorded_event_is_there_when_record_returns() {
    let (recorder, memory, metrics) = to_memory(OnFailure::Refuse).await;
    recorder.ready().unwrap();
    for (origin, activity) in samples::all() {
        let name = activity.name();
        samples::record(&recorder, &origin, &activity).await.unwrap();
        assert_eq!(memory.events().last().unwrap()["activity-type"], name);
    }
    assert_eq!(metrics.events_recorded.get(), samples::all().len() as u64);
    assert_eq!(metrics.logins.get(), 1);
    assert_eq!(metrics.auth_failures.get(&["unknown-user"]), 1);
    assert_eq!(metrics.operations.get(&["DELETE", "denied"]), 1);
    assert_eq!((metrics.bytes_in.get(), metrics.bytes_out.get()), (121 + 65_536 + 121, 29_238_420_042));
    assert_eq!((metrics.files_in.get(), metrics.files_out.get()), (1, 1), "a copy's source is no download");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_lose_nothing_and_ids_ascend_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    let recorder = Recorder::start(settings([(
        SinkTarget::File { path: path.clone(), options: FileOptions::default() },
        OnFailure::Refuse,
    )]))
    .await
    .unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                for event in 0..40 {
                    record(&recorder, &format!("{task}-{event}")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: HashSet<_> = events.iter().map(|event| event["logical-path"].as_str().unwrap()).collect();
    assert_eq!((events.len(), names.len()), (2000, 2000));
    let order: Vec<_> =
        events.iter().map(|e| (e["event-id"].as_str().unwrap(), e["timestamp"].as_str().unwrap())).collect();
    assert!(order.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(order.windows(2).all(|pair| pair[0].1 <= pair[1].1));
}

#[tokio::test]
async fn a_failing_required_sink_refuses_and_recovers_by_itself() {
    let (recorder, memory, metrics) = to_memory(OnFailure::Refuse).await;
    memory.fail("disk full");
    let error = record(&recorder, "a").await.unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
    assert!(recorder.ready().is_err());
    assert!(record(&recorder, "b").await.is_err());
    assert_eq!(metrics.events_refused.get(), 2);
    memory.recover();
    eventually("recovery without an event", || recorder.ready().is_ok()).await;
    record(&recorder, "c").await.unwrap();
    let names: Vec<_> = memory.take().iter().map(|event| event["logical-path"].clone()).collect();
    assert_eq!(names, ["/incoming/a", "/incoming/b", "/incoming/c"]);
    assert_eq!(metrics.events_lost.get(), 0);
}

#[tokio::test]
async fn the_next_event_recovers_a_sink_at_once() {
    let (recorder, memory, _) = to_memory(OnFailure::Refuse).await;
    memory.fail("disk full");
    record(&recorder, "a").await.unwrap_err();
    memory.recover();
    record(&recorder, "b").await.unwrap();
    recorder.ready().unwrap();
    assert_eq!(memory.lines().len(), 2);
}

#[tokio::test]
async fn one_failing_required_sink_is_enough_to_refuse() {
    let (good, bad) = (MemorySink::new(), MemorySink::new());
    let sinks = [&good, &bad].map(|sink| (SinkTarget::Memory(Arc::clone(sink)), OnFailure::Refuse));
    let recorder = Recorder::start(settings(sinks)).await.unwrap();
    bad.fail("gone");
    record(&recorder, "a").await.unwrap_err();
    recorder.ready().unwrap_err();
    bad.recover();
    record(&recorder, "b").await.unwrap();
    assert_eq!(good.lines(), bad.lines());
}

#[tokio::test]
async fn a_sink_that_may_fail_holds_up_nobody_and_its_losses_are_counted() {
    let (recorder, memory, metrics) = to_memory(OnFailure::Continue).await;
    memory.block();
    // A batch can be as large as the queue; what exceeds the thread's backlog is lost there, never waited for.
    let long = "x".repeat(900);
    for event in 0..9_000 {
        tokio::time::timeout(10 * SECOND, record(&recorder, &format!("{event}{long}"))).await.unwrap().unwrap();
    }
    recorder.ready().unwrap();
    let lost = metrics.events_lost.get();
    assert!(lost > 0);
    memory.unblock();
    recorder.close().await;
    assert_eq!(memory.lines().len() as u64 + lost, 9_000);
}

#[tokio::test]
async fn a_failing_sink_that_may_fail_does_not_refuse() {
    let (recorder, memory, metrics) = to_memory(OnFailure::Continue).await;
    memory.fail("gone");
    record(&recorder, "a").await.unwrap();
    recorder.ready().unwrap();
    recorder.close().await;
    assert_eq!((memory.lines().len(), metrics.events_lost.get()), (0, 1));
}

#[tokio::test]
async fn a_blocked_required_sink_makes_recording_wait_and_bounds_the_queue() {
    let (recorder, memory, _) = to_memory(OnFailure::Refuse).await;
    memory.block();
    let total = 2 * MAX_EVENTS as usize + 10;
    let tasks: Vec<_> = (0..total)
        .map(|event| {
            let recorder = recorder.clone();
            tokio::spawn(async move { record(&recorder, &event.to_string()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(tasks.iter().all(|task| !task.is_finished()));
    assert!(recorder.ready().is_ok(), "blocked is not failing");
    memory.unblock();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(memory.lines().len(), total);
}

#[tokio::test]
async fn an_event_larger_than_its_share_still_finds_room() {
    let (recorder, memory, _) = to_memory(OnFailure::Refuse).await;
    let mut huge = samples::file("x", Outcome::Failure("\u{1}".repeat(MAX_BYTES as usize * 2)));
    huge.logical_path = "é".repeat(MAX_BYTES as usize);
    samples::record(&recorder, &samples::worker(), &Activity::Mkdir(huge)).await.unwrap();
    let line = memory.lines().remove(0);
    assert!(line.len() < 16 * 1024, "{}", line.len());
    assert!(memory.events()[0]["message"].as_str().unwrap().len() <= 1024);
}

#[tokio::test]
async fn closing_writes_what_waits_and_refuses_what_comes_later() {
    let (recorder, memory, _) = to_memory(OnFailure::Refuse).await;
    memory.block();
    let early = {
        let recorder = recorder.clone();
        tokio::spawn(async move { record(&recorder, "early").await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let closing = {
        let recorder = recorder.clone();
        tokio::spawn(async move { recorder.close().await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!closing.is_finished());
    assert!(record(&recorder, "late").await.unwrap_err().to_string().contains("closed"));
    memory.unblock();
    early.await.unwrap().unwrap();
    closing.await.unwrap();
    recorder.close().await;
    assert!(recorder.ready().is_err());
    assert_eq!(memory.lines().len(), 1);
}

#[tokio::test]
async fn a_dropped_caller_does_not_take_its_queued_event_along() {
    let (recorder, memory, _) = to_memory(OnFailure::Refuse).await;
    memory.block();
    assert!(tokio::time::timeout(Duration::from_millis(50), record(&recorder, "a")).await.is_err());
    memory.unblock();
    assert_eq!(memory.wait_for("MKDIR", 1, 3 * SECOND).await.len(), 1);
}

#[tokio::test]
async fn a_reopened_file_is_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("events.ndjson"), folder.path().join("events.1"));
    let sinks = [(SinkTarget::File { path: path.clone(), options: FileOptions::default() }, OnFailure::Refuse)];
    let recorder = Recorder::start(settings(sinks)).await.unwrap();
    record(&recorder, "a").await.unwrap();
    std::fs::rename(&path, &old).unwrap();
    record(&recorder, "b").await.unwrap();
    recorder.reopen().await;
    record(&recorder, "c").await.unwrap();
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!((lines(&old), lines(&path)), (2, 1));
}

#[tokio::test]
async fn a_file_that_cannot_be_made_anew_refuses_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("log");
    std::fs::create_dir(&below).unwrap();
    let path = below.join("events.ndjson");
    let sinks = [(SinkTarget::File { path: path.clone(), options: FileOptions::default() }, OnFailure::Refuse)];
    let recorder = Recorder::start(settings(sinks)).await.unwrap();
    std::fs::remove_dir_all(&below).unwrap();
    let error = record(&recorder, "a").await.unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    recorder.ready().unwrap_err();
    std::fs::create_dir(&below).unwrap();
    eventually("a new file", || recorder.ready().is_ok()).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_sink_that_cannot_be_opened_is_named() {
    let path = std::path::PathBuf::from("/nonexistent/events.ndjson");
    let error =
        Recorder::start(settings([(SinkTarget::File { path, options: FileOptions::default() }, OnFailure::Refuse)]))
            .await
            .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/events.ndjson"), "{error}");
}

/// Takes a few bytes at a time, fails every third time, and can become another target.
struct Moody {
    written: Arc<Mutex<Vec<u8>>>,
    turn: usize,
    fresh: bool,
}

impl Sink for Moody {
    fn name(&self) -> String {
        "moody".into()
    }

    fn prepare(&mut self, again: bool) -> io::Result<Target> {
        if again && self.fresh {
            // The new target ends the line that the old one has half.
            self.written.lock().unwrap().extend_from_slice(b"<cut>\n");
            return Ok(Target::Fresh);
        }
        Ok(Target::Same)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.turn += 1;
        match self.turn % 3 {
            0 => Err(io::Error::other("not now")),
            1 => Err(io::ErrorKind::Interrupted.into()),
            _ => {
                let some = bytes.len().min(300);
                self.written.lock().unwrap().extend_from_slice(&bytes[..some]);
                Ok(some)
            }
        }
    }
}

async fn through_a_moody_sink(fresh: bool) -> String {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let moody = Moody { written: Arc::clone(&written), turn: 0, fresh };
    let identity = Identity { server: "edge-1".into(), resource_arn: "arn".into() };
    let recorder = Recorder::over(identity, vec![(Box::new(moody), OnFailure::Refuse)], Arc::default()).unwrap();
    for event in 0..3 {
        let _ = record(&recorder, &event.to_string()).await;
    }
    for _ in 0..20 {
        let _ = record(&recorder, "more").await;
    }
    let bytes = written.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_line_that_was_half_written_goes_on_where_it_stopped() {
    let text = through_a_moody_sink(false).await;
    let whole: Vec<_> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    assert!(whole.len() > 3);
    for (number, line) in whole.iter().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let expected = if number < 3 { format!("/incoming/{number}") } else { "/incoming/more".into() };
        assert_eq!(event["logical-path"], expected);
    }
}

#[tokio::test]
async fn a_line_that_was_half_written_is_whole_in_a_new_target() {
    // 300 bytes at a time and a new target after each: no line of more than 300 bytes ever gets through, and each new target
    // starts with the start of a line.
    let text = through_a_moody_sink(true).await;
    let parts: Vec<_> = text.split("<cut>\n").collect();
    assert!(parts.len() > 3);
    assert!(parts.iter().filter(|part| !part.is_empty()).all(|part| part.starts_with("{\"path\":")), "{text}");
}

#[cfg(test)]
mod pipes {
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::audit::sink::stdout::StdoutSink;

    fn over_a_pipe() -> (Recorder, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let identity = Identity { server: "edge-1".into(), resource_arn: "arn".into() };
        let sink = Box::new(StdoutSink::over(OwnedFd::from(writer)));
        (Recorder::over(identity, vec![(sink, OnFailure::Refuse)], Arc::default()).unwrap(), reader)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_pipe_that_nobody_reads_stalls_recording_but_not_the_runtime() {
        let (recorder, reader) = over_a_pipe();
        let mut written = 0;
        // A pipe holds 64 KiB: before 1,000 events it is full.
        while tokio::time::timeout(SECOND / 2, record(&recorder, "x")).await.is_ok() {
            written += 1;
            assert!(written < 1_000);
        }
        let waiting = tokio::spawn({
            let recorder = recorder.clone();
            async move { record(&recorder, "last").await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        let read = std::thread::spawn(move || BufReader::new(reader).lines().take(written + 2).count());
        waiting.await.unwrap().unwrap();
        assert_eq!(read.join().unwrap(), written + 2);
    }

    #[tokio::test]
    async fn a_reader_that_went_away_refuses() {
        let (recorder, reader) = over_a_pipe();
        record(&recorder, "a").await.unwrap();
        drop(reader);
        let error = record(&recorder, "b").await.unwrap_err().to_string();
        assert!(error.contains("standard output"), "{error}");
        recorder.ready().unwrap_err();
    }
}
