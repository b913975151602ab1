//! The digest of one file whose bytes pass here. Clients have many requests under way, which overtake each other a little: so pieces
//! that are early wait for those before them, within bounds.

use std::sync::Arc;

use bytes::Bytes;

use super::digest::Digest;
use super::early::Early;

/// How far a piece may be ahead of the first byte that is missing: what a writer puts in order in memory.
const WINDOW: u64 = 4 << 20;

/// The digest of a file's first bytes, as many as came without a gap.
#[derive(Debug)]
pub(super) struct FileDigest {
    digest: Digest,
    state: State,
    ahead: Early,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Whatever comes next goes into it.
    Follows,
    /// Something was left out: no more can go into it. What it has is still right.
    Stopped,
    /// Bytes that are in it were changed.
    Wrong,
}

impl FileDigest {
    /// Of no bytes yet; `owner` is the user, who shares the room for early pieces with others.
    pub(super) fn new(owner: Arc<str>) -> FileDigest {
        FileDigest { digest: Digest::new(), state: State::Follows, ahead: Early::new(owner) }
    }

    /// Takes bytes of a download. Some clients read bytes twice, or beyond the end.
    pub(super) fn read(&mut self, offset: u64, data: &Bytes) {
        if self.state != State::Follows || data.is_empty() {
            return;
        }
        match usize::try_from(self.digest.length().saturating_sub(offset)) {
            _ if offset > self.digest.length() => self.wait(offset, data),
            Ok(known) if known < data.len() => self.follow(&data.slice(known..)),
            _ => {}
        }
    }

    /// Takes bytes of an upload. Bytes that are written again make what it has wrong.
    pub(super) fn written(&mut self, offset: u64, data: &Bytes) {
        if self.state == State::Wrong || data.is_empty() {
            return;
        }
        let length = self.digest.length();
        if offset < length {
            self.become_wrong();
        } else if self.state == State::Stopped {
        } else if self.ahead.touches(offset, data.len()) {
            self.stop();
        } else if offset > length {
            self.wait(offset, data);
        } else {
            self.follow(data);
        }
    }

    /// The file was cut to `size`, or made longer.
    pub(super) fn resized(&mut self, size: u64) {
        if self.digest.length() > size {
            self.become_wrong();
        } else if self.ahead.end() > size {
            self.stop();
        }
    }

    /// Others wrote to the file as well.
    pub(super) fn become_wrong(&mut self) {
        self.state = State::Wrong;
        self.ahead.clear();
    }

    /// From which byte on a file of `size` bytes has to be read for the digest to be that of all of it; `size` when nothing is missing.
    pub(super) fn missing_from(&self, size: u64) -> u64 {
        match self.state {
            State::Wrong => 0,
            State::Follows | State::Stopped if self.digest.length() > size => 0,
            State::Follows | State::Stopped => self.digest.length(),
        }
    }

    /// Forgets what came and what is early, so that the file can be read from `from` on.
    pub(super) fn begin_at(&mut self, from: u64) {
        if from != self.digest.length() || self.state == State::Wrong {
            self.digest = Digest::new();
        }
        self.ahead.clear();
        self.state = State::Follows;
    }

    /// Takes the bytes that follow.
    pub(super) fn follow(&mut self, data: &Bytes) {
        self.digest.add(data);
        while let Some((offset, piece)) = self.ahead.take_first_until(self.digest.length()) {
            let known = usize::try_from(self.digest.length() - offset).unwrap_or(usize::MAX);
            if known < piece.len() {
                self.digest.add(&piece.slice(known..));
            }
        }
    }

    /// The digest in hex digits, if it is that of a file of `size` bytes.
    pub(super) fn finish(self, size: u64) -> Option<String> {
        let is_whole = self.state != State::Wrong && self.digest.length() == size;
        is_whole.then(|| self.digest.finish())
    }

