//! URLs and options of the stores that every build has, and the answer to those that a build leaves out.

use super::*;
use crate::secret::Secret;

#[cfg(all(feature = "s3", feature = "gcs", feature = "azure"))]
mod clouds;

fn settings(url: &str, options: &[(&str, &str)]) -> Settings {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
    Settings { name: "lake".to_owned(), url: url.to_owned(), options }
}

fn read(url: &str, options: &[(&str, &str)]) -> Result<Plan, String> {
    Plan::read(&settings(url, options))
}

fn refused(url: &str, options: &[(&str, &str)]) -> String {
    let message = read(url, options).err().unwrap_or_else(|| panic!("{url} {options:?} was taken"));
    assert!(message.contains("\"lake\""), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    message
}

fn bucket_of(url: &str, options: &[(&str, &str)]) -> ObjectBacked {
    match read(url, options) {
        Ok(Plan::Memory(store)) => *store,
        #[cfg(clouds)]
        Ok(Plan::Cloud(store, _)) => *store,
        Ok(Plan::Local { .. } | Plan::Upstream(_) | Plan::Own(_)) => panic!("no store of objects"),
        Err(message) => panic!("{message}"),
    }
}

#[test]
fn urls_are_read() {
    assert_eq!(bucket_of("memory:///", &[]).prefix, "");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let upstream = read("sftp://u@host/in", &[("host_key", key), ("password", "hunter2")]);
    assert!(upstream.is_ok_and(|plan| plan.is_on_server() && plan.place().way() == ["in"]));
    assert!(refused("sftp://host/in", &[("password", "hunter2")]).contains("sftp://USER@HOST"));
    assert!(matches!(read("file:///srv/x%201", &[("fsync", "false")]),
        Ok(Plan::Local { folder, fsync: false, .. }) if folder == std::path::Path::new("/srv/x 1")));
    for wrong in ["", "bucket", "ftp://x/y", "file://relative", "memory://x"] {
        refused(wrong, &[]);
    }
}

#[test]
fn unknown_options_are_named() {
    assert!(refused("file:///x", &[("sync", "true")]).contains("fsync"));
    refused("file:///x", &[("fsync", "yes")]);
    assert!(refused("file:///x", &[("symlinks", "follow")]).contains("within_entry or refuse"));
    for (word, follows) in [("within_entry", true), ("refuse", false)] {
        let plan = read("file:///x", &[("symlinks", word)]).ok();
        assert!(matches!(plan, Some(Plan::Local { follows_links, .. }) if follows_links == follows), "{word}");
    }
    assert!(refused("memory:///", &[("aws_region", "x")]).contains("known: size"));
    for wrong in ["", "0", "much", "1 TB", "99999999999GiB", "-1"] {
        refused("memory:///", &[("size", wrong)]);
    }
    for (right, bytes) in [("1000", 1000), ("2KiB", 2048), ("3 GiB", 3 << 30)] {
        let room = bucket_of("memory:///", &[("size", right)]).extras.capacity().unwrap();
        assert_eq!((room.total, room.free), (bytes, bytes));
    }
}

#[test]
fn a_build_names_the_feature_that_it_lacks() {
    let here = [("s3", cfg!(feature = "s3")), ("gcs", cfg!(feature = "gcs")), ("azure", cfg!(feature = "azure"))];
    for (url, wanted) in [
        ("s3://b/in", "s3"),
        ("s3a://b", "s3"),
        ("gs://b", "gcs"),
        ("az://c", "azure"),
        ("abfss://fs@acc.dfs.core.windows.net", "azure"),
    ] {
        let (scheme, _) = url.split_once("://").unwrap();
        assert_eq!(feature_of(scheme), Some(wanted));
        let sentence = lacking(&settings(url, &[]), scheme, wanted);
        assert!(sentence.contains(&format!("no support for {scheme}:// stores")), "{sentence}");
        assert!(sentence.contains(&format!("build it with the feature `{wanted}`")), "{sentence}");
        let lacks = read(url, &[("no_option", "x")]).err().is_some_and(|message| message == sentence);
        assert_eq!(lacks, !here.contains(&(wanted, true)), "{url}");
    }
    assert!(["file", "memory", "sftp", OWN, "ftp"].iter().all(|scheme| feature_of(scheme).is_none()));
}
