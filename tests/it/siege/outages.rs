//! What the gateway cannot do for reasons of its own is nobody else's fault: nobody is banned for it, and the trail says whose it was.

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Siege, siege};
use crate::support::events::field;
use crate::support::process::{LIMIT, until};
use crate::support::provider::{Provider, Reply};

/// As many points as one fault of the lightest kind makes.
const STRICT: u32 = 1;

impl Siege {
    fn assert_that_nobody_is_banned(&self) {
        assert!(!self.gateway.log().contains("is banned"), "{}", self.gateway.log());
        let rejected = self.gateway.events.of_type("CONNECTION_REJECTED");
        assert!(rejected.iter().all(|event| field(event, "reason") != "banned"), "{rejected:#?}");
    }

    fn reasons_of_failures(&self) -> Vec<String> {
        let failures = self.gateway.events.of_type("AUTH_FAILURE");
        failures.iter().map(|event| field(event, "reason").to_owned()).collect()
    }
}

/// A collector of events that goes away and comes back.
struct Collector {
    listener: JoinHandle<()>,
    open: Arc<Mutex<Open>>,
    port: u16,
}

#[derive(Default)]
struct Open {
    is_over: bool,
    connections: Vec<TcpStream>,
}

impl Collector {
    /// On this port; 0 for a free one.
    fn start(port: u16) -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::<Mutex<Open>>::default();
        let shared = open.clone();
        let listener = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut open = shared.lock().unwrap();
                if open.is_over {
                    return;
                }
                open.connections.push(client.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut { client }.take(u64::MAX), &mut std::io::sink()));
            }
        });
        Collector { listener, open, port }
    }

    /// Nobody listens any more.
    fn stop(self) -> u16 {
        let mut open = self.open.lock().unwrap();
        open.is_over = true;
        open.connections.iter().for_each(|client| drop(client.shutdown(Shutdown::Both)));
        open.connections.clear();
        drop(open);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.listener.join().unwrap();
        self.port
    }
}

#[test]
fn two_seconds_without_a_sink_ban_nobody() {
    let collector = Collector::start(0);
    let siege = siege(|config| {
        let syslog =
            json!({ "sink": "syslog", "address": format!("tcp://127.0.0.1:{}", collector.port), "timeout": "1s" });
        config["events"] = json!([{ "sink": "stdout" }, syslog]);
        config["defender"] = json!({ "allow": [], "points": STRICT });
    });
    let partner = siege.visitor([127, 60, 0, 1]);
    siege.runtime.block_on(partner.log_in("alice")).expect("all is well");
    let port = collector.stop();
    // The first lines after its death may still be taken by the operating system.
    until("a refusal", LIMIT, || siege.runtime.block_on(partner.log_in("alice")).is_err().then_some(()));
    let mut refused = 0;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        refused += usize::from(siege.runtime.block_on(partner.log_in("alice")).is_err());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(refused > 3, "{refused} were refused");
    let collector = Collector::start(port);
    until("logins again", LIMIT, || siege.runtime.block_on(partner.log_in("alice")).ok());
    siege.assert_that_nobody_is_banned();
    let reasons = siege.reasons_of_failures();
    assert!(reasons.iter().all(|reason| reason == "trail-unavailable"), "{reasons:?}");
    siege.gateway.stop();
    collector.stop();
}

/// An identity provider that answers, and is given up, when the time to log in is over.
fn with_a_provider_that_hangs(config: &mut Value) -> Provider {
    let provider = Provider::start(|_| Reply::Late(Duration::from_secs(3600), Box::new(Reply::Cut)));
    config["users_from"] = json!({ "http": { "url": provider.url(), "timeout": "6s" } });
    config["limits"]["login_grace"] = json!("3s");
    config["defender"] = json!({ "allow": [], "points": STRICT });
    provider
}

#[test]
fn a_directory_that_does_not_answer_in_time_bans_nobody() {
    let mut provider = None;
    let siege = siege(|config| provider = Some(with_a_provider_that_hangs(config)));
    let partner = siege.visitor([127, 61, 0, 1]);
    let key = partner.key.clone();
    for way in ["key", "password"] {
        let ended = siege.runtime.block_on(async {
            let mut open = partner.open().await.expect("it is not banned");
            match way {
                "key" => open.key("ann", key.clone()).await,
                _ => open.password("ann", "battery").await,
            }
        });
        assert_ne!(ended, Ok(true));
    }
    let events = siege.gateway.events.await_disconnected(2);
    assert_eq!(siege.reasons_of_failures(), ["directory-unavailable"; 2], "{events:#?}");
    let methods: Vec<_> =
        siege.gateway.events.of_type("AUTH_FAILURE").iter().map(|event| field(event, "method").to_owned()).collect();
    assert_eq!(methods, ["publickey", "password"]);
    for end in siege.gateway.events.of_type("DISCONNECTED") {
        assert_eq!(field(&end, "reason"), "server", "{end}");
        assert!(field(&end, "message").contains("could not examine the login"), "{end}");
    }
    // Users of the configuration need no provider.
    siege.runtime.block_on(partner.log_in("alice")).expect("it is not banned");
    siege.assert_that_nobody_is_banned();
    assert!(!provider.unwrap().questions().is_empty());
    siege.gateway.stop();
}
