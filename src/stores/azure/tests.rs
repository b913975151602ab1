//! What no emulator does: copies that take their time, answers that get lost, accounts with real directories. The requests go
//! to a list of answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::StaticCredentialProvider;
use object_store::azure::{AzureCredential, MicrosoftAzureBuilder};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;

use super::*;
use crate::stores::object::{MtimeForm, ObjectBacked, Replaces};
use crate::stores::rest::{Client, Signing};
use crate::stores::{Existing, Key, PartLimits, Store};

/// Answers that are given one after the other, and the requests that got them.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Reply>, Vec<String>)>>);

#[derive(Debug, Clone)]
struct Reply {
    /// 0: no answer.
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
}

fn reply(status: u16, headers: &[(&'static str, &'static str)]) -> Reply {
    Reply { status, headers: headers.to_vec(), body: String::new() }
}

fn failure(status: u16, code: &str) -> Reply {
    let body =
        format!("\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.\nTime:x</Message></Error>");
    Reply { status, headers: Vec::new(), body }
}

#[async_trait]
impl HttpService for Script {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut script = self.0.lock().unwrap();
        let mut line = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        let mut shown: Vec<_> = request.headers().iter().filter(|(name, _)| !QUIET.contains(&name.as_str())).collect();
        shown.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in shown {
            line += &format!(" {name}={}", value.to_str().unwrap());
        }
        script.1.push(line);
        assert_eq!(request.headers()["authorization"], "Bearer token");
        let reply = script.0.pop_front().expect("an answer is left");
        if reply.status == 0 {
            return Err(HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("the line is cut")));
        }
        let mut answer = HttpResponse::new(Bytes::from(reply.body).into());
        *answer.status_mut() = reply.status.try_into().unwrap();
        for (name, value) in reply.headers {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        Ok(answer)
    }
}

/// Headers that each request has.
const QUIET: [&str; 5] = ["x-ms-version", "date", "content-length", "authorization", "user-agent"];

#[async_trait]
impl HttpConnector for Script {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl Script {
    /// The whole store over these answers; its plain reads and writes go elsewhere.
    fn store(&self) -> ObjectBacked {
        let limits =
            PartLimits { smallest_part: 1, largest_part: 1, most_parts: 1, largest_object: 1, equal_parts: false };
        ObjectBacked {
            site: crate::stores::place::Site::container("acc", "", "c"),
            name: "c".to_owned(),
            bucket: "c".to_owned(),
            prefix: String::new(),
            objects: Arc::new(object_store::memory::InMemory::new()),
            extras: Arc::new(self.extras()),
            limits,
            mtime_form: MtimeForm::Rfc3339,
            provenance: None,
            both: Default::default(),
            kept_times: None,
        }
    }

    fn new(replies: &[Reply]) -> Self {
        Script(Arc::new(Mutex::new((replies.iter().cloned().collect(), Vec::new()))))
    }

    fn extras(&self) -> AzureExtras {
        let token = AzureCredential::BearerToken("token".to_owned());
        let credentials: Arc<StaticCredentialProvider<AzureCredential>> =
            Arc::new(StaticCredentialProvider::new(token));
        let builder = MicrosoftAzureBuilder::new().with_account("acc").with_container_name("c");
        let builder = builder.with_endpoint("https://acc".to_owned()).with_http_connector(self.clone());
        let objects = builder.with_credentials(credentials.clone()).build().unwrap();
        let client = Client {
            http: HttpClient::new(self.clone()),
            address: "https://acc/c".to_owned(),
            signing: Signing::Azure { credentials, account: "acc".to_owned() },
        };
        AzureExtras::new(Container::new(client), Arc::new(objects))
    }

    /// The requests so far; all answers were asked for.
    fn requests(&self) -> Vec<String> {
        let script = self.0.lock().unwrap();
        assert!(script.0.is_empty(), "answers are left: {script:?}");
        script.1.clone()
    }
}

const SOURCE: [(&str, &str); 4] =
    [("etag", "\"s\""), ("content-length", "0"), ("x-ms-access-tier", "Cool"), ("x-ms-meta-mtime", "x")];

#[tokio::test]
async fn a_copy_that_takes_its_time_is_waited_for() {
    let script = Script::new(&[
        reply(200, &SOURCE),
        reply(202, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "pending")]),
        reply(200, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "pending"), ("x-ms-copy-progress", "1/2")]),
        reply(200, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "success")]),
    ]);
    script.extras().copy(ObjectCopy::to_move("a b", "to", Replaces::Nothing)).await.unwrap();
    let requests = script.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!((requests[0].as_str(), requests[3].as_str()), ("HEAD /c/a%20b", "HEAD /c/to"));
    // The token tells the copy from another's, if the answer is lost.
    for wanted in [
        "PUT /c/to if-none-match=* x-ms-access-tier=Cool x-ms-copy-source=https://acc/c/a%20b x-ms-meta-lockgateput=",
        " x-ms-meta-mtime=x x-ms-source-if-match=\"s\"",
    ] {
        assert!(requests[1].contains(wanted), "{wanted}: {}", requests[1]);
    }
}

#[tokio::test]
async fn a_copy_that_fails_leaves_no_target() {
    let failed = reply(200, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "failed"), ("etag", "\"t\"")]);
    let script = Script::new(&[
        reply(200, &SOURCE),
        reply(202, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "pending")]),
        failed.clone(),
        failed,
        reply(202, &[]),
    ]);
    let error = script.extras().copy(ObjectCopy::to_move("from", "to", Replaces::Anything)).await.unwrap_err();
    assert!(error.message.contains("failed"), "{error}");
    assert_eq!(script.requests()[4], "DELETE /c/to if-match=\"t\"");
}

