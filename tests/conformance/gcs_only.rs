//! What other tools leave in a bucket of Google's, what they see of ours, and what only Google's interface does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Kind, PutOptions, StoreErrorKind, Upload};
use serde_json::Value;

use crate::fixture::{REFUSE, REPLACE, a_time, abort, complete, exists, get, key, names, pages, put, send};
use crate::fixture_gcs::Bucket;
use crate::support::gcs;
use crate::support::gcs_shim::{FAR, encoded};
use crate::support::process::{program, run};

/// rclone on a bucket, without a configuration file.
fn rclone(bucket: &Bucket, arguments: &[&str]) -> String {
    let mut command = program("rclone");
    command.env("RCLONE_CONFIG", "").args(["--retries", "1", "--contimeout", "20s", "--config", ""]);
    command.args([
        "--gcs-endpoint",
        &format!("{}/storage/v1/", bucket.endpoint),
        "--gcs-anonymous",
        "--gcs-bucket-policy-only",
    ]);
    run(command.args(arguments)).succeeded().stdout
}

fn remote(bucket: &Bucket, name: &str) -> String {
    format!(":gcs:{}/{}{name}", bucket.name, bucket.prefix)
}

fn metadata(resource: &str) -> Value {
    serde_json::from_str::<Value>(resource).unwrap()["metadata"].clone()
}

#[tokio::test]
async fn rclone_and_we_read_each_others_files_and_times() {
    let Some(bucket) = Bucket::new("") else { return };
    if !bucket.emulated {
        // rclone would need credentials of its own.
        return;
    }
    let store = &*bucket.open();
    let options = PutOptions {
        existing: Existing::Replace,
        mtime: Some(a_time()),
        based_on: None,
        provenance: None,
        takes_parts: false,
    };
    store.put(&key("ours"), vec![Bytes::from_static(b"x")], &options).await.unwrap();
    put(store, "later", "y").await;
    assert!(store.set_mtime(&key("later"), a_time(), None).await.unwrap().is_some());
    let seen: Value = serde_json::from_str(&rclone(&bucket, &["lsjson", &remote(&bucket, "")])).unwrap();
    let seen = seen.as_array().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for file in seen {
        let time: chrono::DateTime<chrono::Utc> = file["ModTime"].as_str().unwrap().parse().unwrap();
        assert_eq!(SystemTime::from(time), a_time(), "{file}");
    }
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("theirs #1");
    std::fs::write(&local, "theirs").unwrap();
    let time = UNIX_EPOCH + Duration::new(1_600_000_000, 987_654_321);
    std::fs::File::options().write(true).open(&local).unwrap().set_modified(time).unwrap();
    rclone(&bucket, &["copyto", local.to_str().unwrap(), &remote(&bucket, "theirs #1")]);
    assert_eq!(get(store, "theirs #1").await, "theirs");
    assert_eq!(store.stat(&key("theirs #1")).await.unwrap().mtime, Some(time));
    store.make_directory(&key("our folder")).await.unwrap();
    assert!(rclone(&bucket, &["lsf", &remote(&bucket, "")]).contains("our folder/\n"));
}

#[tokio::test]
async fn times_of_gcloud_are_read() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    let theirs = [("x-goog-meta-goog-reserved-file-mtime", "1600000000")];
    assert_eq!(bucket.put("theirs", &theirs, b"x").await, 200);
    let time = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    assert_eq!(store.stat(&key("theirs")).await.unwrap().mtime, Some(time));
    // A new time goes before it.
    assert!(store.set_mtime(&key("theirs"), a_time(), None).await.unwrap().is_some());
    assert_eq!(store.stat(&key("theirs")).await.unwrap().mtime, Some(a_time()));
}

#[tokio::test]
async fn a_new_time_leaves_the_object_and_the_rest_of_its_metadata() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    let theirs = [("x-goog-meta-colour", "red"), ("content-type", "text/x-odd"), ("cache-control", "no-transform")];
    assert_eq!(bucket.put("f", &theirs, b"content").await, 200);
    let before: Value = serde_json::from_str(&bucket.look_up("f").await.1).unwrap();
    let object = store.open(&key("f")).await.unwrap();
    assert!(store.set_mtime(&key("f"), a_time(), None).await.unwrap().is_some());
    let (_, text) = bucket.look_up("f").await;
    let after: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metadata(&text)["mtime"], "2023-11-14T22:13:20.123456789Z");
    assert_eq!(metadata(&text)["colour"], "red");
    for same in ["generation", "contentType", "cacheControl", "md5Hash"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    // Who reads it goes on reading.
    assert_eq!(object.read(0, 100).await.unwrap(), "content".as_bytes());
    store.rename(&key("f"), &key("renamed"), Existing::Refuse, None).await.unwrap();
    let (_, text) = bucket.look_up("renamed").await;
    let renamed: Value = serde_json::from_str(&text).unwrap();
    let mut kept = metadata(&text);
    // By this the gateway knows its copy again, if the answer is lost.
    assert!(kept.as_object_mut().unwrap().remove("lockgateput").is_some());
    assert_eq!(kept, after["metadata"]);
    for same in ["contentType", "cacheControl", "md5Hash", "storageClass"] {
        assert_eq!(before[same], renamed[same], "{same}");
    }
}

