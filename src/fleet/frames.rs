//! What Redis answers, before it is parsed: bounded, so that no answer can take the memory of the process.
//!
//! The client library makes room for whatever length an answer announces. So lengths are read here first, as the bytes pass, and an
//! answer that is too long ends the connection. Only what RESP2 has is let through (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest answer, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// The most elements of one array; what a page of sessions or of news has is far below.
const MOST_ELEMENTS: u32 = 16_384;

/// How deep arrays lie within one another.
const DEEPEST: usize = 8;

/// The longest line: an error's text.
const LONGEST_LINE: usize = 4096;

/// Where in the answers the bytes are.
#[derive(Debug, Default)]
struct Frames {
    /// The beginning of the line that is under way.
    line: Vec<u8>,
    /// How many bytes of a text are still to come, with its end of line.
    text: usize,
    /// How many elements of each array are still to come.
    open: Vec<u32>,
    /// Bytes of the answer so far.
    bytes: usize,
}

impl Frames {
    /// Goes on with what has arrived.
    ///
    /// # Errors
    /// What is too long, or is no answer.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let taken = match self.text {
                0 => self.line(bytes)?,
                left => self.some_text(left.min(bytes.len())),
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Takes part of a text.
    fn some_text(&mut self, length: usize) -> usize {
        self.text -= length;
        if self.text == 0 {
            self.has_element();
        }
        length
    }

    /// Takes bytes up to the end of a line; how many.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + part.len() > LONGEST_LINE {
            return Err("a line is too long");
        }
        self.line.extend_from_slice(part);
        self.count(part.len())?;
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.begins(&line)?;
        }
        Ok(part.len())
    }

    fn count(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MOST_BYTES { Err("an answer is too long") } else { Ok(()) }
    }

    /// A whole line: an element, or the length of one.
    fn begins(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\r\n").ok_or("a line has no end")?;
        let number = || std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse::<i64>().ok());
        match line.first() {
            Some(b'+' | b'-') => self.has_element(),
            Some(b':') => {
                number().ok_or("a number is none")?;
                self.has_element();
            }
            Some(b'$') => match number().ok_or("a length is none")? {
                ..0 => self.has_element(),
                length => {
                    let length = usize::try_from(length).map_err(|_| "a text is too long")?.saturating_add(2);
                    self.count(length)?;
                    self.text = length;
                }
            },
            Some(b'*') => match number().ok_or("a length is none")? {
                ..=0 => self.has_element(),
                length => {
                    let length = u32::try_from(length).ok().filter(|length| *length <= MOST_ELEMENTS);
                    self.open.push(length.ok_or("an array is too long")?);
                    if self.open.len() > DEEPEST {
                        return Err("arrays lie too deep");
                    }
                }
            },
            _ => return Err("it speaks something else than RESP2"),
        }
        Ok(())
    }

    /// An element is complete, and so are the arrays whose last one it was.
    fn has_element(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.bytes = 0;
    }
}

/// A connection whose answers are bounded.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    frames: Frames,
}

impl<S> Bounded<S> {
    /// Nothing has come yet.
    pub(super) fn new(stream: S) -> Bounded<S> {
        Bounded { stream, frames: Frames::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let passed = self.frames.pass(&buf.filled()[before..]);
        Poll::Ready(passed.map_err(|what| {
            buf.set_filled(before);
            io::Error::new(io::ErrorKind::InvalidData, format!("Redis gives an answer that cannot be used: {what}"))
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Whether answers pass, however they are cut into pieces.
    fn pass(answers: &[u8]) -> Result<(), &'static str> {
        let whole = Frames::default().pass(answers);
        let mut frames = Frames::default();
        let in_bytes = answers.chunks(1).try_for_each(|byte| frames.pass(byte));
        assert_eq!(whole, in_bytes, "{}", String::from_utf8_lossy(answers));
        whole
    }

    #[test]
    fn answers_pass_and_what_is_too_long_does_not() {
        for answer in [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":-1\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$3\r\na\nb\r\n",
            b"*-1\r\n",
            b"*0\r\n",
        ] {
            assert_eq!(pass(answer), Ok(()), "{}", String::from_utf8_lossy(answer));
        }
        assert_eq!(pass(b"*2\r\n*2\r\n:1\r\n$1\r\nx\r\n+x\r\n:5\r\n"), Ok(()));
        assert_eq!(pass(b"*2147483647\r\n"), Err("an array is too long"));
        assert_eq!(pass(b"*1\r\n*99999999999999999999\r\n"), Err("a length is none"));
        assert_eq!(pass(b"$536870912\r\n"), Err("an answer is too long"));
        assert_eq!(pass(b"$9223372036854775807\r\n"), Err("an answer is too long"));
        assert_eq!(pass(&b"*1\r\n".repeat(9)), Err("arrays lie too deep"));
        assert_eq!(pass(&[b'+'; 5000]), Err("a line is too long"));
        for other in [&b"%1\r\n"[..], b">1\r\n", b"HTTP/1.1 400\r\n", b"\r\n", b"=3\r\n", b"(9\r\n"] {
            assert_eq!(pass(other), Err("it speaks something else than RESP2"));
        }
        assert_eq!(pass(b"+OK\n"), Err("a line has no end"));
    }

    #[test]
    fn each_answer_has_its_own_bound() {
        let half = format!("$2000000\r\n{}\r\n", "x".repeat(2_000_000));
        let mut frames = Frames::default();
        for _ in 0..5 {
            frames.pass(half.as_bytes()).unwrap();
        }
        let mut frames = Frames::default();
        frames.pass(b"*3\r\n").unwrap();
        frames.pass(half.as_bytes()).unwrap();
        frames.pass(half.as_bytes()).unwrap();
        assert_eq!(frames.pass(half.as_bytes()), Err("an answer is too long"));
    }

    #[tokio::test]
    async fn a_connection_ends_with_an_answer_that_is_too_long() {
        let mut stream = Bounded::new(&b"+OK\r\n"[..]);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"+OK\r\n");
        let mut stream = Bounded::new(&b"*2147483647\r\n"[..]);
        let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_hold_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = pass(&bytes);
        }

        #[test]
        fn answers_of_the_protocols_own_letters_neither(
            text in prop::collection::vec(prop::sample::select(vec!["*", "$", ":", "+", "-1", "2", "9", "\r\n", "x"]), 0..60)
        ) {
            let mut frames = Frames::default();
            let _ = frames.pass(text.concat().as_bytes());
            prop_assert!(frames.line.len() <= LONGEST_LINE && frames.open.len() <= DEEPEST + 1);
        }
    }
}
