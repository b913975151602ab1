//! What is the operator's own must lie where no client gets at it: the trail, its key and its state, what waits in spools and in the
//! staging folder, host keys, credentials, the configuration, and the folders of keys that say who may log in.
//!
//! What a reload does not change is in force until a restart, so new homes are judged against that as well.

use std::path::{Path, PathBuf};

use super::guarded::Homes;
use super::problem::Problems;
use super::reader::At;
use super::resolve_witness::place_of;
use crate::audit::{SinkTarget, SyslogAddress};
use crate::gateway;
use crate::stores::Place;

/// Something of the operator's, with where the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    place: String,
    line: Option<u64>,
    thing: Thing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    /// A file or folder of this machine, and what it is. No client may even read it.
    File(String, PathBuf),
    /// A folder of a store, and what comes of it when a client may change files there.
    Folder { store: String, folder: String, and_so: &'static str },
}

impl Own {
    /// A file or folder that is named at `at`.
    pub(super) fn file<T>(at: &At<T>, what: impl Into<String>, path: &Path) -> Own {
        Own { place: at.place.to_string(), line: Some(at.line), thing: Thing::File(what.into(), path.to_owned()) }
    }

    /// A file or folder that is not named, or not in one place.
    pub(super) fn unnamed(place: &str, what: &str, path: &Path) -> Own {
        Own { place: place.into(), line: None, thing: Thing::File(what.into(), path.to_owned()) }
    }

    /// A folder of a store that is named at `at`.
    pub(super) fn folder<T>(at: &At<T>, store: &str, folder: &str, and_so: &'static str) -> Own {
        let thing = Thing::Folder { store: store.into(), folder: folder.into(), and_so };
        Own { place: at.place.to_string(), line: Some(at.line), thing }
    }
}

/// All of it where it is now, for homes that are not known yet.
pub(super) fn hold_own(own: &[Own], homes: &Homes<'_>) -> InForce {
    let held = own.iter().filter_map(|own| match &own.thing {
        Thing::File(what, path) => Some(Held { what: what.clone(), place: Place::of_path(path), is_shared: false }),
        Thing::Folder { store, folder, .. } => {
            Some(Held { what: format!("{store}:/{folder}"), place: homes.place(store, folder)?, is_shared: true })
        }
    });
    let hold =
        |(name, place)| Held { what: format!("the folder .lockgate of the store {name:?}"), place, is_shared: false };
    InForce(held.chain(homes.own_folders().map(hold)).collect())
}

/// Notes what of it lies in a home.
pub(super) fn judge_own(own: &[Own], homes: &Homes<'_>, problems: &mut Problems) {
    for Own { place, line, thing } in own {
        let wrong = match thing {
            Thing::File(what, path) => homes
                .showing(&Place::of_path(path))
                .map(|who| format!("{what} {who}; choose a place outside of every home")),
            Thing::Folder { store, folder, and_so } => homes
                .place(store, folder)
                .and_then(|place| homes.reaching(&place))
                .map(|who| format!("{who}{and_so}; choose another folder")),
        };
        if let Some(what) = wrong {
            problems.add(place.clone(), *line, what);
        }
    }
    for (name, folder) in homes.own_folders() {
        if let Some(who) = homes.showing(&folder) {
            let what = format!(
                "the gateway's own folder .lockgate of the store {name:?} {who}, through another store; choose another folder"
            );
            problems.add(format!("stores.{name}.url"), None, what);
        }
    }
}

/// What a gateway that runs keeps to itself, whatever a reload says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce(Vec<Held>);

/// One thing, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    what: String,
    place: Place,
    /// A folder of a store, in which clients may read.
    is_shared: bool,
}

impl InForce {
    /// Of a gateway that is started with these settings.
    pub fn of(settings: &gateway::Settings) -> InForce {
        let mut held = Vec::new();
        let mut add = |what: &str, path: &Path| {
            held.push(Held { what: what.into(), place: Place::of_path(path), is_shared: false });
        };
        settings.ssh.host_keys.iter().for_each(|key| add("the host key", key));
        settings.host_ca.iter().for_each(|key| add("the host authority", key));
        settings.targets.iter().flat_map(|target| &target.host_keys).for_each(|key| add("the host key", key));
        settings.audit.chain.iter().for_each(|chain| add("the folder of the signing key", &chain.folder));
        add("the staging folder", &settings.transfers.staging_folder);
        let doors = &settings.admin.doors;
        doors.socket.iter().for_each(|socket| add("the socket of the admin door", socket));
        doors.tls.iter().for_each(|tls| add("the key of the admin door", &tls.key));
        doors.tls.iter().for_each(|tls| add("the certificate of the admin door", &tls.certificate));
        for sink in &settings.audit.sinks {
            match &sink.target {
                SinkTarget::File { path, .. } => add("the file of events", path),
                SinkTarget::Store(store) => add("the spool of events", &store.spool.folder),
                SinkTarget::Http(http) => {
                    add("the spool of events", &http.spool.folder);
                    http.ca_file.iter().for_each(|file| add("the file of authorities", file));
                }
                SinkTarget::Syslog(syslog) => {
                    if let SyslogAddress::Tls { ca_file: Some(file), .. } = &syslog.address {
                        add("the file of authorities", file);
                    }
                }
                SinkTarget::Stdout | SinkTarget::Memory(_) | SinkTarget::Own(_) => {}
            }
        }
        held.extend(archives(settings));
        InForce(held)
    }

    /// What is held here or there.
    #[must_use]
    pub(super) fn and(mut self, other: &InForce) -> InForce {
        self.0.extend(other.0.iter().filter(|held| !self.0.contains(held)).cloned().collect::<Vec<_>>());
        self
    }

    /// What of it one of the homes leads to: a phrase.
    pub(super) fn lies_in(&self, homes: &Homes<'_>) -> Option<String> {
        self.0.iter().find_map(|held| Some(format!("{} {}", held.what, held.lies_in(homes)?)))
    }

    /// Notes what homes of the new configuration lead to, and is not of the new configuration itself.
    pub(super) fn judge(&self, new: &gateway::Settings, homes: &Homes<'_>, problems: &mut Problems) {
        let judged = InForce::of(new);
        for held in &self.0 {
            if let Some(who) = held.lies_in(homes).filter(|_| !judged.0.contains(held)) {
                let what = &held.what;
                let what = format!(
                    "{what}, which is in use until a restart, {who}; restart with the new configuration, or change that home"
                );
                problems.add("", None, what);
            }
        }
    }
}

impl Held {
    /// Whose home leads there: a phrase.
    fn lies_in(&self, homes: &Homes<'_>) -> Option<String> {
        if self.is_shared { homes.reaching(&self.place) } else { homes.showing(&self.place) }
    }
}

/// The folders of stores that sinks and the witness write to, where those stores are now.
fn archives(settings: &gateway::Settings) -> Vec<Held> {
    let held = settings.audit.archives().filter_map(|target| {
        let place = place_of(target, &settings.stores)?;
        let witness = settings.audit.chain.as_ref().and_then(|chain| chain.witness.as_ref());
        let is_witness = witness.is_some_and(|witness| witness.place == *target);
        let what = if is_witness { "the folder of the witness" } else { "the folder of a sink" };
        Some(Held { what: what.into(), place, is_shared: true })
    });
    held.collect()
}