#[tokio::test]
async fn markers_of_other_tools_are_directories_and_ours_are_theirs() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    assert_eq!(bucket.put("theirs/", &[("content-type", "text/plain")], b"").await, 200);
    assert_eq!(names(store, "").await, ["theirs/"]);
    assert!(names(store, "theirs").await.is_empty());
    let stat = store.stat(&key("theirs")).await.unwrap();
    assert!(stat.kind == Kind::Directory && stat.mtime.is_some(), "{stat:?}");
    // Making it again changes nothing.
    let before = bucket.look_up("theirs/").await;
    store.make_directory(&key("theirs")).await.unwrap();
    assert_eq!(bucket.look_up("theirs/").await, before);
    store.remove_directory(&key("theirs")).await.unwrap();
    assert_eq!(bucket.look_up("theirs/").await.0, 404);
    store.make_directory(&key("o u r/s#1")).await.unwrap();
    let (status, text) = bucket.look_up("o u r/s#1/").await;
    assert_eq!((status, &serde_json::from_str::<Value>(&text).unwrap()["size"]), (200, &Value::from("0")));
}

#[tokio::test]
async fn odd_keys_never_fail_a_listing() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    put(store, "d/fine", "x").await;
    // The service refuses line ends; the emulator takes them.
    let mut odd = 0;
    for raw in ["d//b", "d/con\u{1}trol", "d/new\nline", "d/tab\t", "d/del\u{7f}", "d/../up", "d/./here"] {
        odd += u64::from(bucket.put(raw, &[], b"x").await == 200);
    }
    assert!(odd > 4, "the service takes {odd} of the odd keys");
    assert_eq!(names(store, "d").await, ["fine"]);
    let skipped = pages(store, &key("d")).await.iter().map(|page| page.skipped.count).sum::<u64>();
    assert_eq!(skipped, odd);
    assert_eq!(store.stat(&key("d")).await.unwrap().kind, Kind::Directory);
    assert_eq!(store.remove_directory(&key("d")).await.unwrap_err().kind, StoreErrorKind::DirectoryNotEmpty);
    // They are part of the directory and move with it.
    store.rename_directory(&key("d"), &key("e")).await.unwrap();
    assert!(!exists(store, "d").await);
    assert_eq!(pages(store, &key("e")).await.iter().map(|page| page.skipped.count).sum::<u64>(), odd);
}

#[tokio::test]
async fn a_file_beside_a_directory_of_its_name_shows_as_the_directory() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    put(store, "a/inner", "x").await;
    put(store, "a!", "x").await;
    assert_eq!(bucket.put("a", &[], b"file").await, 200);
    assert_eq!(names(store, "").await, ["a!", "a/"]);
    assert_eq!(store.stat(&key("a")).await.unwrap().kind, Kind::Directory);
}

