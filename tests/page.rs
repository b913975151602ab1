//! The page of the admin door in a real Chromium, driven as a person would: with the mouse, with the keyboard alone, wide and narrow.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "page/browser.rs"]
mod browser;
#[path = "page/config.rs"]
mod config;
#[path = "page/events.rs"]
mod events;
#[path = "page/keyboard.rs"]
mod keyboard;
#[path = "page/login.rs"]
mod login;
#[path = "page/looks.rs"]
mod looks;
#[path = "page/many.rs"]
mod many;
#[path = "page/now.rs"]
mod now;
#[path = "page/oidc.rs"]
mod oidc;
#[path = "page/old.rs"]
mod old;
#[path = "page/partner.rs"]
mod partner;
#[path = "page/place.rs"]
mod place;
#[path = "page/player.rs"]
mod player;
#[path = "page/session.rs"]
mod session;
#[path = "support/mod.rs"]
mod support;
