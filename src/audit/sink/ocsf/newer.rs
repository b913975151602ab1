//! What version 1.8 of the schema says beyond 1.4: which proofs a login had, and that a file was copied by a store.

use serde_json::{Value, json};

use crate::audit::sink::rest::Rest;

/// Of what is said beyond, what has to be known before an event is mapped.
#[derive(Debug, Clone, Default)]
pub(super) struct Beyond {
    /// The proofs of a login with more than one.
    factors: Vec<Value>,
    /// The store made the file out of another one; no bytes came from the client.
    is_copied: bool,
}

impl Beyond {
    pub(super) fn of(activity: &str, rest: &Rest) -> Beyond {
        let key_type = rest.peek("ssh-public-key-type").unwrap_or_default();
        let proofs: Vec<&str> = rest.peek("method").unwrap_or_default().split(',').collect();
        let factors = match (activity, proofs.len()) {
            ("CONNECTED", 2..) => proofs.iter().map(|proof| factor(proof, key_type)).collect(),
            _ => Vec::new(),
        };
        let factors = with_code(factors, rest.peek("second-factor"));
        let is_written = activity == "CLOSE" && rest.peek("operation") == Some("write");
        let is_copied = is_written && rest.peek("message").is_some_and(|message| message.starts_with("a copy of "));
        Beyond { factors, is_copied }
    }

    /// Puts it in.
    pub(super) fn add_to(self, event: &mut Value) {
        if !self.factors.is_empty() {
            event["auth_factors"] = self.factors.into();
        }
        if self.is_copied {
            event["activity_id"] = 6.into();
            event["activity_name"] = "Copy".into();
            event["type_uid"] = (event["class_uid"].as_u64().unwrap_or_default() * 100 + 6).into();
            event["type_name"] = format!("{}: Copy", event["class_name"].as_str().unwrap_or_default()).into();
        }
    }
}

/// The last of them, if it was a one-time code: its method is that of a password.
fn with_code(mut factors: Vec<Value>, second: Option<&str>) -> Vec<Value> {
    if let (Some("totp"), Some(last)) = (second, factors.last_mut()) {
        *last = json!({ "factor_type_id": 7, "factor_type": "OTP" });
    }
    factors
}

/// The schema has no word for a key; a key that somebody touched is one.
fn factor(proof: &str, key_type: &str) -> Value {
    match proof {
        "password" => json!({ "factor_type_id": 11, "factor_type": "Password" }),
        "publickey" if key_type.starts_with("sk-") => json!({ "factor_type_id": 9, "factor_type": "U2F" }),
        "publickey" => json!({ "factor_type_id": 99, "factor_type": "Public Key" }),
        other => json!({ "factor_type_id": 99, "factor_type": other }),
    }
}
