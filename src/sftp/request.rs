//! What a client may ask: the requests of draft-ietf-secsh-filexfer-02 sections 4 to 6, decoded.
//!
//! Decoding is pure and total: any bytes give a request or an error that says which id to answer. Which decoder is whose
//! request's stands in `table`.

use bytes::Bytes;
use russh_sftp::protocol::OpenFlags;

use super::attributes;
use super::check_file::CheckFile;
use super::table::RequestKind;
use super::wire::{Fields, packet};
use crate::path::{LogicalPath, PathError};
use crate::session::{Attempt, AttributeChange, Name, OpenMode, RenameMode};

/// A packet of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The first packet, and only the first. Its extensions are ignored, as OpenSSH does.
    Init {
        /// The version that the client speaks at most.
        version: u32,
    },
    /// Any other.
    Request(Request),
}

/// A request with the id that its answer carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: u32,
    pub(crate) kind: RequestKind,
    pub(crate) call: Call,
}

/// What is asked, by who answers it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The handle's own queue.
    Handle(HandleId, HandleCall),
    /// The queues of two handles.
    CopyData(CopyData),
    /// The queue of paths.
    Path(PathCall),
    /// The reader itself: the answer needs no store.
    Immediate(ImmediateCall),
}

/// The number of an open handle. On the wire it is decimal text, so that clients that take handles for text work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HandleId(u64);

/// A request on a handle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HandleCall {
    Close,
    Read { offset: u64, length: u32 },
    Write { offset: u64, data: Bytes },
    Stat,
    SetStat(AttributeChange),
    ReadDirectory,
    Sync,
    FileSystem,
    Check(CheckFile),
}

/// `copy-data`: `length` bytes, or all that there are for 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyData {
    pub(crate) from: HandleId,
    pub(crate) from_offset: u64,
    pub(crate) length: u64,
    pub(crate) to: HandleId,
    pub(crate) to_offset: u64,
}

/// A request on paths that asks the session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathCall {
    /// STAT and LSTAT: there are no links, so they are the same.
    Stat(LogicalPath),
    Open {
        path: LogicalPath,
        mode: OpenMode,
        attributes: AttributeChange,
    },
    OpenDirectory(LogicalPath),
    FileSystem(LogicalPath),
    Check(LogicalPath, CheckFile),
    SetStat(LogicalPath, AttributeChange),
    Remove(LogicalPath),
    MakeDirectory(LogicalPath, AttributeChange),
    RemoveDirectory(LogicalPath),
    Rename {
        from: LogicalPath,
        to: LogicalPath,
        mode: RenameMode,
    },
    Link {
        target: Bytes,
        link: LogicalPath,
        symbolic: bool,
    },
    /// One of those that are on record, with a name that cannot be.
    Misnamed(Attempt, PathError),
}

/// A request whose answer is known at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ImmediateCall {
    RealPath(LogicalPath),
    ReadLink,
    Limits,
    /// `expand-path@openssh.com` with `~name`, and what follows it.
    ExpandHome {
        user: Bytes,
        rest: LogicalPath,
    },
    /// `home-directory` of a user; empty for the one who asks.
    HomeDirectory(Bytes),
    UserNames {
        users: Vec<u32>,
        groups: Vec<u32>,
    },
    /// A type or an extension that is not known.
    Unsupported,
}

/// A packet that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It has no id, so it cannot be answered.
    NoId,
    /// It is known what is asked, but not of what.
    Flawed { id: u32, kind: RequestKind, flaw: Flaw },
}

impl HandleId {
    /// What stands for handles that nobody was given.
    const NEVER_GIVEN: HandleId = HandleId(0);

    /// The `n`th handle of a channel, from 1.
    pub(crate) fn new(n: u64) -> Self {
        HandleId(n)
    }

    /// As the client gets it.
    pub(crate) fn text(self) -> String {
        self.0.to_string()
    }

    /// Only the very text that [`HandleId::text`] gives names a handle.
    fn parse(raw: &[u8]) -> HandleId {
        let canonical = !raw.is_empty() && raw.len() <= 20 && raw[0] != b'0' && raw.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(raw).ok().filter(|_| canonical).and_then(|text| text.parse().ok());
        number.map_or(HandleId::NEVER_GIVEN, HandleId)
    }
}

/// Why a payload is not what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its fields do not fill what they declare.
    Malformed,
    /// It names what cannot be a path.
    Name(PathError),
}

pub(super) type Decoded<T> = Result<T, Flaw>;

impl From<PathError> for Flaw {
    fn from(error: PathError) -> Self {
        Flaw::Name(error)
    }
}

/// A field that must be there.
pub(super) fn need<T>(field: Option<T>) -> Decoded<T> {
    field.ok_or(Flaw::Malformed)
}

/// A path that must be there.
pub(super) fn path(fields: &mut Fields<'_>) -> Decoded<LogicalPath> {
    Ok(LogicalPath::parse(need(fields.string())?)?)
}

/// A handle that must be there.
pub(super) fn handle(fields: &mut Fields<'_>) -> Decoded<HandleId> {
    Ok(HandleId::parse(need(fields.string())?))
}

impl Packet {
    /// Decodes one packet, its type first, without its length field. What follows the last field is ignored, as OpenSSH
    /// does.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub(crate) fn decode(packet: &Bytes) -> Result<Packet, DecodeError> {
        let mut fields = Fields::new(packet);
        let kind = fields.u8().ok_or(DecodeError::NoId)?;
        let id = fields.u32().ok_or(DecodeError::NoId)?;
        if kind == packet::INIT {
            return Ok(Packet::Init { version: id });
        }
        let (kind, is_whole) = RequestKind::of(kind, &mut fields);
        let call = if is_whole { kind.decode(&mut fields) } else { Err(Flaw::Malformed) };
        match call {
            Ok(call) => Ok(Packet::Request(Request { id, kind, call })),
            Err(flaw) => Err(DecodeError::Flawed { id, kind, flaw }),
        }
    }
}

