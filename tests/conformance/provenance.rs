//! What objects say of where they come from, as the servers themselves show it, and checksums that a server verifies.

use std::sync::Arc;

use bytes::Bytes;
use lockgate::internals::stores::{Existing, Made, Provenance, PutOptions, Store, StoreErrorKind, Upload, Written};

use crate::fixture::{Fixture, REFUSE, REPLACE, Server, a_time, complete, exists, get, key, open_url, send};
use crate::fixture_azure::from_environment;
use crate::fixture_gcs::Bucket;
use crate::support::proxy::{Fault, Plan, Proxy};

const MIB: usize = 1 << 20;

/// A store, and how its server shows the metadata of an object.
enum Ground {
    S3(Server, String),
    Azure(crate::support::azure::Account, String),
    Google(Bucket),
}

impl Ground {
    /// A line `name=value` for each of the metadata that says where an object comes from.
    async fn says(&self, name: &str) -> Vec<String> {
        let text = match self {
            Ground::S3(server, prefix) => server.send("HEAD", &format!("{prefix}{name}"), &[], b"").await.1,
            Ground::Azure(account, prefix) => account.send("HEAD", &format!("{prefix}{name}"), &[], b"").await.1,
            Ground::Google(bucket) => bucket.look_up(name).await.1,
        };
        let mut found = Vec::new();
        for wanted in ["user-agent-id", "lockgate-session", "lockgate-sha256"] {
            let name = if matches!(self, Ground::Azure(..)) { wanted.replace('-', "_") } else { wanted.to_owned() };
            let value = match self {
                Ground::S3(..) => line(&text, &format!("x-amz-meta-{name}: ")),
                Ground::Azure(..) => line(&text, &format!("x-ms-meta-{name}: ")),
                Ground::Google(_) => {
                    let resource: serde_json::Value = serde_json::from_str(&text).unwrap();
                    resource["metadata"][&name].as_str().map(str::to_owned)
                }
            };
            found.extend(value.map(|value| format!("{wanted}={value}")));
        }
        found
    }

    /// Whether the digest of an upload in parts becomes metadata.
    fn keeps_the_digest_of_parts(&self) -> bool {
        matches!(self, Ground::Azure(..))
    }
}

fn line(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

fn whole() -> PutOptions {
    let mut provenance = Provenance::new("ann", "edge 1", &Arc::from("0049cd844c7536c06a89"));
    provenance.set_sha256("5e9dcafe");
    PutOptions { provenance: Some(provenance), ..REPLACE }
}

fn expected(with_digest: bool) -> Vec<String> {
    let mut all = vec!["user-agent-id=ann@edge 1".to_owned(), "lockgate-session=0049cd844c7536c06a89".to_owned()];
    all.extend(with_digest.then(|| "lockgate-sha256=5e9dcafe".to_owned()));
    all
}

fn made(written: &Written, size: u64) -> Made {
    Made { etag: written.etag.clone().unwrap(), size, mtime: None, provenance: written.provenance.clone() }
}

/// Everything by which a gateway makes, renames and changes an object.
async fn every_way(store: &dyn Store, ground: &Ground) {
    let content = || vec![Bytes::from_static(b"content")];
    for (name, options) in [("put", whole()), ("new", PutOptions { existing: Existing::Refuse, ..whole() })] {
        store.put(&key(name), content(), &options).await.unwrap();
        assert_eq!(ground.says(name).await, expected(true), "{name}");
    }
    store.rename(&key("put"), &key("renamed"), Existing::Refuse, None).await.unwrap();
    assert_eq!(ground.says("renamed").await, expected(true));
    let written = store.put(&key("made"), content(), &whole()).await.unwrap();
    let (from, to) = (key("made"), key("renamed-made"));
    store.rename_made(&from, &made(&written, 7), &to, Existing::Refuse, None).await.unwrap();
    assert_eq!(ground.says("renamed-made").await, expected(true), "made here a moment ago");
    let written = store.put(&key("timed"), content(), &whole()).await.unwrap();
    store.set_mtime_of_made(&key("timed"), &made(&written, 7), a_time(), None).await.unwrap();
    assert_eq!(ground.says("timed").await, expected(true));
    assert!(store.set_mtime(&key("timed"), a_time(), None).await.unwrap().is_some());
    assert_eq!(ground.says("timed").await, expected(true));
    let version = store.open(&key("timed")).await.unwrap().version().unwrap().to_owned();
    store.copy(&key("timed"), &version, &key("copy"), &REPLACE).await.unwrap();
    assert_eq!(ground.says("copy").await, expected(true), "a copy is the same content of the same origin");
    // In parts the digest is known only at the end.
    for (name, existing) in [("parts", Existing::Replace), ("new-parts", Existing::Refuse)] {
        let mut provenance = whole();
        provenance.provenance = Some(Provenance::new("ann", "edge 1", &Arc::from("0049cd844c7536c06a89")));
        let mut upload = store.begin_upload(&key(name), &PutOptions { existing, ..provenance }).await.unwrap();
        send(&mut upload, &[Bytes::from(vec![1; 5 * MIB]), Bytes::from_static(b"x")]).await;
        if let Upload::Parts(parts) = &mut upload {
            parts.set_sha256("5e9dcafe");
        }
        complete(&mut upload).await.unwrap();
        assert_eq!(ground.says(name).await, expected(ground.keeps_the_digest_of_parts()), "{name}");
    }
    // What was made by others, or is replaced, says nothing of us.
    store.put(&key("put"), content(), &REPLACE).await.unwrap();
    store.put(&key("none"), content(), &REFUSE).await.unwrap();
    assert!(ground.says("put").await.is_empty() && ground.says("none").await.is_empty());
}

/// The same with `object_metadata: off`.
async fn left_out(store: &dyn Store, ground: &Ground) {
    let written = store.put(&key("silent"), vec![Bytes::from_static(b"x")], &whole()).await.unwrap();
    assert_eq!(written.provenance, None);
    let mut upload = store.begin_upload(&key("silent-parts"), &whole()).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"y")]).await;
    if let Upload::Parts(parts) = &mut upload {
        parts.set_sha256("5e9dcafe");
    }
    complete(&mut upload).await.unwrap();
    assert!(ground.says("silent").await.is_empty() && ground.says("silent-parts").await.is_empty());
}

