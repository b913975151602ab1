//! Counters of the running gateway and their text form.
//!
//! One [`Metrics`] is shared by the process through an `Arc`; there is no global one. The audit trail counts whatever an event
//! tells (logins, failures, operations, bytes and files of transfers that ended), so nobody else counts these.

mod timings;
mod users;

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use timings::{Running, StoreTimings, Timer, Timings};
pub use users::{Numbers, Users};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away.
    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Makes it `n`.
    pub fn set(&self, n: i64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that somebody else keeps, and tells whenever it is asked for; 0 until it is known who.
#[derive(Default)]
pub struct Reading(OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>);

impl Reading {
    /// From now on `source` is asked; the first one stays.
    pub fn follow(&self, source: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(source));
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.get().map_or(0, |source| source())
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({})", self.get())
    }
}

/// Counters that differ in `N` words. The words are fixed in the program, never a client's, so their number is bounded.
#[derive(Debug)]
pub struct Family<const N: usize> {
    labels: [&'static str; N],
    values: Mutex<BTreeMap<[&'static str; N], Arc<Counter>>>,
}

impl<const N: usize> Family<N> {
    /// No values yet; `labels` name the words.
    pub fn new(labels: [&'static str; N]) -> Self {
        Family { labels, values: Mutex::default() }
    }

    /// Adds `n` to the counter of these words.
    pub fn add(&self, words: &[&'static str; N], n: u64) {
        self.counter(words).add(n);
    }

    /// The counter of these words, for one who counts often.
    pub fn counter(&self, words: &[&'static str; N]) -> Arc<Counter> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(values.entry(*words).or_default())
    }

    /// The present value for these words.
    pub fn get(&self, words: &[&'static str; N]) -> u64 {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(words).map_or(0, |counter| counter.get())
    }

    fn snapshot(&self) -> BTreeMap<[&'static str; N], u64> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().map(|(words, counter)| (*words, counter.get())).collect()
    }
}

/// The numbers of one gateway.
#[derive(Debug)]
pub struct Metrics {
    /// TCP connections that were accepted.
    pub connections: Counter,
    /// Connections that closed without a byte: health checks. Not recorded as events.
    pub health_checks: Counter,
    /// Variables of the environment that clients send as a matter of course (`LANG`, `LC_*`), which are ignored.
    pub ignored_environment: Counter,
    /// Connections that were recorded as refused, by `kind`: `kex`, `rejected`.
    pub connections_refused: Family<1>,
    /// Connections whose end was recorded.
    pub disconnections: Counter,
    /// Connections that are logged in now.
    pub sessions: Gauge,
    /// Logins that succeeded.
    pub logins: Counter,
    /// Attempts to log in that failed, by `reason` as in the event.
    pub auth_failures: Family<1>,
    /// Recorded operations, by `operation` (the activity) and `status`.
    pub operations: Family<2>,
    /// Requests of clients, by `protocol` and by `request` as its table calls it, whatever the answer.
    pub requests: Family<2>,
    /// Bytes received in transfers that ended.
    pub bytes_in: Counter,
    /// Bytes sent in transfers that ended.
    pub bytes_out: Counter,
    /// Uploads that succeeded.
    pub files_in: Counter,
    /// Downloads that ended well.
    pub files_out: Counter,
    /// Events that every required sink has written.
    pub events_recorded: Counter,
    /// Events whose caller was told that a required sink could not write them.
    pub events_refused: Counter,
    /// Events that one sink never got; counted once for each sink.
    pub events_lost: Counter,
    /// Bytes of the transfer budget in use now.
    pub transfer_memory: Reading,
    /// The same of each user.
    pub users: Users,
    /// How long things take.
    pub timings: Arc<Timings>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            connections: Counter::default(),
            health_checks: Counter::default(),
            ignored_environment: Counter::default(),
            connections_refused: Family::new(["kind"]),
            disconnections: Counter::default(),
            sessions: Gauge::default(),
            logins: Counter::default(),
            auth_failures: Family::new(["reason"]),
            operations: Family::new(["operation", "status"]),
            requests: Family::new(["protocol", "request"]),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            files_in: Counter::default(),
            files_out: Counter::default(),
            events_recorded: Counter::default(),
            events_refused: Counter::default(),
            events_lost: Counter::default(),
            transfer_memory: Reading::default(),
            users: Users::default(),
            timings: Arc::default(),
        }
    }
}

impl Metrics {
    /// The Prometheus text form (version 0.0.4); with the numbers of each user, which name them, where `names_users`.
    pub fn render(&self, names_users: bool) -> String {
        let mut text = Text(String::with_capacity(4096));
        text.counter("connections_total", "TCP connections accepted.", &self.connections);
        text.counter("health_checks_total", "Connections closed without a byte.", &self.health_checks);
        text.counter(
            "ignored_environment_total",
            "Environment variables that clients send as a matter of course.",
            &self.ignored_environment,
        );
        text.family("connections_refused_total", "Connections refused.", &self.connections_refused);
        text.counter("disconnections_total", "Connections whose end was recorded.", &self.disconnections);
        text.gauge("sessions", "Connections that are logged in.", self.sessions.get());
        text.counter("logins_total", "Logins that succeeded.", &self.logins);
        text.family("auth_failures_total", "Attempts to log in that failed.", &self.auth_failures);
        text.family("operations_total", "Operations recorded.", &self.operations);
        text.family("requests_total", "Requests of clients.", &self.requests);
        text.counter("received_bytes_total", "Bytes received in transfers that ended.", &self.bytes_in);
        text.counter("sent_bytes_total", "Bytes sent in transfers that ended.", &self.bytes_out);
        text.counter("files_received_total", "Uploads that succeeded.", &self.files_in);
        text.counter("files_sent_total", "Downloads that ended well.", &self.files_out);
        text.counter("events_recorded_total", "Events that every required sink wrote.", &self.events_recorded);
        text.counter("events_refused_total", "Events that a required sink could not write.", &self.events_refused);
        text.counter("events_lost_total", "Events that one sink never got.", &self.events_lost);
        text.gauge("transfer_memory_bytes", "Transfer memory in use.", self.transfer_memory.get());
        if names_users {
            self.users.render(&mut text);
        }
        self.timings.render(&mut text.0);
        text.0
    }
}

/// The text form of some numbers.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// All of it.
    pub fn finish(self) -> String {
        self.0
    }

    /// A family of numbers, `kind` being `counter` or `gauge`; nothing if there are none. Labels may hold anything.
    pub fn labelled<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        samples: impl IntoIterator<Item = ([(&'static str, &'a str); N], f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, help, kind);
        for (labels, value) in samples {
            let labels: Vec<_> = labels.iter().map(|(label, word)| format!("{label}=\"{}\"", escaped(word))).collect();
            let _ = writeln!(self.0, "lockgate_{name}{{{}}} {value}", labels.join(","));
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.0, "# HELP lockgate_{name} {help}\n# TYPE lockgate_{name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "lockgate_{name} {}", counter.get());
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "lockgate_{name} {value}");
    }

    fn family<const N: usize>(&mut self, name: &str, help: &str, family: &Family<N>) {
        self.head(name, help, "counter");
        for (words, value) in family.snapshot() {
            let labels: Vec<_> = family.labels.iter().zip(words).map(|(l, w)| format!("{l}=\"{w}\"")).collect();
            let _ = writeln!(self.0, "lockgate_{name}{{{}}} {value}", labels.join(","));
        }
    }
}

/// The value of a label.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_shows_every_value_under_its_type() {
        let metrics = Metrics::default();
        metrics.connections.add(3);
        metrics.sessions.add(2);
        metrics.sessions.sub(1);
        metrics.operations.add(&["CLOSE", "success"], 7);
        metrics.operations.add(&["CLOSE", "failure"], 1);
        metrics.requests.counter(&["sftp", "READ"]).add(2);
        metrics.requests.counter(&["sftp", "READ"]).add(3);
        assert!(
            metrics.render(true).lines().any(|line| line == "lockgate_transfer_memory_bytes 0"),
            "nobody is asked yet"
        );
        let memory = Arc::new(Counter::default());
        let source = memory.clone();
        metrics.transfer_memory.follow(move || source.get());
        memory.add(4096);
        let text = metrics.render(true);
        for line in [
            "# TYPE lockgate_connections_total counter",
            "lockgate_connections_total 3",
            "# TYPE lockgate_sessions gauge",
            "lockgate_sessions 1",
            "lockgate_operations_total{operation=\"CLOSE\",status=\"failure\"} 1",
            "lockgate_operations_total{operation=\"CLOSE\",status=\"success\"} 7",
            "lockgate_requests_total{protocol=\"sftp\",request=\"READ\"} 5",
            "lockgate_transfer_memory_bytes 4096",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with('\n'));
        let names: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        assert_eq!(names.len(), 18 + 1, "counters and gauges, and the one histogram without labels");
    }
}
