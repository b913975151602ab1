//! Where a store's keys really are: two stores, two spellings of a URL, or a symbolic link may lead to one place.

use std::collections::VecDeque;
use std::path::{Component, Path, PathBuf};

/// As many links are followed on the way to a file as Linux follows.
const MOST_LINKS: usize = 40;

/// Where a folder or an object is, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    site: Site,
    /// The names from the root of the site on.
    way: Vec<String>,
}

/// What keeps files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Site {
    /// The file system of this machine.
    Disk,
    /// A bucket by every name that it may have. Endpoints are left out: one server has many names, so buckets of one name count as one.
    Bucket(Vec<String>),
    /// A container of an Azure account.
    Container(String, String),
    /// The memory store of this name.
    Memory(String),
    /// The store of this name that an embedding program brings along.
    Own(String),
    /// An SFTP server, by its name and port. One may have several names, which nobody here can know.
    Server(String, u16),
}

impl Site {
    /// A bucket; `address` is where requests go to when the bucket's name is not in their paths (a virtual host).
    pub(super) fn bucket(name: &str, virtual_host: Option<&str>) -> Site {
        let mut names = vec![name.to_ascii_lowercase()];
        // The host alone says which bucket that is: it begins with the bucket's name, or is it (a CNAME).
        let host = virtual_host.and_then(|address| address.split_once("://")).map(|(_, rest)| rest);
        if let Some(host) = host.and_then(|rest| rest.split(['/', ':']).next()) {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            names.extend(host.split('.').next().map(str::to_owned));
            names.push(host);
        }
        Site::Bucket(names)
    }

    /// A container. `service` is the address of the account's blobs: of an emulator, the account is in its path.
    pub(super) fn container(account: &str, service: &str, container: &str) -> Site {
        let host = service.split_once("://").map_or(service, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
        let account = match host.split_once('.') {
            // `ACCOUNT.blob.core.windows.net` and `ACCOUNT.dfs.core.windows.net` are one.
            Some((account, domain)) if domain.ends_with("core.windows.net") => account.to_owned(),
            _ => account.to_ascii_lowercase(),
        };
        Site::Container(account, container.to_ascii_lowercase())
    }

    /// Whether both may be one; in doubt they are.
    fn may_be(&self, other: &Site) -> bool {
        match (self, other) {
            (Site::Bucket(a), Site::Bucket(b)) => a.iter().any(|name| b.contains(name)),
            _ => self == other,
        }
    }
}

impl Place {
    /// A key of a site, as its whole name there.
    pub(super) fn of_key(site: Site, key: &str) -> Place {
        let way = key.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Place { site, way }
    }

    /// A folder or file of this machine, with the links on the way followed as far as it exists.
    pub fn of_path(path: &Path) -> Place {
        Place::of_real_path(&real_path(path))
    }

    /// The same of a path that has no links on its way.
    pub fn of_real_path(path: &Path) -> Place {
        let names = path.components().filter_map(|component| match component {
            // What is not UTF-8 may be taken for something else that is not, which refuses too much at most.
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        });
        Place { site: Site::Disk, way: names.collect() }
    }

    /// What has these names below it. Links are not looked at.
    #[must_use]
    pub fn below(&self, names: &str) -> Place {
        let more = names.split('/').filter(|name| !name.is_empty()).map(str::to_owned);
        Place { site: self.site.clone(), way: self.way.iter().cloned().chain(more).collect() }
    }

    /// Whether it is on the disk of this machine; then its path.
    pub fn path(&self) -> Option<PathBuf> {
        (self.site == Site::Disk).then(|| Path::new("/").join(self.way.iter().collect::<PathBuf>()))
    }

    /// The names from the root of what keeps it.
    pub fn way(&self) -> &[String] {
        &self.way
    }

    /// Whether both may be kept by the same.
    pub fn shares_site(&self, other: &Place) -> bool {
        self.site.may_be(&other.site)
    }

    /// Whether both may be one.
    pub fn may_be(&self, other: &Place) -> bool {
        self.shares_site(other) && self.way == other.way
    }

    /// Whether the other may be in it, or be it.
    pub fn may_hold(&self, other: &Place) -> bool {
        self.shares_site(other) && other.way.starts_with(&self.way)
    }
}

/// The path without links, as far as it exists. A name that leads nowhere yet stays as it is; what a link to nothing means is what will be
/// there.
pub fn real_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    real_path_below(PathBuf::new(), &path)
}

/// The same of a path that starts from a folder of which there are no links on the way.
pub fn real_path_below(folder: PathBuf, path: &Path) -> PathBuf {
    let names = |path: &Path| -> Vec<PathBuf> { path.components().map(|name| name.as_os_str().into()).collect() };
    let (mut left, mut real, mut links) = (VecDeque::from(names(path)), folder, 0);
    while let Some(name) = left.pop_front() {
        if name.as_os_str() == ".." {
            real.pop();
            continue;
        }
        let here = real.join(&name);
        match std::fs::read_link(&here) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                for name in names(&target).into_iter().rev() {
                    left.push_front(name);
                }
            }
            // An absolute one starts anew with `join`.
            _ => real = here,
        }
    }
    real
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_what_its_links_lead_to_as_far_as_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("there/deep")).unwrap();
        for (target, link) in [
            ("there", "link"),
            ("link/deep/..", "twice"),
            ("missing/x", "to-nothing"),
            ("loop", "loop"),
            (root.join("there").to_str().unwrap(), "absolute"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, real) in [
            ("link/not/yet", "there/not/yet"),
            ("there", "there"),
            ("twice/deep", "there/deep"),
            ("absolute/deep/../x", "there/x"),
            ("to-nothing/y", "missing/x/y"),
            ("there/gone/../../other", "other"),
        ] {
            assert_eq!(real_path(&root.join(path)), root.join(real), "{path}");
        }
        // It ends.
        real_path(&root.join("loop/x"));
        assert_eq!(Place::of_path(&root.join("link/a")).path().unwrap(), root.join("there/a"));
    }

    #[test]
    fn buckets_of_one_name_count_as_one_whatever_the_endpoint() {
        let bucket = |name, host| Place::of_key(Site::bucket(name, host), "a/b");
        let plain = bucket("lake", None);
        assert!(plain.may_be(&bucket("Lake", None)));
        assert!(plain.may_be(&bucket("any", Some("https://lake.s3.example:9000"))));
        assert!(bucket("x", Some("https://files.example")).may_be(&bucket("files.example", None)));
        assert!(!plain.may_be(&bucket("pond", None)));
        assert!(Place::of_key(Site::bucket("lake", None), "a").may_hold(&plain));
        assert!(!plain.may_hold(&Place::of_key(Site::bucket("lake", None), "a/bc")));
        let container = |account, service, name| Place::of_key(Site::container(account, service, name), "");
        let first = container("acc", "https://acc.blob.core.windows.net", "c");
        assert!(first.may_be(&container("other", "https://acc.dfs.core.windows.net", "c")));
        assert!(!first.may_be(&container("acc2", "https://acc2.blob.core.windows.net", "c")));
        assert!(first.may_be(&container("acc", "http://127.0.0.1:10000/acc", "c")));
        assert!(!first.may_be(&Place::of_key(Site::Memory("c".into()), "")));
    }
}
