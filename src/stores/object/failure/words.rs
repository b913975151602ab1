//! The library's own errors, each made by the library itself: an update that words them differently fails here.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{Error, ObjectStore, ObjectStoreExt, RetryConfig};

use super::{describe, kind_of, was_cut};
use crate::stores::StoreErrorKind;

/// What comes of every request.
#[derive(Debug, Clone, Copy)]
enum Server {
    Answers(u16, &'static str),
    /// The answer begins, and its body breaks off.
    BreaksOff,
    IsAway,
}

fn broken() -> HttpError {
    HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("the line is cut"))
}

#[async_trait]
impl HttpService for Server {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        match *self {
            Server::Answers(status, body) => {
                let mut answer = HttpResponse::new(Bytes::from_static(body.as_bytes()).into());
                *answer.status_mut() = status.try_into().unwrap();
                Ok(answer)
            }
            Server::BreaksOff => Ok(HttpResponse::new(HttpResponseBody::new(Broken))),
            Server::IsAway => Err(HttpError::new(HttpErrorKind::Connect, std::io::Error::other("nobody listens"))),
        }
    }
}

impl HttpConnector for Server {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(*self))
    }
}

/// A body that is cut before its first byte.
struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        Poll::Ready(Some(Err(broken())))
    }
}

fn store(server: Server) -> AmazonS3 {
    let builder = AmazonS3Builder::new().with_bucket_name("b").with_region("r").with_endpoint("http://host");
    let builder = builder.with_access_key_id("id").with_secret_access_key("secret").with_allow_http(true);
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    builder.with_retry(retry).with_http_connector(server).build().unwrap()
}

async fn listing(server: Server) -> Error {
    store(server).list_with_delimiter(None).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_is_known_by_its_status_and_its_body() {
    let too_long = "<Error><Code>KeyTooLongError</Code><Message>Too long</Message></Error>";
    for (status, body, kind, words) in [
        (507, "", StoreErrorKind::NoSpace, "the store answered with status 507"),
        (400, "", StoreErrorKind::Other, "the store answered with status 400"),
        (400, too_long, StoreErrorKind::InvalidName, "Too long (KeyTooLongError)"),
        (301, "", StoreErrorKind::Other, "the store is elsewhere; its region or endpoint seems to be wrong"),
    ] {
        let error = listing(Server::Answers(status, body)).await;
        assert_eq!((kind_of(&error), &*describe(&error)), (kind, words), "{status} {error:?}");
        assert!(!was_cut(&error));
    }
}

#[tokio::test]
async fn a_success_with_an_error_in_its_body_is_an_error() {
    let body = "<Error><Code>SlowDown</Code><Message>Not so fast</Message></Error>";
    let copying = store(Server::Answers(200, body)).copy(&"a".into(), &"b".into()).await;
    let error = copying.unwrap_err();
    assert_eq!(kind_of(&error), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(describe(&error), "Not so fast (SlowDown)");
}

#[tokio::test]
async fn a_broken_answer_is_told_from_none() {
    let (cut, none) = (listing(Server::BreaksOff).await, listing(Server::IsAway).await);
    for error in [&cut, &none] {
        assert_eq!(kind_of(error), StoreErrorKind::Unavailable, "{error:?}");
    }
    assert!(was_cut(&cut), "{cut:?}");
    assert_eq!(describe(&cut), "the connection to the store broke (the line is cut)");
    assert!(!was_cut(&none), "{none:?}");
    assert_eq!(describe(&none), "the store cannot be reached (nobody listens)");
}
