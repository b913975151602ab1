//! The key that signs checkpoints: Ed25519 in the forms that `openssl pkey` reads and writes.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::{Zeroize, Zeroizing};

use super::state::StateFile;
use super::succession::{RawKey, Succession};
use crate::regular_file;

/// The private key in the folder of the chain.
const PRIVATE: &str = "signing_key";
/// Its public half, beside it.
const PUBLIC: &str = "signing_key.pub";

/// The largest key file that is read, in bytes; one that `openssl` makes has about 120.
const MAX_FILE: u64 = 16 * 1024;

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// A private key and its fingerprint.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    fingerprint: String,
}

/// A key that was made just now, as the texts of its two files.
pub struct NewKey {
    /// PKCS#8 in PEM.
    pub private: Zeroizing<String>,
    /// SubjectPublicKeyInfo in PEM.
    pub public: String,
}

impl SigningKey {
    /// Where the private key of a chain's folder lies.
    pub fn private_in(folder: &Path) -> PathBuf {
        folder.join(PRIVATE)
    }

    /// Where its public half lies.
    pub fn public_in(folder: &Path) -> PathBuf {
        folder.join(PUBLIC)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn make() -> Result<NewKey, String> {
        let failed = |_| "the key cannot be made: the system gives no random numbers".to_owned();
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        // Version 1 of PKCS#8: what `openssl` writes itself, and older releases of it read nothing else.
        let document = pair.to_pkcs8v1().map_err(failed)?;
        let private = Zeroizing::new(pem(PRIVATE_LABEL, document.as_ref()));
        Ok(NewKey { private, public: public_pem(&pair) })
    }

    /// Reads the private key of a chain's folder. It must be its owner's only.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it, and what to do.
    pub fn read(folder: &Path) -> Result<SigningKey, String> {
        judge_folder(folder)?;
        StateFile::judge(folder)?;
        let path = SigningKey::private_in(folder);
        let text = read_private(&path)?;
        SigningKey::from_private(&text)
            .ok_or_else(|| format!("{} is not an Ed25519 private key in PEM; {}", path.display(), how_to_make(&path)))
    }

    /// Reads the text of a private key's file; `None` when it is something else.
    pub(super) fn from_private(text: &str) -> Option<SigningKey> {
        let pair = from_pem(PRIVATE_LABEL, text).and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok())?;
        let fingerprint = fingerprint(pair.public_key().as_ref());
        Some(SigningKey { pair, fingerprint })
    }

    /// The 32 bytes of the public key.
    pub(super) fn raw_public(&self) -> RawKey {
        let mut raw = RawKey::default();
        raw.copy_from_slice(self.pair.public_key().as_ref());
        raw
    }

    /// The same key in every test.
    #[cfg(test)]
    pub(super) fn of_tests() -> SigningKey {
        SigningKey::of_seed(7)
    }

    /// One of several keys for tests.
    #[cfg(test)]
    pub(super) fn of_seed(seed: u8) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes");
        let fingerprint = fingerprint(pair.public_key().as_ref());
        SigningKey { pair, fingerprint }
    }

    /// Whether the file with the public half belongs to this key, or to one that this key has just followed: whoever changed the key was
    /// killed then, and the next start writes the file.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it, and what to do.
    pub fn check_public(&self, folder: &Path) -> Result<(), String> {
        let path = SigningKey::public_in(folder);
        let make = format!(
            "make it: openssl pkey -in {} -pubout -out {}",
            SigningKey::private_in(folder).display(),
            path.display()
        );
        let read = regular_file::read_known_text(&path, MAX_FILE);
        let (text, found) = read.map_err(|error| format!("{}: {error}; {make}", path.display()))?;
        judge_file(&path, &found)?;
        let succession = Succession::of_key(folder, &self.raw_public())?;
        let (found, own) = (from_pem(PUBLIC_LABEL, &text), self.raw_public());
        let mut fine = succession.predecessors().chain([&own]).map(|key| from_pem(PUBLIC_LABEL, &pem_of_public(key)));
        match fine.any(|key| key == found) {
            true => Ok(()),
            false => Err(format!("{} is not the public half of the signing key; {make}", path.display())),
        }
    }

    /// As [`SigningKey::check_public`], but that the file may be missing: then nobody verifies with the wrong one.
    pub(super) fn judge_public(&self, folder: &Path) -> Result<(), String> {
        if SigningKey::public_in(folder).exists() { self.check_public(folder) } else { Ok(()) }
    }

    /// The public half: SubjectPublicKeyInfo in PEM.
    pub fn public(&self) -> String {
        public_pem(&self.pair)
    }

    /// `SHA256:` and the base64 of the SHA-256 of the 32 bytes of the public key, without padding.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The signature of some bytes in base64.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.sign_raw(bytes))
    }

    /// The 64 bytes of the signature of some bytes.
    pub(super) fn sign_raw(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.fingerprint).finish()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// `SHA256:` and the base64 of the SHA-256 of a public key, without padding.
pub(super) fn fingerprint(public: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, public)))
}

fn public_pem(pair: &Ed25519KeyPair) -> String {
    pem(PUBLIC_LABEL, &[&SPKI, pair.public_key().as_ref()].concat())
}

/// The text of a public key's file.
fn pem_of_public(key: &RawKey) -> String {
    pem(PUBLIC_LABEL, &[&SPKI[..], key].concat())
}

/// Anybody who may write in the folder can remove the state of the chain, or put another key there.
fn judge_folder(folder: &Path) -> Result<(), String> {
    // One that is missing has no key either, which says more.
    let Ok(found) = folder.metadata() else { return Ok(()) };
    let (shown, mode) = (folder.display(), found.permissions().mode() & 0o7777);
    if mode & 0o022 != 0 {
        return Err(format!(
            "others may write in {shown} (mode {mode:04o}): they could begin another trail; chmod 700 {shown}"
        ));
    }
    judge_owner(folder, &found)
}

