//! What every operation costs: its requests to the store, one by one, as they pass a proxy. A request more is a failure, and
//! so is one less: then the numbers here, and those that `src/stores/object/mod.rs` states, are to be lowered.

use std::fmt::Write;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockgate::internals::stores::{Existing, Key, Store};
use lockgate::internals::vfs::Vfs;

use crate::fixture::{REFUSE, REPLACE, a_time, complete, key, send};
use crate::ground::{CHANGE, Content, EXCLUSIVE, Ground, MIB, NEW, path, pattern, read, write};

use Content::{Directory, New, Old};

/// An operation with what is there before it and what it costs.
type Row<T> = (&'static str, &'static [(&'static str, Content)], for<'t> fn(&'t T) -> BoxFuture<'t, ()>, &'static str);

/// Ten files in a directory.
const TEN: &[(&str, Content)] = &[
    ("d/0", Old(1)),
    ("d/1", Old(1)),
    ("d/2", Old(1)),
    ("d/3", Old(1)),
    ("d/4", Old(1)),
    ("d/5", Old(1)),
    ("d/6", Old(1)),
    ("d/7", Old(1)),
    ("d/8", Old(1)),
    ("d/9", Old(1)),
];

const FILE: &[(&str, Content)] = &[("f", Old(1000))];
const MARKED: &[(&str, Content)] = &[("d", Directory)];

/// Runs every row on a store of its own, and compares all that differ at once.
async fn count<T: ?Sized>(rows: &[Row<T>], of: impl Fn(&Ground) -> &T) {
    let mut wrong = String::new();
    for (name, before, act, wanted) in rows {
        let Some(ground) = Ground::s3().await else { return };
        ground.lay_out(before).await;
        act(of(&ground)).await;
        let counted = ground.proxy.counts();
        if counted != *wanted {
            writeln!(wrong, "{name}: {counted}, not {wanted}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "the costs of these operations have changed:\n{wrong}");
}

async fn put(store: &dyn Store, options: &lockgate::internals::stores::PutOptions) {
    store.put(&key("f"), vec![Bytes::from_static(b"content")], options).await.unwrap();
}

async fn upload(store: &dyn Store, options: &lockgate::internals::stores::PutOptions) {
    let part = Bytes::from(vec![0; 5 * MIB]);
    let mut upload = store.begin_upload(&key("f"), options).await.unwrap();
    send(&mut upload, &[part.clone(), part, Bytes::from_static(b"last")]).await;
    complete(&mut upload).await.unwrap();
}

#[tokio::test]
async fn calls_of_the_store() {
    let rows: &[Row<dyn Store>] = &[
        ("stat of a file", FILE, |s| async { drop(s.stat(&key("f")).await.unwrap()) }.boxed(), "HEAD=1"),
        ("stat of a directory", TEN, |s| async { drop(s.stat(&key("d")).await.unwrap()) }.boxed(), "HEAD=1 LIST=1"),
        ("stat of nothing", &[], |s| async { drop(s.stat(&key("f")).await.unwrap_err()) }.boxed(), "HEAD=1 LIST=1"),
        ("stat of the root", &[], |s| async { drop(s.stat(&Key::root()).await.unwrap()) }.boxed(), ""),
        ("open", FILE, |s| async { drop(s.open(&key("f")).await.unwrap()) }.boxed(), "HEAD=1"),
        (
            "open and one read",
            FILE,
            |s| async { drop(s.open(&key("f")).await.unwrap().read(10, 100).await.unwrap()) }.boxed(),
            "HEAD=1 GET=1",
        ),
        ("put", FILE, |s| put(s, &REPLACE).boxed(), "PUT=1"),
        ("put that must not replace", &[], |s| put(s, &REFUSE).boxed(), "PUT=1"),
        ("upload of three parts", FILE, |s| upload(s, &REPLACE).boxed(), "BEGIN=1 PART=3 COMPLETE=1"),
        (
            "upload of three parts that must not replace",
            &[],
            |s| upload(s, &REFUSE).boxed(),
            "HEAD=1 BEGIN=1 PART=3 COMPLETE=1",
        ),
        ("delete", FILE, |s| async { s.delete(&key("f")).await.unwrap() }.boxed(), "DELETE=1"),
        ("make a directory", &[], |s| async { s.make_directory(&key("d")).await.unwrap() }.boxed(), "PUT=1"),
        (
            "remove a directory",
            MARKED,
            |s| async { s.remove_directory(&key("d")).await.unwrap() }.boxed(),
            "LIST=1 DELETE=1",
        ),
        (
            "rename a file",
            FILE,
            |s| async { drop(s.rename(&key("f"), &key("g"), Existing::Replace, None).await.unwrap()) }.boxed(),
            "HEAD=2 COPY=1 DELETE=1",
        ),
        (
            "rename a file to a free name",
            FILE,
            |s| async { drop(s.rename(&key("f"), &key("g"), Existing::Refuse, None).await.unwrap()) }.boxed(),
            "HEAD=3 COPY=1 DELETE=1",
        ),
        (
            "rename a directory of ten files",
            TEN,
            |s| async { s.rename_directory(&key("d"), &key("e")).await.unwrap() }.boxed(),
            "HEAD=30 LIST=3 COPY=10 DELETE=10",
        ),
        (
            "copy a file",
            FILE,
            |s| {
                {
                    async {
                        let version = s.open(&key("f")).await.unwrap().version().unwrap().to_owned();
                        s.copy(&key("f"), &version, &key("g"), &REPLACE).await.unwrap();
                    }
                }
                .boxed()
            },
            // The first HEAD is the opening.
            "HEAD=2 COPY=1",
        ),
        (
            "set a time",
            FILE,
            |s| async { assert!(s.set_mtime(&key("f"), a_time(), None).await.unwrap().is_some()) }.boxed(),
            "HEAD=1 COPY=1",
        ),
    ];
    count(rows, |ground| &*ground.fixture.store).await;
}

#[tokio::test]
async fn operations_of_clients() {
    let rows: &[Row<Vfs>] = &[
        ("stat", FILE, |v| async { assert_eq!(v.stat(&path("/f")).await.unwrap().size, 1000) }.boxed(), "HEAD=1"),
        ("upload of a small file", &[], |v| upload_file(v, "/f", false, 1000).boxed(), "HEAD=1 LIST=1 PUT=1"),
        ("upload of an empty file", &[], |v| upload_file(v, "/d/f", false, 0).boxed(), "HEAD=1 LIST=1 PUT=1"),
        ("upload over a small file", FILE, |v| upload_file(v, "/f", false, 1000).boxed(), "HEAD=1 PUT=1"),
        ("upload of a small new file", &[], |v| upload_file(v, "/f", true, 1000).boxed(), "HEAD=1 LIST=1 PUT=1"),
        (
            "upload of 12 MiB",
            &[],
            |v| upload_file(v, "/f", false, 12 * MIB).boxed(),
            "HEAD=1 LIST=1 BEGIN=1 PART=3 COMPLETE=1",
        ),
        (
            "upload of 12 MiB that must not replace",
            &[],
            |v| upload_file(v, "/f", true, 12 * MIB).boxed(),
            "HEAD=2 LIST=1 BEGIN=1 PART=3 COMPLETE=1",
        ),
        (
            "small append",
            FILE,
            |v| async { drop(write(v, "/f", CHANGE, 1000, pattern(2, 10)).await.unwrap()) }.boxed(),
            "HEAD=2 GET=1 PUT=1",
        ),
        ("download of a small file", FILE, |v| async { drop(read(v, "/f").await.unwrap()) }.boxed(), "HEAD=1 GET=1"),
        (
            "download of 1 MiB",
            &[("f", New(MIB))],
            |v| async { drop(read(v, "/f").await.unwrap()) }.boxed(),
            "HEAD=1 GET=1",
        ),
        ("mkdir", &[], |v| async { v.make_directory(&path("/d")).await.unwrap() }.boxed(), "HEAD=1 LIST=1 PUT=1"),
        ("rmdir", MARKED, |v| async { v.remove_directory(&path("/d")).await.unwrap() }.boxed(), "LIST=1 DELETE=1"),
        ("delete", FILE, |v| async { v.remove_file(&path("/f")).await.unwrap() }.boxed(), "HEAD=1 DELETE=1"),
        (
            "set a time",
            FILE,
            |v| async { assert!(v.set_mtime(&path("/f"), a_time(), None).await.unwrap().is_some()) }.boxed(),
            "HEAD=1 COPY=1",
        ),
        (
            "set the time of what was just uploaded",
            &[],
            |v| {
                {
                    async {
                        upload_file(v, "/f", false, 1000).await;
                        assert!(v.set_mtime(&path("/f"), a_time(), None).await.unwrap().is_some());
                    }
                }
                .boxed()
            },
            "HEAD=1 LIST=1 PUT=1 COPY=1",
        ),
        (
            "set the time of what was just uploaded, and rename it to a name that was looked up",
            &[],
            |v| {
                {
                    async {
                        drop(v.stat(&path("/g")).await.unwrap_err());
                        upload_file(v, "/f", false, 1000).await;
                        assert!(v.set_mtime(&path("/f"), a_time(), None).await.unwrap().is_some());
                        v.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.unwrap();
                        assert_eq!(v.stat(&path("/g")).await.unwrap().mtime, Some(a_time()));
                    }
                }
                .boxed()
            },
            // The last HEAD is the look before the deletion, for a server that ignores conditions there.
            "HEAD=3 LIST=2 PUT=1 COPY=2 DELETE=1",
        ),
        (
            "copy a file",
            &[("f", New(12 * MIB))],
            |v| {
                {
                    async {
                        let source = v.open_read(&path("/f")).await.unwrap().whole().unwrap();
                        let mut writer = v.open_write(&path("/g"), NEW).await.unwrap();
                        assert!(writer.become_copy(&source).unwrap());
                        writer.commit().await.unwrap();
                    }
                }
                .boxed()
            },
            "HEAD=3 LIST=1 COPY=1",
        ),
        (
            "rename a file",
            FILE,
            |v| async { drop(v.rename(&path("/f"), &path("/g"), Existing::Refuse, None).await.unwrap()) }.boxed(),
            "HEAD=4 LIST=1 COPY=1 DELETE=1",
        ),
        (
            "rename a file to a name that may be taken",
            FILE,
            |v| async { drop(v.rename(&path("/f"), &path("/g"), Existing::Replace, None).await.unwrap()) }.boxed(),
            "HEAD=3 LIST=1 COPY=1 DELETE=1",
        ),
        (
            "rename a directory of ten files",
            TEN,
            |v| async { drop(v.rename(&path("/d"), &path("/e"), Existing::Refuse, None).await.unwrap()) }.boxed(),
            "HEAD=33 LIST=5 COPY=10 DELETE=10",
        ),
    ];
    count(rows, |ground| &ground.vfs).await;
}

async fn upload_file(vfs: &Vfs, name: &str, exclusive: bool, size: usize) {
    let mode = if exclusive { EXCLUSIVE } else { NEW };
    write(vfs, name, mode, 0, pattern(2, size)).await.unwrap();
}

/// A listing costs its pages. Requests for single entries, where the store needs them for their times, are not counted here.
#[tokio::test]
async fn listings() {
    let wide: Vec<(String, Content)> = (0..1_001).map(|n| (format!("w/{n}"), Old(1))).collect();
    let wide: Vec<(&str, Content)> = wide.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    for (name, before, lists) in
        [("/d", TEN, 1), ("/d", MARKED, 1), ("/", FILE, 1), ("/", &[], 1), ("/w", wide.as_slice(), 2)]
    {
        let Some(ground) = Ground::s3().await else { return };
        ground.lay_out(before).await;
        let mut listing = ground.vfs.open_directory(&path(name)).await.unwrap();
        let mut entries = 0;
        while let Some(page) = listing.next_page().await.unwrap() {
            entries += page.len();
        }
        let seen = ground.proxy.seen();
        let counted = seen.iter().filter(|request| request.contains("?list-type=2")).count();
        assert_eq!(counted, lists, "{entries} entries of {name} cost {seen:#?}");
    }
}
