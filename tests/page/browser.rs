//! A Chromium without a window, driven through its driver (WebDriver).

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{LIMIT, program, until};
use crate::support::server::{Server, folder, free_port};

/// What WebDriver calls the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that are no letters.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const DOWN: &str = "\u{e015}";
pub const END: &str = "\u{e010}";
pub const HOME: &str = "\u{e011}";
pub const RIGHT: &str = "\u{e014}";

/// A browser; it ends with this.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    downloads: TempDir,
    _server: Server,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, 1600 pixels wide and light.
    #[track_caller]
    pub fn start() -> Browser {
        let port = free_port();
        let mut command = program("chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Server::start(&mut command, None);
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        until("driver that answers", LIMIT, || TcpStream::connect(driver).ok());
        let (profile, downloads) = (folder(), folder());
        // As root, as in a container, its sandbox does not start. Whatever it would ask of the world is not answered.
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments, "binary": program("chromium").get_program().to_str() },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            // A test makes its own certificate.
            "acceptInsecureCerts": true,
            "timeouts": { "script": 600_000, "pageLoad": 600_000 },
        } } });
        let made = call(driver, "POST", "/session", &wanted);
        let session = made["sessionId"].as_str().expect("a session").to_owned();
        let browser = Browser { driver, session, downloads, _server: server, _profile: profile };
        let place = browser.downloads.path().to_str();
        browser.devtools("Browser.setDownloadBehavior", &json!({ "behavior": "allow", "downloadPath": place }));
        browser.size(1600, 1000);
        browser.theme("light");
        browser
    }

    #[track_caller]
    pub fn open(&self, address: &str) {
        self.call("POST", "/url", &json!({ "url": address }));
    }

    pub fn address(&self) -> String {
        self.call("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// The cookies that go along, those that no script reads as well.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Value> {
        self.call("GET", "/cookie", &Value::Null).as_array().cloned().unwrap_or_default()
    }

    /// What a script returns.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Asks until the expression is something.
    #[track_caller]
    pub fn await_value(&self, what: &str, expression: &str) -> Value {
        until(what, LIMIT, || {
            let value = self.script(&format!("return {expression}"));
            (!matches!(value, Value::Null | Value::Bool(false)) && value != "" && value != 0).then_some(value)
        })
    }

    /// Waits until the element has this text somewhere, and gives all of its text.
    #[track_caller]
    pub fn await_text(&self, css: &str, text: &str) -> String {
        let (css, text) = (json!(css), json!(text));
        let all = format!("[...document.querySelectorAll({css})].map((e) => e.innerText).join('\\n')");
        let expression = format!("((all) => all.includes({text}) ? all : null)({all})");
        self.await_value(&format!("{text} in {css}"), &expression).as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn count(&self, css: &str) -> u64 {
        self.script(&format!("return document.querySelectorAll({}).length", json!(css))).as_u64().unwrap()
    }

    /// The path of the one element that is there and can be seen.
    #[track_caller]
    fn element(&self, css: &str) -> String {
        self.await_value(css, &format!("document.querySelector({})?.checkVisibility()", json!(css)));
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": css }));
        format!("/element/{}", found[ELEMENT].as_str().expect("an element"))
    }

    /// Clicks with the mouse: nothing may lie above it.
    #[track_caller]
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.call("POST", &format!("{element}/click"), &json!({}));
    }

    /// Writes into a field, in place of what is there.
    #[track_caller]
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.call("POST", &format!("{element}/clear"), &json!({}));
        self.call("POST", &format!("{element}/value"), &json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    pub fn keys(&self, text: &str) {
        let presses = text
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]);
        let presses: Vec<Value> = presses.collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": presses }] });
        self.call("POST", "/actions", &actions);
    }

    #[track_caller]
    pub fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// `light` or `dark`.
    #[track_caller]
    pub fn theme(&self, theme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Where the browser is: `Asia/Kolkata`.
    #[track_caller]
    pub fn timezone(&self, name: &str) {
        self.devtools("Emulation.setTimezoneOverride", &json!({ "timezoneId": name }));
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// A picture of what is in sight, as a PNG.
    #[track_caller]
    pub fn picture(&self, file: &Path) {
        let shown = self.call("GET", "/screenshot", &Value::Null);
        fs::write(file, STANDARD.decode(shown.as_str().unwrap()).unwrap()).expect("room for a picture");
    }

    /// What the browser complained about since the last time: refused scripts and styles are among it.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned());
        lines.collect()
    }

    /// The addresses of all requests since the last time.
    #[track_caller]
    pub fn requests(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({ "type": "performance" }));
        let messages = log.as_array().unwrap().iter().filter_map(|line| line["message"].as_str());
        let messages = messages.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let sent = messages.filter(|message| message["message"]["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["message"]["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// The file that was downloaded, once it is whole.
    #[track_caller]
    pub fn download(&self, ending: &str) -> PathBuf {
        until("download", LIMIT, || {
            let mut files = fs::read_dir(self.downloads.path()).unwrap().map(|entry| entry.unwrap().path());
            files.find(|file| file.to_string_lossy().ends_with(ending))
        })
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(self.driver, method, &format!("/session/{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser; then the driver itself is ended.
        let path = format!("/session/{}", self.session);
        let _ = request(self.driver, "DELETE", &path, "");
    }
}

/// One command of WebDriver.
#[track_caller]
fn call(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = request(driver, method, path, &text).expect("the driver answers");
    assert_eq!(status, 200, "{method} {path} {text:.400}: {answer:.2000}");
    let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["value"].take()
}

/// A request, and its answer as long as the driver says that it is.
fn request(driver: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(driver)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {driver}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes())?;
    let mut all = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        let count = stream.read(&mut chunk)?;
        all.extend_from_slice(&chunk[..count]);
        let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else {
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let length = head.split_once("content-length:").and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        if count == 0 || length.is_some_and(|length: usize| all.len() >= end + 4 + length) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            return Ok((status, String::from_utf8_lossy(&all[end + 4..]).into_owned()));
        }
    }
}
