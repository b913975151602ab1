//! What one user did.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::uses::{Kinds, Uses, as_optional_text, earlier};
use crate::audit::AuthFailureReason;
use crate::audit::read::Event;

/// So many of what was refused or failed are shown, the last ones.
const REFUSED_SHOWN: usize = 20;

/// What one user did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserReport {
    /// The login name.
    pub user: String,
    /// The first event of a session of the user.
    #[serde(serialize_with = "as_optional_text")]
    pub first_seen: Option<DateTime<Utc>>,
    /// The last one.
    #[serde(serialize_with = "as_optional_text")]
    pub last_seen: Option<DateTime<Utc>>,
    /// Days (UTC) with a session.
    pub active_days: u64,
    /// Whole days (UTC) without a session since the last one, up to the end of the report; `None` without any.
    pub silent_days: Option<u64>,
    /// The most such days in a row.
    pub longest_silence_days: u64,
    /// Logins; who jumps to a target logs in once.
    pub logins: u64,
    /// Sessions at targets.
    pub jumps: u64,
    /// Attempts to log in that failed.
    pub failed_logins: u64,
    /// Why they failed.
    pub failed_logins_by_reason: BTreeMap<String, u64>,
    /// People behind the name.
    pub identities: Uses,
    /// Fingerprints of keys; of certificates, of their authorities.
    pub keys: Uses,
    /// Addresses.
    pub addresses: Uses,
    /// Clients' version lines.
    pub clients: Uses,
    /// Whole uploads; a file that was opened to be written and closed unchanged is none.
    pub files_in: u64,
    /// Bytes received, those of uploads that were cut off among them.
    pub bytes_in: u64,
    /// Downloads.
    pub files_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Uploads and downloads that were cut off.
    pub cut_off: u64,
    /// Files deleted.
    pub deleted: u64,
    /// Files and folders renamed.
    pub renamed: u64,
    /// Folders made.
    pub folders_made: u64,
    /// Folders removed.
    pub folders_removed: u64,
    /// Operations that the rules forbid, and requests for what is not served.
    pub denied: u64,
    /// Operations that failed.
    pub failed: u64,
    /// The last that were denied or failed, newest first.
    pub refused: Vec<Refused>,
}

/// An operation that was denied or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refused {
    /// When.
    #[serde(serialize_with = "as_optional_text")]
    pub time: Option<DateTime<Utc>>,
    /// What.
    pub activity: String,
    /// On which path, as the client named it; what a REQUEST_DENIED was asked for.
    pub path: String,
    /// `denied` or `failure`.
    pub status: String,
    /// Why.
    pub message: String,
    /// In which session.
    pub session_id: String,
}

/// One user, while the events are read.
#[derive(Debug, Default)]
pub(super) struct Person {
    report: UserReport,
    exists: bool,
    identities: Kinds,
    keys: Kinds,
    addresses: Kinds,
    clients: Kinds,
    /// Sessions that have begun and not ended.
    live: HashSet<String>,
    days: BTreeSet<NaiveDate>,
    refused: Vec<Refused>,
}

