//! Packet numbers and the primitive types of draft-ietf-secsh-filexfer-02: big-endian numbers, strings with a length.

use bytes::{BufMut, Bytes, BytesMut};

/// Packet types, draft-ietf-secsh-filexfer-02 section 3.
pub(super) mod packet {
    pub(in crate::sftp) const INIT: u8 = 1;
    pub(in crate::sftp) const VERSION: u8 = 2;
    pub(in crate::sftp) const OPEN: u8 = 3;
    pub(in crate::sftp) const CLOSE: u8 = 4;
    pub(in crate::sftp) const READ: u8 = 5;
    pub(in crate::sftp) const WRITE: u8 = 6;
    pub(in crate::sftp) const LSTAT: u8 = 7;
    pub(in crate::sftp) const FSTAT: u8 = 8;
    pub(in crate::sftp) const SETSTAT: u8 = 9;
    pub(in crate::sftp) const FSETSTAT: u8 = 10;
    pub(in crate::sftp) const OPENDIR: u8 = 11;
    pub(in crate::sftp) const READDIR: u8 = 12;
    pub(in crate::sftp) const REMOVE: u8 = 13;
    pub(in crate::sftp) const MKDIR: u8 = 14;
    pub(in crate::sftp) const RMDIR: u8 = 15;
    pub(in crate::sftp) const REALPATH: u8 = 16;
    pub(in crate::sftp) const STAT: u8 = 17;
    pub(in crate::sftp) const RENAME: u8 = 18;
    pub(in crate::sftp) const READLINK: u8 = 19;
    pub(in crate::sftp) const SYMLINK: u8 = 20;
    pub(in crate::sftp) const STATUS: u8 = 101;
    pub(in crate::sftp) const HANDLE: u8 = 102;
    pub(in crate::sftp) const DATA: u8 = 103;
    pub(in crate::sftp) const NAME: u8 = 104;
    pub(in crate::sftp) const ATTRS: u8 = 105;
    pub(in crate::sftp) const EXTENDED: u8 = 200;
    pub(in crate::sftp) const EXTENDED_REPLY: u8 = 201;
}

/// The big-endian number at `at`.
pub(super) fn u32_at(buffer: &[u8], at: usize) -> Option<u32> {
    let bytes = buffer.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Reads the fields of a packet. Every method gives `None` when the packet ends before the field does.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    packet: &'a Bytes,
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(packet: &'a Bytes) -> Self {
        Fields { packet, at: 0 }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.packet.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// A string, which may hold any bytes.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    /// A string as a slice of the packet, without copying.
    pub(super) fn slice(&mut self) -> Option<Bytes> {
        let taken = self.string()?;
        Some(self.packet.slice_ref(taken))
    }
}

/// Appends a string.
pub(super) fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(length_of(text));
    out.put_slice(text);
}

/// The length field of a string. Nothing that is sent comes near the limit of the type.
pub(super) fn length_of(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_where_the_packet_ends() {
        let packet = Bytes::from_static(&[1, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 9, b'c']);
        let mut fields = Fields::new(&packet);
        assert_eq!(fields.u8(), Some(1));
        assert_eq!(fields.string(), Some(&b"ab"[..]));
        assert_eq!(fields.u64(), None);
        assert_eq!(fields.string(), None, "it declares nine bytes and has one");
        assert_eq!(Fields::new(&Bytes::from_static(&[255; 7])).string(), None);
    }

    #[test]
    fn a_slice_is_not_a_copy() {
        let packet = Bytes::from(vec![0, 0, 0, 1, 42]);
        let slice = Fields::new(&packet).slice().unwrap();
        assert_eq!(slice.as_ptr(), packet.as_ptr().wrapping_add(4));
    }
}
