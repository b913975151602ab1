//! What is the operator's own must lie where no client gets at it: the trail, its key and its state, what waits in spools and in
//! the staging folder, host keys, and the configuration.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::guarded::Homes;
use super::problem::Problems;
use super::raw;
use super::resolve::Surroundings;
use crate::{audit, stores};

/// The local store's own folder in its root, whose name no client may use.
const RESERVED: &str = ".lockgate";

/// Where clients get with the homes of a configuration, on this machine. What homes an identity provider gives is not known.
pub(super) struct Reach<'a> {
    pub stores: &'a [stores::Settings],
    pub homes: Homes<'a>,
}

impl Reach<'_> {
    /// In whose home a file or folder lies: a phrase for a problem. `None`: in nobody's.
    pub(super) fn of(&self, path: &Path) -> Option<String> {
        let path = real(path);
        let roots = self.stores.iter().filter_map(|store| Some((store, local_root(&store.url)?)));
        let mut within =
            roots.filter_map(|(store, root)| Some((store, path.strip_prefix(real(&root)).ok()?.to_owned())));
        within.find_map(|(store, rest)| {
            let rest = rest.to_str()?;
            if rest.split('/').next() == Some(RESERVED) { None } else { self.homes.showing(&store.name, rest) }
        })
    }
}

/// The folder of a local store.
fn local_root(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://")?;
    Some(PathBuf::from(percent_decode_str(path).decode_utf8().ok()?.as_ref()))
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut above, mut below) = (path.as_path(), Vec::new());
    loop {
        if let Ok(found) = above.canonicalize() {
            return below.iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (above.parent(), above.file_name()) else { return path };
        below.push(name);
        above = parent;
    }
}

/// Notes what of it lies in a home. Sinks are judged where they are resolved.
pub(super) fn judge_own(
    raw: &raw::Config,
    chain: Option<&audit::ChainSettings>,
    staging_folder: &Path,
    reach: &Reach<'_>,
    around: &Surroundings,
    problems: &mut Problems,
) {
    for key in raw.server.host_keys.iter().flatten() {
        if let Some(who) = reach.of(&around.folder.join(&key.value)) {
            key.problem(problems, in_reach("the host key", &who));
        }
    }
    let folder = raw.audit.as_ref().and_then(|audit| audit.folder.as_ref()).zip(chain);
    if let Some((at, chain)) = folder
        && let Some(who) = reach.of(&chain.folder)
    {
        at.problem(problems, in_reach("the folder of the signing key", &who));
    }
    if let Some(who) = reach.of(staging_folder) {
        let what = in_reach("the staging folder", &who);
        match &raw.limits.staging_folder {
            Some(at) => at.problem(problems, what),
            None => problems.add("limits.staging_folder", None, what),
        }
    }
    if let Some(who) = reach.of(problems.file()) {
        problems.add("", None, in_reach("this file", &who));
    }
}

/// What is said of a thing in a home.
pub(super) fn in_reach(what: &str, who: &str) -> String {
    format!("{what} {who}; choose a place outside of every home")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_its_links_lead_to_as_far_as_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("there")).unwrap();
        std::os::unix::fs::symlink("there", root.join("link")).unwrap();
        assert_eq!(real(&root.join("link/not/yet")), root.join("there/not/yet"));
        assert_eq!(real(&root.join("there")), root.join("there"));
        assert_eq!(local_root("file:///a%20b/c"), Some(PathBuf::from("/a b/c")));
        assert_eq!(local_root("s3://a"), None);
    }
}