const OFF: (&str, &str) = ("object_metadata", "off");

#[tokio::test]
async fn objects_on_s3_say_where_they_come_from() {
    let Some(server) = Server::from_environment() else { return };
    let endpoint = server.endpoint.clone();
    for options in [&[][..], &[("copy_limit", "5242880")], &[("aws_checksum_algorithm", "sha256")]] {
        let fixture = Fixture::s3_through(server.clone(), &endpoint, options).await;
        every_way(&*fixture.store, &Ground::S3(server.clone(), fixture.prefix().to_owned())).await;
    }
    let fixture = Fixture::s3_through(server.clone(), &endpoint, &[OFF]).await;
    left_out(&*fixture.store, &Ground::S3(server, fixture.prefix().to_owned())).await;
}

#[tokio::test]
async fn objects_on_azure_say_where_they_come_from() {
    let Some(account) = from_environment() else { return };
    let prefix = format!("conformance/{}/", uuid::Uuid::now_v7().simple());
    let url = format!("az://{}/{prefix}", account.container);
    let ground = Ground::Azure(account.clone(), prefix);
    every_way(&*open_url(&url, &account.options()), &ground).await;
    let options: Vec<_> = account.options().into_iter().chain([OFF]).collect();
    left_out(&*open_url(&url, &options), &ground).await;
}

#[tokio::test]
async fn objects_on_google_say_where_they_come_from() {
    let Some(bucket) = Bucket::new("") else { return };
    let (on, off) = (bucket.open(), bucket.open_with(&[OFF]));
    let ground = Ground::Google(bucket);
    every_way(&*on, &ground).await;
    left_out(&*off, &ground).await;
}

/// Without signed payloads, a checksum is all that keeps a byte that changes on the way out of the bucket.
#[tokio::test]
async fn a_byte_that_changes_on_the_way_is_refused_by_its_checksum() {
    let Some(server) = Server::from_environment() else { return };
    let proxy = Proxy::start(&server.endpoint);
    for (algorithm, is_refused) in [("sha256", true), ("crc64nvme", true), ("none", false)] {
        let options = [("aws_unsigned_payload", "true"), ("aws_checksum_algorithm", algorithm)];
        let fixture = Fixture::s3_through(server.clone(), &proxy.endpoint(), &options).await;
        let store = &*fixture.store;
        let flip = |part: bool| {
            let chosen = move |request: &crate::support::proxy::Request| {
                request.method == "PUT" && request.target.contains("partNumber") == part
            };
            proxy.plan(Plan::chosen(chosen, u64::MAX, Fault::FlipByte));
        };
        flip(false);
        let done = store.put(&key("whole"), vec![Bytes::from_static(b"content")], &REPLACE).await;
        flip(true);
        let mut upload = store.begin_upload(&key("parts"), &REPLACE).await.unwrap();
        let Upload::Parts(parts) = &mut upload else { panic!("parts") };
        let sent = parts.put_part(vec![Bytes::from_static(b"content")]).await;
        proxy.plan(Plan::none());
        if is_refused {
            let errors = [done.unwrap_err(), sent.unwrap_err()];
            assert!(errors.iter().all(|error| error.kind != StoreErrorKind::NotFound), "{errors:?}");
            assert!(!exists(store, "whole").await);
            parts.abort().await.unwrap();
            // Without the change all of it is fine.
            store.put(&key("whole"), vec![Bytes::from_static(b"content")], &REPLACE).await.unwrap();
            assert_eq!(get(store, "whole").await, "content");
        } else {
            assert!(done.is_ok() && sent.is_ok(), "nobody noticed");
            assert_ne!(get(store, "whole").await, "content");
            parts.abort().await.unwrap();
        }
    }
}

/// Parts that the server copies have no checksums of their own: such an upload goes without.
#[tokio::test]
async fn an_upload_with_checksums_may_take_parts_of_what_is_there() {
    let Some(server) = Server::from_environment() else { return };
    let endpoint = server.endpoint.clone();
    let fixture = Fixture::s3_through(server, &endpoint, &[("aws_checksum_algorithm", "sha256")]).await;
    let store = &*fixture.store;
    let old = Bytes::from(vec![7; 5 * MIB]);
    store.put(&key("f"), vec![old.clone()], &REPLACE).await.unwrap();
    let etag = store.open(&key("f")).await.unwrap().stat().etag.clone().unwrap();
    let Upload::Parts(mut plain) = store.begin_upload(&key("f"), &REPLACE).await.unwrap() else { panic!("parts") };
    assert!(!plain.copies_parts());
    plain.abort().await.unwrap();
    let options = PutOptions { takes_parts: true, ..REPLACE };
    let Upload::Parts(mut upload) = store.begin_upload(&key("f"), &options).await.unwrap() else { panic!("parts") };
    assert!(upload.copies_parts());
    upload.copy_part(&etag, 0..old.len() as u64).await.unwrap();
    upload.put_part(vec![Bytes::from_static(b"new")]).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.stat(&key("f")).await.unwrap().size, old.len() as u64 + 3);
}
