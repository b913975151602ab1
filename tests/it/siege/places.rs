//! The places of those who have not logged in, when more want them than there are.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::stranger::{connect, drain};
use super::{Logins, Siege, apart, siege};
use crate::support::campaign::{alone, is_long, report, short_or_long};
use crate::support::data::MIB;
use crate::support::events::field;

/// Connections that say nothing and come again as soon as they are ended.
struct Silent {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
}

impl Silent {
    /// `port`: of the gateway, or of something else that is attacked instead.
    fn start(siege: &Siege, port: u16, addresses: u8, each: usize) -> Silent {
        let silent = Silent { stop: Arc::default(), made: Arc::default() };
        for n in 0..addresses {
            // Half of them in a network each, and half in one, whose other addresses are those of `among_silent`.
            let from = if n % 2 == 0 { Ipv4Addr::new(127, 10, n, 1) } else { Ipv4Addr::new(127, 12, 0, 255 - n / 2) };
            for _ in 0..each {
                let (stop, made) = (silent.stop.clone(), silent.made.clone());
                siege.runtime.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        match connect(from, port).await {
                            Ok(mut socket) => {
                                made.fetch_add(1, Ordering::Relaxed);
                                drain(&mut socket).await;
                            }
                            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                        }
                    }
                });
            }
        }
        silent
    }
}

/// The addresses of the network of half of the silent ones that are none of theirs.
fn among_silent(n: u16) -> [u8; 4] {
    [127, 12, 0, (n % 150) as u8 + 1]
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The quiet time of a machine that is as busy: the siege, which runs on it too, is of a program that ends each connection.
fn logins_beside_another_siege(siege: &Siege, time: Duration, each: usize) -> Logins {
    let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (port, stop) = (other.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let accepting = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            drop(other.accept());
        }
    });
    let silent = Silent::start(siege, port, 200, each);
    let logins = siege.logins(time, apart(22));
    logins.report("beside the siege of another program");
    stop.store(true, Ordering::Relaxed);
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    accepting.join().unwrap();
    drop(silent);
    logins
}

/// With and without bans: the places alone keep others from being kept out.
fn silent_connections_keep_nobody_out(defender: bool) {
    let _turn = alone();
    let siege = siege(|config| {
        if !defender {
            config["defender"] = json!("off");
        }
    });
    let time = Duration::from_secs(short_or_long(5, 60));
    let each = short_or_long(5, 60);
    let quiet = siege.logins(Duration::from_secs(2), apart(20));
    quiet.report("quiet");
    let busy = is_long().then(|| logins_beside_another_siege(&siege, time / 4, each));
    let silent = Silent::start(&siege, siege.gateway.port, 200, each);
    // In networks that nobody else comes from, and in that of half of the silent ones.
    let strangers = siege.logins(time, apart(21));
    let among = siege.logins(time / 4, among_silent);
    let made = silent.made.load(Ordering::Relaxed);
    drop(silent);
    strangers.report(&format!("beside {made} silent connections, bans {defender}"));
    among.report("from their network");
    assert!(made > 1000, "{made} connections are no siege");
    strangers.assert_almost_all();
    among.assert_almost_all();
    let memory = siege.gateway.peak_memory();
    report(&format!("at most {} MiB of memory", memory / MIB));
    assert!(memory < 256 * MIB, "{memory}");
    let lines = siege.lines_before_login();
    let minutes = (time.as_secs() / 60 + 1) as usize;
    assert!(lines.len() < 150 * minutes, "{} lines: {:?}", lines.len(), &lines[..100]);
    let dropped = lines.iter().any(|(activity, reason)| activity == "CONNECTION_REJECTED" && reason == "crowded-out");
    assert!(dropped, "{lines:?}");
    if let Some(busy) = busy {
        for part in [0.5, 0.95] {
            let (own, other) = (strangers.quantile(part), busy.quantile(part));
            assert!(own <= other * 2, "{part}: {own:?}, and {other:?} beside the siege of another program");
        }
    }
    siege.runtime.shutdown_background();
    siege.gateway.stop();
}

#[test]
fn silent_connections_keep_nobody_out_with_bans() {
    silent_connections_keep_nobody_out(true);
}

#[test]
fn silent_connections_keep_nobody_out_without_bans() {
    silent_connections_keep_nobody_out(false);
}

/// Those who hold places until the time to log in is over are penalised too.
#[test]
fn who_lets_the_time_to_log_in_pass_is_banned() {
    let siege = siege(|config| {
        config["limits"]["login_grace"] = json!("1s");
        config["defender"] = json!({ "allow": [], "points": 100 });
    });
    let from = Ipv4Addr::new(127, 30, 0, 1);
    siege.runtime.block_on(async {
        // Five graces that passed are as many points as ban.
        let held: Vec<_> = (0..5).map(|_| connect(from, siege.gateway.port)).collect();
        for socket in held {
            assert!(drain(&mut socket.await.unwrap()).await > 0, "each heard the banner");
        }
        assert_eq!(drain(&mut connect(from, siege.gateway.port).await.unwrap()).await, 0);
    });
    siege.gateway.events.await_event("CONNECTION_REJECTED", |event| field(event, "reason") == "banned");
    let lines = siege.lines_before_login();
    let expected = ["login-grace", "banned"].map(|reason| ("CONNECTION_REJECTED".to_owned(), reason.to_owned()));
    assert_eq!(lines, expected, "the first of each");
    siege.gateway.stop();
}
