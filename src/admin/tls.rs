//! The certificate of the admin door; it is read again when its files change.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::settings::TlsFiles;
use crate::regular_file;

/// The largest file, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// How often it is looked whether the files have changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Makes acceptors of the certificate that is in the files now.
pub(super) struct Certificate {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    versions: Versions,
    looked: Instant,
}

/// What tells whether files have changed.
type Versions = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Whether the files hold a certificate and its key.
///
/// # Errors
/// What is wrong with them.
pub fn check(files: &TlsFiles) -> Result<(), String> {
    load(files).map(drop)
}

impl Certificate {
    /// # Errors
    /// As [`check`].
    pub(super) fn open(files: &TlsFiles) -> Result<Certificate, String> {
        let versions = versions(files);
        let loaded = Loaded { acceptor: load(files)?, versions, looked: Instant::now() };
        Ok(Certificate { files: files.clone(), loaded: Mutex::new(loaded) })
    }

    /// For the next connection. Files that cannot be used leave the certificate that was.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() < LOOK_EVERY {
            return loaded.acceptor.clone();
        }
        loaded.looked = Instant::now();
        let now = versions(&self.files);
        if now != loaded.versions {
            match load(&self.files) {
                Ok(acceptor) => {
                    tracing::info!("the certificate of the admin door was read again");
                    loaded.acceptor = acceptor;
                    loaded.versions = now;
                }
                Err(what) => {
                    tracing::error!(what, "the new certificate of the admin door cannot be used; the old one stays")
                }
            }
        }
        loaded.acceptor.clone()
    }
}

fn versions(files: &TlsFiles) -> Versions {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn load(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let read = |path: &Path| {
        regular_file::read(path, MAX_FILE).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{} is not PEM: {error}", files.certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{} contains no certificate", files.certificate.display()));
    }
    let key = PrivateKeyDer::from_pem_slice(&Zeroizing::new(read(&files.key)?))
        .map_err(|error| format!("{} contains no private key: {error}", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            format!("{} and {} do not belong together: {error}", files.certificate.display(), files.key.display())
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
