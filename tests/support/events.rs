//! The events that a gateway wrote, as they come.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::process::LIMIT;
use super::schema;

/// Lines of standard output, each one JSON object.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<(Mutex<Vec<Value>>, Condvar)>, Arc<Wrong>);

/// Lines that are no events of the schema.
#[derive(Debug, Default)]
struct Wrong {
    lines: Mutex<Vec<String>>,
    has_ended: Mutex<bool>,
    ended: Condvar,
}

/// Fails the test when a gateway has written a line that is no event of the schema. Belongs behind the gateway's process, so
/// that it is dropped, and looks, when that has ended.
#[derive(Debug)]
pub struct Watch(Arc<Wrong>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let ended = self.0.has_ended.lock().unwrap();
        let (ended, _) = self.0.ended.wait_timeout_while(ended, LIMIT, |ended| !*ended).unwrap();
        assert!(*ended, "the gateway's standard output is still open");
        let wrong = self.0.lines.lock().unwrap();
        assert!(wrong.is_empty(), "events that are not as `lockgate audit schema` says:\n{}", wrong.join("\n"));
    }
}

impl Events {
    /// Reads a stream to its end on a thread of its own. A line that is no JSON object becomes the event `NOT_JSON`, so
    /// that a test which looks at the events cannot miss it. What has no end was cut off by a kill, and is left out.
    pub fn collect(stream: impl Read + Send + 'static) -> Events {
        let events = Events::default();
        let shared = events.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 0) && line.ends_with('\n') {
                shared.take(line.trim_end_matches('\n'));
                line.clear();
            }
            *shared.1.has_ended.lock().unwrap() = true;
            shared.1.ended.notify_all();
        });
        events
    }

    fn take(&self, line: &str) {
        if let Err(why) = schema::event(line) {
            self.1.lines.lock().unwrap().push(why);
        }
        let event = match serde_json::from_str::<Value>(line) {
            Ok(value) if value.is_object() => value,
            _ => serde_json::json!({ "activity-type": "NOT_JSON", "line": line }),
        };
        let (list, changed) = &*self.0;
        list.lock().unwrap().push(event);
        changed.notify_all();
    }

    /// What fails the test when an event is not as the schema says.
    pub fn watch(&self) -> Watch {
        Watch(self.1.clone())
    }

    /// As long as this is held, nobody reads the gateway's standard output.
    pub fn stall(&self) -> MutexGuard<'_, Vec<Value>> {
        self.0.0.lock().unwrap()
    }

    /// All events so far.
    pub fn all(&self) -> Vec<Value> {
        self.0.0.lock().unwrap().clone()
    }

    /// The events of one type so far.
    pub fn of_type(&self, activity: &str) -> Vec<Value> {
        self.all().into_iter().filter(|e| field(e, "activity-type") == activity).collect()
    }

    /// Waits until `pick` finds what it wants in the list of events. Panics with the list when it hangs.
    #[track_caller]
    pub fn until<T>(&self, what: &str, pick: impl Fn(&[Value]) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let (list, changed) = &*self.0;
        let mut events = list.lock().unwrap();
        loop {
            if let Some(found) = pick(&events) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen: Vec<String> = events.iter().map(Value::to_string).collect();
                drop(events);
                panic!("there was no {what}; the events were\n{}", seen.join("\n"));
            }
            events = changed.wait_timeout(events, left).unwrap().0;
        }
    }

    /// Waits for the first event of a type that `fits`.
    #[track_caller]
    pub fn await_event(&self, activity: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.until(activity, |events| events.iter().find(|e| field(e, "activity-type") == activity && fits(e)).cloned())
    }

    /// Waits until `count` connections have ended; the events of the last of them, in order.
    #[track_caller]
    pub fn await_disconnected(&self, count: usize) -> Vec<Value> {
        self.until(&format!("DISCONNECTED number {count}"), |events| {
            let end = events.iter().filter(|e| field(e, "activity-type") == "DISCONNECTED").nth(count - 1)?;
            Some(events.iter().filter(|e| field(e, "session-id") == field(end, "session-id")).cloned().collect())
        })
    }
}

/// A text field; empty when it is absent.
pub fn field<'a>(event: &'a Value, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or("")
}

/// Whether it is the end of a transfer: a CLOSE, a PARTIAL_CLOSE, or the ERROR of a CLOSE that failed.
pub fn is_end(event: &Value) -> bool {
    match field(event, "activity-type") {
        "CLOSE" | "PARTIAL_CLOSE" => true,
        "ERROR" => field(event, "operation") == "CLOSE" && event.get("status").is_some(),
        _ => false,
    }
}

/// The activity types of some events, in order.
pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| field(e, "activity-type")).collect()
}
