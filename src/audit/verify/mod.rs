//! Whether a trail is whole: every line follows the one before it, and checkpoints are signed.
//!
//! Chains are told apart by what their lines follow: a line belongs to the chain whose last line has the hash that it names. So
//! several servers may share a file, and the objects of two chains may be read in turns. What follows nothing is judged by its
//! server and its number: it is the first line of a chain, or what comes after a kill, or something is wrong before it or with
//! it. The words are those of [`chain`](crate::audit::chain).

mod chains;
mod checkpoint;
mod finding;
mod keys;
mod live;
mod locks;
mod misfits;
mod range;
mod reach;
mod report;
mod seal;
mod tail;
mod witness;
mod witness_report;
mod witnessed;

pub use chains::{ChainReport, Cut};
pub use finding::{Finding, Kind};
pub use keys::PublicKey;
pub use live::{Far, Upkeep, predecessors, verify_live};
pub use locks::{LockReport, look_at_locks};
pub use range::{Anchor, Extent};
pub use report::Report;
pub(super) use seal::{Named, Seal, place_of};
pub use witness_report::{Newest, WitnessFinding, WitnessKind, WitnessReport};
pub use witnessed::Witnessed;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Noted;
use super::chain::{Hash, Position};
use super::read::{Event, Item, Place, ReadError, Span, Trail};
use super::succession::{self, Endorsement};
use chains::Chain;
use checkpoint::{Checkpoint, Reason};
use finding::Findings;
use keys::{Ring, Signature};
use reach::Time;
use tail::Tail;
use witness::Witnesses;

/// How many chains one reading follows.
const MAX_CHAINS: usize = 10_000;

/// How many lines in a row may break off before that is wrong in any case.
const MAX_TORN: usize = 32;

/// What is asked of a trail.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The keys of checkpoints; without any, signatures are not checked.
    pub keys: Vec<PublicKey>,
    /// What the folder of the chain says about keys that follow these: a checkpoint shows only the newest endorsements.
    pub endorsed: Endorsed,
    /// The sources hold the whole trail: each chain must begin with its first line, and end in order or where `noted` says.
    pub whole: bool,
    /// What the gateway itself knows of its chain, read before the trail: the trail goes at least as far.
    pub noted: Option<Noted>,
    /// The sink had a filter: lines may be missing, not changed, moved or added.
    pub filtered: bool,
    /// The range of time that is asked about; findings beside it do not count.
    pub span: Span,
    /// What the witness holds, read before the trail.
    pub witness: Option<Witnessed>,
    /// Gateways of which there ought to be lines; with a witness, that there are none is a finding.
    pub servers: Vec<String>,
}

/// The endorsements of an audit folder.
#[derive(Debug, Clone, Default)]
pub struct Endorsed(Vec<Endorsement>);

impl Endorsed {
    /// Those of a folder; none if its key was never changed.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Endorsed, String> {
        succession::all_in(folder).map(Endorsed)
    }
}

/// Reads a trail to its end and judges it. `progress` is called now and then.
///
/// # Errors
/// A source that cannot be read, or more chains than can be followed.
pub fn verify(trail: &mut Trail, options: Options, mut progress: impl FnMut(&Trail)) -> Result<Report, ReadError> {
    let mut verifier = Verifier::new(options);
    let mut lines = 0_u64;
    while let Some(item) = trail.advance()? {
        (verifier.findings.at, verifier.findings.chain) = (lines, None);
        match item {
            Item::Line { bytes, place, is_batch } => verifier.line(bytes, place, is_batch),
            Item::TooLong { place } => {
                verifier.not_a_line(Kind::Foreign, place, "a line longer than an event can be".into())
            }
            Item::Broken { place, reason } => verifier.not_a_line(Kind::Broken, place, reason),
        }
        lines += 1;
        if lines.is_multiple_of(1 << 16) {
            progress(trail);
        }
    }
    Ok(verifier.finish(lines, trail))
}

