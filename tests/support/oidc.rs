//! A real identity provider (npm's oidc-provider), and somebody who logs in with it without a browser.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::{Answer, Place};
use super::process::{LIMIT, program, tool};
use super::server::Server;

/// The gateway's secret at the provider: every character in it means something to somebody.
pub const SECRET: &str = "hunter2&+:%";

/// The provider, running.
pub struct Oidc {
    port: u16,
    place: Place,
    _server: Server,
}

/// `admin.oidc` for the provider on this port.
pub fn settings(port: u16) -> Value {
    json!({
        "issuer": issuer(port), "client_id": "gateway", "client_secret": SECRET, "scopes": ["groups"],
        "roles": { "claim": "groups", "map": { "operators": "operator", "auditors": "auditor", "viewers": "viewer" } },
    })
}

pub fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn spawn(port: u16, key: &str, redirect_uris: &[String]) -> Server {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/oidc_provider.mjs");
    let mut command = program("node");
    command.arg(script).arg(tool("oidc")).arg(port.to_string()).arg(key);
    command.env("REDIRECT_URIS", json!(redirect_uris).to_string()).env("NO_UPDATE_NOTIFIER", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Server::start(&mut command, None)
}

impl Oidc {
    /// Starts it. It sends browsers back to these places only; its key has this id.
    #[track_caller]
    pub fn start(port: u16, key: &str, redirect_uris: &[String]) -> Oidc {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Node has hung before its first line on a busy machine: what it is started for is not whether it starts.
        for _ in 0..4 {
            let mut server = spawn(port, key, redirect_uris);
            let deadline = Instant::now() + LIMIT / 4;
            while Instant::now() < deadline {
                if TcpStream::connect(address).is_ok() {
                    return Oidc { port, place: Place::Tcp(address), _server: server };
                }
                assert!(!server.has_ended(), "the provider does not start; its output says why");
                thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("the provider did not answer at port {port}, started four times")
    }

    pub fn issuer(&self) -> String {
        issuer(self.port)
    }

    /// A token with these claims: of the provider (`own`), with a key of somebody else's (`other`), not signed at all (`none`), or
    /// signed with the client's secret (`hmac`).
    #[track_caller]
    pub fn sign(&self, key: &str, header: &Value, claims: &Value) -> String {
        let wanted = json!({ "header": header, "claims": claims, "key": key });
        let answer = self.place.request("POST", "/sign", &[], &wanted.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The token that the provider gives a program for its secret.
    #[track_caller]
    pub fn token_of_program(&self) -> String {
        let basic = format!("Basic {}", STANDARD.encode("gateway:hunter2%26%2B%3A%25"));
        let headers = [("Authorization", basic.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        let answer = self.place.request("POST", "/token", &headers, "grant_type=client_credentials");
        answer.ok()["access_token"].as_str().expect("a token").to_owned()
    }

    /// How often the keys were fetched.
    #[track_caller]
    pub fn fetches(&self) -> u64 {
        self.place.get("/fetches").body.parse().expect("a number")
    }

    /// How many codes were brought to it.
    #[track_caller]
    pub fn redemptions(&self) -> u64 {
        self.place.get("/redemptions").body.parse().expect("a number")
    }

    /// Goes where the gateway sent the browser, says a name, and gives the address that the provider sends it back to.
    #[track_caller]
    pub fn log_in(&self, url: &str, name: &str) -> String {
        let mut cookies = Vec::new();
        let mut address = self.visit(url, None, &mut cookies);
        let form = format!("name={name}");
        let mut forms = Some(form.as_str());
        for _ in 0..5 {
            if !address.starts_with(&self.issuer()) && address.starts_with("http") {
                return address;
            }
            let form = if address.contains("/interaction/") { forms.take() } else { None };
            address = self.visit(&address, form, &mut cookies);
        }
        panic!("the provider sends nobody back: {address}");
    }

    /// One request of a browser; where it is sent on.
    #[track_caller]
    fn visit(&self, address: &str, form: Option<&str>, cookies: &mut Vec<(String, String)>) -> String {
        let path = address.strip_prefix(&self.issuer()).unwrap_or(address);
        let host = format!("127.0.0.1:{}", self.port);
        let all: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let all = all.join("; ");
        let headers =
            [("Host", host.as_str()), ("Cookie", &all), ("Content-Type", "application/x-www-form-urlencoded")];
        let method = if form.is_some() { "POST" } else { "GET" };
        let answer = self.place.request(method, path, &headers, form.unwrap_or_default());
        keep(&answer, cookies);
        answer.raw_header("location").unwrap_or_else(|| panic!("{method} {path}: {answer:?}")).to_owned()
    }
}

fn keep(answer: &Answer, cookies: &mut Vec<(String, String)>) {
    for set in answer.raw_headers("set-cookie") {
        let Some((name, value)) = set.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
        cookies.retain(|(known, _)| known != name);
        if !value.is_empty() {
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// A word of the query of an address, as it was before it was escaped.
#[track_caller]
pub fn word(address: &str, name: &str) -> String {
    let query = address.split_once('?').expect("a query").1;
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    let (_, value) = pair.unwrap_or_else(|| panic!("no {name} in {address}"));
    percent_encoding::percent_decode_str(value).decode_utf8().expect("text").into_owned()
}
