//! The configuration as it is being made: stores, users, and the report.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use serde_json::Value;

use super::report::Report;
use super::stores::Stores;
use crate::config::Problems;
use crate::users::{AuthorizedKey, Network, PasswordHash};

/// What is made of somebody else's users.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub stores: Stores,
    pub users: Vec<DraftUser>,
    pub report: Report,
}

/// One user.
#[derive(Debug, Default, Clone)]
pub(super) struct DraftUser {
    pub name: String,
    pub role: Option<String>,
    pub keys: Vec<String>,
    pub password_hash: Option<String>,
    pub auth: &'static str,
    pub is_disabled: bool,
    pub expires: Option<String>,
    pub allow_from: Vec<String>,
    pub sessions: Option<u64>,
    pub totp: Option<String>,
    pub home: Vec<DraftEntry>,
}

/// An entry of a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DraftEntry {
    pub entry: String,
    /// The store's name and the folder, as in `local:/ann`.
    pub target: String,
    pub rights: Rights,
}

/// What an entry allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rights {
    All,
    Of(BTreeSet<&'static str>),
}

impl Draft {
    /// Takes each key that the gateway takes, once, and reports the others.
    pub(super) fn keys(&mut self, user: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut taken: Vec<(Vec<u8>, String)> = Vec::new();
        for line in lines {
            let line = line.trim().to_owned();
            match AuthorizedKey::parse(&line) {
                Ok(key) if taken.iter().any(|(blob, _)| blob == key.blob()) => {}
                Ok(key) => taken.push((key.blob().to_vec(), line)),
                Err(what) => self.report.note(user, format!("a key is left out: {what}")),
            }
        }
        taken.into_iter().map(|(_, line)| line).collect()
    }

    /// Takes a hash that the gateway can check.
    pub(super) fn password(&mut self, user: &str, hash: &str) -> Option<String> {
        match PasswordHash::parse(hash) {
            Ok(_) => Some(hash.to_owned()),
            Err(what) => {
                self.report.note(user, format!("the password is left out: {what}"));
                None
            }
        }
    }

    /// Takes networks; `None` when there were some and none can be used: then nobody may come from anywhere.
    pub(super) fn networks(&mut self, user: &str, texts: &[String]) -> Option<Vec<String>> {
        let mut taken = Vec::new();
        for text in texts {
            match Network::parse(text) {
                Ok(_) => taken.push(text.clone()),
                Err(what) => self.report.note(user, format!("the allowed address {text:?} is left out: {what}")),
            }
        }
        (taken.len() == texts.len() || !taken.is_empty()).then_some(taken)
    }

    /// Leaves out each user that the configuration's own rules refuse, and says why.
    ///
    /// # Errors
    /// A problem that is no user's.
    pub(super) fn leave_out_what_is_refused<T>(
        &mut self,
        judge: impl Fn(&str) -> Result<T, Problems>,
    ) -> anyhow::Result<()> {
        self.leave_out_references();
        loop {
            let Err(problems) = judge(&self.to_yaml()) else { break };
            let mut refused: BTreeMap<usize, String> = BTreeMap::new();
            for problem in problems.list() {
                if let Some(index) = user_of(&problem.place).filter(|index| *index < self.users.len()) {
                    refused.entry(index).or_insert_with(|| problem.text.clone());
                }
            }
            if refused.is_empty() {
                return Err(anyhow!("what was read makes no configuration: {problems}"));
            }
            for (index, why) in refused.into_iter().rev() {
                let user = self.users.remove(index);
                self.report.leave_out(&user.name, why);
            }
        }
        self.report.count(self.users.len());
        Ok(())
    }

    /// `${file:…}` in somebody else's data would be read from this machine.
    fn leave_out_references(&mut self) {
        let is_reference = |text: &String| text.replace("${user}", "").contains("${");
        let (kept, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut self.users)
            .into_iter()
            .partition(|user| !user.texts().any(is_reference) && !self.stores.are_references(user));
        self.users = kept;
        for user in refused {
            self.report.leave_out(&user.name, "\"${\" has a meaning in a configuration");
        }
        self.stores.keep(self.users.iter().flat_map(|user| &user.home));
    }

    /// The stores and the users as YAML.
    pub(super) fn to_yaml(&self) -> String {
        let mut text = self.stores.to_yaml();
        text.push('\n');
        if self.users.is_empty() {
            text.push_str("users: []\n");
        } else {
            text.push_str("users:\n");
        }
        for user in &self.users {
            text.push_str(&user.to_yaml());
        }
        text.push('\n');
        text
    }
}

/// `2` of `users[2].home[0]`.
fn user_of(place: &str) -> Option<usize> {
    place.strip_prefix("users[")?.split_once(']')?.0.parse().ok()
}

impl DraftUser {
    fn texts(&self) -> impl Iterator<Item = &String> {
        let single = [Some(&self.name), self.role.as_ref(), self.password_hash.as_ref(), self.totp.as_ref()];
        let home = self.home.iter().flat_map(|entry| [&entry.entry, &entry.target]);
        single.into_iter().flatten().chain(&self.keys).chain(&self.allow_from).chain(home)
    }

    fn to_yaml(&self) -> String {
        let mut text = format!("  - name: {}\n", quoted(&self.name));
        let mut line = |key: &str, value: String| text.push_str(&format!("    {key}: {value}\n"));
        let list = |values: &[String]| format!("[{}]", values.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", "));
        if self.is_disabled {
            line("enabled", "false".to_owned());
        }
        for (key, value) in [("role", &self.role), ("password_hash", &self.password_hash), ("totp", &self.totp)] {
            if let Some(value) = value {
                line(key, quoted(value));
            }
        }
        if !self.keys.is_empty() {
            let keys: String = self.keys.iter().map(|key| format!("\n      - {}", quoted(key))).collect();
            line("public_keys", keys.trim_end().to_owned());
        }
        line("auth", self.auth.to_owned());
        if let Some(expires) = &self.expires {
            line("expires", quoted(expires));
        }
        if !self.allow_from.is_empty() {
            line("allow_from", list(&self.allow_from));
        }
        if let Some(sessions) = self.sessions {
            line("sessions", sessions.to_string());
        }
        text.push_str("    home:\n");
        for DraftEntry { entry, target, rights } in &self.home {
            let rights = match rights {
                Rights::All => String::new(),
                Rights::Of(rights) => {
                    format!(", permissions: [{}]", rights.iter().copied().collect::<Vec<_>>().join(", "))
                }
            };
            text.push_str(&format!("      - {{ entry: {}, target: {}{rights} }}\n", quoted(entry), quoted(target)));
        }
        text
    }
}

/// A text of YAML in quotes: those of JSON are YAML's.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
