//! Packed files that can be read from their end: gzip in members of whole lines, each of which says in its header how long it is.
//!
//! Any program that reads gzip reads them (RFC 1952, section 2.2: members simply follow each other). The length is in a subfield of
//! the extra field (section 2.3.1.1), so that a look at the headers alone finds all members.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::lines::{LineReader, MAX_LINE, Raw};
use super::newest::id_of;

/// Bytes of lines after which a member ends with its line.
const MEMBER: usize = 1 << 20;

/// Bytes of a member's header: the fixed part, the length of the extra field, and our subfield.
const HEADER: usize = 20;

/// How such a header begins: gzip, deflate, an extra field.
const BEGINNING: &[u8] = &[0x1f, 0x8b, 8, 4];

/// The length of the extra field, and the beginning of our subfield: its name, and the length of what follows.
const SUBFIELD: &[u8] = &[8, 0, b'L', b'G', 4, 0];

/// Where [`SUBFIELD`] and the length of the member stand in the header.
const SUBFIELD_AT: usize = 10;
const LENGTH_AT: usize = 16;

/// Packs lines into members.
#[derive(Debug)]
pub struct Packer<W> {
    target: W,
    member: GzEncoder<Vec<u8>>,
    /// Bytes of lines in `member`.
    length: usize,
    is_empty: bool,
}

impl<W: Write> Packer<W> {
    /// Packs into `target`.
    pub fn new(target: W) -> Self {
        Packer { target, member: begin(), length: 0, is_empty: true }
    }

    /// Takes more lines, in pieces of any length.
    ///
    /// # Errors
    /// The target's.
    pub fn write(&mut self, mut block: &[u8]) -> io::Result<()> {
        while !block.is_empty() {
            let from = MEMBER.saturating_sub(self.length).min(block.len());
            let newline = block.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
            let (part, rest) = block.split_at(newline.map_or(block.len(), |at| from + at + 1));
            self.member.write_all(part)?;
            self.length += part.len();
            if newline.is_some() {
                self.end_member()?;
            }
            block = rest;
        }
        Ok(())
    }

    /// The target, with all members in it.
    ///
    /// # Errors
    /// The target's.
    pub fn finish(mut self) -> io::Result<W> {
        // A file without a line is one of gzip as well.
        if self.length > 0 || self.is_empty {
            self.end_member()?;
        }
        Ok(self.target)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let mut member = std::mem::replace(&mut self.member, begin()).finish()?;
        let length = u32::try_from(member.len()).map_err(io::Error::other)?;
        if let Some(place) = member.get_mut(LENGTH_AT..HEADER) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        (self.length, self.is_empty) = (0, false);
        self.target.write_all(&member)
    }
}

fn begin() -> GzEncoder<Vec<u8>> {
    let mut extra = SUBFIELD.get(2..).unwrap_or_default().to_vec();
    extra.extend([0; HEADER - LENGTH_AT]);
    GzBuilder::new().mtime(0).extra(extra).write(Vec::new(), Compression::default())
}

/// Where the members of a file are.
#[derive(Debug)]
pub(super) struct Members(Vec<Member>);

#[derive(Debug, Clone, Copy)]
struct Member {
    start: u64,
    length: u64,
}

impl Members {
    /// Those of a file; `None` when another program packed it, and when its end is missing. The file is at its beginning then.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn of(file: &mut File) -> io::Result<Option<Members>> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut members = Vec::new();
        let mut end = 0;
        while end < size {
            let Some(member) = member_at(file, end)?.filter(|member| end + member.length <= size) else {
                file.seek(SeekFrom::Start(0))?;
                return Ok(None);
            };
            end += member.length;
            members.push(member);
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Some(Members(members)))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many, from the first on, may have lines that are older than the event of this id: found by halving, for ids ascend.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn older_than(&self, file: &mut File, id: &str) -> io::Result<usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_id(file, middle)? {
                Some(first) if first.as_str() >= id => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// The lines of a member. Of one that cannot be unpacked to its end, what stands before counts.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn content(&self, file: &mut File, index: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // A packer ends a member with the line that fills it; one that is longer was made to take memory.
        let mut most = GzDecoder::new(self.packed(file, index)?).take((MEMBER + MAX_LINE) as u64 + 1);
        match most.read_to_end(&mut content) {
            Err(error) if !super::is_of_content(&error) => Err(error),
            _ => Ok(content),
        }
    }

