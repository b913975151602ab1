//! Files and folders that something waits for: what is about one of them, about something in it, or about a folder around it must not
//! overtake that.

use std::collections::BTreeMap;

/// Storage paths, each as often as it was added.
#[derive(Debug, Default)]
pub(super) struct HeldPaths(BTreeMap<String, usize>);

impl HeldPaths {
    pub(super) fn add(&mut self, paths: &[String]) {
        for path in paths {
            *self.0.entry(bare(path).to_owned()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, paths: &[String]) {
        for path in paths.iter().map(|path| bare(path)) {
            match self.0.get_mut(path) {
                Some(times) if *times > 1 => *times -= 1,
                _ => drop(self.0.remove(path)),
            }
        }
    }

    /// Whether one of these is here, or lies below one that is, or has one below it.
    pub(super) fn touches(&self, paths: &[String]) -> bool {
        !self.0.is_empty() && paths.iter().any(|path| self.touches_one(bare(path)))
    }

    fn touches_one(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        let is_below = above.chain([path]).any(|folder| self.0.contains_key(folder));
        is_below || {
            let folder = format!("{path}/");
            self.0.range(folder.clone()..).next().is_some_and(|(held, _)| held.starts_with(&folder))
        }
    }
}

fn bare(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touches(held: &HeldPaths, path: &str) -> bool {
        held.touches(&[path.to_owned()])
    }

    #[test]
    fn folders_touch_what_is_in_them() {
        let mut held = HeldPaths::default();
        assert!(!touches(&held, "/lake"));
        held.add(&["/lake/in/a".into(), "/lake/in/a".into(), "/lake/x/".into()]);
        for path in ["/lake/in/a", "/lake/in", "/lake/in/", "/lake", "/lake/in/a/b", "/lake/x", "/lake/x/y/z"] {
            assert!(touches(&held, path), "{path}");
        }
        for path in ["/lake/in/ab", "/lake/in/a.b", "/lake/i", "/lake/in/b", "/lake/xy", "/other"] {
            assert!(!touches(&held, path), "{path}");
        }
        held.remove(&["/lake/in/a".into()]);
        assert!(touches(&held, "/lake/in"));
        held.remove(&["/lake/in/a".into(), "/lake/x".into()]);
        assert!(!touches(&held, "/lake") && !touches(&held, "/lake/in/a"));
    }
}
