//! `scp -t`: files from the client to the store.

use std::time::{Duration, SystemTime};

use super::answers::Answers;
use super::command::Options;
use super::input::{Input, Line, Purpose};
use super::record::Record;
use super::wire::{self, Severity};
use super::{Ended, MAX_DEPTH, Stopped};
use crate::path::{LogicalPath, PathError};
use crate::session::channel::{Incoming, Outgoing};
use crate::session::{
    Attempt, AttributeChange, ErrorKind, Kind, Name, OpenMode, Session, SessionError, StoreErrorKind, Transfer,
};

/// How long a client that was told of a fatal error may take to end. PuTTY's pscp does not show the error when the channel's end comes
/// together with it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Receives until the client ends.
pub(super) async fn serve(
    session: &Session,
    options: Options,
    target: &str,
    incoming: impl Incoming,
    outgoing: impl Outgoing,
) -> Ended {
    let input = Input::start(incoming, Purpose::Receiving);
    let answers = Answers::start(outgoing);
    let mut sink = Sink { session, options, input, answers, levels: Vec::new(), failed: false, gave_up: false };
    let ended = sink.receive(target).await;
    if sink.gave_up {
        sink.input.await_end(FAREWELL).await;
    }
    sink.input.discard();
    let flooded = sink.answers.are_left();
    sink.answers.finish().await;
    match (flooded, ended) {
        (true, _) => Ended::Flooded,
        (false, Ok(())) if !sink.failed => Ended::Complete,
        (false, _) => Ended::Incomplete,
    }
}

/// The conversation of a sink.
struct Sink<'a> {
    session: &'a Session,
    options: Options,
    input: Input,
    answers: Answers,
    /// The target, and below it the directories whose `E` has not come.
    levels: Vec<Level>,
    /// Something was not stored, or not as it should be.
    failed: bool,
    /// The client was told of a fatal error.
    gave_up: bool,
}

/// Where the next record's file or directory goes.
struct Level {
    path: LogicalPath,
    place: Place,
    /// From the `T` record before this directory's own; set when it ends.
    own_mtime: Option<SystemTime>,
    /// From the last `T` record; for the next file or directory.
    next_mtime: Option<SystemTime>,
}

/// What a level's path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A directory: what comes goes into it under its own name.
    Directory,
    /// The name that what comes takes.
    Name,
    /// The same, written with a slash at its end: only a directory can take it.
    DirectoryName,
}

/// What a sender says after a file's bytes.
enum Status {
    /// It could read all of them.
    Whole,
    /// It could not; its words.
    NotRead(String),
    /// The conversation ends here, for this reason.
    Over(String),
}

impl Level {
    fn new(path: LogicalPath, place: Place, own_mtime: Option<SystemTime>) -> Level {
        Level { path, place, own_mtime, next_mtime: None }
    }
}