#[tokio::test]
async fn a_copy_in_many_rounds_is_whole_and_may_refuse() {
    let Some(bucket) = Bucket::new(FAR) else { return };
    let store = &*bucket.open();
    let content: Vec<u8> = (0..(3 << 20) + 5).map(|n: u32| (n / 1_000) as u8).collect();
    assert_eq!(bucket.put("large", &[("x-goog-meta-colour", "red")], &content).await, 200);
    let path = |name: &str| format!("/storage/v1/b/{}/o/{}", bucket.name, encoded(&format!("{}{name}", bucket.prefix)));
    let rounds = || gcs::shim().seen(&format!("POST {}/rewriteTo", path("large")));
    put(store, "taken", "kept").await;
    let error = store.rename(&key("large"), &key("taken"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    let refused = bucket.emulated.then(rounds);
    store.rename(&key("large"), &key("moved"), Existing::Refuse, None).await.unwrap();
    if let Some(refused) = refused {
        assert_eq!((refused, rounds()), (1, 5), "one round was refused, four made the copy");
    }
    assert!(!exists(store, "large").await);
    assert_eq!(get(store, "taken").await, "kept");
    let object = store.open(&key("moved")).await.unwrap();
    assert!(object.read(0, content.len()).await.unwrap() == content, "the copy differs");
    assert_eq!(metadata(&bucket.look_up("moved").await.1)["colour"], "red");
}

#[tokio::test]
async fn a_reader_never_gets_bytes_of_another_version_with_the_same_entity_tag() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    // The entity tag is the sum of the content, so it says nothing about versions.
    put(store, "f", "same").await;
    let object = store.open(&key("f")).await.unwrap();
    put(store, "f", "same").await;
    assert_eq!(object.read(0, 4).await.unwrap_err().kind, StoreErrorKind::Changed);
    store.delete(&key("f")).await.unwrap();
    assert_eq!(object.read(0, 4).await.unwrap_err().kind, StoreErrorKind::Changed);
}

#[tokio::test]
async fn of_two_exclusive_writers_of_a_name_one_wins_whole() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    let piece = |letter: u8| Bytes::from(vec![letter; 5 << 20]);
    let mut uploads = Vec::new();
    for letter in [b'1', b'2'] {
        let mut upload = store.begin_upload(&key("f"), &REFUSE).await.unwrap();
        send(&mut upload, &[piece(letter), piece(letter), Bytes::from(vec![letter; 7])]).await;
        uploads.push(upload);
    }
    let mut last = uploads.pop().unwrap();
    let (first, second) = tokio::join!(complete(&mut uploads[0]), complete(&mut last));
    let won = if first.is_ok() { b'1' } else { b'2' };
    let lost = if first.is_ok() { second } else { first };
    assert_eq!(lost.unwrap_err().kind, StoreErrorKind::AlreadyExists);
    for upload in uploads.iter_mut().chain([&mut last]) {
        abort(upload).await;
    }
    let object = store.open(&key("f")).await.unwrap();
    assert_eq!(object.stat().size, (10 << 20) + 7);
    let content = object.read(0, (10 << 20) + 7).await.unwrap();
    assert!(content.iter().all(|byte| *byte == won), "a mixture");
    let small = key("small");
    let (one, two) = tokio::join!(
        store.put(&small, vec![Bytes::from_static(b"1")], &REFUSE),
        store.put(&small, vec![Bytes::from_static(b"2")], &REFUSE)
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn an_exclusive_upload_goes_on_after_a_chunk_of_which_half_arrived() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    if bucket.emulated {
        gcs::shim().cut_a_chunk_of(&format!("{}f", bucket.prefix));
    }
    let content: Vec<u8> = (0..(8 << 20) + 77).map(|n: u32| (n / 999) as u8).collect();
    let content = Bytes::from(content);
    let options = PutOptions {
        existing: Existing::Refuse,
        mtime: Some(a_time()),
        based_on: None,
        provenance: None,
        takes_parts: false,
    };
    let mut upload = store.begin_upload(&key("f"), &options).await.unwrap();
    // Pieces that are no multiples of what a request must carry, and one that fills a request by itself.
    let cuts = [0, 5_000_000, 5_000_001, 6 << 20, 8 << 20, content.len()];
    let pieces: Vec<Bytes> = cuts.windows(2).map(|cut| content.slice(cut[0]..cut[1])).collect();
    send(&mut upload, &pieces).await;
    assert!(!exists(store, "f").await);
    assert!(complete(&mut upload).await.unwrap().mtime_kept);
    let object = store.open(&key("f")).await.unwrap();
    assert_eq!(object.stat().mtime, Some(a_time()));
    assert_eq!(object.stat().size, content.len() as u64);
    assert!(object.read(0, content.len()).await.unwrap() == content, "the object differs");
}

#[tokio::test]
async fn an_exclusive_upload_whose_part_was_not_sent_is_not_published() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    let Upload::Parts(mut upload) = store.begin_upload(&key("f"), &REFUSE).await.unwrap() else { panic!("a file") };
    drop(upload.put_part(vec![Bytes::from(vec![b'x'; 5 << 20])]));
    assert!(upload.put_part(vec![Bytes::from(vec![b'y'; 5 << 20])]).await.is_err());
    assert!(upload.complete().await.is_err());
    upload.abort().await.unwrap();
    assert!(!exists(store, "f").await);
}

#[tokio::test]
async fn an_aborted_upload_leaves_no_parts() {
    let Some(bucket) = Bucket::new("") else { return };
    let store = &*bucket.open();
    let unfinished = || async {
        let target = format!("/{}?uploads=&prefix={}", bucket.name, encoded(&bucket.prefix));
        let (status, body) = bucket.send("GET", &target, &[], b"").await;
        assert_eq!(status, 200, "{body}");
        body.matches("<UploadId>").count()
    };
    let mut upload = store.begin_upload(&key("f"), &REPLACE).await.unwrap();
    send(&mut upload, &[Bytes::from(vec![b'x'; 5 << 20])]).await;
    assert_eq!(unfinished().await, 1);
    abort(&mut upload).await;
    assert_eq!(unfinished().await, 0);
}

#[tokio::test]
async fn what_one_prefix_holds_another_does_not_see() {
    let Some(bucket) = Bucket::new("") else { return };
    put(&*bucket.open(), "f", "mine").await;
    let place = format!("{}/{}", bucket.name, bucket.prefix.trim_end_matches('/'));
    assert!(names(&*bucket.open_at(&format!("{place}x")), "").await.is_empty());
    let (above, name) = place.rsplit_once('/').unwrap();
    assert_eq!(get(&*bucket.open_at(above), &format!("{name}/f")).await, "mine");
}

#[tokio::test]
async fn a_missing_bucket_and_an_unreachable_service_are_told_apart() {
    let Some(bucket) = Bucket::new("") else { return };
    let missing = bucket.open_at("no-such-bucket-at-all-7c21");
    assert_eq!(missing.check().await.unwrap_err().kind, StoreErrorKind::NotFound);
    let options =
        [("google_base_url", "http://127.0.0.1:9"), ("allow_http", "true"), ("google_skip_signature", "true")];
    let store = crate::fixture::open_url("gs://bucket", &options);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
}
