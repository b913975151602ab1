//! Reading a trail: from files, folders, a stream or a store's folder to its lines, in the order in which they were written.
//!
//! Nothing that is read is trusted: a line and an object have a largest size, and what does not read as gzip to its end is said
//! ([`Item::Broken`]) and ends that part only. What a line says is judged by the reader's caller.

mod by_others;
mod event;
mod files;
pub mod follow;
mod lines;
mod members;
pub mod newest;
mod objects;
mod parts;
mod span;
pub mod within;

pub use event::{Event, shown, shown_json};
pub use files::FileError;
pub(in crate::audit) use files::Files;
pub(in crate::audit) use members::Packer;
pub(in crate::audit) use newest::rotated_of;
pub use parts::Parts;
pub use span::Span;

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::Archive;
use lines::{LineReader, Raw};
use objects::Objects;

/// Bytes of the buffer between a file and its lines.
const BUFFER: usize = 256 * 1024;

/// Where lines come from.
pub enum Source {
    /// Files, in the order in which they are read: [`Parts::find`] finds it.
    Files(Parts),
    /// A stream, and how messages name it.
    Stream(String, Box<dyn Read + Send>),
    /// A store's folder.
    Archive(Arc<dyn Archive>),
}

/// A trail that is being read.
pub struct Trail {
    runtime: Option<Handle>,
    span: Span,
    waiting: std::vec::IntoIter<Source>,
    current: Current,
    lines: Option<LineReader>,
    is_batch: bool,
    names: Vec<Arc<str>>,
    bytes: u64,
    reading: Arc<Reading>,
}

/// How far the reading of a trail is, for whoever watches it.
#[derive(Debug, Default)]
pub struct Reading {
    taken: AtomicU64,
    total: Option<u64>,
}

impl Reading {
    /// Bytes that were taken from the sources: of files as they are on the disk, compressed or not.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many there were at the beginning; `None` where a source does not say.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

/// A stream of which is counted what is taken.
struct Counted {
    stream: Box<dyn Read + Send>,
    reading: Arc<Reading>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.reading.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A stream, and how messages name it.
type Named = (String, Box<dyn Read + Send>);

/// The source that is being read.
enum Current {
    None,
    Files(Parts),
    Objects(Objects),
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file or object: [`Trail::name`].
    pub part: usize,
    /// The line, from 1.
    pub line: u64,
    /// How many bytes of the part stand before it (of the content, when the part is compressed).
    pub offset: u64,
}

/// What stands in a trail.
#[derive(Debug)]
pub enum Item<'a> {
    /// A line, without its newline.
    Line {
        /// Its bytes.
        bytes: &'a [u8],
        /// Where it stands.
        place: Place,
        /// Whether it is of a store's batch (`…/year=…/month=…/day=…/hour=…/`): names put those in an order that is nearly, not
        /// always, that of their writing.
        is_batch: bool,
    },
    /// A line of more bytes than an event can have; what it says is not read.
    TooLong {
        /// Where it stands.
        place: Place,
    },
    /// The rest of the part cannot be unpacked.
    Broken {
        /// Where it stops.
        place: Place,
        /// Why.
        reason: String,
    },
}

/// A source cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be read: {error}")]
pub struct ReadError {
    /// Which file, folder or object.
    pub name: String,
    /// Why; the sentence holds it, so it is not a source that is printed once more.
    pub error: io::Error,
}

impl ReadError {
    fn new(name: impl Into<String>, error: io::Error) -> Self {
        ReadError { name: name.into(), error }
    }
}

impl Trail {
    /// Reads `sources` one after the other. What by its name holds nothing of `span` is left out. `runtime` is where the
    /// objects of an [`Archive`] are fetched; without one, an archive is an error.
    pub fn new(sources: Vec<Source>, span: Span, runtime: Option<Handle>) -> Self {
        let reading = Arc::new(Reading { taken: AtomicU64::new(0), total: total(&sources, span) });
        let (waiting, current) = (sources.into_iter(), Current::None);
        Trail { runtime, span, waiting, current, lines: None, is_batch: false, names: Vec::new(), bytes: 0, reading }
    }

