//! The live sessions of this gateway, and of the others of its fleet.

use std::sync::Arc;

use super::sessions::SessionShown;
use super::state::State;
use crate::session::{Distant, Elsewhere, LiveSession};

/// All live sessions that are known here.
#[derive(Debug)]
pub(super) struct Everyone {
    here: Vec<LiveSession>,
    elsewhere: Arc<Elsewhere>,
}

/// A session, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// Of this gateway.
    Here(&'a LiveSession),
    /// Of another gateway.
    There(&'a Distant),
}

impl Everyone {
    /// Those that live now. Waits for the shared state of the fleet, if there is one, a few seconds at most.
    pub(super) async fn of(state: &State) -> Everyone {
        let elsewhere = state.around.peers.sessions().await;
        Everyone { here: state.around.registry.list(), elsewhere }
    }

    /// All of them, in the order of their ids.
    pub(super) fn all(&self) -> Vec<Of<'_>> {
        let there = self.elsewhere.sessions.iter().map(Of::There);
        let mut all: Vec<Of<'_>> = self.here.iter().map(Of::Here).chain(there).collect();
        all.sort_by(|a, b| a.live().session_id.cmp(&b.live().session_id));
        all
    }

    /// How many others have beyond those that are listed.
    pub(super) fn unlisted(&self) -> usize {
        self.elsewhere.total.saturating_sub(self.elsewhere.sessions.len())
    }

    /// Why sessions of others may be missing.
    pub(super) fn incomplete(&self) -> Option<&str> {
        self.elsewhere.incomplete.as_deref()
    }

    /// The session of another gateway with this id.
    pub(super) fn there(&self, id: &str) -> Option<&Distant> {
        self.elsewhere.sessions.iter().find(|distant| *distant.session.session_id == *id)
    }
}

impl Of<'_> {
    /// Who.
    pub(super) fn live(&self) -> &LiveSession {
        match self {
            Of::Here(live) => live,
            Of::There(distant) => &distant.session,
        }
    }

    /// With its first open files; `None` when it has ended meanwhile.
    pub(super) fn shown(&self, state: &State, files: usize) -> Option<SessionShown> {
        match self {
            Of::Here(live) => {
                let (live, progress) = state.around.registry.look(&live.session_id, files)?;
                Some(SessionShown::of(&live, progress).at(own_name(state)))
            }
            Of::There(distant) => Some(there(distant)),
        }
    }
}

/// A session of another gateway.
pub(super) fn there(distant: &Distant) -> SessionShown {
    SessionShown::of(&distant.session, distant.progress.clone()).at(Some(distant.server.clone()))
}

/// The name of this gateway, as sessions show it; none without a fleet.
pub(super) fn own_name(state: &State) -> Option<String> {
    state.around.peers.standing().map(|_| state.around.server.clone())
}
