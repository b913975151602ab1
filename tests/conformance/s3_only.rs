//! What other tools leave in a bucket, and what they see of ours.

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Kind, PutOptions, StoreErrorKind};

use crate::fixture::{Fixture, REPLACE, Server, a_time, exists, get, key, names, pages, put};

#[tokio::test]
async fn markers_of_other_tools_are_directories() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (store, (server, prefix)) = (&*fixture.store, fixture.server.as_ref().unwrap());
    let (status, body) = server.send("PUT", &format!("{prefix}theirs/"), &[], b"").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(names(store, "").await, ["theirs/"]);
    assert!(names(store, "theirs").await.is_empty());
    let stat = store.stat(&key("theirs")).await.unwrap();
    assert!(stat.kind == Kind::Directory && stat.mtime.is_some(), "{stat:?}");
    store.remove_directory(&key("theirs")).await.unwrap();
    assert_eq!(server.send("HEAD", &format!("{prefix}theirs/"), &[], b"").await.0, 404);
}

#[tokio::test]
async fn our_markers_are_the_keys_that_other_tools_expect() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (store, (server, prefix)) = (&*fixture.store, fixture.server.as_ref().unwrap());
    store.make_directory(&key("o u r/s#1")).await.unwrap();
    let (status, head) = server.send("HEAD", &format!("{prefix}o%20u%20r/s%231/"), &[], b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-length: 0"), "{head}");
}

#[tokio::test]
async fn mtime_is_the_metadata_that_rclone_writes_and_reads() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (store, (server, prefix)) = (&*fixture.store, fixture.server.as_ref().unwrap());
    let options = PutOptions {
        existing: Existing::Replace,
        mtime: Some(a_time()),
        based_on: None,
        provenance: None,
        takes_parts: false,
    };
    store.put(&key("ours"), vec![Bytes::from_static(b"x")], &options).await.unwrap();
    let (_, head) = server.send("HEAD", &format!("{prefix}ours"), &[], b"").await;
    assert!(head.contains("x-amz-meta-mtime: 1700000000.123456789"), "{head}");
    let theirs = [("x-amz-meta-mtime", "1600000000.5"), ("x-amz-meta-colour", "red"), ("content-type", "text/x-odd")];
    let (status, _) = server.send("PUT", &format!("{prefix}theirs"), &theirs, b"content").await;
    assert_eq!(status, 200);
    let mtime = store.stat(&key("theirs")).await.unwrap().mtime.unwrap();
    assert_eq!(mtime.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(), 1_600_000_000_500);
    // A new time leaves the rest of the metadata.
    assert!(store.set_mtime(&key("theirs"), a_time(), None).await.unwrap().is_some());
    let (_, head) = server.send("HEAD", &format!("{prefix}theirs"), &[], b"").await;
    for wanted in ["x-amz-meta-mtime: 1700000000.123456789", "x-amz-meta-colour: red", "content-type: text/x-odd"] {
        assert!(head.contains(wanted), "{wanted}: {head}");
    }
    store.rename(&key("theirs"), &key("renamed"), Existing::Refuse, None).await.unwrap();
    let (_, head) = server.send("HEAD", &format!("{prefix}renamed"), &[], b"").await;
    assert!(head.contains("x-amz-meta-colour: red") && head.contains("content-type: text/x-odd"), "{head}");
}

#[tokio::test]
async fn odd_keys_never_fail_a_listing() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (store, (server, prefix)) = (&*fixture.store, fixture.server.as_ref().unwrap());
    put(store, "d/fine", "x").await;
    // Some servers refuse some of these; those that they take are left out of the listing and counted.
    let mut odd = 0;
    for raw in ["d//b", "d/con%01trol", "d/new%0Aline", "d/tab%09", "d/del%7F"] {
        odd += u64::from(server.send("PUT", &format!("{prefix}{raw}"), &[], b"x").await.0 == 200);
    }
    assert!(odd > 0, "the server takes none of the odd keys");
    assert_eq!(names(store, "d").await, ["fine"]);
    let skipped: u64 = pages(store, &key("d")).await.iter().map(|page| page.skipped.count).sum();
    assert_eq!(skipped, odd);
    assert_eq!(store.stat(&key("d")).await.unwrap().kind, Kind::Directory);
    assert_eq!(store.remove_directory(&key("d")).await.unwrap_err().kind, StoreErrorKind::DirectoryNotEmpty);
    // They are part of the directory and move with it.
    store.rename_directory(&key("d"), &key("e")).await.unwrap();
    assert!(!exists(store, "d").await);
    let skipped: u64 = pages(store, &key("e")).await.iter().map(|page| page.skipped.count).sum();
    assert_eq!(skipped, odd);
}

