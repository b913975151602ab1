//! Signed requests, as Standard Webhooks has it (<https://www.standardwebhooks.com>): a receiver that knows the secret can tell that a
//! request is the gateway's, is not changed, and is not an old one that somebody sends again.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::heading::lines;
use crate::audit::chain::Hash;
use crate::secret::Secret;

/// How secrets begin, in the convention.
const PREFIX: &str = "whsec_";

/// The bytes that a secret has, in the convention.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that requests are signed with.
#[derive(Clone)]
pub struct WebhookSecret {
    text: Secret,
    key: Key,
}

impl WebhookSecret {
    /// Reads `whsec_` and base64, or the base64 alone.
    ///
    /// # Errors
    /// What would be right; the text itself is not repeated.
    pub fn parse(text: &Secret) -> Result<WebhookSecret, String> {
        let wrong = || "is not a secret of webhooks; write whsec_ and the base64 of 24 to 64 random bytes".to_owned();
        let encoded = text.expose().trim();
        let bytes = STANDARD.decode(encoded.strip_prefix(PREFIX).unwrap_or(encoded)).map_err(|_| wrong())?;
        let bytes = zeroize::Zeroizing::new(bytes);
        if !BYTES.contains(&bytes.len()) {
            return Err(wrong());
        }
        Ok(WebhookSecret { text: text.clone(), key: Key::new(HMAC_SHA256, &bytes) })
    }

    fn signature(&self, signed: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(sign(&self.key, signed).as_ref()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for WebhookSecret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for WebhookSecret {}

/// The headers of a signed request; `at` in seconds since 1970, which receivers hold against their clocks.
pub(super) fn headers(secrets: &[WebhookSecret], id: &str, at: i64, body: &[u8]) -> [(&'static str, String); 3] {
    let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.signature(&signed)).collect();
    [("webhook-id", id.to_owned()), ("webhook-timestamp", at.to_string()), ("webhook-signature", signatures.join(" "))]
}

/// What a receiver knows a delivery by, the same when it comes again: of one notification its id, otherwise the hash of the lines.
pub(super) fn id_of(batch: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let mut lines = lines(batch);
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let named = serde_json::from_slice::<Named>(first).ok().filter(|_| second.is_none());
    named.map_or_else(|| Hash::of_line(batch).to_string(), |named| named.id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret(text: &str) -> Result<WebhookSecret, String> {
        WebhookSecret::parse(&Secret::new(text.to_owned()))
    }

    /// The example of the convention's own libraries.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let body = br#"{"test": 2432232314}"#;
        let [id, at, signature] = headers(&[secret(OLD).unwrap()], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!((id.0, id.1.as_str()), ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"));
        assert_eq!(at, ("webhook-timestamp", "1614265330".into()));
        assert_eq!(signature, ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".into()));
    }

    #[test]
    fn while_a_secret_is_rotated_both_sign() {
        let both = [secret(OLD).unwrap(), secret(&format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap()];
        let [_, _, (_, signatures)] = headers(&both, "a", 1, b"{}");
        let each: Vec<_> = both.iter().map(|one| one.signature(b"a.1.{}")).collect();
        assert_eq!(signatures, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn wrong_secrets_are_refused_and_not_repeated() {
        for wrong in ["", "whsec_", "geheim!", "whsec_Z2VoZWlt", &STANDARD.encode([7; 65])] {
            let what = secret(wrong).unwrap_err();
            assert!(what.contains("24 to 64") && !what.contains("geheim"), "{what}");
        }
        assert_eq!(format!("{:?}", secret(OLD).unwrap()), "[secret]");
    }

    #[test]
    fn a_delivery_has_the_same_id_each_time() {
        assert_eq!(id_of(b"{\"id\":\"e1\",\"x\":1}\n"), "e1");
        assert_eq!(id_of(b"{\"id\":\"e1\"}\n{\"id\":\"e2\"}\n"), id_of(b"{\"id\":\"e1\"}\n{\"id\":\"e2\"}\n"));
        assert_ne!(id_of(b"{\"id\":\"e1\"}\n{\"id\":\"e2\"}\n"), "e1");
        assert_eq!(id_of(b"{\"activity-type\":\"OPEN\"}\n").len(), 64);
    }
}
