//! What other tools leave in a container of Azure's, what they see of ours, and what only Azure does.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lockgate::internals::stores::{Existing, Kind, PutOptions, StoreErrorKind};
use serde_json::Value;

use crate::fixture::{
    Fixture, REFUSE, REPLACE, a_time, abort, complete, exists, get, key, names, open_url, pages, put, send,
};
use crate::fixture_azure::{from_environment, open_prefix};
use crate::support::azure::Account;
use crate::support::process::{program, run};
use crate::support::proxy::{Fault, Plan, Proxy, Request};

/// A store, its account and the prefix of its keys; ends the test where servers are to be skipped.
macro_rules! fixture {
    ($fixture:ident, $store:ident, $account:ident, $prefix:ident) => {
        let Some($fixture) = Fixture::azure() else { return };
        let ($store, ($account, $prefix)) = (&*$fixture.store, $fixture.azure.as_ref().unwrap());
    };
}

#[tokio::test]
async fn markers_of_other_tools_are_directories() {
    fixture!(fixture, store, account, prefix);
    let folder = [("x-ms-meta-hdi_isfolder", "True")];
    assert_eq!(account.put(&format!("{prefix}hadoop"), &folder, b"").await, 201);
    assert_eq!(account.put(&format!("{prefix}slash/"), &[], b"").await, 201);
    assert_eq!(account.put(&format!("{prefix}both"), &folder, b"").await, 201);
    assert_eq!(account.put(&format!("{prefix}both/"), &[], b"").await, 201);
    // Neither an empty file nor a full one with the metadata is a directory.
    put(store, "empty", "").await;
    assert_eq!(account.put(&format!("{prefix}full"), &folder, b"full").await, 201);
    assert_eq!(names(store, "").await, ["both/", "empty", "full", "hadoop/", "slash/"]);
    for name in ["both", "hadoop", "slash"] {
        assert!(names(store, name).await.is_empty(), "{name}");
        let stat = store.stat(&key(name)).await.unwrap();
        assert!(stat.kind == Kind::Directory && stat.mtime.is_some(), "{name}: {stat:?}");
        store.remove_directory(&key(name)).await.unwrap();
        assert!(!exists(store, name).await, "{name}");
    }
    assert_eq!(names(store, "").await, ["empty", "full"]);
}

#[tokio::test]
async fn a_file_beside_a_directory_of_its_name_shows_as_the_directory() {
    fixture!(fixture, store, account, prefix);
    put(store, "a", "file").await;
    assert_eq!(account.put(&format!("{prefix}a/"), &[], b"").await, 201);
    assert_eq!(names(store, "").await, ["a/"]);
    assert_eq!(store.stat(&key("a")).await.unwrap().kind, Kind::Directory);
    // The file is not part of the directory.
    store.remove_directory(&key("a")).await.unwrap();
    assert_eq!(get(store, "a").await, "file");
    put(store, "a/inner", "x").await;
    assert_eq!(names(store, "").await, ["a/"]);
    store.rename_directory(&key("a"), &key("b")).await.unwrap();
    assert_eq!(names(store, "").await, ["a", "b/"]);
}

