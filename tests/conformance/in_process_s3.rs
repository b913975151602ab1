//! The suite against an S3 server in the test process: s3s with files behind it.

use std::future::Future;
use std::net::Ipv4Addr;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::fixture::{Fixture, Server};

const KEYS: (&str, &str) = ("in-process", "in-process-secret");

/// What this server cannot do: checks that fail on it, and why. A check that passes after all fails the test, so that the list
/// stays true.
const UNABLE: &[(&str, &str)] = &[
    ("parts_may_come_from_the_object_that_is_replaced", "it ignores x-amz-copy-source-if-match"),
    (
        "odd_names_work",
        "it says that keys are URL-encoded in listings and does not encode them: `%41` and `a+b` change",
    ),
    (
        "the_longest_keys_work",
        "it keeps metadata in a file whose name is the whole key, encoded: longer than a file name",
    ),
    ("a_made_directory_lasts_while_empty", "a HEAD of a name that is a folder on its disk is answered with 500"),
    (
        "a_directory_is_renamed_whole",
        "deleting all keys leaves their folders, and a HEAD of a folder is answered with 500",
    ),
    (
        "a_large_directory_is_renamed",
        "deleting all keys leaves their folders, and a HEAD of a folder is answered with 500",
    ),
    ("the_time_of_a_directory_is_kept", "a HEAD of a name that is a folder on its disk is answered with 500"),
    ("a_directory_with_entries_is_not_removed", "listings without a delimiter leave folder markers out"),
    ("an_aborted_upload_leaves_nothing", "it does not list unfinished uploads (501), which this check counts"),
    (
        "an_exclusive_upload_never_replaces",
        "it ignores If-None-Match on completions and does not list unfinished uploads",
    ),
];

/// Runs a check on an empty bucket of a server of its own.
pub async fn run<F: Future<Output = ()> + Send + 'static>(name: &str, check: impl FnOnce(Fixture) -> F) {
    let root = TempDir::new().unwrap();
    let server = InProcess::start(&root).await;
    let address = Server::at(server.endpoint.clone(), "bucket", KEYS);
    let fixture = Fixture::s3_through(address, &server.endpoint, &[]).await;
    match UNABLE.iter().find(|(unable, _)| *unable == name) {
        None => check(fixture).await,
        Some((_, reason)) => {
            let ended = tokio::spawn(check(fixture)).await;
            assert!(ended.is_err_and(|error| error.is_panic()), "{name} passes, though it is listed: {reason}");
        }
    }
}

/// The server; it ends when this is dropped.
struct InProcess {
    endpoint: String,
    task: JoinHandle<()>,
}

impl InProcess {
    async fn start(root: &TempDir) -> Self {
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEYS.0, KEYS.1));
        let service = builder.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        InProcess { endpoint, task: tokio::spawn(serve(listener, service)) }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let service = service.clone();
        connections.spawn(async move {
            // A connection that breaks is the client's matter.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(client), service).await;
        });
    }
}