    fn wait(&mut self, offset: u64, data: &Bytes) {
        let is_near = offset - self.digest.length() <= WINDOW;
        if !is_near || !self.ahead.add(offset, data) {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
        self.ahead.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::session::early::MOST_WAITING;

    /// `printf 'abcdefgh' | sha256sum`
    const DIGEST: &str = "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab";

    fn piece(offset: usize, length: usize) -> (u64, Bytes) {
        (offset as u64, Bytes::copy_from_slice(&b"abcdefgh"[offset..offset + length]))
    }

    #[test]
    fn pieces_that_overtake_each_other_are_put_in_order() {
        for order in
            [[(0, 3), (3, 1), (4, 4)], [(4, 4), (3, 1), (0, 3)], [(3, 1), (0, 3), (4, 4)], [(4, 4), (0, 3), (3, 1)]]
        {
            let (mut read, mut written) = (FileDigest::new("ann".into()), FileDigest::new("ann".into()));
            for (offset, length) in order {
                let (offset, data) = piece(offset, length);
                read.read(offset, &data);
                written.written(offset, &data);
            }
            assert_eq!(read.finish(8).as_deref(), Some(DIGEST), "{order:?}");
            assert_eq!(written.finish(8).as_deref(), Some(DIGEST), "{order:?}");
        }
    }

    #[test]
    fn what_is_read_twice_or_beyond_the_end_changes_nothing() {
        let mut digest = FileDigest::new("ann".into());
        for (offset, length) in [(2, 3), (0, 1), (2, 1), (2, 6), (0, 4), (1, 3), (5, 2)] {
            let (offset, data) = piece(offset, length);
            digest.read(offset, &data);
        }
        digest.read(1 << 40, &Bytes::new());
        assert_eq!(digest.finish(8).as_deref(), Some(DIGEST));
    }

    #[test]
    fn bytes_that_are_written_again_are_read_again_from_the_start() {
        let mut digest = FileDigest::new("ann".into());
        for (offset, length) in [(0, 4), (2, 2), (4, 4)] {
            let (offset, data) = piece(offset, length);
            digest.written(offset, &data);
        }
        assert_eq!(digest.missing_from(8), 0);
        digest.begin_at(0);
        digest.follow(&piece(0, 8).1);
        assert_eq!(digest.finish(8).as_deref(), Some(DIGEST));
    }

    #[test]
    fn early_bytes_that_are_written_again_or_cut_off_are_read_where_they_begin() {
        let again = [(0, 3), (5, 3), (4, 2)].map(|(offset, length)| piece(offset, length));
        let mut changed = FileDigest::new("ann".into());
        again.iter().for_each(|(offset, data)| changed.written(*offset, data));
        let mut cut = FileDigest::new("ann".into());
        again[..2].iter().for_each(|(offset, data)| cut.written(*offset, data));
        cut.resized(7);
        for mut digest in [changed, cut] {
            digest.written(3, &piece(3, 5).1);
            assert_eq!(digest.missing_from(8), 3, "what came after the gap is not in it");
            digest.begin_at(3);
            digest.follow(&piece(3, 5).1);
            assert_eq!(digest.finish(8).as_deref(), Some(DIGEST));
        }
    }

    #[test]
    fn a_file_that_was_cut_is_read_from_the_start() {
        let mut digest = FileDigest::new("ann".into());
        digest.written(0, &piece(0, 8).1);
        digest.resized(4);
        assert_eq!((digest.missing_from(4), digest.finish(4)), (0, None));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut far, mut many) = (FileDigest::new("ann".into()), FileDigest::new("ann".into()));
        far.read(WINDOW + 1, &Bytes::from_static(b"x"));
        assert_eq!((far.state, far.ahead.size()), (State::Stopped, 0));
        let mut most = 0;
        for offset in 1..100_000 {
            many.read(2 * offset, &Bytes::from_static(b"x"));
            most = most.max(many.ahead.size());
        }
        assert_eq!((many.state, many.ahead.size()), (State::Stopped, 0));
        assert!((MOST_WAITING / 2..=MOST_WAITING).contains(&most), "{most}");
    }
}