#[tokio::test]
async fn our_markers_are_the_blobs_that_other_tools_expect() {
    fixture!(fixture, store, account, prefix);
    store.make_directory(&key("o u r/s#1")).await.unwrap();
    // Making it again is no error; a file in its place is one.
    store.make_directory(&key("o u r/s#1")).await.unwrap();
    let (status, head) = account.send("HEAD", &format!("{prefix}o%20u%20r/s%231"), &[], b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("x-ms-meta-hdi_isfolder: true") && head.contains("content-length: 0"), "{head}");
    put(store, "file", "x").await;
    let error = store.make_directory(&key("file")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    assert!(store.set_mtime(&key("o u r/s#1"), a_time(), None).await.unwrap().is_none());
}

#[tokio::test]
async fn odd_keys_never_fail_a_listing() {
    fixture!(fixture, store, account, prefix);
    put(store, "d/fine", "x").await;
    // Some servers refuse some of these; those that they take are left out of the listing and counted.
    let mut odd = 0;
    for raw in ["d//b", "d/con%01trol", "d/new%0Aline", "d/tab%09", "d/del%7F"] {
        let name = format!("{prefix}{raw}");
        let taken = account.put(&name, &[], b"x").await == 201;
        // The emulator takes a name with U+0001 and then cannot list it in XML.
        if taken && !lists(account, prefix).await {
            assert_eq!(account.send("DELETE", &name, &[], b"").await.0, 202);
            continue;
        }
        odd += u64::from(taken);
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

/// Whether the server itself can list a prefix.
async fn lists(account: &Account, prefix: &str) -> bool {
    let query = format!("?restype=container&comp=list&prefix={}", prefix.replace('/', "%2F"));
    account.send("GET", &query, &[], b"").await.0 == 200
}

#[tokio::test]
async fn names_that_azure_would_change_are_refused() {
    fixture!(fixture, store, _account, _prefix);
    put(store, "secret", "x").await;
    let inner = open_prefix(&fixture.azure.as_ref().unwrap().0, &format!("{}inner", fixture.prefix()));
    let many = vec!["c"; 255].join("/");
    for name in ["..\\secret", "a\\b", "dot.", "dots../x", &many] {
        let name = key(name);
        let options = PutOptions {
            existing: Existing::Replace,
            mtime: None,
            based_on: None,
            provenance: None,
            takes_parts: false,
        };
        for error in [
            inner.put(&name, vec![], &REPLACE).await.unwrap_err(),
            inner.begin_upload(&name, &options).await.err().unwrap(),
            inner.stat(&name).await.unwrap_err(),
            inner.open(&name).await.unwrap_err(),
            inner.delete(&name).await.unwrap_err(),
            inner.make_directory(&name).await.unwrap_err(),
            inner.set_mtime(&name, a_time(), None).await.unwrap_err(),
            inner.rename(&name, &key("f"), Existing::Replace, None).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, StoreErrorKind::InvalidName, "{name}: {error}");
            assert!(error.message.contains("Azure"), "{error}");
        }
    }
    assert_eq!(names(store, "").await, ["secret"]);
}

#[tokio::test]
async fn a_new_time_leaves_the_rest_of_a_blob() {
    fixture!(fixture, store, account, prefix);
    let theirs = [
        ("x-ms-meta-mtime", "2020-09-13T12:26:40.5Z"),
        ("x-ms-meta-colour", "red"),
        ("x-ms-blob-content-type", "text/x-odd"),
    ];
    assert_eq!(account.put(&format!("{prefix}f"), &theirs, b"content").await, 201);
    let mtime = store.stat(&key("f")).await.unwrap().mtime.unwrap();
    assert_eq!(mtime, UNIX_EPOCH + Duration::from_millis(1_600_000_000_500));
    assert!(store.set_mtime(&key("f"), a_time(), None).await.unwrap().is_some());
    store.rename(&key("f"), &key("renamed"), Existing::Refuse, None).await.unwrap();
    let (_, head) = account.send("HEAD", &format!("{prefix}renamed"), &[], b"").await;
    for wanted in
        ["x-ms-meta-mtime: 2023-11-14t22:13:20.123456789z", "x-ms-meta-colour: red", "content-type: text/x-odd"]
    {
        assert!(head.to_ascii_lowercase().contains(wanted), "{wanted}: {head}");
    }
    assert_eq!(get(store, "renamed").await, "content");
    // Whoever sets it at the same time starts again from what the other has left.
    let times = (1..=3).map(|n| UNIX_EPOCH + Duration::from_secs(n));
    let renamed = key("renamed");
    let set: Vec<_> = times.map(|time| store.set_mtime(&renamed, time, None)).collect();
    assert!(futures_util::future::join_all(set).await.into_iter().all(|done| done.unwrap().is_some()));
    let (_, head) = account.send("HEAD", &format!("{prefix}renamed"), &[], b"").await;
    assert!(head.contains("x-ms-meta-colour: red"), "{head}");
}

/// rclone with this account as its remote; what it prints.
fn rclone(account: &Account, arguments: &[&str]) -> String {
    let mut command = program("rclone");
    // A name that is not there: no configuration is read or written.
    command.env("RCLONE_CONFIG", "/notfound").args(["--retries", "1", "--low-level-retries", "2"]);
    // Given an account and a key, it takes the account for a part of the host's name.
    command.args(["--azureblob-sas-url", &format!("{}?{}", account.endpoint, account_signature(account))]);
    run(command.args(arguments)).succeeded().stdout
}

#[tokio::test]
async fn times_are_those_that_rclone_writes_and_reads() {
    fixture!(fixture, store, account, prefix);
    let remote = format!(":azureblob:{}/{prefix}d", account.container);
    // Ours by rclone: given with the bytes, with parts, and later.
    let options = PutOptions {
        existing: Existing::Replace,
        mtime: Some(a_time()),
        based_on: None,
        provenance: None,
        takes_parts: false,
    };
    store.put(&key("d/put"), vec![Bytes::from_static(b"x")], &options).await.unwrap();
    let mut upload = store.begin_upload(&key("d/parts"), &options).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"y")]).await;
    complete(&mut upload).await.unwrap();
    put(store, "d/later", "z").await;
    assert!(store.set_mtime(&key("d/later"), a_time(), None).await.unwrap().is_some());
    let listed: Vec<Value> = serde_json::from_str(&rclone(account, &["lsjson", &remote])).unwrap();
    assert_eq!(listed.len(), 3, "{listed:?}");
    for file in listed {
        assert_eq!(file["ModTime"], "2023-11-14T22:13:20.123456789Z", "{file}");
    }
    // Theirs by us.
    let folder = tempfile::TempDir::new().unwrap();
    let local = folder.path().join("theirs");
    std::fs::write(&local, "theirs").unwrap();
    std::fs::File::options().write(true).open(&local).unwrap().set_modified(a_time()).unwrap();
    rclone(account, &["copyto", &local.display().to_string(), &format!("{remote}/theirs")]);
    assert_eq!(store.stat(&key("d/theirs")).await.unwrap().mtime, Some(a_time()));
    assert_eq!(store.open(&key("d/theirs")).await.unwrap().stat().mtime, Some(a_time()));
    assert_eq!(get(store, "d/theirs").await, "theirs");
    // The listing shows them all.
    let entries: Vec<_> = pages(store, &key("d")).await.into_iter().flat_map(|page| page.entries).collect();
    assert_eq!(entries.len(), 4);
    for entry in entries {
        assert_eq!(entry.stat.mtime, Some(a_time()), "{}", entry.name);
    }
    // Our directories are theirs.
    store.make_directory(&key("d/folder")).await.unwrap();
    assert!(!rclone(account, &["lsf", "--files-only", &remote]).contains("folder"));
}

