//! One connection of a client: its requests, one after the other.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Shared;
use super::plan::Fault;
use super::request::Request;
use super::wire::{Framing, Input, framing, header, status, without};

/// What becomes of the client's connection.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// The next request may come.
    GoOn,
    /// It is closed as usual.
    Close,
    /// It is reset.
    Reset,
}

/// Serves a client until its connection ends.
pub(super) async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let _ = client.set_nodelay(true);
    let (read, write) = client.into_split();
    let mut connection = Connection { shared, from: Input::new(read), to: write, server: None };
    // A connection that breaks is no failure of the proxy.
    while let Ok(Some(head)) = connection.from.head().await {
        match connection.request(head).await {
            Ok(After::GoOn) => {}
            Ok(After::Close) | Err(_) => return,
            Ok(After::Reset) => {
                let _ = connection.to.as_ref().set_zero_linger();
                // Dropped, this half would end the connection in order before the reset.
                connection.to.forget();
                return;
            }
        }
    }
}

struct Connection {
    shared: Arc<Shared>,
    from: Input<OwnedReadHalf>,
    to: OwnedWriteHalf,
    server: Option<Server>,
}

/// A connection to the real server, between two requests.
struct Server {
    from: Input<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Connection {
    async fn request(&mut self, head: Vec<u8>) -> io::Result<After> {
        let request = Request::read(&head).ok_or_else(|| io::Error::other("not a request"))?;
        let body = framing(&head, Framing::Length(0));
        let (latency, fault) = self.shared.admit(&request);
        tokio::time::sleep(latency).await;
        let shared = Arc::clone(&self.shared);
        shared.gate.pass(&format!("{} {}", request.kind, request.target)).await;
        let verdict = match shared.conditions.get() {
            Some(conditions) => Some(conditions.judge(&request).await),
            None => None,
        };
        let fault = verdict.as_ref().and_then(|verdict| verdict.failed).or(fault);
        if header(&head, "expect").is_some() {
            self.to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let head = without(&head, "expect");
        match fault {
            None => self.forward(&request, &head, body, Answer::Whole).await,
            Some(Fault::LoseAnswer) => self.forward(&request, &head, body, Answer::Lost).await,
            Some(Fault::ResetAnswer(after)) => self.forward(&request, &head, body, Answer::CutAfter(after)).await,
            Some(Fault::FlipByte) => {
                let mut changed = Vec::new();
                self.from.body(body, &mut changed, u64::MAX).await?;
                if let Some(byte) = changed.last_mut() {
                    *byte ^= 1;
                }
                self.forward_changed(&request, &head, &changed).await
            }
            Some(Fault::ResetRequest(after)) => {
                self.from.body(body, &mut sink(), after).await?;
                Ok(After::Reset)
            }
            Some(Fault::Close) => {
                self.from.body(body, &mut sink(), u64::MAX).await?;
                Ok(After::Close)
            }
            Some(Fault::Hang(time)) => {
                self.from.body(body, &mut sink(), u64::MAX).await?;
                tokio::time::sleep(time).await;
                Ok(After::Close)
            }
            Some(Fault::Status(status, code)) => {
                self.from.body(body, &mut sink(), u64::MAX).await?;
                self.answer(&request, status, code).await
            }
        }
    }

    /// An answer of the proxy's own, with the error element that S3 sends.
    async fn answer(&mut self, request: &Request, status: u16, code: &str) -> io::Result<After> {
        let xml = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>On purpose</Message></Error>");
        let head = format!(
            "HTTP/1.1 {status} On Purpose\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
            xml.len()
        );
        self.to.write_all(head.as_bytes()).await?;
        if request.method != "HEAD" {
            self.to.write_all(xml.as_bytes()).await?;
        }
        Ok(After::GoOn)
    }

    /// Lets the server answer.
    async fn forward(&mut self, request: &Request, head: &[u8], body: Framing, answer: Answer) -> io::Result<After> {
        let mut server = self.reach().await?;
        server.to.write_all(head).await?;
        // A server may answer before it has all of the body; then the rest of it is of no use.
        let (sent, early) = {
            let sending = self.from.body(body, &mut server.to, u64::MAX);
            let answering = final_head(&mut server.from);
            tokio::pin!(sending, answering);
            tokio::select! {
                biased;
                sent = &mut sending => { sent?; (true, None) }
                early = &mut answering => (false, Some(early?)),
            }
        };
        let answered = match early {
            Some(head) => head,
            None => final_head(&mut server.from).await?,
        };
        let after = self.hand_on(request, &mut server, &answered, answer).await?;
        if after == After::GoOn && !sent {
            return Ok(After::Close);
        }
        if after == After::GoOn && header(&answered, "connection") != Some("close") {
            self.server = Some(server);
        }
        Ok(after)
    }

    /// Lets the server answer a request whose body is this one instead.
    async fn forward_changed(&mut self, request: &Request, head: &[u8], body: &[u8]) -> io::Result<After> {
        let mut server = self.reach().await?;
        server.to.write_all(head).await?;
        server.to.write_all(body).await?;
        let answered = final_head(&mut server.from).await?;
        self.hand_on(request, &mut server, &answered, Answer::Whole).await
    }

    /// Hands an answer on, as much of it as the client is to get.
    async fn hand_on(
        &mut self,
        request: &Request,
        server: &mut Server,
        head: &[u8],
        answer: Answer,
    ) -> io::Result<After> {
        let bodiless = request.method == "HEAD" || matches!(status(head), 204 | 304);
        let body = if bodiless { Framing::Length(0) } else { framing(head, Framing::UntilEnd) };
        match answer {
            Answer::Whole => {
                self.to.write_all(head).await?;
                server.from.body(body, &mut self.to, u64::MAX).await?;
                Ok(if body == Framing::UntilEnd { After::Close } else { After::GoOn })
            }
            Answer::Lost => {
                server.from.body(body, &mut sink(), u64::MAX).await?;
                Ok(After::Close)
            }
            Answer::CutAfter(_) if body == Framing::Length(0) => {
                self.to.write_all(&head[..head.len() / 2]).await?;
                Ok(After::Reset)
            }
            Answer::CutAfter(after) => {
                self.to.write_all(head).await?;
                let most = if let Framing::Length(length) = body { after.min(length - 1) } else { after };
                server.from.body(body, &mut self.to, most).await?;
                self.to.flush().await?;
                Ok(After::Reset)
            }
        }
    }

    /// The connection of the request before, if the server still keeps it open, or a new one.
    async fn reach(&mut self) -> io::Result<Server> {
        if let Some(server) = self.server.take() {
            let nothing = server.from.stream().try_read(&mut [0]);
            if nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Ok(server);
            }
        }
        let stream = TcpStream::connect(self.shared.upstream.as_str()).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Server { from: Input::new(read), to: write })
    }
}

/// How much of an answer the client gets.
enum Answer {
    Whole,
    Lost,
    /// So many bytes of its body.
    CutAfter(u64),
}

/// The head of the answer proper: interim ones (1xx) are left out.
async fn final_head(from: &mut Input<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    loop {
        let head = from.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if status(&head) >= 200 {
            return Ok(head);
        }
    }
}