/// Follows chains line by line.
#[derive(Debug)]
struct Verifier {
    options: Options,
    /// The keys that are accepted by now.
    ring: Ring,
    chains: Vec<Chain>,
    /// The chain of the last line.
    current: usize,
    /// The latest chain of each server.
    of_server: HashMap<String, usize>,
    /// First lines of chains that were begun.
    starts: HashSet<Hash>,
    /// Lines that break off, until the next line says whether that is in order.
    torn: Vec<Torn>,
    /// Lines that broke off and were written again, whole, right behind.
    written_again: u64,
    /// The last line that belonged nowhere, and its finding: what follows it belongs to the same.
    stray: Option<(Hash, Option<usize>)>,
    findings: Findings,
    /// The line that [`Options::noted`] names was read.
    reached: bool,
    witnesses: Option<Witnesses>,
}

/// A line that breaks off.
#[derive(Debug)]
struct Torn {
    place: Place,
    bytes: Vec<u8>,
}

/// A line with what its end says.
struct Line<'a> {
    bytes: &'a [u8],
    place: Place,
    is_batch: bool,
    tail: Tail,
    hash: Hash,
    time: Option<Time>,
    checkpoint: Option<Checkpoint>,
    signature: Signature,
}

impl Line<'_> {
    fn at(&self) -> Position {
        Position { sequence: self.tail.sequence, hash: self.hash }
    }
}

impl Verifier {
    fn new(mut options: Options) -> Self {
        let witnesses = options.witness.take().map(Witnesses::of);
        let mut ring = Ring::of(&options.keys);
        ring.follow(&options.endorsed.0);
        Verifier {
            ring,
            options,
            chains: Vec::new(),
            current: 0,
            of_server: HashMap::new(),
            starts: HashSet::new(),
            torn: Vec::new(),
            written_again: 0,
            stray: None,
            findings: Findings::default(),
            reached: false,
            witnesses,
        }
    }

    fn line(&mut self, bytes: &[u8], place: Place, is_batch: bool) {
        let Some(tail) = Tail::of(bytes) else { return self.foreign(bytes, place) };
        let (hash, signature) = (Hash::of_line(bytes), Signature::NotChecked);
        let time = reach::time_of(bytes);
        let mut line = Line { bytes, place, is_batch, tail, hash, time, checkpoint: None, signature };
        let checkpoint = Checkpoint::of(bytes);
        if let Some(Ok(checkpoint)) = &checkpoint {
            line.signature = self.ring.check(checkpoint, bytes, tail.sequence);
        }
        let unreadable = checkpoint.as_ref().and_then(|read| read.as_ref().err().map(ToString::to_string));
        line.checkpoint = checkpoint.and_then(Result::ok);
        self.reached |= self.options.noted.as_ref().is_some_and(|noted| noted.acknowledged == line.at());
        self.take_line(&line);
        if time.is_none() {
            let what = "its time cannot be read; every line of a gateway has one".to_owned();
            self.find(Kind::Time, place, Some(tail.sequence), what);
        }
        if let Some(error) = unreadable {
            self.find(
                Kind::Checkpoint,
                place,
                Some(tail.sequence),
                format!("a checkpoint that cannot be read: {error}"),
            );
        }
    }

    /// Puts a line into its chain.
    fn take_line(&mut self, line: &Line<'_>) {
        let before = self.chain_before(line.tail.previous);
        if before.is_some() || !self.is_cut(line) {
            self.take_written_again(line);
            self.report_torn();
            match before {
                Some(chain) => self.follow(chain, line),
                None if line.tail.sequence == 1 && line.tail.previous == Hash::START => self.begin_first(line),
                None => self.misfit(line),
            }
        }
        let taken = self.chains.get_mut(self.current).filter(|chain| chain.at.hash == line.hash);
        let (Some(chain), ordinal) = (taken, self.findings.at) else { return };
        chain.extent.follow(self.options.span, line, ordinal);
        if let (Some(witnesses), Some(_)) = (&mut self.witnesses, &line.checkpoint) {
            witnesses.meet(line.hash);
        }
    }

    /// The chain whose last line has this hash.
    fn chain_before(&mut self, previous: Hash) -> Option<usize> {
        let fits = |chain: &Chain| chain.at.hash == previous;
        if self.chains.get(self.current).is_some_and(fits) {
            return Some(self.current);
        }
        self.chains.iter().rposition(fits)
    }

