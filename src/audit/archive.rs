//! A folder of a store that holds batches of events, as the trail needs it: the gateway gives one.

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;

/// A folder of a store. Names are below the folder, with `/` between their parts.
#[async_trait]
pub trait Archive: Send + Sync + fmt::Debug {
    /// How messages name it.
    fn describe(&self) -> String;

    /// Keeps a new object.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is one of that name; what the store says.
    async fn put_new(&self, name: &str, content: Bytes) -> io::Result<()>;

    /// The names and sizes in bytes of all objects, also in folders of it, in the order of their names.
    ///
    /// # Errors
    /// What the store says.
    async fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// A whole object of at most `most` bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::FileTooLarge`]; what the store says.
    async fn get(&self, name: &str, most: u64) -> io::Result<Bytes>;
}
