//! Batches as compressed objects in a folder of a store, `year=…/month=…/day=…/hour=…/`, as tools that query partitions expect.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::GzDecoder;

use super::Around;
use super::carrier::{Carrier, Refusal, gzip};
use super::heading::{Heading, lines};
use super::settings::StoreTarget;
use super::shape::Shape;
use super::spooled::Spooled;
use crate::audit::Archive;
use crate::audit::chain::Hash;

/// How long a store may take for one batch.
const WITHIN: Duration = Duration::from_secs(120);

/// Opens the sink. Needs a runtime.
pub(super) fn open(target: &StoreTarget, shape: &Shape, around: &Around) -> io::Result<Spooled> {
    let archive = around.archives.get(&target.place).cloned();
    let archive = archive.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("the store {:?} of a sink is not there", target.place.store))
    })?;
    Spooled::open(&target.spool, shape, around, StoreCarrier { archive, server: around.server.clone() })
}

/// Puts each batch into the folder as one object.
#[derive(Debug)]
struct StoreCarrier {
    archive: Arc<dyn Archive>,
    server: String,
}

#[async_trait]
impl Carrier for StoreCarrier {
    fn name(&self) -> String {
        self.archive.describe()
    }

    async fn deliver(&self, batch: &Bytes) -> Result<(), Refusal> {
        match tokio::time::timeout(WITHIN, self.keep(batch)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Refusal::of(error.to_string())),
            Err(_) => Err(Refusal::of(format!("the store does not answer within {} s", WITHIN.as_secs()))),
        }
    }
}

impl StoreCarrier {
    /// An object of the name may be this batch, whose delivery could not be noted. It may also be another chain's, which has
    /// the same numbers: then this one gets a name that has its own first event in it.
    async fn keep(&self, batch: &Bytes) -> io::Result<()> {
        let content = Bytes::from(gzip(batch)?);
        let name = Name::of(batch, &self.server);
        for name in [name.plain(), name.distinct()] {
            match self.archive.put_new(&name, content.clone()).await {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.holds(&name, batch).await? {
                        return Ok(());
                    }
                }
                outcome => return outcome,
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is something else", name.distinct())))
    }

    /// Whether an object has the lines of this batch.
    async fn holds(&self, name: &str, batch: &Bytes) -> io::Result<bool> {
        // What is compressed otherwise may be larger, but not by this much.
        let most = 2 * batch.len() as u64 + 4096;
        let object = match self.archive.get(name, most).await {
            Ok(object) => object,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut there = Vec::new();
        let read = GzDecoder::new(object.as_ref()).take(batch.len() as u64 + 1).read_to_end(&mut there);
        Ok(read.is_ok() && there == **batch)
    }
}

/// What an object is called.
#[derive(Debug)]
struct Name {
    folder: String,
    server: String,
    first: String,
    last: String,
    /// What no other batch has.
    own: String,
}

impl Name {
    fn of(batch: &[u8], server: &str) -> Name {
        let heading = |line: Option<&[u8]>| line.map(Heading::of).unwrap_or_default();
        let (first, last) = (heading(lines(batch).next()), heading(lines(batch).next_back()));
        let hash = || Hash::of_line(batch).to_string();
        let own = first.event_id.clone().filter(|id| is_plain(id)).unwrap_or_else(hash);
        let place = |heading: &Heading| match (heading.sequence, &heading.event_id) {
            (Some(sequence), _) => format!("{sequence:020}"),
            (None, Some(id)) if is_plain(id) => id.clone(),
            (None, _) => own.clone(),
        };
        let hour = first.hour().unwrap_or("1970-01-01T00");
        let part = |range: std::ops::Range<usize>| hour.get(range).unwrap_or_default();
        let folder = format!("year={}/month={}/day={}/hour={}", part(0..4), part(5..7), part(8..10), part(11..13));
        Name { folder, server: server.to_owned(), first: place(&first), last: place(&last), own }
    }

    fn plain(&self) -> String {
        format!("{}/{}-{}-{}.ndjson.gz", self.folder, self.server, self.first, self.last)
    }

    fn distinct(&self) -> String {
        format!("{}/{}-{}-{}-{}.ndjson.gz", self.folder, self.server, self.first, self.last, self.own)
    }
}

/// Whether an id may stand in a name.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
