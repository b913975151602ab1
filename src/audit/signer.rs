//! Who signs the checkpoints of a chain: its key, and how that follows from earlier ones.

use std::path::Path;
use std::sync::Arc;

use super::signing::SigningKey;
use super::succession::{RawKey, Succession, heal_public};

/// A key and the endorsements that lead to it; without a key, nothing is signed.
#[derive(Debug, Clone, Default)]
pub(super) struct Signer {
    key: Option<Arc<SigningKey>>,
    succession: Succession,
}

impl Signer {
    /// The one of a chain's folder as the process starts. The file of its public half is written if whoever changed the key was killed before that.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it, and what to do.
    pub(super) fn open(folder: &Path) -> Result<Signer, String> {
        let signer = Signer::read(folder)?;
        if let Some(Err(error)) = signer.key().map(|key| heal_public(folder, key)) {
            tracing::error!(%error, "the public half of the signing key is that of an earlier key, and cannot be written");
        }
        Ok(signer)
    }

    /// As [`Signer::open`], and writes nothing: somebody may be changing the key just now.
    ///
    /// # Errors
    /// As [`Signer::open`].
    pub(super) fn read(folder: &Path) -> Result<Signer, String> {
        let key = SigningKey::read(folder)?;
        key.judge_public(folder)?;
        let succession = Succession::of_key(folder, &key.raw_public())?;
        Ok(Signer { key: Some(Arc::new(key)), succession })
    }

    /// The key.
    pub(super) fn key(&self) -> Option<&Arc<SigningKey>> {
        self.key.as_ref()
    }

    /// The keys whose signatures a trail that ends with this one may have, the oldest first.
    pub(super) fn keys(&self) -> Vec<RawKey> {
        let own = self.key.iter().map(|key| key.raw_public());
        self.succession.predecessors().copied().chain(own).collect()
    }

    /// Whether it signs with the key of `other`.
    pub(super) fn is_same(&self, other: &Signer) -> bool {
        self.raw() == other.raw()
    }

    /// Whether endorsements lead from the key of `other` to this one.
    pub(super) fn follows(&self, other: &Signer) -> bool {
        other.raw().is_some_and(|other| self.succession.predecessors().any(|key| *key == other))
    }

    /// The endorsements, as a checkpoint has them; empty when there is no earlier key.
    pub(super) fn endorsements(&self) -> String {
        self.succession.field().unwrap_or_default()
    }

    fn raw(&self) -> Option<RawKey> {
        self.key.as_ref().map(|key| key.raw_public())
    }

    /// The same one in every test.
    #[cfg(test)]
    pub(super) fn of_tests() -> Signer {
        Signer { key: Some(Arc::new(SigningKey::of_tests())), succession: super::succession::of_tests() }
    }
}
