//! Signed requests of our own, for what `object_store`'s trait cannot say.

mod client;
mod json;
mod xml;

pub(super) use client::{Answer, Ask, Client, Failure, Headers, Pauses, Signing, TRIES, key_path};
#[cfg(test)]
pub(super) use xml::failure;
pub(super) use xml::{first, walk, walk_listing};
