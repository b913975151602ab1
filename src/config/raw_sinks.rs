//! The shape of `events[i]` for sinks that send elsewhere, and of what each sink may have: `filter` and `format`.

use std::time::Duration;

use super::problem::Problems;
use super::raw::{read_headers, text};
use super::raw_audit::{read_fsync, read_object_lock};
use super::reader::{At, Item, Section};
use crate::audit::{BatchSettings, Encoding, Format, Framing, Fsync, ObjectLock, OcsfVersion};
use crate::secret::Secret;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// `sink: store`
#[derive(Debug)]
pub(super) struct StoreSink {
    pub target: Option<At<String>>,
    pub lock: Option<At<ObjectLock>>,
    pub spool: Spool,
}

/// Where batches wait, and how large they are.
#[derive(Debug)]
pub(super) struct Spool {
    pub at: At<()>,
    pub folder: Option<At<String>>,
    pub limit: u64,
    pub fsync: Fsync,
    pub batch: BatchSettings,
    pub is_age_given: bool,
}

/// `sink: syslog`
#[derive(Debug)]
pub(super) struct SyslogSink {
    pub address: Option<At<String>>,
    pub framing: Option<At<Framing>>,
    pub facility: Option<At<String>>,
    pub app_name: Option<At<String>>,
    pub ca_file: Option<At<String>>,
    pub timeout: Duration,
}

/// `sink: http`
#[derive(Debug)]
pub(super) struct HttpSink {
    pub url: Option<At<Secret>>,
    pub headers: Vec<(At<String>, Secret)>,
    pub encoding: Option<At<Encoding>>,
    pub signing: Vec<At<Secret>>,
    pub give_up_after: Option<At<Duration>>,
    pub gzip: bool,
    pub ca_file: Option<At<String>>,
    pub timeout: Duration,
    pub spool: Spool,
}

/// `filter` and `format`
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub activities: Option<Vec<At<String>>>,
    pub except: Vec<At<String>>,
    pub users: Option<Vec<At<String>>>,
    pub status: Option<Vec<String>>,
    pub paths: Option<Vec<At<String>>>,
    pub operations: Option<Vec<At<String>>>,
    pub format: Option<At<Format>>,
    pub temporary_names: Option<Vec<At<String>>>,
    pub temporary_within: Option<At<Duration>>,
}

/// Reads what a store sink has.
pub(super) fn read_store(at: At<()>, section: &mut Section<'_>, problems: &mut Problems) -> StoreSink {
    let target =
        section.need("target", "write the store and the folder for the objects, as in \"lake:/audit\"", problems);
    let target = target.and_then(|item| item.placed_text(problems));
    let batch = BatchSettings { events: 10_000, size: 8 << 20, age: Duration::from_secs(60) };
    let lock = read_object_lock(section, problems);
    StoreSink { target, lock, spool: read_spool(at, section, batch, problems) }
}

/// Reads what a syslog sink has.
pub(super) fn read_syslog(section: &mut Section<'_>, problems: &mut Problems) -> SyslogSink {
    let address = section.need("address", "write it as in tcp://HOST:PORT, tls://HOST:PORT or unix:/dev/log", problems);
    let framings = [("octet-counting", Framing::OctetCounting), ("newline", Framing::Newline)];
    SyslogSink {
        address: address.and_then(|item| item.placed_text(problems)),
        framing: section.take("framing").and_then(|item| Some(item.at(item.choice(&framings, problems)?))),
        facility: text(section, "facility", problems),
        app_name: text(section, "app_name", problems),
        ca_file: text(section, "ca_file", problems),
        timeout: read_timeout(section, problems),
    }
}

/// Reads what an HTTP sink has.
pub(super) fn read_http(at: At<()>, section: &mut Section<'_>, problems: &mut Problems) -> HttpSink {
    let url = section.need("url", "write the collector's URL, as in https://HOST/PATH", problems);
    let encodings = [("ndjson", Encoding::Ndjson), ("array", Encoding::Array), ("single", Encoding::Single)];
    let batch = BatchSettings { events: 1000, size: 1 << 20, age: Duration::from_secs(5) };
    HttpSink {
        url: url.and_then(|item| Some(item.at(item.secret(problems)?))),
        headers: section.take("headers").map(|item| read_headers(&item, problems)).unwrap_or_default(),
        encoding: section.take("encoding").and_then(|item| Some(item.at(item.choice(&encodings, problems)?))),
        signing: section.take("signing").map(|item| read_signing(&item, problems)).unwrap_or_default(),
        give_up_after: section
            .take("give_up_after")
            .and_then(|item| Some(item.at(item.duration(SECOND..=30 * 24 * HOUR, problems)?))),
        gzip: section.take("gzip").and_then(|item| item.boolean(problems)).unwrap_or(false),
        ca_file: text(section, "ca_file", problems),
        timeout: read_timeout(section, problems),
        spool: read_spool(at, section, batch, problems),
    }
}

