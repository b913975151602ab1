//! What the server answers, and how it looks on the wire (draft-ietf-secsh-filexfer-02 section 7).

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use russh_sftp::protocol::StatusCode;

use super::limits::{LONG_DATA, MAX_MESSAGE, SSH_PACKET};
use super::request::HandleId;
use super::wire::{length_of, packet, put_string};
use super::{attributes, status, table};
use crate::session::{Attributes, SessionError};

/// The version that is spoken.
const VERSION: u32 = 3;

/// What stands between the length field of DATA and its data: a type, an id, and the length of the data.
const DATA_HEAD: u32 = 1 + 4 + 4;

/// A packet to the client.
#[derive(Debug)]
pub(super) enum Reply {
    Version,
    Status { id: u32, code: StatusCode, message: Cow<'static, str> },
    Handle { id: u32, handle: HandleId },
    Data { id: u32, data: Bytes },
    Names { id: u32, names: Names },
    Attributes { id: u32, attributes: Attributes },
    Extended { id: u32, payload: Bytes },
}

/// The entries of a NAME reply, encoded.
#[derive(Debug, Default)]
pub(super) struct Names {
    count: u32,
    encoded: BytesMut,
}

impl Names {
    /// The one path of REALPATH. Like OpenSSH's, it has no attributes, and its `longname` is the path.
    pub(super) fn of_path(path: &str) -> Names {
        let mut encoded = BytesMut::with_capacity(2 * path.len() + 12);
        put_string(&mut encoded, path.as_bytes());
        put_string(&mut encoded, path.as_bytes());
        encoded.put_u32(0);
        Names { count: 1, encoded }
    }

    /// Adds an entry of a listing.
    pub(super) fn push(&mut self, name: &str, of: &Attributes, user: &str, now: SystemTime) {
        put_string(&mut self.encoded, name.as_bytes());
        put_string(&mut self.encoded, attributes::longname(name, of, user, now).as_bytes());
        attributes::encode(of, &mut self.encoded);
        self.count += 1;
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Their bytes.
    pub(super) fn size(&self) -> usize {
        self.encoded.len()
    }
}

impl Reply {
    /// Success without a result.
    pub(super) fn ok(id: u32) -> Reply {
        Reply::Status { id, code: StatusCode::Ok, message: Cow::Borrowed("Success") }
    }

    /// The end of a file or of a listing.
    pub(super) fn end(id: u32) -> Reply {
        Reply::Status { id, code: StatusCode::Eof, message: Cow::Borrowed("End of file") }
    }

    /// A failure that this module found.
    pub(super) fn failure(id: u32, code: StatusCode, message: &'static str) -> Reply {
        Reply::Status { id, code, message: Cow::Owned(status::sentence(code, message)) }
    }

    /// A failure that the session reports.
    pub(super) fn error(id: u32, error: SessionError) -> Reply {
        let code = status::code(error.kind);
        let mut message = status::sentence(code, &error.message);
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8()));
            message.push('…');
        }
        Reply::Status { id, code, message: Cow::Owned(message) }
    }

    /// Success, or the session's error.
    pub(super) fn of(id: u32, result: Result<(), SessionError>) -> Reply {
        match result {
            Ok(()) => Reply::ok(id),
            Err(error) => Reply::error(id, error),
        }
    }

    /// How many bytes [`Reply::encode`] appends, or a few more.
    pub(super) fn size(&self) -> usize {
        const FIXED: usize = 32;
        match self {
            Reply::Version => FIXED + table::advertised_extensions().count() * 64,
            Reply::Status { message, .. } => FIXED + message.len(),
            Reply::Handle { .. } => FIXED + 20,
            Reply::Data { data, .. } => FIXED + data.len(),
            Reply::Names { names, .. } => FIXED + names.size(),
            Reply::Attributes { .. } => FIXED + 32,
            Reply::Extended { payload, .. } => FIXED + payload.len(),
        }
    }

    /// Appends the packet with its length field.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32(0);
        self.encode_payload(out);
        let length = length_of(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Appends the beginning of a long packet of data, so that `out` fills whole SSH packets, and returns the rest of the data, which is
    /// to follow. `None`, and nothing is appended, of any other.
    pub(super) fn encode_beginning(&self, out: &mut BytesMut) -> Option<Bytes> {
        let Reply::Data { id, data } = self else { return None };
        if data.len() < LONG_DATA {
            return None;
        }
        let data_length = length_of(data);
        out.put_u32(data_length + DATA_HEAD);
        head(out, packet::DATA, *id);
        out.put_u32(data_length);
        let begun = SSH_PACKET - out.len() % SSH_PACKET;
        out.put_slice(&data[..begun]);
        Some(data.slice(begun..))
    }

    fn encode_payload(&self, out: &mut BytesMut) {
        match self {
            Reply::Version => {
                out.put_u8(packet::VERSION);
                out.put_u32(VERSION);
                for (name, version) in table::advertised_extensions() {
                    put_string(out, name.as_bytes());
                    put_string(out, version.as_bytes());
                }
            }
            Reply::Status { id, code, message } => {
                head(out, packet::STATUS, *id);
                out.put_u32(*code as u32);
                put_string(out, message.as_bytes());
                put_string(out, b"en");
            }
            Reply::Handle { id, handle } => {
                head(out, packet::HANDLE, *id);
                put_string(out, handle.text().as_bytes());
            }
            Reply::Data { id, data } => {
                head(out, packet::DATA, *id);
                put_string(out, data);
            }
            Reply::Names { id, names } => {
                head(out, packet::NAME, *id);
                out.put_u32(names.count);
                out.put_slice(&names.encoded);
            }
            Reply::Attributes { id, attributes } => {
                head(out, packet::ATTRS, *id);
                attributes::encode(attributes, out);
            }
            Reply::Extended { id, payload } => {
                head(out, packet::EXTENDED_REPLY, *id);
                out.put_slice(payload);
            }
        }
    }
}

fn head(out: &mut BytesMut, kind: u8, id: u32) {
    out.put_u8(kind);
    out.put_u32(id);
}
