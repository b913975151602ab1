//! An HTTP/1.1 proxy on loopback between a store's client and its server: it counts requests, delays them, and makes them
//! fail as a plan says.
//!
//! The client takes the proxy's address for its endpoint, and every header goes through unchanged, `Host` among them, so that
//! signatures stay good.

mod conditions;
mod connection;
mod gate;
mod plan;
mod request;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

pub use conditions::Conditions;
pub use gate::Gate;
pub use plan::{Fault, Plan};
pub use request::{Kind, Request};

/// A proxy. It ends, with its connections, when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the connections of one proxy share.
struct Shared {
    /// The real server.
    upstream: String,
    gate: Arc<Gate>,
    conditions: OnceLock<Arc<Conditions>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latency: Duration,
    plan: Plan,
    counts: BTreeMap<Kind, u64>,
    /// The requests since the last time the counts were asked for, for messages.
    seen: Vec<String>,
    faults: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts a request; how long it waits and how it fails, if it does.
    fn admit(&self, request: &Request) -> (Duration, Option<Fault>) {
        let mut state = self.state();
        *state.counts.entry(request.kind).or_default() += 1;
        let fault = state.plan.judge(request);
        state.faults += u64::from(fault.is_some());
        let failing = fault.as_ref().map(|fault| format!(" ({fault:?})")).unwrap_or_default();
        state.seen.push(format!("{} {}{failing}", request.method, request.target));
        (state.latency, fault)
    }
}

impl Proxy {
    /// A proxy before the server at `endpoint`, such as `http://127.0.0.1:9000`.
    #[track_caller]
    pub fn start(endpoint: &str) -> Proxy {
        let upstream = endpoint.strip_prefix("http://").expect("a server that is reached without TLS");
        let upstream = upstream.trim_end_matches('/').to_owned();
        let shared = Shared { upstream, gate: Arc::default(), conditions: OnceLock::new(), state: Mutex::default() };
        let shared = Arc::new(shared);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket");
        let task = runtime().spawn(accept(listener, Arc::clone(&shared)));
        Proxy { address, shared, task }
    }

    /// Where the proxy listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every request waits this long before it goes on.
    pub fn delay(&self, latency: Duration) {
        self.shared.state().latency = latency;
    }

    /// From now on requests fail as this plan says.
    pub fn plan(&self, plan: Plan) {
        self.shared.state().plan = plan;
    }

    /// Every request passes this gate before it reaches the server.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.shared.gate)
    }

    /// From now on the conditions of requests that the server ignores are judged.
    pub fn heed(&self, conditions: Arc<Conditions>) {
        drop(self.shared.conditions.set(conditions));
    }

    /// How many requests failed on purpose so far.
    pub fn faults(&self) -> u64 {
        self.shared.state().faults
    }

    /// The requests since the last time that this or [`Proxy::seen`] was asked, such as `HEAD=1 LIST=1`.
    pub fn counts(&self) -> String {
        let mut state = self.shared.state();
        state.seen.clear();
        let counts = std::mem::take(&mut state.counts);
        counts.iter().map(|(kind, n)| format!("{kind}={n}")).collect::<Vec<_>>().join(" ")
    }

    /// The same, one by one.
    pub fn seen(&self) -> Vec<String> {
        let mut state = self.shared.state();
        state.counts.clear();
        std::mem::take(&mut state.seen)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Proxies outlive the runtimes of single tests, so they have one of their own.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a runtime");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                connections.spawn(connection::serve(Arc::clone(&shared), client));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
