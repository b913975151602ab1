//! A second upstream SFTP server to test: ProFTPD's mod_sftp, over a folder of this machine. All of the suite holds on it.

use tempfile::TempDir;

use crate::fixture::{Fixture, open_url};
use crate::support::proftpd::shared;

impl Fixture {
    /// `None` when tests with servers are to be skipped.
    pub fn proftpd() -> Option<Self> {
        let proftpd = shared()?;
        let folder = TempDir::new().unwrap();
        let own = proftpd.options();
        let options: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let store = open_url(&proftpd.url(folder.path()), &options);
        Some(Fixture { store, folder: Some(folder), server: None, azure: None, is_upstream: true })
    }
}

/// What docs/SEMANTICS.md says of it.
#[tokio::test]
async fn it_is_another_server_and_lacks_what_the_document_says() {
    let Some(fixture) = Fixture::proftpd() else { return };
    fixture.store.check().await.unwrap();
    let found = fixture.store.found().unwrap();
    assert!(found.contains(", without copy-data,"), "{found}");
}
