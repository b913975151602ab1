//! Histograms: how long requests, calls of stores, and the recording of events take.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From a hundred microseconds to half a minute, in seconds.
const BUCKETS: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The most stores that are told apart over the life of the process; what comes later is one.
const MOST_STORES: usize = 200;

/// What stands for the stores beyond [`MOST_STORES`].
const OTHERS: &str = "(others)";

/// The name of a request, from a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    request: &'static str,
}

/// A store of the configuration, and the name of a call, from a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStore {
    store: String,
    call: &'static str,
}

/// A sink of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The histograms of one gateway.
pub struct Timings {
    requests: Histograms<OfRequest>,
    stores: Histograms<OfStore>,
    sinks: Histograms<OfSink>,
    waits: Histogram,
    named_stores: Mutex<BTreeSet<String>>,
    registry: Registry,
}

impl fmt::Debug for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timings")
    }
}

impl Default for Timings {
    fn default() -> Timings {
        let (requests, stores, sinks) = (of(), of(), of());
        let waits = histogram();
        let mut registry = Registry::with_prefix("lockgate");
        registry.register("request_duration_seconds", "How long requests took, of both protocols", requests.clone());
        registry.register("store_call_duration_seconds", "How long calls of stores took", stores.clone());
        registry.register("sink_write_duration_seconds", "How long a sink took for what it was given", sinks.clone());
        registry.register("event_wait_seconds", "How long events were in the queue of the trail", waits.clone());
        Timings { requests, stores, sinks, waits, named_stores: Mutex::default(), registry }
    }
}

impl Timings {
    /// A request of this name took so long.
    pub fn request(&self, request: &'static str, took: Duration) {
        self.requests.get_or_create(&OfRequest { request }).observe(took.as_secs_f64());
    }

    /// What measures the calls of a store.
    pub fn store(self: &Arc<Self>, store: &str) -> StoreTimings {
        let mut named = self.named_stores.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !named.contains(store);
        let store = if is_new && named.len() >= MOST_STORES { OTHERS } else { store };
        named.insert(store.to_owned());
        StoreTimings { timings: Arc::clone(self), store: store.to_owned() }
    }

    /// What measures the writes of a sink.
    pub fn sink(&self, sink: &str) -> Timer {
        Timer(self.sinks.get_or_create(&OfSink { sink: sink.to_owned() }).clone())
    }

    /// An event that was queued then has been written, or could not be.
    pub fn event(&self, queued: Instant) {
        self.waits.observe(queued.elapsed().as_secs_f64());
    }

    /// The text form, without an end.
    pub(super) fn render(&self, into: &mut String) {
        // Writing to a `String` does not fail.
        let _ = encode_registry(into, &self.registry);
    }
}

/// Measures the calls of one store.
#[derive(Debug, Clone)]
pub struct StoreTimings {
    timings: Arc<Timings>,
    store: String,
}

impl StoreTimings {
    /// What measures calls of this name.
    pub fn call(&self, call: &'static str) -> Timer {
        Timer(self.timings.stores.get_or_create(&OfStore { store: self.store.clone(), call }).clone())
    }
}

/// Measures one thing.
#[derive(Debug, Clone)]
pub struct Timer(Histogram);

impl Timer {
    /// Counts the time until what this gives is dropped.
    pub fn start(&self) -> Running {
        Running { histogram: self.0.clone(), began: Instant::now() }
    }
}

/// Something that is measured.
#[derive(Debug)]
pub struct Running {
    histogram: Histogram,
    began: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.histogram.observe(self.began.elapsed().as_secs_f64());
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn of<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    Family::new_with_constructor(histogram as fn() -> Histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_time_is_in_its_bucket_and_names_are_bounded() {
        let timings = Arc::new(Timings::default());
        timings.request("READ", Duration::from_millis(3));
        drop(timings.store("lake").call("stat").start());
        drop(timings.sink("file e.ndjson").start());
        timings.event(Instant::now());
        for number in 0..MOST_STORES + 50 {
            drop(timings.store(&format!("s{number}")).call("stat").start());
        }
        let mut text = String::new();
        timings.render(&mut text);
        for line in [
            "# TYPE lockgate_request_duration_seconds histogram",
            "lockgate_request_duration_seconds_count{request=\"READ\"} 1",
            "lockgate_request_duration_seconds_bucket{le=\"0.0025\",request=\"READ\"} 0",
            "lockgate_request_duration_seconds_bucket{le=\"0.005\",request=\"READ\"} 1",
            "lockgate_store_call_duration_seconds_count{store=\"lake\",call=\"stat\"} 1",
            "lockgate_store_call_duration_seconds_count{store=\"(others)\",call=\"stat\"} 51",
            "lockgate_sink_write_duration_seconds_count{sink=\"file e.ndjson\"} 1",
            "lockgate_event_wait_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
