//! Which authorities may have signed the certificate of a server that a sink sends to.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::regular_file;

/// The largest file of authorities, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Reads the certificates of a PEM file.
///
/// # Errors
/// A sentence with the file's name.
pub fn read_authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |what: String| format!("the authorities in {} cannot be used: {what}", file.display());
    let pem = regular_file::read(file, MAX_FILE).map_err(|error| named(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = read.map_err(|error| named(error.to_string()))?;
    if certificates.is_empty() {
        return Err(named("there is no certificate in it; it must be PEM".into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| named(error.to_string()))?;
    }
    Ok(certificates)
}

/// A TLS client that trusts the authorities of a file or, without one, the system's.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => roots.add_parsable_certificates(read_authorities(file)?),
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if roots.is_empty() {
        return Err("the system trusts no authority; name a `ca_file`".into());
    }
    trusting(roots)
}

/// A TLS client that trusts these.
pub(super) fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