/// Who owns a file can change it whatever its mode is.
fn judge_owner(path: &Path, found: &Metadata) -> Result<(), String> {
    let (shown, owner) = (path.display(), found.uid());
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Err(format!(
            "{shown} belongs to the user {owner}; run this command as that user (sudo -u '#{owner}'), or chown it to the one that runs the \
             gateway"
        ));
    }
    Ok(())
}

/// A file of the folder that others must not change: the public key, with which trails are verified, and the state of the chain.
pub(super) fn judge_file(path: &Path, found: &Metadata) -> Result<(), String> {
    let (shown, mode) = (path.display(), found.permissions().mode() & 0o7777);
    if mode & 0o022 != 0 {
        return Err(format!("others may write {shown} (mode {mode:04o}): chmod go-w {shown}"));
    }
    judge_owner(path, found)
}

fn how_to_make(path: &Path) -> String {
    let path = path.display();
    format!("make one with `lockgate init`, or: openssl genpkey -algorithm ed25519 -out {path}; chmod 600 {path}")
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("{} is missing; {}", path.display(), how_to_make(path)),
        io::ErrorKind::InvalidInput => format!("{} is not a regular file; {}", path.display(), how_to_make(path)),
        _ => format!("{} cannot be read: {error}; its owner must be who runs the gateway", path.display()),
    };
    let (text, metadata) = regular_file::read_known_text(path, MAX_FILE).map_err(failed)?;
    let text = Zeroizing::new(text);
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!(
            "{path} is accessible to other users (mode {mode:04o}), who could sign with it; run chmod 600 {path}"
        ));
    }
    judge_owner(path, &metadata)?;
    Ok(text)
}

/// RFC 7468: lines of 64 characters between two that name what it is.
fn pem(label: &str, der: &[u8]) -> String {
    let mut body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    body.zeroize();
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn from_pem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::process::Command;

    use super::*;

    fn write(folder: &Path, private: &str, mode: u32) {
        let path = SigningKey::private_in(folder);
        fs::write(&path, private).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn openssl(folder: &Path, line: &str) -> bool {
        Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap().status.success()
    }

    #[test]
    fn openssl_reads_our_keys_and_we_read_its() {
        let folder = tempfile::tempdir().unwrap();
        let new = SigningKey::make().unwrap();
        write(folder.path(), &new.private, 0o600);
        fs::write(SigningKey::public_in(folder.path()), &new.public).unwrap();
        let key = SigningKey::read(folder.path()).unwrap();
        key.check_public(folder.path()).unwrap();
        assert!(openssl(folder.path(), "pkey -in signing_key -pubout -out theirs.pub"));
        assert_eq!(fs::read_to_string(folder.path().join("theirs.pub")).unwrap(), new.public);
        fs::write(folder.path().join("text"), "signed").unwrap();
        fs::write(folder.path().join("signature"), STANDARD.decode(key.sign(b"signed")).unwrap()).unwrap();
        let verify = "pkeyutl -verify -pubin -inkey signing_key.pub -rawin -in text -sigfile signature";
        assert!(openssl(folder.path(), verify));
        fs::write(folder.path().join("text"), "changed").unwrap();
        assert!(!openssl(folder.path(), verify));
        assert!(openssl(folder.path(), "genpkey -algorithm ed25519 -out signing_key"));
        let other = SigningKey::read(folder.path()).unwrap();
        assert_ne!(other.fingerprint(), key.fingerprint());
        assert!(other.check_public(folder.path()).unwrap_err().contains("openssl pkey -in"));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let new = SigningKey::make().unwrap();
        let wrong = || SigningKey::read(folder.path()).unwrap_err();
        assert!(wrong().contains("is missing; make one with `lockgate init`"), "{}", wrong());
        write(folder.path(), &new.private, 0o640);
        assert!(wrong().contains("(mode 0640)") && wrong().contains("chmod 600"), "{}", wrong());
        write(folder.path(), &new.public, 0o600);
        assert!(wrong().contains("is not an Ed25519 private key"), "{}", wrong());
        assert!(openssl(folder.path(), "genpkey -algorithm RSA -out signing_key -quiet"));
        assert!(wrong().contains("is not an Ed25519 private key"), "{}", wrong());
        fs::remove_file(SigningKey::private_in(folder.path())).unwrap();
        fs::create_dir(SigningKey::private_in(folder.path())).unwrap();
        fs::set_permissions(SigningKey::private_in(folder.path()), Permissions::from_mode(0o700)).unwrap();
        assert!(wrong().contains("is not a regular file"), "{}", wrong());
        fs::remove_dir(SigningKey::private_in(folder.path())).unwrap();
        write(folder.path(), &new.private, 0o600);
        SigningKey::read(folder.path()).unwrap();
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert!(wrong().contains("others may write in") && wrong().contains("chmod 700"), "{}", wrong());
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        SigningKey::read(folder.path()).unwrap();
        for file in ["signing_key.pub", "chain"] {
            let path = folder.path().join(file);
            fs::write(&path, &new.public).unwrap();
            for (mode, fine) in [(0o666, false), (0o620, false), (0o644, true)] {
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
                let judged = SigningKey::read(folder.path()).and_then(|key| key.check_public(folder.path()));
                let said = judged.clone().is_err_and(|what| what.contains("others may write") && what.contains(file));
                assert_eq!(
                    (judged.is_ok() || file == "chain" && !said, said),
                    (fine, !fine),
                    "{file} {mode:o}: {judged:?}"
                );
            }
        }
        let shown = format!("{new:?}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
