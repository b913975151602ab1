//! `scp -f`: files from the store to the client.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::command::Options;
use super::entries::Entries;
use super::glob::PathPattern;
use super::input::{Input, Line, Purpose};
use super::matches::{Found, Matches};
use super::wire::{self, Severity};
use super::words::Word;
use super::{Ended, MAX_DEPTH, Stopped};
use crate::path::LogicalPath;
use crate::session::channel::{Incoming, Outgoing};
use crate::session::{
    Attempt, AttributeChange, Attributes, ErrorKind, Kind, Name, OpenMode, Session, SessionError, SessionResult,
    StoreErrorKind, Transfer,
};

/// Bytes that are read at once; the next ones are read while these are sent.
const PIECE: usize = 256 * 1024;

/// Sent instead of bytes that could not be read.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// How long a client that does not read is waited for to tell it why its channel ends, and how long one that has ended keeps us busy.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The name of the home where a directory needs one and the user's does not serve.
const HOME: &str = "home";

/// Sends until everything is sent, and the client confirmed it, or the client ends.
pub(super) async fn serve(
    session: &Session,
    options: Options,
    sources: &[Word],
    incoming: impl Incoming,
    outgoing: impl Outgoing,
) -> Ended {
    let input = Input::start(incoming, Purpose::Sending);
    let mut source = Source { session, options, input, outgoing, failed: false };
    let ended = source.send_all(sources).await;
    if source.input.is_flooded() {
        // In the middle of a file there is no place for a record.
        let why = Bytes::from_static(b"scp: the client sent more than answers while files were sent to it\n");
        let _ = tokio::time::timeout(LAST_WORDS, source.outgoing.send_error(why)).await;
        return Ended::Flooded;
    }
    if ended.is_ok() && !source.failed { Ended::Complete } else { Ended::Incomplete }
}

/// OpenSSH's words for a directory without `-r`.
const NOT_A_FILE: &str = "not a regular file";

/// Why a file is not known to be with the client.
const LOST: &str = "the connection was lost before the client confirmed the file";

/// What became of a file that was sent.
enum Outcome {
    /// The client has it.
    Taken,
    /// The client has not got it as it is, for this reason.
    NotTaken(String),
}

/// What a client says to a record or to a file's bytes.
enum Answer {
    Accepted,
    Refused,
    /// Nothing: it has ended its half of the channel, or closed it.
    Ended,
    /// Nothing: its connection was lost.
    Lost,
}

/// The conversation of a source.
struct Source<'a, O> {
    session: &'a Session,
    options: Options,
    input: Input,
    outgoing: O,
    /// Something was not sent, or the client could not take it.
    failed: bool,
}

