//! russh as it was published, with the changes of `patches/`, which `build.rs` applies.
// The code is not ours to style.
#![allow(warnings, clippy::all)]
#![allow(macro_expanded_macro_exports_accessed_by_absolute_paths)]

include!(concat!(env!("OUT_DIR"), "/russh/lib_inner.rs"));