    fn first_id(&self, file: &mut File, index: usize) -> io::Result<Option<String>> {
        let mut lines = LineReader::new(self.packed(file, index)?)?;
        loop {
            match lines.advance() {
                Ok(Raw::End) => return Ok(None),
                Ok(Raw::TooLong) => {}
                Ok(Raw::Line) => {
                    if let Some(id) = id_of(lines.line()) {
                        return Ok(Some(id.to_owned()));
                    }
                }
                Err(error) if super::is_of_content(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of a member as they are in the file.
    fn packed(&self, file: &mut File, index: usize) -> io::Result<BufReader<io::Take<File>>> {
        let member = self.0.get(index).copied().unwrap_or(Member { start: 0, length: 0 });
        file.seek(SeekFrom::Start(member.start))?;
        Ok(BufReader::with_capacity(16 * 1024, file.try_clone()?.take(member.length)))
    }
}

/// The member that begins here, if it is one of ours.
fn member_at(file: &mut File, start: u64) -> io::Result<Option<Member>> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(start))?;
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(length_of(&header).map(|length| Member { start, length })),
    }
}

/// The length that a header names, if it is one of ours.
fn length_of(header: &[u8; HEADER]) -> Option<u64> {
    let is_ours = header.starts_with(BEGINNING) && header.get(SUBFIELD_AT..LENGTH_AT)? == SUBFIELD;
    let length = header.get(LENGTH_AT..HEADER)?.try_into().ok()?;
    let length = u64::from(u32::from_le_bytes(length));
    (is_ours && length > HEADER as u64).then_some(length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flate2::read::MultiGzDecoder;

    use super::*;

    fn line(number: usize) -> String {
        let filling = "x".repeat(number * 2);
        format!("{{\"event-id\":\"019fb73e-20fa-7b3d-8f21-{number:012}\",\"message\":\"{filling}\"}}\n")
    }

    fn packed(content: &[u8], at_once: usize) -> File {
        let mut packer = Packer::new(tempfile::tempfile().unwrap());
        for piece in content.chunks(at_once) {
            packer.write(piece).unwrap();
        }
        packer.finish().unwrap()
    }

    #[test]
    fn members_are_whole_lines_and_together_they_are_the_file() {
        let text: String = (0..2000).map(line).collect();
        for at_once in [1000, 65_536, 10_000_000] {
            let mut file = packed(text.as_bytes(), at_once);
            let members = Members::of(&mut file).unwrap().unwrap();
            assert_eq!(members.count(), 4, "{at_once}");
            let contents: Vec<_> = (0..4).map(|index| members.content(&mut file, index).unwrap()).collect();
            assert!(contents.iter().all(|content| content.ends_with(b"\n") && content.len() < MEMBER + 6000));
            assert!(contents.concat() == text.as_bytes());
            file.seek(SeekFrom::Start(0)).unwrap();
            let mut whole = String::new();
            MultiGzDecoder::new(&file).read_to_string(&mut whole).unwrap();
            assert!(whole == text, "any program reads it");
        }
        let mut empty = packed(b"", 1);
        let members = Members::of(&mut empty).unwrap().unwrap();
        assert_eq!((members.count(), members.content(&mut empty, 0).unwrap()), (1, Vec::new()));
    }

    #[test]
    fn the_members_that_are_old_enough_are_found_by_their_first_lines() {
        let mut file = packed((0..2000).map(line).collect::<String>().as_bytes(), 1 << 20);
        let members = Members::of(&mut file).unwrap().unwrap();
        let id = |number: usize| line(number)[13..49].to_owned();
        let firsts: Vec<String> = (0..4).map(|at| members.first_id(&mut file, at).unwrap().unwrap()).collect();
        let mut older = |id: &str| members.older_than(&mut file, id).unwrap();
        assert_eq!((older(&id(0)), older(&id(1)), older(&id(9999))), (0, 1, 4));
        assert_eq!((older(&firsts[2]), older(&firsts[3])), (2, 3));
    }

    #[test]
    fn what_others_packed_and_what_is_cut_is_left_to_those_who_read_forwards() {
        let file = packed((0..2000).map(line).collect::<String>().as_bytes(), 1 << 20);
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert!(Members::of(&mut file.try_clone().unwrap()).unwrap().is_none());
        let mut other = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast());
        other.write_all(b"{}\n").unwrap();
        assert!(Members::of(&mut other.finish().unwrap()).unwrap().is_none());
    }
}
