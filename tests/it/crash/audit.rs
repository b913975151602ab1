//! What is on record: what was acknowledged is, in its order, and what was not is only if it was done.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model::Operation;
use super::worker::Worker;
use crate::support::event_files::Trail;
use crate::support::events::field;

/// The event files.
pub struct Audit {
    pub trail: Trail,
    /// Changes on record that were made at a target.
    pub at_target: usize,
}

impl Audit {
    /// `path` is the live file, `keys` the folder of the key that signs.
    pub fn of(path: PathBuf, keys: &Path) -> Audit {
        Audit { trail: Trail::of(path, keys), at_target: 0 }
    }

    /// Each worker's acknowledged operations are on record in their order; behind them, at most the one that was under way.
    pub fn check(&mut self, workers: &[Worker]) {
        let events = self.trail.read();
        self.at_target += events.iter().filter(|event| is_change(event) && field(event, "target") == "web").count();
        let start =
            events.iter().rfind(|event| field(event, "reason") == "start").map(|e| e["sequence"].as_u64().unwrap());
        for worker in workers {
            let own = format!("/w{}-", worker.number);
            let theirs = events.iter().filter(|e| is_change(e) && field(e, "logical-path").contains(&own));
            let theirs: Vec<_> = theirs.collect();
            let recorded: Vec<_> = theirs.iter().map(|event| change(event)).collect();
            let acknowledged: Vec<_> = worker.acknowledged.iter().map(Operation::event).collect();
            assert!(
                recorded.starts_with(&acknowledged),
                "worker {}: acknowledged were {acknowledged:#?}, on record are {recorded:#?}",
                worker.number
            );
            // A start that follows knows of each of them that it was acknowledged.
            let last = theirs[..acknowledged.len()].last().map_or(0, |event| event["sequence"].as_u64().unwrap());
            let is_known = last <= self.trail.chain.acknowledged || start.is_none_or(|start| start < last);
            assert!(
                is_known,
                "number {last} was acknowledged, and the start knows of {}",
                self.trail.chain.acknowledged
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
