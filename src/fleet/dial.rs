//! A connection to Redis: TCP, TLS with a certificate that is checked, bounded answers, bounded time.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::calls::{Failed, sentence};
use super::frames::Bounded;
use super::settings::{Address, Credentials, Settings};
use crate::audit::read_authorities;

/// How long a connection may take until it can be used.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// How long Redis may take for an answer. What is slower counts as gone: nobody waits longer for it.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// How many calls may wait for their answers at once.
const AT_ONCE: usize = 256;

/// A connection that works. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    connection: MultiplexedConnection,
    driver: AbortHandle,
}

impl Connected {
    /// What calls are made with. Calls of several callers may be under way at once.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to a server of the fleet.
///
/// # Errors
/// What happened.
pub(super) async fn dial(settings: &Settings, address: &Address) -> Result<Connected, Failed> {
    let outcome = timeout(CONNECTED_WITHIN, reach(settings, address, &settings.credentials)).await;
    outcome.unwrap_or_else(|_| Err(too_slow())).map_err(|failed| failed.at(address))
}

/// Asks a sentinel where the server is that can be written.
///
/// # Errors
/// What happened.
pub(super) async fn ask_sentinel(settings: &Settings, sentinel: &Address) -> Result<Address, Failed> {
    let found = timeout(CONNECTED_WITHIN, find(settings, sentinel)).await;
    found.unwrap_or_else(|_| Err(too_slow())).map_err(|failed| failed.at(sentinel))
}

async fn find(settings: &Settings, sentinel: &Address) -> Result<Address, Failed> {
    let Some(of) = &settings.sentinel else { return Ok(sentinel.clone()) };
    // Sentinels have no databases.
    let asked = Address { database: 0, ..sentinel.clone() };
    let connected = reach(settings, &asked, &of.credentials).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&of.master);
    let found: Option<(String, u16)> =
        question.query_async(&mut connected.connection()).await.map_err(|error| Failed::of(sentence(&error)))?;
    let (host, port) = found.ok_or_else(|| Failed::of(format!("the sentinel knows no {:?}", of.master)))?;
    Ok(Address { host, port, ..sentinel.clone() })
}

fn too_slow() -> Failed {
    Failed::of(format!("it cannot be used within {} s", CONNECTED_WITHIN.as_secs()))
}

async fn reach(settings: &Settings, address: &Address, who: &Credentials) -> Result<Connected, Failed> {
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await;
    let socket = socket.map_err(|error| Failed::of(error.to_string()))?;
    // Calls are small, and somebody may wait for the answer.
    let _ = socket.set_nodelay(true);
    if !address.tls {
        return begin(address, who, socket).await;
    }
    let name = ServerName::try_from(address.host.clone()).map_err(|error| Failed::of(error.to_string()))?;
    let connector = TlsConnector::from(tls_client(settings).map_err(Failed::of)?);
    let stream = connector.connect(name, socket).await.map_err(|error| Failed::of(format!("TLS: {error}")))?;
    begin(address, who, stream).await
}

/// Tells who calls, and which database is meant.
async fn begin<S>(address: &Address, who: &Credentials, stream: S) -> Result<Connected, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut info = RedisConnectionInfo::default()
        .set_db(i64::from(address.database))
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    if let Some(username) = &who.username {
        info = info.set_username(username);
    }
    if let Some(password) = &who.password {
        info = info.set_password(password.expose());
    }
    let limits = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWERS_WITHIN)).set_concurrency_limit(AT_ONCE);
    let begun = MultiplexedConnection::new_with_config(&info, Bounded::new(stream), limits).await;
    let (connection, driver) = begun.map_err(|error| Failed::of(sentence(&error)))?;
    let driver = tokio::spawn(driver).abort_handle();
    Ok(Connected { connection, driver })
}

fn tls_client(settings: &Settings) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(file) => roots.add_parsable_certificates(read_authorities(file)?),
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if roots.is_empty() {
        return Err("the system trusts no authority; name a `ca_file`".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
