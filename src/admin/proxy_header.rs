//! Health checks of a balancer that says where they come from: a PROXY header before the request is passed over. What it says is
//! of no use here, so it is not looked at.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2 that is passed over: the fixed part, and what a few extensions take.
const LONGEST_BINARY: usize = 4096;

/// A stream of which some bytes were read already.
pub(super) struct Begun<S> {
    read: Vec<u8>,
    at: usize,
    stream: S,
}

/// Passes over a PROXY header, if the stream begins with one.
///
/// # Errors
/// A stream that ends or fails within the header, and a header that is too long.
pub(super) async fn skip<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Begun<S>> {
    let mut read = Vec::new();
    loop {
        if let Some(header) = length(&read)? {
            return Ok(Begun { read, at: header, stream });
        }
        let mut chunk = [0; 256];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(Begun { read, at: 0, stream });
        }
        read.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// How long the header is that a stream begins with; 0 without one, `None` while that is not known yet.
fn length(read: &[u8]) -> io::Result<Option<usize>> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "the PROXY header is too long");
    let begins = |with: &[u8]| {
        let common = read.len().min(with.len());
        read.get(..common) == with.get(..common)
    };
    if begins(SIGNATURE) {
        let Some(&[high, low]) = read.get(14..16) else { return Ok(None) };
        let length = 16 + usize::from(u16::from_be_bytes([high, low]));
        if length > LONGEST_BINARY {
            return Err(too_long());
        }
        return Ok((read.len() >= length).then_some(length));
    }
    if begins(b"PROXY ") {
        let end = read.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2);
        return match end {
            None if read.len() >= LONGEST_LINE => Err(too_long()),
            end => Ok(end),
        };
    }
    Ok(Some(0))
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = this.read.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, wanted);
        }
        let given = rest.len().min(wanted.remaining());
        wanted.put_slice(rest.get(..given).unwrap_or_default());
        this.at += given;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What follows, when the bytes come `at_once` at a time.
    async fn after(sent: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        for piece in sent.chunks(at_once) {
            far.write_all(piece).await.unwrap();
        }
        drop(far);
        let mut rest = Vec::new();
        skip(near).await?.read_to_end(&mut rest).await?;
        Ok(rest)
    }

    #[tokio::test]
    async fn a_header_is_passed_over_and_nothing_else() {
        let request = b"GET /healthz HTTP/1.1\r\n\r\n";
        let binary = [SIGNATURE, &[0x21, 0x11, 0, 12], &[7; 12]].concat();
        for header in [&b""[..], b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY UNKNOWN\r\n", &binary] {
            for at_once in [1, 7, 1000] {
                assert_eq!(after(&[header, request].concat(), at_once).await.unwrap(), request);
            }
        }
        assert_eq!(after(b"PUT / HTTP/1.1\r\n", 1).await.unwrap(), b"PUT / HTTP/1.1\r\n");
        assert_eq!(after(b"PROX", 1).await.unwrap(), b"PROX");
    }

    #[tokio::test]
    async fn a_header_without_end_is_refused() {
        assert!(after(&[&b"PROXY "[..], &[b'x'; 200]].concat(), 50).await.is_err());
        assert!(after(&[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(), 50).await.is_err());
    }
}
