//! What stands in the two stores, seen past the gateway.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use super::model::Fact;
use crate::support::content::{Content, recognize};
use crate::support::s3::S3Store;

/// What a look at a name tells without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Directory,
    File(u64),
}

/// All names in both stores, by their logical paths.
pub fn names_in(local: &Path, s3: &S3Store) -> BTreeMap<String, Seen> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(local).expect("the folder of the store") {
        let entry = entry.unwrap();
        let (name, metadata) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
        let seen = if metadata.is_dir() { Seen::Directory } else { Seen::File(metadata.len()) };
        if name != ".lockgate" {
            names.insert(format!("/local/{name}"), seen);
        }
    }
    for (key, size) in s3.objects() {
        let (name, seen) = match key.strip_suffix('/') {
            Some(name) => (name, Seen::Directory),
            None => (key.as_str(), Seen::File(size)),
        };
        // The marker of the store's own root.
        if !name.is_empty() {
            names.insert(format!("/s3/{name}"), seen);
        }
    }
    names
}

/// What stands under a name; a file is read to its end. Panics when it is no whole content.
#[track_caller]
pub fn look(path: &str, local: &Path, s3: &S3Store) -> Fact {
    let whole = |content: Result<Content, String>| match content {
        Ok(content) => Fact::File(content),
        Err(what) => panic!("{path} {what}"),
    };
    match path.split_at(path[1..].find('/').expect("an entry and a name") + 2) {
        ("/local/", name) => match fs::metadata(local.join(name)) {
            Err(_) => Fact::Absent,
            Ok(metadata) if metadata.is_dir() => Fact::Directory,
            Ok(_) => whole(recognize(File::open(local.join(name)).expect("a file"))),
        },
        ("/s3/", name) => {
            let found = s3.objects();
            if found.contains_key(&format!("{name}/")) {
                Fact::Directory
            } else if found.contains_key(name) {
                whole(s3.read(name, |object| recognize(object)))
            } else {
                Fact::Absent
            }
        }
        _ => panic!("{path} is in no store"),
    }
}
