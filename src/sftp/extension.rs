//! The extensions of OpenSSH's PROTOCOL file (section 4) and of draft-ietf-secsh-filexfer-extensions-00: their requests and
//! the replies that are theirs alone.

use bytes::{BufMut, Bytes, BytesMut};

use super::limits::{MAX_DATA, MAX_HANDLES, MAX_IDS, MAX_PACKET};
use super::reply::Reply;
use super::request::{CopyData, Decoded, Flaw, ImmediateCall, PathCall, handle, need, path};
use super::wire::{Fields, put_string};
use crate::path::LogicalPath;
use crate::session::Capacity;
use crate::session::SessionResult;

/// The block size of `statvfs` replies, in bytes.
const BLOCK: u64 = 4096;

/// The capacity that is shown for a store that has no bound of its own: 1 PiB, all of it free. `df` and clients that look
/// before they write need a number, and one that stays exact in their arithmetic.
const UNBOUNDED: Capacity = Capacity { total: 1 << 50, free: 1 << 50 };

/// `statvfs@openssh.com`.
pub(super) fn file_system_of(fields: &mut Fields<'_>) -> Decoded<PathCall> {
    Ok(PathCall::FileSystem(path(fields)?))
}

/// `expand-path@openssh.com`: `~`, `~/x` and `~user/x` start at a home; anything else is taken as REALPATH does.
pub(super) fn expand_path(fields: &mut Fields<'_>) -> Decoded<ImmediateCall> {
    let raw = need(fields.string())?;
    let Some(after_tilde) = raw.strip_prefix(b"~") else {
        return Ok(ImmediateCall::RealPath(LogicalPath::parse(raw)?));
    };
    let name_ends = after_tilde.iter().position(|&b| b == b'/').unwrap_or(after_tilde.len());
    let (user, rest) = after_tilde.split_at(name_ends);
    Ok(ImmediateCall::ExpandHome { user: Bytes::copy_from_slice(user), rest: LogicalPath::parse(rest)? })
}

/// `home-directory`.
pub(super) fn home_directory(fields: &mut Fields<'_>) -> Decoded<ImmediateCall> {
    Ok(ImmediateCall::HomeDirectory(Bytes::copy_from_slice(need(fields.string())?)))
}

/// `users-groups-by-id@openssh.com`.
pub(super) fn user_names(fields: &mut Fields<'_>) -> Decoded<ImmediateCall> {
    Ok(ImmediateCall::UserNames { users: ids(fields)?, groups: ids(fields)? })
}

/// `copy-data`.
pub(super) fn copy_data(fields: &mut Fields<'_>) -> Decoded<CopyData> {
    Ok(CopyData {
        from: handle(fields)?,
        from_offset: need(fields.u64())?,
        length: need(fields.u64())?,
        to: handle(fields)?,
        to_offset: need(fields.u64())?,
    })
}

/// A string that holds numbers.
fn ids(fields: &mut Fields<'_>) -> Decoded<Vec<u32>> {
    let raw = need(fields.string())?;
    let (numbers, rest) = raw.as_chunks::<4>();
    if !rest.is_empty() || numbers.len() > MAX_IDS {
        return Err(Flaw::Malformed);
    }
    Ok(numbers.iter().map(|number| u32::from_be_bytes(*number)).collect())
}

/// The reply to `limits@openssh.com`.
pub(super) fn limits_reply() -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    for limit in [MAX_PACKET, MAX_DATA, MAX_DATA, MAX_HANDLES] {
        out.put_u64(u64::try_from(limit).unwrap_or(u64::MAX));
    }
    out.freeze()
}

/// The reply to `statvfs@openssh.com` and `fstatvfs@openssh.com`.
pub(super) fn file_system_reply(id: u32, capacity: SessionResult<Option<Capacity>>) -> Reply {
    match capacity {
        Ok(capacity) => Reply::Extended { id, payload: file_system(capacity) },
        Err(error) => Reply::error(id, error),
    }
}

/// The fields of `statvfs(2)` in OpenSSH's order.
fn file_system(capacity: Option<Capacity>) -> Bytes {
    const FILES: u64 = 1 << 32;
    const NO_SET_UID: u64 = 2;
    let capacity = capacity.unwrap_or(UNBOUNDED);
    let (blocks, free) = (capacity.total / BLOCK, capacity.free / BLOCK);
    let name_max = u64::try_from(crate::path::MAX_COMPONENT).unwrap_or(u64::MAX);
    let mut out = BytesMut::with_capacity(88);
    for field in [BLOCK, BLOCK, blocks, free, free, FILES, FILES, FILES, 0, NO_SET_UID, name_max] {
        out.put_u64(field);
    }
    out.freeze()
}

/// The reply to `users-groups-by-id@openssh.com`: a name for each id, empty where there is none.
pub(super) fn user_names_reply(users: &[u32], groups: &[u32], user: &str) -> Bytes {
    let names = |ids: &[u32], known: u32| {
        let mut out = BytesMut::new();
        for &id in ids {
            put_string(&mut out, if id == known { user.as_bytes() } else { b"" });
        }
        out
    };
    let mut out = BytesMut::new();
    put_string(&mut out, &names(users, super::attributes::USER_ID));
    put_string(&mut out, &names(groups, super::attributes::GROUP_ID));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_openssh_with_more_handles() {
        let golden: Vec<u8> = [262_144u64, 261_120, 261_120, 4_096].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert_eq!(limits_reply(), golden);
    }

    #[test]
    fn capacity_is_shown_in_blocks() {
        let known = file_system(Some(Capacity { total: 10 * BLOCK + 1, free: 3 * BLOCK }));
        let field = |reply: &Bytes, n: usize| reply[n * 8 + 7];
        assert_eq!(known.len(), 88);
        assert_eq!((field(&known, 2), field(&known, 3), field(&known, 4)), (10, 3, 3));
        assert_eq!(file_system(None)[16..24], (1u64 << 38).to_be_bytes());
    }

    #[test]
    fn only_ones_own_id_has_a_name() {
        let reply = user_names_reply(&[1000, 0], &[7], "ann");
        let golden = [&[0, 0, 0, 11, 0, 0, 0, 3, b'a', b'n', b'n', 0, 0, 0, 0][..], &[0, 0, 0, 4, 0, 0, 0, 0]].concat();
        assert_eq!(reply, golden);
    }
}