impl Sink<'_> {
    /// The whole conversation.
    async fn receive(&mut self, target: &str) -> Result<(), Stopped> {
        let target = self.find_target(target).await?;
        self.levels.push(target);
        self.answers.send(wire::OK)?;
        while !self.levels.is_empty() {
            let line = match self.input.line().await {
                Line::Whole(line) => line,
                Line::End => {
                    // Without an `E` for every directory, something is missing.
                    self.failed |= self.levels.len() > 1;
                    return Ok(());
                }
                Line::Cut => return Err(Stopped),
                Line::TooLong => return self.fatal("protocol error: the record is too long"),
            };
            match Record::parse(&line) {
                Ok(record) => self.take(record).await?,
                Err(error) => return self.fatal(&error.to_string()),
            }
        }
        Ok(())
    }

    /// The level of the command line's target.
    async fn find_target(&mut self, target: &str) -> Result<Level, Stopped> {
        let path = match LogicalPath::parse_str(target) {
            Ok(path) => path,
            Err(why) => {
                let error = self.session.refuse_name(Attempt::Open(Name::wrong(target.as_bytes()), STORES), why).await;
                return self.fatal(&format!("{target}: {}", wire::answer_to_name(error.kind, why)));
            }
        };
        let asks_for_directory = LogicalPath::asks_for_directory(target.as_bytes());
        let place = match self.session.stat(&path).await {
            Ok(attributes) if attributes.kind == Kind::Directory => Place::Directory,
            Ok(_) if self.options.directory || asks_for_directory => {
                return self.refuse_target(target, path, NOT_A_DIRECTORY).await;
            }
            Ok(_) => Place::Name,
            Err(error) if error.kind != NOT_FOUND || self.options.directory => {
                let error = self.session.refuse(Attempt::Open(Name::Path(path), STORES), error).await;
                return self.fatal(&format!("{target}: {}", wire::answer(error.kind).1));
            }
            Err(_) if asks_for_directory => Place::DirectoryName,
            Err(_) => Place::Name,
        };
        Ok(Level::new(path, place, None))
    }

    async fn take(&mut self, record: Record<'_>) -> Result<(), Stopped> {
        match record {
            Record::File { mode, size, name } => self.take_file(mode, size, name).await,
            Record::Directory { .. } if !self.options.recursive => {
                self.fatal("protocol error: received directory without -r")
            }
            Record::Directory { mode, name } => self.take_directory(mode, name).await,
            Record::End => self.end_directory().await,
            Record::Times { mtime, .. } => {
                if let Some(level) = self.levels.last_mut() {
                    level.next_mtime = mtime;
                }
                self.answers.send(wire::OK)
            }
            Record::Warning(_) => {
                // The client tells its person; it waits for no answer.
                self.failed = true;
                Ok(())
            }
            Record::Fatal(_) => Err(Stopped),
        }
    }

    /// Refuses what the command line names, before a file comes: an upload that fails.
    async fn refuse_target<T>(&mut self, target: &str, path: LogicalPath, why: ErrorKind) -> Result<T, Stopped> {
        let words = wire::answer(why).1;
        let error = SessionError::new(why, format!("{path}: {words}"));
        let error = self.session.refuse(Attempt::Open(Name::Path(path), STORES), error).await;
        self.fatal(&format!("{target}: {}", wire::answer(error.kind).1))
    }

    /// The path of a record, and the time for it; `None` when there can be none, which the client has been told.
    async fn place(
        &mut self,
        name: &[u8],
        attempt: impl FnOnce(Name) -> Attempt,
    ) -> Result<Option<(LogicalPath, Option<SystemTime>)>, Stopped> {
        let Some(level) = self.levels.last_mut() else { return Err(Stopped) };
        let mtime = level.next_mtime.take();
        if level.place != Place::Directory {
            return Ok(Some((level.path.clone(), mtime)));
        }
        let joined = match std::str::from_utf8(name) {
            Ok(name) => level.path.join(name),
            Err(_) => Err(PathError::NotUtf8),
        };
        match joined {
            Ok(path) => Ok(Some((path, mtime))),
            Err(why) => {
                let whole = Name::wrong(&[level.path.as_str().as_bytes(), name].join(&b'/'));
                let error = self.session.refuse_name(attempt(whole), why).await;
                self.warn(&format!("{}: {}", String::from_utf8_lossy(name), wire::answer_to_name(error.kind, why)))?;
                Ok(None)
            }
        }
    }

    async fn take_file(&mut self, mode: u32, size: u64, name: &[u8]) -> Result<(), Stopped> {
        let Some((path, mtime)) = self.place(name, |name| Attempt::Open(name, STORES)).await? else { return Ok(()) };
        if self.levels.last().is_some_and(|level| level.place == Place::DirectoryName) {
            let error =
                SessionError::new(ErrorKind::Store(StoreErrorKind::IsADirectory), format!("{path}/: Is a directory"));
            let error = self.session.refuse(Attempt::Open(Name::Path(path), STORES), error).await;
            return self.warn(&error.message);
        }
        let transfer = match self.session.open(&path, STORES, &AttributeChange { mtime, ..self.kept(mode) }).await {
            Ok(transfer) => transfer,
            Err(error) => return self.report(&path, &error),
        };
        self.answers.send(wire::OK)?;
        let received = self.receive_content(transfer, size).await?;
        let status = self.sender_status().await;
        match (received, status) {
            (Ok(transfer), Status::Whole) => self.store(&path, transfer).await,
            (Ok(transfer), Status::NotRead(why)) => {
                transfer.cut_off(&format!("the client could not read its file: {why}")).await;
                self.warn(&format!("{path}: not stored: the sender could not read all of it"))
            }
            (Ok(transfer), Status::Over(why)) => {
                transfer.cut_off(&why).await;
                Err(Stopped)
            }
            (Err(error), Status::Whole | Status::NotRead(_)) => self.report(&path, &error),
            (Err(_), Status::Over(_)) => Err(Stopped),
        }
    }

    /// Takes `size` bytes off the channel, in any case: what follows must be found. The transfer, if the store took all of
    /// them; when the client goes away before, it is cut off, and nothing is published.
    async fn receive_content(
        &mut self,
        mut transfer: Transfer,
        size: u64,
    ) -> Result<Result<Transfer, SessionError>, Stopped> {
        let mut received = 0;
        while received < size {
            let Some(data) = self.input.chunk(size - received).await else {
                transfer.cut_off(CLIENT_GONE).await;
                return Err(Stopped);
            };
            let offset = received;
            received += data.len() as u64;
            if let Err(error) = transfer.write_at(offset, data).await {
                transfer.cut_off(&format!("a write failed: {}", error.chain())).await;
                while received < size {
                    received += self.input.chunk(size - received).await.ok_or(Stopped)?.len() as u64;
                }
                return Ok(Err(error));
            }
        }
        Ok(Ok(transfer))
    }

    /// What the sender says after a file's bytes. libssh2 (curl) says nothing and ends; all bytes are there then.
    async fn sender_status(&mut self) -> Status {
        match self.input.byte().await {
            None | Some(0) => Status::Whole,
            Some(1) => match self.input.line().await {
                Line::Whole(text) => Status::NotRead(String::from_utf8_lossy(&text).into_owned()),
                Line::TooLong | Line::End | Line::Cut => Status::Over(CLIENT_GONE.into()),
            },
            Some(2) => Status::Over("the client gave up".into()),
            Some(_) => {
                let why = "the file is longer than its record says";
                // The end is the same, whether the client can be told or not.
                let _: Result<(), Stopped> = self.fatal(&format!("protocol error: {why}"));
                Status::Over(why.into())
            }
        }
    }

    /// Publishes a file. The client is told that all is well only when the store has it.
    async fn store(&mut self, path: &LogicalPath, transfer: Transfer) -> Result<(), Stopped> {
        match transfer.close().await {
            Ok(()) => self.answers.send(wire::OK),
            Err(error) => self.report(path, &error),
        }
    }

    async fn take_directory(&mut self, mode: u32, name: &[u8]) -> Result<(), Stopped> {
        let Some((path, mtime)) = self.place(name, Attempt::MakeDirectory).await? else { return Ok(()) };
        if self.levels.len() > MAX_DEPTH {
            let message = format!("{path}: more than {MAX_DEPTH} directories below each other");
            let error = SessionError::new(ErrorKind::InvalidRequest, message);
            let error = self.session.refuse(Attempt::MakeDirectory(Name::Path(path)), error).await;
            return self.warn(&error.message);
        }
        match self.ensure_directory(&path, mode).await {
            Ok(()) => {
                self.levels.push(Level::new(path, Place::Directory, mtime));
                self.answers.send(wire::OK)
            }
            Err(error) => self.report(&path, &error),
        }
    }

    /// Makes a directory unless it is there.
    async fn ensure_directory(&self, path: &LogicalPath, mode: u32) -> Result<(), SessionError> {
        match self.session.stat(path).await {
            Err(error) if error.kind == NOT_FOUND => {}
            found => {
                return match expect_directory(found?.kind) {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        Err(self.session.refuse(Attempt::MakeDirectory(Name::Path(path.clone())), error).await)
                    }
                };
            }
        }
        match self.session.make_directory(path, &self.kept(mode)).await {
            // Someone else was quicker.
            Err(error) if error.kind == ErrorKind::Store(StoreErrorKind::AlreadyExists) => {
                expect_directory(self.session.stat(path).await?.kind)
            }
            made => made,
        }
    }

    async fn end_directory(&mut self) -> Result<(), Stopped> {
        let Some(level) = self.levels.pop() else { return Err(Stopped) };
        let timed = match level.own_mtime {
            None => Ok(()),
            Some(mtime) => {
                let change = AttributeChange { mtime: Some(mtime), ..AttributeChange::default() };
                self.session.set_attributes(&level.path, &change).await
            }
        };
        match timed {
            Ok(()) => self.answers.send(wire::OK),
            Err(error) => self.warn(&format!("{}: set times: {}", level.path, wire::answer(error.kind).1)),
        }
    }

    /// What a record's mode asks for: only `-p` asks for more than that the file can be read again.
    fn kept(&self, mode: u32) -> AttributeChange {
        AttributeChange { mode: self.options.preserve.then_some(mode), ..AttributeChange::default() }
    }

    fn report(&mut self, path: &LogicalPath, error: &SessionError) -> Result<(), Stopped> {
        match wire::answer(error.kind) {
            (Severity::Warning, text) => self.warn(&format!("{path}: {text}")),
            (Severity::Fatal, text) => self.fatal(&format!("{path}: {text}")),
        }
    }

    fn warn(&mut self, text: &str) -> Result<(), Stopped> {
        self.failed = true;
        self.answers.send(wire::message(Severity::Warning, text))
    }

    fn fatal<T>(&mut self, text: &str) -> Result<T, Stopped> {
        (self.failed, self.gave_up) = (true, true);
        self.answers.send(wire::message(Severity::Fatal, text))?;
        Err(Stopped)
    }
}

/// Why an upload was cut off.
const CLIENT_GONE: &str = "the client went away before the end of the file";

/// How each file is opened.
const STORES: OpenMode =
    OpenMode { read: false, write: true, append: false, create: true, truncate: true, exclusive: false };

const NOT_A_DIRECTORY: ErrorKind = ErrorKind::Store(StoreErrorKind::NotADirectory);

const NOT_FOUND: ErrorKind = ErrorKind::Store(StoreErrorKind::NotFound);

fn expect_directory(kind: Kind) -> Result<(), SessionError> {
    match kind {
        Kind::Directory => Ok(()),
        Kind::File => Err(SessionError::new(ErrorKind::Store(StoreErrorKind::NotADirectory), "not a directory")),
    }
}