    /// The line follows the last one of `chain`.
    fn follow(&mut self, chain: usize, line: &Line<'_>) {
        self.current = chain;
        self.findings.chain = Some(chain);
        self.stray = None;
        let Some(known) = self.chains.get_mut(chain) else { return };
        let (mut at, expected) = (line.at(), known.at.sequence.saturating_add(1));
        at.sequence = expected;
        known.advance(at, line);
        // Files have a server's chains one after the other; the batches of two may be listed in turns.
        let newest = self.of_server.get(&known.server).copied().filter(|newest| *newest > chain);
        let is_late = |newest: &Chain| !line.is_batch || newest.first_place.part == line.place.part;
        if newest.and_then(|newest| self.chains.get(newest)).is_some_and(is_late) {
            let what = "a line of a chain of this server after the beginning of the next one".to_owned();
            self.find(Kind::Misplaced, line.place, Some(line.tail.sequence), what);
        }
        if line.tail.sequence != expected {
            let what = format!(
                "expected is sequence {expected}, which follows the line before; it says {}",
                line.tail.sequence
            );
            self.find(Kind::Misnumbered, line.place, Some(line.tail.sequence), what);
        }
        self.note_kill(chain, line);
        self.judge_checkpoint(chain, line);
    }

    /// A process was killed, and everything that it wrote is there.
    fn note_kill(&mut self, chain: usize, line: &Line<'_>) {
        if line.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.after_kill().is_some())
            && let Some(chain) = self.chains.get_mut(chain)
        {
            chain.kills += 1;
        }
    }

    /// Number 1, after nothing.
    fn begin_first(&mut self, line: &Line<'_>) {
        let Some(event) = self.event_of(line) else { return };
        let reason = line.checkpoint.as_ref().map(|checkpoint| checkpoint.reason);
        if self.starts.contains(&line.hash) {
            return self.misplaced(line, "the first line of a chain, which was read already");
        }
        if self.chains.iter().any(|chain| chain.first_previous == line.hash) {
            return self.misplaced(line, "the first line of a chain, after its second");
        }
        if !self.options.keys.is_empty() && reason != Some(Reason::Start) {
            let what = "expected is a signed checkpoint as the first line of a chain; it is something else".to_owned();
            self.find(Kind::Signature, line.place, Some(1), what);
        }
        self.begin(line, &event);
        self.starts.insert(line.hash);
    }

    fn begin(&mut self, line: &Line<'_>, event: &Event) {
        if self.chains.len() >= MAX_CHAINS {
            let what = format!("the beginning of one more chain than the {MAX_CHAINS} that are followed");
            return self.misplaced(line, &what);
        }
        self.stray = None;
        self.current = self.chains.len();
        self.findings.chain = Some(self.current);
        let chain = Chain::begin(line, event);
        self.of_server.insert(chain.server.clone(), self.current);
        self.chains.push(chain);
        self.judge_checkpoint(self.current, line);
    }

    /// What is read between two lines and is no line of a chain.
    fn foreign(&mut self, bytes: &[u8], place: Place) {
        let begins = bytes.starts_with(b"{\"") || bytes == b"{";
        let breaks_off =
            begins && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err_and(|error| error.is_eof());
        if breaks_off {
            if self.torn.len() >= MAX_TORN {
                self.report_torn();
            }
            return self.torn.push(Torn { place, bytes: bytes.to_owned() });
        }
        self.not_a_line(Kind::Foreign, place, "not a line of a chain: it does not end in sequence and previous".into());
    }

    fn not_a_line(&mut self, kind: Kind, place: Place, what: String) {
        self.report_torn();
        self.find(kind, place, None, what);
    }

    /// A sink that cannot go on in one file writes a line that it has begun there anew in the next.
    fn take_written_again(&mut self, line: &Line<'_>) {
        if self.torn.last().is_some_and(|torn| line.bytes.starts_with(&torn.bytes)) {
            self.torn.pop();
            self.written_again += 1;
        }
    }

    /// Lines that break off with no kill to explain it.
    fn report_torn(&mut self) {
        for torn in std::mem::take(&mut self.torn) {
            self.find(Kind::Torn, torn.place, None, "a line that breaks off, where no process was killed".into());
        }
    }

    fn find(&mut self, kind: Kind, place: Place, sequence: Option<u64>, what: String) -> Option<usize> {
        self.findings.add(Finding { kind, place, sequence, what, lines: 1 })
    }
}