impl<O: Outgoing> Source<'_, O> {
    async fn send_all(&mut self, sources: &[Word]) -> Result<(), Stopped> {
        // The client starts; what it says does not matter.
        self.accepted().await?;
        for source in sources {
            if !self.send_matches(source).await? {
                self.send_named(&source.text()).await?;
            }
        }
        Ok(())
    }

    /// Sends what a pattern stands for. Whether the source is a pattern and stands for something; a shell would leave it as
    /// it is otherwise.
    async fn send_matches(&mut self, source: &Word) -> Result<bool, Stopped> {
        let Some(pattern) = PathPattern::of(source) else { return Ok(false) };
        let mut matches = Matches::of(self.session, pattern);
        let mut any = false;
        loop {
            // A pattern can be compared with names for long without a match: not for a client that has gone. One that has ended
            // after its last answer still gets its exit status.
            let gone = async {
                self.input.ended().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let found = tokio::select! {
                found = matches.next() => found,
                () = gone => return Err(Stopped),
            };
            let Some(found) = found else { break };
            any = true;
            match found {
                Found::Match(path, attributes) => {
                    let shown = path.to_string();
                    self.send_path(path, Some(attributes), &shown).await?;
                }
                Found::Error(path, error) => self.report(path.as_str(), &error).await?,
            }
        }
        Ok(any)
    }

    /// Sends the file or directory of that name.
    async fn send_named(&mut self, name: &str) -> Result<(), Stopped> {
        let path = match LogicalPath::parse_str(name) {
            Ok(path) => path,
            Err(why) => {
                let attempt =
                    Attempt::Open(Name::wrong(name.as_bytes()), OpenMode { read: true, ..OpenMode::default() });
                let error = self.session.refuse_name(attempt, why).await;
                return self.warn(&format!("{name}: {}", wire::answer_to_name(error.kind, why))).await;
            }
        };
        let shown = if name.is_empty() { "/" } else { name };
        let attributes = match self.options.recursive {
            // Whatever is wrong with the path, opening it says so and records it.
            true => self.session.stat(&path).await.ok(),
            false => None,
        };
        self.send_path(path, attributes, shown).await
    }

    /// Sends a file or a tree; without attributes it is taken for a file.
    async fn send_path(
        &mut self,
        path: LogicalPath,
        attributes: Option<Attributes>,
        shown: &str,
    ) -> Result<(), Stopped> {
        match attributes {
            Some(attributes) if attributes.kind == Kind::Directory => match self.options.recursive {
                true => self.send_tree(path, &attributes).await,
                false => self.warn(&format!("{shown}: {NOT_A_FILE}")).await,
            },
            _ => self.send_file(&path, shown).await,
        }
    }

    async fn send_file(&mut self, path: &LogicalPath, shown: &str) -> Result<(), Stopped> {
        let open = OpenMode { read: true, ..OpenMode::default() };
        let mut transfer = match self.session.open(path, open, &AttributeChange::default()).await {
            Ok(transfer) => transfer,
            Err(error) if error.kind == ErrorKind::Store(StoreErrorKind::IsADirectory) => {
                return self.warn(&format!("{shown}: {NOT_A_FILE}")).await;
            }
            Err(error) => return self.report(shown, &error).await,
        };
        match self.send_open(&mut transfer, shown).await {
            // Where the client waits for the next record, a warning fits as well.
            Ok(Outcome::Taken) => match transfer.close().await {
                Ok(()) => Ok(()),
                Err(error) => self.report(shown, &error).await,
            },
            Ok(Outcome::NotTaken(why)) => {
                transfer.cut_off(&why).await;
                Ok(())
            }
            Err(Stopped) => {
                let why = if self.input.is_cut() { LOST } else { "the client did not take the file to its end" };
                transfer.cut_off(why).await;
                Err(Stopped)
            }
        }
    }

    /// Sends an open file: times, record, bytes, status.
    async fn send_open(&mut self, transfer: &mut Transfer, shown: &str) -> Result<Outcome, Stopped> {
        let attributes = transfer.attributes();
        let record = wire::file(attributes.mode, attributes.size, transfer.path().name().unwrap_or(HOME));
        if !self.send_times(attributes.mtime).await? || !self.send_record(record).await? {
            return Ok(Outcome::NotTaken("the client refused the file".into()));
        }
        let content = self.send_content(transfer, attributes.size).await?;
        match &content {
            Ok(()) => self.send(wire::OK).await?,
            Err(error) => self.report(shown, error).await?,
        }
        let answer = self.answer().await?;
        match (content, answer) {
            (Err(error), _) => Ok(Outcome::NotTaken(format!("it could not be read to its end: {}", error.chain()))),
            (Ok(()), Answer::Refused) => Ok(Outcome::NotTaken("the client could not store the file".into())),
            // libssh2 (curl) closes the channel without an answer when it has all bytes.
            (Ok(()), Answer::Accepted | Answer::Ended) => Ok(Outcome::Taken),
            // What was sent may have come no further than the buffers of this machine.
            (Ok(()), Answer::Lost) => Err(Stopped),
        }
    }

    /// Sends exactly `size` bytes, whatever happens: the client counts them. The inner error says why they are not the file's.
    async fn send_content(&mut self, transfer: &mut Transfer, size: u64) -> Result<SessionResult<()>, Stopped> {
        let mut sent = 0;
        let mut next = read_piece(transfer, 0, size).await;
        while sent < size {
            let piece = match next {
                Ok(piece) => piece,
                Err(error) => {
                    self.send_zeros(size - sent).await?;
                    return Ok(Err(error));
                }
            };
            sent += piece.len() as u64;
            let (sending, reading) = tokio::join!(self.send(piece), read_piece(transfer, sent, size));
            sending?;
            next = reading;
        }
        Ok(Ok(()))
    }

    async fn send_zeros(&mut self, mut count: u64) -> Result<(), Stopped> {
        while count > 0 {
            let length = ZEROS.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.send(Bytes::from_static(&ZEROS[..length])).await?;
            count -= length as u64;
        }
        Ok(())
    }

    /// Sends a directory and all that lies below it, in the order of the listings.
    async fn send_tree(&mut self, root: LogicalPath, attributes: &Attributes) -> Result<(), Stopped> {
        let mut levels = Vec::new();
        self.enter(&mut levels, root, attributes).await?;
        while let Some(level) = levels.last_mut() {
            let path = level.path().clone();
            match level.next().await {
                Ok(Some((name, attributes))) => match (path.join(&name), attributes.kind) {
                    (Ok(path), Kind::Directory) => self.enter(&mut levels, path, &attributes).await?,
                    (Ok(path), Kind::File) => self.send_file(&path, path.as_str()).await?,
                    (Err(error), _) => self.warn(&format!("{path}/{name}: {error}")).await?,
                },
                ended => {
                    let left_out = level.left_out();
                    if left_out > 0 {
                        self.warn(&format!("{path}: {left_out} names cannot be sent and were left out")).await?;
                    }
                    if let Err(error) = ended {
                        self.report(path.as_str(), &error).await?;
                    }
                    levels.pop();
                    self.send_record(wire::END).await?;
                }
            }
        }
        Ok(())
    }

    /// Starts a directory, unless it cannot be listed or the client does not want it.
    async fn enter(
        &mut self,
        levels: &mut Vec<Entries>,
        path: LogicalPath,
        attributes: &Attributes,
    ) -> Result<(), Stopped> {
        if levels.len() >= MAX_DEPTH {
            return self.warn(&format!("{path}: more than {MAX_DEPTH} directories below each other")).await;
        }
        let entries = match Entries::open(self.session, &path).await {
            Ok(entries) => entries,
            Err(error) => return self.report(path.as_str(), &error).await,
        };
        let record = wire::directory(attributes.mode, self.name_of(&path));
        // 1970 says that the time is not known: the client's directory keeps its own.
        let known = attributes.mtime.filter(|mtime| *mtime != SystemTime::UNIX_EPOCH);
        if self.send_times(known).await? && self.send_record(record).await? {
            levels.push(entries);
        }
        Ok(())
    }

    /// The last component. The home has none, and a client takes neither an empty name nor `.`, so it goes by its user's.
    fn name_of<'p>(&'p self, path: &'p LogicalPath) -> &'p str {
        path.name().unwrap_or_else(|| match LogicalPath::root().join(self.session.user()) {
            Ok(_) => self.session.user(),
            Err(_) => HOME,
        })
    }

    /// With `-p`, sends the times, where they are known. Whether the client goes on.
    async fn send_times(&mut self, mtime: Option<SystemTime>) -> Result<bool, Stopped> {
        match mtime {
            Some(mtime) if self.options.preserve => self.send_record(wire::times(mtime)).await,
            _ => Ok(true),
        }
    }

    /// Sends a record. Whether the client accepts it.
    async fn send_record(&mut self, record: Bytes) -> Result<bool, Stopped> {
        self.send(record).await?;
        self.accepted().await
    }

    /// Reads an answer: whether all is well.
    async fn accepted(&mut self) -> Result<bool, Stopped> {
        match self.answer().await? {
            Answer::Accepted => Ok(true),
            Answer::Refused => Ok(false),
            Answer::Ended | Answer::Lost => Err(Stopped),
        }
    }

    async fn answer(&mut self) -> Result<Answer, Stopped> {
        match self.input.byte().await {
            Some(0) => Ok(Answer::Accepted),
            // The client tells its person what is wrong.
            Some(1) => match self.input.line().await {
                Line::Whole(_) => {
                    self.failed = true;
                    Ok(Answer::Refused)
                }
                Line::TooLong | Line::End | Line::Cut => Err(Stopped),
            },
            Some(2) => Err(Stopped),
            None if self.input.is_flooded() => Err(Stopped),
            None if self.input.is_cut() => Ok(Answer::Lost),
            None => Ok(Answer::Ended),
            Some(_) => {
                self.send(wire::message(Severity::Fatal, "protocol error: expected an answer")).await?;
                Err(Stopped)
            }
        }
    }

    async fn report(&mut self, shown: &str, error: &SessionError) -> Result<(), Stopped> {
        match wire::answer(error.kind) {
            (Severity::Warning, text) => self.warn(&format!("{shown}: {text}")).await,
            (Severity::Fatal, text) => {
                self.send(wire::message(Severity::Fatal, &format!("{shown}: {text}"))).await?;
                Err(Stopped)
            }
        }
    }

    async fn warn(&mut self, text: &str) -> Result<(), Stopped> {
        self.failed = true;
        self.send(wire::message(Severity::Warning, text)).await
    }

    /// Sends bytes; gives up when the client goes, or floods instead of reading.
    async fn send(&mut self, data: Bytes) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.input.flooded() => Err(Stopped),
            sent = self.outgoing.send(data) => sent.map_err(|_| Stopped),
        }
    }
}

/// The next piece of a file of `size` bytes; empty only at its end.
async fn read_piece(transfer: &mut Transfer, offset: u64, size: u64) -> SessionResult<Bytes> {
    let length = PIECE.min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
    if length == 0 {
        return Ok(Bytes::new());
    }
    let mut piece = transfer.read_at(offset, length).await?;
    if piece.is_empty() {
        let shorter = format!("{}: shorter than it was", transfer.path());
        return Err(SessionError::new(ErrorKind::Store(StoreErrorKind::Changed), shorter));
    }
    piece.truncate(length);
    Ok(piece)
}
