//! What a client may ask: the requests of draft-ietf-secsh-filexfer-02 sections 4 to 6, decoded.
//!
//! Decoding is pure and total: any bytes give a request or an error that says which id to answer.

use bytes::Bytes;
use russh_sftp::protocol::OpenFlags;

use super::attributes;
use super::check_file::CheckFile;
use super::extension;
use super::wire::{Fields, packet};
use crate::path::{LogicalPath, PathError};
use crate::session::{AttributeChange, OpenMode};

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
        overwrite: bool,
    },
    Link {
        target: Bytes,
        link: LogicalPath,
        symbolic: bool,
    },
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
    /// Its fields do not fill what they declare.
    Malformed { id: u32 },
    /// It names what cannot be a path.
    Name { id: u32, error: PathError },
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

/// Why a payload is not what its type says; the id is added by [`Packet::decode`].
#[derive(Debug)]
pub(super) enum Flaw {
    Malformed,
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
        match Call::decode(kind, &mut fields) {
            Ok(call) => Ok(Packet::Request(Request { id, call })),
            Err(Flaw::Malformed) => Err(DecodeError::Malformed { id }),
            Err(Flaw::Name(error)) => Err(DecodeError::Name { id, error }),
        }
    }
}

impl Call {
    fn decode(kind: u8, fields: &mut Fields<'_>) -> Decoded<Call> {
        Ok(match kind {
            packet::OPEN => Call::Path(open(fields)?),
            packet::CLOSE => Call::Handle(handle(fields)?, HandleCall::Close),
            packet::READ => Call::Handle(
                handle(fields)?,
                HandleCall::Read { offset: need(fields.u64())?, length: need(fields.u32())? },
            ),
            packet::WRITE => Call::Handle(
                handle(fields)?,
                HandleCall::Write { offset: need(fields.u64())?, data: need(fields.slice())? },
            ),
            packet::LSTAT | packet::STAT => Call::Path(PathCall::Stat(path(fields)?)),
            packet::FSTAT => Call::Handle(handle(fields)?, HandleCall::Stat),
            packet::SETSTAT => Call::Path(set_stat(fields)?),
            packet::FSETSTAT => Call::Handle(handle(fields)?, HandleCall::SetStat(need(attributes::decode(fields))?)),
            packet::OPENDIR => Call::Path(PathCall::OpenDirectory(path(fields)?)),
            packet::READDIR => Call::Handle(handle(fields)?, HandleCall::ReadDirectory),
            packet::REMOVE => Call::Path(PathCall::Remove(path(fields)?)),
            packet::MKDIR => {
                let path = path(fields)?;
                let change = need(attributes::decode(fields))?;
                Call::Path(PathCall::MakeDirectory(path, AttributeChange { size: None, ..change }))
            }
            packet::RMDIR => Call::Path(PathCall::RemoveDirectory(path(fields)?)),
            packet::REALPATH => Call::Immediate(ImmediateCall::RealPath(path(fields)?)),
            packet::RENAME => Call::Path(rename(fields, false)?),
            packet::READLINK => {
                path(fields)?;
                Call::Immediate(ImmediateCall::ReadLink)
            }
            packet::SYMLINK => Call::Path(link(fields, true)?),
            packet::EXTENDED => extension::decode(fields)?,
            _ => Call::Immediate(ImmediateCall::Unsupported),
        })
    }
}

/// SETSTAT, and `lsetstat@openssh.com`.
pub(super) fn set_stat(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    Ok(PathCall::SetStat(path(fields)?, need(attributes::decode(fields))?))
}

/// RENAME, and `posix-rename@openssh.com`.
pub(super) fn rename(fields: &mut Fields<'_>, overwrite: bool) -> Decoded<PathCall> {
    Ok(PathCall::Rename { from: path(fields)?, to: path(fields)?, overwrite })
}

/// SYMLINK, and `hardlink@openssh.com`: the target first. The draft has a symbolic link first; OpenSSH's server and its clients
/// have it the other way round, and everybody follows them.
pub(super) fn link(fields: &mut Fields<'_>, symbolic: bool) -> Decoded<PathCall> {
    // Copied, so that a waiting request does not hold on to what else arrived with it.
    let target = Bytes::copy_from_slice(need(fields.string())?);
    Ok(PathCall::Link { target, link: path(fields)?, symbolic })
}

fn open(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    let name = need(fields.string())?;
    let path = LogicalPath::parse(name)?;
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
    // `put file there/` without a directory of that name is not to become a file `there`.
    if create && LogicalPath::asks_for_directory(name) {
        return Err(PathError::AsksForDirectory.into());
    }
    // A size in OPEN is a client's expectation, not a wish: OpenSSH ignores it.
    Ok(PathCall::Open { path, mode, attributes: AttributeChange { size: None, ..change } })
}