/// `secret` is one, or a list of them while one takes the place of another.
fn read_signing(item: &Item<'_>, problems: &mut Problems) -> Vec<At<Secret>> {
    let Some(mut section) = item.section(problems) else { return Vec::new() };
    let what = "write the secret that signs requests, as in { secret: \"${file:/run/secrets/webhook}\" }";
    let secret = section.need("secret", what, problems);
    section.close(problems);
    let Some(secret) = secret else { return Vec::new() };
    let each = if secret.is_text() { vec![secret.clone()] } else { secret.list(problems).unwrap_or_default() };
    if !secret.is_text() {
        secret.filled("write a secret, or leave `signing` out to sign nothing", problems);
    }
    each.iter().filter_map(|item| Some(item.at(item.credential(problems)?))).collect()
}

fn read_timeout(section: &mut Section<'_>, problems: &mut Problems) -> Duration {
    let read = section.take("timeout").and_then(|item| item.duration(SECOND..=600 * SECOND, problems));
    read.unwrap_or(10 * SECOND)
}

fn read_spool(at: At<()>, section: &mut Section<'_>, batch: BatchSettings, problems: &mut Problems) -> Spool {
    let limit = section.take("spool_limit").and_then(|item| item.size(16 << 20..=1 << 50, problems));
    let mut is_age_given = false;
    Spool {
        at,
        folder: text(section, "spool", problems),
        limit: limit.unwrap_or(1 << 30),
        fsync: section.take("fsync").and_then(|item| read_fsync(&item, problems)).unwrap_or_default(),
        batch: section.take("batch").map_or(batch, |item| read_batch(&item, batch, &mut is_age_given, problems)),
        is_age_given,
    }
}

fn read_batch(
    item: &Item<'_>,
    defaults: BatchSettings,
    is_age_given: &mut bool,
    problems: &mut Problems,
) -> BatchSettings {
    let mut batch = defaults;
    let Some(mut section) = item.section(problems) else { return batch };
    if let Some(events) = section.take("events").and_then(|item| item.integer(1..=1_000_000, problems)) {
        batch.events = events;
    }
    if let Some(size) = section.take("size").and_then(|item| item.size(1 << 10..=256 << 20, problems)) {
        batch.size = size;
    }
    if let Some(age) = section.take("age").and_then(|item| item.duration(SECOND..=24 * HOUR, problems)) {
        batch.age = age;
        *is_age_given = true;
    }
    section.close(problems);
    batch
}

/// Reads `filter` and `format`.
pub(super) fn read_shape(section: &mut Section<'_>, problems: &mut Problems) -> Shape {
    let mut shape = section.take("filter").map(|item| read_filter(&item, problems)).unwrap_or_default();
    let formats = [
        ("transfer-family", Format::TransferFamily),
        ("ocsf", Format::Ocsf(OcsfVersion::default())),
        ("ecs", Format::Ecs),
        ("eventbridge", Format::EventBridge),
        ("cloudevents", Format::CloudEvents),
    ];
    shape.format = section.take("format").and_then(|item| Some(item.at(item.choice(&formats, problems)?)));
    if let Some(version) = section.take("version") {
        let versions = [("1.4", OcsfVersion::V1_4), ("1.8", OcsfVersion::V1_8)];
        match shape.format.as_mut().map(|format| &mut format.value) {
            Some(Format::Ocsf(chosen)) => *chosen = version.choice(&versions, problems).unwrap_or_default(),
            _ => version.problem(problems, "only `format: ocsf` has a version; remove it"),
        }
    }
    shape.temporary_names = section.take("temporary_names").and_then(|item| item.texts(problems));
    let within = section.take("temporary_within");
    shape.temporary_within = within.and_then(|item| Some(item.at(item.duration(SECOND..=7 * 24 * HOUR, problems)?)));
    shape
}

fn read_filter(item: &Item<'_>, problems: &mut Problems) -> Shape {
    let Some(mut section) = item.section(problems) else { return Shape::default() };
    let mut list = |key, problems: &mut Problems| {
        let item = section.take(key)?;
        item.filled("leave it out to accept all", problems);
        item.texts(problems)
    };
    let (activities, except) = (list("activities", problems), list("except", problems).unwrap_or_default());
    let users = list("users", problems);
    let (paths, operations) = (list("paths", problems), list("operations", problems));
    let status = section.take("status").map(|item| {
        item.filled("leave it out to accept all", problems);
        let words = [("success", "success"), ("denied", "denied"), ("failure", "failure")];
        let items = item.list(problems).unwrap_or_default();
        items.iter().filter_map(|item| item.choice(&words, problems).map(str::to_owned)).collect()
    });
    section.close(problems);
    Shape { activities, except, users, status, paths, operations, ..Shape::default() }
}
