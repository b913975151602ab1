//! What stands in the way of a user's next login, as far as it is configured.

use std::net::IpAddr;

use chrono::Utc;

use super::users::shown;
use crate::users::{AuthMode, AuthorizedKey, Circumstances, Refusal, Revoked, User};

/// What stands in the way of a login from `address`, beside the keys: a sentence each.
pub(super) fn obstacles_of(user: &User, address: Option<IpAddr>, sessions: usize) -> Vec<String> {
    let now = Utc::now();
    let mut obstacles = Vec::new();
    let source = address.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    match user.admits(Circumstances { now, source }) {
        Err(Refusal::Disabled) => obstacles.push("the user is disabled (enabled: false)".to_owned()),
        Err(Refusal::UserExpired) => {
            let since = user.bounds.expires.map(shown).unwrap_or_default();
            obstacles.push(format!("the user's time is over since {since} (expires)"));
        }
        Err(Refusal::SecondFactorNotSet) => {
            obstacles.push("a one-time code is demanded, and the user has no secret for it (require_totp)".to_owned());
        }
        Err(Refusal::SourceNotAllowed) if address.is_some() => {
            obstacles.push(format!("{source} is not in the networks of allow_from"));
        }
        _ => {}
    }
    if let Some(most) = user.bounds.sessions.filter(|most| sessions >= *most) {
        obstacles.push(format!("{sessions} sessions live, and {most} are allowed"));
    }
    obstacles
}

/// Why no key of the user lets in, if none does. `authorities`: those of all users.
pub(super) fn obstacle_of_keys(user: &User, authorities: &[AuthorizedKey], revoked: &Revoked) -> Option<String> {
    let now = Utc::now();
    let is_revoked = |key: &&AuthorizedKey| revoked.revokes(key.blob(), None);
    let is_good = |key: &&AuthorizedKey| !key.is_expired(now) && !is_revoked(key);
    let (own, good) = (user.keys.len(), user.keys.iter().filter(is_good).count());
    if !user.auth.takes_key() || good > 0 || (own == 0 && user.auth == AuthMode::PublicKeyOrPassword) {
        return None;
    }
    let what = match user.keys.iter().filter(is_revoked).count() {
        _ if own == 0 => "no key is configured",
        0 => "the time of every key is over (expiry-time=)",
        all if all == own => "every key is revoked (revoked_keys)",
        _ => "every key is revoked (revoked_keys), or its time is over (expiry-time=)",
    };
    let authority = match (authorities.is_empty(), authorities.iter().any(|key| is_good(&key))) {
        (_, true) => "; a certificate of an authority of all users may do",
        (true, false) => "",
        (false, false) => "; every authority of all users is revoked, or its time is over",
    };
    Some(format!("{what}{authority}"))
}

/// With which keys a login fails although something else lets in: a sentence each. `last` is the fingerprint of the last login.
pub(super) fn cautions_of(user: &User, revoked: &Revoked, last: Option<&str>) -> Vec<String> {
    let now = Utc::now();
    let caution = |key: &AuthorizedKey| {
        let what = match (revoked.revokes(key.blob(), None), key.is_expired(now)) {
            (true, _) => "is revoked (revoked_keys)",
            (false, true) => "is not accepted any more (expiry-time=)",
            (false, false) => return None,
        };
        let (kind, fingerprint) = (if key.is_authority() { "authority" } else { "key" }, key.fingerprint());
        let comment = key.comment().map(|comment| format!(" ({comment})")).unwrap_or_default();
        let used = if last == Some(fingerprint.as_str()) { "; it was the key of the last login" } else { "" };
        Some(format!("the {kind} {fingerprint}{comment} {what}{used}"))
    };
    user.keys.iter().filter_map(caution).collect()
}
