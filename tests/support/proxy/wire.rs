//! HTTP/1.1 on the wire: heads, and bodies by length, in chunks, or up to the end of the connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head.
const LONGEST_HEAD: usize = 64 << 10;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// One direction of a connection, with what was read too far.
pub struct Input<R> {
    stream: R,
    buffer: Vec<u8>,
    /// What of `buffer` was given already.
    start: usize,
}

impl<R: AsyncRead + Unpin> Input<R> {
    pub fn new(stream: R) -> Self {
        Input { stream, buffer: Vec::new(), start: 0 }
    }

    pub fn stream(&self) -> &R {
        &self.stream
    }

    /// Everything up to the empty line, with it; `None` when the connection ended before it began.
    pub async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(self.take(end + 4)));
            }
            if rest.len() > LONGEST_HEAD {
                return Err(io::Error::other("the head is too long"));
            }
            let empty = rest.is_empty();
            if self.read_more().await? == 0 {
                return if empty { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Hands a body on as it is, at most `most` bytes of it; whether it was given to its end.
    pub async fn body(&mut self, framing: Framing, to: &mut (impl AsyncWrite + Unpin), most: u64) -> io::Result<bool> {
        let mut left = most;
        match framing {
            Framing::Length(length) => self.pass(length, to, &mut left).await,
            Framing::UntilEnd => {
                while left > 0 {
                    let held = (self.buffer.len() - self.start) as u64;
                    if held == 0 && self.read_more().await? == 0 {
                        return Ok(true);
                    }
                    let held = (self.buffer.len() - self.start) as u64;
                    self.pass(held, to, &mut left).await?;
                }
                Ok(false)
            }
            Framing::Chunked => self.chunks(to, &mut left).await,
        }
    }

    async fn chunks(&mut self, to: &mut (impl AsyncWrite + Unpin), left: &mut u64) -> io::Result<bool> {
        loop {
            let line = self.line().await?;
            let digits = line.split(|byte| *byte == b';' || *byte == b'\r').next().unwrap_or_default();
            let digits = std::str::from_utf8(digits).map_err(io::Error::other)?;
            let length = u64::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
            to.write_all(&line).await?;
            if length > 0 {
                if !self.pass(length + 2, to, left).await? {
                    return Ok(false);
                }
                continue;
            }
            // Trailers, then an empty line.
            loop {
                let line = self.line().await?;
                to.write_all(&line).await?;
                if line == b"\r\n" {
                    return Ok(true);
                }
            }
        }
    }

    /// Hands on `length` bytes, or as many as are left; whether it was all.
    async fn pass(&mut self, length: u64, to: &mut (impl AsyncWrite + Unpin), left: &mut u64) -> io::Result<bool> {
        let mut wanted = length.min(*left);
        let all = wanted == length;
        *left -= wanted;
        while wanted > 0 {
            if self.start == self.buffer.len() && self.read_more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = (self.buffer.len() - self.start).min(usize::try_from(wanted).unwrap_or(usize::MAX));
            to.write_all(&self.buffer[self.start..self.start + count]).await?;
            self.start += count;
            wanted -= count as u64;
        }
        Ok(all)
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
                return Ok(self.take(end + 2));
            }
            if rest.len() > LONGEST_HEAD || self.read_more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        taken
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        self.buffer.reserve(256 << 10);
        self.stream.read_buf(&mut self.buffer).await
    }
}

/// A header of a head, by its name in small letters.
pub fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let text = std::str::from_utf8(head).ok()?;
    let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// How the body after a head ends; `otherwise` when the head does not say.
pub fn framing(head: &[u8], otherwise: Framing) -> Framing {
    if header(head, "transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return Framing::Chunked;
    }
    header(head, "content-length").and_then(|text| text.parse().ok()).map_or(otherwise, Framing::Length)
}

/// The status of an answer.
pub fn status(head: &[u8]) -> u16 {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words = std::str::from_utf8(line).unwrap_or_default();
    words.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A head without one of its headers.
pub fn without(head: &[u8], name: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let kept = text
        .split_inclusive("\r\n")
        .filter(|line| line.split_once(':').is_none_or(|(known, _)| !known.eq_ignore_ascii_case(name)));
    kept.collect::<String>().into_bytes()
}