/// READ.
pub(super) fn read(fields: &mut Fields<'_>) -> Decoded<HandleCall> {
    Ok(HandleCall::Read { offset: need(fields.u64())?, length: need(fields.u32())? })
}

/// WRITE.
pub(super) fn write(fields: &mut Fields<'_>) -> Decoded<HandleCall> {
    Ok(HandleCall::Write { offset: need(fields.u64())?, data: need(fields.slice())? })
}

/// STAT and LSTAT.
pub(super) fn stat(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    Ok(PathCall::Stat(path(fields)?))
}

/// FSETSTAT.
pub(super) fn set_open_stat(fields: &mut Fields<'_>) -> Decoded<HandleCall> {
    Ok(HandleCall::SetStat(need(attributes::decode(fields))?))
}

/// A request on one path, or what stands on record for it when its name cannot be.
fn on_path(
    fields: &mut Fields<'_>,
    call: impl FnOnce(LogicalPath) -> PathCall,
    attempt: fn(Name) -> Attempt,
) -> Decoded<PathCall> {
    let name = need(fields.string())?;
    Ok(LogicalPath::parse(name).map_or_else(|why| PathCall::Misnamed(attempt(Name::wrong(name)), why), call))
}

/// OPENDIR.
pub(super) fn open_directory(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    on_path(fields, PathCall::OpenDirectory, Attempt::List)
}

/// REMOVE.
pub(super) fn remove(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    on_path(fields, PathCall::Remove, Attempt::Delete)
}

/// MKDIR.
pub(super) fn make_directory(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    let mut made =
        on_path(fields, |path| PathCall::MakeDirectory(path, AttributeChange::default()), Attempt::MakeDirectory)?;
    if let PathCall::MakeDirectory(_, attributes) = &mut made {
        *attributes = need(attributes::decode(fields))?;
    }
    Ok(made)
}

/// RMDIR.
pub(super) fn remove_directory(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    on_path(fields, PathCall::RemoveDirectory, Attempt::RemoveDirectory)
}

/// REALPATH.
pub(super) fn real_path(fields: &mut Fields<'_>) -> Decoded<ImmediateCall> {
    Ok(ImmediateCall::RealPath(path(fields)?))
}

/// READLINK.
pub(super) fn read_link(fields: &mut Fields<'_>) -> Decoded<ImmediateCall> {
    path(fields).map(|_| ImmediateCall::ReadLink)
}

/// SETSTAT, and `lsetstat@openssh.com`.
pub(super) fn set_stat(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    let mut set = on_path(fields, |path| PathCall::SetStat(path, AttributeChange::default()), Attempt::SetAttributes)?;
    if let PathCall::SetStat(_, change) = &mut set {
        *change = need(attributes::decode(fields))?;
    }
    Ok(set)
}

/// RENAME, and `posix-rename@openssh.com`.
pub(super) fn rename(fields: &mut Fields<'_>, overwrite: bool) -> Decoded<PathCall> {
    let (old, new) = (need(fields.string())?, need(fields.string())?);
    let mode = RenameMode { overwrite, directory: LogicalPath::asks_for_directory(new) };
    Ok(match (LogicalPath::parse(old), LogicalPath::parse(new)) {
        (Ok(from), Ok(to)) => PathCall::Rename { from, to, mode },
        (Err(why), _) | (_, Err(why)) => PathCall::Misnamed(Attempt::Rename(Name::of(old), Name::of(new)), why),
    })
}

/// SYMLINK, and `hardlink@openssh.com`: the target first. The draft has a symbolic link first; OpenSSH's server and its clients
/// have it the other way round, and everybody follows them.
pub(super) fn link(fields: &mut Fields<'_>, symbolic: bool) -> Decoded<PathCall> {
    let (target, name) = (need(fields.string())?, need(fields.string())?);
    Ok(match LogicalPath::parse(name) {
        // Copied, so that a waiting request does not hold on to what else arrived with it.
        Ok(link) => PathCall::Link { target: Bytes::copy_from_slice(target), link, symbolic },
        Err(why) => PathCall::Misnamed(Attempt::Link(Name::of(target), Name::wrong(name)), why),
    })
}

/// OPEN.
pub(super) fn open(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    let name = need(fields.string())?;
    let flags = OpenFlags::from_bits_truncate(need(fields.u32())?);
    let change = need(attributes::decode(fields))?;
    let write = flags.contains(OpenFlags::WRITE);
    let create = flags.contains(OpenFlags::CREATE);
    let mode = OpenMode {
        // Neither of the two is taken for reading, as OpenSSH does.
        read: flags.contains(OpenFlags::READ) || !write,
        write,
        append: flags.contains(OpenFlags::APPEND),
        create,
        truncate: flags.contains(OpenFlags::TRUNCATE),
        exclusive: create && flags.contains(OpenFlags::EXCLUDE),
    };
    let path = match LogicalPath::parse(name) {
        // `put file there/` without a directory of that name is not to become a file `there`.
        Ok(_) if create && LogicalPath::asks_for_directory(name) => Err(PathError::AsksForDirectory),
        parsed => parsed,
    };
    Ok(match path {
        // A size in OPEN is a client's expectation, not a wish: OpenSSH ignores it.
        Ok(path) => PathCall::Open { path, mode, attributes: AttributeChange { size: None, ..change } },
        Err(why) => PathCall::Misnamed(Attempt::Open(Name::wrong(name), mode), why),
    })
}
