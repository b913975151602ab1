//! Who writes: whoever waits for an event, or the thread, one at a time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::samples;
use crate::audit::chain::Hash;
use crate::audit::encode::Identity;
use crate::audit::sink::Sink;
use crate::audit::{Activity, OnFailure, Outcome, Recorder};
use crate::metrics::Metrics;

/// What a [`Quick`] sink has been given.
#[derive(Default)]
struct Given {
    lines: Mutex<Vec<u8>>,
    /// Who wrote last.
    by: Mutex<Option<ThreadId>>,
    fails: AtomicBool,
    is_written: AtomicBool,
}

/// A sink that may be written in place, and notices when two do so at once.
struct Quick(Arc<Given>);

impl Sink for Quick {
    fn name(&self) -> String {
        "quick".into()
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Given { lines, by, fails, is_written } = &*self.0;
        assert!(!is_written.swap(true, Ordering::SeqCst), "two write at once");
        let result = if fails.load(Ordering::SeqCst) {
            Err(io::Error::other("on purpose"))
        } else {
            *by.lock().unwrap() = Some(thread::current().id());
            // A line in two pieces: whoever came between would tear it.
            let half = bytes.len().div_ceil(2);
            lines.lock().unwrap().extend_from_slice(&bytes[..half]);
            Ok(half)
        };
        is_written.store(false, Ordering::SeqCst);
        result
    }
}

impl Given {
    fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }
}

fn to_quick() -> (Recorder, Arc<Given>) {
    let given = Arc::<Given>::default();
    let identity = Identity { server: "edge-1".into(), resource_arn: "arn".into() };
    let sinks: Vec<(Box<dyn Sink>, OnFailure)> = vec![(Box::new(Quick(Arc::clone(&given))), OnFailure::Refuse)];
    (Recorder::over(identity, sinks, Arc::<Metrics>::default()).unwrap(), given)
}

fn mkdir(name: &str) -> Activity {
    Activity::Mkdir(samples::file(name, Outcome::Success))
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_writes_when_nobody_else_does() {
    let (recorder, given) = to_quick();
    let wrote_here = tokio::spawn(async move {
        // A machine that is busy with something else may make it look slow for a while.
        for _ in 0..20_000 {
            samples::record(&recorder, &samples::worker(), &mkdir("a")).await.unwrap();
            if *given.by.lock().unwrap() == Some(thread::current().id()) {
                return true;
            }
        }
        false
    });
    assert!(wrote_here.await.unwrap());
}

#[tokio::test]
async fn the_only_thread_of_a_runtime_leaves_it_to_another() {
    let (recorder, given) = to_quick();
    for _ in 0..100 {
        samples::record(&recorder, &samples::worker(), &mkdir("a")).await.unwrap();
        assert_ne!(*given.by.lock().unwrap(), Some(thread::current().id()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_lose_nothing_and_keep_one_order() {
    const TASKS: usize = 8;
    const EACH: usize = 400;
    let (recorder, given) = to_quick();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let late = recorder.record_late(&samples::worker(), &mkdir(&format!("{task}-{n}")));
                    match n % 4 {
                        // Nobody waits for it.
                        0 => drop(late),
                        // Its turn comes later than that of others.
                        1 => {
                            tokio::task::yield_now().await;
                            late.await.unwrap();
                        }
                        _ => late.await.unwrap(),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(600), task).await.expect("all are answered").unwrap();
    }
    eventually("every line", || given.text().lines().count() == TASKS * EACH).await;
    let text = given.text();
    let mut previous = Hash::START;
    for (n, line) in text.lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["sequence"], n as u64 + 1);
        assert_eq!(event["previous"], previous.to_string());
        previous = Hash::of_line(line.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_written_in_place_is_tried_again_without_another_event() {
    let (recorder, given) = to_quick();
    for _ in 0..200 {
        samples::record(&recorder, &samples::worker(), &mkdir("before")).await.unwrap();
    }
    given.fails.store(true, Ordering::SeqCst);
    let refused = tokio::spawn({
        let recorder = recorder.clone();
        async move { samples::record(&recorder, &samples::worker(), &mkdir("kept")).await }
    });
    assert!(refused.await.unwrap().unwrap_err().to_string().contains("on purpose"));
    assert!(recorder.ready().is_err());
    given.fails.store(false, Ordering::SeqCst);
    eventually("recovery", || recorder.ready().is_ok()).await;
    assert!(given.text().lines().last().unwrap().contains("kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_written_before_anybody_waits_for_it() {
    let (recorder, given) = to_quick();
    let recorded = recorder.record_late(&samples::worker(), &mkdir("sent")).sent();
    eventually("the line", || given.text().contains("sent")).await;
    recorded.await.unwrap();
}