#[tokio::test]
async fn a_file_beside_a_directory_of_its_name_shows_as_the_directory() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (store, (server, prefix)) = (&*fixture.store, fixture.server.as_ref().unwrap());
    put(store, "a/inner", "x").await;
    let (status, body) = server.send("PUT", &format!("{prefix}a"), &[], b"file").await;
    if status != 200 {
        assert!(body.contains("ParentIsObject") || body.contains("ExistsAsDirectory"), "{status} {body}");
        return;
    }
    // MinIO hides what lies under an object's name; where the server shows it, the directory goes before the file.
    let (_, below) = server.send("GET", &format!("?list-type=2&prefix={prefix}a%2F"), &[], b"").await;
    let (kind, name) = match below.contains(&format!("<Key>{prefix}a/inner</Key>")) {
        true => (Kind::Directory, "a/"),
        false => (Kind::File, "a"),
    };
    assert_eq!(store.stat(&key("a")).await.unwrap().kind, Kind::File, "one request tells no more");
    assert_eq!(names(store, "").await, [name]);
    assert_eq!(store.stat(&key("a")).await.unwrap().kind, kind);
}

#[tokio::test]
async fn wrong_credentials_and_buckets_are_told_apart_without_secrets() {
    let Some(server) = Server::from_environment() else { return };
    let common =
        [("aws_endpoint", server.endpoint.as_str()), ("aws_allow_http", "true"), ("aws_access_key_id", "nobody")];
    let mut options = common.to_vec();
    options.push(("aws_secret_access_key", "very-secret-text"));
    let store = crate::fixture::open_url("s3://some-bucket/p", &options);
    for error in [
        store.check().await.unwrap_err(),
        store.stat(&key("f")).await.unwrap_err(),
        store.put(&key("f"), vec![], &REPLACE).await.unwrap_err(),
        store.make_directory(&key("f")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("very-secret-text") && !text.contains("Signature="), "{text}");
    }
    let missing = server.open_bucket("no-such-bucket-at-all");
    let error = missing.check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let options = [
        ("aws_endpoint", "http://127.0.0.1:9"),
        ("aws_allow_http", "true"),
        ("aws_access_key_id", "k"),
        ("aws_secret_access_key", "s"),
    ];
    let store = crate::fixture::open_url("s3://bucket", &options);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(get_error(&*store).await, "a read of an unreachable store succeeded");
}

async fn get_error(store: &dyn lockgate::internals::stores::Store) -> bool {
    store.open(&key("f")).await.err().is_some_and(|error| error.kind == StoreErrorKind::Unavailable)
}

#[tokio::test]
async fn what_one_prefix_holds_another_does_not_see() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (server, prefix) = fixture.server.as_ref().unwrap();
    put(&*fixture.store, "f", "mine").await;
    let beside = server.open(&format!("{}x", prefix.trim_end_matches('/')));
    assert!(names(&*beside, "").await.is_empty());
    let above = server.open("conformance");
    let name = prefix.trim_end_matches('/').rsplit('/').next().unwrap();
    assert_eq!(get(&*above, &format!("{name}/f")).await, "mine");
}