#[tokio::test]
async fn of_two_uploads_of_a_name_one_is_kept_whole() {
    fixture!(fixture, store, account, prefix);
    let pieces =
        |byte: u8| [Bytes::from(vec![byte; 1 << 20]), Bytes::from(vec![byte; 1 << 20]), Bytes::from(vec![byte; 9])];
    for options in [REPLACE, REFUSE] {
        let name = format!("{:?}", options.existing);
        let mut first = store.begin_upload(&key(&name), &options).await.unwrap();
        let mut second = store.begin_upload(&key(&name), &options).await.unwrap();
        let (of_first, of_second) = (pieces(b'1'), pieces(b'2'));
        for place in 0..3 {
            send(&mut first, &of_first[place..=place]).await;
            send(&mut second, &of_second[place..=place]).await;
        }
        complete(&mut second).await.unwrap();
        // Azure has thrown the blocks of the first away.
        let error = complete(&mut first).await.unwrap_err();
        let wanted =
            if options.existing == Existing::Refuse { StoreErrorKind::AlreadyExists } else { StoreErrorKind::Changed };
        assert_eq!(error.kind, wanted, "{error}");
        abort(&mut first).await;
        let content = get(store, &name).await;
        assert!(content.len() == (2 << 20) + 9 && content.bytes().all(|byte| byte == b'2'), "a mixture");
    }
    let (_, listed) = unfinished(account, prefix).await;
    assert_eq!(listed, 2);
}

/// An account as it is reached through a proxy that fails to finish uploads in this way.
fn behind(account: &Account, times: u64, fault: Fault) -> (Proxy, Account) {
    let address = account.endpoint.strip_prefix("http://").unwrap();
    let (server, path) = address.split_once('/').unwrap();
    let proxy = Proxy::start(&format!("http://{server}"));
    let finishes = |request: &Request| request.method == "PUT" && request.target.contains("comp=blocklist");
    proxy.plan(Plan::chosen(finishes, times, fault));
    let endpoint = format!("{}/{path}", proxy.endpoint());
    (proxy, Account { endpoint, ..account.clone() })
}

