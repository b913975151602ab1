//! What the witness saw before this process began, beside where its chain goes on: a trail that was put back to an older copy, cut off or
//! begun anew while the gateway was down shows at its start, and not only when somebody verifies.
//!
//! It looks at the newest that was witnessed, by the names of the objects, and reads that alone. What was replaced further back, and all that
//! a file no longer has, `audit verify --witness` finds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Archive;
use super::chain::Position;
use super::read::newest::{Page, Reader, newest};
use super::succession::RawKey;
use super::verify::{Named, Seal, place_of};

/// `operation` of the ERROR that tells of it.
pub(super) const OPERATION: &str = "WITNESS";

/// How long the own files are looked through for a line.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of the largest checkpoint; one with all its endorsements has less than a tenth.
const MAX_OBJECT: u64 = 64 << 10;

/// Where the chain of a process goes on.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// The gateway's name.
    pub(super) server: String,
    /// The chain's id.
    pub(super) chain: String,
    /// The line after which it goes on.
    pub(super) last: Position,
    /// The keys that may have signed it.
    pub(super) keys: Vec<RawKey>,
    /// The files that hold every line as it is.
    pub(super) files: Vec<PathBuf>,
}

impl Before {
    /// What the witness saw and the trail does not have: the rest of a sentence that begins with the witness.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn contradiction(&self, archive: &Arc<dyn Archive>) -> io::Result<Option<String>> {
        let named = self.named(archive).await?;
        let own = named.iter().filter(|(named, _)| named.chain == self.chain).max();
        let newest = named.iter().max();
        match (own, newest) {
            // The ids of chains sort by their time. Without any of its own, this chain begins now, or was never witnessed.
            (own, Some(newest)) if own.is_none() || newest.0.chain > self.chain => {
                self.other_chain(archive, newest).await
            }
            (Some(own), _) => self.own_chain(archive, own).await,
            (None, _) => Ok(None),
        }
    }

    /// The objects of this gateway, by what their names say. All versions, where these may be read: whoever may delete can hide one.
    async fn named(&self, archive: &Arc<dyn Archive>) -> io::Result<Vec<(Named, String)>> {
        let names: Vec<String> = match archive.versions().await {
            Ok(versions) => versions.into_iter().map(|kept| kept.name).collect(),
            Err(_) => archive.list().await?.into_iter().map(|(name, _)| name).collect(),
        };
        let of_this = |name: String| Some((Named::of(&name, &self.server)?, name));
        Ok(names.into_iter().filter_map(of_this).collect())
    }

    /// A chain of this gateway that is not the one that goes on.
    async fn other_chain(
        &self,
        archive: &Arc<dyn Archive>,
        (named, name): &(Named, String),
    ) -> io::Result<Option<String>> {
        let what = self.describe(archive, named, name).await?;
        Ok(Some(format!(
            "saw the chain {} of this gateway up to sequence {} ({what}), and the gateway goes on with another one, {} after sequence {}: its trail \
             was removed and begun anew, or an older one was put back, or two gateways have the name {:?} and share the witness. `lockgate audit \
             verify --witness` says more",
            named.chain, named.sequence, self.chain, self.last.sequence, self.server
        )))
    }

    /// The newest that was witnessed of the chain that goes on.
    async fn own_chain(
        &self,
        archive: &Arc<dyn Archive>,
        (named, name): &(Named, String),
    ) -> io::Result<Option<String>> {
        let (seen, last) = (named.sequence, self.last.sequence);
        if seen > last {
            let what = self.describe(archive, named, name).await?;
            return Ok(Some(format!(
                "saw sequence {seen} of the chain {} ({what}), and the trail goes on after sequence {last}: {} events at least are missing. While the \
                 gateway was down, the end was cut off or an older copy of everything was put back, or the machine lost what was written last. \
                 `lockgate audit verify --witness` says more",
                named.chain,
                seen - last
            )));
        }
        let Some(at) = self.line_of(seen).await.filter(|at| !named.fits(*at)) else { return Ok(None) };
        let what = self.describe(archive, named, name).await?;
        Ok(Some(format!(
            "saw another line as sequence {seen} of the chain {} ({what}) than the trail has there ({}): an older copy was put back and the trail went on \
             from it, or the line was changed. `lockgate audit verify --witness` says more",
            named.chain, at.hash
        )))
    }

    /// When what is named was signed, and whether it was this trail's key that did it.
    async fn describe(&self, archive: &Arc<dyn Archive>, named: &Named, name: &str) -> io::Result<String> {
        let line = match archive.get(name, MAX_OBJECT).await {
            Ok(line) => line,
            // Its name says it all, and under a lock nobody else can have given it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(format!("{name}, which was deleted or hidden since"));
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(format!("{name}, which is no checkpoint: somebody else wrote it"));
            }
            Err(error) => return Err(error),
        };
        let seal = Seal::read(&line).filter(|seal| seal.chain == named.chain && named.fits(seal.at));
        Ok(match seal {
            None => format!("{name}, which is no checkpoint of this name: somebody else wrote it"),
            Some(seal) => {
                let time = seal.time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                match seal.check(&line, &self.keys) {
                    Ok(()) => format!("signed at {time}"),
                    Err(why) => format!("of {time}, which {why}"),
                }
            }
        })
    }

    /// The line with this number in the chain that goes on; `None` when no file has it, or none says.
    pub(super) async fn line_of(&self, sequence: u64) -> Option<Position> {
        if sequence == self.last.sequence {
            return Some(self.last);
        }
        let (files, last) = (self.files.clone(), self.last);
        let looking = tokio::task::spawn_blocking(move || files.iter().find_map(|file| line_in(file, last, sequence)));
        looking.await.ok()?
    }
}

/// The line with this number, going back from `last`.
fn line_in(file: &Path, last: Position, sequence: u64) -> Option<Position> {
    let reader = Back { last: last.sequence, at: None, sequence, is_over: false };
    let found = newest(file, &Page::newest(1, FOUND_WITHIN), reader).ok()?;
    found.found.into_iter().next()
}

/// Goes back line by line, as far as they are of one chain.
struct Back {
    last: u64,
    /// The number of the line that was looked at before, from `last` on.
    at: Option<u64>,
    sequence: u64,
    is_over: bool,
}

impl Reader for Back {
    type Taken = Position;

    fn take(&mut self, line: &[u8]) -> Option<Position> {
        let at = place_of(line)?;
        // What this process has written since.
        if self.at.is_none() && at.sequence > self.last {
            return None;
        }
        // Before the first line of a chain there may be the last one of another.
        self.is_over = self.at.is_some_and(|before| at.sequence >= before) || at.sequence <= self.sequence;
        let is_of_chain = self.at.replace(at.sequence).is_none_or(|before| at.sequence < before);
        (is_of_chain && at.sequence == self.sequence).then_some(at)
    }

    fn has_enough(&self, _: &str) -> bool {
        self.is_over
    }
}
