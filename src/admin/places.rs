//! Places for what a call may hold for long: a stream, a question to an identity provider. The machine's own users have theirs, whatever
//! comes over the network, and there nobody has all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::caller::{Caller, Peer};
use super::logins::Who;

/// Places of one kind.
#[derive(Debug)]
pub(super) struct Places {
    /// So many for the machine's own users, and as many for the network.
    most: usize,
    /// So many of the network's for one caller.
    most_of_caller: usize,
    machine: Arc<Side>,
    network: Arc<Side>,
}

/// Who holds how many.
#[derive(Debug, Default)]
struct Side(Mutex<HashMap<Who, usize>>);

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    side: Arc<Side>,
    caller: Who,
}

/// There is none: so many are taken by all, or by this caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    ByAll(usize),
    ByCaller(usize),
}

impl Places {
    pub(super) fn new(most: usize, most_of_caller: usize) -> Places {
        Places { most, most_of_caller, machine: Arc::default(), network: Arc::default() }
    }

    /// # Errors
    /// When there is none for this caller.
    pub(super) fn take(&self, peer: &Peer, caller: &Caller) -> Result<Place, Taken> {
        let (side, most_of_caller) = match peer {
            Peer::Local(_) => (&self.machine, self.most),
            Peer::Remote(_) => (&self.network, self.most_of_caller),
        };
        let mut held = side.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.values().sum::<usize>() >= self.most {
            return Err(Taken::ByAll(self.most));
        }
        let own = held.entry(caller.who()).or_default();
        if *own >= most_of_caller {
            return Err(Taken::ByCaller(most_of_caller));
        }
        *own += 1;
        Ok(Place { side: side.clone(), caller: caller.who() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.side.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::admin::logins::{Basis, Grant};
    use crate::admin::settings::{Role, TokenHash};

    #[test]
    fn nobody_on_the_network_has_all_and_the_machine_has_its_own() {
        let places = Places::new(4, 3);
        let (local, remote) = (Peer::Local("root".into()), Peer::Remote(([192, 0, 2, 1], 1).into()));
        let caller = |name: &str| {
            Caller::of_grant(Grant { name: name.into(), role: Role::Viewer, basis: Basis::Socket, until: None })
        };
        let take = |peer: &Peer, name: &str| places.take(peer, &caller(name));
        let mut held: Vec<_> = (0..3).map(|_| take(&remote, "one").unwrap()).collect();
        assert_eq!(take(&remote, "one").unwrap_err(), Taken::ByCaller(3));
        held.push(take(&remote, "two").unwrap());
        assert_eq!(take(&remote, "three").unwrap_err(), Taken::ByAll(4));
        let of_machine: Vec<_> = (0..4).map(|_| take(&local, "root").unwrap()).collect();
        assert_eq!(take(&local, "root").unwrap_err(), Taken::ByAll(4));
        held.clear();
        drop(of_machine);
        assert!(take(&remote, "three").is_ok() && take(&local, "root").is_ok());
        assert!(places.network.0.lock().unwrap().is_empty(), "names are not kept");
        // A token of the name of a user of the machine, who has opened a link.
        let basis = Basis::Token(TokenHash::of("lgt_x"));
        let token = Caller::of_grant(Grant { name: "one".into(), role: Role::Viewer, basis, until: None });
        let _held: Vec<_> = (0..3).map(|_| take(&remote, "one").unwrap()).collect();
        assert!(places.take(&remote, &token).is_ok());
    }
}
