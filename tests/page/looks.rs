//! How every view looks: wide and narrow, light and dark, and to a screen reader; with pictures.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::place::{Place, pictures};
use crate::support::client::Client;
use crate::support::process::{LIMIT, run, tool};
use crate::support::setup::User;
use crate::support::sftp::Sftp;

/// A file that grows until this is dropped.
struct Moving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Moving {
    fn start(client: &Client, path: &'static str) -> Moving {
        let (client, stop) = (client.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut sftp = Sftp::connect(&client, LIMIT);
            // Made already by whoever came first.
            let _ = sftp.make_directory(path.rsplit_once('/').unwrap().0);
            let handle = sftp.create(path);
            let packet = [7; 32 * 1024];
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                sftp.write(&handle, number * packet.len() as u64, &packet).unwrap();
                // Now more, now less.
                thread::sleep(Duration::from_millis(20 + 10 * (number / 40 % 4)));
            }
            sftp.close(&handle).unwrap();
        });
        Moving { stop, thread: Some(thread) }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

const SIZES: [(u32, u32); 2] = [(1600, 1000), (360, 740)];
const THEMES: [&str; 2] = ["light", "dark"];

/// What axe-core finds wrong: the rule, and where.
#[track_caller]
fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    browser.script(axe);
    let found = browser.script(
        "return axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations.map((one) => ({
           rule: one.id, help: one.help, nodes: one.nodes.map((node) => node.html + ' — ' + node.failureSummary) })))",
    );
    found.as_array().unwrap().iter().map(|one| format!("{one:#}")).collect()
}

/// Numbers that the line beside them runs through.
const CROSSED: &str = "return [...document.querySelectorAll('.figure')].filter((figure) => {
    const text = document.createRange();
    text.selectNodeContents(figure.querySelector('.value'));
    const [number, line] = [text.getBoundingClientRect(), figure.querySelector('.spark').getBoundingClientRect()];
    return line.width && number.right > line.left && number.bottom > line.top && number.top < line.bottom;
  }).map((figure) => figure.innerText)";

/// Looks at a view in every size and theme; what is wrong with it, a sentence each.
#[track_caller]
pub fn look(browser: &Browser, axe: &str, name: &str, ready: &dyn Fn(&Browser)) -> Vec<String> {
    let mut wrong = Vec::new();
    for (width, height) in SIZES {
        for theme in THEMES {
            browser.size(width, height);
            browser.theme(theme);
            ready(browser);
            let widths = browser.script("return [document.documentElement.scrollWidth, innerWidth]");
            if widths[0].as_u64() > Some(width.into()) || widths[1] != width {
                wrong.push(format!("{name} scrolls to the side at {width}, {theme}: {widths}"));
            }
            let crossed = browser.script(CROSSED);
            if crossed != json!([]) {
                wrong.push(format!("{name} at {width}, {theme}: a line runs through {crossed}"));
            }
            let found = violations(browser, axe).into_iter();
            wrong.extend(found.map(|what| format!("{name} at {width}, {theme}: {what}")));
            browser.picture(&pictures().join(format!("{name}-{width}-{theme}.png")));
        }
    }
    // Small enough for a README.
    browser.size(1160, 660);
    ready(browser);
    browser.picture(&pictures().join(format!("{name}.png")));
    wrong
}

#[test]
fn every_view_fits_each_width_in_both_themes_and_axe_finds_nothing() {
    let axe = fs::read_to_string(tool("axe/node_modules/axe-core/axe.min.js")).unwrap();
    let (mut acme, mut globex) = (None, None);
    let place = Place::start_with(|setup| {
        let key = setup.key("acme");
        let allowed: Value = json!(["10.20.0.0/16"]);
        setup.user(User::new("acme-invoices").key(&key).home("/", "main:/acme").set("allow_from", allowed));
        acme = Some(key);
        let key = setup.key("globex");
        setup.user(User::new("globex").key(&key).home("/", "main:/globex"));
        globex = Some(key);
    });
    let globex = place.gateway.client("globex", &globex.unwrap());
    let mut alice = Sftp::connect(&place.alice, LIMIT);
    alice.make_directory("/incoming").unwrap();
    alice.put("/incoming/orders-2026-11.csv", &[7; 300_000]);
    alice
        .put("/incoming/customers-with-a-name-that-is-much-too-long-for-a-narrow-screen-2026-11-29.csv", &[7; 900_000]);
    alice.rename("/incoming/orders-2026-11.csv", "/incoming/orders-final.csv").unwrap();
    let _ = alice.remove("/incoming/nothing.csv").unwrap_err();
    let acme = place.gateway.client("acme-invoices", &acme.unwrap());
    run(acme.command("sftp").arg(acme.host())).failed();
    let browser = Browser::start();
    place.open(&browser, "/");
    let mut wrong = look(&browser, &axe, "login", &|browser| drop(browser.await_text("main", "Log in with a token")));
    browser.open(&place.link("operator"));
    browser.await_text("#bar", "Ready");
    let moving =
        ["/incoming/archive-2026-11.tar", "/incoming/pictures.zip"].map(|path| Moving::start(&place.alice, path));
    let moving_too = Moving::start(&globex, "/invoices/2026-11.pdf");
    let download = alice.open_to_read("/incoming/orders-final.csv");
    alice.read(&download, 0, 130_000).unwrap();
    // So long that the lines show something.
    browser.await_value(
        "line",
        "[...document.querySelectorAll('.spark .line')].some((line) => line.getAttribute('d')?.split('L').length > 12)",
    );
    wrong.extend(look(&browser, &axe, "now", &|browser| {
        browser.await_text(".file", "sends");
        browser.await_text(".file", "receives");
        browser.await_text(".parts", "answers");
    }));
    browser.click(".session button.danger");
    wrong.extend(look(&browser, &axe, "end", &|browser| drop(browser.await_text("dialog", "End the session"))));
    browser.click("dialog button[type=button]");
    for (name, path, css, text) in [
        ("events", "/events?view=files", ".list.events", "Renamed"),
        ("partners", "/partners", ".partners", "acme-invoices"),
        ("partner", "/partners/acme-invoices", ".partner", "No file in the last 7 days"),
        ("trail", "/trail", "main", "signed"),
        ("config", "/config", ".config", "stores"),
        ("nowhere", "/sessions/0049cd844c7536c06a89", ".error", "no event"),
    ] {
        place.open(&browser, path);
        wrong.extend(look(&browser, &axe, name, &|browser| drop(browser.await_text(css, text))));
    }
    place.open(&browser, "/events?view=files");
    browser.click(".list.events .rows .row");
    wrong.extend(look(&browser, &axe, "event", &|browser| drop(browser.await_text(".details", "event-id"))));
    drop((moving, moving_too, alice));
    let session = place.gateway.events.await_event("DISCONNECTED", |event| event["files-in"] == 2);
    place.open(&browser, &format!("/sessions/{}", session["session-id"].as_str().unwrap()));
    browser.await_value("end of what is live", "document.querySelector('section[aria-label=Now]')?.hidden");
    wrong.extend(look(&browser, &axe, "session", &|browser| drop(browser.await_text(".file-list", "sha256"))));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    place.assert_clean(&browser);
}
