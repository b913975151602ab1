//! A second opinion on the chain of the events, which shares no code with the gateway: each line follows from the one before,
//! checkpoints are signed, and where lines are missing the next start says that they may be.

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::events::field;

/// A chain that was followed so far.
pub struct Chain {
    key: Vec<u8>,
    name: String,
    sequence: u64,
    hash: String,
    /// The last checkpoint said that nothing follows.
    ended: bool,
    /// What the last start said of the process before it.
    pub acknowledged: u64,
    /// Starts after an end that was not in order.
    pub cuts: u64,
    /// Lines that are missing before such a start.
    pub missing: u64,
}

impl Chain {
    /// One that begins; `folder` has the key.
    pub fn of(folder: &Path) -> Chain {
        let pem = fs::read_to_string(folder.join("signing_key.pub")).expect("the public key");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).expect("base64");
        Chain {
            key: der[der.len() - 32..].to_vec(),
            name: String::new(),
            sequence: 0,
            hash: "0".repeat(64),
            ended: true,
            acknowledged: 0,
            cuts: 0,
            missing: 0,
        }
    }

    /// The next whole line.
    pub fn follow(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the line {line}"));
        let sequence = event["sequence"].as_u64().unwrap_or_else(|| panic!("no number in {line}"));
        let is_start = field(&event, "activity-type") == "CHECKPOINT" && field(&event, "reason") == "start";
        assert!(is_start || !self.ended, "{line} follows a shutdown");
        if is_start {
            self.start(&event, sequence);
        }
        if sequence == self.sequence + 1 {
            assert_eq!(field(&event, "previous"), self.hash, "{line} does not follow from number {}", self.sequence);
        } else {
            let may_be_missing = is_start && sequence > self.sequence && event["clean"] == false;
            assert!(may_be_missing, "{line} follows number {}", self.sequence);
            // Nobody was told of what is missing.
            assert!(self.sequence >= self.acknowledged, "{line}: number {} was acknowledged", self.sequence + 1);
            self.missing += sequence - self.sequence - 1;
        }
        if field(&event, "activity-type") == "CHECKPOINT" {
            self.verify(line, &event);
        }
        self.ended = field(&event, "reason") == "shutdown" && field(&event, "activity-type") == "CHECKPOINT";
        self.sequence = sequence;
        self.hash = digest(&SHA256, line.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    }

    fn start(&mut self, event: &Value, sequence: u64) {
        assert_eq!(event["clean"], self.ended, "number {sequence} after number {}", self.sequence);
        self.acknowledged = event["acknowledged"].as_u64().expect("a number");
        assert!(self.acknowledged < sequence);
        if self.acknowledged == self.sequence {
            assert_eq!(field(event, "acknowledged-hash"), self.hash, "number {sequence}");
        }
        self.cuts += u64::from(!self.ended);
        if self.ended {
            assert_eq!(self.acknowledged, self.sequence);
        }
    }

    fn verify(&mut self, line: &str, event: &Value) {
        let (signed, rest) = line.rsplit_once(",\"signature\":\"").unwrap_or_else(|| panic!("{line} is not signed"));
        let signature = STANDARD.decode(rest.strip_suffix("\"}").expect("the end of the line")).expect("base64");
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(format!("{signed}}}").as_bytes(), &signature).unwrap_or_else(|_| panic!("the signature of {line}"));
        if self.name.is_empty() {
            self.name = field(event, "chain").to_owned();
        }
        assert_eq!(field(event, "chain"), self.name, "a chain does not become another");
    }
}
