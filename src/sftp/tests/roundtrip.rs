//! A client that was written by others, against the whole channel.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::io::{
    AsyncReadExt, AsyncSeekExt, AsyncWriteExt, DuplexStream, ReadHalf, SeekFrom, WriteHalf, duplex, split,
};

use crate::session::Session;
use crate::session::channel::{Closed, Incoming, Outgoing};
use crate::session::testing::Home;
use crate::sftp::{Ended, serve};

struct In(ReadHalf<DuplexStream>);

impl Incoming for In {
    async fn next(&mut self) -> Option<Bytes> {
        let mut buffer = BytesMut::with_capacity(32 * 1024);
        match self.0.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(buffer.freeze()),
        }
    }

    fn is_cut(&self) -> bool {
        false
    }
}

struct Out(WriteHalf<DuplexStream>);

impl Outgoing for Out {
    async fn send(&mut self, data: Bytes) -> Result<(), Closed> {
        self.0.write_all(&data).await.map_err(|_| Closed)
    }

    async fn send_error(&mut self, _: Bytes) -> Result<(), Closed> {
        Ok(())
    }
}

async fn connect(session: Arc<Session>) -> (SftpSession, tokio::task::JoinHandle<Ended>) {
    let (ours, theirs) = duplex(100_000);
    let (reading, writing) = split(ours);
    let server = tokio::spawn(serve(session, In(reading), Out(writing)));
    (SftpSession::new(theirs).await.unwrap(), server)
}

#[tokio::test]
async fn a_foreign_client_can_do_everything() {
    let home = Home::open().await;
    let (client, server) = connect(home.session()).await;
    let data: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 253).unwrap()).collect();

    client.create_dir("/d").await.unwrap();
    let mut file = client.create("/d/f").await.unwrap();
    file.write_all(&data).await.unwrap();
    file.shutdown().await.unwrap();
    assert_eq!(client.metadata("/d/f").await.unwrap().size, Some(3_000_000));
    assert!(client.read("/d/f").await.unwrap() == data);

    let mut file = client.open_with_flags("/d/f", OpenFlags::READ).await.unwrap();
    file.seek(SeekFrom::Start(2_999_990)).await.unwrap();
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).await.unwrap();
    assert_eq!(tail, data[2_999_990..]);
    file.shutdown().await.unwrap();

    client.rename("/d/f", "/d/g").await.unwrap();
    let times = FileAttributes { atime: Some(1), mtime: Some(1_700_000_000), ..FileAttributes::empty() };
    client.set_metadata("/d/g", times).await.unwrap();
    let listed: Vec<_> = client.read_dir("/d").await.unwrap().collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].file_name(), "g");
    assert_eq!(listed[0].metadata().size, Some(3_000_000));
    assert!(client.metadata("/d").await.unwrap().is_dir());
    assert_eq!(client.canonicalize("d/../x").await.unwrap(), "/x");
    assert!(client.fs_info("/").await.unwrap().is_some());
    assert!(client.remove_dir("/d").await.is_err(), "it is not empty");
    client.remove_file("/d/g").await.unwrap();
    client.remove_dir("/d").await.unwrap();
    assert!(!client.try_exists("/d").await.unwrap());
    assert!(client.symlink("/a", "/b").await.is_err());

    client.close().await.unwrap();
    assert_eq!(server.await.unwrap(), Ended::ByClient);
}
