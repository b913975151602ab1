//! Where a session leads that came through another one: the target and the account. Written to JSON once, because every event of
//! the session carries these fields.

use std::sync::Arc;

use super::line::Ready;

/// What each event of a session at a target says of it.
#[derive(Debug, Clone)]
pub struct Jump {
    session_id: Arc<str>,
    target: Arc<str>,
    account: Option<Arc<str>>,
    pub(super) target_field: Option<Ready>,
    pub(super) account_field: Option<Ready>,
    pub(super) session_field: Option<Ready>,
}

impl Jump {
    /// To `target` through the session of the id `through`; `account` is the name that the client gave there, once it has.
    pub fn new(target: Arc<str>, account: Option<Arc<str>>, through: Arc<str>) -> Arc<Jump> {
        Arc::new(Jump {
            target_field: field(Some(&target)),
            account_field: field(account.as_deref()),
            session_field: field(Some(&through)),
            session_id: through,
            target,
            account,
        })
    }

    /// The same with the name of an account.
    #[must_use]
    pub fn as_account(&self, account: Arc<str>) -> Arc<Jump> {
        Jump::new(self.target.clone(), Some(account), self.session_id.clone())
    }

    /// The session that was jumped through: 20 hex digits.
    pub fn through(&self) -> &Arc<str> {
        &self.session_id
    }

    /// The target's name in the configuration.
    pub fn target(&self) -> &Arc<str> {
        &self.target
    }

    /// The account, once the client has named one.
    pub fn account(&self) -> Option<&Arc<str>> {
        self.account.as_ref()
    }
}

/// Fields are absent rather than empty.
fn field(value: Option<&str>) -> Option<Ready> {
    value.filter(|value| !value.is_empty()).map(Ready::text)
}
