//! Who gives names to files, and when: a lock in the folder, since no call of the system replaces or removes a name on the
//! condition that it is still a certain file's.
//!
//! Whoever gives a name away holds the lock with others; whoever looks at what has a name, and then replaces or removes it, holds it
//! alone, for the few calls that this takes. Every process that serves the folder, and every store of one process that does, uses
//! the same lock. Other programs do not know it: between the look and the call they can still come, within microseconds.

use std::fs::File;
use std::io;

use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::FlockOperation;

/// The lock's file in the folder that is Lockgate's own.
const LOCK: &str = "names";

/// The names of one store's folder.
#[derive(Debug)]
pub(super) struct Names {
    own: Dir,
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Held {
    _file: Option<File>,
}

impl Names {
    /// `own` is the folder that is Lockgate's own.
    pub(super) fn new(own: Dir) -> Self {
        Names { own }
    }

    /// Held by who gives a name whatever it was before.
    pub(super) fn shared(&self) -> Held {
        self.hold(FlockOperation::LockShared)
    }

    /// Held by who looks first.
    pub(super) fn alone(&self) -> Held {
        self.hold(FlockOperation::LockExclusive)
    }

    /// A file system without locks, or a folder that cannot be written, leaves the look itself as the only guard.
    fn hold(&self, how: FlockOperation) -> Held {
        let file = self.locked(how).inspect_err(|error| tracing::debug!(%error, "names are changed without a lock"));
        Held { _file: file.ok() }
    }

    /// Opened anew each time: a lock belongs to the open file.
    fn locked(&self, how: FlockOperation) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = self.own.open_with(LOCK, &options)?.into_std();
        loop {
            match rustix::fs::flock(&file, how) {
                Err(rustix::io::Errno::INTR) => {}
                done => return done.map(|()| file).map_err(Into::into),
            }
        }
    }
}
