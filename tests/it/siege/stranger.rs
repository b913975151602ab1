//! Clients with an address of their own: those that say nothing, and those that speak SSH.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Nothing that is waited for takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection from an address of this machine.
pub async fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Ports of connections that are winding down are used again.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Reads until the other side ends; how many bytes.
pub async fn drain(socket: &mut TcpStream) -> usize {
    let (mut total, mut buffer) = (0, [0; 512]);
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        total += read;
    }
    total
}

/// Takes any host key.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// Refuses to sign.
struct Unwilling;

/// That it refuses.
#[derive(Debug)]
struct Unsigned;

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Unsigned {
        Unsigned
    }
}

impl russh::Signer for Unwilling {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _: &russh::keys::agent::AgentIdentity,
        _: Option<russh::keys::HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        Err(Unsigned)
    }
}

/// Somebody at an address, with a key.
#[derive(Clone)]
pub struct Visitor {
    pub from: Ipv4Addr,
    pub port: u16,
    pub key: Arc<PrivateKey>,
}

/// A connection with keys exchanged.
pub struct Open(Handle<Trusting>);

impl Visitor {
    pub async fn open(&self) -> Result<Open, String> {
        let opening = async {
            let socket = connect(self.from, self.port).await.map_err(|error| error.to_string())?;
            socket.set_nodelay(true).map_err(|error| error.to_string())?;
            let config = Arc::new(client::Config::default());
            client::connect_stream(config, socket, Trusting).await.map_err(|error| error.to_string())
        };
        timeout(PATIENCE, opening).await.map_err(|_| "it hangs".to_owned())?.map(Open)
    }

    /// Logs in with the key and leaves.
    pub async fn log_in(&self, user: &str) -> Result<(), String> {
        let mut open = self.open().await?;
        let let_in = open.key(user, self.key.clone()).await?;
        open.leave().await;
        if let_in { Ok(()) } else { Err("refused".into()) }
    }
}

impl Open {
    /// Whether a password lets in; an error when the connection has ended.
    pub async fn password(&mut self, user: &str, password: &str) -> Result<bool, String> {
        answer(self.0.authenticate_password(user, password)).await
    }

    /// Whether a key lets in.
    pub async fn key(&mut self, user: &str, key: Arc<PrivateKey>) -> Result<bool, String> {
        answer(self.0.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, None))).await
    }

    /// Asks which methods there are; an error when the connection has ended.
    pub async fn ask_for_methods(&mut self, user: &str) -> Result<bool, String> {
        answer(self.0.authenticate_none(user)).await
    }

    /// Asks whether a key would do, and never signs. False when the connection has ended.
    pub async fn ask_about(&mut self, user: &str, key: &PrivateKey) -> bool {
        let mut signer = Unwilling;
        let asking = self.0.authenticate_publickey_with(user, key.public_key().clone(), None, &mut signer);
        let _ = timeout(PATIENCE, asking).await;
        !self.0.is_closed()
    }

    pub async fn leave(self) {
        let _ = self.0.disconnect(russh::Disconnect::ByApplication, "", "").await;
    }
}

async fn answer(asking: impl Future<Output = Result<AuthResult, russh::Error>>) -> Result<bool, String> {
    let answer = timeout(PATIENCE, asking).await.map_err(|_| "it hangs".to_owned())?;
    answer.map(|answer| answer.success()).map_err(|error| error.to_string())
}
