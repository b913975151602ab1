//! Host keys, new keys, and public keys as events show them.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PrivateKey, PublicKey, key::safe_rng};
use russh::server::AuthRefusal;

use super::proof::{OfferedKey, Refused};
use super::short_number;
use crate::audit::{AuthFailureReason, CertificateIdentity, KeyIdentity};
use crate::secret::Secret;
use crate::{regular_file, users};

/// The types of keys that can log in, as their names begin; certificates' names go on after them.
const SERVED_KEY_TYPES: [&str; 4] = ["ssh-ed25519", "ecdsa-sha2-nistp", "rsa-sha2-", "sk-"];

/// So much of the type and of the bytes of a key that cannot be read is shown.
const MOST_OF_A_KEY_TYPE: usize = 64;
const MOST_OF_A_KEY: usize = 1024;

/// The largest host key file, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// A key pair that was just made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The private key in OpenSSH's format.
    pub private: Secret,
    /// The public key as one `authorized_keys` line with the comment.
    pub public: String,
    /// `SHA256:` and base64 without padding.
    pub fingerprint: String,
}

/// What kind of key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 (RFC 8709).
    Ed25519,
    /// ECDSA over the curve P-256 (RFC 5656): for clients that have no Ed25519.
    EcdsaP256,
}

/// Makes a key pair, for host keys and the demo's user.
///
/// # Errors
/// A sentence, when the key cannot be written in OpenSSH's format.
pub fn make_key(kind: KeyKind, comment: &str) -> Result<NewKey, String> {
    let failed = |error: russh::keys::ssh_key::Error| format!("a key cannot be created: {error}");
    let algorithm = match kind {
        KeyKind::Ed25519 => Algorithm::Ed25519,
        KeyKind::EcdsaP256 => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    };
    let mut key = PrivateKey::random(&mut safe_rng(), algorithm).map_err(failed)?;
    key.set_comment(comment);
    Ok(NewKey {
        private: Secret::new(key.to_openssh(LineEnding::LF).map_err(failed)?.to_string()),
        public: key.public_key().to_openssh().map_err(failed)?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

/// Reads a host key file: for `check` and for printing known-hosts lines. The public key as `ssh-ed25519 AAAA…`.
///
/// # Errors
/// A sentence that says what is wrong with the file and what to do (missing, unreadable, a public key, has a passphrase).
pub fn read_host_key_public(path: &Path) -> Result<String, String> {
    let key = read_host_key(path)?;
    let public = PublicKey::new(key.public_key().key_data().clone(), "");
    public.to_openssh().map_err(|error| format!("the host key {} cannot be shown: {error}", path.display()))
}

/// A certificate of a host key for the host's names, valid in these seconds since 1970 (PROTOCOL.certkeys).
pub(super) fn host_certificate(
    key: &PrivateKey,
    authority: &PrivateKey,
    key_id: &str,
    hosts: &[String],
    valid: Range<u64>,
) -> Result<Certificate, String> {
    let make = || {
        let public = key.public_key().key_data().clone();
        let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), public, valid.start, valid.end)?;
        builder.serial(valid.start)?.key_id(key_id)?.cert_type(CertType::Host)?;
        for host in hosts {
            builder.valid_principal(host.as_str())?;
        }
        builder.sign(authority)
    };
    make().map_err(|error| format!("the host key of {key_id} cannot be signed by host_ca: {error}"))
}

/// Reads a host key file.
pub(super) fn read_host_key(path: &Path) -> Result<PrivateKey, String> {
    let shown = path.display();
    let (text, open) = read_private(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the host key {shown} does not exist; create it with: ssh-keygen -t ed25519 -N '' -f {shown}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("the host key {shown} cannot be read: permission denied; let the user that runs Lockgate read it")
        }
        io::ErrorKind::InvalidData => {
            format!("the host key {shown} is not a text file; name a private key in OpenSSH's format")
        }
        _ => format!("the host key {shown} cannot be read: {error}"),
    })?;
    if !text.expose().contains("PRIVATE KEY") {
        return Err(format!("{shown} contains no private key; name the file without .pub"));
    }
    if let Some(mode) = open {
        return Err(format!(
            "the host key {shown} is accessible to other users (mode {mode:04o}); run chmod 600 {shown}"
        ));
    }
    let decode = |text: &Secret| russh::keys::decode_secret_key(text.expose(), None);
    let decoded = decode(&text).or_else(|error| match short_number::lengthened(&text) {
        Some(longer) => decode(&longer),
        None => Err(error),
    });
    let key = decoded.map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => {
            format!("the host key {shown} has a passphrase; remove it with: ssh-keygen -p -N '' -f {shown}")
        }
        other => format!("the host key {shown} cannot be used: {other}"),
    })?;
    if key.is_encrypted() {
        return Err(format!("the host key {shown} has a passphrase; remove it with: ssh-keygen -p -N '' -f {shown}"));
    }
    Ok(key)
}

