//! What a listing cannot show.

/// Keys that a listing left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them, escaped for printing.
    pub first: Option<String>,
}

impl Skipped {
    /// Counts a raw name or key that cannot be shown.
    pub(super) fn add(&mut self, raw: &[u8]) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(raw.escape_ascii().to_string());
        }
    }
}
