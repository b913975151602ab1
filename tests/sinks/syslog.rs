//! The syslog sink and rsyslog: every event byte for byte, over TCP, TLS and a socket, and across a restart of the server.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Place;
use crate::support::process::{LIMIT, program, run, until};
use crate::support::server::{Server, free_port};

/// How a gateway reaches rsyslog.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Tcp,
    Tls,
    Unix,
}

/// An rsyslog with a configuration of its own. It writes the messages as they are.
struct Rsyslog {
    folder: PathBuf,
    way: Way,
    port: u16,
    server: Option<Server>,
}

impl Rsyslog {
    #[track_caller]
    fn start(place: &Place, way: Way) -> Rsyslog {
        let folder = place.setup.subfolder("rsyslog");
        if way == Way::Tls {
            make_certificate(&folder);
        }
        let mut rsyslog = Rsyslog { folder, way, port: free_port(), server: None };
        fs::write(rsyslog.file("rsyslog.conf"), rsyslog.configuration()).unwrap();
        rsyslog.run();
        rsyslog
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configuration(&self) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        let input = match self.way {
            Way::Tcp => {
                format!("module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")", self.port)
            }
            Way::Tls => format!(
                "module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")",
                self.port
            ),
            Way::Unix => format!(
                "module(load=\"imuxsock\" sysSock.use=\"off\")\n\
                 input(type=\"imuxsock\" socket=\"{}\" useSpecialParser=\"off\" parseHostname=\"on\" ignoreTimestamp=\"off\" \
                 rateLimit.interval=\"0\")",
                file("log")
            ),
        };
        let tls = match self.way {
            Way::Tls => format!(
                " defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
                 defaultNetstreamDriverKeyFile=\"{}\"",
                file("ca.pem"),
                file("server.pem"),
                file("server.key")
            ),
            _ => String::new(),
        };
        format!(
            "global(workDirectory=\"{}\" maxMessageSize=\"64k\"{tls})\n{input}\n\
             template(name=\"message\" type=\"string\" string=\"%msg%\\n\")\n\
             template(name=\"header\" type=\"string\" string=\"%syslogfacility-text% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"message\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"header\")\n",
            self.folder.display(),
            file("messages"),
            file("headers"),
        )
    }

    #[track_caller]
    fn run(&mut self) {
        // A copy: where the system confines the installed one, it may not read what is here.
        let copy = self.file("rsyslogd");
        if !copy.exists() {
            fs::copy(program("rsyslogd").get_program(), &copy).expect("room for a program");
        }
        let mut command = Command::new(copy);
        command.args(["-n", "-f"]).arg(self.file("rsyslog.conf")).arg("-i").arg(self.file("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(self.file("errors")).unwrap());
        self.server = Some(Server::start(&mut command, None));
        until("an answer of rsyslog", LIMIT, || match self.way {
            Way::Unix => UnixDatagram::unbound().unwrap().connect(self.file("log")).ok(),
            _ => TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop),
        });
    }

    fn sink(&self) -> Value {
        let port = self.port;
        match self.way {
            Way::Tcp => {
                json!([{ "sink": "syslog", "address": format!("tcp://127.0.0.1:{port}"), "facility": "local3" }])
            }
            Way::Tls => json!([{ "sink": "syslog", "address": format!("tls://localhost:{port}"), "facility": "local3",
                "ca_file": self.file("ca.pem") }]),
            Way::Unix => {
                json!([{ "sink": "syslog", "address": format!("unix:{}", self.file("log").display()), "facility": "local3" }])
            }
        }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.file(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// An authority, and a certificate of it for this machine.
pub fn make_certificate(folder: &Path) {
    let openssl = |words: &[&str]| {
        run(Command::new("openssl").current_dir(folder).args(words)).succeeded();
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let authority = ["-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests"];
    openssl(&[&["req"][..], &key, &authority].concat());
    let request = ["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost"];
    openssl(&[&["req"][..], &key[..5], &request].concat());
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&sign[..], &["-days", "2", "-extfile", "names", "-out", "server.pem"]].concat());
}

fn every_event_arrives_by(way: Way) {
    let mut place = Place::new();
    let mut rsyslog = Rsyslog::start(&place, way);
    place.sinks(rsyslog.sink());
    let gateway = place.setup.start();
    place.work(&gateway, 8);
    // What no line may break: a name with quotes, a backslash, and letters of several bytes.
    gateway.client("alice", &place.key).sftp("mkdir \"/a \\\"b\\\" é 漢 \u{1f600}\"\n").succeeded();
    gateway.stop();
    let recorded = place.recorded();
    until("the last message", LIMIT, || (rsyslog.lines("messages").len() >= recorded.len()).then_some(()));
    assert_eq!(rsyslog.lines("messages"), recorded);
    for (header, line) in rsyslog.lines("headers").iter().zip(&recorded) {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let time = text("timestamp");
        let (time, kind) = (time.trim_end_matches('Z'), text("activity-type"));
        assert!(header.starts_with(&format!("local3 {time}")), "{header}\n{line}");
        assert!(header.ends_with(&format!(" edge-1 lockgate {kind}")), "{header}\n{line}");
    }
    rsyslog.server = None;
}

#[test]
fn rsyslog_takes_every_event_over_tcp() {
    every_event_arrives_by(Way::Tcp);
}

#[test]
fn rsyslog_takes_every_event_over_tls() {
    every_event_arrives_by(Way::Tls);
}

#[test]
fn rsyslog_takes_every_event_over_a_socket() {
    every_event_arrives_by(Way::Unix);
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    let mut place = Place::new();
    let rsyslog = Rsyslog::start(&place, Way::Tls);
    let mut sink = rsyslog.sink();
    let stranger = place.setup.subfolder("stranger");
    make_certificate(&stranger);
    sink[0]["ca_file"] = json!(stranger.join("ca.pem"));
    place.sinks(sink);
    let gateway = place.setup.start();
    gateway.client("alice", &place.key).sftp("mkdir /a\n").failed();
    assert!(gateway.log().contains("certificate"), "{}", gateway.log());
    assert!(rsyslog.lines("messages").is_empty());
}

/// While rsyslog is away operations are refused; when it is back, everything is there that was recorded.
#[test]
fn an_outage_of_rsyslog_loses_nothing() {
    let mut place = Place::new();
    let mut rsyslog = Rsyslog::start(&place, Way::Tcp);
    place.sinks(rsyslog.sink());
    let gateway = place.setup.start();
    for _ in 0..3 {
        place.work(&gateway, 3);
        rsyslog.server.as_ref().unwrap().signal(Signal::KILL);
        rsyslog.server = None;
        // The first line after the death may still be taken by the operating system; soon nothing is.
        let client = gateway.client("alice", &place.key);
        until("a refusal", LIMIT, || (!client.sftp("ls /\n").status.success()).then_some(()));
        rsyslog.run();
        until("operations again", LIMIT, || client.sftp("ls /\n").status.success().then_some(()));
    }
    gateway.stop();
    // Nobody was let in who could not be recorded, and that is on record.
    let refused = gateway_refusals(&place);
    assert!(!refused.is_empty() && refused.iter().all(|reason| reason == "trail-unavailable"), "{refused:?}");
    let recorded: BTreeSet<String> = place.recorded().into_iter().collect();
    until("the last message", LIMIT, || {
        let arrived: BTreeSet<String> = rsyslog.lines("messages").into_iter().collect();
        recorded.is_subset(&arrived).then_some(())
    });
    let arrived: BTreeSet<String> = rsyslog.lines("messages").into_iter().collect();
    let strange: Vec<_> = arrived.difference(&recorded).collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

/// Why attempts to log in failed.
fn gateway_refusals(place: &Place) -> Vec<String> {
    let events = place.recorded().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let failures = events.filter(|event| event["activity-type"] == "AUTH_FAILURE");
    failures.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}