/// Reads a file that nobody else may read or write; its mode if somebody may. As in `sshd`, a file of another user (root's, for a
/// group of ours) is accepted with any mode: that user decides on its readers.
fn read_private(path: &Path) -> io::Result<(Secret, Option<u32>)> {
    let (text, found) = regular_file::read_known_text(path, MAX_FILE)?;
    let (mode, is_own) = (found.mode() & 0o777, found.uid() == rustix::process::geteuid().as_raw());
    let is_open = mode & if is_own { 0o077 } else { 0o022 } != 0;
    Ok((Secret::new(text), is_open.then_some(mode)))
}

/// A public key as events show it; `comment` comes from the configuration, never from the client.
pub(super) fn identity(key: &PublicKey, comment: Option<&str>) -> KeyIdentity {
    KeyIdentity {
        key_type: key.algorithm().to_string(),
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        blob: STANDARD.encode(blob(key)),
        comment: comment.map(str::to_owned),
        certificate: None,
    }
}

/// A certificate as it is judged, and its key as events show it.
pub(super) fn presented(certificate: &Certificate) -> (KeyIdentity, users::Certificate) {
    let key = PublicKey::new(certificate.public_key().clone(), "");
    let authority = PublicKey::new(certificate.signature_key().clone(), "");
    let identity = KeyIdentity {
        key_type: certificate.algorithm().to_certificate_type(),
        certificate: Some(CertificateIdentity {
            serial: certificate.serial(),
            key_id: certificate.key_id().to_owned(),
            authority: authority.fingerprint(HashAlg::Sha256).to_string(),
            authority_blob: STANDARD.encode(blob(&authority)),
        }),
        ..identity(&key, None)
    };
    let options = certificate.critical_options().iter();
    let judged = users::Certificate {
        key_type: key.algorithm().to_string(),
        key: blob(&key),
        authority: blob(&authority),
        uses_sha1: matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None }),
        for_user: certificate.cert_type().is_user(),
        principals: certificate.valid_principals().to_vec(),
        valid_after: certificate.valid_after(),
        valid_before: certificate.valid_before(),
        needs_no_touch: certificate.extensions().iter().any(|(name, _)| name == "no-touch-required"),
        critical_options: options.map(|(name, value)| (name.clone(), value.clone())).collect(),
    };
    (identity, judged)
}

/// A key as a client offers it, by itself or in a certificate.
pub(super) fn offered(key: &PublicKey, algorithm: &Algorithm, certificate: Option<&Certificate>) -> OfferedKey {
    let (identity, certificate) = match certificate.map(presented) {
        Some((identity, certificate)) => (identity, Some(certificate)),
        None => (identity(key, None), None),
    };
    OfferedKey { blob: blob(key), identity, certificate, uses_sha1: matches!(algorithm, Algorithm::Rsa { hash: None }) }
}