#[tokio::test]
async fn an_upload_whose_end_is_never_answered_is_known_to_be_done_or_not() {
    fixture!(fixture, store, account, prefix);
    for (options, name) in [(REPLACE, "replace"), (REFUSE, "refuse")] {
        for times in [1, u64::MAX] {
            let name = format!("{name}-{times}");
            let (proxy, reached) = behind(account, times, Fault::LoseAnswer);
            let mut upload = open_prefix(&reached, prefix).begin_upload(&key(&name), &options).await.unwrap();
            send(&mut upload, &[Bytes::from_static(b"whole")]).await;
            complete(&mut upload).await.unwrap();
            assert!(proxy.faults() > 0);
            assert_eq!(get(store, &name).await, "whole");
        }
    }
    // It does not reach the server, where another file of the name lies.
    put(store, "other", "other").await;
    let (_proxy, reached) = behind(account, u64::MAX, Fault::Close);
    let mut upload = open_prefix(&reached, prefix).begin_upload(&key("other"), &REPLACE).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"never")]).await;
    let error = complete(&mut upload).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert_eq!(get(store, "other").await, "other");
}

/// The answer, and how many blobs there are with those that have only blocks.
async fn unfinished(account: &Account, prefix: &str) -> (String, usize) {
    let prefix = prefix.replace('/', "%2F");
    let query = format!("?restype=container&comp=list&include=uncommittedblobs&prefix={prefix}");
    let (status, answer) = account.send("GET", &query, &[], b"").await;
    assert_eq!(status, 200, "{answer}");
    let count = answer.matches("<Blob>").count();
    (answer, count)
}

#[tokio::test]
async fn blocks_of_a_cut_off_upload_are_never_seen() {
    fixture!(fixture, store, account, prefix);
    store.make_directory(&key("d")).await.unwrap();
    let mut upload = store.begin_upload(&key("d/f"), &REPLACE).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"lost")]).await;
    drop(upload);
    let (answer, listed) = unfinished(account, prefix).await;
    assert_eq!(listed, 2, "{answer}");
    assert!(!exists(store, "d/f").await);
    assert!(names(store, "d").await.is_empty());
    assert!(store.open(&key("d/f")).await.is_err());
    // Another upload of the name is not disturbed by them, and ends them.
    let mut upload = store.begin_upload(&key("d/f"), &REFUSE).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"kept")]).await;
    complete(&mut upload).await.unwrap();
    assert_eq!(get(store, "d/f").await, "kept");
    store.delete(&key("d/f")).await.unwrap();
    store.remove_directory(&key("d")).await.unwrap();
}

#[tokio::test]
async fn thousands_of_names_come_page_by_page() {
    const FILES: usize = 5_200;
    fixture!(fixture, store, _account, _prefix);
    stream::iter(0..FILES)
        .for_each_concurrent(32, |n| async move {
            put(store, &format!("d/{n:05}"), "").await;
        })
        .await;
    for n in [0, 999, 1_000, 5_000] {
        store.make_directory(&key(&format!("d/{n:05}-marker"))).await.unwrap();
        put(store, &format!("d/{n:05}-marker/f"), "x").await;
    }
    let pages = pages(store, &key("d")).await;
    assert!(pages.len() > 5, "{} pages", pages.len());
    let mut seen: Vec<_> = pages.iter().flat_map(|page| page.entries.iter().map(|entry| &entry.name)).collect();
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!((all, seen.len()), (FILES + 4, FILES + 4));
}

