//! Uploads that have begun and not ended: a gateway that is killed records no end of them, and may have published their content.

use std::collections::{BTreeMap, HashMap};

use super::change::{Change, Kind, moved};

/// What is open, as far as the changes go that were followed.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// By gateway.
    gateways: HashMap<String, Gateway>,
}

#[derive(Debug, Default)]
struct Gateway {
    /// By session and path: how the upload began, and how many have begun so. Any of them is as good as another.
    open: BTreeMap<(String, String), (Change, usize)>,
    /// The number of the last line.
    sequence: u64,
}

impl UnderWay {
    /// Follows the next change. What it gives was lost with the process that had it under way.
    pub(super) fn follow(&mut self, change: &Change) -> Vec<Change> {
        let gateway = self.gateways.entry(change.server.clone()).or_default();
        // Without a folder for its chain, a gateway has no checkpoint at its start: its numbers begin again.
        let begins = change.sequence.is_some_and(|sequence| sequence < gateway.sequence);
        gateway.sequence = change.sequence.unwrap_or(gateway.sequence);
        let lost = match begins || matches!(change.kind, Kind::Began { .. }) {
            true => std::mem::take(&mut gateway.open),
            false => BTreeMap::new(),
        };
        gateway.note(change);
        lost.into_values().map(|(opened, _)| Change { kind: Kind::PerhapsWritten, ..opened }).collect()
    }

    /// What was under way where the changes end. What it replaces may be replaced already; whether it has come is told by what follows.
    pub(super) fn end(self) -> Vec<Change> {
        let open = self.gateways.into_values().flat_map(|gateway| gateway.open.into_values());
        open.map(|(opened, _)| Change { kind: Kind::PerhapsChanged, ..opened }).collect()
    }
}

impl Gateway {
    fn note(&mut self, change: &Change) {
        let place = || (change.session.clone(), change.path.clone());
        match &change.kind {
            Kind::Opened => self.open.entry(place()).or_insert_with(|| (change.clone(), 0)).1 += 1,
            Kind::Moved { name, path } => self.rename(change, name, path, false),
            // The uploads went along, or they did not.
            Kind::Copied { name, path } | Kind::PerhapsReplaced { name, path } => self.rename(change, name, path, true),
            _ if change.is_end() => {
                if let Some((_, count)) = self.open.get_mut(&place()) {
                    *count -= 1;
                    if *count == 0 {
                        self.open.remove(&place());
                    }
                }
            }
            _ => {}
        }
    }

    /// A session takes along what it writes under a name, or below it, when it renames that. `stays`: perhaps it does not.
    fn rename(&mut self, change: &Change, new_name: &str, new_path: &str, stays: bool) {
        let of_session = self.open.range((change.session.clone(), String::new())..);
        let of_session = of_session.take_while(|((session, _), _)| *session == change.session);
        let moving = of_session.filter_map(|(place, (opened, count))| {
            let path = moved(&opened.path, &change.path, new_path)?;
            let name = moved(&opened.name, &change.name, new_name)?;
            Some((place.clone(), Change { name, path, ..opened.clone() }, *count))
        });
        for (place, opened, count) in moving.collect::<Vec<_>>() {
            if !stays {
                self.open.remove(&place);
            }
            let place = (change.session.clone(), opened.path.clone());
            self.open.entry(place).or_insert_with(|| (opened, 0)).1 += count;
        }
    }
}
