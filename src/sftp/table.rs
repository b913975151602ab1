//! The table of requests: one line for each that is known, and the last for all others.
//!
//! A line says how a request looks on the wire, whose queue it waits in (the class of its decoder), what it may ask the policy,
//! and under which name it is counted. Nothing else in this module tells requests apart by type or extension: `request`
//! decodes by the line, `paths` orders by it and gives the door no more than it asks for, `reader` counts by it, VERSION
//! advertises by it, and `docs/PROTOCOL.md` shows it.

use russh_sftp::extensions;

use super::check_file::{self, CHECK_FILE};
use super::extension;
use super::request::{self, Call, CopyData, Decoded, HandleCall, ImmediateCall, PathCall, handle};
use super::wire::{Fields, packet};
use crate::session::{Operation, Operations};

/// One kind of request.
#[derive(Debug)]
pub(super) struct Line {
    /// What it is called in the metrics and in the documents: its name in the draft, or the extension's.
    pub(super) name: &'static str,
    on_wire: OnWire,
    /// What it may ask the policy. The door refuses it everything else, whatever the user may do.
    pub(super) asks: Asks,
    pub(super) order: Order,
}

/// How a request is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnWire {
    /// By its type.
    Type(u8),
    /// By its name; with its version when VERSION advertises it.
    Extension(Option<&'static str>),
    /// By being none of the others.
    Other,
}

/// Operations of the policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    /// Asked each time.
    pub(super) always: &'static [Operation],
    /// Asked when the request's fields make it necessary.
    pub(super) also: &'static [Operation],
}

/// Whose queue a request waits in, and what decodes its fields. What stands before them is decoded here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// The queue of the handle that is the first field.
    Handle(Decoder<HandleCall>),
    /// The queues of two handles.
    TwoHandles(Decoder<CopyData>),
    /// The queue of paths.
    Path(Effect, Decoder<PathCall>),
    /// None: the answer is known at once.
    None(Decoder<ImmediateCall>),
}

type Decoder<T> = fn(&mut Fields<'_>) -> Decoded<T>;

/// What a request on a path means to others on the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing that they see.
    Looks,
    /// It does.
    Changes,
    /// It opens a handle, and its fields say whether that changes what they see.
    Opens,
}

/// A line of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestKind(usize);

const NOTHING: Asks = Asks { always: &[], also: &[] };

const fn always(always: &'static [Operation]) -> Asks {
    Asks { always, also: &[] }
}

const fn of_type(number: u8, name: &'static str, asks: Asks, order: Order) -> Line {
    Line { name, on_wire: OnWire::Type(number), asks, order }
}

const fn advertised(name: &'static str, version: &'static str, asks: Asks, order: Order) -> Line {
    Line { name, on_wire: OnWire::Extension(Some(version)), asks, order }
}

/// An extension that VERSION does not name.
const fn unadvertised(name: &'static str, asks: Asks, order: Order) -> Line {
    Line { name, on_wire: OnWire::Extension(None), asks, order }
}

use Effect::{Changes, Looks, Opens};
use Operation::{
    Create, Delete, List, MakeDirectory, Overwrite, Read, RemoveDirectory, Rename, SeeFile, SetAttributes,
    SetOwnAttributes, Stat as See,
};

const OPENS_FILES: Asks = Asks { always: &[], also: &[Read, Create, Overwrite] };
const SETS: Asks = Asks { always: &[SetOwnAttributes], also: &[SetAttributes, SeeFile] };
const SETS_OPEN: Asks = Asks { always: &[], also: &[SetOwnAttributes, SetAttributes, SeeFile] };
const RENAMES: Asks = Asks { always: &[Rename], also: &[Read, Create] };
const REPLACES: Asks = Asks { always: &[Rename], also: &[Read, Create, Overwrite] };
const SEES: Asks = Asks { always: &[See], also: &[SeeFile] };
const SEES_OPEN: Asks = Asks { always: &[], also: &[See] };