impl Person {
    /// Takes the next event; true if it is the first that proves that there is such a user.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        let is_first = !self.exists && proves_a_user(event);
        self.exists |= is_first;
        self.take(event);
        is_first
    }

    /// Whether anything proves that there is such a user.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn failed_logins(&self) -> u64 {
        self.report.failed_logins
    }

    fn take(&mut self, event: &Event) {
        match event.activity() {
            "CONNECTED" => {
                self.live.insert(event.text("session-id").to_owned());
                // At a target it is the login of the session that was jumped through, on record already.
                if event.text("jump-session-id").is_empty() {
                    self.report.logins += 1;
                    self.attempt(event, true);
                } else {
                    self.report.jumps += 1;
                }
                self.seen(event);
            }
            "AUTH_FAILURE" => {
                self.report.failed_logins += 1;
                *self.report.failed_logins_by_reason.entry(event.text("reason").to_owned()).or_default() += 1;
                self.attempt(event, false);
            }
            "DISCONNECTED" => {
                if self.live.remove(event.text("session-id")) || has_logged_in(event) {
                    self.seen(event);
                }
            }
            // What others did to the user, and what was refused before a login.
            "USER_ADDED"
            | "USER_CHANGED"
            | "USER_REMOVED"
            | "ADMIN_CALL"
            | "TRAIL_VERIFIED"
            | "FLEET_ALONE"
            | "FLEET_JOINED"
            | "CONNECTION_REJECTED"
            | "KEX_FAILURE" => {}
            _ => {
                self.seen(event);
                self.operation(event);
            }
        }
    }

    pub(super) fn finish(self, user: String, end: DateTime<Utc>) -> UserReport {
        let Person { mut report, identities, keys, addresses, clients, days, mut refused, .. } = self;
        report.user = user;
        report.active_days = days.len() as u64;
        let between = days.iter().zip(days.iter().skip(1)).map(|(day, next)| days_between(*day, *next));
        report.silent_days = days.last().map(|last| days_between(*last, end.date_naive()));
        report.longest_silence_days = between.chain(report.silent_days).max().unwrap_or(0);
        report.identities = identities.finish();
        report.keys = keys.finish();
        report.addresses = addresses.finish();
        report.clients = clients.finish();
        keep_newest(&mut refused);
        refused.reverse();
        report.refused = refused;
        report
    }

    fn attempt(&mut self, event: &Event, succeeded: bool) {
        let time = event.time();
        let authority = event.text("ssh-certificate-ca-fingerprint");
        let key = if authority.is_empty() { event.text("ssh-public-key-fingerprint") } else { authority };
        self.keys.note(key, succeeded, time);
        self.addresses.note(event.text("source-ip"), succeeded, time);
        self.clients.note(event.text("client"), succeeded, time);
        self.identities.note(event.text("identity"), succeeded, time);
    }

    fn seen(&mut self, event: &Event) {
        let Some(time) = event.time() else { return };
        self.days.insert(time.date_naive());
        self.report.first_seen = earlier(self.report.first_seen, Some(time));
        self.report.last_seen = self.report.last_seen.max(Some(time));
    }

    fn operation(&mut self, event: &Event) {
        let report = &mut self.report;
        let refused = Refused::of(event);
        match (event.activity(), refused.status.as_str()) {
            ("PARTIAL_CLOSE", _) => report.cut_off += 1,
            (_, "denied") => report.denied += 1,
            (_, "failure") => report.failed += 1,
            _ => {}
        }
        if matches!(refused.status.as_str(), "denied" | "failure") {
            self.refused.push(refused);
            if self.refused.len() >= 2 * REFUSED_SHOWN {
                keep_newest(&mut self.refused);
            }
        }
        let number = |name| event.number(name).unwrap_or(0);
        let succeeded = event.text("status") == "success";
        match (event.activity(), event.text("operation")) {
            // Nothing was written: it was only opened and closed.
            ("CLOSE", "write") if event.truth("unchanged") == Some(true) => {}
            ("CLOSE", "write") if succeeded => report.files_in += 1,
            ("CLOSE", "read") if succeeded => report.files_out += 1,
            ("DELETE", _) if succeeded => report.deleted += 1,
            ("RENAME", _) if succeeded => report.renamed += 1,
            ("MKDIR", _) if succeeded => report.folders_made += 1,
            ("RMDIR", _) if succeeded => report.folders_removed += 1,
            _ => {}
        }
        if matches!(event.activity(), "CLOSE" | "PARTIAL_CLOSE" | "ERROR") {
            report.bytes_in = report.bytes_in.saturating_add(number("bytes-in"));
            report.bytes_out = report.bytes_out.saturating_add(number("bytes-out"));
        }
    }
}

/// Several trails may be read one after the other, so that the last to come is not the newest. Newest last.
fn keep_newest(refused: &mut Vec<Refused>) {
    refused.reverse();
    refused.sort_by_key(|refused| std::cmp::Reverse(refused.time));
    refused.truncate(REFUSED_SHOWN);
    refused.reverse();
}

impl Refused {
    fn of(event: &Event) -> Refused {
        let is_request = event.activity() == "REQUEST_DENIED";
        let [path, status] = if is_request {
            [event.text("request"), "denied"]
        } else {
            ["logical-path", "status"].map(|name| event.text(name))
        };
        let [activity, message, session_id] =
            ["activity-type", "message", "session-id"].map(|name| event.text(name).to_owned());
        Refused { time: event.time(), activity, path: path.to_owned(), status: status.to_owned(), message, session_id }
    }
}

/// Whether there is a user of this name, for all that an event says.
pub(super) fn proves_a_user(event: &Event) -> bool {
    match event.activity() {
        "AUTH_FAILURE" => AuthFailureReason::parse(event.text("reason")).is_some_and(AuthFailureReason::proves_a_user),
        "DISCONNECTED" => has_logged_in(event),
        "CONNECTION_REJECTED" | "KEX_FAILURE" => false,
        _ => true,
    }
}

/// Whether a connection that ends had logged in: strangers end with a user's name as well, and are no sign of the user.
fn has_logged_in(end: &Event) -> bool {
    ["protocol", "identity", "ssh-public-key-fingerprint"].iter().any(|name| !end.text(name).is_empty())
}

/// Whole days (UTC) between two.
fn days_between(day: NaiveDate, next: NaiveDate) -> u64 {
    u64::try_from((next - day).num_days() - 1).unwrap_or(0)
}
