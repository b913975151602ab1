//! Stores on Azure Blob Storage to test: prefixes of a container of the emulator, or of the account that the environment names.

use std::sync::Arc;

use lockgate::internals::stores::Store;

use crate::fixture::{Fixture, open_url};
use crate::support::azure::{Account, emulator};

impl Fixture {
    /// `None` when tests with servers are to be skipped.
    pub fn azure() -> Option<Self> {
        let account = from_environment()?;
        let prefix = format!("conformance/{}", uuid::Uuid::now_v7().simple());
        let store = open_prefix(&account, &prefix);
        Some(Fixture {
            store,
            folder: None,
            server: None,
            azure: Some((account, format!("{prefix}/"))),
            is_upstream: false,
        })
    }

    /// Whether the store cannot hold this name and says so. Azure would keep these under other names; an upstream server may take a
    /// backslash for a separator.
    pub fn refuses(&self, name: &str) -> bool {
        let has_backslash = name.contains('\\');
        let is_odd_for_azure = has_backslash || name.split('/').any(|part| part.ends_with('.'));
        self.is_upstream && has_backslash || self.azure.is_some() && is_odd_for_azure
    }
}

/// Panics when the emulator cannot be started; `None` when servers are to be skipped.
pub fn from_environment() -> Option<Account> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(name) = get("LOCKGATE_TEST_AZURE_ACCOUNT") else {
        if get("LOCKGATE_TEST_SKIP_SERVERS").is_some_and(|value| value == "1") && get("CI").is_none() {
            return None;
        }
        return Some(emulator());
    };
    Some(Account {
        endpoint: get("LOCKGATE_TEST_AZURE_ENDPOINT")
            .unwrap_or_else(|| format!("https://{name}.blob.core.windows.net")),
        name,
        key: get("LOCKGATE_TEST_AZURE_KEY").expect("LOCKGATE_TEST_AZURE_KEY is not set"),
        container: get("LOCKGATE_TEST_AZURE_CONTAINER").expect("LOCKGATE_TEST_AZURE_CONTAINER is not set"),
    })
}

/// A store of the keys under a prefix of the container.
pub fn open_prefix(account: &Account, prefix: &str) -> Arc<dyn Store> {
    open_url(&format!("az://{}/{prefix}", account.container), &account.options())
}