/// The table. A line is found by going through it, so what transfers consist of comes first.
#[rustfmt::skip]
static TABLE: [Line; 33] = [
    of_type(packet::OPEN, "OPEN", OPENS_FILES, Order::Path(Opens, request::open)),
    of_type(packet::CLOSE, "CLOSE", NOTHING, Order::Handle(|_| Ok(HandleCall::Close))),
    of_type(packet::READ, "READ", NOTHING, Order::Handle(request::read)),
    of_type(packet::WRITE, "WRITE", NOTHING, Order::Handle(request::write)),
    of_type(packet::STAT, "STAT", SEES, Order::Path(Looks, request::stat)),
    of_type(packet::LSTAT, "LSTAT", SEES, Order::Path(Looks, request::stat)),
    of_type(packet::FSTAT, "FSTAT", SEES_OPEN, Order::Handle(|_| Ok(HandleCall::Stat))),
    of_type(packet::SETSTAT, "SETSTAT", SETS, Order::Path(Changes, request::set_stat)),
    of_type(packet::FSETSTAT, "FSETSTAT", SETS_OPEN, Order::Handle(request::set_open_stat)),
    of_type(packet::OPENDIR, "OPENDIR", always(&[List]), Order::Path(Opens, request::open_directory)),
    of_type(packet::READDIR, "READDIR", NOTHING, Order::Handle(|_| Ok(HandleCall::ReadDirectory))),
    of_type(packet::REMOVE, "REMOVE", always(&[Delete]), Order::Path(Changes, request::remove)),
    of_type(packet::MKDIR, "MKDIR", always(&[MakeDirectory]), Order::Path(Changes, request::make_directory)),
    of_type(packet::RMDIR, "RMDIR", always(&[RemoveDirectory]), Order::Path(Changes, request::remove_directory)),
    of_type(packet::REALPATH, "REALPATH", NOTHING, Order::None(request::real_path)),
    of_type(packet::RENAME, "RENAME", RENAMES, Order::Path(Changes, |fields| request::rename(fields, false))),
    of_type(packet::READLINK, "READLINK", NOTHING, Order::None(request::read_link)),
    of_type(packet::SYMLINK, "SYMLINK", NOTHING, Order::Path(Looks, |fields| request::link(fields, true))),
    advertised("posix-rename@openssh.com", "1", REPLACES, Order::Path(Changes, |fields| request::rename(fields, true))),
    advertised(extensions::STATVFS, "2", always(&[See]), Order::Path(Looks, extension::file_system_of)),
    advertised("fstatvfs@openssh.com", "2", SEES_OPEN, Order::Handle(|_| Ok(HandleCall::FileSystem))),
    advertised(extensions::FSYNC, "1", NOTHING, Order::Handle(|_| Ok(HandleCall::Sync))),
    advertised("lsetstat@openssh.com", "1", SETS, Order::Path(Changes, request::set_stat)),
    advertised(extensions::LIMITS, "1", NOTHING, Order::None(|_| Ok(ImmediateCall::Limits))),
    advertised(extensions::EXPAND_PATH, "1", NOTHING, Order::None(extension::expand_path)),
    advertised("copy-data", "1", NOTHING, Order::TwoHandles(extension::copy_data)),
    advertised("home-directory", "1", NOTHING, Order::None(extension::home_directory)),
    advertised("users-groups-by-id@openssh.com", "1", NOTHING, Order::None(extension::user_names)),
    // The draft's name for both of the requests that follow, and paramiko's for the second of them.
    advertised(CHECK_FILE, "1", NOTHING, Order::Handle(|fields| check_file::decode_on_handle(fields, true))),
    unadvertised("check-file-name", always(&[Read]), Order::Path(Looks, check_file::decode_with_name)),
    unadvertised("check-file-handle", NOTHING, Order::Handle(|fields| check_file::decode_on_handle(fields, false))),
    // Always refused.
    unadvertised(extensions::HARDLINK, NOTHING, Order::Path(Looks, |fields| request::link(fields, false))),
    Line { name: "unknown", on_wire: OnWire::Other, asks: NOTHING, order: Order::None(|_| Ok(ImmediateCall::Unsupported)) },
];

impl RequestKind {
    /// Every line, in the order of [`RequestKind::index`].
    pub(super) fn all() -> impl Iterator<Item = RequestKind> {
        (0..TABLE.len()).map(RequestKind)
    }

    /// The last line.
    fn unknown() -> RequestKind {
        RequestKind(TABLE.len() - 1)
    }

    fn find(is_it: impl Fn(&Line) -> bool) -> RequestKind {
        TABLE.iter().position(is_it).map_or_else(RequestKind::unknown, RequestKind)
    }

    /// The line of a packet's type and, for EXTENDED, of the name that follows the id: it is taken from `fields`. False when
    /// that name is not all there.
    pub(super) fn of(number: u8, fields: &mut Fields<'_>) -> (RequestKind, bool) {
        if number != packet::EXTENDED {
            return (RequestKind::find(|line| line.on_wire == OnWire::Type(number)), true);
        }
        let Some(name) = fields.string() else {
            return (RequestKind::unknown(), false);
        };
        let is_it = |line: &Line| matches!(line.on_wire, OnWire::Extension(_)) && line.name.as_bytes() == name;
        (RequestKind::find(is_it), true)
    }

    /// Where it stands among all.
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// The line.
    pub(super) fn line(self) -> &'static Line {
        &TABLE[self.0]
    }

    /// Decodes the fields after the id, and after the name of an extension.
    pub(super) fn decode(self, fields: &mut Fields<'_>) -> Decoded<Call> {
        Ok(match self.line().order {
            Order::Handle(decode) => Call::Handle(handle(fields)?, decode(fields)?),
            Order::TwoHandles(decode) => Call::CopyData(decode(fields)?),
            Order::Path(_, decode) => Call::Path(decode(fields)?),
            Order::None(decode) => Call::Immediate(decode(fields)?),
        })
    }

    /// What it means to others on the same path; what does not wait for paths means nothing to them.
    pub(super) fn effect(self) -> Effect {
        match self.line().order {
            Order::Path(effect, _) => effect,
            Order::Handle(_) | Order::TwoHandles(_) | Order::None(_) => Looks,
        }
    }

    /// What the door is to grant to the request: what its line asks and, when it opens a handle, what the requests on handles
    /// ask.
    pub(super) fn scope(self) -> Operations {
        let own = self.line().asks.all();
        if self.effect() == Opens { own.or(scope_of_handles()) } else { own }
    }
}

impl std::fmt::Debug for RequestKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.line().name)
    }
}

impl Asks {
    fn all(self) -> Operations {
        Operations::of(self.always).or(Operations::of(self.also))
    }
}

/// What the door is to grant to those that have been opened.
pub(super) fn scope_of_handles() -> Operations {
    let on_handles = TABLE.iter().filter(|line| matches!(line.order, Order::Handle(_) | Order::TwoHandles(_)));
    on_handles.fold(Operations::of(&[]), |scope, line| scope.or(line.asks.all()))
}

/// The names and versions of VERSION.
pub(super) fn advertised_extensions() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().filter_map(|line| match line.on_wire {
        OnWire::Extension(Some(version)) => Some((line.name, version)),
        OnWire::Extension(None) | OnWire::Type(_) | OnWire::Other => None,
    })
}