#[tokio::test]
async fn large_objects_are_copied_by_parts_with_their_metadata() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (server, prefix) = fixture.server.as_ref().unwrap();
    let bucket = format!("{}/{prefix}", server.bucket);
    let store = &*server.open_with(&bucket, &[("copy_limit", "5242880")]);
    let content: Vec<u8> = (0..(12 << 20) + 5).map(|n: u32| (n / 1_000) as u8).collect();
    let headers = [("x-amz-meta-colour", "red"), ("x-amz-meta-mtime", "1600000000"), ("content-type", "text/x-odd")];
    assert_eq!(server.send("PUT", &format!("{prefix}large"), &headers, &content).await.0, 200);

    store.rename(&key("large"), &key("moved"), Existing::Refuse, None).await.unwrap();
    assert!(!exists(store, "large").await);
    assert!(store.set_mtime(&key("moved"), a_time(), None).await.unwrap().is_some());
    let object = store.open(&key("moved")).await.unwrap();
    assert_eq!(object.stat().mtime, Some(a_time()));
    assert!(object.read(0, content.len()).await.unwrap() == content, "the copy differs");
    let (_, head) = server.send("HEAD", &format!("{prefix}moved"), &[], b"").await;
    assert!(head.contains("x-amz-meta-colour: red") && head.contains("content-type: text/x-odd"), "{head}");
    // The tag of an object in parts tells that it went by parts.
    assert!(object.stat().etag.as_ref().is_some_and(|tag| tag.ends_with("-3")), "{:?}", object.stat());

    let version = object.version().unwrap();
    let written = store.copy(&key("moved"), version, &key("copied"), &REPLACE).await.unwrap();
    let copied = store.open(&key("copied")).await.unwrap();
    assert!(copied.read(0, content.len()).await.unwrap() == content, "the copy differs");
    assert_ne!(copied.stat().mtime, Some(a_time()));
    assert_eq!(copied.stat().etag, written.etag);
    let (_, head) = server.send("HEAD", &format!("{prefix}copied"), &[], b"").await;
    assert!(head.contains("x-amz-meta-colour: red") && head.contains("content-type: text/x-odd"), "{head}");

    put(store, "taken", "kept").await;
    let error = store.rename(&key("moved"), &key("taken"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    assert_eq!(get(store, "taken").await, "kept");
    let (_, uploads) = server.send("GET", &format!("?uploads=&prefix={prefix}taken"), &[], b"").await;
    assert!(!uploads.contains("<UploadId>"), "{uploads}");
}

#[tokio::test]
async fn parts_that_a_killed_process_left_are_removed_by_the_next() {
    let Some(fixture) = Fixture::s3().await else { return };
    let (server, prefix) = fixture.server.as_ref().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unfinished = async |name: &str| {
        let (status, uploads) = server.send("GET", &format!("?uploads=&prefix={prefix}{name}"), &[], b"").await;
        assert_eq!(status, 200, "{uploads}");
        uploads.matches("<UploadId>").count()
    };
    let open = || {
        let journal = lockgate::internals::stores::Unfinished::open(folder.path()).unwrap();
        server.open_noting(prefix.trim_end_matches('/'), journal)
    };

    let store = open();
    let begin = async |name: &str| {
        let mut upload = store.begin_upload(&key(name), &REPLACE).await.unwrap();
        crate::fixture::send(&mut upload, &[Bytes::from(vec![1; 5 << 20])]).await;
        upload
    };
    let (mut finished, mut aborted, killed) = (begin("finished").await, begin("aborted").await, begin("killed").await);
    crate::fixture::complete(&mut finished).await.unwrap();
    crate::fixture::abort(&mut aborted).await;
    // Another tool's upload, which is none of ours.
    let (status, _) = server.send("POST", &format!("{prefix}theirs?uploads="), &[], b"").await;
    assert_eq!(status, 200);
    drop((finished, aborted, killed, store));
    assert_eq!(unfinished("killed").await, 1);

    // The process died before it learned the upload's id.
    let (status, _) = server.send("POST", &format!("{prefix}asked?uploads="), &[], b"").await;
    assert_eq!((status, unfinished("asked").await), (200, 1));
    // Somebody else is sending a file of that name.
    let (_, begun) = server.send("POST", &format!("{prefix}asked?uploads="), &[], b"").await;
    let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let part = format!("{prefix}asked?partNumber=1&uploadId={id}");
    assert_eq!(server.send("PUT", &part, &[], b"a part").await.0, 200);
    let journal = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&journal).unwrap();
    let intent = text.lines().find(|line| line.contains("/killed")).unwrap();
    let intent = intent.replace("/killed", "/asked").replacen("\"number\":", "\"number\":9", 1);
    std::fs::write(&journal, format!("{text}{intent}\n")).unwrap();

    let next = open();
    assert_eq!(next.remove_unfinished().await.unwrap(), 2);
    assert_eq!((unfinished("killed").await, unfinished("asked").await, unfinished("theirs").await), (0, 1, 1));
    assert_eq!(next.remove_unfinished().await.unwrap(), 0);
    assert!(exists(&*next, "finished").await && !exists(&*next, "killed").await);
}
