//! The event file: every line of it is whole but for one torn at the moment of death, and what was acknowledged is in it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use super::model::Operation;
use super::worker::Worker;
use crate::support::events::field;
use crate::support::schema;

/// The event file and how far it was read.
pub struct Audit {
    path: PathBuf,
    offset: u64,
    /// The last line that was read has no end; the next start puts one behind it.
    is_torn: bool,
    pub lines: u64,
    pub torn: u64,
}

impl Audit {
    pub fn of(path: PathBuf) -> Audit {
        Audit { path, offset: 0, is_torn: false, lines: 0, torn: 0 }
    }

    /// Reads the events of the last run, in order. It is called while the next run has not recorded anything.
    fn read(&mut self) -> Vec<Value> {
        let Ok(mut file) = File::open(&self.path) else { return Vec::new() };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        file.read_to_string(&mut text).expect("UTF-8");
        self.offset += text.len() as u64;
        let mut fresh = text.as_str();
        if self.is_torn && !fresh.is_empty() {
            fresh = fresh.strip_prefix('\n').expect("a torn line is ended before the next is written");
        }
        let (whole, torn) = fresh.rsplit_once('\n').map_or(("", fresh), |(whole, torn)| (whole, torn));
        self.is_torn = !torn.is_empty() || (self.is_torn && text.is_empty());
        self.torn += u64::from(!torn.is_empty());
        let events: Vec<Value> =
            whole.lines().map(|line| schema::event(line).unwrap_or_else(|why| panic!("{why}"))).collect();
        self.lines += events.len() as u64;
        events
    }

    /// Each worker's acknowledged operations are on record in their order; behind them, at most the one that was under way.
    pub fn check(&mut self, workers: &[Worker]) {
        let events = self.read();
        for worker in workers {
            let own = format!("/w{}-", worker.number);
            let theirs = events.iter().filter(|e| is_change(e) && field(e, "logical-path").contains(&own));
            let recorded: Vec<_> = theirs.map(change).collect();
            let acknowledged: Vec<_> = worker.acknowledged.iter().map(Operation::event).collect();
            assert!(
                recorded.starts_with(&acknowledged),
                "worker {}: acknowledged were {acknowledged:#?}, on record are {recorded:#?}",
                worker.number
            );
            let more = &recorded[acknowledged.len()..];
            let pending: Vec<_> = worker.pending.iter().map(|p| p.operation.event()).collect();
            let is_true = pending.starts_with(more) && (more.is_empty() || worker.pending_is_done);
            assert!(is_true, "worker {}: {more:?} is on record besides {pending:?}", worker.number);
        }
    }
}

fn is_change(event: &Value) -> bool {
    let kind = field(event, "activity-type");
    let changes = ["DELETE", "RENAME", "MKDIR", "RMDIR"].contains(&kind)
        || (kind == "CLOSE" && field(event, "operation") == "write");
    changes && field(event, "status") == "success"
}

/// As [`super::model::Operation::event`].
fn change(event: &Value) -> (&str, &str, String) {
    let more = match field(event, "activity-type") {
        "CLOSE" => "bytes-in",
        _ => "new-logical-path",
    };
    (field(event, "activity-type"), field(event, "logical-path"), field(event, more).to_string())
}