/// An attempt that the library refused by itself, as it is recorded.
pub(super) fn refused(method: &str, refusal: AuthRefusal<'_>) -> Refused {
    const METHODS: [&str; 4] = ["publickey", "password", "keyboard-interactive", "none"];
    let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("unknown");
    let (reason, key) = match refusal {
        AuthRefusal::NotUtf8 => (AuthFailureReason::Malformed, None),
        AuthRefusal::UnparsableKey { algorithm, blob } => {
            let is_known = SERVED_KEY_TYPES.iter().any(|served| algorithm.starts_with(served));
            let reason = if is_known { AuthFailureReason::Malformed } else { AuthFailureReason::AlgorithmNotAllowed };
            (reason, Some(unparsed(algorithm, blob)))
        }
        AuthRefusal::CertificateNotValidNow(certificate) => {
            (AuthFailureReason::CertificateNotValidNow, Some(presented(certificate).0))
        }
        AuthRefusal::CertificateForged(certificate) => {
            (AuthFailureReason::CertificateForged, Some(presented(certificate).0))
        }
        AuthRefusal::SignatureWrong { public_key, certificate } => {
            let identity =
                certificate.map_or_else(|| identity(public_key, None), |certificate| presented(certificate).0);
            (AuthFailureReason::BadSignature, Some(identity))
        }
        AuthRefusal::UnknownMethod => (AuthFailureReason::MethodNotAllowed, None),
        _ => (AuthFailureReason::NotExamined, None),
    };
    Refused { method, reason, key }
}

/// A key that nobody here can read, by what came.
fn unparsed(algorithm: &str, blob: &[u8]) -> KeyIdentity {
    let mut key_type = algorithm.to_owned();
    key_type.truncate(key_type.floor_char_boundary(MOST_OF_A_KEY_TYPE));
    KeyIdentity {
        key_type,
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, blob))),
        blob: STANDARD.encode(&blob[..blob.len().min(MOST_OF_A_KEY)]),
        comment: None,
        certificate: None,
    }
}

/// The key in SSH wire form (RFC 4253 section 6.6); empty if it cannot be encoded, which then matches no key.
pub(super) fn blob(key: &PublicKey) -> Vec<u8> {
    key.to_bytes().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        let _ = std::fs::remove_file(path);
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_key_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (kind, name) in [(KeyKind::Ed25519, "ssh-ed25519"), (KeyKind::EcdsaP256, "ecdsa-sha2-nistp256")] {
            let made = make_key(kind, "somebody").unwrap();
            write(&path, made.private.expose(), 0o600);
            let public = read_host_key_public(&path).unwrap();
            assert!(public.starts_with(&format!("{name} AAAA")));
            assert_eq!(made.public, format!("{public} somebody"));
            let key = read_host_key(&path).unwrap();
            let identity = identity(key.public_key(), None);
            assert_eq!(identity.fingerprint, made.fingerprint);
            assert_eq!(identity.key_type, name);
            assert_eq!(format!("{name} {}", identity.blob), public);
        }
    }

    #[test]
    fn a_wrong_host_key_file_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(read_host_key_public(&path).unwrap_err().contains("ssh-keygen -t ed25519"));
        let made = make_key(KeyKind::Ed25519, "x").unwrap();
        write(&path, &made.public, 0o644);
        assert!(read_host_key_public(&path).unwrap_err().contains(".pub"));
        write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", 0o600);
        assert!(read_host_key_public(&path).unwrap_err().contains("cannot be used"));
        for mode in [0o644, 0o640, 0o620, 0o601] {
            write(&path, made.private.expose(), mode);
            let error = read_host_key_public(&path).unwrap_err();
            assert!(error.contains("is accessible to other users") && error.contains("chmod 600"), "{error}");
        }
        write(&path, made.private.expose(), 0o400);
        read_host_key_public(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(read_host_key_public(&path).unwrap_err().contains("it is not a regular file"));
    }
}