#[tokio::test]
async fn wrong_credentials_and_containers_are_told_apart_without_secrets() {
    let Some(account) = from_environment() else { return };
    let mut wrong = account.clone();
    wrong.key = "dmVyeS1zZWNyZXQtdGV4dA==".to_owned();
    let store = open_prefix(&wrong, "p");
    for error in [
        store.check().await.unwrap_err(),
        store.stat(&key("f")).await.unwrap_err(),
        store.put(&key("f"), vec![], &REPLACE).await.unwrap_err(),
        store.make_directory(&key("f")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("very-secret-text") && !text.contains(&wrong.key) && !text.contains("sig="), "{text}");
    }
    let mut missing = account.clone();
    missing.container = "no-such-container-at-all".to_owned();
    let error = open_prefix(&missing, "p").check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let account = Account {
        endpoint: "http://127.0.0.1:9/account".to_owned(),
        name: "account".to_owned(),
        key: "a2V5".to_owned(),
        container: "container".to_owned(),
    };
    let store = open_prefix(&account, "p");
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn what_one_prefix_holds_another_does_not_see() {
    fixture!(fixture, store, account, prefix);
    put(store, "f", "mine").await;
    let beside = open_prefix(account, &format!("{}x", prefix.trim_end_matches('/')));
    assert!(names(&*beside, "").await.is_empty());
    let above = open_prefix(account, "conformance");
    let name = prefix.trim_end_matches('/').rsplit('/').next().unwrap();
    assert_eq!(get(&*above, &format!("{name}/f")).await, "mine");
}

#[tokio::test]
async fn a_shared_access_signature_is_enough() {
    fixture!(fixture, _store, account, prefix);
    let sas = account_signature(account);
    let options = [
        ("azure_endpoint", account.endpoint.as_str()),
        ("azure_allow_http", "true"),
        ("azure_storage_account_name", &account.name),
        ("azure_storage_sas_key", &sas),
    ];
    let store = &*open_url(&format!("az://{}/{prefix}", account.container), &options);
    put(store, "d/f", "content").await;
    store.make_directory(&key("e")).await.unwrap();
    assert!(store.set_mtime(&key("d/f"), a_time(), None).await.unwrap().is_some());
    store.rename(&key("d/f"), &key("d/x & y"), Existing::Refuse, None).await.unwrap();
    store.rename_directory(&key("d"), &key("moved")).await.unwrap();
    let mut upload = store.begin_upload(&key("large"), &REFUSE).await.unwrap();
    send(&mut upload, &[Bytes::from_static(b"large")]).await;
    complete(&mut upload).await.unwrap();
    assert_eq!(names(store, "").await, ["e/", "large", "moved/"]);
    assert_eq!(get(store, "moved/x & y").await, "content");
    assert_eq!(store.stat(&key("moved/x & y")).await.unwrap().mtime, Some(a_time()));
    let error = store.rename(&key("moved/x & y"), &key("large"), Existing::Refuse, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error}");
    let error = store.set_mtime(&key("missing"), a_time(), None).await.unwrap_err();
    assert!(!format!("{error:?}").contains("sig="), "{error:?}");
}

/// A signature for everything in the account, good for an hour.
fn account_signature(account: &Account) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    let expiry = (chrono::Utc::now() + Duration::from_secs(3_600)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = format!("{}\nrwdlacup\nb\nsco\n\n{expiry}\n\nhttps,http\n2020-08-04\n", account.name);
    let secret = BASE64_STANDARD.decode(&account.key).unwrap();
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let signature = BASE64_STANDARD.encode(aws_lc_rs::hmac::sign(&secret, text.as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv=2020-08-04&ss=b&srt=sco&sp=rwdlacup&se={expiry}&spr=https,http&sig={signature}")
}

#[tokio::test]
async fn an_open_container_is_read_without_credentials() {
    let Some(mut account) = from_environment() else { return };
    account.container = format!("open-{}", uuid::Uuid::now_v7().simple());
    let (status, body) =
        account.send("PUT", "?restype=container", &[("x-ms-blob-public-access", "container")], b"").await;
    assert_eq!(status, 201, "{body}");
    put(&*open_prefix(&account, "p"), "d/f", "content").await;
    let options = [
        ("azure_endpoint", account.endpoint.as_str()),
        ("azure_allow_http", "true"),
        ("azure_storage_account_name", &account.name),
        ("azure_skip_signature", "true"),
    ];
    let store = &*open_url(&format!("az://{}/p", account.container), &options);
    assert_eq!(names(store, "d").await, ["f"]);
    assert_eq!(get(store, "d/f").await, "content");
    assert_eq!(store.stat(&key("d")).await.unwrap().kind, Kind::Directory);
    let error = store.make_directory(&key("e")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
    assert_eq!(account.send("DELETE", "?restype=container", &[], b"").await.0, 202);
}
