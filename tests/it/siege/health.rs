//! Health checks of balancers on the SSH port: nothing is left of them, and nobody's login waits for them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use serde_json::json;

use super::{Siege, apart, siege};
use crate::support::campaign::{report, short_or_long};
use crate::support::process::LIMIT;

/// What a check does before it leaves.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// A bare connection.
    Bare,
    /// HAProxy's `tcp-check expect string SSH-2.0-`.
    ReadsBanner,
    /// A PROXY header of version 2 with the command LOCAL, as balancers send for themselves.
    SaysLocal,
    /// A header with a client's address, and then the banner.
    SaysSource,
}

impl Check {
    fn header(self) -> Vec<u8> {
        const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
        match self {
            Check::Bare | Check::ReadsBanner => Vec::new(),
            Check::SaysLocal => [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
            Check::SaysSource => [SIGNATURE, &[0x21, 0x11, 0, 12, 192, 0, 2, 9, 192, 0, 2, 1, 4, 0, 0, 22]].concat(),
        }
    }

    /// Returns when the gateway has ended the connection too.
    fn make(self, port: u16) {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(&self.header()).unwrap();
        if matches!(self, Check::ReadsBanner | Check::SaysSource) {
            let mut banner = [0; 8];
            socket.read_exact(&mut banner).unwrap();
            assert_eq!(&banner, b"SSH-2.0-");
        }
        socket.shutdown(Shutdown::Write).unwrap();
        // It may be reset: what it sent was not read.
        let _ = socket.read_to_end(&mut Vec::new());
    }
}

/// Makes each kind of check again and again, while others log in.
fn checks_leave_nothing(siege: &Siege, kinds: &'static [Check]) {
    let (count, port) = (short_or_long(300, 10_000), siege.gateway.port);
    let checking: Vec<_> =
        kinds.iter().map(|check| thread::spawn(move || (0..count).for_each(|_| check.make(port)))).collect();
    let mut logins = 0;
    while checking.iter().any(|thread| !thread.is_finished()) || logins == 0 {
        let beside = siege.logins(std::time::Duration::from_millis(200), apart(23));
        beside.assert_almost_all();
        logins += beside.took.len();
    }
    checking.into_iter().for_each(|thread| thread.join().unwrap());
    siege.gateway.events.await_disconnected(logins);
    report(&format!("{count} health checks each: {kinds:?}, {logins} logins beside them"));
    let lines = siege.lines_before_login();
    assert!(lines.is_empty(), "{} lines: {:?}", lines.len(), &lines[..lines.len().min(20)]);
    assert!(!siege.gateway.log().contains("is banned"), "{}", siege.gateway.log());
    siege
        .runtime
        .block_on(siege.visitor([127, 0, 0, 1]).log_in("alice"))
        .expect("a login from where the checks come from");
}

/// A day's checks come in a minute here.
const MANY_A_SECOND: u32 = 100_000;

#[test]
fn bare_connections_and_those_that_read_the_banner_leave_nothing() {
    let siege = siege(|config| config["limits"]["connections_per_second"] = json!(MANY_A_SECOND));
    checks_leave_nothing(&siege, &[Check::Bare, Check::ReadsBanner]);
    siege.gateway.stop();
}

#[test]
fn checks_with_a_proxy_header_leave_nothing() {
    let siege = siege(|config| {
        config["limits"]["connections_per_second"] = json!(MANY_A_SECOND);
        config["server"]["proxy_protocol"] = json!("optional");
        config["server"]["proxy_from"] = json!(["127.0.0.1/32"]);
    });
    checks_leave_nothing(&siege, &[Check::SaysLocal, Check::SaysSource]);
    siege.gateway.stop();
}
