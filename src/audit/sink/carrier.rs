//! Who takes batches from a spool to where they belong.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};

/// Takes batches to where they belong.
#[async_trait]
pub(super) trait Carrier: Send + Sync {
    /// How messages name the place.
    fn name(&self) -> String;

    /// Whether it wants each line by itself.
    fn is_one_by_one(&self) -> bool {
        false
    }

    /// After how long a delivery that is refused for what it is makes room for those behind it; `None`: never.
    fn gives_up_after(&self) -> Option<Duration> {
        None
    }

    /// Delivers a batch of whole lines. A batch may come twice, when its first delivery could not be noted; the answer is then
    /// a success as well. `Ok` means that the batch is kept there.
    async fn deliver(&self, batch: &Bytes) -> Result<(), Refusal>;
}

/// A batch was not taken; it will come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What happened, for the log. Holds no secret.
    pub(super) why: String,
    /// When the place wants to be asked again at the earliest.
    pub(super) after: Option<Duration>,
    /// Whether it is what was delivered that is refused: another delivery may be taken meanwhile.
    pub(super) is_of_this_one: bool,
}

impl Refusal {
    /// One that says nothing about when to come again.
    pub(super) fn of(why: impl Into<String>) -> Self {
        Refusal { why: why.into(), after: None, is_of_this_one: false }
    }
}

/// A gzip member without a time, so that equal lines give equal bytes.
pub(super) fn gzip(batch: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    io::Write::write_all(&mut encoder, batch)?;
    encoder.finish()
}
