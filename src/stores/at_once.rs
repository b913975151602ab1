//! How much a store does at once.

/// How much one store does at once, which bounds the descriptors that it takes for a moment.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce {
    /// Calls of a local store by name; further ones wait.
    pub calls: usize,
    /// Listings of a local store that stay open between two pages; others are opened again for the next page.
    pub listings: usize,
    /// Requests to an object store; further ones wait.
    pub requests: usize,
}

impl Default for AtOnce {
    fn default() -> Self {
        AtOnce { calls: 512, listings: 128, requests: 256 }
    }
}
