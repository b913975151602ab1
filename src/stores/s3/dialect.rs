//! The names by which S3 calls things.

/// Whose names are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stores) enum Dialect {
    /// S3 and everything that copies it.
    S3,
}

impl Dialect {
    /// The start of the names of an object's own metadata.
    pub(super) fn metadata_prefix(self) -> &'static str {
        match self {
            Dialect::S3 => "x-amz-meta-",
        }
    }

    /// The header of the kept modification time.
    pub(super) fn mtime(self) -> &'static str {
        match self {
            Dialect::S3 => "x-amz-meta-mtime",
        }
    }

    /// The header that names the object to copy.
    pub(super) fn copy_source(self) -> &'static str {
        match self {
            Dialect::S3 => "x-amz-copy-source",
        }
    }

    /// The header that copies one version only.
    pub(super) fn copy_if_match(self) -> &'static str {
        match self {
            Dialect::S3 => "x-amz-copy-source-if-match",
        }
    }

    /// The header that says whether a copy gets new metadata.
    pub(super) fn metadata_directive(self) -> &'static str {
        match self {
            Dialect::S3 => "x-amz-metadata-directive",
        }
    }

    /// The header and its value that keep a write from replacing an object.
    pub(super) fn refuse_existing(self) -> (&'static str, &'static str) {
        match self {
            Dialect::S3 => ("if-none-match", "*"),
        }
    }
}
