//! A configuration of a program that embeds the gateway: it stands in a file or in the program, and names what the program brings along.

use std::path::{Path, PathBuf};

use super::out_of_reach::InForce;
use super::problem::Problems;
use super::raw;
use super::reader::{At, Place};
use super::resolve::Surroundings;
use super::{Owner, host_name, read_file, read_from_beside};
use crate::gateway;

/// What homes and events of a configuration may lead to, without standing in it.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The names of stores.
    pub stores: Vec<String>,
    /// Whether there are sinks: without `events`, there is none on standard output then.
    pub has_sinks: bool,
}

/// Where a configuration stands.
#[derive(Debug, Clone)]
pub enum Document {
    /// In a file.
    File(PathBuf),
    /// In the program.
    Text {
        /// YAML, or JSON, which is YAML too.
        text: String,
        /// Where relative paths in it begin.
        folder: PathBuf,
    },
}

/// Reads the configuration of a program that embeds the gateway. `in_force` is what a running gateway keeps.
///
/// # Errors
/// Every problem of the configuration.
pub fn read_beside(document: &Document, beside: &Beside, in_force: InForce) -> Result<gateway::Settings, Problems> {
    match document {
        Document::File(file) => read_file(file, false, Owner::OwnOrRoot, in_force, beside),
        Document::Text { text, folder } => {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            let around =
                Surroundings { folder, host_name: host_name(), look_at_files: false, others_read: false, in_force };
            let problems = Problems::new(Path::new("the configuration"));
            read_from_beside(text, &around, &|name| std::env::var(name).ok(), problems, beside)
        }
    }
}

impl Beside {
    /// Adds it to what stands in the configuration.
    pub(super) fn add_to(&self, raw: &mut raw::Config, problems: &mut Problems) {
        for name in &self.stores {
            let place = Place::root().key("stores").key(name);
            if let Some(there) = raw.stores.iter().find(|store| store.name.value == *name) {
                there
                    .name
                    .problem(problems, "the embedding program brings a store of this name along; remove this one");
                continue;
            }
            let name = At { value: name.clone(), place, line: 0 };
            raw.stores.push(raw::Store { name, url: None, options: None, is_own: true });
        }
        if self.has_sinks && raw.events.is_none() {
            raw.events = Some(Vec::new());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str, beside: &Beside) -> Result<gateway::Settings, Problems> {
        let document = Document::Text { text: text.to_owned(), folder: "/etc/lockgate".into() };
        read_beside(&document, beside, InForce::default())
    }

    const SERVER: &str = "server: { listen: ['127.0.0.1:0'], host_keys: [host_key] }\n";

    #[test]
    fn homes_lead_to_stores_of_the_program_and_events_to_its_sinks() {
        let key = crate::config::tests::KEY;
        let users =
            format!("users: [{{ name: ann, public_keys: ['{key}'], home: [{{ entry: /, target: 'mine:/ann' }}] }}]");
        let text = format!("{SERVER}stores: {{}}\n{users}\n");
        let beside = Beside { stores: vec!["mine".into()], has_sinks: true };
        let settings = read(&text, &beside).unwrap();
        assert_eq!((settings.stores[0].name.as_str(), &*settings.users[0].home[0].store), ("mine", "mine"));
        assert!(settings.audit.sinks.is_empty());
        assert_eq!(settings.ssh.host_keys, [Path::new("/etc/lockgate/host_key")]);
        assert_eq!(read(&text, &Beside { has_sinks: false, ..beside.clone() }).unwrap().audit.sinks.len(), 1);
        let nobody = read(&text, &Beside::default()).unwrap_err().to_string();
        assert!(nobody.contains("mine"), "{nobody}");
    }

    #[test]
    fn a_store_is_brought_along_or_configured_and_not_both() {
        let beside = Beside { stores: vec!["mine".into()], has_sinks: false };
        let text = format!("{SERVER}stores: {{ mine: {{ url: 'memory:///' }} }}\nusers: []\n");
        let twice = read(&text, &beside).unwrap_err().to_string();
        assert!(twice.contains("brings a store of this name along"), "{twice}");
        let text = format!("{SERVER}stores: {{ mine: {{ url: 'own://mine' }} }}\nusers: []\n");
        let named = read(&text, &Beside::default()).unwrap_err().to_string();
        assert!(named.contains("is named by the program"), "{named}");
    }
}
