//! The names that Azure Blob Storage keeps as they are.
//!
//! The service turns a backslash into a slash, drops the dots at the end of a component and resolves what then reads `..`,
//! all in the address of a request and without a word. Such a name would reach another blob, perhaps outside the prefix that
//! the client may use, so it is refused here.

use crate::stores::{StoreError, StoreErrorKind, StoreResult};

/// The most components of a name.
const MOST_COMPONENTS: usize = 254;

/// Refuses a whole key that Azure would not keep under its own name.
pub(in crate::stores) fn judge(key: &str) -> StoreResult<()> {
    let wrong = |why: &str| {
        let message = format!("Azure cannot hold the name \"{}\": {why}", key.escape_debug());
        Err(StoreError::new(StoreErrorKind::InvalidName, message))
    };
    if key.contains('\\') {
        return wrong("it treats a backslash as a slash");
    }
    if key.split('/').any(|component| component.ends_with('.')) {
        return wrong("it drops a dot at the end of a component");
    }
    if key.split('/').count() > MOST_COMPONENTS {
        return wrong("it has more than 254 components");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_azure_would_change_are_refused() {
        for fine in ["a", "a/b", ".a", "..a/b.c", "a//b", "a/", " ", "x#1", "%5C", "a/".repeat(253).as_str()] {
            assert!(judge(fine).is_ok(), "{fine}");
        }
        for wrong in ["a\\b", "..\\..\\b", "a.", "...", "a./b", "a../", &"a/".repeat(300)] {
            let error = judge(wrong).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::InvalidName);
            assert!(error.message.contains(&*wrong.escape_debug().to_string()), "{error}");
        }
    }
}
