//! Packed files that can be read from their end: gzip in members of whole lines, each of which says in its header how long it is.
//!
//! Any program that reads gzip reads them (RFC 1952, section 2.2: members simply follow each other). The length is in a subfield of
//! the extra field (section 2.3.1.1), so that a look at the headers alone finds all members.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::lines::MAX_LINE;
use super::newest::id_of;

/// Bytes of lines after which a member ends with its line.
const MEMBER: usize = 1 << 20;

/// The most bytes of lines in a member: a packer ends it with the line that fills it.
const MOST_OF_MEMBER: u64 = (MEMBER + MAX_LINE) as u64;

/// The most members of a file that are looked up; one that has more is read forwards. So many full ones are 64 GiB of lines.
const MOST_MEMBERS: usize = 1 << 16;

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
    /// Those of a file; `None` when another program packed it, when its end is missing, when it has very many, and when `is_over`.
    /// The file is at its beginning then.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn of(file: &mut File, is_over: impl Fn() -> bool) -> io::Result<Option<Members>> {
        let size = file.seek(SeekFrom::End(0))?;
        let mut members = Vec::new();
        let mut end = 0;
        while end < size {
            let member = if members.len() < MOST_MEMBERS && !is_over() { member_at(file, end)? } else { None };
            let Some(member) = member.filter(|member| end + member.length <= size) else {
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

    /// The lines of a member; `None` when its length is not what its header says, when it is longer than a packer makes one, and when it
    /// cannot be unpacked. A reader that trusted the header would pass over lines that every other program finds.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn content(&self, file: &mut File, index: usize) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        let mut member = GzDecoder::new(self.packed(file, index)?);
        match (&mut member).take(MOST_OF_MEMBER + 1).read_to_end(&mut content) {
            Err(error) if super::is_of_content(&error) => return Ok(None),
            Err(error) => return Err(error),
            Ok(length) if length as u64 > MOST_OF_MEMBER => return Ok(None),
            Ok(_) => {}
        }
        let is_all = member.get_mut().fill_buf()?.is_empty();
        Ok(is_all.then_some(content))
    }

    /// The first id of a member, looked for in as many bytes as a packer puts into one.
    fn first_id(&self, file: &mut File, index: usize) -> io::Result<Option<String>> {
        let mut lines = BufReader::new(GzDecoder::new(self.packed(file, index)?).take(MOST_OF_MEMBER));
        let mut line = Vec::new();
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if super::is_of_content(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(id) = id_of(&line).filter(|_| line.len() <= MAX_LINE + 1) {
                return Ok(Some(id.to_owned()));
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
            let members = Members::of(&mut file, || false).unwrap().unwrap();
            assert_eq!(members.count(), 4, "{at_once}");
            let contents: Vec<_> = (0..4).map(|index| members.content(&mut file, index).unwrap().unwrap()).collect();
            assert!(contents.iter().all(|content| content.ends_with(b"\n") && content.len() < MEMBER + 6000));
            assert!(contents.concat() == text.as_bytes());
            file.seek(SeekFrom::Start(0)).unwrap();
            let mut whole = String::new();
            MultiGzDecoder::new(&file).read_to_string(&mut whole).unwrap();
            assert!(whole == text, "any program reads it");
        }
        let mut empty = packed(b"", 1);
        let members = Members::of(&mut empty, || false).unwrap().unwrap();
        assert_eq!((members.count(), members.content(&mut empty, 0).unwrap()), (1, Some(Vec::new())));
    }

    #[test]
    fn the_members_that_are_old_enough_are_found_by_their_first_lines() {
        let mut file = packed((0..2000).map(line).collect::<String>().as_bytes(), 1 << 20);
        let members = Members::of(&mut file, || false).unwrap().unwrap();
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
        assert!(Members::of(&mut file.try_clone().unwrap(), || false).unwrap().is_none());
        let mut other = GzEncoder::new(tempfile::tempfile().unwrap(), Compression::fast());
        other.write_all(b"{}\n").unwrap();
        assert!(Members::of(&mut other.finish().unwrap(), || false).unwrap().is_none());
    }

    /// The offsets at which the members begin.
    fn starts(members: &Members) -> Vec<u64> {
        members.0.iter().map(|member| member.start).collect()
    }

    #[test]
    fn a_length_that_is_not_the_members_is_not_trusted() {
        let mut file = packed((0..2000).map(line).collect::<String>().as_bytes(), 1 << 20);
        let honest = Members::of(&mut file, || false).unwrap().unwrap();
        // The first header covers the second member as well; every program that ignores our subfield reads the same as before.
        let both = u32::try_from(starts(&honest)[2]).unwrap();
        file.seek(SeekFrom::Start(LENGTH_AT as u64)).unwrap();
        file.write_all(&both.to_le_bytes()).unwrap();
        let members = Members::of(&mut file, || false).unwrap().unwrap();
        assert_eq!(members.count(), 3);
        assert_eq!(members.content(&mut file, 0).unwrap(), None);
        assert!(members.content(&mut file, 1).unwrap().is_some());
    }

    #[test]
    fn a_member_that_unpacks_to_more_than_a_packer_makes_is_neither_kept_nor_searched_to_its_end() {
        let mut bomb = begin();
        for _ in 0..64 {
            bomb.write_all(&[b'x'; MEMBER]).unwrap();
        }
        bomb.write_all(b"\n").unwrap();
        bomb.write_all(line(1).as_bytes()).unwrap();
        let mut packer = Packer { target: tempfile::tempfile().unwrap(), member: bomb, length: 1, is_empty: false };
        packer.end_member().unwrap();
        let mut file = packer.target;
        let members = Members::of(&mut file, || false).unwrap().unwrap();
        assert_eq!(members.content(&mut file, 0).unwrap(), None);
        assert_eq!(members.first_id(&mut file, 0).unwrap(), None, "it stands behind more than a member has");
    }

    #[test]
    fn very_many_members_are_not_looked_up_nor_any_when_time_is_over() {
        let mut header = [0; HEADER + 1];
        header[..BEGINNING.len()].copy_from_slice(BEGINNING);
        header[SUBFIELD_AT..LENGTH_AT].copy_from_slice(SUBFIELD);
        header[LENGTH_AT] = header.len() as u8;
        for (count, found) in [(MOST_MEMBERS, true), (MOST_MEMBERS + 1, false)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&header.repeat(count)).unwrap();
            assert_eq!(Members::of(&mut file, || false).unwrap().is_some(), found);
            assert!(Members::of(&mut file, || true).unwrap().is_none());
        }
    }
}