    /// How far the reading is, now and later.
    pub fn reading(&self) -> Arc<Reading> {
        self.reading.clone()
    }

    /// How messages name a part.
    pub fn name(&self, part: usize) -> &str {
        self.names.get(part).map_or("", |name| name)
    }

    /// The names of the files and objects that were opened so far, by [`Place::part`].
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// How many bytes of lines were read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` after the last.
    ///
    /// # Errors
    /// A source that cannot be opened or read.
    pub fn advance(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        loop {
            if self.lines.is_none() {
                match self.next_part()? {
                    Some(reader) => self.lines = Some(reader),
                    None => return Ok(None),
                }
            }
            let part = self.names.len().saturating_sub(1);
            let Some(lines) = &mut self.lines else { continue };
            let place = Place { part, line: lines.number() + 1, offset: lines.offset() };
            match lines.advance() {
                Ok(Raw::End) => self.lines = None,
                Ok(Raw::TooLong) => return Ok(Some(Item::TooLong { place })),
                Ok(Raw::Line) => {
                    let bytes = self.lines.as_ref().map_or(&[][..], LineReader::line);
                    self.bytes += bytes.len() as u64 + 1;
                    return Ok(Some(Item::Line { bytes, place, is_batch: self.is_batch }));
                }
                Err(error) if is_of_content(&error) => {
                    self.lines = None;
                    return Ok(Some(Item::Broken { place, reason: error.to_string() }));
                }
                Err(error) => return Err(ReadError::new(self.name(part), error)),
            }
        }
    }

    fn next_part(&mut self) -> Result<Option<LineReader>, ReadError> {
        loop {
            let (name, stream): Named = match &mut self.current {
                Current::None => {
                    let Some(source) = self.waiting.next() else { return Ok(None) };
                    let Some(stream) = self.enter(source)? else { continue };
                    stream
                }
                Current::Files(parts) => match parts.next() {
                    Some(Ok((path, file))) => (path.display().to_string(), Box::new(file)),
                    Some(Err((path, error))) => return Err(ReadError::new(path.display().to_string(), error)),
                    None => {
                        self.current = Current::None;
                        continue;
                    }
                },
                Current::Objects(objects) => match objects.next() {
                    Some(Ok((name, content))) => (name, Box::new(io::Cursor::new(content))),
                    Some(Err((name, error))) => return Err(ReadError::new(name, error)),
                    None => {
                        self.current = Current::None;
                        continue;
                    }
                },
            };
            let stream = Counted { stream, reading: self.reading.clone() };
            let reader = LineReader::new(BufReader::with_capacity(BUFFER, Box::new(stream)));
            let reader = reader.map_err(|error| ReadError::new(name.clone(), error))?;
            self.is_batch = span::hour_of(&name).is_some();
            self.names.push(name.into());
            return Ok(Some(reader));
        }
    }

    /// Begins a source; a stream is its own only part.
    fn enter(&mut self, source: Source) -> Result<Option<Named>, ReadError> {
        match source {
            Source::Stream(name, stream) => return Ok(Some((name, stream))),
            Source::Files(parts) => self.current = Current::Files(parts.within(self.span)),
            Source::Archive(archive) => {
                let name = archive.describe();
                let runtime = self.runtime.clone().ok_or_else(|| {
                    ReadError::new(name.clone(), io::Error::other("objects are not fetched from here"))
                })?;
                let objects = Objects::start(&runtime, archive, self.span);
                self.current = Current::Objects(objects.map_err(|error| ReadError::new(name, error))?);
            }
        }
        Ok(None)
    }
}

/// The bytes of all files that will be read.
fn total(sources: &[Source], span: Span) -> Option<u64> {
    let bytes = |source: &Source| if let Source::Files(parts) = source { Some(parts.bytes(span)) } else { None };
    sources.iter().map(bytes).sum()
}

/// Whether the content is at fault, not the reading of it.
fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof)
}
