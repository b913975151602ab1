//! A user for tests.

use super::{AuthMode, Bounds, CONFIGURATION, Totp, User};

/// A user who may log in with nothing and sees nothing.
pub(crate) fn user(name: &str) -> User {
    User {
        name: name.into(),
        role: None,
        identity: None,
        keys: Vec::new(),
        principals: Vec::new(),
        password: None,
        auth: AuthMode::default(),
        totp: Totp::default(),
        enabled: true,
        bounds: Bounds::default(),
        home: Vec::new(),
        targets: Vec::new(),
        source: CONFIGURATION.into(),
    }
}
