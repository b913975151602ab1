//! What `audit access` shows of users and their rights. Nothing of it is secret.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::gateway::Access;
use crate::users::{AuthMode, AuthorizedKey, HomeEntry, Revoked, Totp, User};

/// Everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Shown {
    pub server: String,
    pub made: String,
    /// Authorities whose certificates are accepted for every user.
    pub authorities: Vec<Key>,
    pub users: Vec<Person>,
    /// What the list does not show.
    pub notes: Vec<String>,
    /// Why it is not complete.
    pub failures: Vec<String>,
}

/// A user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Person {
    pub name: String,
    pub source: String,
    /// `active`, `disabled`, `expired` or `keys-revoked`: a key is needed, and each that there is is revoked.
    pub state: &'static str,
    pub expires: Option<String>,
    pub auth: &'static str,
    pub has_password: bool,
    /// `totp` when a one-time code is needed as well.
    pub second_factor: Option<&'static str>,
    pub keys: Vec<Key>,
    /// Whether a certificate of some authority lets the user in: one is trusted, not revoked, and its time is not over.
    pub takes_certificates: bool,
    /// The names that certificates may have; the login name if empty.
    pub principals: Vec<String>,
    /// From everywhere if empty.
    pub allow_from: Vec<String>,
    pub sessions: Option<usize>,
    pub home: Vec<Entry>,
}

/// A key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Key {
    #[serde(rename = "type")]
    pub kind: String,
    pub fingerprint: String,
    pub comment: Option<String>,
    /// Whether it is the key of an authority.
    pub authority: bool,
    /// Whether its `expiry-time=` is over.
    pub expired: bool,
    /// Whether it is revoked (`revoked_keys`).
    pub revoked: bool,
    /// Of an authority: whether single certificates of it are revoked, by their numbers or key ids.
    pub certificates_revoked: bool,
}

/// An entry of a home.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    /// The target that the user jumps to, and the account there; in the user's own home neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump_target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub entry: String,
    pub target: String,
    pub permissions: String,
}

impl Shown {
    pub(super) fn of(access: &Access, server: &str, now: DateTime<Utc>) -> Shown {
        Shown {
            server: server.to_owned(),
            made: text_of(now),
            authorities: access.authorities.iter().map(|key| Key::of(key, &access.revoked, true, now)).collect(),
            users: access.users.iter().map(|user| Person::of(user, access, now)).collect(),
            notes: access.notes.clone(),
            failures: access.failures.clone(),
        }
    }
}

impl Person {
    fn of(user: &User, access: &Access, now: DateTime<Utc>) -> Person {
        let Access { targets, authorities, revoked, .. } = access;
        let keys: Vec<Key> = user.keys.iter().map(|key| Key::of(key, revoked, key.is_authority(), now)).collect();
        let certify = authorities.iter().chain(user.keys.iter().filter(|key| key.is_authority()));
        let mut certify = certify.filter(|key| !key.is_expired(now) && !revoked.revokes_authority(key.blob()));
        let needs_key = matches!(user.auth, AuthMode::PublicKey | AuthMode::PublicKeyAndPassword);
        let is_over = user.bounds.expires.is_some_and(|expires| expires <= now);
        let own = user.home.iter().map(|home| Entry::of(home, None));
        let accounts = targets.iter().flat_map(|target| target.accounts_for(&user.targets).map(move |of| (target, of)));
        let jumps = accounts.flat_map(|(target, account)| {
            let home = account.home_of(&user.name);
            home.into_iter().map(move |home| Entry::of(&home, Some((&target.name, &account.name))))
        });
        Person {
            name: user.name.to_string(),
            source: user.source.to_string(),
            state: match (user.enabled, is_over) {
                (false, _) => "disabled",
                (true, true) => "expired",
                (true, false) if needs_key && revoked.leaves_nothing_of(user, authorities, now) => "keys-revoked",
                (true, false) => "active",
            },
            expires: user.bounds.expires.map(text_of),
            auth: match user.auth {
                AuthMode::PublicKey => "public_key",
                AuthMode::Password => "password",
                AuthMode::PublicKeyOrPassword => "public_key_or_password",
                AuthMode::PublicKeyAndPassword => "public_key_and_password",
            },
            has_password: user.password.is_some(),
            second_factor: (!matches!(user.totp, Totp::NotNeeded)).then_some("totp"),
            keys,
            takes_certificates: user.auth.takes_key() && certify.next().is_some(),
            principals: user.principals.clone(),
            allow_from: user.bounds.allow_from.iter().map(ToString::to_string).collect(),
            sessions: user.bounds.sessions,
            home: own.chain(jumps).collect(),
        }
    }
}

impl Entry {
    fn of(home: &HomeEntry, jump: Option<(&str, &str)>) -> Entry {
        Entry {
            jump_target: jump.map(|(target, _)| target.to_owned()),
            account: jump.map(|(_, account)| account.to_owned()),
            entry: home.entry.to_string(),
            target: format!("{}:/{}", home.store, home.target),
            permissions: home.permissions.to_string(),
        }
    }

    /// The path, with the target and the account before it.
    pub(super) fn place(&self) -> String {
        match (&self.jump_target, &self.account) {
            (Some(target), Some(account)) => format!("{account}@{target}:{}", self.entry),
            _ => self.entry.clone(),
        }
    }
}

impl Key {
    fn of(key: &AuthorizedKey, revoked: &Revoked, authority: bool, now: DateTime<Utc>) -> Key {
        Key {
            kind: key.key_type().to_owned(),
            fingerprint: key.fingerprint(),
            comment: key.comment().map(str::to_owned),
            authority,
            expired: key.is_expired(now),
            revoked: revoked.revokes(key.blob(), None),
            certificates_revoked: authority && revoked.has_rules_for(key.blob()),
        }
    }

    /// In one line.
    pub(super) fn sentence(&self) -> String {
        let comment = self.comment.as_ref().map(|comment| format!(" {comment}")).unwrap_or_default();
        let state = match (self.revoked, self.expired, self.certificates_revoked) {
            (true, ..) => " (revoked)",
            (false, true, _) => " (expired)",
            (false, false, true) => " (some certificates revoked)",
            (false, false, false) => "",
        };
        format!("{}{comment}{state}", self.fingerprint)
    }

    /// What it is good for.
    pub(super) fn usage(&self) -> &'static str {
        match (self.revoked, self.expired, self.authority, self.certificates_revoked) {
            (true, ..) => "revoked",
            (false, true, ..) => "expired",
            (false, false, true, true) => "signs certificates, some of which are revoked",
            (false, false, true, false) => "signs certificates",
            (false, false, false, _) => "logs in",
        }
    }
}

fn text_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
