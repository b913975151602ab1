//! Where the content of an unfinished file is, and what of an older content belongs to it.
//!
//! Each state has only what means something in it, so that no other combination can be built.

use std::sync::Arc;

use bytes::Bytes;

use crate::descriptors::Held;
use crate::stores::{FileUpload, Key, Object};

use super::super::super::budget::Budget;
use super::super::super::staging::StagedFile;
use super::super::batched::Batched;
use super::super::reorder::Reorder;

/// Where the bytes of an unfinished file are, and with it where the next ones go.
///
/// The stream is not part of a state: an upload that has begun must be found, and aborted, also when a change of state is dropped
/// half-way.
pub(super) enum Content {
    /// All of it is an object's: nothing was written or cut yet, and the stream is empty.
    Untouched(Source),
    /// All that has no gap before it is on the stream.
    InOrder(Behind),
    /// In the store's own file, in any order. Nothing is on the stream.
    InStore {
        file: Batched<Box<dyn FileUpload>>,
        /// As [`Old::Tail`].
        tail: Option<Source>,
        /// The share of the open files that is its; none where the file is another machine's.
        held: Option<Held>,
    },
    /// In any order in a staged file, but for the parts that were sent before: those are on the stream.
    Staged { file: Batched<StagedFile>, old: Old },
}

/// What is known behind the end of a stream.
pub(super) enum Behind {
    /// The bytes of the object that is being overwritten from its start, in order. Nothing can wait there: a write that leaves the
    /// order needs these bytes first.
    Tail(Source),
    Gaps(Gaps),
}

/// Bytes that a stream has not reached, with gaps between them.
#[derive(Default)]
pub(super) struct Gaps {
    pub(super) waiting: Reorder,
    /// The length that was asked for, where it goes beyond what was written.
    pub(super) wanted: u64,
    /// What of an older content the stream begins with.
    pub(super) kept: Option<Kept>,
}

/// What of an older content belongs to a staged file.
pub(super) enum Old {
    None,
    /// It begins the file.
    Kept(Kept),
    /// It is being overwritten from its start: its bytes behind what was written still belong to the file.
    Tail(Source),
}

/// The first bytes of the file, as long as they are as they were in the object.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) source: Source,
    pub(super) bytes: u64,
}

/// An object that content is from.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) object: Arc<dyn Object>,
    /// Its key where it is another file, of which this one is to be a copy. None: it is what the file's own name has.
    pub(super) copied_from: Option<Key>,
}

impl Source {
    pub(super) fn size(&self) -> u64 {
        self.object.stat().size
    }
}

/// Nothing was written.
impl Default for Content {
    fn default() -> Self {
        Content::InOrder(Behind::default())
    }
}

impl Default for Behind {
    fn default() -> Self {
        Behind::Gaps(Gaps::default())
    }
}

impl Content {
    pub(super) fn untouched(&self) -> Option<&Source> {
        match self {
            Content::Untouched(source) => Some(source),
            Content::InOrder(_) | Content::InStore { .. } | Content::Staged { .. } => None,
        }
    }

    /// The object that is to change now. Nothing is written then, until it is put there.
    pub(super) fn take_untouched(&mut self) -> Option<Source> {
        let source = self.untouched()?.clone();
        *self = Content::default();
        Some(source)
    }

    pub(super) fn is_in_order(&self) -> bool {
        matches!(self, Content::InOrder(_))
    }

    pub(super) fn tail(&self) -> Option<&Source> {
        match self {
            Content::InOrder(Behind::Tail(source))
            | Content::InStore { tail: Some(source), .. }
            | Content::Staged { old: Old::Tail(source), .. } => Some(source),
            _ => None,
        }
    }

    pub(super) fn take_tail(&mut self) -> Option<Source> {
        let source = self.tail()?.clone();
        match self {
            Content::InOrder(behind) => *behind = Behind::default(),
            Content::InStore { tail, .. } => *tail = None,
            Content::Staged { old, .. } => *old = Old::None,
            Content::Untouched(_) => {}
        }
        Some(source)
    }

    /// The file begins with bytes of an older content.
    pub(super) fn keep(&mut self, kept: Kept) {
        match self {
            Content::InOrder(Behind::Gaps(gaps)) => gaps.kept = Some(kept),
            Content::Staged { old: old @ (Old::None | Old::Kept(_)), .. } => *old = Old::Kept(kept),
            // Who knows this needs it to send parts again, which a file of the store has not. And what is untouched, or has a
            // tail, has taken over nothing yet.
            Content::InStore { .. }
            | Content::Untouched(_)
            | Content::InOrder(Behind::Tail(_))
            | Content::Staged { old: Old::Tail(_), .. } => {}
        }
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        match self {
            Content::InOrder(Behind::Gaps(Gaps { kept: Some(kept), .. }))
            | Content::Staged { old: Old::Kept(kept), .. } => Some(kept),
            _ => None,
        }
    }

    pub(super) fn take_kept(&mut self) -> Option<Kept> {
        let kept = self.kept()?.clone();
        match self {
            Content::InOrder(Behind::Gaps(gaps)) => gaps.kept = None,
            Content::Staged { old, .. } => *old = Old::None,
            Content::Untouched(_) | Content::InOrder(Behind::Tail(_)) | Content::InStore { .. } => {}
        }
        Some(kept)
    }

    /// What is behind the end of a stream that is to go on elsewhere; nothing where there is no stream.
    pub(super) fn take_behind(&mut self) -> Behind {
        match self {
            Content::InOrder(behind) => std::mem::take(behind),
            Content::Untouched(_) | Content::InStore { .. } | Content::Staged { .. } => Behind::default(),
        }
    }
}

impl Behind {
    /// Where what is there ends.
    pub(super) fn end(&self) -> u64 {
        match self {
            Behind::Tail(source) => source.size(),
            Behind::Gaps(gaps) => gaps.waiting.end().max(gaps.wanted),
        }
    }

    /// As [`Reorder::keep`].
    pub(super) fn keep_waiting(
        &mut self,
        budget: &Budget,
        position: u64,
        offset: u64,
        data: Bytes,
    ) -> Result<(), Bytes> {
        match self {
            Behind::Tail(_) => Err(data),
            Behind::Gaps(gaps) => gaps.waiting.keep(budget, position, offset, data),
        }
    }

    /// As [`Reorder::forget`].
    pub(super) fn forget_waiting(&mut self, from: u64, to: u64) {
        match self {
            Behind::Tail(_) => {}
            Behind::Gaps(gaps) => gaps.waiting.forget(from, to),
        }
    }
}