#[tokio::test]
async fn a_target_that_another_has_written_meanwhile_stays() {
    let script = Script::new(&[
        reply(200, &SOURCE),
        reply(202, &[("x-ms-copy-id", "1"), ("x-ms-copy-status", "pending")]),
        reply(200, &[("x-ms-copy-id", "2"), ("x-ms-copy-status", "success")]),
    ]);
    let error = script.extras().copy(ObjectCopy::to_move("from", "to", Replaces::Anything)).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn a_source_that_was_replaced_is_not_copied() {
    for (replaces, replies) in [
        (Replaces::Anything, vec![failure(412, "SourceConditionNotMet")]),
        (Replaces::Nothing, vec![failure(412, "SourceConditionNotMet"), reply(404, &[])]),
    ] {
        let script = Script::new(&[vec![reply(200, &SOURCE)], replies].concat());
        let error = script.extras().copy(ObjectCopy::to_move("from", "to", replaces)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
        assert!(error.message.ends_with("No. (SourceConditionNotMet)"), "{error}");
        script.requests();
    }
}

#[tokio::test]
async fn a_new_time_is_set_again_on_a_blob_that_changed() {
    let head =
        |etag| reply(200, &[("etag", etag), ("x-ms-meta-a", "1"), ("x-ms-meta-mtime", "old"), ("content-length", "3")]);
    let script = Script::new(&[head("\"1\""), failure(412, "ConditionNotMet"), head("\"2\""), reply(200, &[])]);
    let (key, new) = (Key::parse("f").unwrap(), std::time::SystemTime::UNIX_EPOCH);
    assert!(script.store().set_mtime(&key, new, None).await.unwrap().is_some());
    let requests = script.requests();
    let time = "1970-01-01T00:00:00.000000000Z";
    for (request, etag) in [(&requests[1], 1), (&requests[3], 2)] {
        let wanted = format!("PUT /c/f?comp=metadata if-match=\"{etag}\" x-ms-meta-a=1 x-ms-meta-mtime={time}");
        assert_eq!(*request, wanted);
    }

    let always = vec![[head("\"1\""), failure(412, "ConditionNotMet")]; 5].concat();
    let script = Script::new(&always);
    let error = script.store().set_mtime(&key, new, None).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    assert_eq!(script.requests().len(), 10);
}

#[tokio::test]
async fn an_empty_real_directory_is_found_and_the_account_asked_once() {
    let empty = Reply { body: "<EnumerationResults><Blobs/></EnumerationResults>".to_owned(), ..reply(200, &[]) };
    let directory = reply(200, &[("x-ms-resource-type", "directory"), ("etag", "\"d\"")]);
    let wanted = || ListRequest { prefix: "d/", delimited: false, from: None, most: 1 };
    let real = reply(200, &[("x-ms-is-hns-enabled", "true")]);
    let script = Script::new(&[empty.clone(), real, directory, reply(404, &[]), empty.clone()]);
    let extras = script.extras();
    let page = extras.list(wanted()).await.unwrap();
    assert_eq!(page.objects[0].key, "d/");
    assert!(extras.list(wanted()).await.unwrap().objects.is_empty());
    let requests = script.requests();
    assert_eq!((requests[1].as_str(), requests[3].as_str()), ("GET /c?restype=account&comp=properties", "HEAD /c/d"));

    let flat = reply(200, &[("x-ms-is-hns-enabled", "false")]);
    let script = Script::new(&[empty.clone(), flat, empty]);
    let extras = script.extras();
    assert!(extras.list(wanted()).await.unwrap().objects.is_empty());
    assert!(extras.list(wanted()).await.unwrap().objects.is_empty());
    script.requests();
}

#[tokio::test]
async fn an_empty_first_page_is_not_the_end() {
    let page =
        |inner: &str| Reply { body: format!("<EnumerationResults>{inner}</EnumerationResults>"), ..reply(200, &[]) };
    let script = Script::new(&[
        page("<Blobs/><NextMarker>more</NextMarker>"),
        page("<Blobs><Blob><Name>d/f</Name><Properties><Content-Length>1</Content-Length></Properties></Blob></Blobs>"),
    ]);
    let found =
        script.extras().list(ListRequest { prefix: "d/", delimited: false, from: None, most: 1 }).await.unwrap();
    assert_eq!(found.objects[0].key, "d/f");
    assert!(script.requests()[1].contains("marker=more"));
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_known_as_published() {
    for (existing, code) in [(Existing::Refuse, "BlobAlreadyExists"), (Existing::Replace, "InvalidBlockList")] {
        let script = Script::new(&[reply(201, &[])]);
        let extras = script.extras();
        let wanted = WantedUpload {
            path: Path::parse("f").unwrap(),
            options: Default::default(),
            key: Key::parse("f").unwrap(),
            existing,
            based_on: None,
            mtime_kept: false,
            provenance: None,
            takes_parts: false,
        };
        let mut upload = extras.begin_upload(wanted).await.unwrap();
        upload.put_part(vec![Bytes::from_static(b"x")]).await.unwrap();
        let sent = script.requests()[0].clone();
        let id = sent.split("blockid=").nth(1).unwrap().split([' ', '&']).next().unwrap().replace("%3D", "=");
        assert!(id.len() >= 40, "{id} is not random enough");
        let list =
            format!("<BlockList><CommittedBlocks><Block><Name>{id}</Name></Block></CommittedBlocks></BlockList>");
        let ours = Reply { body: list, ..reply(200, &[("etag", "\"e\"")]) };
        script.0.lock().unwrap().0 = VecDeque::from([reply(0, &[]), failure(409, code), ours]);
        assert_eq!(upload.complete().await.unwrap().etag.as_deref(), Some("e"));
        assert!(script.requests()[3].contains("blocklisttype=committed"));
    }
}
