//! A stream to lines of bounded length, unpacked when it is gzip.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes of the longest line. An event of the longest texts, each byte of them escaped, has less than a quarter of it.
pub(super) const MAX_LINE: usize = 1 << 20;

/// The first bytes of gzip (RFC 1952 section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Reads line after line.
pub(super) struct LineReader {
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    offset: u64,
}

/// What was read.
pub(super) enum Raw {
    /// A line: [`LineReader::line`]. The last one may have no newline.
    Line,
    /// A line longer than [`MAX_LINE`]; it was passed over.
    TooLong,
    /// Nothing: the stream is at its end.
    End,
}

impl LineReader {
    /// Looks at the first bytes to see whether the stream is packed.
    ///
    /// # Errors
    /// The stream's.
    pub(super) fn new(mut input: impl BufRead + Send + 'static) -> io::Result<Self> {
        let input: Box<dyn BufRead + Send> = if input.fill_buf()?.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(super::BUFFER, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        Ok(LineReader { input, line: Vec::new(), number: 0, offset: 0 })
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line that was read last, without its newline.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// The stream's.
    pub(super) fn advance(&mut self) -> io::Result<Raw> {
        self.line.clear();
        let length = (&mut self.input).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line)?;
        if length == 0 {
            return Ok(Raw::End);
        }
        self.number += 1;
        self.offset += length as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if length > MAX_LINE {
            self.line.clear();
            self.offset += self.input.skip_until(b'\n')? as u64;
            return Ok(Raw::TooLong);
        }
        Ok(Raw::Line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn all(content: Vec<u8>) -> Vec<(u64, String)> {
        let mut reader = LineReader::new(io::Cursor::new(content)).unwrap();
        let mut found = Vec::new();
        loop {
            let offset = reader.offset();
            match reader.advance().unwrap() {
                Raw::End => return found,
                Raw::TooLong => found.push((offset, "too long".into())),
                Raw::Line => found.push((offset, String::from_utf8_lossy(reader.line()).into_owned())),
            }
        }
    }

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_have_their_offsets_packed_or_not() {
        let expected = [(0, "a".to_owned()), (2, String::new()), (3, "bc".to_owned())];
        assert_eq!(all(b"a\n\nbc".to_vec()), expected);
        assert_eq!(all(packed(b"a\n\nbc")), expected);
        // As several members behind each other.
        assert_eq!(all([packed(b"a\n"), packed(b"\nbc")].concat()), expected);
        assert!(all(Vec::new()).is_empty());
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut content = vec![b'x'; 3 * MAX_LINE];
        content.extend_from_slice(b"\nnext\n");
        assert_eq!(all(content), [(0, "too long".to_owned()), (3 * MAX_LINE as u64 + 1, "next".to_owned())]);
        let mut longest = vec![b'x'; MAX_LINE];
        longest.push(b'\n');
        assert_eq!(all(longest)[0].1.len(), MAX_LINE);
    }

    #[test]
    fn gzip_that_is_cut_is_an_error() {
        let whole = packed(b"a line\n");
        let mut reader = LineReader::new(io::Cursor::new(whole[..whole.len() - 4].to_vec())).unwrap();
        let mut last = reader.advance();
        for _ in 0..2 {
            if last.is_ok() {
                last = reader.advance();
            }
        }
        assert_eq!(last.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
