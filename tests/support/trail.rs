//! Trails that were never written by a gateway: chains of lines with signed checkpoints, to the words of `audit::chain`.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use lockgate::internals::audit::Noted;
use lockgate::internals::audit::chain::{Hash, Position};

/// How soon after an event the next checkpoint is said to follow, in milliseconds.
const CHECKPOINT_EVERY: u64 = 60_000;

/// A pair of keys for checkpoints.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    pub fn new(seed: u8) -> SigningKey {
        SigningKey(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    /// The public half as `openssl pkey -pubout` writes it.
    pub fn public_pem(&self) -> String {
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend_from_slice(self.0.public_key().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, self.0.public_key().as_ref())))
    }

    fn sign(&self, line: &str) -> String {
        STANDARD.encode(self.0.sign(line.as_bytes()))
    }
}

/// Writes the chain of one server, line by line.
pub struct ChainMaker {
    key: Option<SigningKey>,
    server: String,
    chain: u32,
    at: Position,
    /// The hashes of the chain's lines.
    hashes: Vec<Hash>,
    time: DateTime<Utc>,
    /// The lines so far, without newlines.
    pub lines: Vec<String>,
}

impl ChainMaker {
    /// A chain with the start checkpoint of its first process.
    pub fn start(server: &str, key: Option<SigningKey>) -> ChainMaker {
        let time = "2026-07-31T08:00:00Z".parse().unwrap();
        let mut chain = ChainMaker {
            key,
            server: server.into(),
            chain: 1,
            at: Position::START,
            hashes: Vec::new(),
            time,
            lines: Vec::new(),
        };
        chain.checkpoint("start", Some((true, 0)));
        chain
    }

    pub fn last(&self) -> u64 {
        self.at.sequence
    }

    /// What a gateway that wrote the chain so far would know of it.
    pub fn noted(&self) -> Noted {
        Noted { chain: format!("01990000-0000-7000-8000-{:012}", self.chain), acknowledged: self.at }
    }

    /// The time of the next line.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    pub fn pass(&mut self, time: TimeDelta) {
        self.time += time;
    }

    /// The public half of the key that signs.
    pub fn public_pem(&self) -> Option<String> {
        self.key.as_ref().map(SigningKey::public_pem)
    }

    /// A transfer that ended.
    pub fn close(&mut self, path: &str) {
        let session = format!("{:020x}", 0x1000 + self.at.sequence / 8);
        let (path, stored) = (json(path), json(&format!("/lake/in{path}")));
        let own = format!(
            r#""logical-path":{path},"operation":"write","status":"success","duration-ms":48,"sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","etag":"098f6bcd4621d373cade4e832627b4f6""#
        );
        let head = format!(
            r#"{{"path":{stored},"activity-type":"CLOSE","resource-arn":"lockgate:server/{}","bytes-in":"121","session-id":"{session}""#,
            self.server
        );
        let who = r#""user":"user0001","source-ip":"192.0.2.1","source-port":50022,"protocol":"sftp","client":"SSH-2.0-OpenSSH_9.2p1""#;
        self.line(&head, &format!("{who},{own}"), false);
    }

    /// An event of other fields; `head` stands before the stamp, `rest` after `server`, both without a comma at their ends.
    pub fn event(&mut self, head: &str, rest: &str) {
        self.line(&format!("{{{head}"), rest, false);
    }

    /// A checkpoint; of a start, whether the process before ended in order and what it had acknowledged.
    pub fn checkpoint(&mut self, reason: &str, start: Option<(bool, u64)>) {
        let mut rest = format!(r#""chain":"01990000-0000-7000-8000-{:012}","reason":"{reason}""#, self.chain);
        if let Some((clean, acknowledged)) = start {
            let before = usize::try_from(acknowledged).unwrap().checked_sub(1);
            let hash = before.map_or(Hash::START, |before| self.hashes[before]);
            rest += &format!(r#","clean":{clean},"acknowledged":{acknowledged},"acknowledged-hash":"{hash}""#);
        }
        if let Some(key) = &self.key {
            rest += &format!(r#","checkpoint-every-ms":{CHECKPOINT_EVERY}"#);
            rest += &format!(r#","checkpoint-key":"{}""#, key.fingerprint());
        }
        let head = format!(r#"{{"activity-type":"CHECKPOINT","resource-arn":"lockgate:server/{}""#, self.server);
        self.line(&head, &rest, true);
    }

    /// The process ends in order, and another starts.
    pub fn restart(&mut self) {
        self.checkpoint("shutdown", None);
        self.checkpoint("start", Some((true, self.at.sequence)));
    }

    /// The process is killed: of what it issued last, `lost` lines were not written, and what follows the first
    /// `acknowledged` of all lines was not acknowledged. `torn`: the first lost line is there in part. Another starts.
    pub fn kill(&mut self, lost: usize, acknowledged: u64, torn: bool) {
        let kept = self.lines.len();
        for number in 0..lost {
            self.close(&format!("/lost-{number}"));
        }
        let part = self.lines.get(kept).filter(|_| torn).map(|line| line[..line.len() / 2].to_owned());
        self.lines.truncate(kept);
        self.lines.extend(part);
        self.checkpoint("start", Some((false, acknowledged)));
    }

    /// The process ends in order; the next one knows nothing of the chain and begins another.
    pub fn begin_anew(&mut self) {
        self.checkpoint("shutdown", None);
        self.chain += 1;
        self.at = Position::START;
        self.hashes.clear();
        self.checkpoint("start", Some((true, 0)));
    }

    fn line(&mut self, head: &str, rest: &str, is_signed: bool) {
        self.time += TimeDelta::milliseconds(250);
        let sequence = self.at.sequence + 1;
        let mut line = format!(
            r#"{head},"timestamp":"{}","event-id":"{}","server":"{}",{rest},"sequence":{sequence},"previous":"{}"}}"#,
            self.time.to_rfc3339_opts(SecondsFormat::Millis, true),
            format_args!("{:08x}-{:04x}-7000-8000-{:012x}", 0x0199_0000, self.chain, sequence),
            self.server,
            self.at.hash,
        );
        if let Some(key) = self.key.as_ref().filter(|_| is_signed) {
            let signature = key.sign(&line);
            line.truncate(line.len() - 1);
            line += &format!(r#","signature":"{signature}"}}"#);
        }
        self.at = Position { sequence, hash: Hash::of_line(line.as_bytes()) };
        self.hashes.push(self.at.hash);
        self.lines.push(line);
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Lines as a file has them.
pub fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
